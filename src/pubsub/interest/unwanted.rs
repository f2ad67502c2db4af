//! How often a message came that nobody here wanted, by its publisher and channel.
//!
//! Owns a table of fixed size. Does not remember names, only their hashes. Invariant: a count is never too low by more than what
//! was forgotten for rarer channels; it may be another channel's, which costs at most a prune that comes early.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ids::NodeId;
use crate::pubsub::Kind;

/// How many counts stand together; the one that was not raised for the longest makes room.
const WAYS: usize = 4;
/// How many such rows there are: 256 KiB in all.
const ROWS: usize = 4_096;

/// The counts. Takes no memory before the first.
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    rows: Vec<[Slot; WAYS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Zero when it is empty.
    mark: u64,
    count: u32,
}

impl Unwanted {
    /// Counts one message more, and gives the count.
    pub(super) fn count(&mut self, publisher: NodeId, kind: Kind, channel: &[u8]) -> u32 {
        if self.rows.is_empty() {
            self.rows = vec![[Slot::default(); WAYS]; ROWS];
        }
        let mut hasher = DefaultHasher::new();
        (publisher, kind, channel).hash(&mut hasher);
        let hash = hasher.finish();
        let (mark, row) = (hash | 1, usize::try_from(hash >> 32).unwrap_or(0) % ROWS);
        let Some(row) = self.rows.get_mut(row) else { return 1 };
        let place = row.iter().position(|slot| slot.mark == mark);
        let count = place.and_then(|place| row.get(place)).map_or(0, |slot| slot.count);
        let slot = Slot { mark, count: count.wrapping_add(1) };
        // The latest one first.
        if let Some(passed) = row.get_mut(..=place.unwrap_or(WAYS - 1)) {
            passed.rotate_right(1);
        }
        let [first, ..] = row;
        *first = slot;
        slot.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_publisher_and_channel_is_counted_for_itself() {
        let mut unwanted = Unwanted::default();
        let (one, other) = (NodeId::from_random(1), NodeId::from_random(2));
        for count in 1..=20 {
            assert_eq!(unwanted.count(one, Kind::Channel, b"c"), count);
            assert_eq!(unwanted.count(other, Kind::Channel, b"c"), count);
            assert_eq!(unwanted.count(one, Kind::Sharded, b"c"), count);
            assert_eq!(unwanted.count(one, Kind::Channel, b"d"), count);
        }
    }

    #[test]
    fn busy_channel_is_counted_among_many_that_are_used_once() {
        let mut unwanted = Unwanted::default();
        let publisher = NodeId::from_random(1);
        let mut count = 0;
        for number in 0..100_000_u32 {
            unwanted.count(publisher, Kind::Channel, &number.to_be_bytes());
            if number % 1_000 == 0 {
                count = unwanted.count(publisher, Kind::Channel, b"busy");
            }
        }
        assert_eq!(count, 100);
    }
}
