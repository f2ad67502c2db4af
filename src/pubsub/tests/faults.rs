//! What holds when links break, peers are silent, subscribers are slow, and members send what they should not.
//!
//! Owns the tests with faults. Invariant: whatever breaks, nothing arrives twice or out of order, and nothing waits for ever.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::lane;
use super::super::wire::{self, Control, Hello};
use super::*;
use crate::transport::{FrameReceiver, FrameSender, Peer};

#[tokio::test(start_paused = true)]
async fn silent_peer_holds_up_a_publisher_once_and_briefly() {
    let network = MemoryNetwork::new(11);
    let nodes = nodes(&network, 3).await;
    let subscriber = nodes[1].subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    network.isolate(address(3));
    let before = Instant::now();
    assert_eq!(count(&nodes[0], Kind::Channel, "news").await, 1);
    let waited = before.elapsed();
    assert!((50..=52).contains(&waited.as_millis()), "{waited:?}");
    let before = Instant::now();
    for _ in 0..10 {
        assert_eq!(count(&nodes[0], Kind::Channel, "news").await, 1);
    }
    assert!(before.elapsed() < Duration::from_millis(50), "{:?}", before.elapsed());
    assert_eq!(nodes[0].channels(Kind::Channel, None).await, ["news"]);
    until("the end of the lane", || !report(&nodes[0], 3).is_up).await;
    network.heal();
    until("the lane", || report(&nodes[0], 3).is_up).await;
    let other = nodes[2].subscriber();
    other.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    assert_eq!(count(&nodes[0], Kind::Channel, "news").await, 2);
}

#[tokio::test(start_paused = true)]
async fn broken_link_ends_a_count_at_once() {
    let network = MemoryNetwork::new(12);
    let config = Config { count_timeout: Duration::from_secs(60), ..Config::default() };
    let (_transport, one) = node_with(&network, 1, config, 1).await;
    let (transport, two) = node_with(&network, 2, Config::default(), 1).await;
    one.attach(id(2), address(2)).await.unwrap();
    let subscriber = one.subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    let asked = one.publish(Kind::Channel, b"news", Bytes::new(), true).unwrap();
    let closing = transport.close("leaving");
    let (sum, ()) = tokio::join!(timeout(SOON, asked), closing);
    assert_eq!(sum, Ok(1));
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn lane_is_dialled_again_and_its_losses_are_counted() {
    let network = MemoryNetwork::new(13);
    let nodes = nodes(&network, 2).await;
    let subscriber = nodes[0].subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    let mut said = 0_u64;
    let mut got = Vec::new();
    for round in 0..6 {
        for _ in 0..200 {
            say(&nodes[1], "news", said.to_be_bytes().to_vec());
            said += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            while let Some(message) = taken(&subscriber) {
                got.push(u64::from_be_bytes(message.payload[..].try_into().unwrap()));
            }
        }
        if round % 2 == 0 { network.cut(address(2), address(1)) } else { network.heal() }
    }
    // What is said while the old stream is found dead is lost, so the last word is said until it arrives.
    let healed = Instant::now();
    while got.last() != Some(&(said - 1)) {
        assert!(healed.elapsed() < SOON, "{:?}", report(&nodes[1], 1));
        say(&nodes[1], "news", said.to_be_bytes().to_vec());
        said += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
        while let Some(message) = taken(&subscriber) {
            got.push(u64::from_be_bytes(message.payload[..].try_into().unwrap()));
        }
    }
    assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
    let received = report(&nodes[0], 2);
    assert_eq!(received.received, got.len() as u64);
    assert_eq!(received.received + received.missed, said);
    assert!(report(&nodes[1], 1).reconnects >= 2);
}

/// Three nodes publish to each other while links are cut and healed at random; gives what went over the network, but for what `ring` draws.
async fn play(seed: u64) -> crate::transport::Trace {
    let mut rng = StdRng::seed_from_u64(seed);
    let network = MemoryNetwork::new(seed);
    let nodes = nodes(&network, 3).await;
    let hears = |node: &PubSub| {
        let subscriber = node.subscriber();
        listen(&subscriber, Kind::Pattern, "from *");
        subscriber
    };
    let subscribers: Vec<Subscriber> = nodes.iter().map(hears).collect();
    // By listener, then by publisher: the last number heard.
    let mut last = [[0_u64; 3]; 3];
    let mut said = 0_u64;
    let mut healed_at = None;
    loop {
        said += 1;
        for (from, node) in nodes.iter().enumerate() {
            let wants_count = rng.random_bool(0.3);
            let payload = Bytes::copy_from_slice(&said.to_be_bytes());
            let channel = format!("from {from}");
            drop(node.publish(Kind::Channel, channel.as_bytes(), payload, wants_count).unwrap());
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..40))).await;
        for (subscriber, last) in subscribers.iter().zip(&mut last) {
            while let Some(message) = taken(subscriber) {
                let from = usize::from(message.channel[5] - b'0');
                let number = u64::from_be_bytes(message.payload[..].try_into().unwrap());
                assert!(number > last[from], "seed {seed}: {number} after {}", last[from]);
                last[from] = number;
            }
        }
        match (said, healed_at) {
            (0..1_000, _) if said.is_multiple_of(50) => {
                let mut any = || address(rng.random_range(1..=3));
                let (from, to) = (any(), any());
                match rng.random_range(0..4) {
                    0 => network.isolate(from),
                    1 => network.heal(),
                    _ => network.cut(from, to),
                }
            }
            (0..1_000, _) => {}
            (_, None) => {
                network.heal();
                healed_at = Some((said, Instant::now()));
            }
            (_, Some((number, _))) if last.iter().flatten().all(|last| *last > number) => break,
            (_, Some((_, at))) => assert!(at.elapsed() < SOON, "seed {seed}: {last:?}"),
        }
    }
    crate::transport::Trace { contents: 0, ..network.trace() }
}

#[tokio::test(start_paused = true)]
async fn random_faults_never_duplicate_or_reorder_and_always_heal() {
    for seed in 0..6 {
        play(seed).await;
    }
}

#[test]
fn same_seed_plays_the_same() {
    let played = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(play(7))
    };
    assert_eq!(played(), played());
}

#[tokio::test(start_paused = true)]
async fn outbox_of_an_unreachable_peer_is_bounded() {
    let network = MemoryNetwork::new(14);
    let nodes = nodes(&network, 2).await;
    let subscriber = nodes[0].subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    network.isolate(address(1));
    until("the end of the lane", || !report(&nodes[1], 1).is_up).await;
    let payload = Bytes::from(vec![0; 1024 * 1024]);
    (0..40).for_each(|_| say(&nodes[1], "news", payload.clone()));
    let full = report(&nodes[1], 1);
    assert!(full.queued_bytes <= 32 * 1024 * 1024, "{full:?}");
    assert_eq!((full.queued, full.dropped), (31, 9));
    network.heal();
    say(&nodes[1], "news", "small");
    let mut received = 0;
    let mut lost = Vec::new();
    loop {
        match timeout(SOON, subscriber.receive()).await.unwrap().unwrap() {
            Delivery::Message(message) if message.payload == "small" => break,
            Delivery::Message(_) => received += 1,
            Delivery::Lost(news) => lost.push(news),
        }
    }
    assert_eq!((received, report(&nodes[0], 2).missed), (31, 9));
    let cause = Cause::Link { publisher: id(2) };
    assert_eq!(lost, [Lost { cause, count: Some(9) }]);
}

#[tokio::test(start_paused = true)]
async fn slow_subscriber_is_told_and_dropped() {
    let pubsub = PubSub::local(Config::default());
    let (slow, quick) = (pubsub.subscriber(), pubsub.subscriber());
    slow.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    slow.subscribe(Kind::Pattern, b"n*").unwrap().in_effect().await;
    quick.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    let payload = Bytes::from(vec![0; 10_000]);
    let mut counts = Vec::new();
    for _ in 0..2_000 {
        let sum = pubsub.publish(Kind::Channel, b"news", payload.clone(), true).unwrap();
        counts.push(sum.await);
        heard(&quick).await;
    }
    assert_eq!((counts.first(), counts.last()), (Some(&3), Some(&1)));
    let Err(Error::Overflow { messages, bytes, limit }) = slow.receive().await else {
        panic!("the overflow must be told");
    };
    assert!(bytes > limit && bytes < limit + 20_000 && messages > 3_000, "{messages} {bytes}");
    assert_eq!(slow.subscribe(Kind::Channel, b"news").err(), Some(Error::Closed));
    assert_eq!(slow.count(), 0);
    assert_eq!(pubsub.subscriber_counts(Kind::Channel, vec!["news".into()]).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn attach_waits_for_the_members_lane() {
    let network = MemoryNetwork::new(15);
    let member = node(&network, 1).await;
    let joiner = node(&network, 2).await;
    let early = Instant::now();
    network.cut(address(1), address(2));
    let lame = timeout(Duration::from_secs(4), joiner.attach(id(1), address(1))).await;
    assert!(lame.is_err(), "attached over a cut link after {:?}", early.elapsed());
    let failed = joiner.attach(id(1), address(1)).await;
    let waited = Duration::from_secs(5);
    assert_eq!(failed, Err(Error::NotAttached { peer: id(1), waited }));
    assert!(joiner.hub().state().attaching.is_empty());
    network.heal();
    timeout(SOON, joiner.attach(id(1), address(1))).await.unwrap().unwrap();
    let subscriber = joiner.subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    assert_eq!(count(&member, Kind::Channel, "news").await, 1);
    assert_eq!(heard(&subscriber).await, "x");
}

#[tokio::test(start_paused = true)]
async fn lane_that_only_its_peer_asked_for_is_given_up() {
    let network = MemoryNetwork::new(16);
    let member = node(&network, 1).await;
    let joiner = node(&network, 2).await;
    timeout(SOON, joiner.attach(id(1), address(1))).await.unwrap().unwrap();
    assert!(report(&member, 2).is_up);
    network.remove(address(2));
    let gone = Instant::now();
    until("the end of the lane", || member.lane_report().is_empty()).await;
    assert!(gone.elapsed() > Duration::from_secs(10), "{:?}", gone.elapsed());
}

#[tokio::test(start_paused = true)]
async fn unlinked_peer_gets_nothing_more() {
    let network = MemoryNetwork::new(17);
    let nodes = nodes(&network, 2).await;
    let subscriber = nodes[0].subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    nodes[1].unlink(id(1));
    assert_eq!(count(&nodes[1], Kind::Channel, "news").await, 0);
    assert_eq!(nodes[1].lane_report(), []);
    nodes[1].link(id(1), address(1));
    until("the lane", || report(&nodes[1], 1).is_up).await;
    assert_eq!(count(&nodes[1], Kind::Channel, "news").await, 1);
}

/// Opens a stream as a lane does, to say on it what the test wants.
async fn raw(transport: &Transport, to: u8) -> (FrameSender, FrameReceiver) {
    let peer = Peer { id: Some(id(to)), address: address(to) };
    let (sender, receiver, _) = transport.open(&peer, lane::PURPOSE).await.unwrap();
    (sender, receiver)
}

fn hello(attempt: u64, next: u64) -> Bytes {
    wire::control(&Control::Hello(Hello { generation: 1, attempt, lane: 1, next }))
}

#[tokio::test(start_paused = true)]
async fn broken_members_lose_their_stream_and_nothing_else() {
    let network = MemoryNetwork::new(18);
    let victim = node(&network, 1).await;
    let (transport, _broken) = node_with(&network, 2, Config::default(), 1).await;
    let subscriber = victim.subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    let message = wire::message(Kind::Channel, 7, 0, b"news", b"hi");
    let run = wire::control(&Control::Run { first: 5 });
    let streams: [&[Bytes]; 9] = [
        &[Bytes::new()],
        &[Bytes::from_static(b"\x07junk")],
        std::slice::from_ref(&message),
        &[hello(1, 0), Bytes::from_static(b"\x00\x00\x00")],
        &[hello(2, 0), hello(3, 0)],
        &[hello(4, 6), run],
        &[hello(5, 0), wire::control(&Control::Counts(vec![(1, 1)]))],
        &[hello(6, 0), wire::control(&Control::Prune { names: Vec::new() })],
        &[hello(7, 0), wire::control(&Control::Grafted { attempt: 7, id: 1 })],
    ];
    for frames in streams {
        let (mut sender, mut receiver) = raw(&transport, 1).await;
        sender.send_all(&mut frames.to_vec()).await.unwrap();
        let end = timeout(SOON, receiver.receive()).await.expect("the stream must end");
        assert!(end.is_err(), "{frames:?}");
    }
    let (mut sender, mut receiver) = raw(&transport, 1).await;
    sender.send_all(&mut vec![hello(9, 6), message]).await.unwrap();
    let counts = timeout(SOON, receiver.receive()).await.unwrap().unwrap().unwrap();
    assert_eq!(counts, wire::control(&Control::Counts(vec![(7, 1)])));
    assert_eq!(taken(&subscriber).unwrap().payload, "hi");
}

#[tokio::test(start_paused = true)]
async fn older_stream_is_not_heard_beside_a_newer_one() {
    let network = MemoryNetwork::new(19);
    let node = node(&network, 1).await;
    let (transport, _other) = node_with(&network, 2, Config::default(), 1).await;
    let subscriber = node.subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    let message = |text: &str| wire::message(Kind::Channel, 0, 0, b"news", text.as_bytes());
    let (mut old, mut old_answers) = raw(&transport, 1).await;
    old.send_all(&mut vec![hello(1, 0), message("one")]).await.unwrap();
    assert_eq!(heard(&subscriber).await, "one");
    let (mut new, _new_answers) = raw(&transport, 1).await;
    new.send_all(&mut vec![hello(2, 2), message("three")]).await.unwrap();
    let lost = Lost { cause: Cause::Link { publisher: id(2) }, count: Some(1) };
    assert_eq!(subscriber.receive().await, Ok(Delivery::Lost(lost)));
    assert_eq!(heard(&subscriber).await, "three");
    old.send(message("two")).await.unwrap();
    let end = timeout(SOON, old_answers.receive()).await.expect("the stream must end");
    assert!(end.is_err());
    assert_eq!(subscriber.try_receive(), Ok(None));
    let late = raw(&transport, 1).await;
    let (mut late, mut late_answers) = late;
    late.send(hello(1, 9)).await.unwrap();
    assert!(timeout(SOON, late_answers.receive()).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn dropped_waits_leave_nothing_behind() {
    let network = MemoryNetwork::new(20);
    let nodes = nodes(&network, 2).await;
    network.isolate(address(2));
    let hub = Arc::clone(nodes[0].hub());
    for _ in 0..10 {
        drop(nodes[0].publish(Kind::Channel, b"c", Bytes::new(), true).unwrap());
        let asked = nodes[0].channels(Kind::Channel, None);
        assert!(timeout(Duration::from_millis(1), asked).await.is_err());
    }
    let state = hub.state();
    assert_eq!((state.counts.len(), state.questions.len()), (0, 0));
}
