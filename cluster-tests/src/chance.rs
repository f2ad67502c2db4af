//! Chance that can be repeated.
//!
//! Owns: a small generator (SplitMix64) that gives the same sequence for the same seed. Does not own: what is decided by
//! it. Invariant: the seed in use can always be told, so that a run can be repeated as far as real processes allow.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A generator.
#[derive(Debug, Clone)]
pub struct Chance {
    rng_seed: u64,
    state: u64,
}

impl Chance {
    /// Begins with `rng_seed`, or with one that differs from run to run.
    #[must_use]
    pub fn new(rng_seed: Option<u64>) -> Self {
        let drawn = || std::hash::RandomState::new().build_hasher().finish() % 1_000_000;
        let rng_seed = rng_seed.unwrap_or_else(drawn);
        Self { rng_seed, state: rng_seed }
    }

    /// Returns what it began with.
    #[must_use]
    pub const fn rng_seed(&self) -> u64 {
        self.rng_seed
    }

    /// Draws the next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        bytes
    }

    /// Draws a number below `bound`, or 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// Draws a time from `from` to `to`.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_millis();
        from + Duration::from_millis(self.below(usize::try_from(span).unwrap_or(0) + 1) as u64)
    }

    /// Draws one of `items`.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len())).copied()
    }

    /// Begins another generator, whose sequence has nothing to do with this one's.
    #[must_use]
    pub const fn branch(&mut self) -> Self {
        let rng_seed = self.next();
        Self { rng_seed, state: rng_seed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (mut one, mut two) = (Chance::new(Some(7)), Chance::new(Some(7)));
        for _ in 0..100 {
            assert_eq!(one.next(), two.next());
            assert!(one.below(3) < 3);
            two.next();
        }
        assert_eq!(one.below(0), 0);
        let (low, high) = (Duration::from_millis(5), Duration::from_millis(9));
        assert!((low..=high).contains(&one.between(low, high)));
        assert_eq!(one.pick::<u8>(&[]), None);
    }
}
