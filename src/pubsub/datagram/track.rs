//! The order of one publisher's unreliable messages. Pure: it receives none.
//!
//! Owns which message is newer than all of its channel that came before, and the counts of those that never came or came too
//! late. Does not deliver. Invariants: of one publisher's messages to one channel, only ever newer ones pass; what is
//! remembered of channels is bounded, and forgetting one lets no older message pass.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::wire::{Source, Unreliable};
use crate::pubsub::Kind;

/// How many channels of one publisher are remembered.
const CHANNELS_MAX: usize = 1_024;

/// What came from one publisher.
#[derive(Debug)]
pub(crate) struct Track {
    source: Source,
    /// The first number that was heard of this source.
    first: u64,
    /// The number after the highest one.
    next: u64,
    /// The newest message of each channel.
    newest: BTreeMap<(Kind, Bytes), u64>,
    /// The same by their numbers.
    channels: BTreeMap<u64, (Kind, Bytes)>,
    channels_max: usize,
    /// What is below and to a channel that is not remembered may be older than one that came.
    floor: u64,
    pub(crate) counts: Counts,
}

/// How the messages of one publisher fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) missing: u64,
    pub(crate) stale: u64,
    pub(crate) malformed: u64,
}

impl Default for Track {
    fn default() -> Self {
        Self::new(CHANNELS_MAX)
    }
}

impl Track {
    fn new(channels_max: usize) -> Self {
        Self {
            source: Source::default(),
            first: 0,
            next: 0,
            newest: BTreeMap::new(),
            channels: BTreeMap::new(),
            channels_max,
            floor: 0,
            counts: Counts::default(),
        }
    }

    /// Counts a message, and tells whether it passes.
    pub(crate) fn passes(&mut self, message: &Unreliable) -> bool {
        let Unreliable { source, number, kind, ref channel, .. } = *message;
        if source < self.source {
            self.counts.stale += 1;
            return false;
        }
        if source > self.source {
            let (counts, limit) = (self.counts, self.channels_max);
            *self = Self { source, first: number, next: number, counts, ..Self::new(limit) };
        }
        if number >= self.next {
            self.counts.missing = self.counts.missing.saturating_add(number - self.next);
            self.next = number.saturating_add(1);
        } else if number >= self.first {
            // It was taken for missing when a later one came.
            self.counts.missing = self.counts.missing.saturating_sub(1);
        }
        let key = (kind, channel.clone());
        let newest = self.newest.get(&key).copied();
        if newest.map_or(number < self.floor, |newest| number <= newest) {
            self.counts.stale += 1;
            return false;
        }
        self.remember(key, newest, number);
        self.counts.received += 1;
        true
    }

    fn remember(&mut self, (kind, channel): (Kind, Bytes), before: Option<u64>, number: u64) {
        // The name is a piece of the datagram.
        let forgotten = before.and_then(|before| self.channels.remove(&before));
        let key = forgotten.unwrap_or_else(|| (kind, Bytes::copy_from_slice(&channel)));
        self.newest.insert(key.clone(), number);
        // A peer that gives a number twice has the older channel forgotten.
        if let Some(other) = self.channels.insert(number, key.clone()).filter(|other| *other != key)
        {
            self.forget(&other, number);
        }
        if self.channels.len() > self.channels_max
            && let Some((number, key)) = self.channels.pop_first()
        {
            self.forget(&key, number);
        }
    }

    fn forget(&mut self, key: &(Kind, Bytes), number: u64) {
        self.newest.remove(key);
        self.floor = self.floor.max(number.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(generation: u64, number: u64, channel: &str) -> Unreliable {
        let source = Source { generation, lane: 1 };
        let (channel, payload) = (Bytes::from(channel.to_owned()), Bytes::new());
        Unreliable { source, number, position: 0, kind: Kind::Channel, channel, payload }
    }

    #[test]
    fn an_older_message_passes_only_if_its_channel_has_no_newer_one() {
        let mut track = Track::default();
        assert!(track.passes(&message(1, 10, "a")));
        assert!(track.passes(&message(1, 13, "b")));
        assert_eq!(track.counts.missing, 2);
        assert!(track.passes(&message(1, 11, "a")), "late, and the newest of its channel");
        assert!(!track.passes(&message(1, 12, "b")), "b has a newer one");
        assert!(!track.passes(&message(1, 10, "a")));
        let Counts { received, missing, stale, .. } = track.counts;
        assert_eq!((received, missing, stale), (3, 0, 2));
    }

    #[test]
    fn another_start_of_the_publisher_begins_anew_and_ends_the_one_before() {
        let mut track = Track::default();
        assert!(track.passes(&message(1, 1_000, "a")));
        assert!(track.passes(&message(2, 0, "a")));
        assert!(!track.passes(&message(1, 1_001, "a")));
        assert!(!track.passes(&message(1, 1_002, "new")));
        assert_eq!(track.counts.missing, 0);
    }

    #[test]
    fn what_is_forgotten_lets_nothing_old_pass() {
        let mut track = Track::new(2);
        for (number, channel) in [(5, "a"), (6, "b"), (7, "c")] {
            assert!(track.passes(&message(1, number, channel)));
        }
        assert_eq!((track.newest.len(), track.channels.len()), (2, 2));
        assert!(!track.passes(&message(1, 4, "a")), "a is forgotten");
        assert!(!track.passes(&message(1, 4, "d")));
        assert!(track.passes(&message(1, 8, "a")));
    }

    #[test]
    fn numbers_at_their_end_harm_nobody() {
        let mut track = Track::new(2);
        assert!(track.passes(&message(1, u64::MAX, "a")));
        assert!(track.passes(&message(1, u64::MAX, "b")));
        assert!(track.passes(&message(1, u64::MAX, "c")) || track.newest.len() <= 2);
        assert!(!track.passes(&message(1, 0, "a")));
        assert!(track.newest.len() <= 2 && track.channels.len() <= 2);
    }

    proptest! {
        #[test]
        fn whatever_comes_each_channel_only_grows_and_memory_is_bounded(
            arrivals in prop::collection::vec((1_u64..3, 0_u64..40, 0_u8..6), 0..200),
        ) {
            let mut track = Track::new(3);
            let mut newest = BTreeMap::new();
            for (generation, number, channel) in arrivals {
                let message = message(generation, number, &channel.to_string());
                if track.passes(&message) {
                    let before = newest.insert(channel, (generation, number));
                    prop_assert!(before < Some((generation, number)), "{before:?}");
                }
                prop_assert!(track.newest.len() <= 3 && track.channels.len() <= 3);
                prop_assert_eq!(track.newest.len(), track.channels.len());
            }
        }
    }
}
