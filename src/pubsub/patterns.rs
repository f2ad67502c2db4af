//! Patterns and who listens by them, found by the channel they match.
//!
//! Owns the index. Does not know glob syntax. Invariant: each pattern stands in one group, and every channel that the pattern
//! matches leads to that group.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use indexmap::IndexMap;
use memchr::memmem::find;

use super::table::{Listeners, SubscriberId};
use crate::command::glob;

/// The longest beginning or ending by which patterns are found.
const ANCHOR_MAX: usize = 64;
/// The lengths of the parts by which patterns are found that have neither.
const INNER: [usize; 4] = [8, 4, 2, 1];
/// How many parts of one pattern are weighed against each other at most.
const WEIGHED_MAX: usize = 64;
/// From how many patterns on a group is avoided by those that can stand elsewhere.
const CROWD: usize = 8;

/// The patterns that are found together.
type Group<L> = BTreeMap<Bytes, Listeners<L>>;

/// The patterns of this node.
///
/// A pattern is found by its beginning, its ending or a part inside of it, up to its signs: by the first of these whose group is
/// small, so that 10,000 patterns that begin alike are found by what tells them apart. Cost of finding what matches a
/// channel: one lookup for each different length of beginnings and endings, for each of at most four lengths of parts one for
/// each byte of the channel, and one glob match for each pattern of the groups found and for each that is nothing but signs.
#[derive(Debug)]
pub(super) struct Patterns<L> {
    /// Every pattern with where it stands.
    homes: IndexMap<Bytes, Home>,
    beginnings: Shelf<L>,
    endings: Shelf<L>,
    inner: Shelf<L>,
    /// Those that have no byte that stands for itself.
    others: Group<L>,
}

/// By what a pattern is found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Home {
    Beginning(Range<usize>),
    Ending(Range<usize>),
    Inner(Range<usize>),
    Others,
}

/// Groups of patterns by what they have in common.
#[derive(Debug)]
struct Shelf<L> {
    groups: IndexMap<Bytes, Group<L>>,
    /// How many groups have an anchor of that length.
    lengths: BTreeMap<usize, usize>,
}

impl<L> Default for Patterns<L> {
    fn default() -> Self {
        Self {
            homes: IndexMap::new(),
            beginnings: Shelf::default(),
            endings: Shelf::default(),
            inner: Shelf::default(),
            others: Group::new(),
        }
    }
}

impl<L> Patterns<L> {
    /// Adds a listener. `pattern` is kept as it is, so it should own its bytes.
    pub(super) fn insert(&mut self, pattern: Bytes, subscriber: SubscriberId, listener: L) {
        let home = match self.homes.get(&pattern) {
            Some(home) => home.clone(),
            None => {
                let home = self.choose(&pattern);
                self.homes.insert(pattern.clone(), home.clone());
                home
            }
        };
        let group = match self.shelf(&home) {
            Some((shelf, anchor)) => shelf.open(pattern.get(anchor).unwrap_or_default()),
            None => &mut self.others,
        };
        group.entry(pattern).or_default().insert(subscriber, listener);
    }

    /// Removes a listener, and the pattern with the last one.
    pub(super) fn remove(&mut self, pattern: &[u8], subscriber: SubscriberId) {
        let Some(home) = self.homes.get(pattern).cloned() else { return };
        let is_gone = match self.shelf(&home) {
            Some((shelf, anchor)) => {
                shelf.remove(pattern.get(anchor).unwrap_or_default(), pattern, subscriber)
            }
            None => remove_from(&mut self.others, pattern, subscriber),
        };
        if is_gone {
            self.homes.swap_remove(pattern);
        }
    }

    /// Gives each pattern that matches `channel`, with who listens by it.
    pub(super) fn matching<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Listeners<L>)> {
        let candidates = self.groups(channel).flatten();
        candidates.filter(|(pattern, _)| glob::matches(pattern, channel))
    }

    /// Gives the groups that a channel leads to.
    fn groups<'a>(&'a self, channel: &'a [u8]) -> impl Iterator<Item = &'a Group<L>> {
        let beginnings = self.beginnings.lengths_up_to(channel.len());
        let beginnings =
            beginnings.filter_map(|length| self.beginnings.groups.get(channel.get(..length)?));
        let endings = self.endings.lengths_up_to(channel.len());
        let endings = endings.filter_map(|length| {
            self.endings.groups.get(channel.get(channel.len().checked_sub(length)?..)?)
        });
        let groups = beginnings.chain(endings).chain(self.inner.inside(channel));
        groups.chain(std::iter::once(&self.others))
    }

    /// Tells how many patterns are held against `channel`.
    #[cfg(test)]
    pub(super) fn candidates(&self, channel: &[u8]) -> usize {
        self.groups(channel).map(BTreeMap::len).sum()
    }

    /// Gives every pattern.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.homes.keys()
    }

    /// Tells whether nothing is left, not even of the index.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let shelves = [&self.beginnings, &self.endings, &self.inner];
        self.homes.is_empty()
            && self.others.is_empty()
            && shelves.iter().all(|shelf| shelf.groups.is_empty() && shelf.lengths.is_empty())
    }

    /// Chooses by what a new pattern is found: by the first that is not crowded, else by the least crowded.
    fn choose(&self, pattern: &[u8]) -> Home {
        let literals = glob::literals(pattern);
        let beginning = literals.first().filter(|first| first.start == 0).map(|first| {
            let anchor = 0..first.end.min(ANCHOR_MAX);
            Home::Beginning(anchor)
        });
        let ending = literals.last().filter(|last| last.end == pattern.len()).map(|last| {
            let anchor = last.start.max(last.end.saturating_sub(ANCHOR_MAX))..last.end;
            Home::Ending(anchor)
        });
        let mut best = (usize::MAX, Home::Others);
        for home in beginning.into_iter().chain(ending).chain(inner_homes(literals)) {
            let crowd = self.crowd(pattern, &home);
            if crowd < best.0 {
                best = (crowd, home);
            }
            if crowd < CROWD {
                break;
            }
        }
        best.1
    }

    fn crowd(&self, pattern: &[u8], home: &Home) -> usize {
        let (shelf, anchor) = match home {
            Home::Beginning(anchor) => (&self.beginnings, anchor),
            Home::Ending(anchor) => (&self.endings, anchor),
            Home::Inner(anchor) => (&self.inner, anchor),
            Home::Others => return self.others.len(),
        };
        let anchor = pattern.get(anchor.clone()).unwrap_or_default();
        shelf.groups.get(anchor).map_or(0, BTreeMap::len)
    }

    fn shelf(&mut self, home: &Home) -> Option<(&mut Shelf<L>, Range<usize>)> {
        match home {
            Home::Beginning(anchor) => Some((&mut self.beginnings, anchor.clone())),
            Home::Ending(anchor) => Some((&mut self.endings, anchor.clone())),
            Home::Inner(anchor) => Some((&mut self.inner, anchor.clone())),
            Home::Others => None,
        }
    }
}

/// Gives parts of the longest kind that `literals` have, the last ones first: names differ more often at their ends.
fn inner_homes(literals: Vec<Range<usize>>) -> impl Iterator<Item = Home> {
    let longest = literals.iter().map(Range::len).max().unwrap_or(0);
    let length = INNER.into_iter().find(|length| *length <= longest).unwrap_or(1);
    let parts = literals.into_iter().rev().flat_map(move |literal| {
        let starts = literal.start..(literal.end + 1).saturating_sub(length);
        starts.rev().map(move |start| start..start + length)
    });
    parts.take(WEIGHED_MAX).map(Home::Inner)
}

/// Removes a listener from a group; tells whether it was the last one of its pattern.
fn remove_from<L>(group: &mut Group<L>, pattern: &[u8], subscriber: SubscriberId) -> bool {
    let Some(listeners) = group.get_mut(pattern) else { return false };
    listeners.remove(&subscriber);
    let is_gone = listeners.is_empty();
    if is_gone {
        group.remove(pattern);
    }
    is_gone
}

impl<L> Default for Shelf<L> {
    fn default() -> Self {
        Self { groups: IndexMap::new(), lengths: BTreeMap::new() }
    }
}

impl<L> Shelf<L> {
    /// Gives the group of an anchor, which it makes if there is none.
    fn open(&mut self, anchor: &[u8]) -> &mut Group<L> {
        if !self.groups.contains_key(anchor) {
            *self.lengths.entry(anchor.len()).or_default() += 1;
        }
        // A copy, which does not keep the first pattern of the group in memory.
        self.groups.entry(Bytes::copy_from_slice(anchor)).or_default()
    }

    /// Removes a listener, and the group with the last one; tells whether it was the last one of its pattern.
    fn remove(&mut self, anchor: &[u8], pattern: &[u8], subscriber: SubscriberId) -> bool {
        let Some(group) = self.groups.get_mut(anchor) else { return false };
        let is_gone = remove_from(group, pattern, subscriber);
        if group.is_empty() {
            self.groups.swap_remove(anchor);
            if let Some(groups) = self.lengths.get_mut(&anchor.len()) {
                *groups -= 1;
                if *groups == 0 {
                    self.lengths.remove(&anchor.len());
                }
            }
        }
        is_gone
    }

    fn lengths_up_to(&self, length: usize) -> impl Iterator<Item = usize> {
        self.lengths.range(..=length).map(|(length, _)| *length)
    }

    /// Gives each group once whose anchor stands anywhere in `channel`.
    fn inside<'a>(&'a self, channel: &'a [u8]) -> impl Iterator<Item = &'a Group<L>> {
        let lookups = self.lengths.len().saturating_mul(channel.len());
        let found: BTreeSet<usize> = if self.groups.len() < lookups {
            let anchors = self.groups.keys().enumerate();
            let is_inside = |(_, anchor): &(usize, &Bytes)| find(channel, anchor).is_some();
            anchors.filter(is_inside).map(|(index, _)| index).collect()
        } else {
            let parts =
                self.lengths_up_to(channel.len()).flat_map(|length| channel.windows(length));
            parts.filter_map(|part| self.groups.get_index_of(part)).collect()
        };
        found.into_iter().filter_map(|index| self.groups.get_index(index)).map(|(_, group)| group)
    }
}
