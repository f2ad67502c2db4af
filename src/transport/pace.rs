//! Keeps datagrams from taking a link for themselves. Pure: it sends nothing.
//!
//! ```text
//! free ──buffer never empty for BUSY_MAX──► draining ──buffer empty──► resting for REST ──► free
//! ```
//!
//! Owns the decision whether one more datagram may be sent. Does not know sizes or windows. Why: the QUIC engine fills each
//! packet with the datagrams that wait before it takes bytes of streams, so that whoever sends datagrams faster than a link
//! carries them would stop votes and the log on it. Invariant: streams have the link whenever the buffer is empty, which it
//! is before any datagram is taken after BUSY_MAX.

use std::time::Duration;

use tokio::time::Instant;

/// For how long datagrams may keep their buffer from being empty.
const BUSY_MAX: Duration = Duration::from_millis(50);
/// For how long none is taken after that, once the buffer is empty.
const REST: Duration = Duration::from_millis(50);

/// The state of one link.
#[derive(Debug, Default)]
pub(super) enum Pace {
    /// Nothing waited when last looked.
    #[default]
    Free,
    /// Something has waited at every look since then.
    Busy(Instant),
    /// None is taken until nothing waits.
    Draining,
    /// None is taken until then.
    Resting(Instant),
}

impl Pace {
    /// Tells whether a datagram may be sent now; `is_empty` is whether none waits.
    pub(super) fn admits(&mut self, now: Instant, is_empty: bool) -> bool {
        let (next, is_admitted) = match *self {
            Self::Draining if is_empty => (Self::Resting(now + REST), false),
            Self::Draining => (Self::Draining, false),
            Self::Resting(until) if now < until => (Self::Resting(until), false),
            Self::Resting(_) | Self::Free => (Self::Busy(now), true),
            Self::Busy(_) if is_empty => (Self::Busy(now), true),
            Self::Busy(since) if now.duration_since(since) < BUSY_MAX => (Self::Busy(since), true),
            Self::Busy(_) => (Self::Draining, false),
        };
        *self = next;
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_that_keeps_up_is_never_held_back() {
        let mut pace = Pace::default();
        for round in 0..10_000 {
            assert!(pace.admits(Instant::now(), round % 40 == 0), "{round}");
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_is_given_to_streams_by_turns() {
        let mut pace = Pace::default();
        let mut turns = Vec::new();
        for millis in 0..400 {
            // It takes 20 ms to send what waits when no more is taken.
            let is_empty = millis % 120 >= 70;
            turns.push(pace.admits(Instant::now(), is_empty));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(turns[..50], [true; 50]);
        assert_eq!(turns[50..120], [false; 70]);
        assert_eq!(turns[120..170], [true; 50]);
        assert_eq!(turns[170..240], [false; 70]);
    }
}
