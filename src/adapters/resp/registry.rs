//! Who is connected: what CLIENT LIST shows, CLIENT KILL ends and CLIENT UNBLOCK wakes.
//!
//! Owns a card for each connection and the limit of how many there are. Does not own the connections. Invariant: a card
//! stands here exactly as long as its connection's task holds its [`Seat`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::node::Interrupt;
use crate::pubsub::{Meter, QueueReport};
use crate::resp::Version;

/// All connections of one server.
#[derive(Debug)]
pub(super) struct Registry {
    clients_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cards: BTreeMap<u64, Arc<Card>>,
}

/// One connection as the others see it.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) id: u64,
    pub(super) address: SocketAddr,
    pub(super) local_address: SocketAddr,
    since: Instant,
    facts: Mutex<Facts>,
    is_killed: AtomicBool,
    kill: Notify,
    waiting: Mutex<Option<oneshot::Sender<Interrupt>>>,
}

/// What changes about a connection.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) library_name: String,
    pub(super) library_version: String,
    pub(super) last_seen: Instant,
    pub(super) last_command: &'static str,
    pub(super) database: u8,
    pub(super) channels: usize,
    pub(super) patterns: usize,
    pub(super) sharded: usize,
    /// Its queue of messages, once it has subscribed.
    pub(super) meter: Option<Meter>,
    /// How many commands are queued behind MULTI, if it is open.
    pub(super) queued: Option<usize>,
    pub(super) version: Version,
    pub(super) is_exempt_from_eviction: bool,
}

/// A place in the registry; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    registry: Arc<Registry>,
    pub(super) card: Arc<Card>,
}

impl Registry {
    pub(super) fn new(clients_max: usize) -> Arc<Self> {
        Arc::new(Self { clients_max, inner: Mutex::default() })
    }

    /// Takes a place for the client of that number, or nothing when all are taken.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: u64,
        address: SocketAddr,
        local_address: SocketAddr,
    ) -> Option<Seat> {
        let mut inner = self.inner.lock();
        if inner.cards.len() >= self.clients_max {
            return None;
        }
        let now = Instant::now();
        let card = Arc::new(Card {
            id,
            address,
            local_address,
            since: now,
            facts: Mutex::new(Facts::new(now)),
            is_killed: AtomicBool::new(false),
            kill: Notify::new(),
            waiting: Mutex::new(None),
        });
        inner.cards.insert(card.id, Arc::clone(&card));
        Some(Seat { registry: Arc::clone(self), card })
    }

    /// Finds a connection that nobody has ended.
    pub(super) fn find(&self, id: u64) -> Option<Arc<Card>> {
        self.inner.lock().cards.get(&id).filter(|card| !card.is_killed()).cloned()
    }

    /// All that nobody has ended, in the order of their ids.
    pub(super) fn all(&self) -> Vec<Arc<Card>> {
        self.inner.lock().cards.values().filter(|card| !card.is_killed()).cloned().collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.inner.lock().cards.remove(&self.card.id);
    }
}

impl Facts {
    const fn new(now: Instant) -> Self {
        Self {
            name: String::new(),
            library_name: String::new(),
            library_version: String::new(),
            last_seen: now,
            last_command: "NULL",
            database: 0,
            channels: 0,
            patterns: 0,
            sharded: 0,
            meter: None,
            queued: None,
            version: Version::Resp2,
            is_exempt_from_eviction: false,
        }
    }

    /// Tells whether it listens to anything.
    pub(super) const fn is_subscribed(&self) -> bool {
        self.channels > 0 || self.patterns > 0 || self.sharded > 0
    }
}

impl Card {
    /// Changes what is shown.
    pub(super) fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock());
    }

    /// What is shown now.
    pub(super) fn facts(&self) -> Facts {
        self.facts.lock().clone()
    }

    /// Ends the connection as soon as its task looks.
    pub(super) fn kill(&self) {
        self.is_killed.store(true, Ordering::Release);
        self.kill.notify_one();
    }

    /// Waits until somebody ends this connection. Only its own task waits.
    pub(super) async fn killed(&self) {
        while !self.is_killed() {
            self.kill.notified().await;
        }
    }

    fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Acquire)
    }

    /// Says that the connection blocks from now on, and how it is woken.
    pub(super) fn begin_wait(&self, wake: oneshot::Sender<Interrupt>) {
        *self.waiting.lock() = Some(wake);
    }

    /// Says that the connection blocks no more.
    pub(super) fn end_wait(&self) {
        *self.waiting.lock() = None;
    }

    /// Wakes the connection if it blocks; tells whether it did.
    pub(super) fn unblock(&self, how: Interrupt) -> bool {
        let wake = self.waiting.lock().take();
        wake.is_some_and(|wake| wake.send(how).is_ok())
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.waiting.lock().is_some()
    }

    /// The line of CLIENT LIST, without its end. What this server does not have is told as zero; `oll` and `omem` are the
    /// messages that wait for a subscriber, and `lost`, which Redis does not have, those that it lost.
    pub(super) fn line(&self) -> String {
        let facts = self.facts();
        let mut flags = String::new();
        for (is_set, flag) in [
            (facts.is_subscribed(), 'P'),
            (facts.queued.is_some(), 'x'),
            (self.is_blocked(), 'b'),
            (facts.is_exempt_from_eviction, 'e'),
        ] {
            if is_set {
                flags.push(flag);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let queue = facts.meter.as_ref().map_or_else(QueueReport::default, Meter::read);
        let multi = facts.queued.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        format!(
            "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} \
             multi={multi} watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll={} omem={} tot-mem=0 \
             events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={} lost={}",
            self.id,
            self.address,
            self.local_address,
            facts.name,
            self.since.elapsed().as_secs(),
            facts.last_seen.elapsed().as_secs(),
            facts.database,
            facts.channels,
            facts.patterns,
            facts.sharded,
            queue.queued,
            queue.queued_bytes,
            facts.last_command,
            if facts.version == Version::Resp3 { 3 } else { 2 },
            facts.library_name,
            facts.library_version,
            queue.counters.lost_slow.saturating_add(queue.counters.lost_link),
        )
    }
}
