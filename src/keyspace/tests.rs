//! Tests of strings, counters, keys, deadlines and databases against Redis' replies.
//!
//! Owns tables of request and reply, as Redis 7 gives them. Invariant: each test makes its own keyspace.

use super::script::Script;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";

#[test]
fn set_takes_its_options() {
    Script::new().expect(&[
        ("SET k v", "+OK"),
        ("GET k", "$v"),
        ("SET k", "-ERR wrong number of arguments for 'set' command"),
        ("SET k v EX", SYNTAX),
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v PX -1", "-ERR invalid expire time in 'set' command"),
        ("SET k v EX abc", NOT_INTEGER),
        ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET k v EX abc FOO", SYNTAX),
        ("SET k v NX XX", SYNTAX),
        ("SET k v EX 10 PX 10", SYNTAX),
        ("SET k v EX 10 KEEPTTL", SYNTAX),
        ("SET k v KEEPTTL KEEPTTL", "+OK"),
        ("SET k v EX 10 EX 20", "+OK"),
        ("TTL k", ":20"),
        ("SET k v2 NX", "nil"),
        ("SET k v2 XX KEEPTTL", "+OK"),
        ("TTL k", ":20"),
        ("SET k v3 GET", "$v2"),
        ("TTL k", ":-1"),
        ("SET none v XX", "nil"),
        ("SET new v GET", "nil"),
        ("SET new v2 NX GET", "$v"),
        ("GET new", "$v"),
        ("SET k v EXAT 1", "+OK"),
        ("EXISTS k", ":0"),
        ("HSET h f v", ":1"),
        ("SET h v GET", WRONG_TYPE),
        ("SET h v", "+OK"),
        ("SETEX k 10 v", "+OK"),
        ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
        ("PSETEX k 1500 v", "+OK"),
        ("PTTL k", ":1500"),
        ("SETNX k v", ":0"),
        ("SETNX k2 v", ":1"),
        ("GETSET k x", "$v"),
        ("TTL k", ":-1"),
        ("GETDEL k", "$x"),
        ("GETDEL k", "nil"),
    ]);
}
