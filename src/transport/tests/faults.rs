//! Peers that die, restart, fall silent or are cut off, and what this side sees of it and when.

use std::num::NonZeroU32;

use tokio::time::Instant;

use super::*;

struct Talk {
    network: MemoryNetwork,
    one: Transport,
    two: Transport,
    sender: FrameSender,
    receiver: FrameReceiver,
}

/// Two nodes and a stream on which node 2 sends back what node 1 sends.
async fn talk() -> Talk {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (two, incoming) = Plan::default().start(&network, 2).await;
    echo(incoming);
    let (mut sender, mut receiver, _) =
        soon(one.open(&TWO, purpose(Class::Publish))).await.unwrap();
    sender.send(Bytes::from_static(b"hello")).await.unwrap();
    soon(receiver.receive()).await.unwrap();
    Talk { network, one, two, sender, receiver }
}

/// Waits for the stream to break and tells after how long it did.
async fn broken(receiver: &mut FrameReceiver) -> Duration {
    let before = Instant::now();
    let error = soon(receiver.receive()).await.unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
    before.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_seen_at_once() {
    let mut talk = talk().await;
    talk.two.close("leaving").await;
    assert!(broken(&mut talk.receiver).await < Duration::from_millis(10));
    assert!(talk.one.links().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_does_not_wait_for_a_dial_to_nobody() {
    let mut talk = talk().await;
    let (one, nobody) = (talk.one.clone(), peer(9));
    tokio::spawn(async move { ping(&one, &nobody).await });
    tokio::task::yield_now().await;
    let before = Instant::now();
    talk.one.close("leaving").await;
    assert!(before.elapsed() < GOODBYE_MAX, "{:?}", before.elapsed());
    assert!(talk.receiver.receive().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_transport_says_goodbye() {
    let mut talk = talk().await;
    drop(talk.two);
    assert!(broken(&mut talk.receiver).await < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_silent_death_is_seen_within_the_idle_timeout() {
    let mut talk = talk().await;
    talk.network.remove(address(2));
    let after = broken(&mut talk.receiver).await;
    let limit = Config::default().idle_timeout;
    assert!(after > limit / 2 && after <= limit + Duration::from_millis(100), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_at_the_same_address_is_noticed_with_the_next_packet() {
    let mut talk = talk().await;
    talk.network.remove(address(2));
    let (_two, incoming) = Plan::default().start_as(&talk.network, 2, 22).await;
    echo(incoming);
    talk.sender.send(Bytes::from_static(b"anybody there")).await.unwrap();
    let after = broken(&mut talk.receiver).await;
    assert!(after < Duration::from_millis(50), "{after:?}");
    // The old node is not there any more, and whoever asks for it is told so.
    let error = soon(ping(&talk.one, &TWO)).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    let new = Peer { id: Some(id(22)), address: address(2) };
    assert_eq!(soon(ping(&talk.one, &new)).await.unwrap().id, id(22));
}

#[tokio::test(start_paused = true)]
async fn the_new_node_at_an_address_is_reached_while_the_old_link_still_seems_up() {
    let talk = talk().await;
    talk.network.remove(address(2));
    let (_two, incoming) = Plan::default().start_as(&talk.network, 2, 22).await;
    echo(incoming);
    assert_eq!(talk.one.links().len(), 1);
    let new = Peer { id: Some(id(22)), address: address(2) };
    assert_eq!(soon(ping(&talk.one, &new)).await.unwrap().id, id(22));
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_the_link_and_the_heal_brings_it_back() {
    let mut talk = talk().await;
    talk.network.cut(address(2), address(1));
    broken(&mut talk.receiver).await;
    let error = soon(ping(&talk.one, &TWO)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    talk.network.heal();
    soon(ping(&talk.one, &TWO)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn frames_survive_loss_delay_and_duplication() {
    let talk = talk().await;
    talk.network.set_default(Link {
        delay: Duration::from_millis(1),
        jitter: Duration::from_millis(5),
        loss: 0.1,
        duplication: 0.1,
        ..Link::default()
    });
    let Talk { mut sender, mut receiver, .. } = talk;
    tokio::spawn(async move {
        for n in 0..500_u32 {
            sender.send(Bytes::from(n.to_be_bytes().repeat(100))).await.unwrap();
        }
        sender.finish();
    });
    for n in 0..500_u32 {
        let frame = timeout(Duration::from_secs(120), receiver.receive()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap(), n.to_be_bytes().repeat(100));
    }
    let trace = talk.network.trace();
    assert!(trace.lost * 20 > trace.sent, "{trace:?}");
}

#[tokio::test(start_paused = true)]
async fn a_link_with_a_rate_carries_no_more_than_that_and_a_slow_stream_comes_through() {
    let talk = talk().await;
    talk.network.set_default(Link { rate: NonZeroU32::new(100_000), ..Link::default() });
    let begun = Instant::now();
    let Talk { mut sender, mut receiver, .. } = talk;
    tokio::spawn(async move {
        sender.send(Bytes::from(vec![7; 500_000])).await.unwrap();
        sender.finish();
    });
    let frame = timeout(Duration::from_secs(120), receiver.receive()).await.unwrap();
    assert_eq!(frame.unwrap().unwrap().len(), 500_000);
    let took = begun.elapsed();
    // Five seconds there and five back.
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(20), "{took:?}");
    assert!(talk.network.trace().lost > 0, "nothing had to be lost");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stands_still_is_given_up_and_one_that_moves_is_not() {
    let talk = talk().await;
    talk.network.set_default(Link { rate: NonZeroU32::new(100_000), ..Link::default() });
    let Talk { mut sender, receiver, .. } = talk;
    let still_max = Duration::from_secs(2);
    // Both windows of 256 KiB take what is sent: five seconds, in which it moves.
    let begun = Instant::now();
    sender.send_moving(&mut vec![Bytes::from(vec![7; 300_000])], still_max).await.unwrap();
    // Nobody reads what comes back, so that after a while nothing goes on.
    let frame = Bytes::from(vec![7; 900_000]);
    let error = sender.send_moving(&mut vec![frame], still_max).await.unwrap_err();
    assert!(error.to_string().contains("took nothing for 2s"), "{error}");
    assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
    let error = sender.send(Bytes::from_static(b"more")).await.unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
    drop(receiver);
}

#[tokio::test(start_paused = true)]
async fn frames_survive_corruption_and_a_hole_for_long_datagrams() {
    let talk = talk().await;
    talk.network.set_default(Link { corruption: 0.1, size_max: 1_250, ..Link::default() });
    let Talk { mut sender, mut receiver, .. } = talk;
    tokio::spawn(async move {
        for n in 0..500_u32 {
            sender.send(Bytes::from(n.to_be_bytes().repeat(100))).await.unwrap();
        }
        sender.finish();
    });
    for n in 0..500_u32 {
        let frame = timeout(Duration::from_secs(120), receiver.receive()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap(), n.to_be_bytes().repeat(100));
    }
    let trace = talk.network.trace();
    assert!(trace.corrupted * 20 > trace.sent, "{trace:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_send_ends_the_stream() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (_two, mut incoming) = Plan::default().start(&network, 2).await;
    let (mut sender, _receiver, _) = soon(one.open(&TWO, purpose(Class::Append))).await.unwrap();
    let mut inbound = soon(incoming.accept()).await.unwrap();
    // Nobody reads, so that this cannot be sent whole.
    let large = sender.send(Bytes::from(vec![1; 10_000_000]));
    assert!(timeout(Duration::from_millis(100), large).await.is_err());
    let error = sender.send(Bytes::from_static(b"next")).await.unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
    drop(sender);
    assert!(matches!(soon(inbound.receiver.receive()).await, Err(Error::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_holds_up_no_other() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (_two, mut incoming) = Plan::default().start(&network, 2).await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let (mut sender, _receiver, _) =
            soon(one.open(&TWO, purpose(Class::Append))).await.unwrap();
        stuck.push(soon(incoming.accept()).await.unwrap());
        tokio::spawn(async move { sender.send(Bytes::from(vec![1; 10_000_000])).await });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    echo(incoming);
    soon(ping(&one, &TWO)).await.unwrap();
}

/// The round trip is so long that QUIC itself keeps a connection for far longer than the idle timeout.
#[tokio::test(start_paused = true)]
async fn who_stood_still_for_longer_than_its_peers_wait_uses_no_old_connection() {
    let idle = Config::default().idle_timeout;
    for (stood, stays) in [(idle / 2, true), (idle * 2, false)] {
        let Talk { network, one, two, mut sender, mut receiver } = talk().await;
        network.set_default(Link { delay: Duration::from_millis(700), ..Link::default() });
        for _ in 0..10 {
            sender.send(Bytes::from_static(b"again")).await.unwrap();
            soon(receiver.receive()).await.unwrap();
        }
        tokio::time::advance(stood).await;
        tokio::task::yield_now().await;
        let guests = two.0.0.guests.count();
        assert_eq!((one.links().len(), guests), if stays { (1, 1) } else { (0, 0) }, "{stood:?}");
        network.set_default(Link::default());
        soon(ping(&one, &TWO)).await.unwrap();
    }
}
