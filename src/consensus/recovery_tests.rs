//! The loss of a majority on one host in memory: who goes on, who halts, who follows.
//!
//! Owns the scenarios; the judgement alone is tested in `arbiter`. Invariant: every wait has a deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::tests::{TestNode, bulk, form, hget, node_on, read, until, write};
use super::*;
use crate::command::{Command, Operation};
use crate::host::{MemoryHost, Place};
use crate::transport::{Link, MemoryNetwork};

struct World {
    network: MemoryNetwork,
    host: MemoryHost,
}

impl World {
    fn new() -> Self {
        Self { network: MemoryNetwork::new(1), host: MemoryHost::default() }
    }

    async fn nodes(&self, count: u8) -> Vec<TestNode> {
        let mut nodes = Vec::new();
        for number in 1..=count {
            nodes.push(self.node(number).await);
        }
        form(&nodes).await;
        nodes
    }

    async fn node(&self, number: u8) -> TestNode {
        node_on(&self.network, number, Config::default(), &Place::Memory(self.host.clone())).await
    }

    /// What `kill -9` does, as the others see it.
    fn kill(&self, node: &TestNode) {
        self.network.isolate(node.candidate.placement.address);
        self.host.kill(node.candidate.node);
    }
}

fn epoch(node: &TestNode) -> u64 {
    node.consensus.shared.links.formation().epoch
}

/// Takes the steps that gossip would make the nodes take, until `ready` holds.
async fn gossip_until(what: &str, nodes: &[&TestNode], mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        for node in nodes {
            let others = nodes.iter().filter(|other| other.candidate.node != node.candidate.node);
            let others: Vec<_> = others
                .map(|other| Candidate {
                    formation: other.consensus.formation(),
                    ..other.candidate.clone()
                })
                .collect();
            node.consensus.step_towards_cluster(&others, None).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_on_a_host_the_survivor_goes_on_with_every_write() {
    for victim in 0..2 {
        let world = World::new();
        let nodes = world.nodes(2).await;
        let (dead, alive) = (&nodes[victim], &nodes[1 - victim]);
        for round in 0..50 {
            write(&nodes[round % 2], &format!("f{round}"), "v").await.unwrap();
        }
        world.kill(dead);
        let killed = Instant::now();
        assert_eq!(write(alive, "after", "v").await, Ok(vec![Reply::Integer(1)]));
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
        for round in 0..50 {
            assert_eq!(read(alive, &format!("f{round}")).await, bulk("v"));
        }
        let status = alive.consensus.status();
        assert_eq!((status.formation.epoch, status.voters.len()), (2, 1));
        assert!(status.origin.unwrap().contains("1 of 2 voters"));
        until("the end of the dead one's session", || alive.consensus.status().sessions == 1).await;
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
        assert!(alive.consensus.shared.running().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_yet_to_catch_up_does_not_go_on_with_the_voters_of_the_past() {
    let world = World::new();
    let (voter, late) = (world.node(1).await, world.node(2).await);
    voter.consensus.form_alone().await.unwrap();
    voter.consensus.shared.manager.rest();
    let value = "x".repeat(512 * 1024);
    for round in 0..40 {
        write(&voter, &format!("f{round}"), &value).await.unwrap();
    }
    world.network.set_default(Link { delay: Duration::from_millis(20), ..Link::default() });
    let formation = voter.consensus.formation();
    let known = Candidate { formation, ..voter.candidate.clone() };
    late.consensus.step_towards_cluster(std::slice::from_ref(&known), None).await;
    let has = || late.consensus.shared.log.size().0;
    until("some of the log", || has() > 5).await;
    assert!(has() < 40, "{}", has());
    world.kill(&voter);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((epoch(&late), late.consensus.status().role), (1, Role::Observer));
    let reason = late.consensus.shared.recovery.reason().unwrap();
    assert!(reason.contains("committed entries"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn writes_under_way_when_the_leader_dies_happen_once() {
    let world = World::new();
    let nodes = world.nodes(2).await;
    let leader = nodes[0].consensus.status().leader.unwrap();
    let (dead, alive): (Vec<_>, Vec<_>) = nodes.iter().partition(|n| n.candidate.node == leader);
    let writer = alive[0].consensus.clone();
    let writes = tokio::spawn(async move {
        let mut done = 0i64;
        for _ in 0..200 {
            let increment = vec![Command::parse(&["INCR".into(), "n".into()]).unwrap()];
            let requests = increment.into_iter().map(|c| Request::One(Operation::new(0, c)));
            let replies = writer.submit(requests.collect()).await.unwrap();
            done += 1;
            assert_eq!(replies, [Reply::Integer(done)]);
        }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.kill(dead[0]);
    writes.await.unwrap();
    assert_eq!(epoch(alive[0]), 2);
}

#[tokio::test(start_paused = true)]
async fn two_survivors_of_five_agree_on_one_epoch_and_keep_their_clients_answers() {
    let world = World::new();
    let nodes = world.nodes(5).await;
    for (round, node) in nodes.iter().enumerate() {
        write(node, &format!("f{round}"), "v").await.unwrap();
    }
    let sessions: Vec<_> = nodes[3..].iter().map(|node| node.consensus.session()).collect();
    nodes[..3].iter().for_each(|node| world.kill(node));
    let killed = Instant::now();
    let (first, second) = tokio::join!(write(&nodes[3], "a", "v"), write(&nodes[4], "b", "v"));
    assert_eq!((first, second), (Ok(vec![Reply::Integer(1)]), Ok(vec![Reply::Integer(1)])));
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    assert_eq!(nodes[3].consensus.formation(), nodes[4].consensus.formation());
    assert_eq!(epoch(&nodes[3]), 2);
    for (round, _) in nodes.iter().enumerate() {
        for survivor in &nodes[3..] {
            assert_eq!(read(survivor, &format!("f{round}")).await, bulk("v"));
        }
    }
    let same: Vec<_> = nodes[3..].iter().map(|node| node.consensus.session()).collect();
    assert_eq!(same, sessions, "a survivor's session goes on");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_follows_does_not_go_back_to_an_older_epoch_or_form_another() {
    let world = World::new();
    let node = world.node(1).await;
    let shared = &node.consensus.shared;
    let old = FormationId::first(7);
    let next = old.next(8);
    shared.links.set_formation(next);
    let other = Candidate {
        node: NodeId::from_random(2),
        placement: Placement::new("other", tests::address(2)),
        formation: Some(old),
        is_forming: false,
    };
    let expect = Some(Expect { nodes: 2, voters: 2 });
    node.consensus.step_towards_cluster(&[other], expect).await;
    assert_eq!(shared.links.formation(), next);
    assert!(!shared.is_formed());
}

#[tokio::test(start_paused = true)]
async fn a_living_or_unprovable_peer_halts_the_survivor_until_it_is_back() {
    let world = World::new();
    let nodes = world.nodes(2).await;
    write(&nodes[0], "f", "v").await.unwrap();
    // Stopped or cut off, as far as the other can see: its lock is held.
    world.network.isolate(nodes[1].candidate.placement.address);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((epoch(&nodes[0]), epoch(&nodes[1])), (1, 1));
    let halted = nodes[0].consensus.status().halted.unwrap();
    assert!(halted.contains("no leader with a quorum of the 2 voters"), "{halted}");
    let reading = nodes[0].consensus.read(nodes[0].consensus.now(), &[hget("f")]);
    assert_eq!(reading, [bulk("v")], "local reads go on");
    world.network.heal();
    write(&nodes[0], "g", "v").await.unwrap();
    until("the end of the halt", || nodes[0].consensus.status().halted.is_none()).await;
    assert_eq!(epoch(&nodes[0]), 1);
}

#[tokio::test(start_paused = true)]
async fn without_locks_nobody_goes_on_until_an_operator_says_so() {
    let network = MemoryNetwork::new(1);
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(node_on(&network, number, Config::default(), &Place::Nowhere).await);
    }
    form(&nodes).await;
    write(&nodes[0], "f", "v").await.unwrap();
    let refused = nodes[0].consensus.recover().await.unwrap_err();
    assert!(refused.to_string().contains("leader with a quorum"), "{refused}");
    let address = |node: &TestNode| node.candidate.placement.address;
    network.isolate(address(&nodes[1]));
    network.isolate(address(&nodes[2]));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(epoch(&nodes[0]), 1);
    let recovered = nodes[0].consensus.recover().await.unwrap();
    assert_eq!((recovered.voters, recovered.formation.epoch), (3, 2));
    assert!(recovered.formation.follows(recovered.before));
    assert_eq!(write(&nodes[0], "g", "v").await, Ok(vec![Reply::Integer(1)]));
    // One of the old epoch comes back alone, has no quorum, and follows.
    network.isolate(address(&nodes[2]));
    network.heal();
    network.isolate(address(&nodes[2]));
    let back: Vec<_> = nodes[..2].iter().collect();
    gossip_until("the other to follow", &back, || epoch(&nodes[1]) == 2).await;
    gossip_until("a session", &back, || nodes[1].consensus.session().is_some()).await;
    assert_eq!(read(&nodes[1], "g").await, bulk("v"));
    assert_eq!(write(&nodes[1], "h", "v").await, Ok(vec![Reply::Integer(1)]));
    assert!(nodes[1].consensus.shared.running().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_quorum_of_the_old_epoch_stays_apart_and_its_traffic_is_refused() {
    let network = MemoryNetwork::new(1);
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(node_on(&network, number, Config::default(), &Place::Nowhere).await);
    }
    form(&nodes).await;
    network.isolate(nodes[0].candidate.placement.address);
    tokio::time::sleep(Duration::from_secs(5)).await;
    nodes[0].consensus.recover().await.unwrap();
    network.heal();
    let all: Vec<_> = nodes.iter().collect();
    let until = Instant::now() + Duration::from_secs(5);
    gossip_until("time to pass", &all, || Instant::now() > until).await;
    assert_eq!([epoch(&nodes[0]), epoch(&nodes[1]), epoch(&nodes[2])], [2, 1, 1]);
    write(&nodes[1], "old", "v").await.unwrap();
    write(&nodes[0], "new", "v").await.unwrap();
    assert_eq!(read(&nodes[2], "new").await, Reply::Nil);
    assert_eq!(read(&nodes[0], "old").await, Reply::Nil);
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_dead_process_ends_at_once() {
    let world = World::new();
    let nodes = world.nodes(3).await;
    let leader = nodes[0].consensus.status().leader.unwrap();
    let dead = nodes.iter().find(|node| node.candidate.node != leader).unwrap();
    let alive = nodes.iter().find(|node| node.candidate.node == leader).unwrap();
    world.kill(dead);
    let killed = Instant::now();
    until("two sessions", || alive.consensus.status().sessions == 2).await;
    assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
    assert!(alive.consensus.shared.is_gone(dead.candidate.node));
    assert_eq!(epoch(alive), 1, "a majority lives");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_proven_dead_is_succeeded_at_once_and_its_session_ends() {
    let world = World::new();
    let nodes = world.nodes(3).await;
    let leader = nodes[0].consensus.status().leader.unwrap();
    let (dead, alive): (Vec<_>, Vec<_>) = nodes.iter().partition(|n| n.candidate.node == leader);
    write(dead[0], "before", "v").await.unwrap();
    world.kill(dead[0]);
    let killed = Instant::now();
    for node in &alive {
        write(node, "after", "v").await.unwrap();
    }
    until("the end of the session", || alive.iter().all(|n| n.consensus.status().sessions == 2))
        .await;
    // Less than any of them waits for a leader that is only silent.
    assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
    assert_eq!(read(alive[0], "before").await, bulk("v"));
    assert!(alive.iter().all(|node| epoch(node) == 1));
}

#[tokio::test(start_paused = true)]
async fn the_voter_with_most_succeeds_a_dead_leader_whoever_sees_to_it() {
    for behind in 0..2 {
        let world = World::new();
        let nodes = world.nodes(3).await;
        let leader = nodes[0].consensus.status().leader.unwrap();
        let (dead, alive): (Vec<_>, Vec<_>) =
            nodes.iter().partition(|n| n.candidate.node == leader);
        let place = |node: &TestNode| node.candidate.placement.address;
        world.network.cut(place(dead[0]), place(alive[behind]));
        write(dead[0], "before", "v").await.unwrap();
        let last = |node: &TestNode| node.consensus.shared.log.last_index();
        assert!(last(alive[behind]) < last(alive[1 - behind]));
        world.network.heal();
        world.kill(dead[0]);
        let killed = Instant::now();
        write(alive[behind], "after", "v").await.unwrap();
        // Less than any of them waits for a leader that is only silent.
        assert!(killed.elapsed() < Duration::from_millis(200), "{behind}: {:?}", killed.elapsed());
        assert_eq!(read(alive[behind], "before").await, bulk("v"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_on_another_host_is_told_of_a_death() {
    let network = MemoryNetwork::new(1);
    let host = MemoryHost::default();
    let mut nodes = Vec::new();
    for number in 1..=3 {
        let place = if number == 1 { Place::Nowhere } else { Place::Memory(host.clone()) };
        nodes.push(node_on(&network, number, Config::default(), &place).await);
    }
    form(&nodes).await;
    let leader = nodes[0].consensus.status().leader.unwrap();
    if leader != nodes[0].candidate.node {
        let leads = nodes.iter().find(|node| node.candidate.node == leader).unwrap();
        let trigger = leads.consensus.shared.raft();
        trigger.trigger().transfer_leader(nodes[0].candidate.node).await.unwrap();
        until("another leader", || nodes[0].consensus.shared.is_leader()).await;
    }
    write(&nodes[1], "f", "v").await.unwrap();
    network.isolate(nodes[2].candidate.placement.address);
    host.kill(nodes[2].candidate.node);
    let killed = Instant::now();
    until("two sessions", || nodes[0].consensus.status().sessions == 2).await;
    assert!(killed.elapsed() < Duration::from_millis(500), "{:?}", killed.elapsed());
    assert!(nodes[0].consensus.shared.is_gone(nodes[2].candidate.node));
}
