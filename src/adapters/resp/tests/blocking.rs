//! Clients that wait for an element of a list, or for the reply to a request.
//!
//! Owns how a wait ends: served, time up, woken, or the client gone.

use super::*;

#[tokio::test]
async fn a_blocked_client_is_served_and_then_runs_what_it_sent_behind() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.request("SET k v\nBLPOP l 0\nGET k").await;
    assert_eq!(a.next_text().await, "+OK");
    until("a wait", || door.node.waits.load(Ordering::SeqCst) == 1).await;
    b.check("SET k w\nRPUSH l x", &["+OK", ":1"]).await;
    assert_eq!(a.next_text().await, "['l' 'x']");
    assert_eq!(a.next_text().await, "'w'");
    b.check("RPUSH l y\nBLPOP l 0", &[":1", "['l' 'y']"]).await;
}

#[tokio::test(start_paused = true)]
async fn time_runs_out() {
    let door = Door::open().await;
    let mut a = door.connect().await;
    a.check("BLPOP l 2.5\nPING", &["nil", "+PONG"]).await;
    a.check("BLPOP l x", &["-ERR timeout is not a float or out of range"]).await;
    a.check("BLPOP l -1", &["-ERR timeout is negative"]).await;
}

#[tokio::test]
async fn client_unblock_wakes_it() {
    let door = Door::open().await;
    let mut a = door.connect().await;
    a.check("CLIENT ID", &[":1"]).await;
    let mut b = door.connect().await;
    for (request, reply) in [
        ("CLIENT UNBLOCK 1", "nil"),
        ("CLIENT UNBLOCK 1 TIMEOUT", "nil"),
        ("CLIENT UNBLOCK 1 ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        a.request("BLPOP l 0").await;
        until("a wait", || door.node.waits.load(Ordering::SeqCst) == 1).await;
        b.request("INFO clients").await;
        assert!(b.next_text().await.contains("blocked_clients:1\r\n"));
        b.check(request, &[":1"]).await;
        assert_eq!(a.next_text().await, reply);
        b.check(request, &[":0"]).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_waits_no_more() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.request("BLPOP l 0").await;
    until("a wait", || door.node.waits.load(Ordering::SeqCst) == 1).await;
    drop(a);
    until("the wait's end", || door.node.waits.load(Ordering::SeqCst) == 0).await;
    b.check("RPUSH l x\nLLEN l", &[":1", ":1"]).await;
}

#[tokio::test]
async fn a_blocked_resp3_client_still_hears_messages() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.request("HELLO 3\nSUBSCRIBE c\nBLPOP l 0").await;
    assert!(a.next_text().await.starts_with('{'));
    assert_eq!(a.next_text().await, ">['subscribe' 'c' :1]");
    until("a wait", || door.node.waits.load(Ordering::SeqCst) == 1).await;
    b.check("PUBLISH c x", &[":1"]).await;
    assert_eq!(a.next_text().await, ">['message' 'c' 'x']");
    b.check("RPUSH l y", &[":1"]).await;
    assert_eq!(a.next_text().await, "['l' 'y']");
}

#[tokio::test]
async fn inside_multi_nothing_waits() {
    let door = Door::open().await;
    let mut a = door.connect().await;
    a.check("MULTI\nBLPOP l 0\nEXEC", &["+OK", "+QUEUED", "[nil]"]).await;
    assert_eq!(door.node.waits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_brings_its_reply_or_a_code_that_tells_why_there_is_none() {
    let door = Door::open().await;
    let (mut a, mut b) = (door.connect().await, door.connect().await);
    a.check("QUORATE.REQUEST jobs hi 1000", &["-NORESPONDERS no responders"]).await;
    let responder = door.node.pubsub.respond(b"jobs").unwrap();
    a.request("SET k v\nQUORATE.REQUEST jobs hi 0\nGET k").await;
    assert_eq!(a.next_text().await, "+OK");
    let request = responder.next().await.unwrap();
    assert_eq!((&request.channel()[..], &request.payload()[..]), (&b"jobs"[..], &b"hi"[..]));
    request.reply("done".into()).unwrap();
    assert_eq!(a.next_text().await, "'done'");
    assert_eq!(a.next_text().await, "'v'");
    a.request("QUORATE.REQUEST jobs hi 60000").await;
    drop(responder.next().await);
    assert_eq!(a.next_text().await, "-DECLINED the responder declined to reply");
    a.check("QUORATE.REQUEST jobs hi 20", &["-TIMEOUT no reply within 20 ms"]).await;
    // It is handed out all the same.
    drop(responder.next().await);
    a.check("QUORATE.REQUEST jobs hi x", &["-ERR timeout is not an integer or out of range"]).await;
    a.check("QUORATE.REQUEST jobs hi -1", &["-ERR timeout is not an integer or out of range"])
        .await;
    b.check(
        "MULTI\nQUORATE.REQUEST jobs hi 20\nEXEC",
        &["+OK", "+QUEUED", "[-ERR a request cannot wait inside a transaction]"],
    )
    .await;
    a.check("CLIENT ID", &[":1"]).await;
    for (wake, reply) in [
        ("CLIENT UNBLOCK 1", "nil"),
        ("CLIENT UNBLOCK 1 ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        a.request("QUORATE.REQUEST jobs hi 60000").await;
        let _held = responder.next().await;
        b.check(wake, &[":1"]).await;
        assert_eq!(a.next_text().await, reply);
    }
    a.request("QUORATE.REQUEST jobs hi 60000").await;
    let _held = responder.next().await;
    drop(a);
    until("the request's end", || door.node.pubsub.request_counts().0 == 0).await;
}
