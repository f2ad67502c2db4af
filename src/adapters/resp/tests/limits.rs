//! What is too much, too slow or no protocol at all.
//!
//! Owns what ends a connection, and what only holds it back.

use bytesize::ByteSize;

use super::*;

#[tokio::test]
async fn what_is_no_request_is_answered_once_and_ends() {
    let door = Door::open().await;
    for (input, reply) in [
        ("*1\r\nfoo\r\n", "expected '$', got 'f'"),
        ("*abc\r\n", "invalid multibulk length"),
        ("*2\r\n$-5\r\n", "invalid bulk length"),
        ("*2\r\n$3\r\nGET\r\n$600000000\r\n", "invalid bulk length"),
        ("set \"abc\r\n", "unbalanced quotes in request"),
        (
            "*1\r\n$16777217\r\n",
            "invalid bulk length: argument of 16777217 bytes exceeds limit of 16777216; raise resp.bulk_max to allow it",
        ),
    ] {
        let mut client = door.connect().await;
        client.request("PING").await;
        client.send(input).await;
        assert_eq!(client.next_text().await, "+PONG");
        assert_eq!(client.next_text().await, format!("-ERR Protocol error: {reply}"));
        assert_eq!(client.next_text().await, "closed", "{input}");
    }
    for input in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut client = door.connect().await;
        client.send(input).await;
        assert_eq!(client.next_text().await, "closed");
    }
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let door = Door::open_with(|config| config.clients_max = 2).await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("PING", &["+PONG"]).await;
    b.check("PING", &["+PONG"]).await;
    let mut c = door.connect().await;
    assert_eq!(c.next_text().await, "-ERR max number of clients reached");
    assert_eq!(c.next_text().await, "closed");
    b.check("QUIT", &["+OK", "closed"]).await;
    let mut seen = String::new();
    while seen != "+PONG" {
        let mut d = door.connect().await;
        d.send("PING\r\n").await;
        seen = d.next_text().await;
    }
}

#[tokio::test]
async fn a_client_that_reads_late_gets_everything() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let value = "v".repeat(100_000);
    client.check(&format!("SET k {value}"), &["+OK"]).await;
    // 200 MB of replies do not fit any socket; the door reads no further until they are taken.
    let (mut reader, mut writer) = client.stream.into_split();
    let request = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(2_000);
    let writing = tokio::spawn(async move { writer.write_all(&request).await.map(|()| writer) });
    let mut left = 2_000 * (100_000 + "$100000\r\n\r\n".len());
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let count = timeout(PATIENCE, reader.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
    }
    drop(writing.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_reply_above_the_limit_ends_the_connection() {
    let door = Door::open_with(|config| config.output_max = ByteSize::kib(1)).await;
    let mut client = door.connect().await;
    client.check(&format!("SET k {}", "v".repeat(2_000)), &["+OK"]).await;
    client.check("GET k", &["closed"]).await;
}

#[tokio::test]
async fn a_subscriber_that_never_reads_is_cut() {
    let door = Door::open_with(|config| {
        config.output_pubsub_hard_max = ByteSize::mib(1);
    })
    .await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("SUBSCRIBE c", &["['subscribe' 'c' :1]"]).await;
    let request = format!("PUBLISH c {}", "x".repeat(100_000));
    let mut published = 0;
    loop {
        b.request(&request).await;
        published += 1;
        assert!(published < 5_000, "still there after {published} messages");
        if b.next_text().await == ":0" {
            break;
        }
    }
    // What the system had taken already is still to be read; then comes the end, without a word.
    let mut last = a.next_text().await;
    while last.starts_with("['message'") {
        last = a.next_text().await;
    }
    assert_eq!(last, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_cut_and_a_listening_one_is_not() {
    let idle = Duration::from_secs(5);
    let door = Door::open_with(|config| config.timeout_idle = idle).await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("SUBSCRIBE c", &["['subscribe' 'c' :1]"]).await;
    b.check("PING", &["+PONG"]).await;
    assert_eq!(b.next_text().await, "closed");
    a.check_quiet().await;
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_nothing_behind() {
    let door = Door::open().await;
    let mut a = door.connect().await;
    a.check("SUBSCRIBE c", &["['subscribe' 'c' :1]"]).await;
    drop(a);
    let mut b = door.connect().await;
    until("one connection", || {
        let count = door.node.pubsub.publish(Kind::Channel, b"c", Bytes::new(), false);
        futures_util::FutureExt::now_or_never(count.unwrap()) == Some(0)
    })
    .await;
    b.request("INFO clients").await;
    let info = b.next_text().await;
    assert!(info.contains("connected_clients:1\r\n"), "{info}");
}
