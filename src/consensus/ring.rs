//! The last frames for followers, each encoded once and sent to all of them.
//!
//! Owns which frame begins where, and the bound on their bytes. Pure. Invariant: the frames kept are consecutive, and the last
//! one ends at `head`.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::NodeId;

/// The most frames that are sent in one go.
const TOGETHER_MAX: usize = 16;
/// The most bytes of them, unless one frame alone is larger.
const TOGETHER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Entries from one index to another, encoded.
#[derive(Clone, Debug)]
struct Frame {
    first: u64,
    last: u64,
    bytes: Bytes,
}

/// The last frames.
#[derive(Debug, Default)]
pub(super) struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The index of the last entry that there ever was a frame for; none while nobody is fed.
    head: Option<u64>,
    /// The term and the leader whose vote the frames bear.
    leader: Option<(u64, NodeId)>,
}

/// What a ring has for a follower.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Frames that begin where the follower stands, and where it stands behind them.
    Frames { frames: Vec<Bytes>, next: u64 },
    /// The follower has everything.
    Nothing,
    /// Not in the ring: the log has it, at least up to this index, at which frames of the ring follow.
    Log { until: u64 },
}

impl Ring {
    /// Begins anew behind `head`.
    pub(super) fn reset(&mut self, head: Option<u64>) {
        *self = Self { head, leader: self.leader, ..Self::default() };
    }

    /// Forgets the frames that were made under another leader's vote: a follower that has heard of the later one refuses
    /// them, so that the log must be read for it, under the vote of now.
    pub(super) fn set_leader(&mut self, leader: (u64, NodeId)) {
        if self.leader.replace(leader) != Some(leader) {
            self.frames.clear();
            self.bytes = 0;
        }
    }

    pub(super) const fn head(&self) -> Option<u64> {
        self.head
    }

    /// Takes the frame of the entries up to `last`; forgets the oldest ones beyond `bytes_max`.
    pub(super) fn push(&mut self, last: u64, bytes: Bytes, bytes_max: usize) {
        let first = self.head.map_or(last, |head| head.saturating_add(1));
        self.head = Some(last);
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.frames.push_back(Frame { first, last, bytes });
        while self.bytes > bytes_max
            && let Some(oldest) = self.frames.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.bytes.len());
        }
    }

    /// What comes for a follower whose next entry is `next`.
    pub(super) fn find(&self, next: u64) -> Found {
        let Some(head) = self.head.filter(|head| next <= *head) else {
            return Found::Nothing;
        };
        let place = self.frames.partition_point(|frame| frame.last < next);
        let Some(at) = self.frames.get(place) else {
            return Found::Log { until: head };
        };
        if at.first > next {
            return Found::Log { until: at.first.saturating_sub(1) };
        }
        if at.first < next {
            return Found::Log { until: at.last };
        }
        let (mut frames, mut size, mut next) = (Vec::new(), 0usize, next);
        for frame in self.frames.range(place..).take(TOGETHER_MAX) {
            size = size.saturating_add(frame.bytes.len());
            if !frames.is_empty() && size > TOGETHER_BYTES_MAX {
                break;
            }
            frames.push(frame.bytes.clone());
            next = frame.last.saturating_add(1);
        }
        Found::Frames { frames, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_gets_whole_frames_from_where_it_stands() {
        let mut ring = Ring::default();
        assert_eq!(ring.find(1), Found::Nothing);
        ring.reset(Some(10));
        assert_eq!(ring.find(11), Found::Nothing);
        assert_eq!(ring.find(5), Found::Log { until: 10 });
        let frame = |text: &'static str| Bytes::from_static(text.as_bytes());
        ring.push(13, frame("11-13"), 100);
        ring.push(20, frame("14-20"), 100);
        let both = Found::Frames { frames: vec![frame("11-13"), frame("14-20")], next: 21 };
        assert_eq!(ring.find(11), both);
        assert_eq!(ring.find(14), Found::Frames { frames: vec![frame("14-20")], next: 21 });
        assert_eq!(ring.find(12), Found::Log { until: 13 });
        assert_eq!(ring.find(5), Found::Log { until: 10 });
        assert_eq!(ring.find(21), Found::Nothing);
    }

    #[test]
    fn frames_under_the_vote_of_an_earlier_leader_go() {
        let mut ring = Ring::default();
        let leader = |term| (term, NodeId::from_random(1));
        ring.set_leader(leader(2));
        ring.reset(Some(0));
        ring.push(5, Bytes::from_static(b"1-5"), 100);
        ring.set_leader(leader(2));
        assert!(matches!(ring.find(1), Found::Frames { next: 6, .. }));
        ring.set_leader(leader(3));
        assert_eq!(ring.find(1), Found::Log { until: 5 });
        ring.push(6, Bytes::from_static(b"6"), 100);
        assert_eq!(ring.find(3), Found::Log { until: 5 });
        assert!(matches!(ring.find(6), Found::Frames { next: 7, .. }));
    }

    #[test]
    fn the_oldest_frames_go_beyond_the_bound() {
        let mut ring = Ring::default();
        ring.reset(Some(0));
        for last in 1..=10 {
            ring.push(last, Bytes::from_static(b"0123456789"), 35);
        }
        assert_eq!(ring.find(5), Found::Log { until: 7 });
        assert!(matches!(ring.find(8), Found::Frames { next: 11, .. }));
        // One that is larger than the bound is not kept at all; whoever needs it reads the log.
        ring.push(11, Bytes::from(vec![0; 100]), 35);
        assert_eq!(ring.find(11), Found::Log { until: 11 });
        assert_eq!(ring.head(), Some(11));
    }
}
