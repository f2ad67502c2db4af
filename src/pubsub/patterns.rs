//! Patterns and who listens by them, found by the channel they match.
//!
//! Owns the index. Does not know glob syntax beyond where a pattern's literal beginning ends. Invariant: a pattern stands
//! under its literal beginning, so a channel is tried only against patterns that begin as it does.

use std::collections::BTreeMap;

use bytes::Bytes;
use indexmap::IndexMap;

use super::table::{Listeners, SubscriberId};
use crate::command::glob;

/// The patterns under one literal beginning.
type Group<L> = BTreeMap<Bytes, Listeners<L>>;

/// The patterns of this node.
///
/// Cost: finding what matches a channel takes one lookup for each different length of literal beginnings, and one glob match
/// for each pattern whose beginning the channel shares.
#[derive(Debug)]
pub(super) struct Patterns<L> {
    by_beginning: IndexMap<Bytes, Group<L>>,
    /// How many groups have a beginning of that length.
    lengths: BTreeMap<usize, usize>,
}

impl<L> Default for Patterns<L> {
    fn default() -> Self {
        Self { by_beginning: IndexMap::new(), lengths: BTreeMap::new() }
    }
}

impl<L> Patterns<L> {
    /// Adds a listener. `pattern` is kept as it is, so it should own its bytes.
    pub(super) fn insert(&mut self, pattern: Bytes, subscriber: SubscriberId, listener: L) {
        let beginning = pattern.slice(..literal(&pattern));
        if !self.by_beginning.contains_key(&beginning) {
            *self.lengths.entry(beginning.len()).or_default() += 1;
        }
        let group = self.by_beginning.entry(beginning).or_default();
        group.entry(pattern).or_default().insert(subscriber, listener);
    }

    /// Removes a listener, and the pattern with the last one.
    pub(super) fn remove(&mut self, pattern: &[u8], subscriber: SubscriberId) {
        let beginning = pattern.get(..literal(pattern)).unwrap_or_default();
        let Some(group) = self.by_beginning.get_mut(beginning) else { return };
        let Some(listeners) = group.get_mut(pattern) else { return };
        listeners.remove(&subscriber);
        if !listeners.is_empty() {
            return;
        }
        group.remove(pattern);
        if !group.is_empty() {
            return;
        }
        self.by_beginning.swap_remove(beginning);
        if let Some(groups) = self.lengths.get_mut(&beginning.len()) {
            *groups -= 1;
            if *groups == 0 {
                self.lengths.remove(&beginning.len());
            }
        }
    }

    /// Shows each pattern that matches `channel`, with who listens by it.
    pub(super) fn matching<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Listeners<L>)> {
        self.lengths
            .range(..=channel.len())
            .filter_map(|(length, _)| self.by_beginning.get(channel.get(..*length)?))
            .flatten()
            .filter(|(pattern, _)| glob::matches(pattern, channel))
    }

    /// Gives every pattern.
    pub(super) fn names(&self) -> impl Iterator<Item = &Bytes> {
        self.by_beginning.values().flat_map(BTreeMap::keys)
    }

    /// Tells whether nothing is left, not even of the index.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_beginning.is_empty() && self.lengths.is_empty()
    }
}

/// Gives how many bytes at the beginning of a pattern stand for themselves.
fn literal(pattern: &[u8]) -> usize {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    pattern.iter().position(is_special).unwrap_or(pattern.len())
}
