//! The Raft log and vote of this node, in memory for all readers, and on a disk if there is one.
//!
//! Owns what openraft calls log storage, over [`MemoryLog`] and [`LogWriter`]. A node that keeps nothing on disk takes a fresh
//! id at every start, so that a lost vote can never be cast twice. Invariants: entries are readable when `append` returns, and
//! acknowledged when they are durable; no entry is freed under the lock or by the task that runs Raft.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::raft::{LogEntry, LogId, Types, Vote};
use super::witness::{self, Opened, Seen, Stand, Witness};
use crate::codec;
use crate::ids::{FormationId, NodeId};
use crate::storage::{Error, LogWriter, MemoryLog, Recovered, Write};

/// The most bytes of entries that one AppendEntries carries, unless one entry alone is larger.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// So many entries at most are taken out of the log while others wait for its lock.
const TAKE_MAX: usize = 1024;
/// Up to so many bytes of entries are freed at once: for some thousand small ones it does not pay to wake a thread.
const FREED_AT_ONCE_MAX: usize = 256 * 1024;

/// The numbers under which the disk keeps values. They never change.
pub(super) const NODE: u8 = 1;
const VOTE: u8 = 2;
const COMMITTED: u8 = 3;
const FORMATION: u8 = 4;
const GENERATION: u8 = 5;

#[derive(Debug, Default)]
struct Memory {
    log: MemoryLog<LogEntry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    formation: FormationId,
    /// The number of the last start.
    generation: Option<u64>,
    /// Values that go to the disk with the next entries or vote.
    unwritten: BTreeMap<u8, Bytes>,
}

#[derive(Debug, Default)]
struct Inner {
    memory: Mutex<Memory>,
    disk: Option<LogWriter<LogEntry>>,
    stand: Stand,
}

/// The log and the vote. Cheap to clone; all clones are the same log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogStore(Arc<Inner>);

/// Makes the bytes of an entry.
pub(super) fn encode(entry: &LogEntry, buffer: &mut BytesMut) {
    codec::encode_into(entry, buffer);
}

impl LogStore {
    /// A log that goes on with what a disk held.
    ///
    /// # Errors
    /// When that is of another version, though nothing on the disk has changed.
    pub(super) fn on_disk(
        disk: LogWriter<LogEntry>,
        place: &str,
        recovered: Recovered,
    ) -> Result<Self, Error> {
        let strange = |what| move || Error::Damaged { place: place.to_owned(), offset: 0, what };
        let mut memory = Memory::default();
        for (index, bytes) in recovered.entries {
            let entry: Option<LogEntry> = codec::decode(&bytes).ok();
            let entry = entry.filter(|entry| entry.index() == index);
            let entry = entry.ok_or_else(strange("an entry that this version does not know"))?;
            let size = size_of(&entry);
            let pushed = memory.log.push(index, entry, size);
            pushed.map_err(|_| strange("an entry out of its order")())?;
        }
        let wrong = || strange("a value that this version does not know")();
        let slot = |slot: u8| recovered.slots.get(&slot);
        if let Some(bytes) = slot(VOTE) {
            memory.vote = Some(codec::decode(bytes).map_err(|_| wrong())?);
        }
        if let Some(bytes) = slot(COMMITTED) {
            memory.committed = Some(codec::decode(bytes).map_err(|_| wrong())?);
        }
        if let Some(bytes) = slot(FORMATION) {
            memory.formation = codec::decode(bytes).map_err(|_| wrong())?;
        }
        if let Some(bytes) = slot(GENERATION) {
            memory.generation = Some(codec::decode(bytes).map_err(|_| wrong())?);
        }
        if let Some((_, id)) = &recovered.purged {
            memory.purged = Some(codec::decode(id).map_err(|_| wrong())?);
        }
        Ok(Self(Arc::new(Inner {
            memory: Mutex::new(memory),
            disk: Some(disk),
            stand: Stand::default(),
        })))
    }

    /// Lets a witness in, and tells it what the log and the stored snapshot hold.
    pub(super) fn watch(&self, witness: Arc<dyn Witness>, node: NodeId, snapshot: Option<LogId>) {
        self.0.stand.call(witness);
        let memory = self.0.memory.lock();
        let formation = memory.formation;
        let opened = Opened {
            node,
            vote: memory.vote.as_ref().map(witness::ballot),
            committed: memory.committed.map(witness::mark),
            snapshot: snapshot.map(witness::mark),
            purged: memory.purged.map(witness::mark),
            entries: memory.log.range(.., usize::MAX).iter().map(witness::logged).collect(),
        };
        drop(memory);
        self.0.stand.tell(|| Seen::Opened(Box::new(opened)));
        self.0.stand.tell(|| Seen::Formation(formation));
    }

    /// Where the witness of this node is told.
    pub(super) fn stand(&self) -> Stand {
        self.0.stand.clone()
    }

    /// The index up to which entries can go so that about `bytes` are left.
    pub(crate) fn index_before_last(&self, bytes: usize) -> Option<u64> {
        self.0.memory.lock().log.index_before_last(bytes)
    }

    /// The entries from `from` to `to`, up to about `bytes_max` bytes but at least one, and the id of the entry before them;
    /// none when they are not all there any more.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> Option<Piece> {
        let inner = self.0.memory.lock();
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
        self.0.memory.lock().log.range(index..=index, usize::MAX).first().map(RaftEntry::log_id)
    }

    /// The id of the last entry that is gone from the beginning.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.0.memory.lock().purged
    }

    /// Forgets everything. Only a log that is in memory alone is ever told to.
    pub(super) fn clear(&self) {
        *self.0.memory.lock() = Memory::default();
        self.0.stand.tell(|| Seen::Cleared);
    }

    /// Tells whether it outlives the process.
    pub(super) fn is_durable(&self) -> bool {
        self.0.disk.is_some()
    }

    /// How many entries and bytes the log holds.
    pub(crate) fn size(&self) -> (usize, usize) {
        let memory = self.0.memory.lock();
        (memory.log.len(), memory.log.bytes())
    }

    /// The index of the last entry, there or forgotten; 0 when there was none.
    pub(super) fn last_index(&self) -> u64 {
        let memory = self.0.memory.lock();
        let last = memory.log.last().map(RaftEntry::log_id).or(memory.purged);
        last.map_or(0, |id| id.index())
    }

    /// Tells whether anything was ever kept: entries, or a vote.
    pub(super) fn is_used(&self) -> bool {
        let memory = self.0.memory.lock();
        !memory.log.is_empty() || memory.purged.is_some() || memory.vote.is_some()
    }

    /// Why the disk takes no more, if it failed.
    pub(super) fn failure(&self) -> Option<Error> {
        self.0.disk.as_ref().and_then(LogWriter::failure)
    }

    /// The formation that the log belongs to.
    pub(super) fn formation(&self) -> FormationId {
        self.0.memory.lock().formation
    }

    /// The vote as it was last written: no vote later than this one has been given to anybody.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.0.memory.lock().vote
    }

    /// Notes the formation; it is durable together with the first entry or vote in it.
    pub(super) fn set_formation(&self, formation: FormationId) {
        let mut memory = self.0.memory.lock();
        memory.formation = formation;
        memory.unwritten.insert(FORMATION, codec::encode(&formation));
        drop(memory);
        self.0.stand.tell(|| Seen::Formation(formation));
    }

    /// Begins anew behind `upto`, in one step: no entries, all up to there forgotten, this vote, this formation. What the
    /// entries did must be in a stored snapshot before.
    pub(super) async fn start_over(
        &self,
        upto: LogId,
        vote: Vote,
        formation: FormationId,
    ) -> Result<(), Error> {
        let writes = self.forget_all(upto, vote, formation);
        self.take_out(|log| log.purge_to(u64::MAX, TAKE_MAX));
        self.0.stand.tell(|| Seen::StartedOver(witness::mark(upto), witness::ballot(&vote)));
        self.write_through(writes).await
    }

    /// Does what [`LogStore::start_over`] did not come to before the process ended. Waits for the disk.
    pub(super) fn finish_starting_over(
        &self,
        upto: LogId,
        node: NodeId,
        formation: FormationId,
    ) -> Result<(), Error> {
        let term = self.0.memory.lock().vote.map_or(0, |vote| vote.leader_id.term);
        let vote = Vote::new(term.saturating_add(1), node);
        let more = self.forget_all(upto, vote, formation);
        self.0.memory.lock().log = MemoryLog::default();
        let mut writes = self.unwritten();
        writes.extend(more);
        self.0.disk.as_ref().map_or(Ok(()), |disk| disk.write(writes))
    }

    /// Notes that the log begins anew; gives what is to be written, all of it at once.
    fn forget_all(&self, upto: LogId, vote: Vote, formation: FormationId) -> Vec<Write<LogEntry>> {
        self.set_formation(formation);
        let mut memory = self.0.memory.lock();
        (memory.purged, memory.vote, memory.committed) = (Some(upto), Some(vote), Some(upto));
        memory.unwritten.insert(COMMITTED, codec::encode(&upto));
        // All entries go, also those behind the place up to which they count as forgotten.
        let all = Write::Truncate { from: 0 };
        let purge = Write::Purge { index: upto.index(), id: codec::encode(&upto) };
        vec![all, purge, Write::Set { slot: VOTE, value: codec::encode(&vote) }]
    }

    /// Takes entries out, piece by piece. Many of them are freed by a thread that nobody waits for, few at once.
    fn take_out(&self, mut take: impl FnMut(&mut MemoryLog<LogEntry>) -> Vec<LogEntry>) {
        let (mut all, mut bytes) = (Vec::new(), 0);
        loop {
            let mut memory = self.0.memory.lock();
            let before = memory.log.bytes();
            let taken = take(&mut memory.log);
            bytes += before.saturating_sub(memory.log.bytes());
            drop(memory);
            if taken.is_empty() {
                break;
            }
            all.push(taken);
        }
        if bytes > FREED_AT_ONCE_MAX {
            let _freed = tokio::task::spawn_blocking(move || drop(all));
        }
    }

    /// Makes entries readable.
    fn push(&self, entries: Vec<(u64, usize, LogEntry)>) -> Result<(), io::Error> {
        let mut memory = self.0.memory.lock();
        let mut entries = entries.into_iter();
        entries.try_for_each(|(index, bytes, entry)| {
            memory.log.push(index, entry, bytes).map_err(io::Error::other)
        })
    }

    /// What has to be written before anything else.
    fn unwritten(&self) -> Vec<Write<LogEntry>> {
        let unwritten = std::mem::take(&mut self.0.memory.lock().unwritten);
        unwritten.into_iter().map(|(slot, value)| Write::Set { slot, value }).collect()
    }

    /// Writes, and waits until it is durable.
    async fn write_through(&self, more: Vec<Write<LogEntry>>) -> Result<(), Error> {
        let Some(disk) = &self.0.disk else {
            return Ok(());
        };
        let mut writes = self.unwritten();
        writes.extend(more);
        let (done, durable) = oneshot::channel();
        // Who no longer waits needs no answer.
        disk.submit(writes, Box::new(move |written| _ = done.send(written))).await;
        durable.await.map_err(|_| Error::Ended)?
    }

    /// Gives the number of this start: the clock's, and greater than those of all starts before, also when the clock has gone
    /// back since. It is durable when it is given.
    pub(super) async fn begin(&self, now: u64) -> Result<u64, Error> {
        let generation = {
            let last = &mut self.0.memory.lock().generation;
            *last.insert(last.map_or(now, |last| now.max(last.saturating_add(1))))
        };
        let value = codec::encode(&generation);
        self.write_through(vec![Write::Set { slot: GENERATION, value }]).await?;
        Ok(generation)
    }

    /// Writes without waiting. A failure is told to whoever writes next.
    async fn write_behind(&self, write: Write<LogEntry>) -> Result<(), io::Error> {
        if let Some(disk) = &self.0.disk {
            if let Some(failure) = disk.failure() {
                return Err(failure.into());
            }
            disk.submit(vec![write], Box::new(|_| ())).await;
        }
        Ok(())
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
        Ok(self.0.memory.lock().log.range(range, usize::MAX))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        Ok(self.0.memory.lock().log.range(start..end, APPEND_BYTES_MAX))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.memory.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let memory = self.0.memory.lock();
        let last = memory.log.last().map(RaftEntry::log_id).or(memory.purged);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.memory.lock().vote = Some(*vote);
        let write = Write::Set { slot: VOTE, value: codec::encode(vote) };
        self.write_through(vec![write]).await?;
        self.0.stand.tell(|| Seen::Voted(witness::ballot(vote)));
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let mut memory = self.0.memory.lock();
        memory.committed = committed;
        if let Some(committed) = committed.filter(|_| self.0.disk.is_some()) {
            memory.unwritten.insert(COMMITTED, codec::encode(&committed));
        }
        drop(memory);
        if let Some(committed) = committed {
            self.0.stand.tell(|| Seen::Committed(witness::mark(committed)));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.0.memory.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + Send,
        I::IntoIter: Send,
    {
        let sized = |entry: LogEntry| (entry.index(), size_of(&entry), entry);
        let entries: Vec<_> = entries.into_iter().map(sized).collect();
        let mut writes = self.unwritten();
        if self.0.disk.is_some() {
            let write = |(index, _, entry): &(u64, usize, LogEntry)| Write::Entry {
                index: *index,
                entry: entry.clone(),
            };
            writes.extend(entries.iter().map(write));
        }
        let last = entries.last().map(|(_, _, entry)| witness::mark(entry.log_id()));
        let logged = self.0.stand.is_taken().then(|| {
            entries.iter().map(|(_, _, entry)| witness::logged(entry)).collect::<Vec<_>>()
        });
        self.push(entries)?;
        self.0.stand.tell(|| Seen::Appended(logged.unwrap_or_default()));
        let stand = self.stand();
        let durable = move || {
            if let Some(last) = last {
                stand.tell(|| Seen::Durable(last));
            }
        };
        match &self.0.disk {
            None => {
                durable();
                callback.io_completed(Ok(()));
            }
            Some(disk) => {
                let done = move |written: Result<(), Error>| {
                    if written.is_ok() {
                        durable();
                    }
                    callback.io_completed(written.map_err(io::Error::from));
                };
                disk.submit(writes, Box::new(done)).await;
            }
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |id| id.index().saturating_add(1));
        self.take_out(|log| log.truncate_from(from, TAKE_MAX));
        self.0.stand.tell(|| Seen::Truncated(from));
        self.write_behind(Write::Truncate { from }).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.0.memory.lock().purged = Some(upto);
        self.take_out(|log| log.purge_to(upto.index(), TAKE_MAX));
        self.0.stand.tell(|| Seen::Purged(witness::mark(upto)));
        self.write_behind(Write::Purge { index: upto.index(), id: codec::encode(&upto) }).await
    }
}
