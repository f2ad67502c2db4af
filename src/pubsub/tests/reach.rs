//! Whether nobody got a message, or only nobody was heard of.
//!
//! Owns the cases in which the two could be mixed up. Invariant: a peer that does not answer is never taken for none.

use super::*;

async fn reach(node: &PubSub, channel: &str) -> Reach {
    let payload = Bytes::from_static(b"x");
    let reach = node.publish_reaching(Kind::Channel, channel.as_bytes(), payload).unwrap();
    timeout(SOON, reach).await.unwrap()
}

async fn asked(node: &PubSub, channels: [&'static str; 2]) -> Vec<Reach> {
    let channels = channels.map(|name| Bytes::from_static(name.as_bytes())).to_vec();
    timeout(SOON, node.listeners(Kind::Channel, channels)).await.unwrap()
}

const fn whole(count: u64) -> Reach {
    Reach { count, is_whole: true }
}

#[tokio::test(start_paused = true)]
async fn all_who_listen_are_counted_and_nobody_is_known_to_be_nobody() {
    let network = MemoryNetwork::new(3);
    let nodes = nodes(&network, 3).await;
    let (near, far) = (nodes[0].subscriber(), nodes[2].subscriber());
    listen(&near, Kind::Channel, "both");
    listen(&far, Kind::Channel, "both");
    listen(&far, Kind::Channel, "far");
    assert_eq!(reach(&nodes[0], "both").await, whole(2));
    assert_eq!(reach(&nodes[0], "far").await, whole(1));
    assert_eq!(asked(&nodes[0], ["far", "none"]).await, [whole(1), whole(0)]);
    assert!(nodes[0].is_heard_here(Kind::Channel, b"both"));
    assert!(!nodes[0].is_heard_here(Kind::Channel, b"far"));
    // Often enough that the peers have it pruned.
    for _ in 0..30 {
        assert!(reach(&nodes[0], "none").await.is_nobody());
    }
    let withheld: u64 = nodes[0].lane_report().iter().map(|lane| lane.withheld).sum();
    assert!(withheld > 0, "pruned, and known to be nobody all the same");
    let alone = PubSub::local(Config::default());
    assert!(reach(&alone, "none").await.is_nobody());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_not_nobody_until_it_is_gone() {
    let network = MemoryNetwork::new(3);
    let nodes = nodes(&network, 3).await;
    network.isolate(address(3));
    let unsure = Reach { count: 0, is_whole: false };
    // Asked in vain, silent, and at last without a link.
    for _ in 0..3 {
        assert_eq!(reach(&nodes[0], "none").await, unsure);
        assert_eq!(asked(&nodes[0], ["a", "b"]).await, [unsure, unsure]);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    nodes[0].unlink(id(3));
    assert!(reach(&nodes[0], "none").await.is_nobody());
    assert_eq!(asked(&nodes[0], ["a", "b"]).await, [whole(0), whole(0)]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_unlinked_while_it_is_asked_is_not_nobody() {
    let network = MemoryNetwork::new(3);
    let nodes = nodes(&network, 2).await;
    network.isolate(address(2));
    let payload = Bytes::from_static(b"x");
    let reach = nodes[0].publish_reaching(Kind::Channel, b"none", payload).unwrap();
    nodes[0].unlink(id(2));
    assert_eq!(timeout(SOON, reach).await.unwrap(), Reach { count: 0, is_whole: false });
}
