//! Where a node keeps its log and its snapshots: in memory, or on a disk too.
//!
//! Owns opening a disk, and with it the node's identity, which is kept with the log: who finds a wiped disk is another node.
//! Invariants: the log is never shorter than the stored snapshot says; a snapshot takes the place of another one only if it
//! reaches further.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::log::{self, LogStore};
use super::machine::SnapshotData;
use super::raft::SnapshotMeta;
use crate::codec;
use crate::ids::{FormationId, NodeId};
use crate::keyspace::Snapshot;
use crate::storage::{Disk, Error, Layout, LogWriter, SnapshotFile, SnapshotWriter};

/// What a node keeps beyond a task, or beyond the process.
#[derive(Debug)]
pub struct Store {
    pub(super) node: NodeId,
    pub(super) log: LogStore,
    pub(super) snapshots: Snapshots,
}

impl Store {
    /// Keeps everything in memory; `node` must be a fresh id.
    #[must_use]
    pub fn in_memory(node: NodeId) -> Self {
        let log = LogStore::default();
        Self { node, log: log.clone(), snapshots: Snapshots { on_disk: None, log } }
    }

    /// Keeps everything on a disk too, and goes on with what is there; `fresh` becomes the node's id if nothing is. Reads the whole
    /// log: call it where waiting hurts nobody.
    ///
    /// # Errors
    /// When what is there cannot be read, is damaged or of another version.
    pub fn open(disk: Arc<dyn Disk>, fresh: NodeId) -> Result<Self, Error> {
        let place = disk.place("");
        let strange = |what| Error::Damaged { place: place.clone(), offset: 0, what };
        let stored = SnapshotFile::newest(&*disk)?;
        let values = BTreeMap::from([(log::NODE, codec::encode(&fresh))]);
        let (writer, recovered) =
            LogWriter::open(Arc::clone(&disk), Layout::default(), log::encode, values)?;
        if let Some(place) = &recovered.torn {
            tracing::warn!(place, "dropped a write that the end of the last run had cut off");
        }
        let node = recovered.slots.get(&log::NODE).map_or(Ok(fresh), |bytes| {
            codec::decode(bytes).map_err(|_| strange("a node id that this version does not know"))
        })?;
        let log = LogStore::on_disk(writer, &place, recovered)?;
        let (snapshots, formation) = Snapshots::open(disk, stored, log.clone())?;
        let newest = snapshots.newest();
        if newest.is_some() && !log.is_used() {
            let what = "there is a snapshot of what it held";
            return Err(Error::Missing { place: format!("{place}: the log"), what });
        }
        let reached = newest.and_then(|(meta, _)| meta.last_log_id);
        if log.purged().map(|id| id.index()) > reached.map(|id| id.index()) {
            let what = "the log was cut because it was there";
            return Err(Error::Missing { place: format!("{place}: a snapshot"), what });
        }
        if let Some(reached) = reached.filter(|_| formation.follows(log.formation())) {
            tracing::warn!(%formation, "going on with a cluster that was being formed anew");
            log.finish_starting_over(reached, node, formation)?;
        }
        Ok(Self { node, log, snapshots })
    }

    /// The id of the node that this belongs to.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Gives the number of this start, greater than those of all starts before; `now` is the clock's time in milliseconds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn begin(&self, now: u64) -> Result<u64, Error> {
        self.log.begin(now).await
    }

    /// Tells whether the node can come back after its process has ended.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.snapshots.is_on_disk()
    }

    /// The formation that the node was in when it stopped, if it was in one.
    #[must_use]
    pub fn formation(&self) -> Option<FormationId> {
        self.log.is_used().then(|| self.log.formation())
    }
}

#[derive(Debug)]
struct OnDisk {
    disk: Arc<dyn Disk>,
    failure: OnceLock<Error>,
    inner: Mutex<Numbered>,
}

#[derive(Debug)]
struct Numbered {
    next: u64,
    newest: Option<(SnapshotMeta, SnapshotFile)>,
}

/// The snapshots on the disk, if there is one. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    on_disk: Option<Arc<OnDisk>>,
    log: LogStore,
}

/// What a snapshot's file says about it, beside its chunks.
type Head = (SnapshotMeta, FormationId);

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(super) struct Saving {
    to: Arc<OnDisk>,
    meta: SnapshotMeta,
    /// Whether it begins another formation, which takes the place of whatever was before.
    begins: bool,
    writer: SnapshotWriter,
}

impl Snapshots {
    /// Gives also the formation of the snapshot that is there.
    fn open(
        disk: Arc<dyn Disk>,
        stored: Option<SnapshotFile>,
        log: LogStore,
    ) -> Result<(Self, FormationId), Error> {
        let next = stored.as_ref().map_or(1, |stored| stored.number().saturating_add(1));
        let mut formation = FormationId::NONE;
        let newest = stored.map(|stored| {
            let what = "a snapshot's head that this version does not know";
            let strange = Error::Damaged { place: disk.place(""), offset: 0, what };
            let (meta, its): Head = codec::decode(&stored.head()).map_err(|_| strange)?;
            formation = its;
            Ok((meta, stored))
        });
        let inner = Mutex::new(Numbered { next, newest: newest.transpose()? });
        let on_disk = Some(Arc::new(OnDisk { disk, failure: OnceLock::new(), inner }));
        Ok((Self { on_disk, log }, formation))
    }

    /// The formation that this node is in.
    pub(super) fn formation(&self) -> FormationId {
        self.log.formation()
    }

    /// Tells whether there is a disk.
    pub(super) const fn is_on_disk(&self) -> bool {
        self.on_disk.is_some()
    }

    /// Notes that a snapshot could not be written or read; gives the error back.
    pub(super) fn fail(&self, error: Error) -> Error {
        if let Some(on_disk) = &self.on_disk {
            on_disk.failure.get_or_init(|| error.clone());
        }
        error
    }

    /// What could not be written or read.
    pub(super) fn failure(&self) -> Option<Error> {
        self.on_disk.as_ref()?.failure.get().cloned()
    }

    /// The snapshot that the next start begins with.
    pub(super) fn newest(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.on_disk.as_ref()?.inner.lock().newest.clone()
    }

    /// Begins to store a snapshot; nothing where there is no disk.
    pub(super) fn begin(&self, meta: &SnapshotMeta) -> Result<Option<Saving>, Error> {
        self.begin_in(meta, self.formation())
    }

    fn begin_in(
        &self,
        meta: &SnapshotMeta,
        formation: FormationId,
    ) -> Result<Option<Saving>, Error> {
        let Some(to) = &self.on_disk else {
            return Ok(None);
        };
        let head: Head = (meta.clone(), formation);
        let (disk, number) = (Arc::clone(&to.disk), to.take_number());
        let writer = SnapshotWriter::create(disk, number, codec::encode(&head))?;
        let begins = formation != self.formation();
        Ok(Some(Saving { to: Arc::clone(to), meta: meta.clone(), begins, writer }))
    }

    /// Stores a snapshot of this node's state in `formation`, if there is a disk, away from all who are in a hurry.
    pub(super) async fn save(
        &self,
        meta: SnapshotMeta,
        formation: FormationId,
        taken: Arc<Snapshot>,
    ) -> Result<(), Error> {
        let Some(saving) = self.begin_in(&meta, formation)? else {
            return Ok(());
        };
        saving.run(move |saving| taken.chunks().try_for_each(|chunk| saving.put(&chunk))).await
    }
}

impl OnDisk {
    fn take_number(&self) -> u64 {
        let mut inner = self.inner.lock();
        let number = inner.next;
        inner.next = number.saturating_add(1);
        number
    }
}

impl Saving {
    /// Writes the next chunk.
    pub(super) fn put(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.writer.put(chunk)
    }

    /// Does `work`, then makes the snapshot durable, on a thread of its own if the disk takes its time.
    pub(super) async fn run(
        mut self,
        work: impl FnOnce(&mut Self) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let is_blocking = self.to.disk.is_blocking();
        let whole = move || {
            work(&mut self)?;
            self.finish()
        };
        if !is_blocking {
            return whole();
        }
        tokio::task::spawn_blocking(whole).await.map_err(|_| Error::Ended)?
    }

    fn finish(self) -> Result<(), Error> {
        let number = self.to.take_number();
        let mut inner = self.to.inner.lock();
        let reached = inner.newest.as_ref().and_then(|(meta, _)| meta.last_log_id);
        if inner.newest.is_some() && reached > self.meta.last_log_id && !self.begins {
            return Ok(());
        }
        // Under the lock, so that no other snapshot gets between its name and its number.
        inner.newest = Some((self.meta, self.writer.finish(number)?));
        Ok(())
    }
}

impl SnapshotData {
    /// The chunks of a snapshot that was taken here or stored; an error is the last one.
    pub(super) fn chunks(&self) -> Box<dyn Iterator<Item = Result<Bytes, Error>> + Send + '_> {
        match self {
            Self::Taken(taken) => Box::new(taken.chunks().map(Ok)),
            Self::Stored(stored) => {
                // The first piece is the head.
                Box::new(
                    stored.contents().enumerate().filter_map(|(number, piece)| {
                        (number > 0 || piece.is_err()).then_some(piece)
                    }),
                )
            }
            Self::Received(_) => Box::new(std::iter::empty()),
        }
    }
}
