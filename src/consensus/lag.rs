//! How far this node is behind the source that it follows.
//!
//! Owns what the source has told and when, until it is applied here, and the delays of the last entries. Pure. Invariant: both
//! lists are bounded, whatever the source tells.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::time::Timestamp;

/// How many announcements wait to be applied; beyond it the later ones are told together.
const MARKS_MAX: usize = 1024;
/// How many delays are kept.
const DELAYS_MAX: usize = 1024;

/// How far a node is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How many committed entries, as far as the source has told, it has not applied.
    pub entries: u64,
    /// For how long it has known of the first of them.
    pub time: Duration,
    /// From a leader's stamp on an entry to its application here, in the middle of the last 1024 frames that were applied, by
    /// the clocks of both machines.
    pub delay_median: Duration,
    /// The same, for the slowest of a hundred.
    pub delay_p99: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    heard: Instant,
    /// The leader's stamp on the last entry, if it came with this.
    at: Option<Timestamp>,
}

/// What was told and is not applied yet.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// With growing indexes.
    waiting: VecDeque<Mark>,
    delays: VecDeque<Duration>,
}

impl Marks {
    /// Notes that the source has committed `index`, and the stamp of that entry if it came too.
    pub(super) fn announce(&mut self, now: Instant, index: u64, at: Option<Timestamp>) {
        let is_full = self.waiting.len() >= MARKS_MAX;
        match self.waiting.back_mut() {
            Some(last) if index < last.index => {}
            Some(last) if index == last.index => last.at = last.at.or(at),
            Some(last) if is_full => last.index = index,
            Some(_) | None => self.waiting.push_back(Mark { index, heard: now, at }),
        }
    }

    /// Notes that all up to `applied` is applied.
    pub(super) fn reach(&mut self, clock: Timestamp, applied: u64) {
        while let Some(mark) = self.waiting.pop_front_if(|mark| mark.index <= applied) {
            if let Some(at) = mark.at {
                if self.delays.len() >= DELAYS_MAX {
                    self.delays.pop_front();
                }
                self.delays.push_back(clock.since(at));
            }
        }
    }

    /// Forgets what an earlier source has told.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Tells how far behind a node is that has applied `applied`.
    pub(super) fn lag(&self, now: Instant, applied: u64) -> Lag {
        let mut delays: Vec<_> = self.delays.iter().copied().collect();
        delays.sort_unstable();
        let share = |parts: usize| {
            let place = delays.len().saturating_mul(parts) / 100;
            delays.get(place).copied().unwrap_or_default()
        };
        let first = self.waiting.iter().find(|mark| mark.index > applied);
        Lag {
            entries: self.waiting.back().map_or(0, |mark| mark.index.saturating_sub(applied)),
            time: first.map_or(Duration::ZERO, |mark| now.duration_since(mark.heard)),
            delay_median: share(50),
            delay_p99: share(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lag_counts_entries_and_the_age_of_the_first() {
        let mut marks = Marks::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let stamp = |millis| Some(Timestamp::from_millis(millis));
        marks.announce(start, 10, stamp(1_000));
        marks.announce(start + second, 20, stamp(2_000));
        marks.announce(start + second, 15, None);
        let lag = marks.lag(start + second * 2, 8);
        assert_eq!((lag.entries, lag.time), (12, second * 2));
        marks.reach(Timestamp::from_millis(1_300), 10);
        let lag = marks.lag(start + second * 2, 10);
        assert_eq!((lag.entries, lag.time), (10, second));
        assert_eq!(lag.delay_median, Duration::from_millis(300));
        marks.reach(Timestamp::from_millis(2_900), 20);
        let lag = marks.lag(start + second * 2, 20);
        assert_eq!((lag.entries, lag.time), (0, Duration::ZERO));
        assert_eq!(lag.delay_p99, Duration::from_millis(900));
    }

    #[test]
    fn a_source_that_tells_a_lot_holds_no_memory() {
        let (mut marks, now) = (Marks::default(), Instant::now());
        for index in 0..10_000 {
            marks.announce(now, index, None);
        }
        assert_eq!(marks.waiting.len(), MARKS_MAX);
        assert_eq!(marks.lag(now, 0).entries, 9_999);
    }
}
