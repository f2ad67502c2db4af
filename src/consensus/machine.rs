//! What openraft calls the state machine: applies committed entries to [`State`], makes and installs snapshots.
//!
//! Owns nothing but the translation. Invariant: an entry is applied once, in the order of the log, by one task.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use parking_lot::Mutex;

use super::raft::{LogId, SnapshotMeta, StoredMembership, Types};
use super::state::State;
use crate::keyspace::{Keyspace, Snapshot};

/// A snapshot on its way in or out.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotData {
    /// Taken here; shares its data with the state.
    Taken(Arc<Snapshot>),
    /// Received and put together.
    Received(Arc<Mutex<Option<Keyspace>>>),
}

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: Arc<State>,
    /// The latest snapshot taken or installed.
    current: Arc<Mutex<Option<(SnapshotMeta, SnapshotData)>>>,
}

impl Machine {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, current: Arc::default() }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok(self.state.position())
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let id = entry.log_id();
            let membership = match &entry.payload {
                openraft::EntryPayload::Blank => None,
                openraft::EntryPayload::Normal(proposal) => {
                    self.state.apply(id, &proposal.0);
                    None
                }
                openraft::EntryPayload::Membership(membership) => {
                    Some(StoredMembership::new(Some(id), membership.clone()))
                }
            };
            self.state.advance(id, membership);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Called by the task that applies, so that position and keyspace agree.
        let (meta, snapshot) = self.state.snapshot();
        Builder { meta, snapshot: SnapshotData::Taken(Arc::new(snapshot)), machine: self.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Received(keyspace) = snapshot else {
            return Err(io::Error::other("a snapshot taken here cannot be installed here"));
        };
        let keyspace = keyspace.lock().take();
        let keyspace =
            keyspace.ok_or_else(|| io::Error::other("a snapshot can be installed only once"))?;
        let taken = SnapshotData::Taken(Arc::new(keyspace.snapshot()));
        self.state.install(meta, keyspace);
        *self.current.lock() = Some((meta.clone(), taken));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, SnapshotData>>, io::Error> {
        let current = self.current.lock().clone();
        Ok(current.map(|(meta, snapshot)| SnapshotOf::<Types, _> { meta, snapshot }))
    }
}

/// A snapshot that is taken already; openraft asks for it from another task.
#[derive(Debug)]
pub(crate) struct Builder {
    meta: SnapshotMeta,
    snapshot: SnapshotData,
    machine: Machine,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotData>, io::Error> {
        let (meta, snapshot) = (self.meta.clone(), self.snapshot.clone());
        *self.machine.current.lock() = Some((meta.clone(), snapshot.clone()));
        Ok(SnapshotOf::<Types, _> { meta, snapshot })
    }
}
