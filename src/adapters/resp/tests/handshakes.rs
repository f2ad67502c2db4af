//! What clients send when they connect, byte by byte as they were recorded, and who is let in.
//!
//! Owns the greetings of clients in use. Source: recorded from the clients named in the tests.

use super::super::{Config, Password, Server};
use super::*;

const HELLO_2: &str = "['server' 'redis' 'version' '7.2.5' 'proto' :2 'id' :1 'mode' 'standalone' 'role' 'master' \
                       'modules' []]";
const HELLO_3: &str = "{'server'='redis' 'version'='7.2.5' 'proto'=:3 'id'=:1 'mode'='standalone' 'role'='master' \
                       'modules'=[]}";

#[tokio::test]
async fn ioredis_5() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client
        .request("select 2\nclient SETINFO LIB-NAME ioredis\nclient SETINFO LIB-VER 5.11.1\ninfo")
        .await;
    for _ in 0..3 {
        assert_eq!(client.next_text().await, "+OK");
    }
    let info = client.next_text().await;
    assert!(info.starts_with("'# Server\r\nredis_version:7.2.5\r\n"), "{info}");
    for field in ["loading:0\r\n", "role:master\r\n", "redis_mode:standalone\r\n", "run_id:0"] {
        assert!(info.contains(field), "{field} is not in {info}");
    }
    client.check("client info", &[]).await;
    let line = client.next_text().await;
    assert!(line.contains(" db=2 ") && line.contains("lib-name=ioredis lib-ver=5.11.1"), "{line}");
}

#[tokio::test]
async fn node_redis_6_and_redis_py_8() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let refused = "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.";
    let request = "HELLO 3\nCLIENT SETINFO LIB-VER 6.3.1\nCLIENT SETINFO LIB-NAME node-redis\nCLIENT MAINT_NOTIFICATIONS \
                   ON moving-endpoint-type external-ip";
    client.check(request, &[HELLO_3, "+OK", "+OK", refused]).await;
    client.check("CLIENT SETNAME game-1\nCLIENT GETNAME", &["+OK", "'game-1'"]).await;
    client.request("INFO replication").await;
    let info = client.next_text().await;
    assert!(info.starts_with("txt:# Replication\r\nrole:master\r\n"), "{info}");
}

#[tokio::test]
async fn redis_cli_and_redis_benchmark() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.request("COMMAND DOCS").await;
    let docs = client.next_text().await;
    assert!(docs.contains("'hget' ['summary' "), "{docs}");
    client
        .check("CONFIG GET save\nCONFIG GET appendonly", &["['save' '']", "['appendonly' 'no']"])
        .await;
    client.send("PING\r\n").await;
    assert_eq!(client.next_text().await, "+PONG");
}

#[tokio::test]
async fn stackexchange_redis() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.check("HELLO 2\nCLIENT SETNAME HOST\nCLIENT ID", &[HELLO_2, "+OK", ":1"]).await;
    let no_cluster = "-ERR This instance has cluster support disabled";
    for (request, reply) in [
        ("CONFIG GET timeout", "['timeout' '0']"),
        ("CONFIG GET slave-read-only", "['slave-read-only' 'yes']"),
        ("CONFIG GET databases", "['databases' '16']"),
        (
            "SENTINEL MASTERS",
            "-ERR unknown command 'SENTINEL', with args beginning with: 'MASTERS' ",
        ),
        ("CLUSTER NODES", no_cluster),
        ("GET __Booksleeve_TieBreak", "nil"),
        ("ECHO 6fe8b4f1", "'6fe8b4f1'"),
    ] {
        client.check(request, &[reply]).await;
    }
}

#[tokio::test]
async fn hello_changes_nothing_when_it_fails() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    for (request, reply) in [
        ("HELLO", HELLO_2),
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ("HELLO abc", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 3 AUTH nobody x", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("HGETALL none", "[]"),
        ("HELLO 3 AUTH default x SETNAME me", HELLO_3),
        ("HGETALL none", "{}"),
        ("CLIENT GETNAME", "'me'"),
        ("RESET", "+RESET"),
        ("CLIENT GETNAME", "nil"),
    ] {
        client.check(request, &[reply]).await;
    }
}

#[tokio::test]
async fn who_does_not_know_the_password_does_nothing() {
    let password = Some(Password::new("open sesame".replace(' ', "-")));
    let door = Door::open_with(|config| config.password = password).await;
    let mut client = door.connect().await;
    let refused = "-NOAUTH Authentication required.";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    for (request, reply) in [
        ("GET k", refused),
        ("PING", refused),
        ("SUBSCRIBE c", refused),
        ("MULTI", refused),
        ("EXEC", "-EXECABORT Transaction discarded because of: NOAUTH Authentication required."),
        ("nosuch", "-ERR unknown command 'nosuch', with args beginning with: "),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("AUTH open", wrong),
        ("AUTH nobody open-sesame", wrong),
        ("AUTH default open-sesam", wrong),
        ("RESET", "+RESET"),
        ("AUTH default open-sesame", "+OK"),
        ("GET k", "nil"),
        ("RESET", "+RESET"),
        ("GET k", refused),
        ("AUTH open-sesame", "+OK"),
        ("GET k", "nil"),
    ] {
        client.check(request, &[reply]).await;
    }
    let mut client = door.connect().await;
    client.request("HELLO 3").await;
    assert!(client.next_text().await.starts_with("-NOAUTH HELLO must be called"));
    client.request("HELLO 3 AUTH default open-sesame").await;
    assert!(client.next_text().await.starts_with("{'server'"));
    let mut client = door.connect().await;
    client.send("*11\r\n").await;
    let refused = "-ERR Protocol error: unauthenticated multibulk length";
    assert_eq!(client.next_text().await, refused);
    assert_eq!(client.next_text().await, "closed");
}

#[tokio::test]
async fn auth_without_a_password_to_know() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.request("AUTH x").await;
    assert!(
        client.next_text().await.starts_with("-ERR AUTH <password> called without any password")
    );
    client.check("AUTH default anything\nAUTH a b c", &["+OK", "-ERR syntax error"]).await;
}

#[tokio::test]
async fn the_door_does_not_open_where_it_should_not() {
    let bind = |config: Config| Server::bind_backend(FakeNode::new(Patterns::default()), config);
    let everywhere = Config { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..Config::default() };
    let error = bind(everywhere.clone()).await.unwrap_err();
    assert!(error.to_string().contains("resp.password_file"), "{error}");
    let with_password = Config { password: Some(Password::new("p".to_owned())), ..everywhere };
    assert!(bind(with_password).await.is_ok());

    let door = Door::open().await;
    let taken = Config { listen: door.server.address(), ..Config::default() };
    let error = bind(taken).await.unwrap_err();
    assert!(error.to_string().contains(&door.server.address().to_string()), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen, password_file: Some(file.clone()), ..Config::default() };
    assert!(bind(config.clone()).await.unwrap_err().to_string().contains("password_file"));
    std::fs::write(&file, " \n").unwrap();
    assert!(bind(config.clone()).await.unwrap_err().to_string().contains("empty"));
    std::fs::write(&file, "secret\n").unwrap();
    let server = bind(config).await.unwrap();
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let mut client = Client { stream, input: BytesMut::new() };
    client.check("AUTH secret", &["+OK"]).await;
}
