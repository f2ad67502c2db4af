//! QUORATE.BIND and the patterns: what each operation is bound to, and that the end of a connection is noted.
//!
//! Owns the door's part; what being bound means is tested with the keyspace. Invariant: each test ends every connection it
//! opened.

use super::*;

const NONE: Binding = Binding::None;
const NODE: Binding = Binding::Node;

impl Door {
    /// With what the operations since the last question were bound.
    fn bindings(&self) -> Vec<Binding> {
        std::mem::take(&mut *self.node.bindings.lock())
    }

    async fn ended(&self) -> Vec<u64> {
        timeout(PATIENCE, self.node.clients.ended(9)).await.expect("an end in time")
    }
}

#[tokio::test]
async fn writes_are_bound_from_on_to_off() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let request = "SET a 1\nQUORATE.BIND ON\nSET a 2\nGET a\nquorate.bind on node\nSET a 3\n\
                   QUORATE.BIND OFF\nSET a 4\nQUORATE.BIND ON CONNECTION\nSET a 5\nRESET\nSET a 6";
    let replies =
        ["+OK", "+OK", "+OK", "'2'", "+OK", "+OK", "+OK", "+OK", "+OK", "+OK", "+RESET", "+OK"];
    client.check(request, &replies).await;
    let own = Binding::Client(1);
    assert_eq!(door.bindings(), [NONE, own, NONE, NODE, NONE, own, NONE]);
    let syntax = "-ERR syntax error";
    let arity = "-ERR wrong number of arguments for 'quorate.bind' command";
    client.check("QUORATE.BIND", &[arity]).await;
    client.check("QUORATE.BIND YES\nQUORATE.BIND ON A\nQUORATE.BIND ON NODE x", &[syntax; 3]).await;
    drop(client);
    assert_eq!(door.ended().await, [1]);
}

#[tokio::test]
async fn a_transaction_is_bound_operation_by_operation() {
    let rules = [Bind { key: "rooms*".to_owned(), to: BindTo::Connection }];
    let door = Door::open_with_patterns(&rules, |_| {}).await;
    let mut client = door.connect().await;
    let queued = ["+OK", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED"];
    let request = "MULTI\nHSET rooms f v\nSET a 1\nQUORATE.BIND ON NODE\nSET a 2\nGET a";
    client.check(request, &queued).await;
    client.check("EXEC", &["[:1 +OK +OK +OK '2']"]).await;
    assert_eq!(door.bindings(), [Binding::Client(1), NONE, NODE, NONE]);
    client.check("SET b 1", &["+OK"]).await;
    assert_eq!(door.bindings(), [NODE], "it goes on after EXEC");
    client
        .check("MULTI\nQUORATE.BIND OFF\nDISCARD\nSET b 1", &["+OK", "+QUEUED", "+OK", "+OK"])
        .await;
    assert_eq!(door.bindings(), [NODE], "what is discarded is not so");
}

#[tokio::test]
async fn patterns_bind_for_clients_that_know_of_nothing() {
    let rules = [
        Bind { key: "roomcaches".to_owned(), to: BindTo::Connection },
        Bind { key: "roomcount".to_owned(), to: BindTo::Node },
    ];
    let door = Door::open_with_patterns(&rules, |_| {}).await;
    let (mut quiet, mut client) = (door.connect().await, door.connect().await);
    quiet.check("PING", &["+PONG"]).await;
    let request = "HSET roomcaches a {}\nHINCRBY roomcount p 1\nSET other 1\nHDEL roomcaches a";
    client.check(request, &[":1", ":1", "+OK", ":1"]).await;
    assert_eq!(door.bindings(), [Binding::Client(2), NODE, NONE, NONE]);
    quiet.check("SET other 2", &["+OK"]).await;
    drop(quiet);
    drop(client);
    assert_eq!(door.ended().await, [2], "who has bound nothing is not released");
}

#[tokio::test]
async fn every_way_in_which_a_connection_ends_is_noted() {
    let door = Door::open().await;
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut client = door.connect().await;
        client.check("QUORATE.BIND ON\nSET a 1", &["+OK", "+OK"]).await;
        all.push(client);
    }
    let [mut quits, mut wrong, killed, mut last] = <[Client; 4]>::try_from(all).ok().unwrap();
    quits.check("QUIT", &["+OK", "closed"]).await;
    wrong.send("*x\r\n").await;
    last.check("CLIENT KILL ID 3", &[":1"]).await;
    for count in 1..=3 {
        let clients = &door.node.clients;
        until("a release", || !clients.is_bound(count)).await;
    }
    drop(killed);
    let node = Arc::clone(&door.node);
    door.server.shutdown().await;
    assert_eq!(node.clients.ended(9).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn keyspace_notifications_are_read_and_set() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let get = "CONFIG GET notify-keyspace-events";
    client.check(get, &["['notify-keyspace-events' '']"]).await;
    client.check("CONFIG SET notify-keyspace-events KEA", &["+OK"]).await;
    client.check(get, &["['notify-keyspace-events' 'AKE']"]).await;
    let refused = "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - 'q' has letters \
                   other than KEg$lshzxetdmnA";
    client.check("CONFIG SET notify-keyspace-events q", &[refused]).await;
    client.check(get, &["['notify-keyspace-events' 'AKE']"]).await;
}
