//! The state of a presence of one process: a keyspace of its own, whose log is not kept.
//!
//! Owns the one session that everything is asked in, and who waits for elements of lists. Does not know tasks. Invariant: each call
//! is one entry at the time it is given, so that what a cluster would reply is replied here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::command::{Action, Command, Entry, ListCommand, Operation, Reply, Request};
use crate::ids::{NodeId, Placement, SessionId, WaitId};
use crate::keyspace::{Event, Keyspace, Limits};
use crate::time::Timestamp;

/// What came of a command that may wait.
#[derive(Debug)]
pub(super) enum Waiting {
    /// It was answered at once.
    Answered(Reply),
    /// It waits.
    Begun(WaitId, oneshot::Receiver<Reply>),
}

/// The state of one process.
#[derive(Debug)]
pub(super) struct State {
    keyspace: Keyspace,
    index: u64,
    session: SessionId,
    serial: u64,
    blocked: BTreeMap<WaitId, oneshot::Sender<Reply>>,
}

impl State {
    pub(super) fn new(limits: Limits, now: Timestamp) -> Self {
        let keyspace = Keyspace::new(limits);
        let session = SessionId(1);
        let mut state = Self { keyspace, index: 0, session, serial: 0, blocked: BTreeMap::new() };
        let placement = Placement::new("local", SocketAddr::from(([127, 0, 0, 1], 0)));
        state.apply(now, Action::Open { nonce: 0, node: NodeId::from_random(1), placement });
        state
    }

    /// Does what is asked, or reads it.
    pub(super) fn ask(&mut self, now: Timestamp, request: Request) -> Reply {
        self.expire(now);
        if !request.is_write() {
            return self.keyspace.read_request(now, &request, None);
        }
        self.write(now, request)
    }

    /// Does what may have to wait.
    pub(super) fn wait(&mut self, now: Timestamp, operation: Operation) -> Waiting {
        self.expire(now);
        let reply = self.write(now, Request::One(operation));
        let Reply::Blocked(wait) = reply else {
            return Waiting::Answered(reply);
        };
        let (served, waiting) = oneshot::channel();
        self.blocked.insert(wait, served);
        Waiting::Begun(wait, waiting)
    }

    /// Ends a wait, if it is still there, as if its time had run out.
    pub(super) fn end_wait(&mut self, now: Timestamp, wait: WaitId) {
        if self.blocked.contains_key(&wait) {
            let command = Command::List(ListCommand::EndWait { wait, unblocked: false });
            self.write(now, Request::One(Operation::new(0, command)));
        }
    }

    fn write(&mut self, now: Timestamp, request: Request) -> Reply {
        let (session, acknowledged) = (self.session, self.serial);
        self.serial = acknowledged.saturating_add(1);
        let requests: Arc<[Request]> = [request].into();
        let action = Action::Batch { session, serial: self.serial, acknowledged, requests };
        match self.apply(now, action) {
            Event::Replied { replies, .. } => replies.first().cloned().unwrap_or(Reply::Nil),
            Event::Opened { .. }
            | Event::Stale { .. }
            | Event::Gap { .. }
            | Event::NoSession { .. }
            | Event::Expired { .. }
            | Event::Nothing => {
                unreachable!("the only session is never ended, and its serials come one by one")
            }
        }
    }

    /// Removes what is due, all of it.
    fn expire(&mut self, now: Timestamp) {
        while self.keyspace.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.apply(now, Action::Tick);
        }
    }

    fn apply(&mut self, at: Timestamp, action: Action) -> Event {
        self.index = self.index.saturating_add(1);
        let outcome = self.keyspace.apply(self.index, &Entry { at, action });
        for (wait, reply) in outcome.served {
            if let Some(served) = self.blocked.remove(&wait) {
                // Who does not wait any more needs no element.
                let _gone = served.send(reply);
            }
        }
        outcome.event
    }
}
