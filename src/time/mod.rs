//! Timestamps, the wall clock, and durations as text.
//!
//! Owns the only calls of `SystemTime::now`; everything else is handed a [`Clock`]. Timers use `tokio::time`, which
//! follows a paused clock in tests. Invariant: no decision of the replicated state asks a clock; it is told a [`Timestamp`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest instant there is.
    pub const ZERO: Self = Self(0);

    /// Makes a timestamp from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Gives milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Gives the instant `duration` later, at most the last one there is.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Gives how long ago `earlier` was, zero if it is yet to come.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Tells the wall-clock time. The real one in production, one that follows the paused timers in a simulation.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn(Timestamp) -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of this machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::ZERO.saturating_add(since)
        })
    }

    /// A clock that reads `start` now and advances with tokio's timers, paused or not.
    #[must_use]
    pub fn simulated(start: Timestamp) -> Self {
        let origin = Instant::now();
        Self::new(move || start.saturating_add(origin.elapsed()))
    }

    /// A clock that reads whatever `read` gives: one that is off, or that jumps.
    #[must_use]
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |last| read().max(last)))
    }

    /// The same time without its jumps: it starts with what this clock reads, goes on with the timers, and comes
    /// nearer to this clock by a hundredth of the time that passes.
    #[must_use]
    pub fn steady(self) -> Self {
        let steady = Mutex::new(Steady { at: Instant::now(), nanos: nanos(self.now()) });
        Self(Arc::new(move |last| steady.lock().advance(self.now(), last)))
    }

    /// Tells the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now_from(Timestamp::ZERO)
    }

    /// Tells the time, `last` if that is later. A steady clock goes on from there, so that time never stands still.
    #[must_use]
    pub fn now_from(&self, last: Timestamp) -> Timestamp {
        (self.0)(last)
    }
}

/// The hand of a steady clock. Invariant: it never goes back.
struct Steady {
    at: Instant,
    nanos: u64,
}

impl Steady {
    /// How many times slower than time itself it comes nearer to the clock it follows.
    const PATIENCE: u64 = 100;

    fn advance(&mut self, wall: Timestamp, last: Timestamp) -> Timestamp {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let (next, wall) = (self.nanos.saturating_add(passed), nanos(wall));
        let most = passed / Self::PATIENCE;
        let next = wall.clamp(next.saturating_sub(most), next.saturating_add(most));
        (self.at, self.nanos) = (now, next.max(nanos(last)));
        Timestamp(self.nanos / 1_000_000)
    }
}

const fn nanos(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000_000)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Reads and writes a [`Duration`] as text with its unit (`"300ms"`, `"2s"`), for `#[serde(with = "…")]`.
pub mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes the duration as text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads the duration from text.
    ///
    /// # Errors
    /// When the text is no duration with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(input)?;
        humantime::parse_duration(&text).map_err(|e| {
            de::Error::custom(format!(
                "'{text}' is not a duration such as \"300ms\" or \"2s\": {e}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_clock_follows_the_paused_timers() {
        let clock = Clock::simulated(Timestamp::from_millis(1_000));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(1_250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_clock_takes_no_part_in_jumps_and_never_stands_still() {
        let wall = Arc::new(std::sync::atomic::AtomicU64::new(100_000));
        let read = Arc::clone(&wall);
        let order = std::sync::atomic::Ordering::Relaxed;
        let clock = Clock::new(move || Timestamp::from_millis(read.load(order))).steady();
        assert_eq!(clock.now().as_millis(), 100_000);
        // A day ahead, and then a minute back: a hundredth of the ten seconds that pass each time.
        for (at, shown) in [(86_500_000, 110_100), (40_000, 120_000)] {
            wall.store(at, order);
            tokio::time::advance(Duration::from_secs(10)).await;
            assert_eq!(clock.now().as_millis(), shown);
        }
        // It was told of a later time, from which it goes on.
        assert_eq!(clock.now_from(Timestamp::from_millis(500_000)).as_millis(), 500_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now().as_millis(), 500_990);
        // One that is not steady stands still there.
        let plain = Clock::new(|| Timestamp::from_millis(7));
        assert_eq!(plain.now_from(Timestamp::from_millis(9)).as_millis(), 9);
    }
}
