//! Who gets what, in which order, and how often it is counted.
//!
//! Owns the tests without faults. Invariant: the numbers expected here are those of Redis.

use super::*;

#[tokio::test(start_paused = true)]
async fn fresh_subscription_misses_nothing_from_any_node() {
    let network = MemoryNetwork::new(1);
    let nodes = nodes(&network, 3).await;
    let subscriber = nodes[0].subscriber();
    for round in 0..1_000 {
        let channel = format!("ipc:{round}");
        assert!(subscriber.subscribe(Kind::Channel, channel.as_bytes()).unwrap().in_effect().await);
        say(&nodes[1], &channel, "from 2");
        say(&nodes[2], &channel, "from 3");
        let mut got = [heard(&subscriber).await, heard(&subscriber).await];
        got.sort();
        assert_eq!(got, ["from 2", "from 3"], "round {round}");
        assert!(subscriber.unsubscribe(Kind::Channel, channel.as_bytes()));
    }
    assert_eq!(subscriber.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_publisher_is_heard_in_order_across_channels() {
    let network = MemoryNetwork::new(2);
    let nodes = nodes(&network, 2).await;
    let lossy = crate::transport::Link {
        loss: 0.05,
        jitter: Duration::from_millis(5),
        ..crate::transport::Link::default()
    };
    network.set_default(lossy);
    let subscriber = nodes[0].subscriber();
    for channel in ["c0", "c1", "c2"] {
        subscriber.subscribe(Kind::Channel, channel.as_bytes()).unwrap().in_effect().await;
    }
    subscriber.subscribe(Kind::Pattern, b"p*").unwrap().in_effect().await;
    for number in 0..2_000_u32 {
        let channel = ["c0", "p1", "c1", "p2", "c2", "nobody"][number as usize % 6];
        let wants_count = number % 2 == 0;
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        drop(nodes[1].publish(Kind::Channel, channel.as_bytes(), payload, wants_count).unwrap());
    }
    for number in (0..2_000_u32).filter(|number| number % 6 != 5) {
        assert_eq!(heard(&subscriber).await, number.to_be_bytes()[..]);
    }
    assert_eq!(report(&nodes[0], 2).missed, 0);
    assert_eq!(nodes[1].hub().state().counts.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn messages_published_together_come_in_order_and_are_counted_one_by_one() {
    let network = MemoryNetwork::new(9);
    let nodes = nodes(&network, 3).await;
    let subscribers: Vec<Subscriber> = nodes.iter().map(PubSub::subscriber).collect();
    for subscriber in &subscribers {
        subscriber.subscribe(Kind::Channel, b"a").unwrap().in_effect().await;
    }
    subscribers[1].subscribe(Kind::Pattern, b"b*").unwrap().in_effect().await;
    let too_long = "b".repeat(9 * 1024);
    let draft = |number: usize| Draft {
        kind: Kind::Channel,
        channel: match number % 10 {
            0..7 => Bytes::from_static(b"a"),
            7 => Bytes::from(too_long.clone()),
            8 => Bytes::from_static(b"b1"),
            _ => Bytes::from_static(b"nobody"),
        },
        payload: Bytes::from(number.to_string()),
    };
    let drafts: Vec<Draft> = (0..200).map(draft).collect();
    let mut told = Vec::new();
    for count in nodes[0].publish_all(&drafts, true) {
        told.push(match count {
            Ok(count) => count.await.to_string(),
            Err(error) => error.to_string(),
        });
    }
    let expected = |number: usize| match number % 10 {
        0..7 => "3".to_owned(),
        7 => Error::NameTooLong { size: 9 * 1024, limit: 8 * 1024 }.to_string(),
        8 => "1".to_owned(),
        _ => "0".to_owned(),
    };
    assert_eq!(told, (0..200).map(expected).collect::<Vec<_>>());
    for (place, subscriber) in subscribers.iter().enumerate() {
        let is_heard = |number: &usize| number % 10 < 7 || (place == 1 && number % 10 == 8);
        for number in (0..200).filter(is_heard) {
            assert_eq!(heard(subscriber).await, number.to_string());
        }
        assert_eq!(taken(subscriber), None);
    }
}

#[tokio::test(start_paused = true)]
async fn counts_cover_the_cluster() {
    let network = MemoryNetwork::new(3);
    let nodes = nodes(&network, 3).await;
    let subscribers: Vec<Subscriber> = nodes.iter().map(PubSub::subscriber).collect();
    assert_eq!(count(&nodes[0], Kind::Channel, "news").await, 0);
    for subscriber in &subscribers {
        subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    }
    subscribers[2].subscribe(Kind::Pattern, b"n*").unwrap().in_effect().await;
    subscribers[2].subscribe(Kind::Pattern, b"*w*").unwrap().in_effect().await;
    subscribers[1].subscribe(Kind::Pattern, b"n*").unwrap().in_effect().await;
    subscribers[1].subscribe(Kind::Sharded, b"news").unwrap().in_effect().await;
    for node in &nodes {
        assert_eq!(count(node, Kind::Channel, "news").await, 6);
        assert_eq!(count(node, Kind::Channel, "now").await, 3);
        assert_eq!(count(node, Kind::Sharded, "news").await, 1);
    }
    let first = received(&subscribers[2]).await;
    let second = received(&subscribers[2]).await;
    assert_eq!((first.kind, first.pattern), (Kind::Channel, None));
    assert_eq!((second.kind, second.channel), (Kind::Pattern, Bytes::from_static(b"news")));
    assert_eq!((subscribers[1].count(), subscribers[1].sharded_count()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn questions_cover_the_cluster() {
    let network = MemoryNetwork::new(4);
    let nodes = nodes(&network, 3).await;
    let subscribers: Vec<Subscriber> = nodes.iter().map(PubSub::subscriber).collect();
    let name = |text: &'static str| Bytes::from_static(text.as_bytes());
    subscribers[0].subscribe(Kind::Channel, b"b1").unwrap().in_effect().await;
    subscribers[1].subscribe(Kind::Channel, b"b1").unwrap().in_effect().await;
    subscribers[1].subscribe(Kind::Channel, b"a1").unwrap().in_effect().await;
    subscribers[2].subscribe(Kind::Sharded, b"s1").unwrap().in_effect().await;
    subscribers[2].subscribe(Kind::Pattern, b"*").unwrap().in_effect().await;
    subscribers[0].subscribe(Kind::Pattern, b"*").unwrap().in_effect().await;
    subscribers[0].subscribe(Kind::Pattern, b"b*").unwrap().in_effect().await;
    let asker = &nodes[2];
    assert_eq!(asker.channels(Kind::Channel, None).await, ["a1", "b1"]);
    assert_eq!(asker.channels(Kind::Channel, Some(name("b*"))).await, ["b1"]);
    assert_eq!(asker.channels(Kind::Sharded, None).await, ["s1"]);
    let asked = vec![name("b1"), name("none"), name("a1"), name("b1")];
    assert_eq!(asker.subscriber_counts(Kind::Channel, asked).await, [2, 0, 1, 2]);
    assert_eq!(asker.pattern_count().await, 2);
    assert_eq!(asker.hub().state().questions.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn long_lists_come_whole() {
    let network = MemoryNetwork::new(5);
    let config = Config { count_timeout: Duration::from_secs(10), ..Config::default() };
    let (_one, asker) = node_with(&network, 1, config, 1).await;
    let other = node(&network, 2).await;
    asker.attach(id(2), address(2)).await.unwrap();
    let subscriber = other.subscriber();
    let names: Vec<Bytes> = (0..2_000).map(|n| Bytes::from(format!("{n:0>600}"))).collect();
    for name in &names {
        subscriber.subscribe(Kind::Channel, name).unwrap().in_effect().await;
    }
    assert_eq!(asker.channels(Kind::Channel, None).await, names);
    let counts = asker.subscriber_counts(Kind::Channel, names).await;
    assert_eq!((counts.len(), counts.iter().sum()), (2_000, 2_000_u64));
}

#[tokio::test(start_paused = true)]
async fn unsubscribed_and_dropped_subscribers_get_nothing() {
    let pubsub = PubSub::local(Config::default());
    let (one, other) = (pubsub.subscriber(), pubsub.subscriber());
    one.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    other.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    assert_eq!(count(&pubsub, Kind::Channel, "news").await, 2);
    assert!(one.unsubscribe(Kind::Channel, b"news"));
    drop(other);
    assert_eq!(count(&pubsub, Kind::Channel, "news").await, 0);
    assert!(one.try_receive().unwrap().is_some());
    assert_eq!(one.try_receive(), Ok(None));
    assert_eq!(pubsub.channels(Kind::Channel, None).await, Vec::<Bytes>::new());
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_both_numbers() {
    let pubsub = PubSub::local(Config::default());
    let mib = 1024 * 1024;
    let large = Bytes::from(vec![0; 16 * mib]);
    let refused = pubsub.publish(Kind::Channel, b"c", large.clone(), false).err();
    let (size, limit) = (16 * mib as u64 + 1, 16 * mib as u64);
    assert_eq!(refused, Some(Error::MessageTooLarge { size, limit }));
    assert!(pubsub.publish(Kind::Channel, b"", large, false).is_ok());
    let name = vec![0; 8 * 1024 + 1];
    let refused = pubsub.publish(Kind::Channel, &name, Bytes::new(), false).err();
    let too_long = Error::NameTooLong { size: 8 * 1024 + 1, limit: 8 * 1024 };
    assert_eq!(refused.as_ref(), Some(&too_long));
    assert_eq!(pubsub.subscriber().subscribe(Kind::Pattern, &name).err(), Some(too_long));
}

#[test]
fn threads_that_publish_at_once_are_each_heard_in_order() {
    let pubsub = PubSub::local(Config::default());
    let subscriber = pubsub.subscriber();
    listen(&subscriber, Kind::Pattern, "from *");
    let (threads, each) = (4_u32, 2_000_u32);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let pubsub = &pubsub;
            scope.spawn(move || {
                let own = pubsub.subscriber();
                for number in 0..each {
                    let channel = format!("from {thread} {}", number % 3);
                    listen(&own, Kind::Channel, &channel);
                    say(pubsub, &channel, number.to_be_bytes().to_vec());
                    assert!(own.unsubscribe(Kind::Channel, channel.as_bytes()));
                    assert_eq!(taken(&own).unwrap().payload, number.to_be_bytes()[..]);
                }
            });
        }
    });
    let mut next = vec![0_u32; threads as usize];
    while let Some(message) = taken(&subscriber) {
        let thread = usize::from(message.channel[5] - b'0');
        assert_eq!(message.payload, next[thread].to_be_bytes()[..]);
        next[thread] += 1;
    }
    assert_eq!(next, vec![each; threads as usize]);
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_are_sent_before_the_end() {
    let network = MemoryNetwork::new(6);
    let nodes = nodes(&network, 2).await;
    let subscriber = nodes[0].subscriber();
    subscriber.subscribe(Kind::Channel, b"news").unwrap().in_effect().await;
    (0..=250).for_each(|n| say(&nodes[1], "news", vec![n; 2_000]));
    nodes[1].stop().await;
    for n in 0..=250 {
        assert_eq!(heard(&subscriber).await, vec![n; 2_000]);
    }
    let late = nodes[1].publish(Kind::Channel, b"news", Bytes::new(), false);
    assert_eq!(late.err(), Some(Error::Closed));
    let ended = nodes[1].subscriber();
    assert_eq!(ended.receive().await, Err(Error::Closed));
}
