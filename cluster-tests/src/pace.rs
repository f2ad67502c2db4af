//! A steady pace of commands.
//!
//! Owns: how many are due at each tick. Does not own: sending them. Invariant: on average the rate is kept; what a late tick has
//! held up is due at the next one.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Between two batches of commands.
const TICK: Duration = Duration::from_millis(10);

/// How many commands are due at each tick.
#[derive(Debug)]
pub struct Pace {
    ticks: Interval,
    begun: Instant,
    rate: f64,
    given: usize,
}

impl Pace {
    /// Begins now, with `rate` commands a second.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, begun: Instant::now(), rate, given: 0 }
    }

    /// Waits for the next tick, and gives how many commands are due.
    ///
    /// # Cancel safety
    /// Safe: what was not given is due at the next tick.
    pub async fn due(&mut self) -> usize {
        self.ticks.tick().await;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of commands, far below what a double holds"
        )]
        let all = (self.begun.elapsed().as_secs_f64() * self.rate) as usize;
        let due = all.saturating_sub(self.given);
        self.given = all;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_also_after_a_pause() {
        let mut pace = Pace::new(1_000.0);
        let mut sum = pace.due().await;
        for _ in 0..50 {
            sum += pace.due().await;
        }
        tokio::time::advance(Duration::from_millis(500)).await;
        sum += pace.due().await;
        assert!((995..=1_011).contains(&sum), "{sum}");
    }
}
