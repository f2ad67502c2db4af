//! Membership over the real transport: gossip, QUIC and TLS over the memory network, with a paused clock.
//!
//! Owns the joining of the two rooms for the tests' sake. Does not test either alone. Invariant: no test waits for real time.
#![expect(clippy::unwrap_used, reason = "a test tells by failing")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate::ids::{FormationId, GroupId, NodeId};
use quorate::membership::{self, Facts, Membership, Own, State, View, Wire};
use quorate::transport::{
    self, Class, Credentials, Identity, MemoryNetwork, Parts, Purpose, Secret, Socket, Transport,
};
use tokio::time::timeout;

struct Node {
    membership: Arc<Membership>,
    transport: Transport,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7_400))
}

fn id(number: u8) -> NodeId {
    NodeId::from_random(number.into())
}

/// Starts node `number`, which seeks node 1.
async fn start(network: &MemoryNetwork, number: u8, secret: u8) -> Node {
    start_as(network, number, id(number), secret).await
}

async fn start_as(network: &MemoryNetwork, number: u8, node: NodeId, secret: u8) -> Node {
    let address = address(number);
    let cluster: quorate::ids::Label = "game".parse().unwrap();
    let name = format!("n{number}");
    let settings = Vec::new();
    let identity =
        Identity { cluster: cluster.clone(), node, name: name.clone(), advertise: None, settings };
    let current = Secret::generate([secret; 32]);
    let credentials = Credentials::Secret { current, previous: None };
    let socket = Socket::Simulated(network.socket(address));
    let parts = Parts { socket, rng_seed: [number; 32] };
    let (transport, mut incoming) =
        Transport::start(transport::Config::default(), credentials, identity, parts).await.unwrap();

    let purpose = Purpose { class: Class::Gossip, group: GroupId(0), formation: FormationId::NONE };
    let lanes = transport.lanes(purpose);
    let wire = Wire::new(move |to, message| {
        lanes.push(to, message);
    });
    let own = Own { cluster, node, generation: 1, address };
    let facts = Facts::new(&name, address, State::Joining);
    let seeds = vec!["10.0.0.1:7400".to_owned()];
    let config = membership::Config::default();
    let membership = Arc::new(Membership::start(config, own, wire, seeds, facts).await.unwrap());
    let receiving = Arc::clone(&membership);
    tokio::spawn(async move {
        while let Some(mut inbound) = incoming.accept().await {
            let receiving = Arc::clone(&receiving);
            tokio::spawn(async move {
                while let Ok(Some(frame)) = inbound.receiver.receive().await {
                    receiving.receive(inbound.remote.address, &frame).unwrap();
                }
            });
        }
    });
    Node { membership, transport }
}

fn alive(view: &View) -> Vec<NodeId> {
    view.values().filter(|member| member.alive).map(|member| member.id).collect()
}

impl Node {
    /// Waits until this node sees exactly these alive, and tells after how long.
    async fn sees(&self, wanted: &[NodeId]) -> Duration {
        let before = tokio::time::Instant::now();
        let mut changes = self.membership.changes();
        let seen = changes.wait_for(|view| alive(view) == wanted);
        let is_seen = timeout(Duration::from_secs(10), seen).await.is_ok();
        assert!(is_seen, "{:#?}", self.membership.view());
        before.elapsed()
    }
}

async fn three(network: &MemoryNetwork) -> [Node; 3] {
    let nodes =
        [start(network, 1, 1).await, start(network, 2, 1).await, start(network, 3, 1).await];
    for node in &nodes {
        node.sees(&[id(1), id(2), id(3)]).await;
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn three_nodes_meet_and_a_killed_one_is_seen_dead_and_back() {
    let network = MemoryNetwork::new(1);
    let [one, two, three] = three(&network).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    network.remove(three.transport.local_address());
    for node in [&one, &two] {
        let after = node.sees(&[id(1), id(2)]).await;
        assert!(after < Duration::from_secs(4), "{after:?}");
    }
    let _again = start_as(&network, 3, id(33), 1).await;
    one.sees(&[id(1), id(2), id(33)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_leaver_is_seen_leaving() {
    let network = MemoryNetwork::new(1);
    let [one, _two, three] = three(&network).await;
    three.membership.leave().await;
    three.transport.close("left").await;
    one.sees(&[id(1), id(2)]).await;
    assert_eq!(one.membership.view()[&id(3)].facts.state, State::Leaving);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_another_secret_is_not_seen() {
    let network = MemoryNetwork::new(1);
    let [one, ..] = three(&network).await;
    let stranger = start(&network, 4, 9).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(stranger.membership.view().len(), 1);
    assert_eq!(one.membership.view().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cut_node_comes_back_when_the_cut_is_healed() {
    let network = MemoryNetwork::new(1);
    let [one, two, three] = three(&network).await;
    network.isolate(address(3));
    one.sees(&[id(1), id(2)]).await;
    three.sees(&[id(3)]).await;
    network.heal();
    for node in [&one, &two, &three] {
        node.sees(&[id(1), id(2), id(3)]).await;
    }
}
