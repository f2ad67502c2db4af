//! Nodes whose wall clocks jump or were always wrong.
//!
//! Owns the scenarios; each drives whole nodes on a simulated network. Invariant: a deadline passes when its time has gone by,
//! whoever leads and whatever its clock says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::tests::{PATIENCE, address, config, run};
use super::*;
use crate::command::{Command, Reply};
use crate::time::{Clock, Timestamp};
use crate::transport::{MemoryNetwork, Socket};

const DAY: i64 = 86_400_000;

/// Starts a node whose wall clock is off by what it is told later.
async fn start(network: &MemoryNetwork, number: u8, skew: &Arc<AtomicI64>) -> Node {
    let socket = Socket::Simulated(network.socket(address(number)));
    let (right, skew) = (Clock::simulated(Timestamp::from_millis(1_000_000_000)), Arc::clone(skew));
    let clock = Clock::new(move || {
        let off = skew.load(Ordering::Relaxed);
        Timestamp::from_millis(right.now().as_millis().saturating_add_signed(off))
    });
    let (locks, rng_seed) = (crate::host::Place::Nowhere, [number; 32]);
    let parts = Parts { socket, clock, rng_seed, locks, disk: None, witness: None };
    Node::assemble(config(number, &[1, 2, 3], 3), parts).await.unwrap()
}

fn parse(words: &[&str]) -> Command {
    let words: Vec<Bytes> =
        words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Command::parse(&words).unwrap()
}

async fn exists(node: &Node) -> bool {
    run(node, parse(&["EXISTS", "k"])).await == Ok(Reply::Integer(1))
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes_when_its_time_has_gone_by_whatever_the_clocks_say() {
    for first in [DAY, -DAY] {
        let network = MemoryNetwork::new(1);
        let skews: [Arc<AtomicI64>; 3] = Default::default();
        let mut nodes = Vec::new();
        for (number, skew) in (1..).zip(&skews) {
            nodes.push(start(&network, number, skew).await);
        }
        for node in &nodes {
            timeout(PATIENCE, node.ready()).await.expect("a node is ready in time");
        }
        let set = parse(&["SET", "k", "v", "PX", "60000"]);
        assert_eq!(run(&nodes[0], set).await, Ok(Reply::Ok));
        let begin = Instant::now();
        // The leader's clock jumps, the others' go the other way; then it is cut off and one of them leads.
        let leader = nodes[0].consensus().leader().unwrap();
        for (node, skew) in nodes.iter().zip(&skews) {
            skew.store(if node.id() == leader { first } else { -first }, Ordering::Relaxed);
        }
        sleep(Duration::from_secs(20)).await;
        assert!(exists(&nodes[0]).await, "a jump of {first} ms expired it");
        let place = nodes.iter().position(|node| node.id() == leader).unwrap();
        network.isolate(nodes[place].address());
        let survivor = nodes.remove((place + 1) % 3);
        sleep(Duration::from_secs(20)).await;
        assert!(
            exists(&survivor).await,
            "another leader with its clock at {} ms expired it",
            -first
        );
        assert!(begin.elapsed() < Duration::from_secs(50));
        sleep(Duration::from_secs(65) - begin.elapsed()).await;
        assert!(!exists(&survivor).await, "it outlives its time");
    }
}
