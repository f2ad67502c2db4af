//! redis-rs with its default handshake, on three connections to three nodes; run by `run-clients`.
//!
//! Owns: what game servers do with it. Does not own: starting servers; `QUORATE_TEST_RESP` names them.
//! Invariant: only default options; what the client sends unasked is part of the test.

use std::collections::BTreeMap;

use redis::{Commands, Connection, ErrorKind, RedisResult, TypedCommands, Value};

fn connect(node: usize, query: &str) -> RedisResult<Connection> {
    let nodes = std::env::var("QUORATE_TEST_RESP").unwrap_or_else(|_| "127.0.0.1:6379".into());
    let nodes: Vec<&str> = nodes.split(',').collect();
    let address = nodes.get(node % nodes.len()).copied().unwrap_or_default();
    redis::Client::open(format!("redis://{address}/{query}"))?.get_connection()
}

fn key(word: &str) -> String {
    format!("redis-rs:{word}")
}

fn types(a: &mut Connection, b: &mut Connection, c: &mut Connection) -> RedisResult<()> {
    let _: usize = Commands::del(a, &["s", "n", "h", "set", "l"].map(key)[..])?;
    let _: () = Commands::set(a, key("s"), "value")?;
    assert_eq!(TypedCommands::get(b, key("s"))?, Some("value".to_owned()));
    assert_eq!(TypedCommands::get(c, key("none"))?, None);
    for (client, expected) in [(&mut *a, 1), (b, 2), (c, 3)] {
        assert_eq!(Commands::incr::<_, _, i64>(client, key("n"), 1)?, expected);
    }
    let _: () = Commands::hset_multiple(a, key("h"), &[("f", 1), ("g", 2)])?;
    let fields: BTreeMap<String, i64> = Commands::hgetall(b, key("h"))?;
    assert_eq!(fields, BTreeMap::from([("f".to_owned(), 1), ("g".to_owned(), 2)]));
    assert_eq!(Commands::sadd::<_, _, usize>(a, key("set"), &["x", "y"])?, 2);
    assert_eq!(Commands::sismember::<_, _, bool>(c, key("set"), "x").map(u8::from)?, 1);
    assert_eq!(Commands::rpush::<_, _, usize>(a, key("l"), &[1, 2, 3])?, 3);
    assert_eq!(Commands::lrange::<_, Vec<i64>>(b, key("l"), 0, -1)?, [1, 2, 3]);
    let popped: Option<(String, i64)> = Commands::blpop(c, key("l"), 1.0)?;
    assert_eq!(popped, Some((key("l"), 1)));
    let _: () = Commands::set_ex(a, key("ttl"), "v", 100)?;
    assert!(Commands::ttl::<_, i64>(b, key("ttl"))? > 90);
    Ok(())
}

fn transactions(a: &mut Connection, b: &mut Connection) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    pipe.atomic().set(key("t"), 1).ignore().incr(key("t"), 1).get(key("t"));
    assert_eq!(pipe.query::<(i64, i64)>(a)?, (2, 2));
    redis::cmd("WATCH").arg(key("t")).exec(a)?;
    let _: () = Commands::set(b, key("t"), "changed")?;
    let lost: Option<Vec<Value>> = redis::pipe().atomic().set(key("t"), "mine").query(a)?;
    assert_eq!(lost, None);
    let error = Commands::incr::<_, _, i64>(a, key("t"), 1).err();
    assert!(error.is_some_and(|error| error.kind() != ErrorKind::Io), "INCR of a text is refused");
    Ok(())
}

fn messages(a: &mut Connection, mut subscriber: Connection) -> RedisResult<()> {
    let mut sub = subscriber.as_pubsub();
    sub.subscribe(key("ch"))?;
    sub.psubscribe(key("c*"))?;
    assert_eq!(Commands::publish::<_, _, i64>(a, key("ch"), "hello")?, 2);
    for pattern in [false, true] {
        let message = sub.get_message()?;
        assert_eq!(message.get_payload::<String>()?, "hello");
        assert_eq!(message.from_pattern(), pattern);
    }
    Ok(())
}

fn main() -> RedisResult<()> {
    for query in ["", "?protocol=resp3"] {
        let [mut a, mut b, mut c] = [connect(0, query)?, connect(1, query)?, connect(2, query)?];
        types(&mut a, &mut b, &mut c)?;
        transactions(&mut a, &mut b)?;
        if query.is_empty() {
            messages(&mut a, connect(1, query)?)?;
        }
    }
    Ok(())
}
