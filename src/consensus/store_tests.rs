//! openraft's own suite for log stores and state machines, on memory and on a simulated disk; and what a store makes of what
//! it finds.
//!
//! Owns how both are built, and the disks of the scenarios. Invariant: each store of the suite begins empty.

use std::sync::Arc;

use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::raft::VoteRequest;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId;

use super::clients::Clients;
use super::cluster_time::ClusterTime;
use super::log::LogStore;
use super::machine::{Gate, Machine};
use super::pending::Pending;
use super::raft::{LogEntry, LogId, SnapshotMeta, Types, Vote};
use super::state::State;
use super::store::Store;
use super::tests::{PATIENCE, address, node, node_of, until};
use super::wire::{Answer, Call};
use super::witness::Stand;
use super::{Config, Timing, notices};
use crate::host::Place;
use crate::ids::{FormationId, NodeId};
use crate::keyspace::{Keyspace, Limits};
use crate::storage::{Disk, Error, SimDisk, Survival};
use crate::time::Clock;
use crate::transport::MemoryNetwork;

struct Builder {
    is_on_disk: bool,
}

impl StoreBuilder<Types, LogStore, Machine> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        let node = NodeId::from_random(1);
        let store = if self.is_on_disk {
            Store::open(Arc::new(SimDisk::new()), node).expect("an empty disk opens")
        } else {
            Store::in_memory(node)
        };
        let (outbox, _) = notices::channel();
        let pending = Pending::new(node, Clients::default(), 1 << 20, outbox);
        let state = Arc::new(State::new(
            Limits::default(),
            pending,
            Stand::default(),
            ClusterTime::new(Clock::system(), 0),
        ));
        Ok(((), store.log, Machine::new(state, Gate::default(), store.snapshots)))
    }
}

#[tokio::test(start_paused = true)]
async fn memory_passes_the_suite() {
    Suite::test_all(Builder { is_on_disk: false }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn disk_passes_the_suite() {
    Suite::test_all(Builder { is_on_disk: true }).await.unwrap();
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: NodeId::from_random(1) }.to_committed(), index)
}

fn open(disk: &SimDisk) -> Result<Store, Error> {
    Store::open(Arc::new(disk.clone()), NodeId::from_random(9))
}

/// A disk with a formation, a vote in term 3 and ten entries, and a snapshot of the first eight as of `formation`.
async fn used(first: FormationId, formation: FormationId) -> SimDisk {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    store.log.set_formation(first);
    store.log.save_vote(&Vote::new(3, NodeId::from_random(1))).await.unwrap();
    let entries = (0..10).map(|index| LogEntry::new_blank(id(3, index)));
    store.log.append(entries, IOFlushed::noop()).await.unwrap();
    let meta = SnapshotMeta { last_log_id: Some(id(3, 7)), ..SnapshotMeta::default() };
    let snapshot = Arc::new(Keyspace::new(Limits::default()).snapshot());
    store.snapshots.save(meta, formation, snapshot).await.unwrap();
    disk
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_being_formed_anew_is_formed_anew() {
    let first = FormationId::first(7);
    let store = open(&used(first, first).await).unwrap();
    let (mut log, node) = (store.log.clone(), store.node());
    assert_eq!((store.formation(), node), (Some(first), NodeId::from_random(9)));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(id(3, 9)));

    let next = first.next(8);
    let disk = used(first, next).await;
    for _ in 0..2 {
        // The second time there is nothing left to do.
        let store = open(&disk).unwrap();
        assert_eq!(store.formation(), Some(next));
        let mut log = store.log.clone();
        let state = log.get_log_state().await.unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(3, 7)), Some(id(3, 7))));
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(4, node)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_without_its_snapshot_and_a_snapshot_without_its_log_are_refused() {
    let formation = FormationId::first(7);
    let disk = used(formation, formation).await;
    open(&disk).unwrap().log.purge(id(3, 7)).await.unwrap();
    open(&disk).unwrap();
    for (part, expected) in [("snapshot-", "a snapshot: missing"), ("log-", "the log: missing")] {
        let disk = disk.fork();
        for name in disk.list().unwrap().iter().filter(|name| name.starts_with(part)) {
            disk.remove(name).unwrap();
        }
        let error = open(&disk).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_back_votes_for_nobody_until_the_old_leader_may_be_gone() {
    let network = MemoryNetwork::new(1);
    let disk = SimDisk::new();
    let (number, config, locks) = (1, Config::default(), &Place::Nowhere);
    let first = node_of(&network, number, config.clone(), locks, open(&disk).unwrap()).await;
    first.consensus.form_alone().await.unwrap();
    until("a session", || first.consensus.session().is_some()).await;
    let formation = first.consensus.formation().unwrap();
    network.remove(address(number));
    let disk = disk.power_cut(Survival::Everything);
    let asking = node(&network, 2).await;
    asking.consensus.shared.links.set_formation(formation);
    let back = node_of(&network, 3, config, locks, open(&disk).unwrap()).await;
    let request = || VoteRequest::new(Vote::new(90, asking.candidate.node), Some(id(90, 1_000)));
    let links = Arc::clone(&asking.consensus.shared.links);
    let peer = links.peer(NodeId::from_random(9), &back.candidate.placement);
    for call in [Call::Vote(request()), Call::PreVote(request())] {
        let answer = links.call(&peer, &call, PATIENCE).await.unwrap();
        assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    }
    tokio::time::sleep(Timing::default().election_max).await;
    let answer = links.call(&peer, &Call::PreVote(request()), PATIENCE).await.unwrap();
    assert!(matches!(answer, Answer::Vote(_)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn each_start_has_a_greater_number_also_when_the_clock_goes_back() {
    let disk = SimDisk::new();
    let start = async |disk: &SimDisk, now| {
        let store = Store::open(Arc::new(disk.clone()), NodeId::from_random(1)).expect("opens");
        store.begin(now).await.expect("written")
    };
    assert_eq!(start(&disk, 1_000).await, 1_000);
    let disk = disk.power_cut(Survival::Nothing);
    assert_eq!(start(&disk, 400).await, 1_001);
    let disk = disk.power_cut(Survival::Nothing);
    assert_eq!(start(&disk, 2_000).await, 2_000);
    assert_eq!(
        Store::in_memory(NodeId::from_random(1)).begin(7).await.expect("nothing to write"),
        7
    );
}
