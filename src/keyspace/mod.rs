//! The replicated data, and what applying a log entry does to it. Pure: no clock, socket, task or randomness.
//!
//! Owns `apply` and `read`, expiry, sessions, waits and the snapshot. `command/hash.rs` says what HSET is,
//! `keyspace/hash.rs` what it does. Invariant: the same entries give the same bytes of state on every node, so nothing
//! here looks at anything but the entry and the state before it; apply is total, whatever a client asked.

mod access;
mod blocking;
mod bound;
#[cfg(test)]
mod collection_tests;
mod counter;
mod database;
mod deletions;
mod expire;
mod hash;
mod inspect;
mod key;
mod list;
mod notifications;
mod random;
mod restore;
mod sample;
#[cfg(test)]
mod script;
mod session;
mod set;
mod set_algebra;
mod shards;
mod snapshot;
mod stakes;
mod string;
mod taken;
#[cfg(test)]
mod tests;
mod value;
mod wait;
mod walk;

use std::cell::RefCell;
use std::sync::Arc;

use self::access::{Reader, Writer};
use self::deletions::Deletions;
use self::notifications::Notifications;
pub use self::notifications::{Flags, Notification, UnknownFlag, What};
pub use self::restore::{Error, Restore};
pub use self::session::Session;
use self::session::{Served, Sessions, Verdict};
use self::shards::Database;
pub use self::snapshot::Snapshot;
use self::stakes::Bound;
pub use self::taken::{Left, Owner, Taken, TakenWhat};
use self::value::Record;
use self::wait::Waits;
use crate::command::entry::{Binding, DATABASES};
use crate::command::{Action, Command, Entry, Operation, Reply, Request, Watched};
use crate::ids::{NodeId, SessionId, WaitId};
use crate::time::Timestamp;

/// The most due keys that one entry removes; the rest stay hidden until the next.
const EXPIRED_PER_ENTRY: usize = 1000;

/// Limits that decide replies, and therefore must be equal on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest value, in bytes.
    pub value_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { value_max: 16 * 1024 * 1024 }
    }
}

/// The replicated data.
#[derive(Debug)]
pub struct Keyspace {
    limits: Limits,
    /// The replicated clock: the latest timestamp of all entries applied. Invariant: never goes back.
    now: Timestamp,
    /// Grows by one with each operation; what `WATCH` compares and what seeds random answers.
    revision: u64,
    databases: Vec<Database>,
    bound: Bound,
    deletions: Deletions,
    sessions: Sessions,
    waits: Waits,
    /// What is told of the entry that is applied now. No part of the state.
    notifications: Notifications,
}

/// What applying an entry did, for whoever waits for it on this node.
#[derive(Debug)]
pub struct Outcome {
    /// What the entry itself did.
    pub event: Event,
    /// Waiting clients that were served, with what they get, in order.
    pub served: Vec<(WaitId, Reply)>,
    /// What went with its owner, owner by owner in their order.
    pub taken: Vec<(Owner, Vec<Taken>)>,
    /// What happened to keys, in its order, as far as [`Keyspace::set_flags`] wants it noted.
    pub notifications: Vec<Notification>,
}

/// What an entry does to others than the one who asked.
#[derive(Debug, Default)]
struct Effects {
    served: Vec<(WaitId, Reply)>,
    taken: Vec<(Owner, Vec<Taken>)>,
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A session was opened.
    Opened {
        /// Its id.
        session: SessionId,
        /// Its node.
        node: NodeId,
        /// What the node drew to recognise its entry.
        nonce: u64,
        /// The session of an earlier start of the node, which ended with this.
        replaced: Option<SessionId>,
    },
    /// A batch has these replies, whether it was applied now or earlier.
    Replied {
        /// The session it came from.
        session: SessionId,
        /// The batch.
        serial: u64,
        /// One for each request.
        replies: Arc<[Reply]>,
    },
    /// A batch came again after its replies were forgotten; nothing was done.
    Stale {
        /// The session it came from.
        session: SessionId,
        /// The batch.
        serial: u64,
    },
    /// A batch came before the one that precedes it; nothing was done.
    Gap {
        /// The session it came from.
        session: SessionId,
        /// The batch.
        serial: u64,
    },
    /// A batch came from a session that is not open; nothing was done.
    NoSession {
        /// The session it came from.
        session: SessionId,
        /// The batch.
        serial: u64,
    },
    /// A session ended.
    Expired {
        /// The session.
        session: SessionId,
        /// The node it was of.
        node: NodeId,
    },
    /// Only the clock moved, or there was nothing to do.
    Nothing,
}

impl Keyspace {
    /// Makes an empty keyspace.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            now: Timestamp::ZERO,
            revision: 0,
            databases: (0..DATABASES).map(|_| Database::default()).collect(),
            bound: Bound::default(),
            deletions: Deletions::default(),
            sessions: Sessions::new(),
            waits: Waits::default(),
            notifications: Notifications::default(),
        }
    }

    /// Changes what is noted of the entries from now on; nothing at first. It is no part of the state.
    pub const fn set_flags(&mut self, flags: Flags) {
        self.notifications.set_flags(flags);
    }

    /// The replicated clock.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Grows with each operation applied; what a watch compares.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// When the next key is due, if any is.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.databases.iter().filter_map(Database::first_due).map(|(deadline, _)| *deadline).min()
    }

    /// The live sessions.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// How many clients wait for an element of a list, over the whole cluster.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// How many wait whose session is not open; never any.
    #[must_use]
    pub fn waits_without_session(&self) -> usize {
        let is_gone = |session: &SessionId| !self.sessions.contains_key(session);
        self.waits.sessions().filter(is_gone).count()
    }

    /// Tells whether a client still waits.
    #[must_use]
    pub fn is_waiting(&self, wait: WaitId) -> bool {
        self.waits.contains(wait)
    }

    /// Applies the log entry at `index`. Total: whatever stands in the entry, the state stays sound, and what is wrong
    /// with a request is its reply.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Outcome {
        self.now = self.now.max(entry.at);
        self.remove_due();
        let mut effects = Effects::default();
        let event = match &entry.action {
            Action::Open { nonce, node, placement } => {
                let twin = self.sessions.iter().find(|(_, open)| open.node == *node);
                let twin = twin.map(|(id, open)| (*id, open.nonce));
                let known = twin.filter(|(_, drawn)| drawn == nonce).map(|(id, _)| id);
                let replaced = if known.is_some() { None } else { twin.map(|(id, _)| id) };
                if let Some(earlier) = replaced {
                    self.end_session(earlier, &mut effects);
                }
                let session = known.unwrap_or(SessionId(index));
                self.sessions
                    .entry(session)
                    .or_insert_with(|| Session::new(*node, placement.clone(), *nonce));
                Event::Opened { session, node: *node, nonce: *nonce, replaced }
            }
            Action::Batch { session, serial, acknowledged, requests } => {
                self.apply_batch(*session, *serial, *acknowledged, requests, &mut effects)
            }
            Action::Expire { session } => {
                let ended = self.end_session(*session, &mut effects);
                ended.map_or(Event::Nothing, |ended| Event::Expired {
                    session: *session,
                    node: ended.node,
                })
            }
            Action::Tick => Event::Nothing,
        };
        for (wait, reply) in &effects.served {
            if let Some(session) = self.sessions.get_mut(&wait.session) {
                let (after, reply) = (session.last_serial(), reply.clone());
                session.keep_served(Served { wait: *wait, after, reply });
            }
        }
        let notifications = self.notifications.take();
        Outcome { event, served: effects.served, taken: effects.taken, notifications }
    }

    /// Ends a session with its waits and all that is bound to it.
    fn end_session(&mut self, session: SessionId, effects: &mut Effects) -> Option<Session> {
        let ended = self.sessions.remove(&session)?;
        self.waits.remove_session(session);
        self.release_session(session, effects);
        Some(ended)
    }

    /// Ends all sessions, with their waits and all that is bound to them: what is left lives with no process.
    pub fn end_all_sessions(&mut self) {
        while let Some(session) = self.sessions.keys().next().copied() {
            self.end_session(session, &mut Effects::default());
        }
    }

    /// Applies one request outside the log, at `at`: for scripts and benchmarks against the bare keyspace. A command that
    /// would wait replies as if its time had run out. What it notes waits for [`Keyspace::take_notifications`].
    pub fn apply_request(&mut self, at: Timestamp, request: &Request) -> Reply {
        self.now = self.now.max(at);
        self.remove_due();
        self.request(None, request, &mut Effects::default())
    }

    /// Takes what [`Keyspace::apply_request`] has noted.
    pub fn take_notifications(&mut self) -> Vec<Notification> {
        self.notifications.take()
    }

    /// Answers a command that does not write. `at` is the leader's clock when the read was confirmed; it decides what
    /// is said about remaining time, never what is alive.
    #[must_use]
    pub fn read(&self, at: Timestamp, operation: &Operation) -> Reply {
        self.read_noting(at, operation, None)
    }

    fn read_noting(
        &self,
        at: Timestamp,
        operation: &Operation,
        misses: Option<&mut Vec<Notification>>,
    ) -> Reply {
        let (database, at, missed) = (operation.database, at.max(self.now), RefCell::default());
        let reader =
            Reader { keyspace: self, database, at, misses: misses.is_some().then_some(&missed) };
        if usize::from(operation.database) >= self.databases.len() {
            return crate::command::Error::DatabaseOutOfRange.into();
        }
        let reply = reader.command(&operation.command);
        if let Some(misses) = misses {
            let missed = missed.into_inner().into_iter();
            misses.extend(missed.map(|key| Notification { database, key, what: What::Miss }));
        }
        reply
    }

    /// Answers a transaction that does not write, all of it from one state. Each key that a read looks for and does not
    /// find goes to `misses`, if they are wanted.
    pub fn read_request(
        &self,
        at: Timestamp,
        request: &Request,
        mut misses: Option<&mut Vec<Notification>>,
    ) -> Reply {
        match request {
            Request::One(operation) => self.read_noting(at, operation, misses),
            Request::Transaction { watched, operations } => {
                if self.is_any_changed(watched) {
                    return Reply::NilArray;
                }
                let mut read = |operation| self.read_noting(at, operation, misses.as_deref_mut());
                Reply::Array(operations.iter().map(&mut read).collect())
            }
        }
    }

    fn apply_batch(
        &mut self,
        session: SessionId,
        serial: u64,
        acknowledged: u64,
        requests: &[Request],
        effects: &mut Effects,
    ) -> Event {
        let Some(open) = self.sessions.get_mut(&session) else {
            return Event::NoSession { session, serial };
        };
        let replies = match open.judge(serial, acknowledged) {
            Verdict::Stale => return Event::Stale { session, serial },
            Verdict::Gap => return Event::Gap { session, serial },
            Verdict::Repeat(replies) => replies,
            Verdict::Apply => {
                let replies: Arc<[Reply]> = requests
                    .iter()
                    .map(|request| self.request(Some(session), request, effects))
                    .collect();
                if let Some(open) = self.sessions.get_mut(&session) {
                    open.keep(serial, Arc::clone(&replies));
                }
                replies
            }
        };
        Event::Replied { session, serial, replies }
    }

    fn request(
        &mut self,
        session: Option<SessionId>,
        request: &Request,
        effects: &mut Effects,
    ) -> Reply {
        let reply = match request {
            Request::One(operation) => self.operation(session, session, operation, effects),
            Request::Transaction { watched, operations } => {
                if self.is_any_changed(watched) {
                    return Reply::NilArray;
                }
                let mut apply = |operation| self.operation(session, None, operation, effects);
                Reply::Array(operations.iter().map(&mut apply).collect())
            }
        };
        self.serve_waits(&mut effects.served);
        reply
    }

    fn operation(
        &mut self,
        session: Option<SessionId>,
        waiter: Option<SessionId>,
        operation: &Operation,
        effects: &mut Effects,
    ) -> Reply {
        if usize::from(operation.database) >= self.databases.len() {
            return crate::command::Error::DatabaseOutOfRange.into();
        }
        self.revision = self.revision.saturating_add(1);
        let owner = session.and_then(|session| match operation.binding {
            Binding::None => None,
            Binding::Node => Some(Owner { session, client: 0 }),
            Binding::Client(client) => Some(Owner { session, client }),
        });
        let mut writer =
            Writer { keyspace: self, database: operation.database, session, owner, waiter };
        writer.command(&operation.command, effects)
    }

    fn is_any_changed(&self, watched: &[Watched]) -> bool {
        watched.iter().any(|Watched { database, key, revision }| {
            let Some(home) = self.databases.get(usize::from(*database)) else {
                return false;
            };
            match home.get(key) {
                Some(record) if self.is_live(record) => {
                    record.revision.max(home.swapped) > *revision
                }
                Some(_due) => true,
                None => self.deletions.may_be_since(*database, key, *revision),
            }
        })
    }

    /// The record of a key that is not due.
    fn live(&self, database: u8, key: &[u8]) -> Option<&Record> {
        let record = self.databases.get(usize::from(database))?.get(key)?;
        self.is_live(record).then_some(record)
    }

    fn is_live(&self, record: &Record) -> bool {
        record.deadline.is_none_or(|deadline| deadline > self.now)
    }

    /// Takes a record away, due or not. One that was due has expired, as is noted; of others the caller notes what happened.
    fn take(&mut self, database: u8, key: &[u8]) -> Option<Record> {
        let (key, record) = self.databases.get_mut(usize::from(database))?.remove(key)?;
        self.bound.detach(database, &key);
        self.deletions.note(database, &key, self.revision);
        if !self.is_live(&record) {
            self.notifications.note(database, &key, What::Expired);
        }
        Some(record)
    }

    /// Removes what is due, the earliest first, at most [`EXPIRED_PER_ENTRY`] keys.
    fn remove_due(&mut self) {
        for _ in 0..EXPIRED_PER_ENTRY {
            let due = (0..DATABASES).zip(&self.databases).filter_map(|(number, database)| {
                database.first_due().map(|(deadline, key)| (*deadline, number, key))
            });
            let first = due.min_by_key(|(deadline, number, _)| (*deadline, *number));
            let Some((_, number, key)) = first.filter(|(deadline, ..)| *deadline <= self.now)
            else {
                return;
            };
            let key = key.clone();
            self.revision = self.revision.saturating_add(1);
            self.take(number, &key);
        }
    }

    /// Gives elements to waiting clients, list by list as they became ready, the first comer first.
    fn serve_waits(&mut self, served: &mut Vec<(WaitId, Reply)>) {
        while let Some(place) = self.waits.next_ready() {
            while let Some((id, wait)) = self.waits.first(&place) {
                let command = wait.command.clone();
                let Some(reply) = self.writer(place.0).serve(&place.1, &command) else {
                    break;
                };
                self.waits.remove(id);
                served.push((id, reply));
            }
        }
    }
}

impl Reader<'_> {
    fn command(&self, command: &Command) -> Reply {
        if command.is_write() {
            return crate::command::Error::text("ERR a read cannot carry a command that writes")
                .into();
        }
        Reply::from_result(match command {
            Command::String(command) => self.string(command),
            Command::Counter(command) => self.counter(command),
            Command::Key(command) => self.key(command),
            Command::Expire(command) => self.expire(command),
            Command::Database(command) => self.database(command),
            Command::Inspect(command) => self.inspect(command),
            Command::Set(command) => self.set(command),
            Command::Hash(command) => self.hash(command),
            Command::List(command) => self.list(command),
            Command::Bound(_) => {
                unreachable!("a write does not reach the reader")
            }
        })
    }
}

impl Writer<'_> {
    fn command(&mut self, command: &Command, effects: &mut Effects) -> Reply {
        if !command.is_write() {
            return self.reader().command(command);
        }
        Reply::from_result(match command {
            Command::String(command) => self.string(command),
            Command::Counter(command) => self.counter(command),
            Command::Key(command) => self.key(command),
            Command::Expire(command) => self.expire(command),
            Command::Database(command) => self.database(command),
            Command::Inspect(command) => self.inspect(command),
            Command::Set(command) => self.set(command),
            Command::Hash(command) => self.hash(command),
            Command::List(command) => self.list(command, &mut effects.served),
            Command::Bound(command) => self.bound(command, effects),
        })
    }
}
