//! The log in memory: entries under consecutive indexes.
//!
//! Owns appending, cutting off the end and forgetting the beginning. Knows neither terms nor votes.
//! Invariant: entry `i` of the deque has the index `first + i`.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

/// Entries under consecutive indexes, each with its size in bytes.
#[derive(Debug)]
pub struct MemoryLog<E> {
    first: u64,
    entries: VecDeque<(E, usize)>,
    bytes: usize,
}

impl<E> Default for MemoryLog<E> {
    fn default() -> Self {
        Self { first: 0, entries: VecDeque::new(), bytes: 0 }
    }
}

impl<E: Clone> MemoryLog<E> {
    /// The index behind the last entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    /// How many bytes all entries have.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<&E> {
        self.entries.back().map(|(entry, _)| entry)
    }

    /// Puts an entry of `bytes` bytes at `index`, which must be the end unless the log is empty.
    ///
    /// # Errors
    /// [`Gap`] when it is not; then nothing is changed.
    pub fn push(&mut self, index: u64, entry: E, bytes: usize) -> Result<(), Gap> {
        if self.entries.is_empty() {
            self.first = index;
        } else if index != self.end() {
            return Err(Gap { index, end: self.end() });
        }
        self.entries.push_back((entry, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Takes out entries from `index` on, the last ones first and at most `most` of them; to be called until it gives none.
    #[must_use]
    pub fn truncate_from(&mut self, index: u64, most: usize) -> Vec<E> {
        let mut taken = Vec::new();
        while self.end() > index && taken.len() < most {
            let Some((entry, bytes)) = self.entries.pop_back() else { break };
            self.bytes = self.bytes.saturating_sub(bytes);
            taken.push(entry);
        }
        taken
    }

    /// Takes out entries up to `index`, that one included, at most `most` of them; to be called until it gives none. To
    /// free many entries takes long: let it be done where nobody waits.
    #[must_use]
    pub fn purge_to(&mut self, index: u64, most: usize) -> Vec<E> {
        let mut taken = Vec::new();
        while self.first <= index && taken.len() < most {
            let Some((entry, bytes)) = self.entries.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(bytes);
            self.first = self.first.saturating_add(1);
            taken.push(entry);
        }
        taken
    }

    /// The index of the last entry that is followed by at least `bytes` bytes of entries.
    #[must_use]
    pub fn index_before_last(&self, bytes: usize) -> Option<u64> {
        let mut behind = 0usize;
        for (offset, (_, size)) in self.entries.iter().enumerate().rev() {
            if behind >= bytes {
                return Some(self.first.saturating_add(offset as u64));
            }
            behind = behind.saturating_add(*size);
        }
        None
    }

    /// The entries of a range of indexes, up to about `bytes_max` bytes but at least one if there is any.
    pub fn range(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> Vec<E> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => self.first,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.end(),
        };
        let place = |index: u64| {
            let offset = index.clamp(self.first, self.end()).saturating_sub(self.first);
            usize::try_from(offset).unwrap_or(usize::MAX)
        };
        let (from, to) = (place(start), place(end).max(place(start)));
        let mut taken = 0usize;
        let entries = self.entries.range(from..to).take_while(|(_, bytes)| {
            let fits = taken == 0 || taken.saturating_add(*bytes) <= bytes_max;
            taken = taken.saturating_add((*bytes).max(1));
            fits
        });
        entries.map(|(entry, _)| entry.clone()).collect()
    }
}

/// An entry that does not follow the last one. The caller broke the log's contract: stop the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log entry {index} does not follow the log, which ends before {end}")]
pub struct Gap {
    /// Where the entry was to stand.
    pub index: u64,
    /// The index behind the last entry.
    pub end: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_bounded_by_bytes_but_never_empty() {
        let mut log = MemoryLog::default();
        for index in 5..10 {
            log.push(index, index, 100).unwrap();
        }
        assert_eq!(log.range(.., usize::MAX), [5, 6, 7, 8, 9]);
        assert_eq!(log.range(6..8, usize::MAX), [6, 7]);
        assert_eq!(log.range(6.., 250), [6, 7]);
        assert_eq!(log.range(6.., 1), [6]);
        assert_eq!(log.range(0..100, usize::MAX).len(), 5);
        assert_eq!(log.range(20..30, usize::MAX), [0u64; 0]);
        assert_eq!(log.bytes(), 500);
        assert_eq!(log.index_before_last(150), Some(7));
        assert_eq!(log.index_before_last(500), None);
    }

    #[test]
    fn truncate_and_purge_keep_indexes_consecutive() {
        let mut log = MemoryLog::default();
        for index in 0..10 {
            log.push(index, index, 1).unwrap();
        }
        assert_eq!(log.purge_to(3, 3), [0, 1, 2]);
        assert_eq!(log.purge_to(3, 3), [3]);
        assert_eq!(log.purge_to(3, 3), [0; 0]);
        assert_eq!(log.truncate_from(8, 3), [9, 8]);
        assert_eq!(log.range(.., usize::MAX), [4, 5, 6, 7]);
        assert_eq!(log.push(9, 9, 1), Err(Gap { index: 9, end: 8 }));
        assert_eq!(log.purge_to(100, 100).len(), 4);
        assert!(log.is_empty());
        log.push(101, 101, 1).unwrap();
        assert_eq!(log.end(), 102);
    }
}
