//! How long a call is tried again.
//!
//! Owns the count of the time that passed while this process ran. Does not know what is tried. Invariant: a process that was stopped
//! for long has as much patience left as before, so that its calls do not fail the moment it wakes.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How often the clock is looked at; a step that took longer than twice this was a stall.
const STEP: Duration = Duration::from_millis(250);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// The time that a call has spent, and how much it may.
#[derive(Debug)]
pub(super) struct Patience {
    spent: Duration,
    most: Duration,
    /// When it was last looked at.
    looked: Instant,
}

impl Patience {
    pub(super) fn new(most: Duration) -> Self {
        Self { spent: Duration::ZERO, most, looked: Instant::now() }
    }

    /// Waits for one try, however long it takes.
    pub(super) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let ended = timeout(STEP, &mut work).await;
            self.look();
            if let Ok(ended) = ended {
                return ended;
            }
        }
    }

    /// Waits for what may be given up; `None` when it did not end in time.
    pub(super) async fn bound<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let ended = timeout(STEP.min(self.most.saturating_sub(self.spent)), &mut work).await;
            self.look();
            match ended {
                Ok(ended) => return Some(ended),
                Err(_elapsed) if self.is_over() => return None,
                Err(_elapsed) => {}
            }
        }
    }

    /// Waits a little before the next try; gives false when there shall be none.
    pub(super) async fn again(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        sleep(PAUSE).await;
        self.look();
        true
    }

    /// The time spent.
    pub(super) const fn spent(&self) -> Duration {
        self.spent
    }

    fn is_over(&self) -> bool {
        self.spent >= self.most
    }

    fn look(&mut self) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        self.spent = self.spent.saturating_add(passed.min(STEP.saturating_mul(2)));
    }
}
