//! The Raft log and vote of this node, in memory.
//!
//! Owns what openraft calls log storage, over [`MemoryLog`]. A node that keeps nothing on disk takes a fresh id at every
//! start, so that a lost vote can never be cast twice. Invariant: entries are readable when `append` returns.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;

use super::raft::{LogEntry, LogId, Types, Vote};
use crate::codec;
use crate::storage::MemoryLog;

/// The most bytes of entries that one AppendEntries carries, unless one entry alone is larger.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
struct Inner {
    log: MemoryLog<LogEntry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
}

/// The log and the vote. Cheap to clone; all clones are the same log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogStore(Arc<Mutex<Inner>>);

impl LogStore {
    /// The index up to which entries can go so that about `bytes` are left.
    pub(crate) fn index_before_last(&self, bytes: usize) -> Option<u64> {
        self.0.lock().log.index_before_last(bytes)
    }

    /// The entries from `from` to `to`, up to about `bytes_max` bytes but at least one, and the id of the entry before them;
    /// none when they are not all there any more.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> Option<Piece> {
        let inner = self.0.lock();
        let at =
            |index: u64| inner.log.range(index..=index, usize::MAX).first().map(RaftEntry::log_id);
        let before = match from.checked_sub(1) {
            Some(index) => {
                let purged = inner.purged.filter(|id| id.index() == index);
                Some(at(index).or(purged)?)
            }
            None => None,
        };
        let entries = inner.log.range(from..=to, bytes_max);
        let is_there = entries.first().is_some_and(|first| first.index() == from);
        is_there.then_some(Piece { before, entries })
    }

    /// The id of the entry at `index`, if it is there.
    pub(crate) fn id_at(&self, index: u64) -> Option<LogId> {
        self.0.lock().log.range(index..=index, usize::MAX).first().map(RaftEntry::log_id)
    }

    /// The id of the last entry that is gone from the beginning.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.0.lock().purged
    }

    /// How many entries and bytes the log holds.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.0.lock();
        (inner.log.len(), inner.log.bytes())
    }
}

/// Some consecutive entries.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The id of the entry before the first; none when that is the first of all.
    pub(crate) before: Option<LogId>,
    pub(crate) entries: Vec<LogEntry>,
}

/// About how many bytes an entry takes.
fn size_of(entry: &LogEntry) -> usize {
    const ENVELOPE: usize = 64;
    match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => {
            codec::size_of(proposal).saturating_add(ENVELOPE)
        }
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => ENVELOPE,
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        Ok(self.0.lock().log.range(range, usize::MAX))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        Ok(self.0.lock().log.range(start..end, APPEND_BYTES_MAX))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let inner = self.0.lock();
        let last = inner.log.last().map(RaftEntry::log_id).or(inner.purged);
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + Send,
        I::IntoIter: Send,
    {
        let mut inner = self.0.lock();
        for entry in entries {
            let (index, bytes) = (entry.index(), size_of(&entry));
            inner.log.push(index, entry, bytes).map_err(io::Error::other)?;
        }
        drop(inner);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |id| id.index().saturating_add(1));
        self.0.lock().log.truncate_from(from);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut inner = self.0.lock();
        inner.log.purge_to(upto.index());
        inner.purged = Some(upto);
        Ok(())
    }
}
