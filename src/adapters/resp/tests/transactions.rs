//! MULTI, EXEC and WATCH, and the order of a pipeline.
//!
//! Owns what must be one batch and one step. Source of texts: Redis 7.0.15.

use super::*;

#[tokio::test]
async fn a_pipeline_is_one_batch_and_sees_its_own_writes() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let request = "SET a 1\nINCR a\nGET a\nnosuch\nHSET a f v\nGET a";
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let unknown = "-ERR unknown command 'nosuch', with args beginning with: ";
    client.check(request, &["+OK", ":2", "'2'", unknown, wrong, "'2'"]).await;
    assert_eq!(*door.node.batches.lock(), [5]);
}

#[tokio::test]
async fn a_pipeline_arrives_in_any_pieces() {
    let door = Door::open().await;
    let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nval\r\nGET k\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\
                  EXEC\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\nGET k\r\n";
    for cut in 1..input.len() {
        let mut client = door.connect().await;
        let (first, second) = input.split_at(cut);
        client.send(first).await;
        tokio::task::yield_now().await;
        client.send(second).await;
        for expected in ["+OK", "'val'", "+OK", "+QUEUED", "['val']", "+OK", "nil"] {
            assert_eq!(client.next_text().await, expected, "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_long_pipeline_is_bounded_batches_in_order() {
    let door = Door::open_with(|config| config.pipeline_requests_max = 100).await;
    let mut client = door.connect().await;
    let lines = vec!["INCR n"; 1_050].join("\n");
    client.request(&lines).await;
    for number in 1..=1_050 {
        assert_eq!(client.next_text().await, format!(":{number}"));
    }
    assert!(door.node.batches.lock().iter().all(|size| *size <= 100));
}

#[tokio::test]
async fn select_counts_for_what_follows_it() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let request = "SET k zero\nSELECT 1\nGET k\nSET k one\nSELECT 0\nGET k\nSELECT 16\nGET k";
    let range = "-ERR DB index is out of range";
    client.check(request, &["+OK", "+OK", "nil", "+OK", "+OK", "'zero'", range, "'zero'"]).await;
}

#[tokio::test]
async fn exec_is_one_request_and_every_reply_has_its_place() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.check("MULTI\nMULTI", &["+OK", "-ERR MULTI calls can not be nested"]).await;
    let request = "SET a 1\nPING\nINCR a\nSELECT 3\nSET a other\nSADD a x\nSET a 1 FOO\nECHO e";
    client.check(request, &["+QUEUED"; 8]).await;
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let expected = format!("[+OK +PONG :2 +OK +OK {wrong} -ERR syntax error 'e']");
    client.check("EXEC", &[&expected]).await;
    assert_eq!(*door.node.batches.lock(), [1]);
    client.check("GET a\nSELECT 0\nGET a", &["'other'", "+OK", "'2'"]).await;
    client.check("EXEC\nDISCARD", &["-ERR EXEC without MULTI", "-ERR DISCARD without MULTI"]).await;
    client.check("MULTI\nEXEC", &["+OK", "[]"]).await;
    client.check("MULTI\nSET a 9\nDISCARD\nGET a", &["+OK", "+QUEUED", "+OK", "'2'"]).await;
}

#[tokio::test]
async fn a_refused_command_makes_exec_fail() {
    let door = Door::open().await;
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    for (wrong, reply) in [
        ("SET a", "-ERR wrong number of arguments for 'set' command"),
        ("nosuch", "-ERR unknown command 'nosuch', with args beginning with: "),
        ("CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP."),
    ] {
        let mut client = door.connect().await;
        let request = format!("MULTI\n{wrong}\nSET b 1\nEXEC\nEXISTS b");
        client.check(&request, &["+OK", reply, "+QUEUED", aborted, ":0"]).await;
    }
    let mut client = door.connect().await;
    let exec =
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    client.check("EXEC x", &[exec]).await;
    let watch = "-ERR WATCH inside MULTI is not allowed";
    client.check("MULTI\nWATCH a\nEXEC", &["+OK", watch, "[]"]).await;
    client.check("MULTI\nRESET\nEXEC", &["+OK", "+RESET", "-ERR EXEC without MULTI"]).await;
    client.check("MULTI\nQUIT", &["+OK", "+OK", "closed"]).await;
}

#[tokio::test]
async fn watched_keys_decide_over_exec() {
    let door = Door::open().await;
    let (mut client, mut other) = (door.connect().await, door.connect().await);
    client.check("SET a 1\nWATCH a", &["+OK", "+OK"]).await;
    other.check("SET a 2", &["+OK"]).await;
    client.check("MULTI\nSET a mine\nEXEC\nGET a", &["+OK", "+QUEUED", "nil", "'2'"]).await;
    client.check("MULTI\nSET a mine\nEXEC", &["+OK", "+QUEUED", "[+OK]"]).await;

    client.check("WATCH a\nUNWATCH", &["+OK", "+OK"]).await;
    other.check("SET a 3", &["+OK"]).await;
    client.check("MULTI\nPING\nEXEC", &["+OK", "+QUEUED", "[+PONG]"]).await;

    client.check("WATCH k", &["+OK"]).await;
    other.check("SET k v\nDEL k", &["+OK", ":1"]).await;
    client.check("MULTI\nPING\nEXEC", &["+OK", "+QUEUED", "nil"]).await;

    client.check("WATCH never", &["+OK"]).await;
    other.check("DEL never", &[":0"]).await;
    client.check("HELLO 3\nMULTI\nGET a\nEXEC", &[]).await;
    assert!(client.next_text().await.starts_with('{'));
    for expected in ["+OK", "+QUEUED", "['3']"] {
        assert_eq!(client.next_text().await, expected);
    }
}

#[tokio::test]
async fn a_transaction_has_limits_with_both_numbers() {
    let door = Door::open_with(|config| config.transaction_requests_max = 2).await;
    let mut client = door.connect().await;
    let full =
        "-ERR transaction of 3 commands exceeds limit of 2; raise resp.transaction_requests_max";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    let request = "MULTI\nPING\nPING\nPING\nPING\nEXEC";
    let replies = ["+OK", "+QUEUED", "+QUEUED", full, "+QUEUED", aborted];
    client.check(request, &replies).await;
}

#[tokio::test]
async fn what_the_node_says_instead_of_an_answer_is_told() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let refusal = node::Error::TryAgain;
    *door.node.refusal.lock() = Some(refusal.clone());
    let told = format!("-{refusal}");
    assert!(told.starts_with("-TRYAGAIN "), "{told}");
    client.check("SET a 1\nPING", &[&told, "+PONG"]).await;
    client.check("MULTI\nSET a 1\nEXEC", &["+OK", "+QUEUED", &told]).await;
    *door.node.refusal.lock() = None;
    client.check("EXEC\nSET a 1", &["-ERR EXEC without MULTI", "+OK"]).await;
}
