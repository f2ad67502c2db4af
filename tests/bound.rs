//! State that goes with a connection of the Redis door, from outside: `QUORATE.BIND`, patterns, and every way to end.
//!
//! Owns a node with its door on free ports, and clients that speak the protocol. Invariant: every wait has a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use quorate::adapters::resp::{Config as Door, Server};
use quorate::node::bind::{Bind, BindTo};
use quorate::{Config, Node};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.expect("an open door")))
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("in time").expect("a line");
        line.trim_end().to_owned()
    }

    /// Sends one request; gives the reply on one line, its parts divided by spaces.
    async fn ask(&mut self, request: &str) -> String {
        let sent = self.0.get_mut().write_all(format!("{request}\r\n").as_bytes()).await;
        sent.expect("an open connection");
        let first = self.line().await;
        let (kind, rest) = first.split_at(1);
        match (kind, rest.parse::<usize>()) {
            ("$", Ok(size)) => self.bulk(size).await,
            ("*", Ok(count)) => {
                let mut items = Vec::new();
                for _ in 0..count {
                    let head = self.line().await;
                    let size = head.strip_prefix('$').and_then(|size| size.parse().ok());
                    items.push(match size {
                        Some(size) => self.bulk(size).await,
                        None => head,
                    });
                }
                items.join(" ")
            }
            _ => first,
        }
    }

    async fn bulk(&mut self, size: usize) -> String {
        let mut bytes = vec![0; size + 2];
        self.0.read_exact(&mut bytes).await.expect("a whole string");
        bytes.truncate(size);
        String::from_utf8(bytes).expect("a text")
    }

    /// Asks until the answer is the expected one.
    async fn until(&mut self, request: &str, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.ask(request).await;
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{request}: {found} and not {expected}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn open(bind: Vec<Bind>) -> (Node, Server) {
    let node = Node::start(Config { bind, ..Config::default() }).await.expect("a node");
    timeout(PATIENCE, node.ready()).await.expect("ready in time");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(node.clone(), Door { listen, ..Door::default() }).await;
    let server = server.expect("a door");
    (node, server)
}

#[tokio::test]
async fn what_a_connection_has_bound_goes_with_it() {
    let (node, server) = open(Vec::new()).await;
    let mut watcher = Client::connect(server.address()).await;
    let mut dies = Client::connect(server.address()).await;
    for (request, reply) in [
        ("SET free 1", "+OK"),
        ("INCRBY count 5", ":5"),
        ("QUORATE.BIND ON", "+OK"),
        ("SET own 1", "+OK"),
        ("HSET h f v", ":1"),
        ("SADD s m", ":1"),
        ("INCRBY count 7", ":12"),
        ("QUORATE.BIND ON NODE", "+OK"),
        ("SET of-node 1", "+OK"),
        ("QUORATE.BIND OFF", "+OK"),
        ("SET free-too 1", "+OK"),
    ] {
        assert_eq!(dies.ask(request).await, reply, "{request}");
    }
    assert_eq!(watcher.ask("EXISTS free own h s of-node free-too").await, ":6");
    drop(dies);
    watcher.until("EXISTS own h s", ":0").await;
    assert_eq!(watcher.ask("EXISTS free of-node free-too").await, ":3");
    assert_eq!(watcher.ask("GET count").await, "5");
    server.shutdown().await;
    node.leave().await;
}

#[tokio::test]
async fn a_transaction_and_a_pipeline_are_bound_too_and_a_killed_client_loses_them() {
    let (node, server) = open(Vec::new()).await;
    let mut watcher = Client::connect(server.address()).await;
    let mut dies = Client::connect(server.address()).await;
    assert_eq!(dies.ask("CLIENT ID").await, ":2");
    for (request, reply) in [
        ("QUORATE.BIND ON CONNECTION", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("QUORATE.BIND OFF", "+QUEUED"),
        ("SET b 1", "+QUEUED"),
        ("EXEC", "+OK +OK +OK"),
        ("QUORATE.BIND ON", "+OK"),
    ] {
        assert_eq!(dies.ask(request).await, reply, "{request}");
    }
    let mut pipeline = String::new();
    for number in 0..500 {
        pipeline.push_str(&format!("HSET h f{number} v\r\n"));
    }
    dies.0.get_mut().write_all(pipeline.as_bytes()).await.unwrap();
    for _ in 0..500 {
        assert_eq!(dies.line().await, ":1");
    }
    assert_eq!(watcher.ask("HLEN h").await, ":500");
    assert_eq!(watcher.ask("CLIENT KILL ID 2").await, ":1");
    watcher.until("EXISTS a h", ":0").await;
    assert_eq!(watcher.ask("EXISTS b").await, ":1");
    server.shutdown().await;
    node.leave().await;
}

#[tokio::test]
async fn patterns_and_notifications_work_for_clients_that_know_of_nothing() {
    let rule = |key: &str, to| Bind { key: key.to_owned(), to };
    let rules = vec![rule("roomcaches", BindTo::Connection), rule("roomcount", BindTo::Connection)];
    let (node, server) = open(rules).await;
    let mut watcher = Client::connect(server.address()).await;
    let mut listener = Client::connect(server.address()).await;
    assert_eq!(watcher.ask("CONFIG SET notify-keyspace-events KEA").await, "+OK");
    assert_eq!(listener.ask("PSUBSCRIBE __keyspace@0__:*").await, "psubscribe __keyspace@0__:* :1");
    let mut driver = Client::connect(server.address()).await;
    assert_eq!(driver.ask("HSET roomcaches room {}").await, ":1");
    assert_eq!(driver.ask("HINCRBY roomcount process 3").await, ":3");
    assert_eq!(watcher.ask("HSET roomcaches other {}").await, ":1");
    drop(driver);
    watcher.until("HKEYS roomcaches", "other").await;
    assert_eq!(watcher.ask("EXISTS roomcount").await, ":0");
    let mut heard = Vec::new();
    for _ in 0..6 {
        assert_eq!(listener.line().await, "*4");
        let mut parts = Vec::new();
        for _ in 0..4 {
            let size = listener.line().await.trim_start_matches('$').parse().unwrap();
            parts.push(listener.bulk(size).await);
        }
        heard.push(format!("{} {}", parts[2], parts[3]));
    }
    heard.sort();
    let expected = [
        "__keyspace@0__:roomcaches hdel",
        "__keyspace@0__:roomcaches hset",
        "__keyspace@0__:roomcaches hset",
        "__keyspace@0__:roomcount del",
        "__keyspace@0__:roomcount hincrby",
        "__keyspace@0__:roomcount hincrby",
    ];
    assert_eq!(heard, expected);
    // What the watcher has written goes when the door closes.
    server.shutdown().await;
    let words = ["EXISTS".into(), "roomcaches".into()];
    let exists = quorate::command::Command::parse(&words).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while node.command(exists.clone()).await.unwrap() != quorate::command::Reply::Integer(0) {
        assert!(Instant::now() < deadline, "it stays after the door is closed");
        sleep(Duration::from_millis(5)).await;
    }
    node.leave().await;
}
