//! Publishing on one node: the table, the queues and the payload, without a network.
//!
//! Owns the measurement. Does not measure lanes. Budget, back of the envelope for one core: with no subscriber one lock
//! and two lookups, 200 ns; with one subscriber also a copy of the payload, a queue and its receiving end, 400 ns; with 100
//! of them 100 × 60 ns to queue and 100 × 40 ns to receive, 10 µs. 10,000 patterns with other beginnings must cost one lookup
//! more, not 10,000. For comparison, Redis 7.0 on the same kind of machine publishes 93,000 messages a second to one
//! subscriber and 23,000 to a hundred (2.3 million deliveries), its sockets included.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate::command::glob;
use quorate::pubsub::{Config, Kind, PubSub, Subscriber};

/// Where patterns are in the way: it looks like what they match, and none does.
const BUSY: &[u8] = b"room:lobby:77777:x:chat";
const PAYLOAD: Bytes = Bytes::from_static(&[7; 64]);

fn listen(subscriber: &Subscriber, kind: Kind, name: &[u8]) {
    let subscription = subscriber.subscribe(kind, name).expect("below the limit");
    assert!(subscription.is_new());
}

fn listeners(pubsub: &PubSub, count: usize) -> Vec<Subscriber> {
    let listen = |_| {
        let subscriber = pubsub.subscriber();
        listen(&subscriber, Kind::Channel, b"news");
        subscriber
    };
    (0..count).map(listen).collect()
}

fn publish(pubsub: &PubSub) {
    let count = pubsub.publish(Kind::Channel, b"news", PAYLOAD, false);
    drop(black_box(count.expect("the message is small")));
}

fn receive(listeners: &[Subscriber]) {
    for listener in listeners {
        black_box(listener.try_receive().expect("nobody is behind"));
    }
}

fn fan_out(criterion: &mut Criterion) {
    for count in [0, 1, 100] {
        let pubsub = PubSub::local(Config::default());
        let listeners = listeners(&pubsub, count);
        criterion.bench_function(&format!("publish to {count} subscribers"), |bencher| {
            bencher.iter(|| {
                publish(&pubsub);
                receive(&listeners);
            });
        });
    }
}

/// 10,000 patterns of each class, none of which matches what is published, and for comparison what it takes to hold each of
/// them against the channel.
fn patterns(criterion: &mut Criterion) {
    for (class, family) in [
        ("of which there are none", ""),
        ("by beginning", "room:{}:*"),
        ("by ending", "room:*:{}"),
        ("by part", "*:{}:*"),
        ("that begin and end alike", "room:*:{}:*:chat"),
        ("of signs alone", ""),
    ] {
        let count = if class == "of which there are none" { 0 } else { 10_000 };
        let names: Vec<String> = (0..count)
            .map(|number| match class {
                "of signs alone" => {
                    format!("{:?<1$}", "", 5 + number % 100) + &"[0-9]".repeat(1 + number / 100)
                }
                _ => family.replace("{}", &format!("{number:05}")),
            })
            .collect();
        let pubsub = PubSub::local(Config::default());
        let others = pubsub.subscriber();
        names.iter().for_each(|name| listen(&others, Kind::Pattern, name.as_bytes()));
        let listener = pubsub.subscriber();
        listen(&listener, Kind::Channel, BUSY);
        let title = format!("publish to 1 subscriber beside 10,000 patterns {class}");
        criterion.bench_function(&title, |bencher| {
            bencher.iter(|| {
                drop(black_box(pubsub.publish(Kind::Channel, BUSY, PAYLOAD, false)));
                black_box(listener.try_receive().expect("it is not behind"));
            });
        });
        criterion.bench_function(&format!("10,000 patterns {class}, each matched"), |bencher| {
            let matches = |name: &&String| glob::matches(name.as_bytes(), black_box(BUSY));
            bencher.iter(|| black_box(names.iter().filter(matches).count()));
        });
    }
}

fn reply_channel(criterion: &mut Criterion) {
    let pubsub = PubSub::local(Config::default());
    let subscriber = pubsub.subscriber();
    let mut number = 0_u64;
    criterion.bench_function(
        "subscribe to a fresh channel, publish, receive, unsubscribe",
        |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    format!("ipc:{number}")
                },
                |channel| {
                    let channel = channel.as_bytes();
                    listen(&subscriber, Kind::Channel, channel);
                    drop(pubsub.publish(Kind::Channel, channel, PAYLOAD, false));
                    black_box(subscriber.try_receive().expect("it is not behind"));
                    black_box(subscriber.unsubscribe(Kind::Channel, channel));
                },
                BatchSize::SmallInput,
            );
        },
    );
}

criterion_group!(benches, fan_out, patterns, reply_channel);
criterion_main!(benches);
