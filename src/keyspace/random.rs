//! Answers that clients expect to be random: `RANDOMKEY`, `SPOP`, `SRANDMEMBER`, `HRANDFIELD`.
//!
//! Owns the small generator (SplitMix64) behind them. It is seeded by the state, so that every replica draws the same;
//! it is no source of secrets. Invariant: the same seed gives the same draws, for ever, because the log is replayed.

use super::access::{Reader, Writer};

/// Draws numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0. Its bias is below one in 2^64 / `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

impl Reader<'_> {
    /// The generator of a read: another one whenever the state or the clock has moved.
    pub(crate) const fn random(&self) -> Random {
        Random::new(self.keyspace.revision ^ self.at.as_millis().rotate_left(32))
    }
}

impl Writer<'_> {
    /// The generator of the command that is applied now. Draw from one per command: each starts anew.
    pub(crate) const fn random(&self) -> Random {
        Random::new(self.keyspace.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_pinned_and_spread() {
        let mut random = Random::new(0);
        assert_eq!(
            random.bits(),
            0xe220_a839_7b1d_cdaf,
            "the log of a running cluster relies on it"
        );
        let mut seen = [0; 10];
        for seed in 0..1000 {
            seen[Random::new(seed).below(10)] += 1;
        }
        assert!(seen.iter().all(|count| (50..200).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
