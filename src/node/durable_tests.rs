//! Nodes with a simulated disk: power cuts, restarts, other addresses, damage, full disks.
//!
//! Owns the scenarios; each drives whole nodes. Invariant: every acknowledged write is there after every restart.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::tests::{PATIENCE, address, ask, config, hget, hset, run};
use super::*;
use crate::command::Reply;
use crate::pubsub::Kind;
use crate::storage::{Disk, SimDisk, Survival};
use crate::time::{Clock, Timestamp};
use crate::transport::{MemoryNetwork, Socket};

/// One run of a cluster: its nodes are at the addresses from ten times its number on.
struct Round(u8);

impl Round {
    async fn start(
        &self,
        network: &MemoryNetwork,
        number: u8,
        of: u8,
        disk: &SimDisk,
    ) -> Result<Node, StartError> {
        let seeds: Vec<u8> = (1..=of).map(|number| self.0 * 10 + number).collect();
        let at = self.0 * 10 + number;
        let seeds = if of == 1 { &[][..] } else { &seeds };
        let mut config = config(at, seeds, u16::from(of));
        // Small, so that a short load makes snapshots.
        config.consensus.snapshot_log_bytes = bytesize::ByteSize::kib(16);
        let socket = Socket::Simulated(network.socket(address(at)));
        let clock = Clock::simulated(Timestamp::from_millis(1_000_000 * u64::from(self.0 + 1)));
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let locks = crate::host::Place::Nowhere;
        let parts =
            Parts { socket, clock, rng_seed: [at; 32], locks, disk: Some(disk), witness: None };
        Node::assemble(config, parts).await
    }

    async fn start_all(&self, network: &MemoryNetwork, disks: &[SimDisk]) -> Vec<Node> {
        let of = u8::try_from(disks.len()).unwrap();
        let mut nodes = Vec::new();
        for (disk, number) in disks.iter().zip(1..) {
            nodes.push(self.start(network, number, of, disk).await.unwrap());
        }
        for node in &nodes {
            timeout(PATIENCE, node.ready()).await.expect("ready in time");
        }
        nodes
    }

    /// Cuts the power of all at once; gives the disks as the next round finds them.
    fn cut(&self, network: &MemoryNetwork, disks: &[SimDisk], survival: Survival) -> Vec<SimDisk> {
        for number in (1..).take(disks.len()) {
            network.remove(address(self.0 * 10 + number));
        }
        disks.iter().map(|disk| disk.power_cut(survival)).collect()
    }
}

fn value() -> Reply {
    Reply::Bulk(Bytes::from_static(b"v"))
}

#[tokio::test(start_paused = true)]
async fn every_acknowledged_write_is_there_after_all_lost_their_power() {
    let network = MemoryNetwork::new(1);
    let mut disks = vec![SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let mut written: Vec<String> = Vec::new();
    let mut ids = None;
    for (round, survival) in [
        Survival::Nothing,
        Survival::Sectors(7),
        Survival::Everything,
        Survival::Prefix(600),
        Survival::Sectors(8),
    ]
    .into_iter()
    .enumerate()
    {
        let at = Round(u8::try_from(round).unwrap());
        let nodes = at.start_all(&network, &disks).await;
        let now: Vec<_> = nodes.iter().map(Node::id).collect();
        assert_eq!(*ids.get_or_insert_with(|| now.clone()), now, "a node keeps its id");
        for field in &written {
            assert_eq!(run(&nodes[0], hget(field)).await, Ok(value()), "{field} in round {round}");
        }
        for number in 0..60 {
            let field = format!("{round}/{number}/{}", "x".repeat(300));
            assert_eq!(run(&nodes[number % 3], hset(&field)).await, Ok(Reply::Integer(1)));
            written.push(field);
        }
        // Some more are under way when it happens, and nobody is told what became of them.
        for (number, node) in nodes.iter().enumerate() {
            let (node, field) = (node.clone(), format!("unknown {number}"));
            tokio::spawn(async move { run(&node, hset(&field)).await });
        }
        tokio::task::yield_now().await;
        disks = at.cut(&network, &disks, survival);
    }
    let snapshots =
        |disk: &SimDisk| disk.list().unwrap().iter().any(|name| name.starts_with("snapshot-"));
    assert!(disks.iter().any(snapshots), "the log was cut");
}

#[tokio::test(start_paused = true)]
async fn a_time_to_live_goes_by_while_all_are_down() {
    let network = MemoryNetwork::new(1);
    let disks = vec![SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let nodes = Round(0).start_all(&network, &disks).await;
    for (key, seconds) in [("gone", 500), ("left", 1_100)] {
        assert_eq!(ask(&nodes[0], &format!("SET {key} v EX {seconds}")).await, Reply::Ok);
    }
    let disks = Round(0).cut(&network, &disks, Survival::Everything);
    // By the wall clock, the next round begins a thousand seconds after this one.
    let nodes = Round(1).start_all(&network, &disks).await;
    ask(&nodes[1], "SET stamped v").await;
    assert_eq!(ask(&nodes[0], "EXISTS gone").await, Reply::Integer(0));
    let left = ask(&nodes[2], "TTL left").await;
    assert!(matches!(left, Reply::Integer(90..=101)), "{left:?}");
    tokio::time::sleep(Duration::from_secs(102)).await;
    assert_eq!(ask(&nodes[0], "EXISTS left").await, Reply::Integer(0));
}

#[tokio::test(start_paused = true)]
async fn one_of_three_comes_back_under_another_address() {
    let network = MemoryNetwork::new(1);
    let disks = vec![SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let nodes = Round(0).start_all(&network, &disks).await;
    assert_eq!(run(&nodes[0], hset("before")).await, Ok(Reply::Integer(1)));
    network.remove(address(3));
    let disk = disks[2].power_cut(Survival::Nothing);
    assert_eq!(run(&nodes[0], hset("meanwhile")).await, Ok(Reply::Integer(1)));
    let config_of = Round(0);
    let socket = Socket::Simulated(network.socket(address(33)));
    let clock = Clock::simulated(Timestamp::from_millis(2_000_000));
    let (kept, locks): (Arc<dyn Disk>, _) = (Arc::new(disk), crate::host::Place::Nowhere);
    let parts = Parts { socket, clock, rng_seed: [33; 32], locks, disk: Some(kept), witness: None };
    let back = Node::assemble(config(33, &[1, 2, 33], 3), parts).await.unwrap();
    assert_eq!(back.id(), nodes[2].id());
    timeout(PATIENCE, back.ready()).await.expect("ready in time");
    for field in ["before", "meanwhile"] {
        assert_eq!(run(&back, hget(field)).await, Ok(value()));
    }
    // With another one gone, its vote counts, at the new address.
    network.remove(address(config_of.0 * 10 + 2));
    assert_eq!(run(&nodes[0], hset("after")).await, Ok(Reply::Integer(1)));
    assert_eq!(run(&back, hget("after")).await, Ok(value()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_back_is_ready_only_when_it_hears_the_others() {
    let network = MemoryNetwork::new(1);
    let disks = vec![SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let nodes = Round(0).start_all(&network, &disks).await;
    network.remove(address(1));
    let disk = disks[0].power_cut(Survival::Everything);
    network.isolate(address(1));
    let back = Round(0).start(&network, 1, 3, &disk).await.unwrap();
    let alone = timeout(Duration::from_secs(5), back.ready()).await;
    assert!(alone.is_err(), "ready by the session of the process before it");
    network.heal();
    timeout(PATIENCE, back.ready()).await.expect("ready in time");
    let listener = back.subscriber();
    let subscription = listener.subscribe(Kind::Channel, b"news").unwrap();
    subscription.in_effect().await;
    let sent = nodes[1].publish(Kind::Channel, b"news", "hi".into()).unwrap();
    assert_eq!(sent.await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_is_heard_though_its_clock_stood_still() {
    let network = MemoryNetwork::new(1);
    let disks = vec![SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let nodes = Round(0).start_all(&network, &disks).await;
    let listener = nodes[0].subscriber();
    listener.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    let publish =
        async |node: &Node| node.publish(Kind::Channel, b"news", "x".into()).unwrap().await;
    assert_eq!(publish(&nodes[2]).await, 1);
    network.remove(address(3));
    let disk = disks[2].power_cut(Survival::Everything);
    let back = Round(0).start(&network, 3, 3, &disk).await.unwrap();
    timeout(PATIENCE, back.ready()).await.expect("ready in time");
    assert_eq!(publish(&back).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_goes_on_and_a_wiped_disk_is_another_node() {
    let network = MemoryNetwork::new(1);
    let disk = SimDisk::new();
    let first = Round(0).start_all(&network, std::slice::from_ref(&disk)).await.remove(0);
    assert_eq!(run(&first, hset("f")).await, Ok(Reply::Integer(1)));
    let formation = first.consensus().formation();
    let disk = Round(0).cut(&network, &[disk], Survival::Nothing).remove(0);
    let again = Round(1).start_all(&network, std::slice::from_ref(&disk)).await.remove(0);
    assert_eq!(run(&again, hget("f")).await, Ok(value()));
    assert_eq!((again.id(), again.consensus().formation()), (first.id(), formation));
    let other = Round(2).start_all(&network, &[SimDisk::new()]).await.remove(0);
    assert_ne!(other.id(), first.id());
    assert_eq!(run(&other, hget("f")).await, Ok(Reply::Nil));
}

#[tokio::test(start_paused = true)]
async fn a_failing_disk_ends_the_node_with_its_file_and_a_damaged_one_keeps_it_from_starting() {
    let network = MemoryNetwork::new(1);
    let disk = SimDisk::new();
    let node = Round(0).start_all(&network, std::slice::from_ref(&disk)).await.remove(0);
    for number in 0..60 {
        let field = format!("{number}{}", "x".repeat(500));
        assert_eq!(run(&node, hset(&field)).await, Ok(Reply::Integer(1)));
    }
    disk.fail_syncs(true);
    let writer = node.clone();
    let writing = tokio::spawn(async move { run(&writer, hset("never")).await });
    let why = timeout(PATIENCE, node.stopped()).await.unwrap();
    assert!(why.starts_with("simulated/log-") && why.contains("cannot sync it"), "{why}");
    writing.abort();

    let disk = disk.power_cut(Survival::Nothing);
    let mut names = disk.list().unwrap();
    let newest = names.iter().filter(|name| name.starts_with("snapshot-")).max().cloned();
    // An older snapshot that was not yet removed is not read.
    names.retain(|name| !name.starts_with("snapshot-") || Some(name) == newest.as_ref());
    for name in names {
        let damaged = disk.fork();
        assert!(damaged.flip_bit(&name, 30, 3));
        let error = Round(1).start(&network, 1, 1, &damaged).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("simulated/{name}: damaged at byte")), "{text}");
        assert!(!error.is_configuration() && !text.contains('\n'), "{text}");
        network.remove(address(11));
    }
}
