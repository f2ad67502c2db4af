//! What can be tested of a presence without other processes.
//!
//! Owns scenarios on [`LocalPresence`] and on a node that is alone; the replies of all calls are compared by the conformance
//! suite. Invariant: every wait has a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::asked::Parsed;
use super::patience::Patience;
use super::{Asked, ClusterPresence, Config, Error, LocalPresence, Presence, Queue, Subscription};
use crate::command::{Command, Reply};
use crate::node::bind::{Bind, BindTo};
use crate::node::{self, Node};
use crate::time::{Clock, Timestamp};

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), work).await.expect("it takes too long")
}

async fn payload(subscription: &Subscription) -> Option<Bytes> {
    soon(subscription.next()).await.and_then(super::Delivery::payload)
}

async fn alone() -> ClusterPresence {
    let mut config = node::Config::default();
    config.node.listen = ([127, 0, 0, 1], 0).into();
    ClusterPresence::new(Node::start(config).await.unwrap())
}

fn both(cluster: ClusterPresence) -> [Arc<dyn Presence>; 2] {
    [Arc::new(LocalPresence::default()), Arc::new(cluster)]
}

#[tokio::test(start_paused = true)]
async fn a_key_of_one_process_expires_by_its_clock() {
    let presence = LocalPresence::new(Clock::simulated(Timestamp::from_millis(1_000_000)));
    presence.setex("k", "v".into(), 2).await.unwrap();
    assert_eq!(presence.hincrbyex("h", "f", 2, 1).await, Ok(2));
    tokio::time::advance(Duration::from_millis(1_500)).await;
    assert!(presence.exists("k").await.unwrap() && !presence.exists("h").await.unwrap());
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(presence.get("k").await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_time_or_its_caller_and_leaves_no_place() {
    let presence = LocalPresence::new(Clock::simulated(Timestamp::from_millis(1_000_000)));
    assert_eq!(presence.brpop(&["l"], Some(Duration::from_millis(50))).await, Ok(None));
    assert!(timeout(Duration::from_millis(50), presence.brpop(&["l"], None)).await.is_err());
    assert_eq!(presence.rpush("l", vec!["e".into()]).await, Ok(1), "nobody waits");
    assert_eq!(presence.brpop(&["m", "l"], None).await, Ok(Some(("l".into(), "e".into()))));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_process_was_stopped_costs_no_patience() {
    let mut patience = Patience::new(Duration::from_secs(2));
    patience.watch(tokio::time::advance(Duration::from_secs(60))).await;
    assert!(patience.spent() <= Duration::from_millis(500), "{:?}", patience.spent());
    assert!(patience.again().await, "a stall is no reason to give up");
    let begun = tokio::time::Instant::now();
    assert_eq!(patience.bound(std::future::pending::<()>()).await, None);
    assert!(begun.elapsed() < Duration::from_secs(2) && !patience.again().await);
    patience.watch(tokio::time::sleep(Duration::from_secs(60))).await;
    assert!(patience.spent() >= Duration::from_secs(60), "time in which it ran does count");
}

#[test]
fn only_what_leaves_the_same_behind_may_be_done_twice() {
    let words = |text: &str| text.split(' ').map(|word| word.to_owned().into()).collect::<Vec<_>>();
    let parsed = |asked: &Asked| Parsed::new(asked, 64, |_| false).unwrap();
    for (text, may_repeat) in [
        ("GET k", true),
        ("SET k v", true),
        ("set k v", true),
        ("SET k v NX", false),
        ("SET k v GET", false),
        ("HSET k f v", true),
        ("HSETNX k f v", false),
        ("HDEL k f", true),
        ("DEL k", true),
        ("INCR k", false),
        ("HINCRBY k f 1", false),
        ("RPUSH k v", false),
        ("RPOP k", false),
        ("SPOP k", false),
    ] {
        assert_eq!(parsed(&Asked::one(words(text))).is_repeatable, may_repeat, "{text}");
        let both = Asked::transaction(vec![words("EXPIRE k 1"), words(text)]);
        assert_eq!(parsed(&both).is_repeatable, may_repeat, "EXPIRE and {text}");
    }
    let refused =
        parsed(&Asked::transaction(vec![words("GET"), words("GET k"), words("EXPIRE k x")]));
    let Reply::Array(replies) = refused.complete(Reply::Array(vec![Reply::Nil])) else {
        panic!("a transaction has an array");
    };
    let is_error = |reply: &Reply| matches!(reply, Reply::Error(_));
    assert_eq!(replies.iter().map(is_error).collect::<Vec<_>>(), [true, false, true]);
    let long = Asked::one(vec!["SET".into(), "k".repeat(65).into(), "v".into()]);
    assert!(Parsed::new(&long, 64, |_| false).unwrap_err().to_string().contains("65 bytes"));
}

#[tokio::test]
async fn subscriptions_are_told_what_follows_and_end_when_they_are_to() {
    for presence in both(alone().await) {
        let first = soon(presence.subscribe("t")).await.unwrap();
        let second = soon(presence.subscribe("t")).await.unwrap();
        let wide = presence.listen();
        for topic in ["t", "u"] {
            soon(wide.add(topic)).await.unwrap();
        }
        assert_eq!(soon(presence.channels("*")).await.unwrap(), ["t", "u"]);
        presence.publish("t", "1".into()).await.unwrap();
        presence.publish("u", "2".into()).await.unwrap();
        presence.publish("t", "3".into()).await.unwrap();
        drop(second);
        soon(presence.unsubscribe("t")).await.unwrap();
        presence.publish("t", "4".into()).await.unwrap();
        presence.publish("u", "5".into()).await.unwrap();
        assert_eq!(
            [payload(&first).await, payload(&first).await],
            [Some("1".into()), Some("3".into())]
        );
        assert_eq!(soon(first.next()).await, None);
        for expected in ["1", "2", "3", "5"] {
            assert_eq!(payload(&wide).await, Some(expected.into()));
        }
        assert_eq!(wide.topics(), ["u"]);
        soon(presence.shutdown()).await;
        assert_eq!(soon(wide.next()).await, None);
        assert_eq!(presence.get("k").await, Err(Error::ShutDown));
        assert_eq!(wide.add("v").await, Err(Error::ShutDown));
    }
}

#[tokio::test]
async fn a_queue_keeps_the_order_of_calls_that_nobody_awaits() {
    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let presence: Arc<dyn Presence> = Arc::new(alone().await);
    let (queue, work) = Queue::new(5_000, async move {
        opened.await.map_err(|_| Error::ShutDown)?;
        Ok(presence)
    });
    tokio::spawn(work);
    let ask = |text: &str| {
        queue.submit(Asked::one(text.split(' ').map(|word| word.to_owned().into()).collect()))
    };
    let listen = queue.presence();
    let mut replies = Vec::new();
    for number in 0..1000 {
        replies.push((ask(&format!("SET k {number}")), Reply::Ok));
        replies.push((ask("GET k"), Reply::Bulk(number.to_string().into())));
    }
    open.send(()).unwrap();
    let news = soon(soon(listen).await.unwrap().subscribe("news")).await.unwrap();
    let (set, published) = (ask("SET done 1"), queue.publish("news".into(), "done".into()));
    for (reply, expected) in replies {
        assert_eq!(soon(reply).await, Ok(expected));
    }
    assert_eq!(payload(&news).await, Some("done".into()));
    assert_eq!(soon(set).await, Ok(Reply::Ok));
    soon(published).await.unwrap();
    assert_eq!(
        soon(queue.wait(vec!["BRPOP".into(), "l".into(), "0.01".into()])).await,
        Ok(Reply::NilArray)
    );
    let mut refused =
        (0..6_000).filter_map(|_| futures_util::FutureExt::now_or_never(ask("GET k")));
    assert!(
        refused.next_back().is_some_and(|reply| reply == Err(Error::QueueFull { waiting: 5_000 }))
    );
}

#[tokio::test]
async fn what_is_bound_is_bound_by_scope_or_by_pattern_alone() {
    let presence = alone().await;
    let bind = vec![Bind { key: "room*".into(), to: BindTo::Node }];
    let config = Config { bind, ..Config::default() };
    let by_pattern = ClusterPresence::with(presence.node().clone(), &config).unwrap();
    let set =
        |key: &str| Command::parse(&["SET".into(), key.to_owned().into(), "v".into()]).unwrap();
    assert!(by_pattern.binds(&set("roomcount")) && !by_pattern.binds(&set("other")));
    assert!(by_pattern.bound().binds(&set("other")) && !presence.binds(&set("roomcount")));
    let bind = vec![Bind { key: "[".into(), to: BindTo::Node }];
    let wrong =
        ClusterPresence::with(presence.node().clone(), &Config { bind, ..Config::default() });
    assert!(matches!(wrong, Err(Error::Setting { .. })));
}
