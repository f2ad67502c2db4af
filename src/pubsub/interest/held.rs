//! The publisher's role: which peers have pruned which channel.
//!
//! Owns that table and its bound. Does not know why they did. Invariant: what does not fit is forgotten, least used first,
//! and a peer whose prune is forgotten is sent everything.

use std::cell::Cell;
use std::collections::BTreeMap;

use indexmap::{Equivalent, IndexMap};

use super::{Limits, Name};
use crate::ids::NodeId;
use crate::pubsub::Kind;

/// How many used channels in a row are spared before one is forgotten all the same.
const SPARED_MAX: usize = 64;

/// What peers have pruned.
#[derive(Debug, Default)]
pub(super) struct Held {
    channels: IndexMap<Name, Pruners>,
    /// How many channels each peer has pruned.
    counts: BTreeMap<NodeId, u64>,
    /// Invariant: the sum of all counts.
    pruned: usize,
    /// Invariant: the sum of the names' lengths, each once.
    bytes: u64,
    /// The channel that is looked at first when one is to be forgotten.
    hand: usize,
}

/// Who has pruned one channel.
#[derive(Debug)]
struct Pruners {
    /// In order; never empty.
    peers: Vec<NodeId>,
    /// Whether something was published since it was last looked at.
    is_used: Cell<bool>,
}

/// A name to look up without making one.
#[derive(Hash)]
struct Query<'a>(Kind, &'a [u8]);

impl Equivalent<Name> for Query<'_> {
    fn equivalent(&self, (kind, channel): &Name) -> bool {
        self.0 == *kind && self.1 == channel
    }
}

impl Held {
    /// Gives who has pruned a channel, in order.
    pub(super) fn of(&self, kind: Kind, channel: &[u8]) -> &[NodeId] {
        if self.channels.is_empty() {
            return &[];
        }
        let Some(pruners) = self.channels.get(&Query(kind, channel)) else { return &[] };
        pruners.is_used.set(true);
        &pruners.peers
    }

    /// Notes a peer's prune, and forgets others if there is no room.
    pub(super) fn insert(&mut self, limits: Limits, peer: NodeId, name: Name) {
        let size = name.1.len() as u64;
        let entry = self.channels.entry(name);
        let pruners = entry.or_insert_with(|| {
            self.bytes += size;
            Pruners { peers: Vec::with_capacity(1), is_used: Cell::new(true) }
        });
        let Err(place) = pruners.peers.binary_search(&peer) else { return };
        pruners.peers.insert(place, peer);
        *self.counts.entry(peer).or_default() += 1;
        self.pruned += 1;
        while self.pruned > limits.prunes || self.bytes > limits.bytes {
            self.forget_one();
        }
    }

    /// Forgets a channel that nobody has published to for the longest, or nearly so.
    fn forget_one(&mut self) {
        for _ in 0..SPARED_MAX {
            let Some((_, pruners)) = self.channels.get_index(self.hand) else {
                self.hand = 0;
                continue;
            };
            if !pruners.is_used.replace(false) {
                break;
            }
            self.hand += 1;
        }
        self.hand = self.hand.min(self.channels.len().saturating_sub(1));
        if let Some(((_, channel), pruners)) = self.channels.swap_remove_index(self.hand) {
            self.bytes -= channel.len() as u64;
            pruners.peers.into_iter().for_each(|peer| self.uncount(peer, 1));
        }
    }

    /// Forgets one prune of a peer.
    pub(super) fn remove(&mut self, peer: NodeId, name: &Name) {
        let Some(pruners) = self.channels.get_mut(name) else { return };
        let Ok(place) = pruners.peers.binary_search(&peer) else { return };
        pruners.peers.remove(place);
        if pruners.peers.is_empty() {
            self.channels.swap_remove(name);
            self.bytes -= name.1.len() as u64;
        }
        self.uncount(peer, 1);
    }

    /// Forgets all prunes of a peer.
    pub(super) fn clear(&mut self, peer: NodeId) {
        let Some(count) = self.counts.get(&peer).copied() else { return };
        let bytes = &mut self.bytes;
        self.channels.retain(|(_, channel), pruners| {
            pruners.peers.retain(|pruner| *pruner != peer);
            if pruners.peers.is_empty() {
                *bytes -= channel.len() as u64;
            }
            !pruners.peers.is_empty()
        });
        self.uncount(peer, count);
    }

    fn uncount(&mut self, peer: NodeId, less: u64) {
        self.pruned -= usize::try_from(less).unwrap_or(usize::MAX);
        if let Some(count) = self.counts.get_mut(&peer) {
            *count -= less;
            if *count == 0 {
                self.counts.remove(&peer);
            }
        }
    }

    /// Gives how many channels a peer has pruned.
    pub(super) fn count(&self, peer: NodeId) -> u64 {
        self.counts.get(&peer).copied().unwrap_or(0)
    }

    /// Checks the sums against what they stand for, and the bound.
    #[cfg(test)]
    pub(super) fn check(&self, limits: Limits) {
        let pruned: usize = self.channels.values().map(|pruners| pruners.peers.len()).sum();
        let bytes: u64 = self.channels.keys().map(|(_, channel)| channel.len() as u64).sum();
        let counted: u64 = self.counts.values().sum();
        assert_eq!((pruned, bytes, pruned as u64), (self.pruned, self.bytes, counted));
        assert!(pruned <= limits.prunes && bytes <= limits.bytes, "{pruned} {bytes}");
        assert!(self.channels.values().all(|pruners| pruners.peers.is_sorted()));
        assert!(self.channels.values().all(|pruners| !pruners.peers.is_empty()));
    }
}
