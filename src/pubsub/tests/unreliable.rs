//! Unreliable messages: lost, late and doubled on the way, too large, too many, and to nobody.
//!
//! Owns a publisher whose messages say their number. Invariant: of each channel only ever newer ones are heard.

use super::*;
use crate::transport::Link;

/// Publishes a number to a channel.
fn shout(node: &PubSub, channel: &str, number: u32) -> u64 {
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    node.publish_unreliable(Kind::Channel, channel.as_bytes(), payload).unwrap()
}

fn number(message: &Message) -> u32 {
    u32::from_be_bytes(message.payload[..].try_into().unwrap())
}

/// Takes all that has come.
fn all(subscriber: &Subscriber) -> Vec<(Bytes, u32)> {
    let taken = std::iter::from_fn(|| taken(subscriber));
    taken.map(|message| (message.channel.clone(), number(&message))).collect()
}

async fn listening(node: &PubSub, kind: Kind, name: &str, policy: Policy) -> Subscriber {
    let subscriber = node.subscriber();
    subscriber.subscribe_with(kind, name.as_bytes(), policy).unwrap().in_effect().await;
    subscriber
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn it_reaches_listeners_on_all_nodes() {
    let network = MemoryNetwork::new(1);
    let nodes = nodes(&network, 3).await;
    let own = listening(&nodes[0], Kind::Channel, "a", Policy::Disconnect).await;
    let by_name = listening(&nodes[1], Kind::Channel, "a", Policy::Disconnect).await;
    let by_pattern = listening(&nodes[2], Kind::Pattern, "?", Policy::Disconnect).await;
    let sharded = listening(&nodes[2], Kind::Sharded, "a", Policy::Disconnect).await;
    assert_eq!(shout(&nodes[0], "a", 1), 1);
    for subscriber in [&own, &by_name, &by_pattern] {
        assert_eq!(number(&received(subscriber).await), 1);
    }
    assert!(taken(&sharded).is_none());
    let payload = Bytes::from_static(b"s");
    assert_eq!(nodes[0].publish_unreliable(Kind::Sharded, b"a", payload), Ok(0));
    assert_eq!(heard(&sharded).await, "s");
    assert!(taken(&by_name).is_none());
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_the_network_brings_an_older_one_after_a_newer_one() {
    let network = MemoryNetwork::new(7);
    let nodes = nodes(&network, 2).await;
    let subscriber = listening(&nodes[1], Kind::Pattern, "c*", Policy::Disconnect).await;
    network.set_default(Link {
        delay: Duration::from_millis(1),
        jitter: Duration::from_millis(8),
        loss: 0.1,
        duplication: 0.2,
        ..Link::default()
    });
    for number in 0..3_000 {
        shout(&nodes[0], ["c0", "c1", "c2"][number as usize % 3], number);
        pause(1).await;
    }
    pause(1_000).await;
    let heard = all(&subscriber);
    for channel in ["c0", "c1", "c2"] {
        let of_channel = heard.iter().filter(|(name, _)| name == channel);
        let numbers: Vec<u32> = of_channel.map(|(_, number)| *number).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{channel}");
    }
    assert!(
        !heard.iter().map(|(_, number)| number).is_sorted(),
        "channels may overtake each other"
    );
    let (sent, came) = (report(&nodes[0], 2).unreliable, report(&nodes[1], 1).unreliable);
    assert_eq!((sent.sent, sent.unsent, came.malformed), (3_000, 0, 0));
    assert_eq!(came.received, heard.len() as u64);
    assert!(came.missing > 100 && came.stale > 100, "{came:?}");
    assert_eq!(came.received + came.stale + came.missing, 3_000, "{came:?}");
    assert_eq!(report(&nodes[1], 1).missed, 0, "lanes have numbers of their own");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_with_both_numbers() {
    let network = MemoryNetwork::new(1);
    let nodes = nodes(&network, 2).await;
    let subscriber = listening(&nodes[1], Kind::Channel, "c", Policy::Disconnect).await;
    let publish = |size| {
        let payload = Bytes::from(vec![1; size]);
        nodes[0].publish_unreliable(Kind::Channel, b"c", payload)
    };
    assert_eq!(publish(UNRELIABLE_MAX - 1), Ok(0));
    assert_eq!(heard(&subscriber).await.len(), UNRELIABLE_MAX - 1);
    let refused = publish(UNRELIABLE_MAX).unwrap_err();
    let words = "unreliable message of 1101 bytes exceeds the limit of 1100 bytes";
    assert_eq!(refused.to_string(), words);
    let tight = Config { name_max: bytesize::ByteSize::b(2), ..Config::default() };
    let refused = PubSub::local(tight).publish_unreliable(Kind::Channel, b"abc", Bytes::new());
    assert_eq!(refused, Err(Error::NameTooLong { size: 3, limit: 2 }));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_down_is_skipped_and_counted() {
    let network = MemoryNetwork::new(1);
    let nodes = nodes(&network, 2).await;
    let own = listening(&nodes[0], Kind::Channel, "c", Policy::Disconnect).await;
    let subscriber = listening(&nodes[1], Kind::Channel, "c", Policy::Disconnect).await;
    network.isolate(address(2));
    pause(3_000).await;
    for number in 0..10 {
        assert_eq!(shout(&nodes[0], "c", number), 1);
    }
    let report = || report(&nodes[0], 2).unreliable;
    assert_eq!((report().sent, report().unsent), (0, 10));
    assert_eq!(all(&own).len(), 10);
    network.heal();
    until("the lane", || nodes[0].lane_report()[0].is_up).await;
    shout(&nodes[0], "c", 10);
    assert_eq!(number(&received(&subscriber).await), 10, "what was not sent is never sent");
    nodes[0].stop().await;
    let closed = nodes[0].publish_unreliable(Kind::Channel, b"c", Bytes::new());
    assert_eq!(closed, Err(Error::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_flood_costs_neither_the_lane_nor_the_newest() {
    let network = MemoryNetwork::new(1);
    let nodes = nodes(&network, 2).await;
    let subscriber = listening(&nodes[1], Kind::Channel, "c", Policy::LatestOnly).await;
    let other = listening(&nodes[1], Kind::Channel, "reliable", Policy::Disconnect).await;
    let filler = Bytes::from(vec![0; 1_000]);
    for _ in 0..2_000 {
        nodes[0].publish_unreliable(Kind::Channel, b"c", filler.clone()).unwrap();
    }
    shout(&nodes[0], "c", 7);
    say(&nodes[0], "reliable", "all is well");
    assert_eq!(heard(&other).await, "all is well");
    pause(1_000).await;
    let newest = taken(&subscriber).unwrap();
    assert_eq!(number(&newest), 7);
    assert!(taken(&subscriber).is_none(), "only the newest waits");
    let came = report(&nodes[1], 1).unreliable;
    assert_eq!(newest.replaced + 1, came.received, "the others were replaced by it");
    assert!(came.received < 1_000, "{came:?}");
}

#[tokio::test(start_paused = true)]
async fn what_no_node_sends_is_counted_and_nothing_else() {
    let network = MemoryNetwork::new(1);
    let (transport, one) = node_with(&network, 1, Config::default(), 1).await;
    let two = node(&network, 2).await;
    one.attach(id(2), address(2)).await.unwrap();
    let subscriber = listening(&two, Kind::Channel, "c", Policy::Disconnect).await;
    let peer = crate::transport::Peer { id: Some(id(2)), address: address(2) };
    let zeroes = |size| bytes::BytesMut::zeroed(size);
    for (class, size) in [(Class::Publish, 0), (Class::Publish, 34), (Class::Gossip, 35)] {
        transport.datagram(&peer, class, zeroes(size)).unwrap();
    }
    let mut claims_too_much = zeroes(35);
    claims_too_much[33] = 255;
    transport.datagram(&peer, Class::Publish, claims_too_much).unwrap();
    shout(&one, "c", 1);
    assert_eq!(number(&received(&subscriber).await), 1);
    assert_eq!(report(&two, 1).unreliable.malformed, 4);
    // Who is no member is not heard.
    two.unlink(id(1));
    shout(&one, "c", 2);
    pause(100).await;
    assert!(taken(&subscriber).is_none());
}
