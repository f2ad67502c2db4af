//! Who is sent what: prunes, grafts, and what is told when a link breaks between them.
//!
//! Owns the tests of routing over the network. Invariant: what is not sent is not wanted, or its listener is told.

use std::collections::BTreeSet;

use super::super::lane;
use super::super::wire::{self, Control, Frame, Hello};
use super::*;
use crate::transport::{FrameReceiver, FrameSender, Peer};

/// Publishes until a peer has pruned the channel.
async fn prune(publisher: &PubSub, peer: u8, channel: &str) {
    let held = report(publisher, peer).prunes_held;
    let deadline = Instant::now() + SOON;
    while report(publisher, peer).prunes_held == held {
        assert!(Instant::now() < deadline, "never pruned");
        say(publisher, channel, "in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for the news that something is missing, and passes over messages.
async fn told(subscriber: &Subscriber) -> Lost {
    loop {
        let delivery = timeout(SOON, subscriber.receive()).await.expect("nothing was told");
        if let Delivery::Lost(lost) = delivery.unwrap() {
            return lost;
        }
    }
}

fn link(publisher: u8, count: Option<u64>) -> Lost {
    Lost { cause: Cause::Link { publisher: id(publisher) }, count }
}

#[tokio::test(start_paused = true)]
async fn busy_channel_goes_only_to_those_who_listen() {
    let network = MemoryNetwork::new(31);
    let nodes = nodes(&network, 4).await;
    let subscriber = nodes[3].subscriber();
    assert!(subscriber.subscribe(Kind::Channel, b"busy").unwrap().in_effect().await);
    for _ in 0..20 {
        say(&nodes[0], "busy", vec![7; 128]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before: Vec<u64> = (2..=4).map(|peer| report(&nodes[0], peer).sent_bytes).collect();
    for _ in 0..1_000 {
        say(&nodes[0], "busy", vec![7; 128]);
    }
    for _ in 0..1_020 {
        assert_eq!(heard(&subscriber).await, vec![7; 128]);
    }
    let after: Vec<u64> = (2..=4).map(|peer| report(&nodes[0], peer).sent_bytes).collect();
    assert_eq!(
        (after[0], after[1]),
        (before[0], before[1]),
        "not a byte more to who does not listen"
    );
    assert!(after[2] > before[2] + 128_000);
    for peer in [2, 3] {
        let lane = report(&nodes[0], peer);
        assert_eq!((lane.prunes_held, lane.withheld + lane.sent), (1, 1_020), "{lane:?}");
        assert_eq!(report(&nodes[usize::from(peer) - 1], 1).prunes_made, 1);
    }
    // From its resolve on, a new listener gets everything.
    let late = nodes[1].subscriber();
    assert!(late.subscribe(Kind::Channel, b"busy").unwrap().in_effect().await);
    assert_eq!(report(&nodes[0], 2).prunes_held, 0);
    assert_eq!(report(&nodes[1], 1).grafts, 1);
    assert_eq!(report(&nodes[2], 1).prunes_made, 1, "the others stay as they are");
    for number in 0..100_u8 {
        say(&nodes[0], "busy", vec![number]);
    }
    for number in 0..100_u8 {
        assert_eq!(heard(&late).await, vec![number]);
    }
}

#[tokio::test(start_paused = true)]
async fn channel_used_once_costs_its_subscriber_no_word() {
    let network = MemoryNetwork::new(32);
    let nodes = nodes(&network, 3).await;
    // So that the tables are not empty.
    prune(&nodes[1], 1, "other").await;
    let before = network.trace().sent;
    let subscriber = nodes[0].subscriber();
    for number in 0..100 {
        let name = format!("reply:{number}");
        let subscription = subscriber.subscribe(Kind::Channel, name.as_bytes()).unwrap();
        // In effect at once: nothing is awaited that is not there.
        assert_eq!(futures_util::FutureExt::now_or_never(subscription.in_effect()), Some(true));
    }
    assert_eq!(network.trace().sent, before);
    assert_eq!(report(&nodes[0], 2).grafts, 0);
}

#[tokio::test(start_paused = true)]
async fn pattern_grafts_all_that_it_matches() {
    let network = MemoryNetwork::new(33);
    let nodes = nodes(&network, 2).await;
    for channel in ["a1", "a2", "b1"] {
        prune(&nodes[1], 1, channel).await;
    }
    let subscriber = nodes[0].subscriber();
    assert!(subscriber.subscribe(Kind::Pattern, b"a*").unwrap().in_effect().await);
    assert_eq!((report(&nodes[0], 2).prunes_made, report(&nodes[1], 1).prunes_held), (1, 1));
    for channel in ["b1", "a1", "a2"] {
        say(&nodes[1], channel, "hi");
    }
    assert_eq!(received(&subscriber).await.channel, "a1");
    assert_eq!(received(&subscriber).await.channel, "a2");
}

#[tokio::test(start_paused = true)]
async fn unsubscribed_or_gone_while_a_graft_is_under_way() {
    let network = MemoryNetwork::new(34);
    let nodes = nodes(&network, 2).await;
    prune(&nodes[1], 1, "busy").await;
    let (leaver, patient) = (nodes[0].subscriber(), nodes[0].subscriber());
    let first = leaver.subscribe(Kind::Channel, b"busy").unwrap();
    let second = patient.subscribe(Kind::Channel, b"busy").unwrap();
    assert!(leaver.unsubscribe(Kind::Channel, b"busy"));
    let again = leaver.subscribe(Kind::Channel, b"busy").unwrap();
    drop(again);
    drop(leaver);
    assert!(timeout(SOON, first.in_effect()).await.unwrap());
    assert!(timeout(SOON, second.in_effect()).await.unwrap());
    assert!(nodes[0].hub().state().waiting.is_empty());
    assert_eq!(report(&nodes[0], 2).grafts, 1, "one graft is enough for all");
    say(&nodes[1], "busy", "hi");
    assert_eq!(heard(&patient).await, "hi");
}

#[tokio::test(start_paused = true)]
async fn link_that_breaks_under_a_graft_is_told_and_holds_nobody_up() {
    let network = MemoryNetwork::new(35);
    let nodes = nodes(&network, 2).await;
    prune(&nodes[1], 1, "busy").await;
    network.cut(address(1), address(2));
    let subscriber = nodes[0].subscriber();
    let started = Instant::now();
    let subscription = subscriber.subscribe(Kind::Channel, b"busy").unwrap();
    assert!(timeout(SOON, subscription.in_effect()).await.unwrap());
    assert!(started.elapsed() <= Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(told(&subscriber).await, link(2, None));
    network.heal();
    // From the news on that the link is back, everything arrives.
    until("the link", || report(&nodes[1], 1).is_up).await;
    say(&nodes[1], "busy", "hi");
    let mut news = Vec::new();
    loop {
        match timeout(SOON, subscriber.receive()).await.unwrap().unwrap() {
            Delivery::Message(message) if message.payload == "hi" => break,
            Delivery::Message(_) => {}
            Delivery::Lost(lost) => news.push(lost),
        }
    }
    assert!(news.iter().all(|lost| lost.cause == link(2, None).cause), "{news:?}");
    assert_eq!(report(&nodes[1], 1).prunes_held, 0);
}

#[tokio::test(start_paused = true)]
async fn who_subscribes_while_the_link_is_broken_is_told_at_once_and_when_it_is_back() {
    let network = MemoryNetwork::new(36);
    let nodes = nodes(&network, 2).await;
    prune(&nodes[1], 1, "busy").await;
    network.isolate(address(2));
    until("the end", || nodes[0].hub().state().ways_back.is_empty()).await;
    let subscriber = nodes[0].subscriber();
    let subscription = subscriber.subscribe(Kind::Channel, b"busy").unwrap();
    assert_eq!(futures_util::FutureExt::now_or_never(subscription.in_effect()), Some(true));
    assert_eq!(told(&subscriber).await, link(2, None));
    let fresh = nodes[0].subscriber();
    listen(&fresh, Kind::Channel, "fresh");
    network.heal();
    assert_eq!(told(&subscriber).await, link(2, None));
    say(&nodes[1], "fresh", "hi");
    assert_eq!(heard(&fresh).await, "hi", "nothing was withheld of what had not been pruned");
}

#[tokio::test(start_paused = true)]
async fn death_of_a_publisher_is_told_and_a_planned_leave_is_not() {
    let network = MemoryNetwork::new(37);
    let nodes = nodes(&network, 3).await;
    let subscriber = nodes[0].subscriber();
    listen(&subscriber, Kind::Channel, "news");
    say(&nodes[1], "news", "last words");
    nodes[1].stop().await;
    nodes[0].unlink(id(2));
    assert_eq!(heard(&subscriber).await, "last words");
    until("the end", || nodes[0].hub().state().arrivals.get(id(2)).is_none()).await;
    assert_eq!(subscriber.try_receive(), Ok(None), "a planned leave loses nothing");
    network.remove(address(3));
    until("the end", || !nodes[0].hub().state().ways_back.contains_key(&id(3))).await;
    assert_eq!(subscriber.try_receive(), Ok(None), "it may come back");
    nodes[0].unlink(id(3));
    assert_eq!(told(&subscriber).await, link(3, None));
}

#[tokio::test(start_paused = true)]
async fn what_was_published_before_a_link_is_told_to_who_listened_already() {
    for is_early in [true, false] {
        let network = MemoryNetwork::new(40);
        let (_one, listener) = node_with(&network, 1, Config::default(), 1).await;
        let (_two, publisher) = node_with(&network, 2, Config::default(), 1).await;
        let subscriber = listener.subscriber();
        listen(&subscriber, Kind::Channel, "news");
        if is_early {
            say(&publisher, "news", "to nobody yet");
        }
        listener.attach(id(2), address(2)).await.unwrap();
        publisher.attach(id(1), address(1)).await.unwrap();
        if is_early {
            assert_eq!(told(&subscriber).await, link(2, None));
        }
        say(&publisher, "news", "hi");
        assert_eq!(heard(&subscriber).await, "hi");
        assert_eq!(subscriber.try_receive(), Ok(None));
    }
}

#[tokio::test(start_paused = true)]
async fn death_of_a_publisher_that_was_never_heard_is_told() {
    let network = MemoryNetwork::new(44);
    let (_one, node) = node_with(&network, 1, Config::default(), 1).await;
    let (_two, unheard) = node_with(&network, 2, Config::default(), 1).await;
    network.cut(address(2), address(1));
    let subscriber = node.subscriber();
    listen(&subscriber, Kind::Channel, "news");
    node.link(id(2), address(2));
    unheard.link(id(1), address(1));
    say(&unheard, "news", "lost");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(subscriber.try_receive(), Ok(None));
    node.unlink(id(2));
    assert_eq!(told(&subscriber).await, link(2, None));
}

#[tokio::test(start_paused = true)]
async fn who_was_apart_may_have_missed_nodes_that_nobody_here_knows() {
    let node = PubSub::local(Config::default());
    let (subscriber, idle) = (node.subscriber(), node.subscriber());
    listen(&subscriber, Kind::Channel, "news");
    node.was_apart();
    assert_eq!(told(&subscriber).await, Lost { cause: Cause::Links, count: None });
    assert_eq!(idle.try_receive(), Ok(None), "who listens to nothing misses nothing");
}

#[tokio::test(start_paused = true)]
async fn gap_of_a_broken_link_is_told_with_its_count() {
    let network = MemoryNetwork::new(38);
    let nodes = nodes(&network, 2).await;
    let (subscriber, idle) = (nodes[0].subscriber(), nodes[0].subscriber());
    listen(&subscriber, Kind::Channel, "news");
    network.cut(address(2), address(1));
    for _ in 0..3 {
        say(&nodes[1], "news", "lost");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("the end", || !report(&nodes[1], 1).is_up).await;
    network.heal();
    assert_eq!(told(&subscriber).await, link(2, Some(3)));
    say(&nodes[1], "news", "hi");
    assert_eq!(heard(&subscriber).await, "hi");
    assert_eq!(idle.try_receive(), Ok(None), "who listens to nothing misses nothing");
}

#[tokio::test(start_paused = true)]
async fn tables_without_room_make_it_and_never_grow() {
    let network = MemoryNetwork::new(39);
    let config = || Config { prunes_max: 4, ..Config::default() };
    let (_one, listener) = node_with(&network, 1, config(), 1).await;
    let (_two, publisher) = node_with(&network, 2, config(), 1).await;
    listener.attach(id(2), address(2)).await.unwrap();
    publisher.attach(id(1), address(1)).await.unwrap();
    for round in 0..20 {
        for channel in 0..8 {
            for _ in 0..8 {
                say(&publisher, &format!("c{channel}"), "in vain");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (made, held) =
                (report(&listener, 2).prunes_made, report(&publisher, 1).prunes_held);
            assert!(made <= 4 && held <= 4, "round {round}: {made} {held}");
        }
    }
    assert!(report(&listener, 2).grafts > 5);
    let subscriber = listener.subscriber();
    for channel in 0..8 {
        let name = format!("c{channel}");
        subscriber.subscribe(Kind::Channel, name.as_bytes()).unwrap().in_effect().await;
        say(&publisher, &name, "hi");
        assert_eq!(received(&subscriber).await.channel, name);
    }
}

/// Opens a stream as a lane does.
async fn raw(transport: &Transport, to: u8, attempt: u64) -> (FrameSender, FrameReceiver) {
    let peer = Peer { id: Some(id(to)), address: address(to) };
    let (mut sender, receiver, _) = transport.open(&peer, lane::PURPOSE).await.unwrap();
    let hello = Hello { generation: 1, attempt, lane: 1, next: 0 };
    sender.send(wire::control(&Control::Hello(hello))).await.unwrap();
    (sender, receiver)
}

async fn answer(receiver: &mut FrameReceiver) -> Control {
    let frame = timeout(SOON, receiver.receive()).await.expect("no answer").unwrap().unwrap();
    let Frame::Control(control) = wire::decode(frame).unwrap() else { panic!("no control frame") };
    control
}

#[tokio::test(start_paused = true)]
async fn graft_that_makes_room_comes_behind_its_prune() {
    let network = MemoryNetwork::new(43);
    let config = Config { prunes_max: 1, prune_after: 1, ..Config::default() };
    let (_node_transport, _node) = node_with(&network, 1, config, 1).await;
    let (transport, _silent) = node_with(&network, 2, Config::default(), 1).await;
    let (mut sender, mut receiver) = raw(&transport, 1, 1).await;
    // They are taken in together.
    let message = |channel: &[u8]| wire::message(Kind::Channel, 0, 0, channel, b"hi");
    sender.send_all(&mut vec![message(b"first"), message(b"second")]).await.unwrap();
    let names = vec![(Kind::Channel, Bytes::from_static(b"first"))];
    assert_eq!(answer(&mut receiver).await, Control::Prune { names: names.clone() });
    let Control::Graft { names: asked, .. } = answer(&mut receiver).await else {
        panic!("a graft is due");
    };
    assert_eq!(asked, names);
}

#[tokio::test(start_paused = true)]
async fn publisher_that_acknowledges_nothing_loses_its_stream() {
    let network = MemoryNetwork::new(40);
    let node = node(&network, 1).await;
    let (transport, _silent) = node_with(&network, 2, Config::default(), 1).await;
    let (mut sender, mut receiver) = raw(&transport, 1, 1).await;
    let message = wire::message(Kind::Channel, 0, 0, b"busy", b"hi");
    sender.send_all(&mut vec![message; 8]).await.unwrap();
    let names = vec![(Kind::Channel, Bytes::from_static(b"busy"))];
    assert_eq!(answer(&mut receiver).await, Control::Prune { names: names.clone() });
    let subscriber = node.subscriber();
    let subscription = subscriber.subscribe(Kind::Channel, b"busy").unwrap();
    let Control::Graft { id: graft, names: asked } = answer(&mut receiver).await else {
        panic!("a graft is due");
    };
    assert_eq!(asked, names);
    // What belongs to an earlier stream says nothing.
    let stale = Control::Grafted { attempt: 0, id: graft };
    sender.send(wire::control(&stale)).await.unwrap();
    let started = Instant::now();
    assert!(timeout(SOON, subscription.in_effect()).await.unwrap());
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(4) && waited <= Duration::from_secs(10), "{waited:?}");
    assert_eq!(told(&subscriber).await, link(2, None));
    assert!(timeout(SOON, receiver.receive()).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn listener_that_asks_what_it_must_not_loses_the_stream() {
    let network = MemoryNetwork::new(41);
    let (transport, incoming) = silent(&network, 1).await;
    let publisher = node(&network, 2).await;
    let mut incoming = incoming;
    publisher.link(id(1), address(1));
    let pattern = vec![(Kind::Pattern, Bytes::from_static(b"a*"))];
    let long = vec![(Kind::Channel, Bytes::from(vec![0; 8 * 1024 + 1]))];
    let many = vec![(Kind::Channel, Bytes::new()); wire::NAMES_MAX + 1];
    let broken = [
        Control::Prune { names: pattern.clone() },
        Control::Graft { id: 1, names: pattern },
        Control::Prune { names: long.clone() },
        Control::Graft { id: 1, names: long },
        Control::Prune { names: many.clone() },
        Control::Graft { id: 1, names: many },
        Control::Grafted { attempt: 1, id: 1 },
    ];
    let mut attempts = BTreeSet::new();
    for control in broken {
        let mut stream = timeout(SOON, incoming.accept()).await.unwrap().unwrap();
        let Control::Hello(hello) = answer(&mut stream.receiver).await else { panic!("no hello") };
        assert!(attempts.insert(hello.attempt));
        stream.sender.send(wire::control(&control)).await.unwrap();
        assert!(timeout(SOON, stream.receiver.receive()).await.unwrap().is_err(), "{control:?}");
    }
    let mut stream = timeout(SOON, incoming.accept()).await.unwrap().unwrap();
    let Control::Hello(hello) = answer(&mut stream.receiver).await else { panic!("no hello") };
    let names = vec![(Kind::Channel, Bytes::from_static(b"c"))];
    stream.sender.send(wire::control(&Control::Prune { names: names.clone() })).await.unwrap();
    until("the prune", || report(&publisher, 1).prunes_held == 1).await;
    say(&publisher, "c", "withheld");
    stream.sender.send(wire::control(&Control::Graft { id: 77, names })).await.unwrap();
    let grafted = Control::Grafted { attempt: hello.attempt, id: 77 };
    assert_eq!(answer(&mut stream.receiver).await, grafted);
    drop(transport);
}

#[tokio::test(start_paused = true)]
async fn unreliable_messages_are_pruned_as_others() {
    let network = MemoryNetwork::new(42);
    let nodes = nodes(&network, 2).await;
    let send = || nodes[1].publish_unreliable(Kind::Channel, b"place", Bytes::from_static(b"x,y"));
    until("the prune", || {
        assert_eq!(send(), Ok(0));
        report(&nodes[1], 1).prunes_held == 1
    })
    .await;
    let before = report(&nodes[1], 1).withheld;
    assert_eq!(send(), Ok(0));
    assert_eq!(report(&nodes[1], 1).withheld, before + 1);
    let subscriber = nodes[0].subscriber();
    assert!(subscriber.subscribe(Kind::Channel, b"place").unwrap().in_effect().await);
    assert_eq!(send(), Ok(0));
    assert_eq!(heard(&subscriber).await, "x,y");
}
