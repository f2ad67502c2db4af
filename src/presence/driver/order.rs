//! The order of one driver's calls, for callers that do not await one before they make the next.
//!
//! Owns which writes are under way. Does not hold any of them up. Invariant: a read waits for the writes that began before
//! it, and a write that is tried again knows of a newer one of the same room.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The writes of one driver.
#[derive(Debug, Default)]
pub(super) struct Order {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Writes under way, with their rooms; an empty name for those of many rooms.
    open: BTreeMap<u64, String>,
}

/// A write under way; dropped, it is over.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    order: &'a Order,
    number: u64,
}

impl Order {
    /// Begins a write of a room.
    pub(super) fn begin(&self, room_id: &str) -> Turn<'_> {
        let mut state = self.state.lock();
        state.last = state.last.saturating_add(1);
        let number = state.last;
        state.open.insert(number, room_id.to_owned());
        Turn { order: self, number }
    }

    /// Waits until every write is over that began before this was called.
    pub(super) async fn settled(&self) {
        let before = self.state.lock().last;
        loop {
            let ended = self.ended.notified();
            let mut ended = std::pin::pin!(ended);
            // From here on no end is missed.
            ended.as_mut().enable();
            let first = self.state.lock().open.keys().next().copied();
            if first.is_none_or(|first| first > before) {
                return;
            }
            ended.await;
        }
    }
}

impl Turn<'_> {
    /// Waits until no earlier write of this room is under way.
    pub(super) async fn is_first(&self) {
        loop {
            let ended = self.order.ended.notified();
            let mut ended = std::pin::pin!(ended);
            ended.as_mut().enable();
            if !self.has_earlier() {
                return;
            }
            ended.await;
        }
    }

    fn has_earlier(&self) -> bool {
        let state = self.order.state.lock();
        let Some(room_id) = state.open.get(&self.number) else {
            return false;
        };
        state.open.range(..self.number).any(|(_, other)| other == room_id)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.order.state.lock().open.remove(&self.number);
        self.order.ended.notify_waiters();
    }
}
