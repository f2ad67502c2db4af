//! CLIENT, COMMAND, CONFIG and the other commands that the door answers by itself.
//!
//! Owns their replies and errors. Source: Redis 7.0.15; where it differs, 7.2.

use super::*;

#[tokio::test]
async fn small_commands_answer_as_redis_does() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    for (request, reply) in [
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("ROLE", "['master' :5 []]"),
        ("WAIT 0 10", ":0"),
        ("WAIT abc 1", "-ERR value is not an integer or out of range"),
        ("WAIT 0 -1", "-ERR timeout is negative"),
        ("TIME x", "-ERR wrong number of arguments for 'time' command"),
        ("READONLY", "-ERR This instance has cluster support disabled"),
        ("CLUSTER INFO", "-ERR This instance has cluster support disabled"),
        ("MODULE LIST", "[]"),
        ("ACL WHOAMI", "'default'"),
        ("ACL CAT x", "-ERR Unknown category 'x'"),
        ("LATENCY LATEST", "[]"),
        ("CONFIG GET nosuch", "[]"),
        ("CONFIG GET data* SAVE", "['databases' '16' 'save' '']"),
        ("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command"),
        ("CONFIG SET maxmemory", "-ERR wrong number of arguments for 'config|set' command"),
        (
            "CONFIG SET nosuch 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
        ),
        (
            "CONFIG SET databases 3",
            "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
        ),
        ("CONFIG SET appendonly no", "+OK"),
        ("CONFIG RESETSTAT", "+OK"),
        ("COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command"),
        ("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
        ("COMMAND INFO nosuch", "[nil]"),
        ("COMMAND DOCS nosuch", "[]"),
        ("COMMAND GETKEYS SET k v", "['k']"),
        ("COMMAND GETKEYS MSET a 1 b 2", "['a' 'b']"),
        ("COMMAND GETKEYS PING", "-ERR wrong number of arguments for 'command|getkeys' command"),
        ("COMMAND GETKEYS ECHO x", "-ERR The command has no key arguments"),
        ("COMMAND LIST FILTERBY PATTERN hgetal*", "['hgetall']"),
        ("INFO nosuchsection", "''"),
        ("DBSIZE", ":0"),
    ] {
        client.check(request, &[reply]).await;
    }
    client.request("COMMAND INFO get").await;
    let info = client.next_text().await;
    assert!(info.starts_with("[['get' :2 ["), "{info}");
}

#[tokio::test]
async fn client_tells_of_and_changes_the_connection() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let bad_name = "-ERR Client names cannot contain spaces, newlines or special characters.";
    client.send("CLIENT SETNAME 'a b'\r\n").await;
    assert_eq!(client.next_text().await, bad_name);
    for (request, reply) in [
        ("CLIENT ID", ":1"),
        ("CLIENT SETNAME foo", "+OK"),
        ("CLIENT GETNAME", "'foo'"),
        ("CLIENT SETNAME ", "+OK"),
        ("CLIENT GETNAME", "nil"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
        ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
        ("CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'"),
        ("CLIENT NO-EVICT ON", "+OK"),
        ("CLIENT NO-EVICT FOO", "-ERR syntax error"),
        ("CLIENT NO-TOUCH OFF", "+OK"),
        ("CLIENT TRACKING OFF", "+OK"),
        ("CLIENT TRACKING ON", "-ERR client-side caching is not supported by this server"),
        ("CLIENT TRACKINGINFO", "['flags' ['off'] 'redirect' :-1 'prefixes' []]"),
        ("CLIENT GETREDIR", ":-1"),
        ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT LIST ID 999", "''"),
        ("CLIENT LIST ID x", "-ERR Invalid client ID"),
        ("CLIENT KILL 1.2.3.4:5", "-ERR No such client"),
        ("CLIENT KILL ID 999", ":0"),
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL FOO 1", "-ERR syntax error"),
        ("CLIENT UNBLOCK 999", ":0"),
        ("CLIENT UNBLOCK abc", "-ERR value is not an integer or out of range"),
        ("CLIENT UNBLOCK 1 FOO", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ("CLIENT REPLY FOO", "-ERR syntax error"),
    ] {
        client.check(request, &[reply]).await;
    }
    client.request("CLIENT LIST").await;
    let list = client.next_text().await;
    assert!(list.starts_with("'id=1 addr=127.0.0.1:"), "{list}");
    assert!(list.contains(" cmd=client|list user=default "), "{list}");
}

#[tokio::test]
async fn client_reply_turns_replies_off_and_on() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.check("CLIENT REPLY OFF\nPING\nSET k v\nnosuch\nCLIENT REPLY ON", &["+OK"]).await;
    client.check("CLIENT REPLY SKIP\nPING\nGET k", &["'v'"]).await;
    client.check("CLIENT REPLY SKIP\nSET k w\nGET k", &["'w'"]).await;
}

#[tokio::test]
async fn client_kill_ends_connections() {
    let door = Door::open().await;
    let mut b = door.connect().await;
    b.check("CLIENT ID", &[":1"]).await;
    let mut a = door.connect().await;
    a.check("CLIENT KILL ID 1\nCLIENT KILL TYPE normal", &[":1", ":0"]).await;
    assert_eq!(b.next_text().await, "closed");
    a.check("CLIENT KILL TYPE normal SKIPME no", &[":1", "closed"]).await;
}

#[tokio::test]
async fn a_door_that_closes_ends_its_connections() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.check("SUBSCRIBE c", &["['subscribe' 'c' :1]"]).await;
    let address = door.server.address();
    timeout(PATIENCE, door.server.shutdown()).await.unwrap();
    assert_eq!(client.next_text().await, "closed");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn counters_of_info_grow_and_go_back() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.check("PING\nPING", &["+PONG", "+PONG"]).await;
    client.request("INFO stats\nCONFIG RESETSTAT\nINFO stats clients").await;
    assert!(client.next_text().await.contains("total_commands_processed:3\r\n"));
    assert_eq!(client.next_text().await, "+OK");
    let info = client.next_text().await;
    assert!(info.contains("total_commands_processed:1\r\n"), "{info}");
    assert!(info.contains("connected_clients:1\r\n"), "{info}");
}
