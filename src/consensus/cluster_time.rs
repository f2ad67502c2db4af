//! The time that a leader stamps entries with: one for the cluster, whoever leads.
//!
//! Owns this node's reckoning of it: what the last entry of a leader said, and how long ago that was by the monotonic clock. A
//! new leader goes on from there, so that a wall clock that jumps, or is wrong on one machine, expires nothing early and
//! keeps nothing alive. The first leader after a stop of all nodes takes its wall clock, since nobody knows how long that
//! was. Invariant: but for what is heard of a later time, a reckoning goes as the monotonic clock goes, corrected by at most one
//! part in [`SLEW`] of the time that passes: a leader's towards its wall clock, everybody's towards what is heard. An entry
//! that was under way for long, in a queue or behind a cut, does not take the time of its stamp back with it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::time::{Clock, Timestamp};

/// What a leader says may be so far behind this node's reckoning without a correction: it was under way.
const UNDER_WAY_MAX: Duration = Duration::from_secs(1);

/// A thousandth: faster than a processor's crystal is wrong, slow enough that a deadline does not notice.
const SLEW: u32 = 1000;

/// One node's reckoning.
#[derive(Debug)]
pub(super) struct ClusterTime {
    wall: Clock,
    /// Entries up to this index were in the log before this process began: when they were written is long ago.
    live_after: u64,
    reckoning: Mutex<Option<Reckoning>>,
}

/// The time since 1970 at an instant.
#[derive(Clone, Copy, Debug)]
struct Reckoning {
    at: Duration,
    when: Instant,
}

impl Reckoning {
    fn now(&self) -> Duration {
        self.at.saturating_add(self.when.elapsed())
    }
}

fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_millis(at.as_millis())
}

fn timestamp(at: Duration) -> Timestamp {
    Timestamp::ZERO.saturating_add(at)
}

impl ClusterTime {
    /// A reckoning that knows nothing yet.
    pub(super) const fn new(wall: Clock, live_after: u64) -> Self {
        Self { wall, live_after, reckoning: Mutex::new(None) }
    }

    /// Takes in the stamp of an entry that was applied, or the clock of a state that came instead.
    pub(super) fn hear(&self, index: u64, at: Timestamp) {
        if index <= self.live_after {
            return;
        }
        let said = since_epoch(at);
        let mut reckoning = self.reckoning.lock();
        let at = reckoning.as_ref().map_or(said, |reckoning| {
            let (now, step) = (reckoning.now(), reckoning.when.elapsed() / SLEW);
            let ahead = now.saturating_sub(said.saturating_add(UNDER_WAY_MAX));
            now.saturating_sub(step.min(ahead)).max(said)
        });
        *reckoning = Some(Reckoning { at, when: Instant::now() });
    }

    /// Tells the cluster's time as far as this node knows it; by the wall clock as long as it has heard no leader.
    pub(super) fn now(&self) -> Timestamp {
        let reckoning = *self.reckoning.lock();
        reckoning.map_or_else(|| self.wall.now(), |reckoning| timestamp(reckoning.now()))
    }

    /// Gives the time for an entry of this node, which leads. Who has heard no leader begins with its wall clock, or with the
    /// replicated clock if that is later.
    pub(super) fn stamp(&self, replicated: impl FnOnce() -> Timestamp) -> Timestamp {
        let wall = since_epoch(self.wall.now());
        let mut reckoning = self.reckoning.lock();
        let at = match &*reckoning {
            None => wall.max(since_epoch(replicated())),
            Some(reckoning) => {
                let (now, step) = (reckoning.now(), reckoning.when.elapsed() / SLEW);
                if wall > now { now + step.min(wall - now) } else { now - step.min(now - wall) }
            }
        };
        *reckoning = Some(Reckoning { at, when: Instant::now() });
        timestamp(at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::advance;

    use super::*;

    const HOUR: u64 = 3_600_000;

    /// A wall clock that stands where it is set, and a reckoning over it.
    fn with_wall(millis: u64) -> (Arc<AtomicU64>, ClusterTime) {
        let wall = Arc::new(AtomicU64::new(millis));
        let read = Arc::clone(&wall);
        let clock = Clock::new(move || Timestamp::from_millis(read.load(Ordering::Relaxed)));
        (wall, ClusterTime::new(clock, 0))
    }

    fn stamp(time: &ClusterTime) -> u64 {
        time.stamp(|| Timestamp::ZERO).as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_jumps_moves_no_stamp_by_more_than_a_thousandth() {
        for jumped in [0, 9 * HOUR, 1_000 * HOUR] {
            let (wall, time) = with_wall(10 * HOUR);
            assert_eq!(stamp(&time), 10 * HOUR);
            wall.store(jumped, Ordering::Relaxed);
            for _ in 0..600 {
                advance(Duration::from_millis(100)).await;
                stamp(&time);
            }
            let gone = stamp(&time) - 10 * HOUR;
            assert!((59_940..=60_060).contains(&gone), "{gone} of 60000 ms went by");
            assert_ne!(gone, 60_000, "it nears the wall clock at {jumped}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_leader_goes_on_where_the_one_before_stood() {
        for wall in [1, 10_000 * HOUR] {
            let (_, time) = with_wall(wall);
            time.hear(7, Timestamp::from_millis(10 * HOUR));
            advance(Duration::from_secs(5)).await;
            let first = stamp(&time);
            assert!((10 * HOUR + 4_995..=10 * HOUR + 5_005).contains(&first), "{first}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_under_way_does_not_hold_the_time_up() {
        let (_, time) = with_wall(10 * HOUR);
        stamp(&time);
        for _ in 0..1_000 {
            let at = time.now();
            advance(Duration::from_millis(20)).await;
            time.hear(1, at);
        }
        assert_eq!(time.now().as_millis(), 10 * HOUR + 20_000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_was_held_up_for_long_takes_no_time_back() {
        let (_, time) = with_wall(10 * HOUR);
        let stale = time.stamp(|| Timestamp::ZERO);
        advance(Duration::from_secs(15)).await;
        time.hear(1, stale);
        let now = stamp(&time);
        assert!((10 * HOUR + 14_900..=10 * HOUR + 15_000).contains(&now), "{now}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_whose_clock_is_a_little_fast_stays_with_its_leader() {
        let (_, time) = with_wall(10 * HOUR);
        for second in 0..20_000 {
            time.hear(1, Timestamp::from_millis(10 * HOUR + second * 1_000));
            advance(Duration::from_micros(1_000_500)).await;
        }
        let ahead = time.now().as_millis() - (10 * HOUR + 20_000_000);
        assert!((900..=1_100).contains(&ahead), "{ahead} ms ahead");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_leader_takes_the_later_of_its_wall_clock_and_the_replicated_one() {
        let replicated = || Timestamp::from_millis(5 * HOUR);
        assert_eq!(with_wall(10 * HOUR).1.stamp(replicated).as_millis(), 10 * HOUR);
        let (_, slow) = with_wall(1);
        slow.stamp(replicated);
        advance(Duration::from_secs(60)).await;
        let later = slow.stamp(replicated).as_millis();
        assert!(later > 5 * HOUR + 59_000, "keys expire though the wall clock is behind");
    }

    #[tokio::test(start_paused = true)]
    async fn entries_of_before_the_start_say_nothing_about_now() {
        let (wall, _) = with_wall(10 * HOUR);
        let clock = Clock::new(move || Timestamp::from_millis(wall.load(Ordering::Relaxed)));
        let time = ClusterTime::new(clock, 100);
        time.hear(100, Timestamp::from_millis(HOUR));
        assert_eq!(time.now().as_millis(), 10 * HOUR);
        time.hear(101, Timestamp::from_millis(HOUR));
        assert_eq!(time.now().as_millis(), HOUR);
    }
}
