//! A write from the caller to its reply, and a read beside it, through three whole nodes with real QUIC on loopback.
//!
//! Budget, on two shared cores where all three nodes and the clients run: one write alone about two round trips of
//! loopback QUIC (0.1 to 0.2 ms); 64 and 256 at once at least 100,000 writes a second, because they share log entries;
//! a linearizable read alone no slower than a write, and 64 at once at least as many reads as writes.
//!
//! Durable nodes: all share one disk here, so that a write alone costs at least two syncs in turn (0.1 to 0.2 ms each), and 256
//! at once should still reach a third of what memory gives, because they share frames.
//!
//! Compare only within one run: the machine is shared.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorate::command::{Command, Operation, Reply, Request};
use quorate::node::{Config, Node};
use quorate::storage::{Disk, RealDisk};
use quorate::transport::Secret;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const VALUE: &[u8] = &[b'x'; 100];
const PATIENCE: Duration = Duration::from_secs(30);

fn request(words: &[&[u8]]) -> Request {
    let words: Vec<_> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
    let command = Command::parse(&words).expect("a well-formed command");
    Request::One(Operation::new(0, command))
}

fn disk(folders: &TempDir, number: u8) -> Arc<dyn Disk> {
    let folder = folders.path().join(number.to_string());
    Arc::new(RealDisk::open(&folder).expect("a folder of its own"))
}

/// Starts `count` nodes that form one cluster, the leader first; with `folders` each keeps its log on disk.
async fn cluster(count: u16, folders: Option<&TempDir>) -> Vec<Node> {
    let secret = Secret::generate([7; 32]);
    let sockets: Vec<_> = (0..count)
        .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let addresses: Vec<_> =
        sockets.iter().map(|socket| socket.local_addr().expect("bound").to_string()).collect();
    let mut nodes = Vec::new();
    for (socket, number) in sockets.into_iter().zip(1u8..) {
        let mut config = Config::default();
        config.cluster.secret = Some(secret.clone());
        config.cluster.bootstrap_expect = count;
        if count > 1 {
            config.node.seeds.clone_from(&addresses);
        }
        let parts = quorate::node::Parts {
            socket: quorate::transport::Socket::Real(socket),
            clock: quorate::time::Clock::system(),
            rng_seed: [number; 32],
            locks: quorate::host::Place::Nowhere,
            disk: folders.map(|folders| disk(folders, number)),
            witness: None,
        };
        nodes.push(Node::assemble(config, parts).await.expect("a node starts"));
    }
    for node in &nodes {
        tokio::time::timeout(PATIENCE, node.ready()).await.expect("ready in time");
    }
    let leader = nodes.iter().position(|node| node.status().raft.leader == Some(node.id()));
    nodes.swap(0, leader.expect("somebody leads"));
    nodes
}

/// Runs `total` requests from `clients` tasks and gives the time.
async fn run(node: &Node, clients: usize, total: u64, request: &Request) -> Duration {
    let each = total.div_ceil(clients as u64);
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (node, request) = (node.clone(), request.clone());
            tokio::spawn(async move {
                for _ in 0..each {
                    let replies = node.execute(vec![request.clone()]).await;
                    assert!(matches!(replies.first(), Some(Ok(Reply::Ok | Reply::Bulk(_)))));
                    black_box(replies);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no client fails");
    }
    began.elapsed()
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (count, is_durable) in [(1, false), (3, false), (1, true), (3, true)] {
        let folders = is_durable.then(|| TempDir::new().expect("a temporary folder"));
        let kept = if is_durable { "-durable" } else { "" };
        let nodes = runtime.block_on(cluster(count, folders.as_ref()));
        let set = request(&[b"SET", b"key", VALUE]);
        let get = request(&[b"GET", b"key"]);
        runtime.block_on(run(&nodes[0], 1, 1, &set));
        let roles = if count == 1 { &["leader"][..] } else { &["leader", "follower"][..] };
        for (role, node) in roles.iter().zip(&nodes) {
            for (name, request) in [("set", &set), ("get", &get)] {
                let mut group =
                    criterion.benchmark_group(format!("{count}-nodes{kept}/{role}/{name}"));
                group.sample_size(10).measurement_time(Duration::from_secs(3));
                group.throughput(Throughput::Elements(1));
                for clients in [1, 64, 256] {
                    let id = BenchmarkId::from_parameter(clients);
                    group.bench_function(id, |bencher| {
                        bencher.iter_custom(|total| {
                            runtime.block_on(run(node, clients, total, request))
                        });
                    });
                }
                group.finish();
            }
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
