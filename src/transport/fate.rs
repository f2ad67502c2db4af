//! What becomes of one datagram of a simulated network.
//!
//! Owns the faults that a link may have and the draws that decide between them. Does not own sockets, cuts or time.
//! Invariant: every datagram takes the same number of draws, whatever the link and its outcome, so that no fault shifts
//! the fate of another datagram.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::RngExt as _;
use rand::rngs::StdRng;

/// The most bytes that one corruption touches, next to each other.
const CORRUPTED_MAX: usize = 4;

/// How long a datagram may wait for those before it on a link with a rate.
const QUEUE_MAX: Duration = Duration::from_millis(500);

/// How datagrams fare on the way from one address to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// How long each takes at least.
    pub delay: Duration,
    /// How much longer one may take, evenly spread; above zero, datagrams overtake each other.
    pub jitter: Duration,
    /// The share that is lost, from 0 to 1.
    pub loss: f64,
    /// The share that arrives twice, from 0 to 1.
    pub duplication: f64,
    /// The share of arriving copies in which one to four bytes differ from what was sent, from 0 to 1. The length stays; a
    /// checksum below, as UDP's, is taken not to have noticed.
    pub corruption: f64,
    /// The longest datagram that arrives, in bytes; longer ones vanish without a word to their sender.
    pub size_max: usize,
    /// How many bytes a second go over it, one datagram after the other; what would wait longer than half a second is lost.
    pub rate: Option<NonZeroU32>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
            corruption: 0.0,
            size_max: usize::MAX,
            rate: None,
        }
    }
}

/// One copy of a datagram that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// How long it takes.
    pub(super) after: Duration,
    /// Where and how it is changed, if it is: a random number.
    pub(super) corruption: Option<u64>,
}

/// All that chance says about one datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    lost: f64,
    twice: f64,
    /// Of either copy.
    late: [f64; 2],
    corrupted: [f64; 2],
    place: [u64; 2],
}

impl Draws {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        Self {
            lost: rng.random(),
            twice: rng.random(),
            late: rng.random(),
            corrupted: rng.random(),
            place: rng.random(),
        }
    }
}

impl Link {
    /// When a datagram of `length` bytes that is sent at `now` has left, if the one before it leaves at `busy`. None if it is lost.
    pub(super) fn leaves(&self, now: Duration, busy: Duration, length: usize) -> Option<Duration> {
        let Some(rate) = self.rate else { return Some(now) };
        let begins = busy.max(now);
        let nanos = (length as u64).saturating_mul(1_000_000_000) / u64::from(rate.get());
        (begins - now <= QUEUE_MAX).then(|| begins + Duration::from_nanos(nanos))
    }

    /// Decides which copies of a datagram of `length` bytes arrive.
    pub(super) fn copies(&self, draws: &Draws, length: usize) -> Vec<Copy> {
        if draws.lost < self.loss || length > self.size_max {
            return Vec::new();
        }
        let count = if draws.twice < self.duplication { 2 } else { 1 };
        let chances = draws.late.iter().zip(draws.corrupted).zip(draws.place);
        let copy = |((late, corrupted), place): ((&f64, f64), u64)| Copy {
            after: self.delay + self.jitter.mul_f64(*late),
            corruption: (corrupted < self.corruption && length > 0).then_some(place),
        };
        chances.take(count).map(copy).collect()
    }
}

impl Copy {
    /// What arrives of `bytes`.
    pub(super) fn contents(&self, bytes: &Bytes) -> Bytes {
        let Some(place) = self.corruption else { return bytes.clone() };
        let mut changed = BytesMut::from(&bytes[..]);
        let [count, mask @ .., a, b, c] = place.to_le_bytes();
        let start = u32::from_le_bytes([a, b, c, 0]) as usize % changed.len().max(1);
        let count = usize::from(count) % CORRUPTED_MAX + 1;
        for (byte, mask) in changed.iter_mut().skip(start).zip(mask).take(count) {
            // At least one bit of each.
            *byte ^= mask | 1;
        }
        changed.freeze()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_corrupted_copy_differs_in_at_most_four_bytes_and_keeps_its_length() {
        let mut rng = StdRng::seed_from_u64(1);
        let link = Link { corruption: 1.0, duplication: 0.5, ..Link::default() };
        for length in 1..200 {
            let sent = Bytes::from(vec![7; length]);
            for copy in link.copies(&Draws::new(&mut rng), length) {
                let arrived = copy.contents(&sent);
                assert_eq!(arrived.len(), length);
                let changed = arrived.iter().filter(|byte| **byte != 7).count();
                assert!((1..=CORRUPTED_MAX).contains(&changed), "{changed} of {length}");
            }
        }
        let nothing = link.copies(&Draws::new(&mut rng), 0);
        assert!(nothing.iter().all(|copy| copy.contents(&Bytes::new()).is_empty()));
    }

    #[test]
    fn a_hole_swallows_what_is_longer_than_it_lets_through() {
        let link = Link { size_max: 600, ..Link::default() };
        let draws = Draws::new(&mut StdRng::seed_from_u64(1));
        assert_eq!(link.copies(&draws, 600).len(), 1);
        assert_eq!(link.copies(&draws, 601), []);
    }

    #[test]
    fn no_fault_shifts_the_fate_of_the_next_datagram() {
        let faults = [
            Link { loss: 1.0, ..Link::default() },
            Link { duplication: 1.0, ..Link::default() },
            Link { corruption: 1.0, ..Link::default() },
            Link { size_max: 1, ..Link::default() },
        ];
        let next = |first: Link| {
            let mut rng = StdRng::seed_from_u64(1);
            let _first = first.copies(&Draws::new(&mut rng), 100);
            let jitter = Duration::from_secs(1);
            Link { jitter, ..Link::default() }.copies(&Draws::new(&mut rng), 100)
        };
        for link in faults {
            assert_eq!(next(link), next(Link::default()), "{link:?}");
        }
    }

    #[test]
    fn shares_are_kept() {
        let mut rng = StdRng::seed_from_u64(1);
        let link = Link { loss: 0.2, duplication: 0.5, corruption: 0.1, ..Link::default() };
        let all: Vec<_> = (0..10_000).map(|_| link.copies(&Draws::new(&mut rng), 9)).collect();
        let share = |count: usize| count as f64 / 10_000.0;
        let lost = share(all.iter().filter(|copies| copies.is_empty()).count());
        let twice = share(all.iter().filter(|copies| copies.len() == 2).count());
        let changed = share(all.iter().flatten().filter(|copy| copy.corruption.is_some()).count());
        assert!((0.18..0.22).contains(&lost), "{lost}");
        assert!((0.37..0.43).contains(&twice), "{twice}");
        assert!((0.10..0.14).contains(&changed), "{changed}");
    }
}
