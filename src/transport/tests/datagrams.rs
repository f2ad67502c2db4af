//! Datagrams: what fits, what is lost and counted, and what no fault may do.

use super::*;

/// Two nodes with a link from the first to the second.
async fn linked(network: &MemoryNetwork) -> (Transport, Transport, Datagrams) {
    let (one, _incoming) = Plan::default().start(network, 1).await;
    let (two, incoming) = Plan::default().start(network, 2).await;
    echo(incoming);
    soon(ping(&one, &TWO)).await.unwrap();
    let datagrams = two.datagrams();
    (one, two, datagrams)
}

fn body(number: u32, size: usize) -> BytesMut {
    let mut body = BytesMut::zeroed(size.max(4));
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

/// Takes in what comes until nothing has come for a while; gives the numbers.
async fn heard(datagrams: &mut Datagrams) -> Vec<u32> {
    let mut heard = Vec::new();
    let pause = Duration::from_millis(500);
    while timeout(pause, datagrams.receive(&mut heard, 64)).await.is_ok_and(|count| count > 0) {}
    heard.iter().map(|d| u32::from_be_bytes(d.body[..4].try_into().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn the_largest_datagram_fits_the_smallest_path_and_a_larger_one_is_refused() {
    let network = MemoryNetwork::new(1);
    let (one, two, mut datagrams) = linked(&network).await;
    one.datagram(&TWO, Class::Publish, body(7, DATAGRAM_MAX)).unwrap();
    let mut taken = Vec::new();
    soon(datagrams.receive(&mut taken, 8)).await;
    let Datagram { remote, class, body: heard } = &taken[0];
    assert_eq!((remote.id, *class, heard.len()), (id(1), Class::Publish, DATAGRAM_MAX));
    let refused = one.datagram(&TWO, Class::Publish, body(7, DATAGRAM_MAX + 1)).unwrap_err();
    assert_eq!(refused.to_string(), "publish frame of 1151 bytes exceeds the limit of 1150 bytes");
    // Not by luck: the engine's own limit on a path of 1,200 bytes is no smaller.
    let link = one.0.0.links.to(&TWO).unwrap();
    assert!(link.connection.max_datagram_size().unwrap() > DATAGRAM_MAX);
    assert_eq!((one.datagram_report().sent, two.datagram_report().received), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_datagram_dials_nobody() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (_two, incoming) = Plan::default().start(&network, 2).await;
    echo(incoming);
    let refused = one.datagram(&TWO, Class::Publish, body(1, 4)).unwrap_err();
    assert!(refused.effect_is_none(), "{refused}");
    assert_eq!(network.trace().sent, 0);
    soon(ping(&one, &TWO)).await.unwrap();
    one.datagram(&TWO, Class::Publish, body(1, 4)).unwrap();
    let other = Peer { id: Some(id(9)), ..TWO };
    assert!(one.datagram(&other, Class::Publish, body(1, 4)).is_err(), "another node is there");
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_gets_none() {
    let network = MemoryNetwork::new(1);
    let (one, two, _datagrams) = linked(&network).await;
    two.close("leaving").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(one.datagram(&TWO, Class::Publish, body(1, 4)).is_err());
}

#[tokio::test(start_paused = true)]
async fn lost_ones_stay_lost_and_none_comes_twice() {
    let network = MemoryNetwork::new(5);
    let (one, two, mut datagrams) = linked(&network).await;
    network.set_default(Link {
        delay: Duration::from_millis(1),
        jitter: Duration::from_millis(15),
        loss: 0.2,
        duplication: 0.2,
        ..Link::default()
    });
    let listening = tokio::spawn(async move { heard(&mut datagrams).await });
    for number in 0..500 {
        one.datagram(&TWO, Class::Publish, body(number, 100)).unwrap();
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    let mut heard = listening.await.unwrap();
    assert!(!heard.is_sorted(), "some overtook others");
    assert!(heard.len() < 450 && heard.len() > 300, "{} of 500", heard.len());
    assert_eq!(two.datagram_report().received, heard.len() as u64);
    heard.sort_unstable();
    assert!(heard.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_bounded_and_counted_on_both_sides() {
    let network = MemoryNetwork::new(1);
    let (one, two, mut datagrams) = linked(&network).await;
    let buffer = u32::try_from(Config::default().datagram_buffer.as_u64()).unwrap();
    for number in 0..2_000 {
        one.datagram(&TWO, Class::Publish, body(number, 1_000)).unwrap();
    }
    let report = one.datagram_report();
    assert_eq!(report.sent, 2_000);
    assert!(report.displaced > 2_000 - u64::from(buffer) / 1_000, "{report:?}");
    let kept = heard(&mut datagrams).await;
    assert_eq!(kept.len() as u64, 2_000 - report.displaced, "{report:?}");
    assert_eq!(kept.last(), Some(&1_999), "the newest are kept");
    // Nobody takes them in any more.
    for number in 0..6_000 {
        one.datagram(&TWO, Class::Publish, body(number, 4)).unwrap();
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = two.datagram_report();
    assert_eq!(report.received, 6_000 + kept.len() as u64, "{report:?}");
    assert_eq!(report.overflowed, 6_000 - 4_096);
    soon(ping(&one, &TWO)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_does_not_end_leaves_the_link_to_streams_by_turns() {
    let network = MemoryNetwork::new(3);
    let (one, _two, _datagrams) = linked(&network).await;
    let delay = Duration::from_millis(10);
    network.set_default(Link { delay, loss: 0.02, ..Link::default() });
    let flooder = one.clone();
    let flood = tokio::spawn(async move {
        for number in 0.. {
            // Held back or not, it goes on.
            let _sent = flooder.datagram(&TWO, Class::Publish, body(number, 30));
            if number % 500 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let (mut sender, mut receiver, _) = soon(one.open(&TWO, purpose(Class::Append))).await.unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let before = tokio::time::Instant::now();
        sender.send(Bytes::from(vec![1; 5_000])).await.unwrap();
        let frame = timeout(Duration::from_secs(60), receiver.receive()).await;
        assert_eq!(frame.expect("streams go on").unwrap().unwrap().len(), 5_000);
        slowest = slowest.max(before.elapsed());
    }
    flood.abort();
    let report = one.datagram_report();
    assert!(report.held_back > 1_000 && report.sent > 1_000, "{report:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?} {report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_no_node_sends_is_counted_and_nothing_else() {
    let network = MemoryNetwork::new(1);
    let (one, two, mut datagrams) = linked(&network).await;
    let link = one.0.0.links.to(&TWO).unwrap();
    for bytes in [&b""[..], b"\xff", b"body\x07", b"body\xc8"] {
        link.connection.send_datagram(Bytes::copy_from_slice(bytes)).unwrap();
    }
    one.datagram(&TWO, Class::Publish, body(3, 4)).unwrap();
    assert_eq!(heard(&mut datagrams).await, [3]);
    assert_eq!(two.datagram_report().malformed, 4);
    soon(ping(&one, &TWO)).await.unwrap();
}
