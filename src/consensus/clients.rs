//! The clients of this node whose writes can go with them: the connections at its doors.
//!
//! Owns their numbers, which are never given twice while the process lives, and which of them have ended and are to be
//! released in the replicated state. Invariant: a client that has bound a write is released after it has ended, whatever
//! ended it; at most [`BOUND_MAX`] of them are remembered.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::pending::Submission;
use super::shared::Shared;
use super::{Error, submit};
use crate::command::entry::Binding;
use crate::command::{BoundCommand, Command, Operation, Request};

/// How many clients are released in one step.
const RELEASED_TOGETHER_MAX: usize = 1024;
/// How long a release that failed waits before it is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// How many clients may have bound writes and not be released yet.
pub const BOUND_MAX: usize = 1_048_576;

#[derive(Debug, Default)]
struct Inner {
    /// The number given last; 0 is the node itself.
    last: u64,
    /// Live ones that have bound a write.
    bound: BTreeSet<u64>,
    /// Ended ones that had.
    ended: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Registry {
    inner: Mutex<Inner>,
    changed: Notify,
}

/// All clients of one node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clients(Arc<Registry>);

/// One client of this node. When it is dropped, everything that was written with its [`Client::bind`] goes, on all nodes.
pub struct Client {
    number: u64,
    has_bound: AtomicBool,
    registry: Arc<Registry>,
}

impl Clients {
    /// Lets a client in.
    #[must_use]
    pub fn enter(&self) -> Client {
        let mut inner = self.0.inner.lock();
        inner.last = inner.last.saturating_add(1);
        let number = inner.last;
        drop(inner);
        Client { number, has_bound: AtomicBool::new(false), registry: Arc::clone(&self.0) }
    }

    /// Tells whether a client has bound a write and not ended.
    #[must_use]
    pub fn is_bound(&self, number: u64) -> bool {
        self.0.inner.lock().bound.contains(&number)
    }

    /// Waits until some have ended; gives the first ones, at most `most`.
    ///
    /// # Cancel safety
    /// Safe: they stay until they are [`Clients::released`].
    pub async fn ended(&self, most: usize) -> Vec<u64> {
        loop {
            let changed = self.0.changed.notified();
            let ended: Vec<u64> = self.0.inner.lock().ended.iter().take(most).copied().collect();
            if !ended.is_empty() {
                return ended;
            }
            changed.await;
        }
    }

    /// Notes that the replicated state knows of their end.
    pub fn released(&self, ended: &[u64]) {
        let mut inner = self.0.inner.lock();
        for number in ended {
            inner.ended.remove(number);
        }
    }
}

impl Client {
    /// Its number, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Gives what makes an operation go with this client. `None` when too many others, [`BOUND_MAX`], have yet to be
    /// released; then nothing may be written in its name.
    #[must_use]
    pub fn bind(&self) -> Option<Binding> {
        if !self.has_bound.load(Ordering::Relaxed) {
            let mut inner = self.registry.inner.lock();
            if inner.bound.len().saturating_add(inner.ended.len()) >= BOUND_MAX {
                return None;
            }
            inner.bound.insert(self.number);
            self.has_bound.store(true, Ordering::Relaxed);
        }
        Some(Binding::Client(self.number))
    }
}

/// Submits the release of clients that have ended until it is done. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>, submissions: mpsc::Sender<Submission>) {
    loop {
        let ended = shared.clients.ended(RELEASED_TOGETHER_MAX).await;
        let requests = ended.iter().map(|client| release(*client)).collect();
        // What the session has taken with it is gone as well; a release of nothing does nothing.
        match submit(&shared, &submissions, requests).await {
            Ok(_) => shared.clients.released(&ended),
            Err(Error::Stopped) => return,
            Err(error) => {
                tracing::debug!(%error, clients = ended.len(), "not released yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn release(client: u64) -> Request {
    Request::One(Operation::new(0, Command::Bound(BoundCommand::Release { client })))
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut inner = self.registry.inner.lock();
        if inner.bound.remove(&self.number) {
            inner.ended.insert(self.number);
            drop(inner);
            self.registry.changed.notify_one();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_has_bound_a_write_is_released() {
        let clients = Clients::default();
        let (quiet, one, two) = (clients.enter(), clients.enter(), clients.enter());
        assert_eq!((one.bind(), two.bind()), (Some(Binding::Client(2)), Some(Binding::Client(3))));
        assert_eq!(one.bind(), Some(Binding::Client(2)));
        drop(quiet);
        assert!(timeout(Duration::from_secs(1), clients.ended(9)).await.is_err());
        assert!(clients.is_bound(2));
        drop(one);
        drop(two);
        assert!(!clients.is_bound(2));
        assert_eq!(clients.ended(1).await, [2]);
        assert_eq!(clients.ended(9).await, [2, 3], "until they are released");
        clients.released(&[2, 3]);
        assert!(timeout(Duration::from_secs(1), clients.ended(9)).await.is_err());
        assert_eq!(clients.enter().number(), 4);
    }
}
