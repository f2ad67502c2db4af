//! Requests between nodes: who gets one, and what is told to those who get no reply.
//!
//! Owns the tests over the network. Invariant: every request here ends by itself; where a time is part of the promise, it is
//! checked.

use bytesize::ByteSize;
use tokio::task::JoinHandle;

use super::super::wire::{self, Control, Frame, Hello};
use super::*;
use crate::pubsub::requests::frame;
use crate::transport::Peer;

/// Long enough for any reply.
const LONG: Duration = Duration::from_secs(60);
/// As good as at once.
const AT_ONCE: Duration = Duration::from_millis(5);

/// Replies to everything with its own mark and what was asked.
fn echo(node: &PubSub, channel: &str, mark: &'static str) -> JoinHandle<()> {
    let responder = node.respond(channel.as_bytes()).unwrap();
    tokio::spawn(async move {
        while let Some(request) = responder.next().await {
            let reply = [mark.as_bytes(), b":", request.payload()].concat();
            request.reply(reply.into()).unwrap();
        }
    })
}

async fn ask(node: &PubSub, channel: &str) -> Result<Bytes, RequestError> {
    node.request(channel.as_bytes(), "hi".into(), LONG).await
}

/// Asks beside the test.
fn asking(node: &PubSub, channel: &'static str) -> JoinHandle<Result<Bytes, RequestError>> {
    let node = node.clone();
    tokio::spawn(async move { ask(&node, channel).await })
}

/// Takes the next request.
async fn asked(responder: &Responder) -> Request {
    timeout(SOON, responder.next()).await.expect("nothing was asked").expect("it has ended")
}

#[tokio::test(start_paused = true)]
async fn any_node_reaches_a_responder_and_a_local_one_goes_first() {
    let network = MemoryNetwork::new(31);
    let nodes = nodes(&network, 3).await;
    let far = echo(&nodes[2], "jobs", "3");
    for node in &nodes {
        assert_eq!(ask(node, "jobs").await.unwrap(), "3:hi");
    }
    let near = echo(&nodes[0], "jobs", "1");
    assert_eq!(ask(&nodes[0], "jobs").await.unwrap(), "1:hi");
    assert_eq!(ask(&nodes[1], "jobs").await.unwrap(), "3:hi", "the route is kept");
    near.abort();
    far.abort();
    assert!(near.await.is_err() && far.await.is_err());
    for node in &nodes {
        assert_eq!(ask(node, "jobs").await, Err(RequestError::NoResponders));
        assert_eq!(node.request_counts(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_channel_is_found_from_everywhere_at_once() {
    let network = MemoryNetwork::new(32);
    let nodes = nodes(&network, 3).await;
    for round in 0..200 {
        let channel = format!("room:{round}");
        let responder = nodes[round % 3].respond(channel.as_bytes()).unwrap();
        let asking = nodes[(round + 1) % 3].request(channel.as_bytes(), Bytes::new(), LONG);
        let serving = async { asked(&responder).await.reply("yes".into()).unwrap() };
        let (reply, ()) = tokio::join!(asking, serving);
        assert_eq!(reply.unwrap(), "yes", "round {round}");
        drop(responder);
        let reply = ask(&nodes[(round + 2) % 3], &channel).await;
        assert_eq!(reply, Err(RequestError::NoResponders), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_after_one_round_trip_and_alone_at_once() {
    let alone = PubSub::local(Config::default());
    assert_eq!(ask(&alone, "jobs").await, Err(RequestError::NoResponders));
    let network = MemoryNetwork::new(33);
    let nodes = nodes(&network, 3).await;
    let begun = Instant::now();
    let error = ask(&nodes[0], "jobs").await.unwrap_err();
    assert!(error == RequestError::NoResponders && error.effect_is_none());
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn responders_of_a_node_take_turns_and_their_successors_get_what_waits() {
    let network = MemoryNetwork::new(34);
    let nodes = nodes(&network, 2).await;
    let first = nodes[1].respond(b"jobs").unwrap();
    let second = nodes[1].respond(b"jobs").unwrap();
    let all: Vec<_> = (0..4).map(|_| asking(&nodes[0], "jobs")).collect();
    let taken = (asked(&first).await, asked(&second).await);
    // What waits for the first goes to the second.
    until("four requests", || nodes[0].request_counts().0 == 4).await;
    drop(first);
    let rest = (asked(&second).await, asked(&second).await);
    for request in [taken.0, taken.1, rest.0, rest.1] {
        request.reply("done".into()).unwrap();
    }
    for asking in all {
        assert_eq!(asking.await.unwrap().unwrap(), "done");
    }
}

#[tokio::test(start_paused = true)]
async fn responder_that_moves_is_found_within_the_same_request() {
    let network = MemoryNetwork::new(35);
    let nodes = nodes(&network, 3).await;
    let old = echo(&nodes[1], "jobs", "2");
    assert_eq!(ask(&nodes[0], "jobs").await.unwrap(), "2:hi");
    let _new = echo(&nodes[2], "jobs", "3");
    old.abort();
    assert!(old.await.is_err());
    assert_eq!(ask(&nodes[0], "jobs").await.unwrap(), "3:hi");
}

#[tokio::test(start_paused = true)]
async fn dropped_request_is_declined_and_a_large_reply_is_told() {
    let network = MemoryNetwork::new(36);
    let nodes = nodes(&network, 2).await;
    let responder = nodes[1].respond(b"jobs").unwrap();
    for node in &nodes {
        let waiting = asking(node, "jobs");
        drop(asked(&responder).await);
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error == RequestError::Declined && !error.effect_is_none());
        let waiting = asking(node, "jobs");
        let request = asked(&responder).await;
        let (size, limit) = (16 * 1024 * 1024 + 1, 16 * 1024 * 1024);
        let refused = request.reply(vec![0; 16 * 1024 * 1024 + 1].into());
        assert_eq!(refused, Err(Error::MessageTooLarge { size, limit }));
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error, RequestError::ReplyTooLarge { size, limit });
        let large = node.request(b"jobs", vec![0; 16 * 1024 * 1024].into(), LONG).await;
        assert_eq!(large, Err(RequestError::TooLarge { size: limit + 4, limit }));
    }
}

#[tokio::test(start_paused = true)]
async fn largest_request_and_reply_fit() {
    let network = MemoryNetwork::new(37);
    let nodes = nodes(&network, 2).await;
    let responder = nodes[1].respond(b"jobs").unwrap();
    let waiting = nodes[0].request(b"jobs", vec![7; 16 * 1024 * 1024 - 4].into(), LONG);
    let serving = async {
        let request = asked(&responder).await;
        let reply = [&request.payload()[..], b"1234"].concat();
        request.reply(reply.into()).unwrap();
    };
    let (reply, ()) = tokio::join!(waiting, serving);
    assert_eq!(reply.unwrap().len(), 16 * 1024 * 1024);
}

#[tokio::test(start_paused = true)]
async fn full_responder_and_full_requester_refuse_with_both_numbers() {
    let network = MemoryNetwork::new(38);
    let config = Config { requests_max: 3, responder_requests_max: 2, ..Config::default() };
    let (_, one) = node_with(&network, 1, config.clone(), 1).await;
    let (_, two) = node_with(&network, 2, config, 1).await;
    one.attach(id(2), address(2)).await.unwrap();
    two.attach(id(1), address(1)).await.unwrap();
    let responder = two.respond(b"jobs").unwrap();
    let waiting = [asking(&one, "jobs"), asking(&one, "jobs")];
    let taken = (asked(&responder).await, asked(&responder).await);
    for node in [&one, &two] {
        let error = ask(node, "jobs").await.unwrap_err();
        assert_eq!(error, RequestError::Busy { waiting: 2, limit: 2, unit: Unit::Requests });
        assert!(error.effect_is_none());
    }
    let idle = two.respond(b"idle").unwrap();
    let third = asking(&one, "idle");
    let request = asked(&idle).await;
    let error = ask(&one, "idle").await.unwrap_err();
    assert_eq!(error, RequestError::TooMany { waiting: 3, limit: 3, unit: Unit::Requests });
    for request in [taken.0, taken.1, request] {
        request.reply(Bytes::new()).unwrap();
    }
    for waiting in waiting.into_iter().chain([third]) {
        waiting.await.unwrap().unwrap();
    }
    let bytes = Config { requests_bytes_max: ByteSize::kib(1), ..Config::default() };
    let (_, three) = node_with(&network, 3, bytes, 1).await;
    three.attach(id(2), address(2)).await.unwrap();
    let large = || three.request(b"idle", vec![0; 2_000].into(), LONG);
    let refused = async {
        let request = asked(&idle).await;
        let error = large().await.unwrap_err();
        assert!(matches!(error, RequestError::TooMany { limit: 1_024, unit: Unit::Bytes, .. }));
        request.reply(Bytes::new()).unwrap();
    };
    let (reply, ()) = tokio::join!(large(), refused);
    assert_eq!(reply, Ok(Bytes::new()));
}

#[tokio::test(start_paused = true)]
async fn gone_is_told_with_the_end_of_the_link_and_with_the_unlinking() {
    let network = MemoryNetwork::new(39);
    let (_, one) = node_with(&network, 1, Config::default(), 1).await;
    let (transport, two) = node_with(&network, 2, Config::default(), 1).await;
    one.attach(id(2), address(2)).await.unwrap();
    let responder = two.respond(b"jobs").unwrap();
    let waiting = asking(&one, "jobs");
    let held = asked(&responder).await;
    let begun = Instant::now();
    one.unlink(id(2));
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error == RequestError::Gone { node: id(2) } && !error.effect_is_none());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(ask(&one, "jobs").await, Err(RequestError::NoResponders));
    held.reply("too late".into()).unwrap();
    one.attach(id(2), address(2)).await.unwrap();
    let waiting = asking(&one, "jobs");
    let _held = asked(&responder).await;
    let begun = Instant::now();
    let told = async {
        assert_eq!(waiting.await.unwrap(), Err(RequestError::Gone { node: id(2) }));
        begun.elapsed()
    };
    let (waited, ()) = tokio::join!(told, transport.close("leaving"));
    assert!(waited < AT_ONCE, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn proven_death_ends_requests_at_once_and_its_successor_is_found() {
    let network = MemoryNetwork::new(45);
    let nodes = nodes(&network, 3).await;
    let responder = nodes[1].respond(b"jobs").unwrap();
    let waiting = asking(&nodes[0], "jobs");
    let _held = asked(&responder).await;
    network.isolate(address(2));
    let begun = Instant::now();
    nodes[0].died(id(2));
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Gone { node: id(2) }));
    assert_eq!(ask(&nodes[0], "jobs").await, Err(RequestError::NoResponders));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    until("the end of the lane", || !report(&nodes[0], 2).is_up).await;
    network.heal();
    until("the lane", || report(&nodes[0], 2).is_up).await;
    let waiting = asking(&nodes[0], "jobs");
    asked(&responder).await.reply("again".into()).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), "again");
}

#[tokio::test(start_paused = true)]
async fn silent_link_ends_a_request_as_soon_as_it_is_found_dead() {
    let network = MemoryNetwork::new(40);
    let nodes = nodes(&network, 2).await;
    let responder = nodes[1].respond(b"jobs").unwrap();
    let waiting = asking(&nodes[0], "jobs");
    let held = asked(&responder).await;
    let begun = Instant::now();
    network.isolate(address(2));
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Gone { node: id(2) }));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    held.reply("too late".into()).unwrap();
    // The peer may be there still, so nobody says that there is no responder; it is asked once the link is up again.
    let waiting = asking(&nodes[0], "jobs");
    let short = nodes[0].request(b"jobs", Bytes::new(), Duration::from_secs(1)).await;
    let waited = Duration::from_secs(1);
    let error = RequestError::Timeout { waited, was_sent: false };
    assert!(error.effect_is_none());
    assert_eq!(short, Err(error));
    network.heal();
    asked(&responder).await.reply("at last".into()).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), "at last");
    assert_eq!(nodes[0].request_counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn late_reply_is_ignored_and_a_timeout_says_that_it_was_sent() {
    let network = MemoryNetwork::new(41);
    let nodes = nodes(&network, 2).await;
    let responder = nodes[1].respond(b"jobs").unwrap();
    let waited = Duration::from_millis(100);
    let asking = nodes[0].request(b"jobs", Bytes::new(), waited);
    let (reply, request) = tokio::join!(asking, asked(&responder));
    assert_eq!(reply, Err(RequestError::Timeout { waited, was_sent: true }));
    request.reply("too late".into()).unwrap();
    let next = nodes[0].request(b"jobs", Bytes::new(), LONG);
    let serving = async { asked(&responder).await.reply("in time".into()).unwrap() };
    assert_eq!(tokio::join!(next, serving).0.unwrap(), "in time");
}

#[tokio::test(start_paused = true)]
async fn stopped_node_ends_its_requests_and_responders() {
    let network = MemoryNetwork::new(42);
    let nodes = nodes(&network, 2).await;
    let responder = nodes[1].respond(b"jobs").unwrap();
    let waiting = asking(&nodes[0], "jobs");
    let request = asked(&responder).await;
    nodes[0].stop().await;
    assert_eq!(waiting.await.unwrap(), Err(RequestError::Closed { was_sent: true }));
    assert_eq!(ask(&nodes[0], "jobs").await, Err(RequestError::Closed { was_sent: false }));
    assert_eq!(nodes[0].respond(b"jobs").unwrap_err(), Error::Closed);
    nodes[1].stop().await;
    assert!(responder.next().await.is_none());
    request.reply(Bytes::new()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn peer_that_sends_anything_about_requests_harms_only_its_own_stream() {
    let network = MemoryNetwork::new(43);
    let victim = node(&network, 1).await;
    let (transport, _broken) = node_with(&network, 2, Config::default(), 1).await;
    let responder = victim.respond(b"jobs").unwrap();
    let hello = Hello { generation: 1, attempt: 7, lane: 1, next: 0 };
    let peer = Peer { id: Some(id(1)), address: address(1) };
    let (mut sender, mut receiver, _) = transport.open(&peer, lane::PURPOSE).await.unwrap();
    let request = |attempt, id, channel: &[u8]| frame::request(attempt, id, channel, b"hi");
    let mut frames = vec![
        wire::control(&Control::Hello(hello)),
        request(6, 1, b"jobs"),
        request(7, 2, b"nobody"),
        request(7, 3, b"jobs"),
        request(7, 3, b"jobs"),
        wire::control(&Control::Seek { id: 9, channel: "jobs".into() }),
    ];
    sender.send_all(&mut frames).await.unwrap();
    for _ in 0..2 {
        asked(&responder).await.reply("yes".into()).unwrap();
    }
    let mut answers = Vec::new();
    for _ in 0..4 {
        let frame = timeout(SOON, receiver.receive()).await.unwrap().unwrap().unwrap();
        answers.push(wire::decode(frame).unwrap());
    }
    let refusal = frame::Refusal::Nobody;
    let yes = Frame::Reply(frame::Reply { id: 3, payload: "yes".into() });
    assert_eq!(
        answers,
        [
            Frame::Control(Control::Refused { id: 2, refusal }),
            Frame::Control(Control::Sought { id: 9, is_here: true }),
            yes.clone(),
            yes,
        ]
    );
    sender.send(frame::reply(1, b"what?")).await.unwrap();
    let end = timeout(SOON, receiver.receive()).await.expect("the stream must end");
    assert!(end.is_err());
}

#[tokio::test(start_paused = true)]
async fn flood_of_requests_is_bounded_by_the_responder() {
    let network = MemoryNetwork::new(44);
    let config = Config { responder_requests_max: 10, ..Config::default() };
    let (_, victim) = node_with(&network, 1, config, 1).await;
    let flooder = node(&network, 2).await;
    flooder.attach(id(1), address(1)).await.unwrap();
    let responder = victim.respond(b"jobs").unwrap();
    let all: Vec<_> = (0..1_000).map(|_| asking(&flooder, "jobs")).collect();
    let held = asked(&responder).await;
    until("the end of the flood", || flooder.request_counts().0 == 10).await;
    held.reply(Bytes::new()).unwrap();
    for _ in 0..9 {
        asked(&responder).await.reply(Bytes::new()).unwrap();
    }
    let (mut replied, mut busy) = (0, 0);
    for asking in all {
        match asking.await.unwrap() {
            Ok(_) => replied += 1,
            Err(RequestError::Busy { .. }) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((replied, busy), (10, 990));
}
