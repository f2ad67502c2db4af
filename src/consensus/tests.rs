//! Whole groups on an in-memory network under a paused clock.
//!
//! Owns the scenarios; each drives the public face of the room. Invariant: every wait has a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::*;
use crate::command::{Action, Command, HashCommand, Operation};
use crate::host::Place;
use crate::transport::{Credentials, Identity, Link, MemoryNetwork, Secret, Socket};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct TestNode {
    pub(super) consensus: Consensus,
    pub(super) transport: Transport,
    pub(super) candidate: Candidate,
}

pub(super) fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7000))
}

pub(super) async fn node(network: &MemoryNetwork, number: u8) -> TestNode {
    node_with(network, number, Config::default()).await
}

pub(super) async fn node_with(network: &MemoryNetwork, number: u8, config: Config) -> TestNode {
    node_on(network, number, config, &Place::Nowhere).await
}

pub(super) async fn node_on(
    network: &MemoryNetwork,
    number: u8,
    config: Config,
    locks: &Place,
) -> TestNode {
    let store = Store::in_memory(NodeId::from_random(u64::from(number)));
    node_of(network, number, config, locks, store).await
}

pub(super) async fn node_of(
    network: &MemoryNetwork,
    number: u8,
    config: Config,
    locks: &Place,
    store: Store,
) -> TestNode {
    start(network, number, config, locks, store, (Voting::default(), "")).await
}

/// Starts a node that votes under `voting`, on the named host.
pub(super) async fn start(
    network: &MemoryNetwork,
    number: u8,
    config: Config,
    locks: &Place,
    store: Store,
    (voting, host): (Voting, &str),
) -> TestNode {
    let (id, is_durable) = (store.node(), store.is_durable());
    let name = format!("node-{number}");
    let secret = Secret::generate([7; 32]);
    let credentials = Credentials::Secret { current: secret, previous: None };
    let cluster = "test".parse().unwrap();
    let identity =
        Identity { cluster, node: id, name: name.clone(), advertise: None, settings: Vec::new() };
    let socket = Socket::Simulated(network.socket(address(number)));
    let parts = crate::transport::Parts { socket, rng_seed: [number; 32] };
    let (transport, mut incoming) =
        Transport::start(crate::transport::Config::default(), credentials, identity, parts)
            .await
            .unwrap();
    let placement = Placement { host: host.to_owned(), ..Placement::new(name, address(number)) };
    let consensus = Consensus::start(Parts {
        config,
        timing: Timing::default(),
        voting,
        limits: Limits::default(),
        store,
        placement: placement.clone(),
        transport: transport.clone(),
        submission_max: 16 << 20,
        clock: Clock::simulated(Timestamp::from_millis(1_000_000)),
        rng_seed: [number; 32],
        host: locks.hold(id, is_durable).unwrap(),
        witness: None,
    })
    .await
    .unwrap();
    let serving = consensus.clone();
    tokio::spawn(async move {
        while let Some(inbound) = incoming.accept().await {
            let serving = serving.clone();
            tokio::spawn(async move { serving.serve(inbound).await });
        }
    });
    let candidate = Candidate { node: id, placement, formation: None, is_forming: true };
    TestNode { consensus, transport, candidate }
}

/// Waits until `ready` holds.
pub(super) async fn until(what: &str, ready: impl FnMut() -> bool) {
    look_until(Duration::from_millis(10), what, ready).await;
}

async fn look_until(every: Duration, what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(every).await;
    }
}

pub(super) async fn form(nodes: &[TestNode]) {
    let expect = Some(Expect { nodes: nodes.len(), voters: nodes.len() });
    for node in nodes {
        let others: Vec<_> = nodes
            .iter()
            .map(|other| other.candidate.clone())
            .filter(|other| other.node != node.candidate.node)
            .collect();
        node.consensus.step_towards_cluster(&others, expect).await;
    }
    until("sessions", || nodes.iter().all(|node| node.consensus.session().is_some())).await;
}

pub(super) fn hset(field: &str, value: &str) -> Request {
    let pairs = vec![(Bytes::from(field.to_owned()), Bytes::from(value.to_owned()))];
    let key = Bytes::from_static(b"h");
    let command = Command::Hash(HashCommand::Set { key, pairs, reply_ok: false });
    Request::One(Operation::new(0, command))
}

pub(super) fn hget(field: &str) -> Request {
    let (key, field) = (Bytes::from_static(b"h"), Bytes::from(field.to_owned()));
    let command = Command::Hash(HashCommand::Get { key, field });
    Request::One(Operation::new(0, command))
}

pub(super) async fn write(node: &TestNode, field: &str, value: &str) -> Result<Vec<Reply>, Error> {
    timeout(PATIENCE, node.consensus.submit(vec![hset(field, value)])).await.unwrap()
}

pub(super) async fn read(node: &TestNode, field: &str) -> Reply {
    let at = timeout(PATIENCE, node.consensus.confirm_read()).await.unwrap().unwrap();
    node.consensus.read(at, &[hget(field)]).remove(0)
}

pub(super) fn bulk(text: &str) -> Reply {
    Reply::Bulk(Bytes::from(text.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn one_node_forms_a_cluster_at_once() {
    let network = MemoryNetwork::new(1);
    let node = node(&network, 1).await;
    node.consensus.form_alone().await.unwrap();
    assert_eq!(write(&node, "f", "v").await, Ok(vec![Reply::Integer(1)]));
    assert_eq!(read(&node, "f").await, bulk("v"));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_come_to_nothing_leave_nothing_that_hinders_the_next() {
    let network = MemoryNetwork::new(1);
    let nodes = [node(&network, 1).await, node(&network, 2).await];
    let [first, second] = &nodes;
    let (others, expect) = ([second.candidate.clone()], Some(Expect { nodes: 2, voters: 2 }));
    let shared = &second.consensus.shared;
    let elsewhere = FormationId::first(7);
    let stranger = NodeId::from_random(77);
    // More often than streams may be open on one link.
    for _ in 0..80 {
        let promised = shared.formation.promise(shared, stranger, elsewhere);
        assert!(matches!(promised, wire::Answer::Done));
        let began = Instant::now();
        first.consensus.step_towards_cluster(&others, expect).await;
        assert!(began.elapsed() < Duration::from_secs(1), "an attempt took {:?}", began.elapsed());
    }
    shared.formation.withdraw(shared, elsewhere);
    form(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_on_one_node_is_read_on_every_other() {
    let network = MemoryNetwork::new(1);
    let nodes = [node(&network, 1).await, node(&network, 2).await, node(&network, 3).await];
    form(&nodes).await;
    for (round, writer) in nodes.iter().enumerate() {
        let value = format!("value-{round}");
        write(writer, "f", &value).await.unwrap();
        for reader in &nodes {
            assert_eq!(read(reader, "f").await, bulk(&value));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn writes_survive_the_death_of_the_leader() {
    let network = MemoryNetwork::new(1);
    let nodes = [node(&network, 1).await, node(&network, 2).await, node(&network, 3).await];
    form(&nodes).await;
    let leader = nodes[0].consensus.status().leader.unwrap();
    let (dead, alive): (Vec<_>, Vec<_>) =
        nodes.iter().partition(|node| node.candidate.node == leader);
    write(alive[0], "before", "1").await.unwrap();
    network.isolate(dead[0].candidate.placement.address);
    // Both survivors write while there is no leader; their node takes the writes to the next one.
    let (first, second) = tokio::join!(write(alive[0], "a", "1"), write(alive[1], "b", "1"));
    assert_eq!((first, second), (Ok(vec![Reply::Integer(1)]), Ok(vec![Reply::Integer(1)])));
    assert_eq!(read(alive[1], "before").await, bulk("1"));
    network.heal();
    // The old leader's session has ended meanwhile; it opens another by itself.
    assert_eq!(write(dead[0], "c", "1").await, Ok(vec![Reply::Integer(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_late_comer_joins_with_the_state_there_is() {
    let network = MemoryNetwork::new(1);
    let first = node(&network, 1).await;
    first.consensus.form_alone().await.unwrap();
    write(&first, "f", "v").await.unwrap();
    let late = node(&network, 2).await;
    let formation = first.consensus.formation();
    let known = Candidate { formation, ..first.candidate.clone() };
    late.consensus.step_towards_cluster(std::slice::from_ref(&known), None).await;
    until("a session", || late.consensus.session().is_some()).await;
    assert_eq!(read(&late, "f").await, bulk("v"));
    assert_eq!(late.consensus.status().role, Role::Observer);
    assert_eq!(write(&late, "g", "v").await, Ok(vec![Reply::Integer(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_leaver_hands_over_and_is_gone_from_the_group() {
    let network = MemoryNetwork::new(1);
    let nodes = [node(&network, 1).await, node(&network, 2).await, node(&network, 3).await];
    form(&nodes).await;
    let leader = nodes[0].consensus.status().leader.unwrap();
    let (gone, left): (Vec<_>, Vec<_>) =
        nodes.iter().partition(|node| node.candidate.node == leader);
    gone[0].consensus.leave().await;
    gone[0].consensus.stop().await;
    gone[0].transport.close("leaving").await;
    assert_eq!(write(left[0], "f", "v").await, Ok(vec![Reply::Integer(1)]));
    until("two voters", || left[0].consensus.status().voters.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn the_log_stays_bounded_and_a_late_comer_gets_a_snapshot() {
    const LIMIT: u64 = 16 * 1024;
    let config = Config { snapshot_log_bytes: bytesize::ByteSize(LIMIT), ..Config::default() };
    let network = MemoryNetwork::new(1);
    let first = node_with(&network, 1, config.clone()).await;
    first.consensus.form_alone().await.unwrap();
    let value = "x".repeat(500);
    for round in 0..200 {
        write(&first, &format!("f{round}"), &value).await.unwrap();
    }
    until("a log within its bound", || first.consensus.status().log.1 as u64 <= LIMIT).await;
    let late = node_with(&network, 2, config).await;
    let formation = first.consensus.formation();
    let known = Candidate { formation, ..first.candidate.clone() };
    late.consensus.step_towards_cluster(std::slice::from_ref(&known), None).await;
    until("a session", || late.consensus.session().is_some()).await;
    for round in [0, 100, 199] {
        assert_eq!(read(&late, &format!("f{round}")).await, bulk(&value));
    }
    assert_eq!(write(&late, "own", "v").await, Ok(vec![Reply::Integer(1)]));
    let digest = |node: &TestNode| node.consensus.shared.state.with(|k| k.snapshot().digest());
    let applied = |node: &TestNode| node.consensus.status().applied;
    until("the same position", || applied(&first) == applied(&late)).await;
    assert_eq!(digest(&first), digest(&late));
}

/// A cluster of three whose logs keep about `log_kib`, one of whose followers is cut off.
async fn two_and_one_apart(network: &MemoryNetwork, log_kib: u64) -> (Vec<TestNode>, TestNode) {
    let snapshot_log_bytes = bytesize::ByteSize::kib(log_kib);
    let config = Config { snapshot_log_bytes, ..Config::default() };
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(node_with(network, number, config.clone()).await);
    }
    form(&nodes).await;
    let leader = nodes[0].consensus.status().leader.unwrap();
    let at = nodes.iter().position(|node| node.candidate.node != leader).unwrap();
    let behind = nodes.swap_remove(at);
    network.isolate(behind.candidate.placement.address);
    (nodes, behind)
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_missed_a_snapshots_worth_catches_up_and_answers_its_callers() {
    let network = MemoryNetwork::new(1);
    let (nodes, behind) = two_and_one_apart(&network, 16).await;
    let value = "x".repeat(500);
    for round in 0..200 {
        write(&nodes[0], &format!("f{round}"), &value).await.unwrap();
    }
    network.heal();
    assert_eq!(write(&behind, "own", "v").await, Ok(vec![Reply::Integer(1)]));
    assert_eq!(read(&behind, "f0").await, bulk(&value));
}

/// The session opened, and ended, between what was applied last and the snapshot that came next; then the node led.
#[tokio::test(start_paused = true)]
async fn a_leader_that_was_told_of_a_session_that_is_over_opens_another() {
    let network = MemoryNetwork::new(1);
    let node = node(&network, 1).await;
    node.consensus.form_alone().await.unwrap();
    until("a session", || node.consensus.session().is_some()).await;
    let shared = &node.consensus.shared;
    let over = shared.state.pending.session().unwrap();
    shared.state.pending.begin_session(7);
    let ended = shared.propose(Action::Expire { session: over });
    assert!(matches!(ended.await, wire::Answer::Done));
    shared.state.pending.announce_session(7, over);
    until("another session", || node.consensus.session().is_some_and(|own| own != over)).await;
    assert_eq!(write(&node, "f", "v").await, Ok(vec![Reply::Integer(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_leader_disowns_no_session_that_it_has_yet_to_apply() {
    let network = MemoryNetwork::new(1);
    let nodes = [node(&network, 1).await, node(&network, 2).await, node(&network, 3).await];
    form(&nodes).await;
    nodes.iter().for_each(|node| node.consensus.shared.manager.rest());
    let (old, mut others): (Vec<_>, Vec<_>) =
        nodes.iter().partition(|node| node.consensus.status().role == Role::Leader);
    let (old, next, third) = (old[0], others.remove(0), others.remove(0));
    let (at, closely) =
        (|node: &TestNode| node.candidate.placement.address, Duration::from_millis(1));
    third.consensus.shared.raft().runtime_config().elect(false);
    // The entry arrives; that it is committed is not told.
    network.cut(at(next), at(old));
    network.cut(at(third), at(old));
    let (id, placement) = (NodeId::from_random(9), Placement::new("guest", address(9)));
    let proposing = old.consensus.shared.clone();
    let session = SessionId(proposing.log.last_index() + 1);
    tokio::spawn(async move { proposing.duties.open_session(&proposing, 9, id, placement).await });
    look_until(closely, "its entry", || next.consensus.shared.log.last_index() >= session.0).await;
    network.isolate(at(old));
    // Nor does the next leader commit anything in the moment in which it is elected.
    let slow = Link { delay: Duration::from_millis(50), ..Link::default() };
    network.set_link(at(third), at(next), slow);
    look_until(closely, "its election", || next.consensus.shared.is_leader()).await;
    network.isolate(at(third));
    let next = &next.consensus.shared;
    let is_applied = || next.state.with(|keyspace| keyspace.sessions().contains_key(&session));
    let renew = || next.duties.renew(next, session);
    for _ in 0..100 {
        assert!(!is_applied() && matches!(renew(), wire::Answer::NotLeader { .. }));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    network.heal();
    network.isolate(at(old));
    look_until(closely, "the state", is_applied).await;
    assert!(matches!(renew(), wire::Answer::Done));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_speaks_while_another_is_ended_stays() {
    let network = MemoryNetwork::new(1);
    let nodes = [node(&network, 1).await, node(&network, 2).await, node(&network, 3).await];
    form(&nodes).await;
    nodes.iter().for_each(|node| node.consensus.shared.manager.rest());
    let leader = nodes.iter().find(|node| node.consensus.status().role == Role::Leader).unwrap();
    let shared = &leader.consensus.shared;
    let mut guests = Vec::new();
    for number in [8, 9] {
        let (id, placement) = (NodeId::from_random(number), Placement::new("guest", address(9)));
        let opened = shared.duties.open_session(shared, number, id, placement).await;
        let wire::Answer::Opened { session } = opened else { panic!("{opened:?}") };
        guests.push(session);
    }
    // From now on both are silent; and it takes a while to end one.
    until("them", || guests.iter().all(|guest| shared.duties.heard(*guest).is_some())).await;
    guests.iter().for_each(|guest| shared.duties.hear(*guest));
    let slow = Link { delay: Duration::from_millis(20), ..Link::default() };
    let at = |node: &TestNode| node.candidate.placement.address;
    nodes.iter().for_each(|node| network.set_link(at(leader), at(node), slow));
    let closely = Duration::from_millis(1);
    let is_silent = || shared.duties.heard(guests[0]) > Some(shared.timing.session_timeout);
    look_until(closely, "their time", is_silent).await;
    let begun = shared.log.last_index();
    look_until(closely, "the end of one", || shared.log.last_index() > begun).await;
    let is_open = |guest| shared.state.with(|keyspace| keyspace.sessions().contains_key(&guest));
    assert!(is_open(guests[0]) && is_open(guests[1]));
    for _ in 0..100 {
        shared.duties.hear(guests[1]);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(is_open(guests[1]));
    }
    assert!(!is_open(guests[0]));
}

#[tokio::test(start_paused = true)]
async fn megabytes_of_state_cross_a_slow_and_lossy_link_and_replication_goes_on() {
    const ROUNDS: usize = 12;
    let network = MemoryNetwork::new(1);
    let (nodes, behind) = two_and_one_apart(&network, 64).await;
    let away = behind.candidate.placement.address;
    let value = "x".repeat(512 * 1024);
    for round in 0..ROUNDS {
        write(&nodes[0], &format!("f{round}"), &value).await.unwrap();
    }
    let is_short = |node: &TestNode| node.consensus.shared.log.purged().is_some();
    until("logs without their beginnings", || nodes.iter().all(is_short)).await;
    let bad = Link {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(5),
        loss: 0.005,
        duplication: 0.01,
        ..Link::default()
    };
    for node in &nodes {
        let other = node.candidate.placement.address;
        network.set_link(other, away, bad);
        network.set_link(away, other, bad);
    }
    network.heal();
    // What is written meanwhile comes behind the state.
    for round in 0..50 {
        write(&nodes[0], "counted", &round.to_string()).await.unwrap();
    }
    let last = nodes[0].consensus.status().applied;
    until("all of it", || behind.consensus.status().applied >= last).await;
    assert_eq!(write(&behind, "own", "v").await, Ok(vec![Reply::Integer(1)]));
    assert_eq!(read(&behind, &format!("f{}", ROUNDS - 1)).await, bulk(&value));
    assert_eq!(read(&nodes[0], "own").await, bulk("v"));
}

/// Writes through one node for some time, every write of which must come through.
async fn write_for(node: &TestNode, time: Duration) {
    let until = Instant::now() + time;
    for round in 0.. {
        if Instant::now() >= until {
            return;
        }
        write(node, "counted", &format!("{round}")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_bridge_and_a_follower_that_comes_back_leave_leader_and_term_alone() {
    let network = MemoryNetwork::new(1);
    let mut nodes = Vec::new();
    for number in 1..=5 {
        nodes.push(node(&network, number).await);
    }
    form(&nodes).await;
    write(&nodes[0], "before", "v").await.unwrap();
    let first = nodes[0].consensus.status();
    let at = nodes.iter().position(|node| Some(node.candidate.node) == first.leader).unwrap();
    nodes.swap(0, at);
    let addresses: Vec<_> = nodes.iter().map(|node| node.candidate.placement.address).collect();
    // The third one is the bridge: it hears all, and the two halves do not hear each other.
    for (one, other) in [(0, 3), (0, 4), (1, 3), (1, 4)] {
        network.cut(addresses[one], addresses[other]);
        network.cut(addresses[other], addresses[one]);
    }
    write_for(&nodes[0], Duration::from_secs(5)).await;
    network.heal();
    network.isolate(addresses[1]);
    write_for(&nodes[0], Duration::from_secs(5)).await;
    network.heal();
    write_for(&nodes[0], Duration::from_secs(2)).await;
    for node in &nodes {
        let status = node.consensus.status();
        assert_eq!((status.leader, status.term), (first.leader, first.term), "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_task_is_noticed() {
    let network = MemoryNetwork::new(1);
    let node = node(&network, 1).await;
    node.consensus.tasks.lock().abort_all();
    let failed = timeout(PATIENCE, node.consensus.failed()).await.unwrap();
    assert!(matches!(failed, Error::Fatal(_)), "{failed:?}");
}
