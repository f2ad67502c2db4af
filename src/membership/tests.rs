//! Tests of membership: real gossip over a wire in memory, with a paused clock.
//!
//! Owns the wire and the nodes that the tests are played with. Does not test the transport; `tests/membership.rs` plays the
//! same over real QUIC. Invariant: no test waits for real time.

use std::sync::Weak;

use parking_lot::Mutex;
use tokio::time::timeout;

use super::*;

/// Delivers messages after a millisecond to whoever is at an address.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    nodes: BTreeMap<SocketAddr, Weak<Membership>>,
    isolated: BTreeSet<SocketAddr>,
}

impl Network {
    fn wire(&self, from: SocketAddr) -> Wire {
        let network = self.clone();
        Wire::new(move |to, message| {
            let network = network.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let wires = network.0.lock();
                let is_cut = wires.isolated.contains(&from) || wires.isolated.contains(&to);
                let target = wires.nodes.get(&to).and_then(Weak::upgrade).filter(|_| !is_cut);
                drop(wires);
                if let Some(target) = target {
                    target.receive(from, &message).unwrap();
                }
            });
        })
    }
}

/// A node with nothing but membership.
struct Node {
    membership: Arc<Membership>,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7_400))
}

fn id(number: u8) -> NodeId {
    NodeId::from_random(number.into())
}

/// Starts node `number`, which seeks node 1.
async fn start(network: &Network, number: u8) -> Node {
    start_as(network, number, id(number), 1).await
}

async fn start_as(network: &Network, number: u8, node: NodeId, generation: u64) -> Node {
    let address = address(number);
    let own = Own { cluster: "game".parse().unwrap(), node, generation, address };
    let facts = Facts::new(&format!("n{number}"), address, State::Joining);
    let seeds = vec!["10.0.0.1:7400".to_owned()];
    let wire = network.wire(address);
    let membership = Membership::start(Config::default(), own, wire, seeds, facts).await.unwrap();
    let membership = Arc::new(membership);
    network.0.lock().nodes.insert(address, Arc::downgrade(&membership));
    Node { membership }
}

impl Node {
    /// Waits until this node's view is as `wanted`, and tells after how long.
    async fn sees(&self, limit: Duration, wanted: impl Fn(&View) -> bool) -> Duration {
        let before = tokio::time::Instant::now();
        let mut changes = self.membership.changes();
        let seen = timeout(limit, changes.wait_for(|view| wanted(view))).await;
        assert!(seen.is_ok(), "within {limit:?}, only {:#?}", self.membership.view());
        before.elapsed()
    }
}

fn alive(view: &View) -> Vec<NodeId> {
    view.values().filter(|member| member.alive).map(|member| member.id).collect()
}

async fn three(network: &Network) -> [Node; 3] {
    let nodes = [start(network, 1).await, start(network, 2).await, start(network, 3).await];
    for node in &nodes {
        let all = [id(1), id(2), id(3)];
        node.sees(Duration::from_secs(5), |view| alive(view) == all).await;
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn three_nodes_meet_through_one_seed_and_know_each_others_facts() {
    let network = Network::default();
    let [one, two, three] = three(&network).await;
    for node in [&one, &two] {
        let view = node.membership.view();
        assert_eq!(view[&id(3)].facts, Facts::new("n3", address(3), State::Joining));
    }
    three.membership.set_state(State::Ready).await;
    three.membership.set_role("voter").await.unwrap();
    three.membership.set_formation(FormationId::first(9)).await;
    three.membership.set_fact("load", "7").await.unwrap();
    let told = |view: &View| {
        let facts = &view[&id(3)].facts;
        facts.state == State::Ready
            && facts.role == "voter"
            && facts.formation == Some(FormationId::first(9))
            && facts.others.get("load").is_some_and(|load| load == "7")
    };
    three.sees(Duration::from_millis(100), told).await;
    for node in [&one, &two] {
        node.sees(Duration::from_secs(2), told).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_seen_dead_and_the_others_alive() {
    let network = Network::default();
    let [one, two, three] = three(&network).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    drop(three);
    for node in [&one, &two] {
        let gone = |view: &View| alive(view) == [id(1), id(2)];
        let after = node.sees(Duration::from_secs(5), gone).await;
        assert!(after < Duration::from_secs(4), "{after:?}");
        assert_eq!(node.membership.view()[&id(3)].facts.name, "n3");
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(alive(&one.membership.view()), [id(1), id(2)]);
    // Its next start at the same address comes in as a node of its own.
    let again = start_as(&network, 3, id(33), 1).await;
    let back = |view: &View| alive(view) == [id(1), id(2), id(33)];
    for node in [&one, &two, &again] {
        node.sees(Duration::from_secs(5), back).await;
    }
    // The dead start is forgotten in the end.
    let grace = Config::default().dead_grace;
    one.sees(grace + Duration::from_secs(60), |view| !view.contains_key(&id(3))).await;
    assert_eq!(alive(&one.membership.view()), [id(1), id(2), id(33)]);
}

#[tokio::test(start_paused = true)]
async fn a_leaver_is_seen_leaving_before_it_is_gone() {
    let network = Network::default();
    let [one, two, three] = three(&network).await;
    three.membership.leave().await;
    for node in [&one, &two] {
        let member = &node.membership.view()[&id(3)];
        assert_eq!((member.facts.state, member.alive), (State::Leaving, true));
    }
    drop(three);
    one.sees(Duration::from_secs(5), |view| !view[&id(3)].alive).await;
    assert_eq!(one.membership.view()[&id(3)].facts.state, State::Leaving);
}

#[tokio::test(start_paused = true)]
async fn of_the_starts_of_one_id_the_newest_is_shown() {
    let network = Network::default();
    let [one, two, three] = three(&network).await;
    drop(three);
    let again = start_as(&network, 4, id(3), 2).await;
    for node in [&one, &two, &again] {
        let moved = |view: &View| {
            view.get(&id(3)).is_some_and(|m| m.alive && m.facts.address == address(4))
        };
        node.sees(Duration::from_secs(10), moved).await;
        assert_eq!(node.membership.view().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_node_comes_back_when_the_cut_is_healed() {
    let network = Network::default();
    let [one, _two, three] = three(&network).await;
    network.0.lock().isolated.insert(address(3));
    one.sees(Duration::from_secs(10), |view| !view[&id(3)].alive).await;
    three.sees(Duration::from_secs(10), |view| alive(view) == [id(3)]).await;
    network.0.lock().isolated.clear();
    let all = [id(1), id(2), id(3)];
    one.sees(Duration::from_secs(10), |view| alive(view) == all).await;
    three.sees(Duration::from_secs(10), |view| alive(view) == all).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_gossip_is_told_and_facts_are_bounded() {
    let network = Network::default();
    let one = start(&network, 1).await;
    let waiting = timeout(Duration::from_secs(1), one.membership.stopped()).await;
    assert!(waiting.is_err(), "it has not stopped");
    let long = "x".repeat(VALUE_MAX + 1);
    let error = one.membership.set_fact("load", &long).await.unwrap_err().to_string();
    assert_eq!(error, "text of a fact of 1025 exceeds the limit of 1024");
    let mut set = Ok(());
    for n in 0..FACTS_MAX {
        set = set.and(one.membership.set_fact(&format!("fact{n}"), "").await);
    }
    assert!(set.unwrap_err().to_string().contains("limit of 64"));
    one.membership.set_formation(FormationId::first(1)).await;
    one.membership.engine.0.abort();
    let error = timeout(Duration::from_secs(1), one.membership.stopped()).await.unwrap();
    assert!(matches!(error, Error::Stopped { .. }));
}
