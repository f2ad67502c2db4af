//! What lies in a store, for tools that look back at what a node has done.
//!
//! Owns reading it without starting a node. Does not judge. Invariant: snapshot and entries together give the state that a
//! start of the node would come to once all its entries were committed.

use super::raft::LogEntry;
use super::store::Store;
use crate::command::Entry;
use crate::keyspace::{Keyspace, Limits, Restore};
use crate::storage::Error;

impl Store {
    /// The state in the stored snapshot, and the index of the first entry that is not in it; an empty one and 0 where there is
    /// no snapshot.
    ///
    /// # Errors
    /// When the snapshot cannot be read.
    pub fn snapshot(&self, limits: Limits) -> Result<(u64, Keyspace), Error> {
        let Some((meta, file)) = self.snapshots.newest() else {
            return Ok((0, Keyspace::new(limits)));
        };
        let strange = |_| {
            let what = "a snapshot that this version does not know";
            Error::Damaged { place: "the snapshot".to_owned(), offset: 0, what }
        };
        let mut restore = Restore::new(limits);
        // The first piece is the head.
        for chunk in file.contents().skip(1) {
            restore.feed(&chunk?).map_err(strange)?;
        }
        let next = meta.last_log_id.map_or(0, |id| id.index.saturating_add(1));
        Ok((next, restore.finish().map_err(strange)?))
    }

    /// The entries of the log from `first` on that are for the state, each with its index. The last ones may not be committed.
    #[must_use]
    pub fn entries(&self, first: u64) -> Vec<(u64, Entry)> {
        let piece = self.log.read(first, u64::MAX, usize::MAX);
        piece.map_or_else(Vec::new, |piece| piece.entries.iter().filter_map(payload).collect())
    }
}

fn payload(entry: &LogEntry) -> Option<(u64, Entry)> {
    match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => {
            Some((entry.log_id.index, Entry::clone(&proposal.0)))
        }
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => None,
    }
}
