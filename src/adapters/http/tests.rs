//! The door over real TCP, with a made-up node behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::recover::Recover;
use super::{Config, Error, Server};
use crate::consensus::{Recovered, Refusal};
use crate::ids::{FormationId, NodeId};
use crate::node::status::{
    ClusterStatus, FollowStatus, LaneStatus, MemberStatus, NodeStatus, RaftStatus, Role, State,
    Status, SubscribersStatus,
};

fn status(state: State, reason: Option<&str>) -> Status {
    let id = NodeId::from_random(0xa1);
    let address = SocketAddr::from(([127, 0, 0, 1], 7370));
    Status {
        node: NodeStatus {
            id,
            name: "o\"ne".to_owned(),
            address,
            state,
            reason: reason.map(str::to_owned),
        },
        cluster: ClusterStatus {
            id: "game".parse().unwrap(),
            epoch: 1,
            formation: None,
            origin: None,
        },
        raft: RaftStatus {
            role: Role::Leader,
            leader: Some(id),
            term: 3,
            applied: 12,
            last_log: 14,
            lag: 2,
            log_entries: 14,
            log_bytes: 1_400,
        },
        follow: FollowStatus::default(),
        voters: vec![id],
        members: vec![MemberStatus {
            id,
            name: "one".to_owned(),
            address,
            alive: true,
            role: Some(Role::Leader),
            session: Some("s5".to_owned()),
            bound: 3,
        }],
        lanes: vec![lane(0xb2, 100), lane(0xc3, 200)],
        subscribers: SubscribersStatus { lost_slow: 5, lost_link: 6, ..Default::default() },
        sessions: 1,
        bound: 3,
        waiting: 0,
        manager: None,
    }
}

fn lane(peer: u64, sent: u64) -> LaneStatus {
    LaneStatus {
        peer: NodeId::from_random(peer),
        up: true,
        queued_bytes: 0,
        dropped: 0,
        sent,
        sent_bytes: 150 * sent,
        withheld: 7,
        prunes_held: 2,
        prunes_made: 3,
        grafts: 1,
        reconnects: 0,
        received: 9,
        missed: 0,
        unreliable_sent: 11,
        unreliable_unsent: 1,
        unreliable_received: 10,
        unreliable_missing: 2,
        unreliable_stale: 1,
    }
}

async fn open(config: &Config, state: State, reason: Option<&'static str>) -> Server {
    let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config.clone() };
    Server::start(Arc::new(move || status(state, reason)), recover(), Router::new(), &config)
        .await
        .unwrap()
}

/// A node that has lost its majority once, and then has it again.
fn recover() -> Recover {
    let is_led = AtomicBool::new(false);
    Arc::new(move || {
        let was_led = is_led.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            if was_led {
                return Err(Refusal::Led { leader: "node 1".to_owned() });
            }
            let before = FormationId::first(7);
            Ok(Recovered { before, formation: before.next(8), last: 17, voters: 3 })
        })
    })
}

/// Gives the status line and the body of one answer.
async fn get(server: &Server, path: &str) -> (String, String) {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n")).await
}

async fn ask(server: &Server, head: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!("{head}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn ready_node_answers_every_path() {
    let server = open(&Config::default(), State::Ready, None).await;
    assert_eq!(get(&server, "/healthz").await, ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    assert_eq!(get(&server, "/readyz").await.0, "HTTP/1.1 200 OK");
    assert_eq!(get(&server, "/nothing").await.0, "HTTP/1.1 404 Not Found");
    let status: serde_json::Value = serde_json::from_str(&get(&server, "/status").await.1).unwrap();
    assert_eq!(status["node"]["id"], "00000000000a1");
    assert_eq!(status["node"]["state"], "ready");
    assert_eq!(status["raft"]["role"], "leader");
    assert_eq!(status["voters"][0], "00000000000a1");
    assert_eq!(status["members"][0]["alive"], true);
    assert_eq!(status["cluster"]["epoch"], 1);
    assert_eq!(status["subscribers"]["lost_slow"], 5);
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_escaped_labels() {
    let server = open(&Config::default(), State::Ready, None).await;
    let text = get(&server, "/metrics").await.1;
    assert!(text.contains("quorate_node_info{id=\"00000000000a1\",name=\"o\\\"ne\","), "{text}");
    assert!(
        text.contains("# TYPE quorate_raft_applied_total counter\nquorate_raft_applied_total 12\n")
    );
    let lanes = "# TYPE quorate_lane_sent_bytes_total counter\n\
                 quorate_lane_sent_bytes_total{peer=\"00000000000b2\"} 15000\n\
                 quorate_lane_sent_bytes_total{peer=\"00000000000c3\"} 30000\n";
    assert!(text.contains(lanes), "{text}");
    let lost = "# TYPE quorate_subscribers_lost_total counter\n\
                quorate_subscribers_lost_total{cause=\"slow\"} 5\n\
                quorate_subscribers_lost_total{cause=\"link\"} 6\n";
    assert!(text.contains(lost), "{text}");
    for line in text.lines() {
        assert!(line.starts_with('#') || line.rsplit_once(' ').unwrap().1.parse::<u64>().is_ok());
    }
}

#[tokio::test]
async fn node_that_cannot_serve_says_why() {
    let server = open(&Config::default(), State::Halted, Some("no leader")).await;
    let expected = ("HTTP/1.1 503 Service Unavailable".to_owned(), "no leader\n".to_owned());
    assert_eq!(get(&server, "/readyz").await, expected);
    let server = open(&Config::default(), State::Joining, None).await;
    assert_eq!(get(&server, "/readyz").await.1, "joining\n");
    assert_eq!(get(&server, "/healthz").await.0, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn silent_client_is_let_go_and_its_place_goes_to_the_next() {
    let request_timeout = Duration::from_millis(200);
    let config = Config { connections_max: 1, request_timeout, ..Config::default() };
    let server = open(&config, State::Ready, None).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    silent.write_all(b"GET /healthz HT").await.unwrap();
    assert_eq!(get(&server, "/healthz").await.0, "HTTP/1.1 200 OK");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), silent.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the silent connection is still open");
}

#[tokio::test]
async fn endless_request_is_refused_before_it_is_held() {
    let server = open(&Config::default(), State::Ready, None).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let line = format!("x-{}: y\r\n", "a".repeat(1_000));
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let mut sent = 0;
    while sent < 16 * 1024 * 1024 && stream.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
    }
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes of header were taken");
}

#[tokio::test]
async fn taken_address_is_an_error_that_names_it() {
    let server = open(&Config::default(), State::Ready, None).await;
    let config = Config { listen: server.address(), ..Config::default() };
    let again =
        Server::start(Arc::new(|| status(State::Ready, None)), recover(), Router::new(), &config)
            .await;
    let Err(Error::Bind { address, .. }) = again else { panic!("bound twice") };
    assert_eq!(address, server.address());
}

#[tokio::test]
async fn recover_is_taken_from_an_operator_and_answers_what_was_done_or_why_not() {
    let server = open(&Config::default(), State::Halted, Some("no leader")).await;
    let post = "POST /recover HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n";
    let (status, text) = ask(&server, post).await;
    assert!(status.contains("403") && text.contains("header 'quorate-recover'"), "{text}");
    assert!(get(&server, "/recover").await.0.contains("405"));
    let meant = format!("{post}quorate-recover: yes\r\n");
    let (status, text) = ask(&server, &meant).await;
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(status.contains("200"));
    assert_eq!(
        (&told["epoch"], &told["last"], &told["voters"]),
        (&2.into(), &17.into(), &3.into())
    );
    assert!(told["lost"].as_str().unwrap().contains("acknowledged"));
    let (status, text) = ask(&server, &meant).await;
    assert!(status.contains("409") && text.contains("leader with a quorum (node 1)"), "{text}");
}
