//! Messages that wait until their reader sees what their publisher had written.
//!
//! ```text
//! head of the queue: position applied here? ── yes ──► delivered
//!                        └─ no ─► waits, no longer than causal_wait_max from its arrival ──► delivered, marked
//! ```
//!
//! Owns the judgement on the head of one queue. Does not know what a position is beyond its order, nor who applies.
//! Invariant: a message waits for its own position only, and no longer than the limit after it came.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// How far the state of this node has come, which pub/sub itself knows nothing of.
pub trait Positions: fmt::Debug + Send + Sync {
    /// The position of this node's last write that was answered; 0 if there is none.
    fn written(&self) -> u64;

    /// The position up to which this node's state is readable here.
    fn applied(&self) -> u64;

    /// Waits until [`Positions::applied`] is no less than `position`. It need not end.
    fn reached(&self, position: u64) -> BoxFuture<'_, ()>;
}

/// For a process without replicated state: nothing is written, and nothing is waited for.
#[derive(Debug)]
pub(super) struct Stateless;

impl Positions for Stateless {
    fn written(&self) -> u64 {
        0
    }

    fn applied(&self) -> u64 {
        u64::MAX
    }

    fn reached(&self, _: u64) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What one queue lets pass, and what it makes wait.
#[derive(Debug)]
pub(super) struct Gate {
    positions: Arc<dyn Positions>,
    wait_max: Duration,
    is_causal: AtomicBool,
    /// The highest position that was waited for in vain, and what was applied then.
    given_up: Mutex<Option<(u64, u64)>>,
}

/// What is to be done with the head of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes, and the state has what its publisher had written.
    Go,
    /// It goes, and the state has not.
    GoAhead,
    /// It waits.
    Wait(Wait),
}

/// What a head waits for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    position: u64,
    until: Instant,
}

impl Gate {
    pub(super) fn new(positions: Arc<dyn Positions>, wait_max: Duration) -> Self {
        let (is_causal, given_up) = (AtomicBool::new(false), Mutex::default());
        Self { positions, wait_max, is_causal, given_up }
    }

    pub(super) fn set_causal(&self, is_causal: bool) {
        self.is_causal.store(is_causal, Ordering::Relaxed);
    }

    pub(super) fn is_causal(&self) -> bool {
        self.is_causal.load(Ordering::Relaxed)
    }

    /// Gives until when a message that comes now may wait; none when it need not wait at all.
    pub(super) fn due(&self, position: u64) -> Option<Instant> {
        let waits = position > 0 && self.is_causal() && position > self.positions.applied();
        waits.then(|| Instant::now() + self.wait_max)
    }

    /// Judges the head of the queue, by what [`Gate::due`] said of it.
    pub(super) fn judge(&self, position: u64, due: Option<Instant>) -> Verdict {
        let Some(until) = due.filter(|_| self.is_causal()) else {
            return Verdict::Go;
        };
        let applied = self.positions.applied();
        if applied >= position {
            return Verdict::Go;
        }
        let mut given_up = self.given_up.lock();
        // While nothing moves, who has waited for a position in vain does not wait for it again.
        let before =
            given_up.filter(|(_, then)| *then == applied).map_or(0, |(position, _)| position);
        if position <= before {
            return Verdict::GoAhead;
        }
        if until > Instant::now() {
            return Verdict::Wait(Wait { position, until });
        }
        *given_up = Some((position, applied));
        Verdict::GoAhead
    }

    /// Waits until the head is to be judged again.
    ///
    /// # Cancel safety
    /// Safe: nothing is kept in it.
    pub(super) async fn wait(&self, wait: Wait) {
        tokio::select! {
            biased;
            () = self.positions.reached(wait.position) => {}
            () = sleep_until(wait.until) => {}
        }
    }
}
