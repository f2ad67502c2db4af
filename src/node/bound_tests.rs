//! State that goes with its writer, on whole nodes: gone on all when the writer is cut off, back when it wakes.
//!
//! Owns the scenarios that need several nodes. Invariant: every wait has a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::bind::{Bind, BindTo};
use super::tests::{PATIENCE, address, ask, command, config, node, run, start, three};
use super::*;
use crate::command::{Operation, Reply, Request};
use crate::pubsub::{Cause, Delivery, Kind, Lost, Subscriber};
use crate::transport::MemoryNetwork;

async fn write_bound(node: &Node, words: &str) {
    let bound = node.bound();
    let written = timeout(PATIENCE, bound.command(command(words))).await.expect("in time");
    assert!(matches!(written, Ok(Reply::Ok | Reply::Integer(_))), "{words}: {written:?}");
}

async fn write_as(node: &Node, client: &crate::consensus::Client, words: &str) {
    let binding = client.bind().unwrap();
    let operation = Operation { database: 0, binding, command: command(words) };
    let written = node.execute_as_bound(vec![Request::One(operation)]).await.remove(0);
    assert!(matches!(written, Ok(Reply::Ok | Reply::Integer(_))), "{words}: {written:?}");
}

/// Waits until a question has this answer on a node.
async fn until(node: &Node, words: &str, expected: &Reply) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = run(node, command(words)).await;
        if found.as_ref() == Ok(expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{words}: {found:?} and not {expected:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.to_owned().into())
}

/// The three nodes, the one that leads last.
async fn three_by_rank(network: &MemoryNetwork) -> ([Node; 3], [u8; 3]) {
    let nodes = three(network).await;
    let leader = nodes[0].status().raft.leader.unwrap();
    let mut ranked: Vec<_> = nodes.into_iter().zip([1u8, 2, 3]).collect();
    ranked.sort_by_key(|(node, _)| node.id() == leader);
    let (nodes, numbers): (Vec<_>, Vec<_>) = ranked.into_iter().unzip();
    (nodes.try_into().unwrap(), numbers.try_into().unwrap())
}

/// Takes events until the session is renewed; gives the event and how many losses came before it.
async fn renewed(events: &mut Events) -> (Event, usize) {
    let mut losses = 0;
    loop {
        match timeout(PATIENCE, events.next()).await.expect("a renewal in time").unwrap() {
            Event::SessionLost { .. } => losses += 1,
            event @ Event::SessionRenewed { .. } => return (event, losses),
            Event::LeaderChanged { .. }
            | Event::NotificationsLost { count: None }
            | Event::Halted
            | Event::Resumed
            | Event::BoundTaken { .. } => {}
            event @ (Event::Missed { .. } | Event::NotificationsLost { .. }) => panic!("{event:?}"),
        }
    }
}

/// Binds something of every kind on the node of that rank, cuts it off, and lets it come back.
async fn is_gone_and_back(rank: usize) {
    let network = MemoryNetwork::new(1);
    let (nodes, numbers) = three_by_rank(&network).await;
    let (writer, other) = (&nodes[rank], &nodes[(rank + 1) % 3]);
    let (mut own, mut others) = (writer.events(), other.events());
    let (stays, ends) = (writer.client(), writer.client());
    for words in ["SET k mine", "HSET h mine 1", "SADD s m", "HINCRBY c f 3", "INCRBY n 5"] {
        write_bound(writer, words).await;
    }
    write_as(writer, &stays, "HSET h stays 1").await;
    write_as(writer, &ends, "HSET h ends 1").await;
    for words in ["HSET h other 1", "INCRBY n 2", "SADD s n"] {
        ask(other, words).await;
    }
    network.isolate(address(numbers[rank]));
    until(other, "HGETALL h", &Reply::Map(vec![bulk("other"), bulk("1")])).await;
    assert_eq!(ask(other, "EXISTS k c").await, Reply::Integer(0), "all in one step");
    assert_eq!(
        ask(other, "SMISMEMBER s m n").await,
        Reply::Array(vec![Reply::Integer(0), Reply::Integer(1)])
    );
    assert_eq!(ask(other, "GET n").await, bulk("2"));
    let taken = loop {
        let event = timeout(PATIENCE, others.next()).await.expect("an end in time").unwrap();
        if let Event::BoundTaken { node, count, .. } = event {
            break (node, count);
        }
    };
    assert_eq!(taken, (writer.id(), 7));
    ask(other, "SET k theirs").await;
    ask(other, "INCRBY n 100").await;
    drop(ends);
    network.heal();
    let (event, losses) = renewed(&mut own).await;
    let Event::SessionRenewed { restored, lost, .. } = event else { panic!("{event:?}") };
    assert_eq!((losses, restored), (1, 5));
    assert_eq!(lost.iter().map(|lost| &lost.key[..]).collect::<Vec<_>>(), [b"k"]);
    for node in &nodes {
        until(
            node,
            "HMGET h mine stays ends",
            &Reply::Array(vec![bulk("1"), bulk("1"), Reply::Nil]),
        )
        .await;
        assert_eq!(ask(node, "GET k").await, bulk("theirs"));
        assert_eq!(ask(node, "GET n").await, bulk("107"));
        assert_eq!(ask(node, "HGET c f").await, bulk("3"));
        assert_eq!(ask(node, "SISMEMBER s m").await, Reply::Integer(1));
    }
    let more = timeout(Duration::from_secs(10), renewed(&mut own)).await;
    assert!(more.is_err(), "told once: {more:?}");
    // It is bound again as it was.
    drop(stays);
    until(other, "HEXISTS h stays", &Reply::Integer(0)).await;
    writer.leave().await;
    until(other, "HGETALL h", &Reply::Map(vec![bulk("other"), bulk("1")])).await;
    assert_eq!(ask(other, "GET n").await, bulk("102"));
}

#[tokio::test(start_paused = true)]
async fn what_a_follower_has_bound_is_gone_while_it_is_cut_off_and_back_after() {
    is_gone_and_back(0).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_leader_has_bound_is_gone_while_it_is_cut_off_and_back_after() {
    is_gone_and_back(2).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_application_writes_meanwhile_is_not_overwritten() {
    let network = MemoryNetwork::new(1);
    let (nodes, numbers) = three_by_rank(&network).await;
    let (writer, other) = (&nodes[0], &nodes[1]);
    let mut events = writer.events();
    write_bound(writer, "HSET h f old").await;
    write_bound(writer, "HSET h g old").await;
    network.isolate(address(numbers[0]));
    until(other, "EXISTS h", &Reply::Integer(0)).await;
    // Written while nobody can be reached: it waits for the next session.
    let late = tokio::spawn({
        let writer = writer.clone();
        async move { writer.bound().command(command("HSET h f new")).await }
    });
    sleep(Duration::from_millis(100)).await;
    network.heal();
    let answer = timeout(PATIENCE, late).await.unwrap().unwrap();
    let (event, _) = renewed(&mut events).await;
    assert!(matches!(event, Event::SessionRenewed { restored: 2, .. }), "{event:?}");
    assert_eq!(ask(other, "HGET h g").await, bulk("old"));
    match answer {
        // What was put back came before it, so that the field was not new.
        Ok(reply) => {
            assert_eq!(reply, Reply::Integer(0));
            assert_eq!(ask(other, "HGET h f").await, bulk("new"));
        }
        Err(error) => assert_eq!(error, Error::Unknown),
    }
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_through_a_snapshot_too() {
    let network = MemoryNetwork::new(1);
    let small = |number: u8| {
        let mut config = config(number, &[1, 2, 3], 3);
        config.consensus.snapshot_log_bytes = bytesize::ByteSize::kib(16);
        config
    };
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(start(&network, number, small(number)).await);
    }
    for node in &nodes {
        timeout(PATIENCE, node.ready()).await.expect("ready in time");
    }
    let leader = nodes[0].status().raft.leader.unwrap();
    let at = nodes.iter().position(|node| node.id() != leader).unwrap();
    let other = nodes.iter().position(|node| node.id() == leader).unwrap();
    let (writer, other) = (&nodes[at], &nodes[other]);
    let mut events = writer.events();
    write_bound(writer, "HSET h f v").await;
    write_bound(writer, "INCRBY n 4").await;
    writer.set_notify_flags("Ex".parse().unwrap());
    let listener = writer.subscriber();
    assert!(listener.subscribe(Kind::Channel, b"__keyevent@0__:expired").unwrap().is_new());
    network.isolate(address(u8::try_from(at).unwrap() + 1));
    until(other, "EXISTS h", &Reply::Integer(0)).await;
    let value = "x".repeat(500);
    for round in 0..200 {
        ask(other, &format!("SET fill{round} {value}")).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while other.status().raft.log_entries > 100 {
        assert!(Instant::now() < deadline, "the entry that ended the session stays in the log");
        sleep(Duration::from_millis(20)).await;
    }
    network.heal();
    let (event, _) = renewed(&mut events).await;
    assert!(matches!(event, Event::SessionRenewed { restored: 2, .. }), "{event:?}");
    assert_eq!(ask(other, "HGET h f").await, bulk("v"));
    assert_eq!(ask(other, "GET n").await, bulk("4"));
    // The link was away, too, and this node out of the cluster; which is told first depends on which comes back first.
    let keyspace = Delivery::Lost(Lost { cause: Cause::Keyspace, count: None });
    loop {
        let told = timeout(PATIENCE, listener.receive()).await.expect("news in time").unwrap();
        if told == keyspace {
            break;
        }
        let is_link = |cause| matches!(cause, Cause::Link { .. } | Cause::Links);
        assert!(matches!(told, Delivery::Lost(lost) if is_link(lost.cause)), "{told:?}");
    }
}

/// The next message, as text.
async fn heard(subscriber: &Subscriber) -> String {
    let message = timeout(PATIENCE, subscriber.receive()).await.expect("a message in time");
    let message = message.unwrap().message().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!("{} {}", text(&message.channel), text(&message.payload))
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_takes_what_it_bound_and_listeners_hear_of_it() {
    let network = MemoryNetwork::new(1);
    let mut first = config(1, &[], 1);
    first.bind = vec![Bind { key: "p:*".to_owned(), to: BindTo::Connection }];
    first.node.notify_keyspace_events = "KEA".parse().unwrap();
    let first = start(&network, 1, first).await;
    timeout(PATIENCE, first.ready()).await.unwrap();
    let second = node(&network, 2, &[1], 1).await;
    timeout(PATIENCE, second.ready()).await.unwrap();
    second.set_notify_flags("Kh".parse().unwrap());
    let hears = |node: &Node| {
        let subscriber = node.subscriber();
        assert!(subscriber.subscribe(Kind::Pattern, b"__key*@0__:*").unwrap().is_new());
        subscriber
    };
    let (near, far) = (hears(&first), hears(&second));
    let client = first.client();
    write_as(&first, &client, "HSET h f v").await;
    ask(&first, "HSET h g v").await;
    ask(&first, "SET p:1 v").await;
    drop(client);
    until(&second, "HGETALL h", &Reply::Map(vec![bulk("g"), bulk("v")])).await;
    assert_eq!(ask(&second, "GET p:1").await, bulk("v"), "bound to the node, which lives");
    for expected in [
        "__keyspace@0__:h hset",
        "__keyevent@0__:hset h",
        "__keyspace@0__:h hset",
        "__keyevent@0__:hset h",
        "__keyspace@0__:p:1 set",
        "__keyevent@0__:set p:1",
        "__keyspace@0__:h hdel",
        "__keyevent@0__:hdel h",
    ] {
        assert_eq!(heard(&near).await, expected);
    }
    for event in ["hset", "hset", "hdel"] {
        assert_eq!(heard(&far).await, format!("__keyspace@0__:h {event}"));
    }
    assert_eq!(far.try_receive(), Ok(None), "each node tells its own listeners once");
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_leaders_of_halts_and_of_what_was_missed() {
    let network = MemoryNetwork::new(1);
    let (nodes, numbers) = three_by_rank(&network).await;
    let (mut events, mut slow) = (nodes[0].events(), nodes[0].events());
    network.isolate(address(numbers[0]));
    let mut seen = Vec::new();
    while seen.last() != Some(&Event::Halted) {
        seen.push(timeout(PATIENCE, events.next()).await.expect("a halt in time").unwrap());
    }
    network.heal();
    while seen.last() != Some(&Event::Resumed) {
        seen.push(timeout(PATIENCE, events.next()).await.expect("an end of it").unwrap());
    }
    for _ in 0..2_000 {
        nodes[0].0.events.send(Event::Resumed).unwrap();
    }
    assert!(matches!(slow.next().await, Some(Event::Missed { count }) if count >= 976));
    nodes[0].leave().await;
    while timeout(PATIENCE, slow.next()).await.expect("the end in time").is_some() {}
}
