//! What openraft calls the state machine: applies committed entries to [`State`], makes and installs snapshots.
//!
//! Owns nothing but the translation. Invariants: an entry is applied once, in the order of the log, by one task; with a disk,
//! a snapshot is durable before openraft hears of it, since the log is purged up to it then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use parking_lot::Mutex;

use super::raft::{LogEntry, LogId, SnapshotMeta, StoredMembership, Types};
use super::state::State;
use super::store::{Saving, Snapshots};
use super::witness::{self, Applied, Seen};
use crate::keyspace::{Keyspace, Restore, Snapshot};
use crate::storage::SnapshotFile;

/// A snapshot on its way in or out.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotData {
    /// Taken here; shares its data with the state.
    Taken(Arc<Snapshot>),
    /// In a file here.
    Stored(SnapshotFile),
    /// Received and put together.
    Received(Arc<Mutex<Option<Received>>>),
}

/// A snapshot that came from another node.
#[derive(Debug)]
pub(crate) struct Received {
    pub(super) keyspace: Keyspace,
    /// Its file, which holds all chunks already.
    pub(super) saving: Option<Saving>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: Arc<State>,
    gate: Gate,
    snapshots: Snapshots,
    /// Whether there was a snapshot of this state, where no disk tells.
    was_taken: Arc<AtomicBool>,
}

/// The way to the state, which is closed for an engine that another has replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Mutex<bool>>);

impl Gate {
    /// Closes it; who is on the way is waited for.
    pub(super) fn close(&self) {
        *self.0.lock() = true;
    }

    /// Does what changes the state, unless it is closed.
    fn pass(&self, change: impl FnOnce()) -> Result<(), io::Error> {
        let is_closed = self.0.lock();
        if *is_closed {
            return Err(io::Error::other("another engine has taken over"));
        }
        change();
        Ok(())
    }
}

impl Machine {
    pub(super) fn new(state: Arc<State>, gate: Gate, snapshots: Snapshots) -> Self {
        Self { state, gate, snapshots, was_taken: Arc::default() }
    }

    /// Makes a keyspace of a snapshot that lies here.
    fn restore(&self, snapshot: &SnapshotData) -> Result<Keyspace, io::Error> {
        let mut restore = Restore::new(self.state.limits());
        for chunk in snapshot.chunks() {
            let chunk = chunk.map_err(|error| self.snapshots.fail(error))?;
            restore.feed(&chunk).map_err(io::Error::other)?;
        }
        restore.finish().map_err(io::Error::other)
    }

    /// Stores a snapshot that lies here, unless this disk has it.
    async fn keep(&self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        if self.snapshots.newest().is_some_and(|(newest, _)| newest == *meta) {
            return Ok(());
        }
        let failed = |error| self.snapshots.fail(error);
        if let Some(saving) = self.snapshots.begin(meta).map_err(failed)? {
            let copy = move |saving: &mut Saving| {
                snapshot.chunks().try_for_each(|chunk| saving.put(&chunk?))
            };
            saving.run(copy).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// Applies one entry to the state.
pub(super) fn apply_one(state: &State, entry: &LogEntry) {
    let id = entry.log_id();
    let (membership, deed) = match &entry.payload {
        openraft::EntryPayload::Blank => (None, None),
        openraft::EntryPayload::Normal(proposal) => (None, state.apply(id, &proposal.0)),
        openraft::EntryPayload::Membership(membership) => {
            (Some(StoredMembership::new(Some(id), membership.clone())), None)
        }
    };
    state.advance(id, membership);
    state.stand.tell(|| Seen::Applied(Box::new(Applied { logged: witness::logged(entry), deed })));
    state.show(id);
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
            self.gate.pass(|| apply_one(&self.state, &entry))?;
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Called by the task that applies, so that position and keyspace agree.
        let (meta, snapshot) = self.state.snapshot();
        Builder { meta, snapshot: Some(Arc::new(snapshot)), machine: self.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let keyspace = if let SnapshotData::Received(received) = &snapshot {
            let received = received.lock().take();
            let Received { keyspace, saving } = received
                .ok_or_else(|| io::Error::other("a snapshot can be installed only once"))?;
            if let Some(saving) = saving {
                let saved = saving.run(|_| Ok(())).await;
                saved.map_err(|error| self.snapshots.fail(error))?;
            }
            keyspace
        } else {
            let keyspace = self.restore(&snapshot)?;
            self.keep(meta, snapshot).await?;
            keyspace
        };
        self.gate.pass(|| self.state.install(meta, keyspace))?;
        self.was_taken.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, SnapshotData>>, io::Error> {
        if self.snapshots.is_on_disk() {
            let newest = self.snapshots.newest();
            return Ok(newest.map(|(meta, stored)| SnapshotOf::<Types, _> {
                meta,
                snapshot: SnapshotData::Stored(stored),
            }));
        }
        // Taken anew: to keep an old one would keep a copy of all that was written since.
        Ok(self.was_taken.load(Ordering::SeqCst).then(|| {
            let (meta, snapshot) = self.state.snapshot();
            SnapshotOf::<Types, _> { meta, snapshot: SnapshotData::Taken(Arc::new(snapshot)) }
        }))
    }
}

/// A snapshot that is taken already; openraft asks for it from another task.
#[derive(Debug)]
pub(crate) struct Builder {
    meta: SnapshotMeta,
    /// None once it was built.
    snapshot: Option<Arc<Snapshot>>,
    machine: Machine,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotData>, io::Error> {
        let taken = self.snapshot.take();
        let taken = taken.ok_or_else(|| io::Error::other("a snapshot is built only once"))?;
        let snapshots = &self.machine.snapshots;
        let formation = snapshots.formation();
        let saved = snapshots.save(self.meta.clone(), formation, Arc::clone(&taken)).await;
        saved.map_err(|error| snapshots.fail(error))?;
        self.machine.was_taken.store(true, Ordering::SeqCst);
        let last = self.meta.last_log_id.map(witness::mark);
        self.machine.state.stand.tell(|| Seen::SnapshotBuilt(last));
        Ok(match snapshots.newest() {
            Some((meta, stored)) => {
                SnapshotOf::<Types, _> { meta, snapshot: SnapshotData::Stored(stored) }
            }
            None => SnapshotOf::<Types, _> {
                meta: self.meta.clone(),
                snapshot: SnapshotData::Taken(taken),
            },
        })
    }
}
