//! Tests of pub/sub: several nodes over real QUIC on the memory network, with a paused clock.
//!
//! Owns the nodes that the tests are played with. Invariant: no test waits for real time.

mod answer;
mod causal;
mod delivery;
mod faults;
mod patterns;
mod queue;
mod reach;
mod requests;
mod routes;
mod table;
mod unreliable;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::*;
use crate::ids::NodeId;
use crate::transport::{
    Class, Credentials, Identity, Incoming, MemoryNetwork, Parts, Secret, Socket,
};

/// Long enough for anything that is going to happen.
const SOON: Duration = Duration::from_secs(20);

fn id(number: u8) -> NodeId {
    NodeId::from_random(number.into())
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7_400))
}

/// Starts a transport of a node without pub/sub.
async fn silent(network: &MemoryNetwork, number: u8) -> (Transport, Incoming) {
    let socket = Socket::Simulated(network.socket(address(number)));
    let credentials = Credentials::Secret { current: Secret::generate([1; 32]), previous: None };
    let identity = Identity {
        cluster: "game".parse().unwrap(),
        node: id(number),
        name: format!("n{number}"),
        advertise: None,
        settings: Vec::new(),
    };
    let parts = Parts { socket, rng_seed: [number; 32] };
    let started =
        Transport::start(crate::transport::Config::default(), credentials, identity, parts);
    started.await.unwrap()
}

/// Starts a transport whose incoming lanes are handed to what `start` makes of it.
async fn node_with(
    network: &MemoryNetwork,
    number: u8,
    config: Config,
    generation: u64,
) -> (Transport, PubSub) {
    let (transport, mut incoming) = silent(network, number).await;
    let pubsub = PubSub::start(config, transport.clone(), generation, Arc::new(Stateless));
    let handler = pubsub.clone();
    tokio::spawn(async move {
        while let Some(inbound) = incoming.accept().await {
            assert_eq!(inbound.purpose.class, Class::Publish);
            handler.handle(inbound);
        }
    });
    (transport, pubsub)
}

/// Starts one node.
async fn node(network: &MemoryNetwork, number: u8) -> PubSub {
    node_with(network, number, Config::default(), 1).await.1
}

/// Starts nodes 1 to `count`, each with a lane to each other.
async fn nodes(network: &MemoryNetwork, count: u8) -> Vec<PubSub> {
    let mut nodes = Vec::new();
    for number in 1..=count {
        nodes.push(node(network, number).await);
    }
    for (own, node) in (1..).zip(&nodes) {
        for peer in (1..=count).filter(|peer| *peer != own) {
            timeout(SOON, node.attach(id(peer), address(peer))).await.unwrap().unwrap();
        }
    }
    nodes
}

/// Publishes to a channel without asking for the count.
fn say(node: &PubSub, channel: &str, payload: impl Into<Bytes>) {
    drop(node.publish(Kind::Channel, channel.as_bytes(), payload.into(), false).unwrap());
}

/// Publishes to a channel and waits for the count.
async fn count(node: &PubSub, kind: Kind, channel: &str) -> u64 {
    node.publish(kind, channel.as_bytes(), Bytes::from_static(b"x"), true).unwrap().await
}

/// Subscribes without waiting for other nodes, of which there is none or all publish everything.
fn listen(subscriber: &Subscriber, kind: Kind, name: &str) {
    let subscription = subscriber.subscribe(kind, name.as_bytes()).unwrap();
    assert!(subscription.is_new(), "{name}");
}

/// Takes the next message that is here; what is told to be missing is passed over.
fn taken(subscriber: &Subscriber) -> Option<Message> {
    while let Some(delivery) = subscriber.try_receive().unwrap() {
        if let Delivery::Message(message) = delivery {
            return Some(message);
        }
    }
    None
}

/// Receives the next message.
async fn received(subscriber: &Subscriber) -> Message {
    let delivery = timeout(SOON, subscriber.receive()).await;
    let delivery = delivery.expect("nothing came").expect("the subscriber has ended");
    delivery.message().expect("nothing is missing")
}

/// Receives the next message's payload.
async fn heard(subscriber: &Subscriber) -> Bytes {
    received(subscriber).await.payload
}

/// Waits until a condition holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Gives a node's report about its peer.
fn report(node: &PubSub, peer: u8) -> LaneReport {
    let reports = node.lane_report();
    *reports.iter().find(|report| report.peer == id(peer)).expect("a lane")
}
