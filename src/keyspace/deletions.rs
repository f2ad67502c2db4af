//! Remembers when keys were deleted, so that `WATCH` notices a key that came and went.
//!
//! Owns the recent deletions as 64-bit hashes of (database, key), oldest first, bounded. A collision or a forgotten
//! deletion makes a transaction abort that need not have; never the reverse. Invariant: a deletion younger than `floor`
//! is found here.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::shards::hash_of;

/// How many deletions are remembered.
pub(crate) const REMEMBERED: usize = 16_384;

/// The latest deletions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub(crate) struct Deletions {
    /// Hashes with their revisions, the oldest first.
    order: VecDeque<(u64, u64)>,
    /// The last revision of each hash in `order`.
    latest: BTreeMap<u64, u64>,
    /// The revision of the youngest deletion that was forgotten.
    floor: u64,
}

/// What a snapshot keeps of them: the floor and the order; the rest follows from it.
#[derive(Serialize, Deserialize)]
struct Kept(u64, VecDeque<(u64, u64)>);

impl From<Deletions> for Kept {
    fn from(deletions: Deletions) -> Self {
        Self(deletions.floor, deletions.order)
    }
}

impl From<Kept> for Deletions {
    fn from(Kept(floor, order): Kept) -> Self {
        let latest = order.iter().copied().collect();
        Self { order, latest, floor }
    }
}

impl Deletions {
    /// Notes that the key went at `revision`.
    pub(crate) fn note(&mut self, database: u8, key: &[u8], revision: u64) {
        let hash = mix(database, key);
        self.order.push_back((hash, revision));
        self.latest.insert(hash, revision);
        if self.order.len() > REMEMBERED
            && let Some((hash, revision)) = self.order.pop_front()
        {
            self.floor = revision;
            if self.latest.get(&hash) == Some(&revision) {
                self.latest.remove(&hash);
            }
        }
    }

    /// Notes that any key of any database may have gone at `revision`.
    pub(crate) fn note_all(&mut self, revision: u64) {
        *self = Self { floor: revision, ..Self::default() };
    }

    /// Tells whether the key may have been deleted after `revision`.
    pub(crate) fn may_be_since(&self, database: u8, key: &[u8], revision: u64) -> bool {
        revision < self.floor
            || self.latest.get(&mix(database, key)).is_some_and(|at| *at > revision)
    }
}

fn mix(database: u8, key: &[u8]) -> u64 {
    hash_of(key) ^ u64::from(database).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_deletion_counts_as_one() {
        let mut deletions = Deletions::default();
        deletions.note(0, b"a", 5);
        assert!(deletions.may_be_since(0, b"a", 4));
        assert!(!deletions.may_be_since(0, b"a", 5));
        assert!(!deletions.may_be_since(1, b"a", 4));
        for revision in 6..=(6 + REMEMBERED as u64) {
            deletions.note(0, b"b", revision);
        }
        assert!(deletions.may_be_since(0, b"a", 4), "forgotten, hence assumed");
        assert!(!deletions.may_be_since(0, b"a", 6 + REMEMBERED as u64));
    }
}
