//! Subscribers that do not keep up: what waits for them, what they lose, and how they hear of it.
//!
//! Owns clients that read late. Messages are so many that no socket takes them all.

use bytesize::ByteSize;

use super::*;
use crate::pubsub::SubscribersReport;

const SIZE: usize = 50_000;
const COUNT: u64 = 600;

/// A door at which at most a megabyte of messages waits for a client.
async fn narrow_door() -> Door {
    Door::open_with(|config| config.output_pubsub_hard_max = ByteSize::mib(1)).await
}

impl Door {
    /// Publishes large messages that begin with their number, while the door's tasks run now and then.
    async fn flood(&self, channel: &str, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let payload = format!("{number:05}{}", "x".repeat(SIZE));
            let channel = channel.as_bytes();
            drop(self.node.pubsub.publish(Kind::Channel, channel, payload.into(), false).unwrap());
            tokio::task::yield_now().await;
        }
    }

    fn subscribers(&self) -> SubscribersReport {
        self.node.pubsub.subscribers_report()
    }
}

/// What a push says: the number of a message, or how many are lost.
enum Heard {
    Number(u64),
    Lost(u64),
}

impl Client {
    async fn hear(&mut self) -> Heard {
        let Some(Value::Push(items) | Value::Array(items)) = self.next().await else {
            panic!("a push");
        };
        match &items[..] {
            [Value::Bulk(name), _, Value::Bulk(payload)] if &name[..] == b"message" => {
                Heard::Number(std::str::from_utf8(&payload[..5]).unwrap().parse().unwrap())
            }
            [Value::Bulk(name), Value::Bulk(cause), Value::Integer(count), Value::Nil] => {
                assert_eq!((&name[..], &cause[..]), (&b"quorate.lost"[..], &b"slow"[..]));
                Heard::Lost(u64::try_from(*count).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_slow_subscriber_by_oldest_stays_and_is_told_each_gap() {
    let door = narrow_door().await;
    let mut a = door.connect().await;
    a.request("HELLO 3\nQUORATE.SUBSCRIBER POLICY oldest\nSUBSCRIBE c").await;
    assert!(a.next_text().await.starts_with('{'));
    assert_eq!(a.next_text().await, "+OK");
    assert_eq!(a.next_text().await, ">['subscribe' 'c' :1]");
    door.flood("c", 0..COUNT).await;
    let report = door.subscribers();
    assert!(report.queues.queued_bytes <= 1 << 20, "{report:?}");
    let (mut next, mut lost, mut all_lost) = (0, 0, 0);
    while next < COUNT {
        match a.hear().await {
            Heard::Lost(count) => {
                lost += count;
                all_lost += count;
            }
            Heard::Number(number) => {
                assert_eq!(number, next + lost);
                (next, lost) = (number + 1, 0);
            }
        }
    }
    assert!(all_lost > 0);
    assert_eq!(door.subscribers().queues.counters.lost_slow, all_lost);
    let mut b = door.connect().await;
    b.request("INFO pubsub\nCLIENT LIST TYPE pubsub").await;
    let info = b.next_text().await;
    assert!(info.contains(&format!("pubsub_lost_slow:{all_lost}\r\n")), "{info}");
    let list = b.next_text().await;
    assert!(list.contains(&format!(" lost={all_lost}\n")), "{list}");
    a.check_quiet().await;
}

#[tokio::test]
async fn losses_are_only_counted_on_resp2_or_when_they_are_off() {
    let door = narrow_door().await;
    for hello in [
        "HELLO 2\nQUORATE.SUBSCRIBER POLICY oldest",
        "HELLO 3\nQUORATE.SUBSCRIBER LOSSES off POLICY OLDEST",
    ] {
        let mut a = door.connect().await;
        a.request(hello).await;
        a.next().await.unwrap();
        assert_eq!(a.next_text().await, "+OK");
        a.request("SUBSCRIBE c").await;
        a.next().await.unwrap();
        door.flood("c", 0..COUNT).await;
        let (mut next, mut heard) = (0, 0);
        while next < COUNT {
            let Heard::Number(number) = a.hear().await else { panic!("a loss is told") };
            assert!(number >= next);
            (next, heard) = (number + 1, heard + 1);
        }
        a.request("QUORATE.SUBSCRIBER").await;
        let told = a.next_text().await;
        assert!(told.contains(&format!(":{}", COUNT - heard)), "{told}");
    }
}

#[tokio::test]
async fn a_slow_subscriber_by_latest_gets_the_newest_of_each_channel() {
    let door = narrow_door().await;
    let mut a = door.connect().await;
    a.request("HELLO 3\nQUORATE.SUBSCRIBER POLICY latest\nSUBSCRIBE a b").await;
    for _ in 0..4 {
        a.next().await.unwrap();
    }
    for step in 0..COUNT / 2 {
        door.flood("a", 2 * step..2 * step + 1).await;
        door.flood("b", 2 * step + 1..2 * step + 2).await;
    }
    let (mut last, mut heard) = (0, 0);
    while last < COUNT - 1 {
        let Heard::Number(number) = a.hear().await else { panic!("nothing is lost") };
        assert!(number >= last);
        (last, heard) = (number, heard + 1);
    }
    let counters = door.subscribers().queues.counters;
    assert_eq!((counters.lost_slow, counters.replaced), (0, COUNT - heard));
    assert!(counters.replaced > 0);
    a.check_quiet().await;
}

#[tokio::test]
async fn what_waits_stands_before_the_confirmation_that_it_is_over() {
    let door = Door::open().await;
    let mut a = door.connect().await;
    a.check("SUBSCRIBE c\nQUORATE.SUBSCRIBER CAUSAL on", &["['subscribe' 'c' :1]", "+OK"]).await;
    door.flood("c", 0..COUNT).await;
    assert!(door.subscribers().queues.queued_bytes > 1 << 20);
    a.request("UNSUBSCRIBE c\nPING").await;
    for expected in 0..COUNT {
        let Heard::Number(number) = a.hear().await else { panic!("a loss is told") };
        assert_eq!(number, expected);
    }
    assert_eq!(a.next_text().await, "['unsubscribe' 'c' :0]");
    assert_eq!(a.next_text().await, "+PONG");
    a.request("QUORATE.SUBSCRIBER").await;
    assert!(a.next_text().await.contains("'causal' 'on'"));
}

#[tokio::test]
async fn a_subscriber_that_is_cut_holds_no_more_than_its_limit() {
    let door = narrow_door().await;
    let mut a = door.connect().await;
    a.check("SUBSCRIBE c", &["['subscribe' 'c' :1]"]).await;
    let mut most = 0;
    while door.subscribers().subscribers > 0 {
        door.flood("c", 0..1).await;
        most = most.max(door.subscribers().queues.queued_bytes);
    }
    assert!(most <= 1 << 20, "{most}");
    assert_eq!(door.subscribers().queues.counters.overflows, 1);
    while a.next().await.is_some() {}
}

#[tokio::test]
async fn choices_are_told_refused_whole_and_forgotten_by_reset() {
    let door = Door::open().await;
    let mut a = door.connect().await;
    let told = |policy: &str, losses: &str, causal: &str| {
        format!(
            "['policy' '{policy}' 'losses' '{losses}' 'causal' '{causal}' 'queued' :0 'queued-bytes' :0 'lost-slow' :0 \
             'lost-link' :0 'lost-uncounted' :0 'replaced' :0]"
        )
    };
    let own = "QUORATE.SUBSCRIBER";
    a.check(own, &[&told("disconnect", "on", "off")]).await;
    a.check("quorate.subscriber policy Latest losses OFF causal on", &["+OK"]).await;
    for wrong in ["POLICY", "POLICY none", "LOSSES maybe", "POLICY oldest CAUSAL", "ODD on"] {
        a.check(&format!("{own} {wrong}"), &["-ERR syntax error"]).await;
    }
    a.check(own, &[&told("latest", "off", "on")]).await;
    a.check(&format!("RESET\n{own}"), &["+RESET", &told("disconnect", "on", "off")]).await;
    a.check(
        "CONFIG GET client-output-buffer-limit",
        &["['client-output-buffer-limit' 'normal 268435456 0 0 slave 0 0 0 pubsub 33554432 8388608 60']"],
    )
    .await;
}
