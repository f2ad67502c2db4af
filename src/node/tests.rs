//! Whole nodes on an in-memory network under a paused clock.
//!
//! Owns the scenarios that need every room. Invariant: every wait has a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::*;
use crate::command::entry::{Operation, Request};
use crate::command::{Command, HashCommand, Reply};
use crate::consensus::witness::{Deed, Look, Seen, Witness};
use crate::pubsub::Kind;
use crate::time::{Clock, Timestamp};
use crate::transport::{MemoryNetwork, Secret, Socket};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7000))
}

pub(super) fn config(number: u8, seeds: &[u8], expect: u16) -> Config {
    let mut config = Config::default();
    config.cluster.secret = Some(Secret::generate([7; 32]));
    config.cluster.bootstrap_expect = expect;
    config.node.name = Some(format!("node-{number}").parse().unwrap());
    config.node.listen = address(number);
    config.node.seeds = seeds.iter().map(|seed| address(*seed).to_string()).collect();
    config
}

pub(super) async fn node(network: &MemoryNetwork, number: u8, seeds: &[u8], expect: u16) -> Node {
    start(network, number, config(number, seeds, expect)).await
}

pub(super) async fn start(network: &MemoryNetwork, number: u8, config: Config) -> Node {
    start_watched(network, number, config, None).await
}

async fn start_watched(
    network: &MemoryNetwork,
    number: u8,
    config: Config,
    witness: Option<Arc<dyn Witness>>,
) -> Node {
    let socket = Socket::Simulated(network.socket(address(number)));
    let clock = Clock::simulated(Timestamp::from_millis(1_000_000));
    let locks = crate::host::Place::Nowhere;
    let parts = Parts { socket, clock, rng_seed: [number; 32], locks, disk: None, witness };
    Node::assemble(config, parts).await.unwrap()
}

pub(super) async fn three(network: &MemoryNetwork) -> [Node; 3] {
    let nodes = [
        node(network, 1, &[1, 2, 3], 3).await,
        node(network, 2, &[1, 2, 3], 3).await,
        node(network, 3, &[1, 2, 3], 3).await,
    ];
    for node in &nodes {
        timeout(PATIENCE, node.ready()).await.expect("a node is ready in time");
    }
    nodes
}

pub(super) fn hset(field: &str) -> Command {
    let pairs = vec![(Bytes::from(field.to_owned()), Bytes::from_static(b"v"))];
    let key = Bytes::from_static(b"h");
    Command::Hash(HashCommand::Set { key, pairs, reply_ok: false })
}

pub(super) fn hget(field: &str) -> Command {
    let (key, field) = (Bytes::from_static(b"h"), Bytes::from(field.to_owned()));
    Command::Hash(HashCommand::Get { key, field })
}

/// A command as a client writes it.
pub(super) fn command(words: &str) -> Command {
    let words: Vec<Bytes> = words.split(' ').map(|word| word.to_owned().into()).collect();
    Command::parse(&words).unwrap()
}

pub(super) async fn ask(node: &Node, words: &str) -> Reply {
    run(node, command(words)).await.unwrap()
}

pub(super) async fn run(node: &Node, command: Command) -> Result<Reply, Error> {
    timeout(PATIENCE, node.command(command)).await.expect("an answer in time")
}

#[tokio::test(start_paused = true)]
async fn a_node_without_seeds_is_ready_alone() {
    let network = MemoryNetwork::new(1);
    let node = node(&network, 1, &[], 1).await;
    timeout(PATIENCE, node.ready()).await.unwrap();
    assert_eq!(run(&node, hset("f")).await, Ok(Reply::Integer(1)));
    assert_eq!(run(&node, hget("f")).await, Ok(Reply::Bulk(Bytes::from_static(b"v"))));
    assert_eq!(node.status().node.state, status::State::Ready);
}

#[tokio::test(start_paused = true)]
async fn three_nodes_form_one_cluster_and_agree() {
    let network = MemoryNetwork::new(1);
    let nodes = three(&network).await;
    for (round, writer) in nodes.iter().enumerate() {
        let field = format!("f{round}");
        assert_eq!(run(writer, hset(&field)).await, Ok(Reply::Integer(1)));
        for reader in &nodes {
            let read = run(reader, hget(&field)).await;
            assert_eq!(read, Ok(Reply::Bulk(Bytes::from_static(b"v"))));
        }
    }
    let status = nodes[0].status();
    assert_eq!(status.voters.len(), 3);
    assert_eq!(status.sessions, 3);
    assert!(status.members.iter().all(|member| member.alive));
}

#[tokio::test(start_paused = true)]
async fn a_message_published_anywhere_reaches_a_fresh_subscriber() {
    let network = MemoryNetwork::new(1);
    let nodes = three(&network).await;
    for round in 0..100u32 {
        let channel = Bytes::from(format!("reply-{round}"));
        let listener = &nodes[round as usize % 3];
        let subscriber = listener.subscriber();
        subscriber.subscribe(Kind::Channel, &channel).unwrap().in_effect().await;
        for publisher in &nodes {
            let payload = Bytes::from_static(b"m");
            let count = publisher.publish(Kind::Channel, &channel, payload).unwrap().await;
            assert_eq!(count, 1, "round {round}");
            let delivery = timeout(PATIENCE, subscriber.receive()).await.unwrap().unwrap();
            assert_eq!(delivery.message().unwrap().channel, channel);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_comer_hears_what_is_published_once_it_is_ready() {
    let network = MemoryNetwork::new(1);
    let first = node(&network, 1, &[], 1).await;
    timeout(PATIENCE, first.ready()).await.unwrap();
    let late = node(&network, 2, &[1], 1).await;
    timeout(PATIENCE, late.ready()).await.unwrap();
    let subscriber = late.subscriber();
    subscriber.subscribe(Kind::Channel, b"c").unwrap().in_effect().await;
    let counted = first.publish(Kind::Channel, b"c", Bytes::from_static(b"m")).unwrap();
    assert_eq!(counted.await, 1);
    assert_eq!(late.status().raft.role, status::Role::Observer);
}

#[tokio::test(start_paused = true)]
async fn leaving_one_by_one_leaves_the_last_in_charge() {
    let network = MemoryNetwork::new(1);
    let [first, second, third] = three(&network).await;
    first.leave().await;
    assert_eq!(run(&second, hset("a")).await, Ok(Reply::Integer(1)));
    second.leave().await;
    assert_eq!(run(&third, hset("b")).await, Ok(Reply::Integer(1)));
    assert_eq!(third.status().voters, [third.id()]);
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_a_write_says_so_and_messages_go_on() {
    let network = MemoryNetwork::new(1);
    let [first, second, third] = three(&network).await;
    network.isolate(address(2));
    network.isolate(address(3));
    let refused = run(&first, hset("a")).await;
    assert!(
        matches!(refused, Err(Error::ClusterDown { alive: 1, voters: 3 } | Error::Unknown)),
        "{refused:?}"
    );
    let subscriber = first.subscriber();
    subscriber.subscribe(Kind::Channel, b"c").unwrap().in_effect().await;
    assert_eq!(first.publish(Kind::Channel, b"c", Bytes::new()).unwrap().await, 1);
    network.heal();
    let deadline = Instant::now() + PATIENCE;
    while run(&first, hset("b")).await.is_err() {
        assert!(Instant::now() < deadline, "the cluster did not come back");
    }
    drop((second, third));
}

#[tokio::test(start_paused = true)]
async fn a_read_behind_a_write_that_failed_is_not_answered_from_what_is_here() {
    let network = MemoryNetwork::new(1);
    let [first, second, third] = three(&network).await;
    run(&first, hset("a")).await.unwrap();
    network.isolate(address(3));
    // The others go on without it, and what it has is old.
    let deadline = Instant::now() + PATIENCE;
    let delete = Command::parse(&["DEL".into(), "h".into()]).unwrap();
    while run(&first, delete.clone()).await.is_err() {
        assert!(Instant::now() < deadline, "two of three go on");
    }
    let requests = [hset("b"), hget("a")].map(|it| Request::One(Operation::new(0, it)));
    let replies = timeout(PATIENCE * 4, third.execute(requests.into())).await.unwrap();
    assert!(replies.iter().all(Result::is_err), "{replies:?}");
    drop(second);
}

#[derive(Debug, Default)]
struct Diary(Mutex<Vec<Seen>>);

impl Witness for Diary {
    fn see(&self, seen: Seen) {
        self.0.lock().push(seen);
    }

    fn look(&self, index: u64) -> Look {
        if index.is_multiple_of(2) { Look::Closely } else { Look::Away }
    }
}

#[tokio::test(start_paused = true)]
async fn a_witness_is_told_of_votes_and_of_each_entry_from_the_log_to_the_state() {
    let (network, diary) = (MemoryNetwork::new(1), Arc::new(Diary::default()));
    let witness: Arc<dyn Witness> = Arc::<Diary>::clone(&diary);
    let node = start_watched(&network, 1, config(1, &[], 1), Some(witness)).await;
    timeout(PATIENCE, node.ready()).await.unwrap();
    run(&node, hset("a")).await.unwrap();
    let told = diary.0.lock();
    let leads = |seen: &Seen| matches!(seen, Seen::Voted(vote) if vote.is_elected);
    let elected = told.iter().position(leads).expect("it was elected");
    let replied = |deed: &Deed| matches!(deed.event, crate::keyspace::Event::Replied { .. });
    let written = |seen: &Seen| matches!(seen, Seen::Applied(applied) if applied.deed.as_ref().is_some_and(replied));
    let applied = told.iter().position(written).expect("the write was applied");
    let Seen::Applied(write) = &told[applied] else { unreachable!("it is one") };
    let mark = write.logged.mark;
    let at = |is: &dyn Fn(&Seen) -> bool| told.iter().position(is).expect("it was told");
    let appended = at(&|seen| matches!(seen, Seen::Appended(all) if all.contains(&write.logged)));
    let durable = at(&|seen| matches!(seen, Seen::Durable(last) if *last >= mark));
    let committed = at(&|seen| matches!(seen, Seen::Committed(last) if *last >= mark));
    assert!(elected < appended && appended < durable && durable < committed);
    assert!(committed < applied);
    let faults = |seen: &Seen| {
        if let Seen::State(_, _, faults) = seen { Some(faults.clone()) } else { None }
    };
    let faults: Vec<_> = told.iter().filter_map(faults).collect();
    assert!(!faults.is_empty() && faults.iter().all(Vec::is_empty), "{faults:?}");
}
