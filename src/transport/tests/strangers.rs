//! Those who are not members, and members that send nonsense: they cost little and change nothing.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::notice::Kind;
use super::*;

/// Two nodes; the second one sends back what it gets.
async fn pair() -> (MemoryNetwork, Transport, Transport) {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (two, incoming) = Plan::default().start(&network, 2).await;
    echo(incoming);
    (network, one, two)
}

/// Dials node 2 as a member would, and leaves the hello to the test.
async fn raw(one: &Transport) -> quinn::Connection {
    let shared = &one.0.0;
    soon(shared.endpoint.connect(address(2), &shared.name).unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn random_bytes_get_no_answer_worth_having_and_leave_the_node_serving() {
    let (network, one, two) = pair().await;
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..2_000_u32 {
        let length = rng.random_range(0..1_400);
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        if round % 3 == 0 && bytes.len() > 20 {
            // What looks like the first packet of a QUIC connection.
            bytes[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            bytes.resize(1_200, 0);
        }
        network.send(address(99), address(2), &bytes);
        if round % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(two.0.0.endpoint.open_connections(), 0);
    soon(ping(&one, &TWO)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_never_end_are_counted_and_given_up() {
    let network = MemoryNetwork::new(1);
    let config = Config { handshakes_per_ip_max: 2, ..Config::default() };
    let (_two, incoming) = Plan { config, ..Plan::default() }.start(&network, 2).await;
    echo(incoming);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    // Connections that never say hello.
    let _silent = (raw(&one).await, raw(&one).await);
    let error = soon(ping(&one, &TWO)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("handshakes"), "{error}");
    tokio::time::sleep(Config::default().handshake_timeout).await;
    soon(ping(&one, &TWO)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nonsense_instead_of_a_hello_is_refused() {
    let (_network, one, two) = pair().await;
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 2, 1, 1], &[0, 0, 0, 4, 0, 1, 0, 1]]
    {
        let connection = raw(&one).await;
        let (mut stream, _answers) = connection.open_bi().await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        soon(connection.closed()).await;
    }
    assert!(two.0.0.notices.has_said(address(1), Kind::Hello));
    soon(ping(&one, &TWO)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nonsense_after_a_good_hello_ends_the_link_and_nothing_else() {
    let (_network, one, two) = pair().await;
    for nonsense in [&b"\xff\xff\xff\xff and more"[..], b"\x00\x00\x00\x03abc", b"\x00\x00\x00\x00"]
    {
        soon(ping(&one, &TWO)).await.unwrap();
        let link = one.0.0.links.up().pop().unwrap();
        let (mut stream, _answers) = link.connection.open_bi().await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let error = soon(link.connection.closed()).await;
        assert!(matches!(error, quinn::ConnectionError::ApplicationClosed(_)), "{error:?}");
    }
    assert!(two.0.0.notices.has_said(address(1), Kind::Malformed));
    soon(ping(&one, &TWO)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn frames_over_the_limit_are_refused_on_both_ends_with_both_numbers() {
    let network = MemoryNetwork::new(1);
    let mut config = Config::default();
    config.frame_max.publish = bytesize::ByteSize::b(1_000);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (_two, mut incoming) = Plan { config, ..Plan::default() }.start(&network, 2).await;

    let (mut sender, _receiver, _) = soon(one.open(&TWO, purpose(Class::Publish))).await.unwrap();
    sender.send(Bytes::from(vec![0; 1_000])).await.unwrap();
    sender.send(Bytes::from(vec![0; 1_001])).await.unwrap();
    let mut inbound = soon(incoming.accept()).await.unwrap();
    assert_eq!(soon(inbound.receiver.receive()).await.unwrap().unwrap().len(), 1_000);
    let error = soon(inbound.receiver.receive()).await.unwrap_err().to_string();
    assert_eq!(error, "publish frame of 1001 bytes exceeds the limit of 1000 bytes");
    assert!(soon(inbound.receiver.receive()).await.is_err());

    let error = inbound.sender.send(Bytes::from(vec![0; 1_001])).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 1_001, limit: 1_000, .. }), "{error:?}");
    inbound.sender.send(Bytes::from(vec![0; 1_000])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_claimed_length_allocates_nothing() {
    let (_network, one, two) = pair().await;
    let (sender, _receiver, _) = soon(one.open(&TWO, purpose(Class::Append))).await.unwrap();
    drop(sender);
    let link = one.0.0.links.up().pop().unwrap();
    let (mut stream, _answers) = link.connection.open_bi().await.unwrap();
    stream.write_all(&0x7fff_ffff_u32.to_be_bytes()).await.unwrap();
    soon(link.connection.closed()).await;
    drop(two);
}

/// Two nodes talk over a lossy network; the trace of all that they sent, but for what `ring` draws.
async fn conversation(rng_seed: u64) -> Trace {
    let network = MemoryNetwork::new(rng_seed);
    network.set_default(Link { loss: 0.1, jitter: Duration::from_millis(3), ..Link::default() });
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (_two, incoming) = Plan::default().start(&network, 2).await;
    echo(incoming);
    for n in 0..200_usize {
        let request = Bytes::from(vec![1; n * 50]);
        let answer = one.call(&TWO, purpose(Class::Forward), request, 6 * SOON).await.unwrap();
        assert_eq!(answer.len(), n * 50);
    }
    Trace { contents: 0, ..network.trace() }
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    // A runtime for each, so that all begin at the same time of their clock.
    let run = |rng_seed| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(conversation(rng_seed))
    };
    let first = run(5);
    assert_eq!(first, run(5));
    assert_ne!(first, run(6));
    assert!(first.lost > 20, "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn faults_follow_the_seed() {
    let run = |seed| {
        let network = MemoryNetwork::new(seed);
        network.set_default(Link { loss: 0.3, duplication: 0.2, ..Link::default() });
        for n in 0..1_000_u16 {
            network.send(address(1), address(2), &n.to_be_bytes());
        }
        network.trace()
    };
    let first = run(5);
    assert_eq!(first, run(5));
    assert_ne!(first, run(6));
    assert!((200..400).contains(&first.lost), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_gets_no_memory_here() {
    let (network, one, two) = pair().await;
    // As from a forged address: what this node answers goes nowhere.
    network.cut(address(2), address(1));
    let dial = tokio::spawn(async move { ping(&one, &TWO).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(network.trace().sent > 2, "both have sent");
    assert_eq!(two.0.0.endpoint.open_connections(), 0);
    assert!(matches!(soon(dial).await.unwrap(), Err(Error::Unreachable { .. })));
}
