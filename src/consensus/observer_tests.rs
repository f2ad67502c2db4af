//! Observers: whole groups on an in-memory network under a paused clock.
//!
//! Owns the scenarios in which nodes outside the Raft group follow it, lose their sources, and come into it. Invariant: every
//! wait has a deadline, and every scenario ends with equal states.

use std::time::Duration;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::ChangeMembers;
use tokio::time::timeout;

use super::tests::*;
use super::*;
use crate::transport::{Link, MemoryNetwork};

/// Starts a node that joins the cluster of `member`.
async fn join(network: &MemoryNetwork, number: u8, member: &TestNode, config: Config) -> TestNode {
    let node = node_with(network, number, config).await;
    node.consensus.shared.manager.rest();
    let formation = member.consensus.formation();
    assert!(formation.is_some());
    let known = Candidate { formation, ..member.candidate.clone() };
    node.consensus.step_towards_cluster(std::slice::from_ref(&known), None).await;
    node
}

async fn voters(network: &MemoryNetwork, count: u8, config: &Config) -> Vec<TestNode> {
    let mut nodes = Vec::new();
    for number in 1..=count {
        nodes.push(node_with(network, number, config.clone()).await);
    }
    // These scenarios move the votes by themselves.
    nodes.iter().for_each(|node| node.consensus.shared.manager.rest());
    form(&nodes).await;
    nodes
}

fn leader(nodes: &[TestNode]) -> &TestNode {
    let leads = |node: &&TestNode| node.consensus.status().role == Role::Leader;
    nodes.iter().find(leads).unwrap()
}

fn by_id(nodes: &[TestNode], id: NodeId) -> &TestNode {
    nodes.iter().find(|node| node.candidate.node == id).unwrap()
}

/// Waits until all have applied the same, then compares their states.
async fn until_equal<'a>(nodes: impl Iterator<Item = &'a TestNode> + Clone) {
    let applied = || nodes.clone().map(|n| n.consensus.status().applied).collect::<BTreeSet<_>>();
    until("the same position", || applied().len() == 1).await;
    let digest = |node: &TestNode| node.consensus.shared.state.with(|k| k.snapshot().digest());
    assert_eq!(nodes.map(digest).collect::<BTreeSet<_>>().len(), 1);
}

async fn until_fed<'a>(nodes: impl Iterator<Item = &'a TestNode> + Clone) {
    let is_fed = |node: &TestNode| node.consensus.status().follows.is_some();
    let has_session = |node: &TestNode| node.consensus.session().is_some();
    until("everybody fed", || nodes.clone().all(|node| is_fed(node) && has_session(node))).await;
}

/// Writes one after the other until it is told to stop; gives how many were acknowledged.
fn load(node: &TestNode) -> impl AsyncFnOnce() -> u64 + use<> {
    let (consensus, stop) = (node.consensus.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut count = 0;
        while !stopped.load(Ordering::SeqCst) {
            let field = format!("load{}", count % 100);
            if consensus.submit(vec![hset(&field, &count.to_string())]).await.is_ok() {
                count += 1;
            }
        }
        count
    });
    async move || {
        stop.store(true, Ordering::SeqCst);
        writing.await.unwrap()
    }
}

fn small() -> Config {
    Config { snapshot_log_bytes: bytesize::ByteSize::kib(16), ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn observers_join_under_load_and_serve_reads_and_writes() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    write(&nodes[0], "before", "1").await.unwrap();
    let stop = load(&nodes[1]);
    let mut observers = Vec::new();
    for number in 4..8 {
        observers.push(join(&network, number, &nodes[0], Config::default()).await);
    }
    until_fed(observers.iter()).await;
    for (number, observer) in observers.iter().enumerate() {
        assert_eq!(read(observer, "before").await, bulk("1"));
        write(observer, &format!("own{number}"), "v").await.unwrap();
        assert_eq!(read(observer, &format!("own{number}")).await, bulk("v"));
        assert_eq!(observer.consensus.status().role, Role::Observer);
    }
    assert!(stop().await > 0);
    until_equal(nodes.iter().chain(&observers)).await;
    assert_eq!(leader(&nodes).consensus.status().members.len(), 3);
    let lag = observers[0].consensus.status().lag;
    assert!(lag.entries == 0 && lag.delay_p99 < Duration::from_millis(100), "{lag:?}");
}

#[tokio::test(start_paused = true)]
async fn an_observer_whose_source_dies_moves_on_and_misses_nothing() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    let observer = join(&network, 9, &nodes[0], Config::default()).await;
    until_fed([&observer].into_iter()).await;
    let stop = load(leader(&nodes));
    let source = observer.consensus.status().follows.unwrap();
    network.isolate(by_id(&nodes, source).candidate.placement.address);
    let moved = |node: &TestNode| node.consensus.status().follows.is_some_and(|id| id != source);
    until("another source", || moved(&observer)).await;
    write(&observer, "own", "v").await.unwrap();
    assert_eq!(read(&observer, "own").await, bulk("v"));
    assert!(stop().await > 0);
    network.heal();
    until_equal(nodes.iter().chain([&observer])).await;
    assert_eq!(observer.consensus.status().chunks, 0);
}

#[tokio::test(start_paused = true)]
async fn an_observer_learns_of_the_next_leader() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    let observer = join(&network, 9, &nodes[0], Config::default()).await;
    until_fed([&observer].into_iter()).await;
    let dead = leader(&nodes);
    network.isolate(dead.candidate.placement.address);
    let since = Instant::now();
    write(&observer, "own", "v").await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    let known = observer.consensus.status().leader.unwrap();
    assert_ne!(known, dead.candidate.node);
    assert_eq!(by_id(&nodes, known).consensus.status().role, Role::Leader);
    assert_eq!(read(&observer, "own").await, bulk("v"));
    // The new leader may have been its source; it looks for the other voter, which is away.
    network.heal();
    until_equal(nodes.iter().chain([&observer])).await;
    let spared = || observer.consensus.status().follows != Some(known);
    until("a source that does not lead", spared).await;
}

#[tokio::test(start_paused = true)]
async fn twelve_observers_share_the_voters_that_do_not_lead() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    let mut observers = Vec::new();
    for number in 10..22 {
        observers
            .push(join(&network, number, &nodes[usize::from(number) % 3], Config::default()).await);
    }
    until_fed(observers.iter()).await;
    let fed = |node: &TestNode| node.consensus.status().feeds;
    assert_eq!(fed(leader(&nodes)), 0);
    let shares: Vec<_> = nodes.iter().map(fed).filter(|count| *count > 0).collect();
    assert_eq!(shares.iter().sum::<usize>(), 12);
    assert!(shares.iter().all(|share| (5..=7).contains(share)), "{shares:?}");
    write(&observers[0], "own", "v").await.unwrap();
    until_equal(nodes.iter().chain(&observers)).await;
}

#[tokio::test(start_paused = true)]
async fn observers_feed_each_other_when_the_voters_are_full() {
    let config = Config { followers_max: 2, followers_of_leader_max: 1, ..Config::default() };
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &config).await;
    let mut observers = Vec::new();
    for number in 10..20 {
        observers.push(join(&network, number, &nodes[0], config.clone()).await);
    }
    until_fed(observers.iter()).await;
    assert!(leader(&nodes).consensus.status().feeds <= 1);
    assert!(observers.iter().any(|node| node.consensus.status().feeds > 0));
    write(&observers[9], "own", "v").await.unwrap();
    until_equal(nodes.iter().chain(&observers)).await;
}

/// A cluster of `count` voters whose log has lost its beginning, with about six chunks of state, and slow links.
async fn with_much_state(network: &MemoryNetwork, count: u8) -> Vec<TestNode> {
    let nodes = voters(network, count, &small()).await;
    let value = "x".repeat(512 * 1024);
    for round in 0..12 {
        write(&nodes[0], &format!("f{round}"), &value).await.unwrap();
    }
    let is_short = |node: &TestNode| node.consensus.shared.log.purged().is_some();
    until("a log without its beginning", || nodes.iter().all(is_short)).await;
    network.set_default(Link { delay: Duration::from_millis(20), ..Link::default() });
    nodes
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_goes_on_where_the_stream_broke() {
    let network = MemoryNetwork::new(1);
    let nodes = with_much_state(&network, 1).await;
    let observer = join(&network, 9, &nodes[0], small()).await;
    let chunks = || observer.consensus.status().chunks;
    until("some chunks", || chunks() >= 3).await;
    let whole = nodes[0].consensus.shared.state.with(|k| k.snapshot().chunks().count() as u64);
    assert!(chunks() < whole, "{} of {whole}", chunks());
    network.isolate(observer.candidate.placement.address);
    until("a broken stream", || observer.consensus.status().follows.is_none()).await;
    assert_eq!(observer.consensus.status().applied, 0);
    network.heal();
    until_fed([&observer].into_iter()).await;
    until_equal(nodes.iter().chain([&observer])).await;
    assert_eq!(chunks(), whole);
    write(&observer, "own", "v").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_comes_though_a_chunk_takes_longer_than_a_source_may_be_silent_about_its_leader()
{
    let network = MemoryNetwork::new(1);
    let nodes = with_much_state(&network, 3).await;
    // Half a MiB takes 2.9 s.
    let slow = Link { rate: NonZeroU32::new(180_000), ..Link::default() };
    for node in &nodes {
        network.set_link(node.candidate.placement.address, address(9), slow);
    }
    let observer = join(&network, 9, &nodes[0], small()).await;
    until("half of the snapshot", || observer.consensus.status().chunks >= 6).await;
    until_fed([&observer].into_iter()).await;
    until_equal(nodes.iter().chain([&observer])).await;
}

#[tokio::test(start_paused = true)]
async fn snapshots_come_over_a_link_on_which_a_chunk_takes_longer_than_they_may_stand_still() {
    let network = MemoryNetwork::new(1);
    let nodes = with_much_state(&network, 3).await;
    let voter = nodes.iter().find(|node| node.consensus.status().role == Role::Follower).unwrap();
    network.isolate(voter.candidate.placement.address);
    let before = voter.consensus.status().applied;
    let value = "y".repeat(512 * 1024);
    for round in 0..4 {
        write(leader(&nodes), &format!("f{round}"), &value).await.unwrap();
    }
    let purged = || leader(&nodes).consensus.shared.log.purged();
    let is_short = || purged().is_some_and(|id| id.index() > before);
    until("a log that the voter cannot go on from", is_short).await;
    // Half a MiB takes 13 s.
    let slow = Link { rate: NonZeroU32::new(40_000), ..Link::default() };
    for node in &nodes {
        network.set_link(node.candidate.placement.address, voter.candidate.placement.address, slow);
        network.set_link(node.candidate.placement.address, address(9), slow);
    }
    network.heal();
    let observer = join(&network, 9, &nodes[0], small()).await;
    let has_all = |node: &TestNode| node.consensus.status().applied > before;
    let both = async {
        while !has_all(voter) || !has_all(&observer) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(400), both).await.expect("6 MiB take 160 s");
    until_fed([&observer].into_iter()).await;
    until_equal(nodes.iter().chain([&observer])).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_begins_anew_when_its_source_is_gone() {
    let network = MemoryNetwork::new(1);
    let nodes = with_much_state(&network, 3).await;
    let observer = join(&network, 9, &nodes[0], small()).await;
    until("some chunks", || observer.consensus.status().chunks >= 3).await;
    let source = observer.consensus.status().follows.unwrap();
    network.isolate(by_id(&nodes, source).candidate.placement.address);
    until_fed([&observer].into_iter()).await;
    let alive = nodes.iter().filter(|node| node.candidate.node != source);
    until_equal(alive.chain([&observer])).await;
    write(&observer, "own", "v").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_is_removed_goes_on_as_an_observer() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    let stop = load(leader(&nodes));
    let removed = nodes.iter().find(|n| n.consensus.status().role == Role::Follower).unwrap();
    let change = ChangeMembers::RemoveVoters([removed.candidate.node].into());
    leader(&nodes).consensus.shared.raft().change_membership(change, false).await.unwrap();
    until_fed([removed].into_iter()).await;
    write(removed, "own", "v").await.unwrap();
    assert_eq!(read(removed, "own").await, bulk("v"));
    assert!(stop().await > 0);
    until_equal(nodes.iter()).await;
    assert_eq!(removed.consensus.status().role, Role::Observer);
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_was_removed_while_it_was_away_finds_out_by_following() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    let removed = nodes.iter().find(|n| n.consensus.status().role == Role::Follower).unwrap();
    network.isolate(removed.candidate.placement.address);
    let change = ChangeMembers::RemoveVoters([removed.candidate.node].into());
    let change = leader(&nodes).consensus.shared.raft().change_membership(change, false).await;
    change.unwrap();
    for round in 0..20 {
        write(leader(&nodes), &format!("f{round}"), "v").await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(removed.consensus.status().role, Role::Follower);
    network.heal();
    let observes = || removed.consensus.status().role == Role::Observer;
    until("the removal to come through", observes).await;
    until_fed([removed].into_iter()).await;
    write(removed, "own", "v").await.unwrap();
    until_equal(nodes.iter()).await;
}

#[tokio::test(start_paused = true)]
async fn an_observer_under_load_becomes_a_voter_without_a_snapshot() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    let observer = join(&network, 9, &nodes[0], Config::default()).await;
    until_fed([&observer].into_iter()).await;
    let stop = load(&nodes[0]);
    let own = load(&observer);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (id, placement) = (observer.candidate.node, observer.candidate.placement.clone());
    let raft = leader(&nodes).consensus.shared.raft();
    let joined = timeout(PATIENCE, raft.add_learner(id, placement, true)).await.unwrap();
    joined.unwrap();
    let change = ChangeMembers::AddVoterIds([id].into());
    raft.change_membership(change, true).await.unwrap();
    until("a fourth voter", || observer.consensus.status().voters.len() == 4).await;
    until("no source", || observer.consensus.status().follows.is_none()).await;
    assert_eq!(observer.consensus.status().role, Role::Follower);
    assert!(stop().await > 0 && own().await > 0);
    until_equal(nodes.iter().chain([&observer])).await;
    let status = observer.consensus.status();
    assert_eq!((status.chunks, observer.consensus.shared.snapshot_index()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_removed_voter_that_stood_for_election_comes_back_as_an_observer() {
    let network = MemoryNetwork::new(1);
    let nodes = voters(&network, 3, &Config::default()).await;
    let removed = nodes.iter().find(|n| n.consensus.status().role == Role::Follower).unwrap();
    network.isolate(removed.candidate.placement.address);
    let raft = removed.consensus.shared.raft();
    for _ in 0..3 {
        raft.trigger().elect(false).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let change = ChangeMembers::RemoveVoters([removed.candidate.node].into());
    let change = leader(&nodes).consensus.shared.raft().change_membership(change, false).await;
    change.unwrap();
    write(leader(&nodes), "f", "v").await.unwrap();
    let before = leader(&nodes).consensus.status().term;
    assert!(removed.consensus.status().term > before);
    network.heal();
    let observes = || removed.consensus.status().role == Role::Observer;
    until("the removal to come through", observes).await;
    until_fed([removed].into_iter()).await;
    write(removed, "own", "v").await.unwrap();
    until_equal(nodes.iter()).await;
    assert!(leader(&nodes).consensus.status().term > before);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_waits_for_each_of_its_writes_is_not_made_to_pause() {
    let network = MemoryNetwork::new(1);
    let relay_pause = Duration::from_secs(10);
    let config = Config { relay_pause, ..Config::default() };
    let voters = voters(&network, 3, &config).await;
    let observer = join(&network, 4, &voters[0], config).await;
    until_fed([&observer].into_iter()).await;
    tokio::time::sleep(relay_pause).await;
    let begun = Instant::now();
    for round in 0..10 {
        write(&observer, &format!("f{round}"), "v").await.unwrap();
    }
    assert!(begun.elapsed() < relay_pause, "{:?}", begun.elapsed());
    // More of them are gathered.
    for round in 0..10 {
        write(&voters[0], &format!("g{round}"), "v").await.unwrap();
    }
    until_equal([&voters[0], &observer].into_iter()).await;
}
