//! The heart of pub/sub on this node: tables behind one lock, and delivery.
//!
//! Owns the lock and what happens under it. Does not wait for anything while holding it. Invariant: a message is given to
//! its local listeners under the lock, so that this node has one order of messages, subscriptions and their ends.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::queue::{Pushed, Queue};
use super::subscriber::Subscriber;
use super::table::{Limits, SubscriberId, Table};
use super::{Config, Error, Kind, Message, QueueLimits};

/// Smaller payloads are copied out of the buffer they came in, which may be much larger than they are.
const COPY_MAX: usize = 16 * 1024;

/// What all handles of one node's pub/sub share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) config: Config,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: Table<Arc<Queue>>,
    is_stopped: bool,
}

impl Hub {
    pub(super) fn new(config: Config) -> Self {
        let table = Table::new(Limits::of(&config));
        Self { config, state: Mutex::new(State { table, is_stopped: false }) }
    }

    /// Locks the tables. Held for a few microseconds, never while anything is awaited.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn subscriber(self: &Arc<Self>, limits: QueueLimits) -> Subscriber {
        let queue = Arc::new(Queue::new(limits));
        let mut state = self.state();
        if state.is_stopped {
            queue.close();
        }
        let id = state.table.add(Arc::clone(&queue));
        drop(state);
        Subscriber::new(Arc::clone(self), id, queue)
    }

    /// Refuses a message that is too large.
    pub(super) fn check(&self, channel: &[u8], payload: &[u8]) -> Result<(), Error> {
        let size = (channel.len() as u64).saturating_add(payload.len() as u64);
        let limit = self.config.message_max.as_u64();
        if size > limit { Err(Error::MessageTooLarge { size, limit }) } else { Ok(()) }
    }

    /// Ends every subscriber.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.table.all().for_each(|queue| queue.close());
    }
}

impl State {
    /// Delivers a message to the listeners of this node; gives how many subscriptions it reached.
    pub(super) fn deliver(&mut self, kind: Kind, channel: &[u8], payload: &Bytes) -> u64 {
        let mut own: Option<(Option<Bytes>, Bytes)> = None;
        let mut reached = 0;
        let mut overflowed: Vec<SubscriberId> = Vec::new();
        self.table.matching(kind, channel, |found| {
            let (own_channel, payload) = own.get_or_insert_with(|| (None, detached(payload)));
            let (channel, pattern) = if found.kind == Kind::Pattern {
                let copy = own_channel.get_or_insert_with(|| Bytes::copy_from_slice(channel));
                (copy.clone(), Some(found.name.clone()))
            } else {
                (found.name.clone(), None)
            };
            let message = Message { kind: found.kind, pattern, channel, payload: payload.clone() };
            match found.listener.push(message) {
                Pushed::Queued => reached += 1,
                Pushed::Overflowed => overflowed.push(found.subscriber),
                Pushed::Ended => {}
            }
        });
        for subscriber in overflowed {
            self.table.remove(subscriber);
        }
        reached
    }
}

/// Gives a payload that does not hold a much larger buffer alive.
fn detached(payload: &Bytes) -> Bytes {
    if payload.len() < COPY_MAX { Bytes::copy_from_slice(payload) } else { payload.clone() }
}
