//! What a subscriber finds in its node's state when a message comes.
//!
//! Owns a cluster in which messages are faster than the log. Invariant: the publisher writes before it publishes, and its
//! subscriber reads without asking anybody.

use bytes::Bytes;
use tokio::time::timeout;

use super::tests::{PATIENCE, hget, hset, run, three};
use super::*;
use crate::command::{Operation, Reply, Request};
use crate::pubsub::{Kind, Subscriber};
use crate::transport::{Link, MemoryNetwork};

const ROUNDS: u32 = 1_000;

/// Gives the leader and the two that follow it.
fn by_role(nodes: &[Node; 3]) -> (&Node, &Node, &Node) {
    let leader = nodes[0].status().raft.leader.expect("a leader");
    let (leaders, followers): (Vec<_>, Vec<_>) = nodes.iter().partition(|n| n.id() == leader);
    (leaders[0], followers[0], followers[1])
}

/// Listens on `node`; gives the subscriber once all of the cluster publishes to it.
async fn listen(node: &Node, is_causal: bool) -> Subscriber {
    let subscriber = node.subscriber();
    subscriber.set_causal(is_causal);
    subscriber.subscribe(Kind::Channel, b"c").unwrap().in_effect().await;
    subscriber
}

/// Receives a message, and tells whether the state of its node has the field that it names.
async fn is_seen(node: &Node, subscriber: &Subscriber) -> bool {
    let delivery = timeout(PATIENCE, subscriber.receive()).await.expect("a message in time");
    let message = delivery.unwrap().message().expect("nothing is missing");
    assert!(!message.is_ahead);
    let field = String::from_utf8(message.payload.to_vec()).unwrap();
    let request = Request::One(Operation::new(0, hget(&field)));
    let replies = node.read(&[request], Consistency::Local).await.unwrap();
    replies == [Reply::Bulk(Bytes::from_static(b"v"))]
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_publish_is_seen_by_a_causal_subscriber() {
    let network = MemoryNetwork::new(3);
    let nodes = three(&network).await;
    let (leader, writer, reader) = by_role(&nodes);
    let delay = std::time::Duration::from_millis(20);
    network.set_link(leader.address(), reader.address(), Link { delay, ..Link::default() });
    let (causal, other) = (listen(reader, true).await, listen(reader, false).await);
    let (mut seen, mut seen_by_other) = (0, 0);
    for round in 0..ROUNDS {
        let field = format!("f{round}");
        assert_eq!(run(writer, hset(&field)).await, Ok(Reply::Integer(1)));
        drop(writer.publish(Kind::Channel, b"c", Bytes::from(field)).unwrap());
        seen_by_other += u32::from(is_seen(reader, &other).await);
        seen += u32::from(is_seen(reader, &causal).await);
    }
    assert_eq!(seen, ROUNDS);
    assert!(
        seen_by_other < ROUNDS / 2,
        "{seen_by_other} of {ROUNDS}: messages must be the faster ones"
    );
}

#[tokio::test(start_paused = true)]
async fn a_causal_subscriber_of_the_writing_node_waits_for_nothing() {
    let network = MemoryNetwork::new(1);
    let node = tests::node(&network, 1, &[], 1).await;
    timeout(PATIENCE, node.ready()).await.unwrap();
    let subscriber = listen(&node, true).await;
    for round in 0..100 {
        let field = format!("f{round}");
        assert_eq!(run(&node, hset(&field)).await, Ok(Reply::Integer(1)));
        drop(node.publish(Kind::Channel, b"c", Bytes::from(field)).unwrap());
        assert!(is_seen(&node, &subscriber).await);
    }
    let progress = node.consensus().progress();
    assert!(progress.written() > 100 && progress.written() <= progress.applied());
    // A read moves nothing.
    let written = progress.written();
    assert!(run(&node, hget("f1")).await.is_ok());
    assert_eq!(progress.written(), written);
}

#[tokio::test(start_paused = true)]
async fn a_causal_subscriber_of_an_observer_sees_what_was_written() {
    let network = MemoryNetwork::new(5);
    let nodes = three(&network).await;
    let (leader, writer, _) = by_role(&nodes);
    let observer = tests::node(&network, 4, &[1, 2, 3], 3).await;
    timeout(PATIENCE, observer.ready()).await.unwrap();
    assert_eq!(observer.status().raft.role, status::Role::Observer);
    let subscriber = listen(&observer, true).await;
    for round in 0..200 {
        let field = format!("f{round}");
        let writer = if round % 2 == 0 { writer } else { leader };
        assert_eq!(run(writer, hset(&field)).await, Ok(Reply::Integer(1)));
        drop(writer.publish(Kind::Channel, b"c", Bytes::from(field)).unwrap());
        assert!(is_seen(&observer, &subscriber).await, "round {round}");
    }
}
