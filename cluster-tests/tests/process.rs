//! Nodes as processes on real sockets: how they start, end, refuse, and survive what is thrown at them.
//!
//! Owns: the command line's contract, exit codes, and hostile bytes at both ports. Does not own: what commands
//! reply; scripts have that. Invariant: no fixed port, no pause but to wait for a condition.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cluster_tests::client::{Arrival, Client, REPLY_DEADLINE};
use cluster_tests::failure::{Failure, Outcome};
use cluster_tests::process::{
    Cluster, FORM_DEADLINE, Node, NodeOptions, Signal, binary, free_addresses, http_get, keygen,
    wait_for,
};
use cluster_tests::reply::Reply;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

const MIB: usize = 1024 * 1024;
/// The configured limit of a bulk, which its error must name.
const BULK_MAX: usize = 16 * MIB;

/// Held by each test with nodes of its own, so that they do not take the processor from each other: elections that
/// come late on a busy machine would be all that they see.
static TURN: Mutex<()> = Mutex::const_new(());

/// A repeatable stream of bytes that looks like noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

#[tokio::test]
async fn a_node_alone_is_ready_serves_and_leaves_with_code_zero() -> Outcome {
    let _turn = TURN.lock().await;
    let mut cluster = Cluster::start(1).await?;
    let node = &mut cluster.nodes[0];
    assert_eq!(node.client().await?.ask("SET k v").await?, ok());
    assert_eq!(http_get(node.http, "/healthz").await?.0, 200);
    assert_eq!(http_get(node.http, "/readyz").await?.0, 200);
    assert_eq!(http_get(node.http, "/metrics").await?.0, 200);
    let lines = node.process.output();
    assert_eq!(lines.lines().count(), 1, "standard output holds the ready line alone: {lines}");
    node.process.signal(Signal::Term)?;
    let status = node.process.wait(Duration::from_secs(20)).await?;
    assert_eq!(status.code(), Some(0), "{}", node.process.log_end());
    Ok(())
}

#[tokio::test]
async fn three_nodes_know_each_other_and_share_one_state() -> Outcome {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(3).await?;
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    assert_eq!(one.client().await?.ask("SET k v").await?, ok());
    assert_eq!(two.client().await?.ask("GET k").await?, Reply::Bulk(b"v".to_vec()));
    let mut subscriber = three.client().await?;
    subscriber.ask("SUBSCRIBE news").await?;
    assert_eq!(two.client().await?.ask("PUBLISH news hello").await?, Reply::Integer(1));
    let Arrival::Reply(message) = subscriber.next(REPLY_DEADLINE).await? else {
        panic!("no message")
    };
    assert_eq!(message.to_string(), r#"["message", "news", "hello"]"#);
    let mut leaders = Vec::new();
    for node in &cluster.nodes {
        let status = wait_for("a full view", FORM_DEADLINE, || full_view(node)).await?;
        leaders.push(status["raft"]["leader"].clone());
        assert_eq!(status["voters"].as_array().map(Vec::len), Some(3), "{status}");
        let shown = Command::new(&cluster.program)
            .args(["status", "--http", &format!("http://{}", node.http)])
            .output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        for name in ["n1", "n2", "n3"] {
            assert!(shown.contains(name), "`quorate status` shows no {name}:\n{shown}");
        }
    }
    assert!(leaders.iter().all(|leader| !leader.is_null() && *leader == leaders[0]), "{leaders:?}");
    Ok(())
}

async fn full_view(node: &Node) -> Outcome<serde_json::Value> {
    let status = node.status().await?;
    let members = status["members"].as_array().cloned().unwrap_or_default();
    let alive = members.iter().filter(|member| member["alive"] == true).count();
    if alive == 3 && members.len() == 3 {
        Ok(status)
    } else {
        Err(Failure::new(status.to_string()))
    }
}

/// Starts a node that must end with code 2, and checks that one line of standard error names the reason.
async fn refused(options: NodeOptions, reasons: &[&str]) -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut process = Node::spawn(&binary()?, &options, folder.path())?;
    let status = process.wait(Duration::from_secs(20)).await?;
    let log = process.log();
    assert_eq!(status.code(), Some(2), "{options:?}: {log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("quorate:")).collect();
    let [line] = lines[..] else { panic!("not one line, but {lines:?} in:\n{log}") };
    for reason in reasons {
        assert!(line.contains(reason), "no {reason:?} in: {line}");
    }
    assert_eq!(process.output(), "", "a node that is refused is never ready");
    Ok(())
}

fn named(name: &str) -> NodeOptions {
    NodeOptions { name: name.to_owned(), ..NodeOptions::default() }
}

#[tokio::test]
async fn a_taken_port_ends_with_code_two() -> Outcome {
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let taken = tcp.local_addr()?.to_string();
    refused(NodeOptions { resp: Some(taken.clone()), ..named("resp") }, &[&taken]).await?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let listen = udp.local_addr()?;
    refused(NodeOptions { listen: Some(listen), ..named("cluster") }, &[&listen.to_string()]).await
}

#[tokio::test]
async fn bad_configuration_ends_with_code_two() -> Outcome {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("node.toml");
    let with_config = |name: &str| NodeOptions {
        more: vec!["--config".into(), config.display().to_string()],
        ..named(name)
    };
    std::fs::write(&config, "[node]\nnonsense = 1\n")?;
    refused(with_config("key"), &["nonsense"]).await?;
    std::fs::write(&config, "[nonsense]\n")?;
    refused(with_config("table"), &["nonsense"]).await?;
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "too short")?;
    let with_secret = |name: &str| NodeOptions { secret_file: Some(secret.clone()), ..named(name) };
    refused(with_secret("secret"), &["secret"]).await?;
    std::fs::remove_file(&secret)?;
    refused(with_secret("missing"), &[&secret.display().to_string()]).await?;
    Ok(())
}

#[tokio::test]
async fn resp_beyond_loopback_needs_a_password() -> Outcome {
    refused(NodeOptions { resp: Some("0.0.0.0:0".into()), ..named("open") }, &["password"]).await
}

#[tokio::test]
async fn a_node_with_another_secret_is_refused_and_changes_nothing() -> Outcome {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(3).await?;
    let folder = TempDir::new()?;
    let secret_file = folder.path().join("other");
    write_secret(&secret_file, &keygen(&cluster.program)?)?;
    let options = NodeOptions {
        name: "stranger".into(),
        seeds: cluster.nodes.iter().map(|node| node.cluster).collect(),
        secret_file: Some(secret_file),
        ..NodeOptions::default()
    };
    // Gossip needs a moment to tell everybody of everybody; from then on, nothing may change.
    for node in &cluster.nodes {
        wait_for("a full view", FORM_DEADLINE, || full_view(node)).await?;
    }
    let stranger = Node::spawn(&cluster.program, &options, folder.path())?;
    wait_for("both sides to say why", FORM_DEADLINE, || async {
        let told = |log: String| log.lines().any(|line| line.contains("another secret"));
        let here = told(stranger.log());
        let there = cluster.nodes.iter().any(|node| told(node.process.log()));
        if here && there {
            return Ok(());
        }
        Err(Failure::new(format!("here {here}, there {there}: {}", stranger.log_end())))
    })
    .await?;
    assert_eq!(stranger.output(), "", "it must not become ready");
    for node in &cluster.nodes {
        full_view(node).await?;
        assert_eq!(node.client().await?.ask("SET k v").await?, ok());
    }
    Ok(())
}

fn write_secret(path: &Path, secret: &str) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, secret)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

/// Sends `bytes`, not minding that the server may hang up on the way, and reads what it says until it does.
async fn throw(address: SocketAddr, bytes: &[u8]) -> Outcome<Option<String>> {
    let mut stream = TcpStream::connect(address).await?;
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let write = async {
        drop(writer.write_all(bytes).await);
        drop(writer.shutdown().await);
    };
    // A reset is an end like any other: there was unread input when the server closed.
    let both = async { tokio::join!(write, reader.read_to_end(&mut answer)) };
    match tokio::time::timeout(REPLY_DEADLINE, both).await {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&answer).into_owned())),
        Err(_) => Ok(None),
    }
}

#[tokio::test]
async fn noise_at_the_resp_port_ends_connections_and_nothing_else() -> Outcome {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1).await?;
    let node = &cluster.nodes[0];
    let before = node.process.resident()?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut sent = 0;
    while sent < 64 * MIB {
        // A first byte that promises a command on every other connection.
        let mut bytes = noise.bytes(MIB);
        if sent % (2 * MIB) == 0 {
            bytes.splice(0..0, *b"*2\r\n$3\r\nGET\r\n$1000000\r\n");
        }
        sent += bytes.len();
        let answer = throw(node.resp, &bytes).await?;
        assert!(answer.is_some(), "a connection was neither answered nor closed");
    }
    let grown = node.process.resident()?.saturating_sub(before);
    assert!(grown < 96 * MIB as u64, "memory grew by {} MiB", grown / MIB as u64);
    assert_eq!(node.client().await?.ask("SET k v").await?, ok());
    Ok(())
}

#[tokio::test]
async fn truncated_and_oversized_requests_leave_memory_bounded() -> Outcome {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1).await?;
    let node = &cluster.nodes[0];
    let before = node.process.resident()?;
    // Claims of much, of which nothing comes: as many as may hold on.
    let mut held = Vec::new();
    for claim in
        ["*1048576\r\n", "*2\r\n$3\r\nGET\r\n$16000000\r\n", "*1\r\n$4\r\nPI", "\"half a line"]
    {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(node.resp).await?;
            stream.write_all(claim.as_bytes()).await?;
            held.push(stream);
        }
    }
    let grown = node.process.resident()?.saturating_sub(before);
    assert!(grown < 96 * MIB as u64, "claims alone grew memory by {} MiB", grown / MIB as u64);
    // Each protocol error is told once, and then the connection ends.
    for (bytes, reason) in [
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*1\r\n$-7\r\n", "invalid bulk length"),
        ("*1\r\n+OK\r\n", "expected '$'"),
    ] {
        let answer = throw(node.resp, bytes.as_bytes()).await?.unwrap_or_default();
        assert!(answer.starts_with("-ERR Protocol error") && answer.contains(reason), "{answer}");
    }
    assert_eq!(node.client().await?.ask("SET k v").await?, ok());
    drop(held);
    Ok(())
}

#[tokio::test]
async fn a_bulk_over_the_limit_is_told_the_limit() -> Outcome {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(1).await?;
    let mut client = cluster.nodes[0].client().await?;
    let claim = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", BULK_MAX + 1);
    client.send(claim.as_bytes()).await?;
    let Arrival::Reply(reply) = client.next(REPLY_DEADLINE).await? else { panic!("no answer") };
    let text = reply.error_text().unwrap_or_default();
    assert!(text.contains(&BULK_MAX.to_string()), "the limit of {BULK_MAX} is not in: {text}");
    // Up to the limit it is taken.
    let mut client = cluster.nodes[0].client().await?;
    let value = vec![b'x'; BULK_MAX - MIB];
    assert_eq!(client.call(&[b"SET", b"big", &value]).await?, ok());
    assert_eq!(
        client.ask("STRLEN big").await?,
        Reply::Integer((BULK_MAX - MIB).try_into().unwrap())
    );
    Ok(())
}

#[tokio::test]
async fn noise_at_the_cluster_port_changes_nothing() -> Outcome {
    let _turn = TURN.lock().await;
    let cluster = Cluster::start(3).await?;
    let victim = &cluster.nodes[cluster.leader().await?];
    let before = victim.process.resident()?;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let mut client = victim.client().await?;
    let mut sent = 0;
    let mut round = 0_u64;
    while sent < 64 * MIB {
        let length = 1 + usize::try_from(noise.next() % 1200).unwrap();
        let mut bytes = noise.bytes(length);
        // A long header of QUIC version 1 on every fourth, so that it looks like a first packet.
        if round.is_multiple_of(4) && bytes.len() > 5 {
            bytes[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        socket.send_to(&bytes, victim.cluster).await?;
        sent += bytes.len();
        round += 1;
        if round.is_multiple_of(5000) {
            assert_eq!(client.ask("SET k v").await?, ok(), "after {sent} bytes");
        }
    }
    let grown = victim.process.resident()?.saturating_sub(before);
    assert!(grown < 96 * MIB as u64, "memory grew by {} MiB", grown / MIB as u64);
    for node in &cluster.nodes {
        assert_eq!(node.client().await?.ask("SET k v").await?, ok());
        wait_for("a full view", FORM_DEADLINE, || full_view(node)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stopped_follower_catches_up_when_it_goes_on() -> Outcome {
    let _turn = TURN.lock().await;
    let mut cluster = Cluster::start(3).await?;
    let leader = cluster.leader().await?;
    let follower = (leader + 1) % 3;
    cluster.nodes[follower].process.signal(Signal::Stop)?;
    let mut client = cluster.nodes[leader].client().await?;
    for n in 0..200 {
        assert_eq!(client.ask(&format!("SET key:{n} {n}")).await?, ok());
    }
    cluster.nodes[follower].process.signal(Signal::Cont)?;
    let address = cluster.nodes[follower].resp;
    wait_for("the follower to catch up", FORM_DEADLINE, || async {
        let reply = Client::connect(address).await?.ask("GET key:199").await?;
        if reply == Reply::Bulk(b"199".to_vec()) {
            Ok(())
        } else {
            Err(Failure::new(reply.to_string()))
        }
    })
    .await
}

#[test]
fn free_addresses_are_distinct() -> Outcome {
    let addresses = free_addresses(20)?;
    let distinct: std::collections::BTreeSet<SocketAddr> = addresses.iter().copied().collect();
    assert_eq!(distinct.len(), 20);
    Ok(())
}
