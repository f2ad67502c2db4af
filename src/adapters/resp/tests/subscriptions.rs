//! Subscriptions, their confirmations, pushes and where they stand between replies.
//!
//! Owns both protocol versions. Source of replies: Redis 7.0.15, and 7.2 for a connection's own pushes.

use super::*;

#[tokio::test]
async fn resp2_subscriber_hears_and_may_do_little_else() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("SUBSCRIBE a b", &["['subscribe' 'a' :1]", "['subscribe' 'b' :2]"]).await;
    a.check("SUBSCRIBE a", &["['subscribe' 'a' :2]"]).await;
    a.check("PSUBSCRIBE a*", &["['psubscribe' 'a*' :3]"]).await;
    b.check("PUBLISH a hello\nPUBLISH none x", &[":2", ":0"]).await;
    assert_eq!(a.next_text().await, "['message' 'a' 'hello']");
    assert_eq!(a.next_text().await, "['pmessage' 'a*' 'a' 'hello']");
    for name in ["get", "client|id", "hello", "publish", "multi"] {
        let request = match name {
            "get" => "GET k",
            "client|id" => "CLIENT ID",
            "publish" => "PUBLISH a x",
            other => other,
        };
        let refused = format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context"
        );
        a.check(request, &[&refused]).await;
    }
    a.check("nosuch", &["-ERR unknown command 'nosuch', with args beginning with: "]).await;
    a.check("PING\nPING x", &["['pong' '']", "['pong' 'x']"]).await;
    a.check("UNSUBSCRIBE a\nUNSUBSCRIBE a", &["['unsubscribe' 'a' :2]", "['unsubscribe' 'a' :2]"])
        .await;
    a.check("PUNSUBSCRIBE", &["['punsubscribe' 'a*' :1]"]).await;
    a.check("UNSUBSCRIBE", &["['unsubscribe' 'b' :0]"]).await;
    a.check("UNSUBSCRIBE\nPING", &["['unsubscribe' nil :0]", "+PONG"]).await;
    a.check("SUBSCRIBE", &["-ERR wrong number of arguments for 'subscribe' command"]).await;
}

#[tokio::test]
async fn sharded_channels_are_a_space_of_their_own() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check(
        "SUBSCRIBE c\nSSUBSCRIBE c d",
        &["['subscribe' 'c' :1]", "['ssubscribe' 'c' :1]", "['ssubscribe' 'd' :2]"],
    )
    .await;
    b.check("SPUBLISH c hey\nPUBLISH c ho", &[":1", ":1"]).await;
    assert_eq!(a.next_text().await, "['smessage' 'c' 'hey']");
    assert_eq!(a.next_text().await, "['message' 'c' 'ho']");
    for (request, reply) in [
        ("PUBSUB CHANNELS", "['c']"),
        ("PUBSUB CHANNELS z*", "[]"),
        ("PUBSUB SHARDCHANNELS", "['c' 'd']"),
        ("PUBSUB NUMSUB c none", "['c' :1 'none' :0]"),
        ("PUBSUB SHARDNUMSUB d", "['d' :1]"),
        ("PUBSUB NUMSUB", "[]"),
        ("PUBSUB NUMPAT", ":0"),
        ("PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command"),
        ("PUBSUB FOO", "-ERR unknown subcommand 'FOO'. Try PUBSUB HELP."),
        (
            "PUBSUB CHANNELS a b",
            "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
        ),
    ] {
        b.check(request, &[reply]).await;
    }
    a.check("SUNSUBSCRIBE c\nQUIT", &["['sunsubscribe' 'c' :1]", "+OK", "closed"]).await;
    until("the subscription's end", || {
        let node = &door.node;
        node.pubsub.publish(Kind::Channel, b"c", Bytes::new(), false).is_ok()
    })
    .await;
    b.check("PUBSUB SHARDCHANNELS", &[]).await;
    assert!(["[]", "['d']"].contains(&b.next_text().await.as_str()));
}

#[tokio::test]
async fn resp3_pushes_follow_the_reply_and_never_stand_in_exec() {
    let door = Door::open().await;
    let mut a = door.connect().await;
    a.request("HELLO 3\nSUBSCRIBE c\nPSUBSCRIBE c*").await;
    assert!(a.next_text().await.starts_with('{'));
    assert_eq!(a.next_text().await, ">['subscribe' 'c' :1]");
    assert_eq!(a.next_text().await, ">['psubscribe' 'c*' :2]");
    let (message, by_pattern) = (">['message' 'c' 'self']", ">['pmessage' 'c*' 'c' 'self']");
    a.check("SET k v\nPUBLISH c self", &["+OK", ":2", message, by_pattern]).await;
    a.check("PING\nPING x", &["+PONG", "'x'"]).await;
    a.check("MULTI\nPUBLISH c self\nSET k w\nGET k", &["+OK", "+QUEUED", "+QUEUED", "+QUEUED"])
        .await;
    a.check("EXEC", &["[:2 +OK 'w']", message, by_pattern]).await;
    a.check("RESET\nPING", &["+RESET", "+PONG"]).await;
    a.check("PUBLISH c self", &[":0"]).await;
    a.check_quiet().await;
}

#[tokio::test]
async fn subscribing_inside_multi_confirms_in_exec() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("MULTI\nSUBSCRIBE ch\nEXEC", &["+OK", "+QUEUED", "[['subscribe' 'ch' :1]]"]).await;
    b.check("PUBLISH ch x", &[":1"]).await;
    assert_eq!(a.next_text().await, "['message' 'ch' 'x']");
}

#[tokio::test]
async fn messages_stay_in_order_through_a_pipeline_of_publishes() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("SUBSCRIBE c", &["['subscribe' 'c' :1]"]).await;
    let lines: Vec<String> = (0..500).map(|n| format!("PUBLISH c {n}")).collect();
    b.check(&lines.join("\n"), &[":1"; 500]).await;
    for n in 0..500 {
        assert_eq!(a.next_text().await, format!("['message' 'c' '{n}']"));
    }
    a.check_quiet().await;
}

#[tokio::test]
async fn publish_comes_after_the_writes_before_it() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("SUBSCRIBE c", &["['subscribe' 'c' :1]"]).await;
    b.check("SET k v\nPUBLISH c go\nSET k w\nPUBLISH c on", &["+OK", ":1", "+OK", ":1"]).await;
    assert_eq!(*door.node.batches.lock(), [1, 1]);
    assert_eq!(a.next_text().await, "['message' 'c' 'go']");
    assert_eq!(a.next_text().await, "['message' 'c' 'on']");
}

#[tokio::test]
async fn binary_channels_and_payloads_pass_as_they_are() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.send(b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\n\r\n\0\xff\r\n").await;
    assert!(a.next().await.is_some());
    b.send(b"*3\r\n$7\r\nPUBLISH\r\n$4\r\n\r\n\0\xff\r\n$0\r\n\r\n").await;
    assert_eq!(b.next_text().await, ":1");
    let Some(Value::Array(items)) = a.next().await else { panic!("a message") };
    assert_eq!(items[1], Value::Bulk(Bytes::from_static(b"\r\n\0\xff")));
    assert_eq!(items[2], Value::Bulk(Bytes::new()));
}
