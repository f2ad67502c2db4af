//! What a follower does with what its source sends: entries and snapshots go to the engine, once they are checked.
//!
//! Owns the order of the two, and the beginning of a snapshot across streams. Invariant: nothing reaches the engine that could
//! make it stop; the engine takes a gap, an uncommitted vote or a snapshot from the future for the end of the world.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::type_config::alias::SnapshotOf;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::machine::{Received, SnapshotData};
use super::raft::{LogEntry, LogId, SnapshotMeta, Types, Vote};
use super::shared::Shared;
use super::store::Saving;
use super::wire::Begun;
use crate::keyspace::Restore;
use crate::time::Timestamp;

/// How many frames of entries wait for the engine.
const QUEUE_MAX: usize = 16;
/// How long the engine may take for what it has when a stream ends.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The beginning of a snapshot.
#[derive(Debug)]
pub(super) struct Begin {
    vote: Vote,
    meta: SnapshotMeta,
    restore: Restore,
    saving: Option<Saving>,
    chunks: u64,
}

impl Begin {
    /// What a source must know to go on with it.
    pub(super) fn stand(&self) -> Option<Begun> {
        Some(Begun { last: self.meta.last_log_id?, chunks: self.chunks })
    }
}

/// The way of entries into the engine. Ends with the first that the engine refuses.
#[derive(Debug)]
struct Lane {
    outbox: Option<mpsc::Sender<AppendEntriesRequest<Types>>>,
    /// Gives why it ended.
    drain: JoinHandle<String>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

/// What takes the frames of one stream.
pub(super) struct Intake<'a> {
    shared: Arc<Shared>,
    begun: &'a mut Option<Begin>,
    lane: Option<Lane>,
}

impl<'a> Intake<'a> {
    pub(super) const fn new(shared: Arc<Shared>, begun: &'a mut Option<Begin>) -> Self {
        Self { shared, begun, lane: None }
    }

    /// The last index of a frame, and the leader's stamp on that entry.
    pub(super) fn announced(
        request: &AppendEntriesRequest<Types>,
    ) -> Option<(u64, Option<Timestamp>)> {
        let last = request.entries.last()?;
        let at = match &last.payload {
            openraft::EntryPayload::Normal(proposal) => Some(proposal.0.at),
            openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => None,
        };
        Some((last.index(), at))
    }

    /// Waits until the engine has refused entries; gives why.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn failed(&mut self) -> String {
        match &mut self.lane {
            Some(lane) => {
                let why = (&mut lane.drain).await;
                self.lane = None;
                why.unwrap_or_else(|_| "the engine has stopped".to_owned())
            }
            None => std::future::pending().await,
        }
    }

    /// Hands entries to the engine.
    pub(super) async fn append(
        &mut self,
        request: AppendEntriesRequest<Types>,
    ) -> Result<(), String> {
        if request.vote.leader_id.node_id == self.shared.node {
            return Err("it has no newer leader than this node was".to_owned());
        }
        if !is_sound(&request) {
            return Err("it sent entries that no leader could have sent".to_owned());
        }
        let shared = &self.shared;
        let lane = self.lane.get_or_insert_with(|| open(shared));
        let Some(outbox) = &lane.outbox else {
            return Err("the way into the engine is closed".to_owned());
        };
        // When the lane has ended, it says why by its own end.
        let _ended = outbox.send(request).await;
        Ok(())
    }

    /// Begins a snapshot, or goes on with the one that was begun.
    pub(super) fn begin(
        &mut self,
        vote: Vote,
        meta: SnapshotMeta,
        from: u64,
    ) -> Result<(), String> {
        if vote.leader_id.node_id == self.shared.node {
            return Err("it has no newer leader than this node was".to_owned());
        }
        let covers = |last: LogId| vote.committed && *last.committed_leader_id() <= vote.leader_id;
        if !meta.last_log_id.is_some_and(covers) {
            return Err("it sent a snapshot that no leader could have sent".to_owned());
        }
        if let Some(begun) = self.begun.as_mut().filter(|_| from > 0)
            && begun.meta.last_log_id == meta.last_log_id
            && begun.chunks == from
        {
            tracing::info!(from, "going on with a snapshot");
            begun.vote = vote;
            return Ok(());
        }
        *self.begun = None;
        if from > 0 {
            return Err("it goes on with a snapshot that was not begun".to_owned());
        }
        let restore = Restore::new(self.shared.state.limits());
        let saving = self.shared.snapshots.begin(&meta).map_err(|error| error.to_string())?;
        *self.begun = Some(Begin { vote, meta, restore, saving, chunks: 0 });
        Ok(())
    }

    /// Takes one chunk.
    pub(super) fn chunk(&mut self, chunk: &[u8]) -> Result<(), String> {
        let begun = self.begun.as_mut().ok_or("it sent a chunk of no snapshot")?;
        begun.chunks = begun.chunks.saturating_add(1);
        let fed = begun.restore.feed(chunk).map_err(|error| error.to_string());
        let saved = begun.saving.as_mut().map_or(Ok(()), |saving| saving.put(chunk));
        let taken = fed.and(saved.map_err(|error| error.to_string()));
        if taken.is_err() {
            *self.begun = None;
        }
        taken
    }

    /// Puts the snapshot into the engine, behind all entries that came before it.
    pub(super) async fn install(&mut self) -> Result<(), String> {
        self.close().await;
        let begun = self.begun.take().ok_or("it ended no snapshot")?;
        let Begin { vote, meta, restore, saving, chunks } = begun;
        let keyspace = restore.finish().map_err(|error| error.to_string())?;
        let last = meta.last_log_id.ok_or("it sent a snapshot of nothing")?;
        let raft = self.shared.raft();
        let committed = raft.metrics().borrow_watched().local_committed;
        let is_older = committed.is_some_and(|own| last.index() <= own.index());
        if is_older || self.shared.log.id_at(last.index()) == Some(last) {
            // As a snapshot it would take the engine back from what is in the log behind it.
            keep_log(&self.shared, vote, last).await?;
            let index = last.index();
            tracing::info!(index, chunks, "a snapshot holds nothing that is not in the log");
            return Ok(());
        }
        make_way(&self.shared, vote, last).await?;
        let snapshot =
            SnapshotData::Received(Arc::new(Mutex::new(Some(Received { keyspace, saving }))));
        let snapshot = SnapshotOf::<Types, _> { meta, snapshot };
        let installed = raft.install_full_snapshot(vote, snapshot).await;
        let response = installed.map_err(|error| error.to_string())?;
        if response.vote.leader_id > vote.leader_id {
            return Err(format!("this node knows of a newer vote, {}", response.vote));
        }
        tracing::info!(index = last.index(), chunks, "installed a snapshot");
        Ok(())
    }

    /// Waits until the engine has taken all entries that came.
    pub(super) async fn close(&mut self) {
        if let Some(mut lane) = self.lane.take() {
            lane.outbox = None;
            // One that does not end in time is ended.
            let _late = timeout(CLOSE_MAX, &mut lane.drain).await;
        }
    }
}

fn open(shared: &Arc<Shared>) -> Lane {
    let (outbox, inbox) = mpsc::channel(QUEUE_MAX);
    let requests = futures_util::stream::unfold(inbox, |mut inbox| async {
        inbox.recv().await.map(|request| (request, inbox))
    });
    let raft = shared.raft();
    let drain = tokio::spawn(async move {
        let mut results = Box::pin(raft.stream_append(requests));
        while let Some(result) = results.next().await {
            match result {
                Ok(Ok(_)) => {}
                Ok(Err(refused)) => return format!("the engine refused its entries: {refused}"),
                Err(fatal) => return fatal.to_string(),
            }
        }
        "the way into the engine is closed".to_owned()
    });
    Lane { outbox: Some(outbox), drain }
}

/// Waits until the log is as durable as a snapshot that ends with its entry `last` would be: who has sent it counts on it.
async fn keep_log(shared: &Shared, vote: Vote, last: LogId) -> Result<(), String> {
    match append_nothing(shared, vote, last, Some(last)).await? {
        AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => Ok(()),
        AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => {
            Err("the log has another entry where the snapshot ends".to_owned())
        }
    }
}

/// Takes out of the log what stands where a snapshot ends, and all behind it, if that is not the snapshot's last entry: it is
/// not committed, and never will be.
///
/// openraft 0.10.0-alpha.37 would by itself take out all that it does not know to be committed, and store the snapshot then.
/// Without power in between, entries would be gone with which this node counts for the majority that has committed them.
async fn make_way(shared: &Shared, vote: Vote, last: LogId) -> Result<(), String> {
    if shared.log.id_at(last.index()).is_some_and(|own| own != last) {
        // That the entry before is another one is what makes it go.
        append_nothing(shared, vote, last, None).await?;
    }
    Ok(())
}

/// Hands the engine a frame without entries behind `last`.
async fn append_nothing(
    shared: &Shared,
    vote: Vote,
    last: LogId,
    leader_commit: Option<LogId>,
) -> Result<AppendEntriesResponse<Types>, String> {
    let request =
        AppendEntriesRequest { vote, prev_log_id: Some(last), entries: Vec::new(), leader_commit };
    match shared.raft().append_entries(request).await {
        Ok(AppendEntriesResponse::HigherVote(newer)) => {
            Err(format!("this node knows of a newer vote, {newer}"))
        }
        Ok(response) => Ok(response),
        Err(fatal) => Err(fatal.to_string()),
    }
}

/// Tells whether entries are such as a leader sends: consecutive, none newer than the vote, the vote that of an elected leader,
/// and nothing said to be committed that is not among them.
fn is_sound(request: &AppendEntriesRequest<Types>) -> bool {
    let mut before = request.prev_log_id;
    let follows = |entry: &LogEntry| {
        let id = entry.log_id();
        let next = before.map_or(0, |before| before.index().saturating_add(1));
        let is_next = id.index() == next && before.is_none_or(|before| id > before);
        before = Some(id);
        is_next
    };
    let are_consecutive = request.entries.iter().all(follows);
    let covers = before.is_none_or(|last| *last.committed_leader_id() <= request.vote.leader_id);
    request.vote.committed && are_consecutive && covers && request.leader_commit <= before
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;

    use super::super::Config;
    use super::super::store::Store;
    use super::super::tests::{node, node_of, until};
    use super::super::witness::{Look, Seen, Witness};
    use super::*;
    use crate::host::Place;
    use crate::ids::NodeId;
    use crate::storage::SimDisk;
    use crate::transport::MemoryNetwork;

    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;

    fn leader(term: u64) -> LeaderId {
        LeaderId::new(term, NodeId::from_random(7))
    }

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(leader(term), index)
    }

    fn request(term: u64, ids: &[(u64, u64)]) -> AppendEntriesRequest<Types> {
        let blank = |&(term, index): &(u64, u64)| LogEntry {
            log_id: id(term, index),
            payload: openraft::EntryPayload::Blank,
        };
        AppendEntriesRequest {
            vote: Vote { leader_id: leader(term), committed: true },
            prev_log_id: Some(id(2, 10)),
            entries: ids.iter().map(blank).collect(),
            leader_commit: ids.last().map(|(term, index)| id(*term, *index)),
        }
    }

    #[test]
    fn only_what_a_leader_could_have_sent_reaches_the_engine() {
        let good = request(4, &[(2, 11), (3, 12), (4, 13)]);
        assert!(is_sound(&good));
        assert!(is_sound(&request(2, &[])));
        let first = AppendEntriesRequest { prev_log_id: None, ..request(4, &[(1, 0)]) };
        assert!(is_sound(&first));
        for (what, bad) in [
            ("a gap", request(4, &[(2, 11), (3, 13)])),
            ("a gap at the start", request(4, &[(2, 12)])),
            (
                "no entry before the second",
                AppendEntriesRequest { prev_log_id: None, ..good.clone() },
            ),
            ("a term that falls", request(4, &[(3, 11), (2, 12)])),
            ("an entry newer than the vote", request(3, &[(2, 11), (4, 12)])),
            ("a vote older than the entry before", request(1, &[])),
            (
                "a vote that nobody granted",
                AppendEntriesRequest {
                    vote: Vote { leader_id: leader(4), committed: false },
                    ..good.clone()
                },
            ),
            (
                "a commit beyond the entries",
                AppendEntriesRequest { leader_commit: Some(id(4, 14)), ..good.clone() },
            ),
        ] {
            assert!(!is_sound(&bad), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_of_what_is_in_the_log_takes_nothing_back() {
        let node = node(&MemoryNetwork::new(1), 1).await;
        let shared = &node.consensus.shared;
        let mut begun = None;
        let mut intake = Intake::new(Arc::clone(shared), &mut begun);
        let ids: Vec<(u64, u64)> = (0..=10).map(|index| (3, index)).collect();
        let entries = request(4, &ids);
        let entries = AppendEntriesRequest { prev_log_id: None, leader_commit: None, ..entries };
        let vote = entries.vote;
        intake.append(entries).await.unwrap();
        until("the entries", || shared.log.last_index() == 10).await;
        let meta = SnapshotMeta { last_log_id: Some(id(3, 5)), ..SnapshotMeta::default() };
        intake.begin(vote, meta, 0).unwrap();
        for chunk in shared.state.with(crate::keyspace::Keyspace::snapshot).chunks() {
            intake.chunk(&chunk).unwrap();
        }
        intake.install().await.unwrap();
        until("what it holds", || shared.state.applied_index() == 5).await;
        assert_eq!((shared.log.last_index(), shared.snapshot_index()), (10, 0));
        let more = AppendEntriesRequest { prev_log_id: Some(id(3, 10)), ..request(4, &[(4, 11)]) };
        intake.append(more).await.unwrap();
        until("what is behind it", || shared.state.applied_index() == 11).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_of_what_is_in_the_log_is_taken_once_the_log_is_durable() {
        let (network, disk) = (MemoryNetwork::new(1), SimDisk::new());
        let store = Store::open(Arc::new(disk.clone()), NodeId::from_random(1)).unwrap();
        let node = node_of(&network, 1, Config::default(), &Place::Nowhere, store).await;
        let shared = &node.consensus.shared;
        let mut begun = None;
        let mut intake = Intake::new(Arc::clone(shared), &mut begun);
        let first = request(4, &[(3, 0)]);
        let first = AppendEntriesRequest { prev_log_id: None, leader_commit: None, ..first };
        let vote = first.vote;
        intake.append(first).await.unwrap();
        intake.close().await;
        disk.fail_syncs(true);
        let ids: Vec<(u64, u64)> = (1..=10).map(|index| (3, index)).collect();
        let more = AppendEntriesRequest { prev_log_id: Some(id(3, 0)), ..request(4, &ids) };
        intake.append(AppendEntriesRequest { leader_commit: None, ..more }).await.unwrap();
        until("the entries", || shared.log.last_index() == 10).await;
        let meta = SnapshotMeta { last_log_id: Some(id(3, 5)), ..SnapshotMeta::default() };
        intake.begin(vote, meta, 0).unwrap();
        for chunk in shared.state.with(crate::keyspace::Keyspace::snapshot).chunks() {
            intake.chunk(&chunk).unwrap();
        }
        assert!(intake.install().await.is_err());
    }

    /// Hears from where on the log was truncated.
    #[derive(Debug, Default)]
    struct Truncations(Mutex<Vec<u64>>);

    impl Witness for Truncations {
        fn see(&self, seen: Seen) {
            if let Seen::Truncated(from) = seen {
                self.0.lock().push(from);
            }
        }

        fn look(&self, _: u64) -> Look {
            Look::Away
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_may_have_committed_stays_until_a_snapshot_has_it() {
        let node = node(&MemoryNetwork::new(1), 1).await;
        let shared = &node.consensus.shared;
        let witness = Arc::new(Truncations::default());
        shared.log.stand().call(Arc::clone(&witness) as Arc<dyn Witness>);
        let mut begun = None;
        let mut intake = Intake::new(Arc::clone(shared), &mut begun);
        // The last three are of a leader that nobody followed any more; it could not know what is committed.
        let ids: Vec<(u64, u64)> = (0..8).map(|index| (3, index)).collect();
        let ids = [ids, vec![(4, 8), (4, 9), (4, 10)]].concat();
        let entries =
            AppendEntriesRequest { prev_log_id: None, leader_commit: None, ..request(4, &ids) };
        intake.append(entries).await.unwrap();
        until("the entries", || shared.log.last_index() == 10).await;
        intake.close().await;
        let vote = Vote { leader_id: leader(5), committed: true };
        let meta = SnapshotMeta { last_log_id: Some(id(5, 9)), ..SnapshotMeta::default() };
        intake.begin(vote, meta, 0).unwrap();
        for chunk in shared.state.with(crate::keyspace::Keyspace::snapshot).chunks() {
            intake.chunk(&chunk).unwrap();
        }
        intake.install().await.unwrap();
        until("what it holds", || shared.state.applied_index() == 9).await;
        assert_eq!(*witness.0.lock(), [9]);
        let more = AppendEntriesRequest { prev_log_id: Some(id(5, 9)), ..request(5, &[(5, 10)]) };
        intake.append(more).await.unwrap();
        until("what is behind it", || shared.state.applied_index() == 10).await;
    }
}
