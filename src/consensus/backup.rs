//! A backup of the replicated state: taken while the cluster goes on, and read back to begin another cluster.
//!
//! Owns what of a state goes into a new cluster: the keys, and nothing that lives with a process. The layout of the file is
//! the one of every snapshot file; see `storage`. Invariant: a backup has every write that was acknowledged before it was asked for.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::vote::RaftLeaderId;
use tokio::sync::mpsc;

use super::raft::{LogId, SnapshotMeta, Types};
use super::rebase::Basis;
use super::{Consensus, Error};
use crate::codec;
use crate::ids::FormationId;
use crate::keyspace::{self, Keyspace, Limits, Restore};
use crate::storage::{self, BackupFile, Encoder};

/// How many chunks wait for whoever takes them.
const CHUNKS_AHEAD: usize = 2;

/// Why a file is no backup. Give up on it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read, or was damaged or cut short.
    #[error("{0}")]
    File(#[from] storage::Error),
    /// It is whole, but what it holds is no state.
    #[error("{place}: {source}")]
    Content {
        /// The file.
        place: String,
        /// What is wrong with it.
        source: keyspace::Error,
    },
    /// Its head is of another version.
    #[error("{place}: its head is of a version that this program does not know")]
    Head {
        /// The file.
        place: String,
    },
}

/// The state of a cluster that was, without its processes.
#[derive(Debug)]
pub struct Backup {
    /// The index of the last entry whose effect is in it.
    index: u64,
    keyspace: Keyspace,
}

impl Backup {
    /// Reads a backup whole and checks every byte. What was bound to a process is left out, since that process is not part
    /// of the new cluster. Cost: that of reading and decoding the file; call it where waiting hurts nobody.
    ///
    /// # Errors
    /// When it is no backup, damaged, cut short, or of another version.
    pub fn read(path: &Path, limits: Limits) -> Result<Self, BackupError> {
        let place = || path.display().to_string();
        let mut pieces = BackupFile::open(path)?;
        let head = pieces.next().transpose()?.unwrap_or_default();
        let meta: SnapshotMeta =
            codec::decode(&head).map_err(|_| BackupError::Head { place: place() })?;
        let content = |source| BackupError::Content { place: place(), source };
        let mut restore = Restore::new(limits);
        for chunk in pieces {
            restore.feed(&chunk?).map_err(content)?;
        }
        let mut keyspace = restore.finish().map_err(content)?;
        keyspace.end_all_sessions();
        Ok(Self { index: meta.last_log_id.map_or(0, |id| id.index()), keyspace })
    }
}

impl Consensus {
    /// Takes a backup: every write that was acknowledged before this call is in it. Gives the bytes of the file piece by piece,
    /// the next ones when these are taken; a backup that is not taken whole ends without its end. Cost: one confirmed read, then
    /// that of encoding everything on a thread of its own; writes go on.
    ///
    /// # Errors
    /// As [`Consensus::confirm_read`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn backup(&self) -> Result<mpsc::Receiver<Bytes>, Error> {
        self.confirm_read().await?;
        // In this order, so that the position is not behind what is in the snapshot.
        let snapshot = self.shared.state.with(Keyspace::snapshot);
        let (last_log_id, last_membership) = self.shared.state.position();
        let meta = SnapshotMeta { last_log_id, last_membership };
        let (outbox, pieces) = mpsc::channel(CHUNKS_AHEAD);
        let snapshot = Arc::new(snapshot);
        let _writing = tokio::task::spawn_blocking(move || {
            let (mut encoder, begin) = Encoder::begin(&codec::encode(&meta));
            let mut sent = outbox.blocking_send(begin);
            for chunk in snapshot.chunks() {
                if sent.is_err() {
                    return;
                }
                sent = outbox.blocking_send(encoder.chunk(&chunk));
            }
            // Whoever no longer takes it has no use for the end.
            let _gone = outbox.blocking_send(encoder.end());
        });
        Ok(pieces)
    }

    /// Forms a cluster of this node alone that begins with the state of a backup.
    ///
    /// # Errors
    /// [`Error::Fatal`] when this node has a state of its own, or the engine refuses.
    pub async fn form_from(&self, backup: Backup) -> Result<(), Error> {
        let shared = &self.shared;
        if shared.is_formed() {
            let what = "a backup is restored into a new cluster only, and this node's data folder holds one";
            return Err(Error::Fatal(what.to_owned()));
        }
        let Backup { index, keyspace } = backup;
        let leader = <Types as openraft::RaftTypeConfig>::LeaderId::new(0, shared.node);
        let last = LogId::new(leader.to_committed(), index);
        let formation = FormationId::first(shared.draw());
        shared.rebase(Basis::Given { last, keyspace: Box::new(keyspace) }, formation).await?;
        tracing::info!(%formation, index, "formed a cluster with the state of a backup");
        Ok(())
    }
}
