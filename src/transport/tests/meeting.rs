//! Who gets a link to whom, and what both sides say when they do not.

use std::sync::Arc;

use futures_util::future::join_all;

use super::super::notice::Kind;
use super::*;

/// Node 1 dials node 2; gives the words in which it was refused.
async fn refusal(one: Plan, two: Plan, dialled: Peer, heard: Kind) -> String {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = one.start(&network, 1).await;
    let (two, mut incoming) = two.start(&network, 2).await;
    let error = soon(ping(&one, &dialled)).await.unwrap_err();
    let Error::Refused { reason, .. } = error else { panic!("{error:?}") };
    assert!(one.0.0.notices.has_said(address(2), Kind::Dialled), "the dialler says nothing");
    // The verdict may travel for another moment.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(two.0.0.notices.has_said(address(1), heard), "the dialled says nothing");
    assert!(timeout(Duration::from_secs(1), incoming.accept()).await.is_err());
    reason
}

#[tokio::test(start_paused = true)]
async fn a_stream_carries_frames_both_ways_and_knows_both_ends() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (two, mut incoming) = Plan::default().start(&network, 2).await;
    let (mut sender, mut receiver, remote) =
        soon(one.open(&TWO, purpose(Class::Append))).await.unwrap();
    assert_eq!(remote, Remote { id: id(2), name: "n2".into(), address: two.advertised() });

    let mut frames: Vec<_> = (0..100_usize).map(|n| Bytes::from(vec![7; n * 40])).collect();
    let sent = frames.clone();
    sender.send_all(&mut frames).await.unwrap();
    sender.finish();
    let mut inbound = soon(incoming.accept()).await.unwrap();
    assert_eq!((inbound.remote.id, inbound.remote.address), (id(1), one.advertised()));
    assert_eq!((inbound.purpose, inbound.is_calls), (purpose(Class::Append), false));
    for frame in sent {
        assert_eq!(soon(inbound.receiver.receive()).await.unwrap(), Some(frame));
    }
    assert_eq!(soon(inbound.receiver.receive()).await.unwrap(), None);
    inbound.sender.send(Bytes::from_static(b"seen")).await.unwrap();
    assert_eq!(soon(receiver.receive()).await.unwrap().as_deref(), Some(&b"seen"[..]));
    drop(inbound);
    assert!(matches!(soon(receiver.receive()).await, Err(Error::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_seed_is_dialled_without_its_id() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (_two, incoming) = Plan::default().start(&network, 2).await;
    echo(incoming);
    let seed = Peer { id: None, address: address(2) };
    assert_eq!(soon(ping(&one, &seed)).await.unwrap().id, id(2));
    assert_eq!(soon(ping(&one, &TWO)).await.unwrap().id, id(2));
    assert_eq!(one.links().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_secret_is_refused_by_both() {
    let other = Plan { secret: 9, ..Plan::default() };
    let reason = refusal(Plan::default(), other, TWO, Kind::Handshake).await;
    assert!(reason.contains("another secret"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_dialler_that_trusts_us_but_is_not_of_us_is_refused_by_both() {
    let spy = Plan { secret: 9, previous: Some(1), ..Plan::default() };
    let reason = refusal(spy, Plan::default(), TWO, Kind::Handshake).await;
    assert!(reason.contains("another secret"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_refused_by_both() {
    let other = Plan { cluster: "chess", ..Plan::default() };
    let reason = refusal(Plan::default(), other, TWO, Kind::Handshake).await;
    assert!(reason.contains("chess") && reason.contains("game"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn another_setting_is_refused_by_both_with_both_values() {
    let settings = vec![("session_timeout".into(), "5s".into())];
    let other = Plan { settings, ..Plan::default() };
    let reason = refusal(Plan::default(), other, TWO, Kind::Hello).await;
    let words = ["session_timeout", "'2s'", "'5s'"];
    assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn another_node_at_the_address_is_refused_by_both() {
    let dialled = Peer { id: Some(id(77)), address: address(2) };
    let reason = refusal(Plan::default(), Plan::default(), dialled, Kind::Hello).await;
    assert!(reason.contains(&id(77).to_string()), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_reached_where_one_was_that_others_still_ask_for() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (_two, incoming) = Plan::default().start(&network, 2).await;
    echo(incoming);
    let gone = Peer { id: Some(id(77)), address: address(2) };
    // The dial for the one that is gone is under way when the others are asked for.
    let asks = join_all([gone, TWO, Peer { id: None, ..TWO }, gone].map(|peer| {
        let one = one.clone();
        async move { ping(&one, &peer).await }
    }));
    let found = soon(asks).await;
    let ids: Vec<_> =
        found.iter().map(|found| found.as_ref().ok().map(|remote| remote.id)).collect();
    assert_eq!(ids, [None, Some(id(2)), Some(id(2)), None]);
    assert!(matches!(found.first(), Some(Err(Error::Refused { .. }))), "{found:?}");
    // A link stays what it is while somebody asks for another there.
    let (refused, answered) =
        soon(async { tokio::join!(ping(&one, &gone), ping(&one, &TWO)) }).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(answered.unwrap().id, id(2));
    assert_eq!(one.links().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_secrets_bridge_a_change() {
    let network = MemoryNetwork::new(1);
    let before = Plan { secret: 1, previous: Some(9), ..Plan::default() };
    let after = Plan { secret: 9, previous: Some(1), ..Plan::default() };
    let (one, incoming_one) = before.start(&network, 1).await;
    let (two, incoming_two) = after.start(&network, 2).await;
    echo(incoming_one);
    echo(incoming_two);
    soon(ping(&one, &TWO)).await.unwrap();
    soon(ping(&two, &peer(1))).await.unwrap();
}

/// Writes an authority and a certificate of it for each name; gives where they are, by name.
fn pem_files(folder: &std::path::Path, names: &[&str]) -> Vec<Credentials> {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let authorities = folder.join("authorities.pem");
    std::fs::write(&authorities, authority.pem()).unwrap();
    let issue = |name: &&str| {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![(*name).to_owned()]).unwrap();
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = params.signed_by(&pair, &issuer).unwrap();
        let (certificate, key) =
            (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, leaf.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        Credentials::Pem { certificate, key, authorities: authorities.clone() }
    };
    names.iter().map(issue).collect()
}

#[tokio::test(start_paused = true)]
async fn certificate_files_serve_as_well_and_only_for_this_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["game.quorate.internal", "www.example.com"];
    let [own, foreign] = pem_files(folder.path(), &names).try_into().unwrap();
    let plan = |credentials: &Credentials| Plan {
        credentials: Some(credentials.clone()),
        ..Plan::default()
    };
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = plan(&own).start(&network, 1).await;
    let (two, incoming) = plan(&own).start(&network, 2).await;
    echo(incoming);
    soon(ping(&one, &TWO)).await.unwrap();
    drop((one, two));
    // Of the same authority, but for another purpose: refused, whichever side it is on.
    let reason = refusal(plan(&foreign), plan(&own), TWO, Kind::Handshake).await;
    assert!(reason.contains("www.example.com"), "{reason}");
    let reason = refusal(plan(&own), plan(&foreign), TWO, Kind::Handshake).await;
    assert!(reason.contains("www.example.com"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn many_who_open_at_once_share_one_connection() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (two, mut incoming) = Plan::default().start(&network, 2).await;
    let seed = Peer { id: None, ..TWO };
    let opens = (0..60).map(|_| one.open(&seed, purpose(Class::Gossip)));
    let streams = soon(join_all(opens)).await;
    assert!(streams.iter().all(Result::is_ok), "{streams:?}");
    for _ in 0..60 {
        soon(incoming.accept()).await.unwrap();
    }
    assert_eq!(two.0.0.endpoint.open_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_dial_learn_at_once_that_it_failed() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let before = tokio::time::Instant::now();
    let opens = (0..20).map(|_| one.open(&TWO, purpose(Class::Gossip)));
    for result in soon(join_all(opens)).await {
        assert!(matches!(result, Err(Error::Unreachable { .. })), "{result:?}");
    }
    assert!(before.elapsed() <= Config::default().handshake_timeout + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_dial_itself() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let seed = Peer { id: None, address: address(1) };
    assert!(matches!(soon(ping(&one, &seed)).await, Err(Error::Unreachable { .. })));
}

#[tokio::test(start_paused = true)]
async fn lanes_carry_what_they_can_and_never_wait() {
    let network = MemoryNetwork::new(1);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let lanes = one.lanes(purpose(Class::Gossip));
    let message = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
    let taken = (0..200).filter(|n| lanes.push(address(2), message(*n))).count();
    assert_eq!(taken, 64);
    tokio::time::sleep(SOON).await;
    // The peer comes, and what is pushed from now on arrives, in order.
    let (two, mut incoming) = Plan::default().start(&network, 2).await;
    assert!(lanes.push(address(2), message(1)) && lanes.push(address(2), message(2)));
    let mut inbound = soon(incoming.accept()).await.unwrap();
    for n in [1, 2] {
        assert_eq!(soon(inbound.receiver.receive()).await.unwrap(), Some(message(n)));
    }
    // It goes and comes back; the lane follows.
    drop((two, inbound, incoming));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (_two, mut incoming) = Plan::default().start_as(&network, 2, 22).await;
    lanes.push(address(2), message(3));
    let mut inbound = soon(incoming.accept()).await.unwrap();
    assert_eq!(soon(inbound.receiver.receive()).await.unwrap(), Some(message(3)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dials_again_and_again_keeps_its_newest_connections() {
    let network = MemoryNetwork::new(1);
    let (two, incoming) = Plan::default().start(&network, 2).await;
    echo(incoming);
    let mut starts = Vec::new();
    for n in 3..8 {
        // The same node over and over, as a peer that behaves badly would.
        let (one, _incoming) = Plan::default().start_as(&network, n, 1).await;
        soon(ping(&one, &TWO)).await.unwrap();
        starts.push(one);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let up: Vec<_> = starts.iter().map(|one| one.links().len()).collect();
    assert_eq!(up, [0, 0, 0, 1, 1]);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn nodes_above_the_limit_are_refused_with_it() {
    let network = MemoryNetwork::new(1);
    let config = Config { nodes_max: 1, ..Config::default() };
    let (_two, incoming) = Plan { config, ..Plan::default() }.start(&network, 2).await;
    echo(incoming);
    let (one, _incoming) = Plan::default().start(&network, 1).await;
    let (three, _incoming) = Plan::default().start(&network, 3).await;
    soon(ping(&one, &TWO)).await.unwrap();
    let error = soon(ping(&three, &TWO)).await.unwrap_err().to_string();
    assert!(error.contains("the limit is 1"), "{error}");
    drop(one);
    tokio::time::sleep(Duration::from_millis(100)).await;
    soon(ping(&three, &TWO)).await.unwrap();
}

#[tokio::test]
async fn it_works_over_loopback() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (one, _incoming) = Plan::default().start_on(Socket::bind(any).unwrap(), 1).await.unwrap();
    let (two, incoming) = Plan::default().start_on(Socket::bind(any).unwrap(), 2).await.unwrap();
    echo(incoming);
    let peer = Peer { id: Some(id(2)), address: two.advertised() };
    soon(ping(&one, &peer)).await.unwrap();
    let request = Bytes::from(vec![5; 3_000_000]);
    let calls = (0..20).map(|_| one.call(&peer, purpose(Class::Forward), request.clone(), SOON));
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().len(), request.len());
    }
    soon(one.close("done")).await;

    let taken = Socket::bind(two.local_address()).unwrap_err().to_string();
    assert!(taken.contains(&two.local_address().to_string()), "{taken}");
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let result = Plan::default().start_on(Socket::bind(everywhere).unwrap(), 3).await;
    assert!(matches!(result, Err(Error::Fatal { .. })));
    drop(Arc::clone(&two.0));
}
