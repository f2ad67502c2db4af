//! Voters: whole groups on an in-memory network under a paused clock.
//!
//! Owns the scenarios in which nodes come, die and leave, and the votes follow. Invariant: every wait has a deadline, and
//! where nobody dies no write fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::raft::Membership;
use super::tests::*;
use super::*;
use crate::host::Place;
use crate::transport::MemoryNetwork;

/// A fleet that grows one by one.
struct Fleet {
    network: MemoryNetwork,
    voting: Voting,
    nodes: Vec<TestNode>,
}

impl Fleet {
    fn new(target: usize) -> Self {
        let voting = Voting { target, ..Voting::default() };
        Self { network: MemoryNetwork::new(1), voting, nodes: Vec::new() }
    }

    async fn with(target: usize, hosts: &[&str]) -> Self {
        let mut fleet = Self::new(target);
        for host in hosts {
            fleet.join(host).await;
        }
        fleet.until_voters(hosts.len().min(target)).await;
        fleet
    }

    async fn join(&mut self, host: &str) {
        let number = u8::try_from(self.nodes.len() + 1).unwrap();
        let setting = (self.voting, host);
        let store = Store::in_memory(NodeId::from_random(u64::from(number)));
        let config = Config::default();
        let node = start(&self.network, number, config, &Place::Nowhere, store, setting).await;
        if let Some(first) = self.nodes.first() {
            let formation = first.consensus.formation();
            let known = Candidate { formation, ..first.candidate.clone() };
            node.consensus.step_towards_cluster(std::slice::from_ref(&known), None).await;
        } else {
            node.consensus.form_alone().await.unwrap();
        }
        until("a session", || node.consensus.session().is_some()).await;
        self.nodes.push(node);
    }

    fn voters(&self) -> BTreeSet<NodeId> {
        self.leader().consensus.shared.voters()
    }

    /// Waits until so many vote, and no change is half done.
    async fn until_voters(&self, count: usize) {
        let is_so = || {
            self.find_leader().is_some_and(|leader| {
                let membership = leader.consensus.shared.membership();
                let configs = membership.membership().get_joint_config().clone();
                configs.len() == 1 && configs.iter().all(|voters| voters.len() == count)
            })
        };
        until(&format!("{count} voters"), is_so).await;
    }

    fn find_leader(&self) -> Option<&TestNode> {
        let leads = |node: &&TestNode| node.consensus.status().role == Role::Leader;
        let leaders = self.nodes.iter().filter(leads);
        leaders.max_by_key(|node| node.consensus.status().term)
    }

    fn leader(&self) -> &TestNode {
        self.find_leader().unwrap()
    }

    fn at(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.candidate.node == id).unwrap()
    }

    /// Lets a node leave as a program does, and waits until it has.
    async fn leave(&mut self, at: usize) -> Duration {
        let node = self.nodes.remove(at);
        let since = Instant::now();
        node.consensus.hand_over().await;
        node.consensus.leave().await;
        let took = since.elapsed();
        node.consensus.stop().await;
        node.transport.close("leaving").await;
        took
    }

    /// Cuts a node off for ever.
    fn kill(&mut self, at: usize) {
        let node = self.nodes.remove(at);
        self.network.isolate(node.candidate.placement.address);
        tokio::spawn(async move { node.consensus.stop().await });
    }
}

/// Writes without a pause until it is told to stop; gives how many were acknowledged. No write may fail.
struct Load {
    stop: Arc<AtomicBool>,
    writing: JoinHandle<u64>,
}

impl Load {
    fn on(node: &TestNode) -> Self {
        let (consensus, stop) = (node.consensus.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let writing = tokio::spawn(async move {
            let mut count = 0;
            while !stopped.load(Ordering::SeqCst) {
                let field = format!("load{}", count % 10);
                let written = consensus.submit(vec![hset(&field, &count.to_string())]).await;
                assert!(written.is_ok(), "write {count}: {written:?}");
                count += 1;
            }
            count
        });
        Self { stop, writing }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.writing.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn votes_follow_the_nodes_from_one_to_five_and_back_without_a_failed_write() {
    let mut fleet = Fleet::new(5);
    fleet.join("").await;
    let load = Load::on(&fleet.nodes[0]);
    for voters in [2, 3, 3, 5] {
        fleet.join("").await;
        fleet.until_voters(voters).await;
    }
    for voters in [3, 3, 2, 1] {
        let last = fleet.nodes.len() - 1;
        let took = fleet.leave(last).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        fleet.until_voters(voters).await;
    }
    assert!(load.end().await > 100);
    assert_eq!(fleet.nodes[0].consensus.status().voters, [fleet.nodes[0].candidate.node]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_voter_is_replaced_by_a_spare() {
    let mut fleet = Fleet::with(3, &["", "", "", ""]).await;
    let leader = fleet.at(fleet.leader().candidate.node);
    let voters = fleet.voters();
    let votes = |node: &TestNode| voters.contains(&node.candidate.node);
    let dead = (0..4).find(|at| *at != leader && votes(&fleet.nodes[*at])).unwrap();
    let dead_id = fleet.nodes[dead].candidate.node;
    fleet.kill(dead);
    let since = Instant::now();
    until("another voter", || {
        let voters = fleet.voters();
        voters.len() == 3 && !voters.contains(&dead_id)
    })
    .await;
    let took = since.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(12), "{took:?}");
    fleet.until_voters(3).await;
    assert_eq!(write(&fleet.nodes[0], "f", "v").await, Ok(vec![Reply::Integer(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_dead_voter_without_a_spare_keeps_its_vote() {
    let mut fleet = Fleet::with(3, &["", "", ""]).await;
    let leader = fleet.at(fleet.leader().candidate.node);
    let before = fleet.voters();
    fleet.kill((leader + 1) % 3);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(fleet.voters(), before);
    let decision = fleet.leader().consensus.status().decision.unwrap();
    assert!(decision.text.contains("2 of 3 voters answer"), "{decision:?}");
}

/// Kills the leader of three voters and a spare in the middle of a change, while nobody looks after the votes. Gives who is to
/// lose its vote by the change.
async fn die_in_a_change() -> (Fleet, NodeId) {
    let mut fleet = Fleet::with(3, &["", "", "", ""]).await;
    fleet.nodes.iter().for_each(|node| node.consensus.shared.manager.rest());
    let leader = fleet.leader();
    let raft = leader.consensus.shared.raft();
    let old = fleet.voters();
    let spare = fleet.nodes.iter().find(|node| !old.contains(&node.candidate.node)).unwrap();
    let (id, placement) = (spare.candidate.node, spare.candidate.placement.clone());
    raft.add_learner(id, placement, true).await.unwrap();
    let gone = *old.iter().find(|id| **id != leader.candidate.node).unwrap();
    let mut new = old.clone();
    new.remove(&gone);
    new.insert(id);
    let membership = leader.consensus.shared.membership();
    let nodes: BTreeMap<_, _> = membership.nodes().map(|(id, node)| (*id, node.clone())).collect();
    let joint = Membership::new(vec![old, new], nodes).unwrap();
    let payload = openraft::EntryPayload::Blank;
    raft.append_membership(joint, payload, []).await.unwrap();
    let dead = fleet.at(leader.candidate.node);
    fleet.kill(dead);
    (fleet, gone)
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_in_a_half_done_change_has_it_finished_by_the_next() {
    let (fleet, _) = die_in_a_change().await;
    fleet.nodes.iter().for_each(|node| node.consensus.shared.manager.go_on());
    fleet.until_voters(3).await;
    assert_eq!(write(&fleet.nodes[0], "f", "v").await, Ok(vec![Reply::Integer(1)]));
}

#[tokio::test(start_paused = true)]
async fn who_finishes_a_change_that_takes_its_own_vote_hands_over() {
    let (fleet, gone) = die_in_a_change().await;
    let elected = &fleet.nodes[fleet.at(gone)];
    let deadline = Instant::now() + PATIENCE;
    while fleet.find_leader().is_none_or(|leader| leader.candidate.node != gone) {
        assert!(Instant::now() < deadline, "it does not win");
        elected.consensus.shared.raft().trigger().elect(true).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fleet.nodes.iter().for_each(|node| node.consensus.shared.manager.go_on());
    fleet.until_voters(3).await;
    let has_vote = || {
        fleet
            .find_leader()
            .is_some_and(|leader| leader.consensus.shared.voters().contains(&leader.candidate.node))
    };
    until("a leader with a vote", has_vote).await;
    assert_eq!(write(elected, "f", "v").await, Ok(vec![Reply::Integer(1)]));
}

#[tokio::test(start_paused = true)]
async fn votes_spread_over_hosts_once_a_node_on_another_has_settled() {
    let mut fleet = Fleet::with(3, &["a", "a", "b"]).await;
    fleet.join("c").await;
    let hosts = |fleet: &Fleet| {
        let voters = fleet.voters();
        let is_voter = |node: &&TestNode| voters.contains(&node.candidate.node);
        let votes = fleet.nodes.iter().filter(is_voter);
        votes.map(|node| node.candidate.placement.host.clone()).collect::<BTreeSet<_>>()
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(hosts(&fleet).len(), 2, "it may leave again at once");
    until("a vote on each host", || hosts(&fleet).len() == 3).await;
    fleet.until_voters(3).await;
}

/// Lets the node leave that `pick` picks, of three voters and `spares` others, while every node writes.
async fn leave_under_load(spares: usize, pick: impl Fn(&Fleet) -> usize) {
    let mut fleet = Fleet::with(3, &vec![""; 3 + spares]).await;
    let leaver = pick(&fleet);
    let id = fleet.nodes[leaver].candidate.node;
    let stay = fleet.nodes.iter().enumerate().filter(|(at, _)| *at != leaver);
    let loads: Vec<_> = stay.map(|(_, node)| Load::on(node)).collect();
    let own = Load::on(&fleet.nodes[leaver]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Its own clients are served until it has handed over.
    fleet.nodes[leaver].consensus.hand_over().await;
    assert!(own.end().await > 0);
    let took = fleet.leave(leaver).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    fleet.until_voters(if spares > 0 { 3 } else { 2 }).await;
    assert!(!fleet.voters().contains(&id));
    tokio::time::sleep(Duration::from_millis(300)).await;
    for load in loads {
        assert!(load.end().await > 10);
    }
    let open = fleet.nodes[0].consensus.sessions().borrow().len();
    assert_eq!(open, 2 + spares);
}

#[tokio::test(start_paused = true)]
async fn a_leader_leaves_under_load_without_a_failed_write() {
    for spares in [0, 1] {
        leave_under_load(spares, |fleet| fleet.at(fleet.leader().candidate.node)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_voter_leaves_under_load_without_a_failed_write() {
    for spares in [0, 1] {
        leave_under_load(spares, |fleet| {
            let leader = fleet.leader().candidate.node;
            fleet.at(*fleet.voters().iter().find(|id| **id != leader).unwrap())
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_leaves_under_load_without_a_failed_write() {
    leave_under_load(1, |fleet| {
        let voters = fleet.voters();
        fleet.nodes.iter().position(|node| !voters.contains(&node.candidate.node)).unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leaves_and_the_other_goes_on_whoever_leads() {
    for leaver_leads in [false, true] {
        let mut fleet = Fleet::with(3, &["", ""]).await;
        let leader = fleet.at(fleet.leader().candidate.node);
        let leaver = if leaver_leads { leader } else { 1 - leader };
        let load = Load::on(&fleet.nodes[1 - leaver]);
        let took = fleet.leave(leaver).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        fleet.until_voters(1).await;
        assert!(load.end().await > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn all_leave_at_once_within_bounds() {
    let fleet = Fleet::with(3, &["", "", "", "", ""]).await;
    let leave = |node: &TestNode| {
        let consensus = node.consensus.clone();
        async move {
            let since = Instant::now();
            consensus.leave().await;
            since.elapsed()
        }
    };
    let took = join_all(fleet.nodes.iter().map(leave)).await;
    assert!(took.iter().all(|took| *took < Duration::from_secs(3)), "{took:?}");
}

/// Lets all three voters leave at once, the leader and each of the others so long after the one before, while three more nodes
/// stay and write.
async fn all_voters_leave(apart: Duration, is_leader_first: bool) {
    let mut fleet = Fleet::with(3, &[""; 6]).await;
    let (voters, leader) = (fleet.voters(), fleet.leader().candidate.node);
    let (mut gone, stay): (Vec<_>, Vec<_>) =
        fleet.nodes.drain(..).partition(|node| voters.contains(&node.candidate.node));
    fleet.nodes = stay;
    gone.sort_by_key(|node| (node.candidate.node == leader) != is_leader_first);
    let loads: Vec<_> = fleet.nodes.iter().map(Load::on).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let leave = |(number, node): (u32, TestNode)| async move {
        tokio::time::sleep(apart * number).await;
        let since = Instant::now();
        node.consensus.leave().await;
        let took = since.elapsed();
        node.consensus.stop().await;
        node.transport.close("leaving").await;
        took
    };
    let took = join_all((0..).zip(gone).map(leave)).await;
    assert!(took.iter().all(|took| *took < Duration::from_secs(3)), "{took:?}");
    fleet.until_voters(3).await;
    assert!(fleet.voters().is_disjoint(&voters));
    for load in loads {
        assert!(load.end().await > 10);
    }
}

#[tokio::test(start_paused = true)]
async fn all_voters_leave_at_once_and_those_who_stay_go_on() {
    for apart in [0, 5, 50] {
        for is_leader_first in [false, true] {
            all_voters_leave(Duration::from_millis(apart), is_leader_first).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_not_let_go_in_time_has_its_vote_taken_before_its_session_ends() {
    let fleet = Fleet::with(3, &["", "", "", ""]).await;
    let leader = fleet.leader().candidate.node;
    let leaver = *fleet.voters().iter().find(|id| **id != leader).unwrap();
    fleet.nodes.iter().for_each(|node| node.consensus.shared.manager.rest());
    let managers: Vec<_> =
        fleet.nodes.iter().map(|node| Arc::clone(&node.consensus.shared)).collect();
    let late = tokio::spawn(async move {
        // Later than a leaver tries to hand over.
        tokio::time::sleep(Duration::from_millis(1_700)).await;
        managers.iter().for_each(|shared| shared.manager.go_on());
    });
    let since = Instant::now();
    fleet.nodes[fleet.at(leaver)].consensus.leave().await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert!(!fleet.voters().contains(&leaver), "it went with its vote");
    late.await.unwrap();
    fleet.until_voters(3).await;
}

#[tokio::test(start_paused = true)]
async fn one_whose_cluster_does_not_answer_leaves_within_bounds() {
    let mut fleet = Fleet::with(3, &["", "", ""]).await;
    let (others, last) = (fleet.nodes.drain(1..).collect::<Vec<_>>(), fleet.nodes.remove(0));
    for other in &others {
        fleet.network.isolate(other.candidate.placement.address);
    }
    let since = Instant::now();
    last.consensus.leave().await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}
