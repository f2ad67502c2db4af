//! Tests of strings, counters, keys, deadlines and databases against Redis' replies.
//!
//! Owns tables of request and reply, as Redis 7 gives them. Invariant: each test makes its own keyspace.

mod bound;
mod bound_model;
mod notifications;
mod property;
mod snapshot;
mod transactions;

use super::Limits;
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

#[test]
fn strings_are_read_cut_and_lengthened() {
    Script::new().expect(&[
        ("GETEX k", "nil"),
        ("SET k v", "+OK"),
        ("GETEX k EX 100", "$v"),
        ("TTL k", ":100"),
        ("GETEX k EX 10 EX 20", "$v"),
        ("GETEX k PERSIST", "$v"),
        ("TTL k", ":-1"),
        ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command"),
        ("GETEX k KEEPTTL", SYNTAX),
        ("GETEX k EX 10 PERSIST", SYNTAX),
        ("GETEX k EXAT 1", "$v"),
        ("GET k", "nil"),
        ("APPEND a x", ":1"),
        ("APPEND a yz", ":3"),
        ("STRLEN a", ":3"),
        ("STRLEN none", ":0"),
        ("GETRANGE a 0 -1", "$xyz"),
        ("GETRANGE a -2 -1", "$yz"),
        ("GETRANGE a -5 -10", "$"),
        ("GETRANGE a -10 0", "$x"),
        ("GETRANGE a 5 10", "$"),
        ("GETRANGE a 9223372036854775807 -9223372036854775808", "$"),
        ("GETRANGE a a b", NOT_INTEGER),
        ("SUBSTR a 0 1", "$xy"),
        ("SETRANGE a 5 Q", ":6"),
        ("GET a", "$xyz\\x00\\x00Q"),
        ("SETRANGE a 0 ab", ":6"),
        ("GETRANGE a 0 2", "$abz"),
        ("SETRANGE a -1 Q", "-ERR offset is out of range"),
        ("SETRANGE none 0 \"\"", ":0"),
        ("EXISTS none", ":0"),
        ("HSET h f v", ":1"),
        ("GET h", WRONG_TYPE),
        ("STRLEN h", WRONG_TYPE),
        ("APPEND h x", WRONG_TYPE),
        ("SETRANGE h 0 x", WRONG_TYPE),
        ("GETDEL h", WRONG_TYPE),
        ("GETSET h x", WRONG_TYPE),
        ("GETEX h EX 5", WRONG_TYPE),
        ("SETNX h x", ":0"),
        ("TYPE h", "+hash"),
    ]);
}

#[test]
fn several_strings_are_set_in_one_step() {
    Script::new().expect(&[
        ("MSET a 1 b 2", "+OK"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("HSET h f v", ":1"),
        ("MGET a b none h", "*[$1, $2, nil, nil]"),
        ("MSETNX a 5 z 1", ":0"),
        ("EXISTS z", ":0"),
        ("MSETNX y 5 z 1 z 2", ":1"),
        ("GET z", "$2"),
        ("SET \"bin\\x00\\r\\n\\xff\" \"val\\x00\\xfe\"", "+OK"),
        ("GET \"bin\\x00\\r\\n\\xff\"", "$val\\x00\\xfe"),
        ("SET \"\" empty", "+OK"),
        ("GET \"\"", "$empty"),
    ]);
}

#[test]
fn a_value_is_never_longer_than_the_limit() {
    let mut script = Script::with(Limits { value_max: 8 });
    let too_long = |size: u64| {
        let text = "string exceeds maximum allowed size (proto-max-bulk-len)";
        format!("-ERR {text}: {size} bytes, limit 8; raise cluster.value_max to allow it")
    };
    script.expect(&[
        ("SET k 12345678", "+OK"),
        ("SET k 123456789", &too_long(9)),
        ("SETEX k 10 123456789", &too_long(9)),
        ("SETNX n 123456789", &too_long(9)),
        ("MSET a 1 b 123456789", &too_long(9)),
        ("EXISTS a", ":0"),
        ("APPEND k 9", &too_long(9)),
        ("SETRANGE k 7 89", &too_long(9)),
        ("SETRANGE k 9223372036854775807 x", &too_long(9_223_372_036_854_775_808)),
        ("SETRANGE k 6 xy", ":8"),
        ("GET k", "$123456xy"),
    ]);
}

#[test]
fn counters_count_in_64_bits() {
    Script::new().expect(&[
        ("INCR n", ":1"),
        ("INCRBY n 10", ":11"),
        ("DECR n", ":10"),
        ("DECRBY n 5", ":5"),
        ("SET n 9223372036854775807", "+OK"),
        ("INCR n", "-ERR increment or decrement would overflow"),
        ("GET n", "$9223372036854775807"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
        ("SET n \"1 \"", "+OK"),
        ("INCR n", NOT_INTEGER),
        ("SET n 01", "+OK"),
        ("INCR n", NOT_INTEGER),
        ("INCRBY n abc", NOT_INTEGER),
        ("INCRBY n 9223372036854775808", NOT_INTEGER),
        ("SET t 1 EX 100", "+OK"),
        ("INCR t", ":2"),
        ("INCRBYFLOAT t 1.5", "$3.5"),
        ("APPEND t x", ":4"),
        ("TTL t", ":100"),
        ("INCRBYFLOAT t 1", "-ERR value is not a valid float"),
        ("INCRBYFLOAT f 0.1", "$0.1"),
        ("INCRBYFLOAT f 0.2", "$0.3"),
        ("INCRBYFLOAT f abc", "-ERR value is not a valid float"),
        ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity"),
        ("INCRBYFLOAT f nan", "-ERR value is not a valid float"),
        ("HSET h f v", ":1"),
        ("INCR h", WRONG_TYPE),
        ("INCRBYFLOAT h abc", WRONG_TYPE),
    ]);
}

#[test]
fn keys_are_deleted_renamed_copied_and_moved() {
    Script::new().expect(&[
        ("MSET a 1 b 2", "+OK"),
        ("DEL a b c", ":2"),
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
        ("SET a 1", "+OK"),
        ("UNLINK a a", ":1"),
        ("SET a 1 EX 100", "+OK"),
        ("EXISTS a a none", ":2"),
        ("TOUCH a none", ":1"),
        ("TYPE a", "+string"),
        ("TYPE none", "+none"),
        ("RENAME a b", "+OK"),
        ("TTL b", ":100"),
        ("EXISTS a", ":0"),
        ("RENAME none x", "-ERR no such key"),
        ("RENAME b b", "+OK"),
        ("RENAMENX b b", ":0"),
        ("SET c 1", "+OK"),
        ("RENAMENX b c", ":0"),
        ("RENAMENX b d", ":1"),
        ("COPY d c", ":0"),
        ("COPY d c REPLACE", ":1"),
        ("TTL c", ":100"),
        ("COPY d d", "-ERR source and destination objects are the same"),
        ("COPY none x", ":0"),
        ("COPY d d DB 1", ":1"),
        ("COPY d d DB 99", "-ERR DB index is out of range"),
        ("COPY d x DB abc", NOT_INTEGER),
        ("COPY d x DB", SYNTAX),
        ("MOVE d 1", ":0"),
        ("MOVE c 1", ":1"),
        ("EXISTS c", ":0"),
        ("MOVE d 0", "-ERR source and destination objects are the same"),
        ("MOVE d 16", "-ERR DB index is out of range"),
        ("MOVE d abc", NOT_INTEGER),
    ]);
}

#[test]
fn a_copied_collection_is_written_apart_from_its_source() {
    Script::new().expect(&[
        ("HSET h f 1", ":1"),
        ("COPY h copy", ":1"),
        ("HSET copy f 2", ":0"),
        ("HGET h f", "$1"),
        ("HGET copy f", "$2"),
    ]);
}

#[test]
fn databases_are_apart_and_can_be_swapped_and_flushed() {
    let mut script = Script::new();
    script.expect(&[("SET k zero EX 100", "+OK"), ("SET only0 x", "+OK")]);
    script.database = 1;
    script.expect(&[
        ("GET k", "nil"),
        ("SET k one", "+OK"),
        ("SWAPDB 0 1", "+OK"),
        ("GET k", "$zero"),
        ("TTL k", ":100"),
        ("DBSIZE", ":2"),
        ("SWAPDB 1 1", "+OK"),
        ("SWAPDB 0 99", "-ERR DB index is out of range"),
        ("SWAPDB a b", "-ERR invalid first DB index"),
        ("SWAPDB 0 b", "-ERR invalid second DB index"),
        ("FLUSHDB FOO", SYNTAX),
        ("FLUSHALL SYNC ASYNC", SYNTAX),
        ("FLUSHDB ASYNC", "+OK"),
        ("DBSIZE", ":0"),
    ]);
    script.wait(200_000);
    script.database = 0;
    script.expect(&[("GET k", "$one"), ("FLUSHALL", "+OK"), ("DBSIZE", ":0")]);
    assert_eq!(script.keyspace.next_deadline(), None);
}

#[test]
fn deadlines_are_set_under_conditions() {
    const BOTH: &str = "-ERR NX and XX, GT or LT options at the same time are not compatible";
    Script::new().expect(&[
        ("EXPIRE none 10", ":0"),
        ("TTL none", ":-2"),
        ("SET k v", "+OK"),
        ("TTL k", ":-1"),
        ("PERSIST k", ":0"),
        ("EXPIRE k 10 GT", ":0"),
        ("EXPIRE k 10 XX", ":0"),
        ("EXPIRE k 10 XX LT", ":0"),
        ("EXPIRE k 100 LT", ":1"),
        ("EXPIRE k 200 NX", ":0"),
        ("EXPIRE k 200 XX", ":1"),
        ("EXPIRE k 100 GT", ":0"),
        ("EXPIRE k 300 XX GT", ":1"),
        ("EXPIRE k 400 LT", ":0"),
        ("EXPIRE k 50 XX LT", ":1"),
        ("TTL k", ":50"),
        ("PERSIST k", ":1"),
        ("EXPIRE k 10 NX", ":1"),
        ("EXPIRE k 10 NX XX", BOTH),
        ("EXPIRE k 10 GT LT NX", BOTH),
        ("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k abc FOO", "-ERR Unsupported option FOO"),
        ("EXPIRE k abc", NOT_INTEGER),
        ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
        ("EXPIREAT k 9223372036854776", "-ERR invalid expire time in 'expireat' command"),
        ("EXPIREAT k 33177117420", ":1"),
        ("EXPIRETIME k", ":33177117420"),
        ("PEXPIRETIME k", ":33177117420000"),
        ("EXPIRETIME none", ":-2"),
        ("PEXPIREAT k 9223372036854775807", ":1"),
        ("PEXPIRETIME k", ":9223372036854775807"),
        ("EXPIRE k 0", ":1"),
        ("EXISTS k", ":0"),
        ("SET k v", "+OK"),
        ("PEXPIRE k -9223372036854775808", ":1"),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn a_key_expires_by_the_replicated_clock_alone() {
    let mut script = Script::new();
    script.expect(&[("SET k v PX 1500", "+OK"), ("TTL k", ":2"), ("SET l v PX 400", "+OK")]);
    script.at = script.at.saturating_add(std::time::Duration::from_millis(1_600));
    script.expect(&[("GET k", "$v"), ("PTTL k", ":0"), ("DBSIZE", ":2")]);
    script.wait(0);
    script.expect(&[("GET k", "nil"), ("TTL k", ":-2"), ("DBSIZE", ":0"), ("KEYS *", "*[]")]);
}

#[test]
fn due_keys_are_hidden_at_once_and_removed_piece_by_piece() {
    let mut script = Script::new();
    for key in 0..2_500 {
        script.run(&format!("SET {key} v PX 10"));
    }
    script.run("SET stays v");
    script.wait(10);
    assert_eq!(script.keyspace.databases[0].len(), 1_501);
    script.expect(&[
        ("DBSIZE", ":1"),
        ("KEYS *", "*[$stays]"),
        ("RANDOMKEY", "$stays"),
        ("SCAN 0 COUNT 10000", "*[$0, *[$stays]]"),
        ("EXISTS 2499", ":0"),
    ]);
    script.wait(0);
    script.wait(0);
    assert_eq!(script.keyspace.databases[0].len(), 1);
    assert_eq!(script.keyspace.next_deadline(), None);
}

#[test]
fn keys_are_listed_and_scanned() {
    Script::new().expect(&[
        ("RANDOMKEY", "nil"),
        ("SCAN 0", "*[$0, *[]]"),
        ("SET k v", "+OK"),
        ("HSET h f v", ":1"),
        ("RANDOMKEY x", "-ERR wrong number of arguments for 'randomkey' command"),
        ("KEYS k*", "*[$k]"),
        ("SCAN 0 MATCH h*", "*[$0, *[$h]]"),
        ("SCAN 0 COUNT 100 TYPE HASH", "*[$0, *[$h]]"),
        ("SCAN 0 TYPE nonsense", "*[$0, *[]]"),
        ("SCAN 18446744073709551615", "*[$0, *[]]"),
        ("SCAN abc", "-ERR invalid cursor"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", SYNTAX),
        ("SCAN 0 COUNT abc", NOT_INTEGER),
        ("SCAN 0 FOO", SYNTAX),
        ("SCAN 0 MATCH", SYNTAX),
    ]);
}

#[test]
fn what_is_behind_a_key_can_be_asked() {
    let long = "x".repeat(45);
    let mut script = Script::new();
    script.run(&format!("SET long {long}"));
    script.expect(&[
        ("SET n 12", "+OK"),
        ("SET s short", "+OK"),
        ("HSET h f v", ":1"),
        ("OBJECT ENCODING n", "$int"),
        ("OBJECT ENCODING s", "$embstr"),
        ("OBJECT ENCODING long", "$raw"),
        ("OBJECT ENCODING h", "$listpack"),
        ("OBJECT ENCODING none", "nil"),
        ("OBJECT REFCOUNT n", ":2147483647"),
        ("OBJECT REFCOUNT s", ":1"),
        ("OBJECT IDLETIME s", ":0"),
        ("OBJECT FREQ none", "nil"),
        ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
        ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("OBJECT FOO s", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("MEMORY USAGE none", "nil"),
        ("MEMORY USAGE long", ":177"),
        ("MEMORY USAGE h SAMPLES 0", ":227"),
        ("MEMORY USAGE h SAMPLES", SYNTAX),
        ("MEMORY USAGE h SAMPLES -1", SYNTAX),
        ("MEMORY USAGE h FOO 5", SYNTAX),
        ("HSET big f1 v f2 v f3 v f4 v f5 v f6 v", ":6"),
        ("MEMORY USAGE big", ":725"),
    ]);
    assert!(
        script.run("OBJECT FREQ s").starts_with("-ERR An LFU maxmemory policy is not selected")
    );
    assert!(script.run("OBJECT HELP").starts_with("*[+OBJECT <subcommand>"));
    assert!(script.run("MEMORY HELP").starts_with("*[+MEMORY <subcommand>"));
}
