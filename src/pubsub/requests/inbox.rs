//! The queue of one responder.
//!
//! Owns what waits for it. Does not bound it: that is done where a responder is chosen. Invariant: what was pushed is taken
//! once, or given back when the queue is closed.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::pubsub::outbox::Outbox;

/// Requests that wait for a responder.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) channel: Bytes,
    backlog: Mutex<Backlog>,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct Backlog {
    requests: VecDeque<Waiting>,
    is_closed: bool,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) payload: Bytes,
    /// What it weighs against the limits.
    pub(super) size: u64,
    pub(super) origin: Origin,
}

/// Where the reply goes.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// To somebody on this node.
    Here { id: u64 },
    /// To a peer, on the way back of the stream that the request came by.
    Peer { answers: Arc<Outbox>, id: u64 },
}

impl Inbox {
    pub(super) fn new(channel: Bytes) -> Self {
        Self { channel, backlog: Mutex::default(), arrival: Notify::new() }
    }

    /// Appends a request.
    pub(super) fn push(&self, waiting: Waiting) {
        self.backlog.lock().requests.push_back(waiting);
        self.arrival.notify_one();
    }

    /// Takes the oldest request if there is one, and tells whether more may come.
    fn try_take(&self) -> (Option<Waiting>, bool) {
        let mut backlog = self.backlog.lock();
        let waiting = backlog.requests.pop_front();
        let (is_more, is_closed) = (!backlog.requests.is_empty(), backlog.is_closed);
        drop(backlog);
        if is_more || is_closed {
            // Several tasks may wait for requests of one responder, and several arrivals wake one of them only.
            self.arrival.notify_one();
        }
        (waiting, is_closed)
    }

    /// Waits for a request; none when the queue is closed.
    ///
    /// # Cancel safety
    /// Safe: a request is taken only when it is returned.
    pub(super) async fn take(&self) -> Option<Waiting> {
        loop {
            match self.try_take() {
                (None, false) => self.arrival.notified().await,
                (waiting, _) => return waiting,
            }
        }
    }

    /// Takes no more requests, and gives back those that wait.
    pub(super) fn close(&self) -> VecDeque<Waiting> {
        let mut backlog = self.backlog.lock();
        backlog.is_closed = true;
        let waiting = std::mem::take(&mut backlog.requests);
        drop(backlog);
        self.arrival.notify_one();
        waiting
    }
}
