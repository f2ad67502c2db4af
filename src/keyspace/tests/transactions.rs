//! Tests of MULTI, EXEC and WATCH as the keyspace sees them, and of sessions' serials.
//!
//! Owns the ways in which a watched key changes. Invariant: a watch is a revision; it never looks at a value.

use crate::command::{Action, Command, Entry, Operation, Request};
use crate::ids::{NodeId, Placement, SessionId};
use crate::keyspace::script::{Script, words};
use crate::keyspace::{Event, Keyspace, Limits};
use crate::time::Timestamp;

#[test]
fn a_transaction_keeps_errors_inside_its_array() {
    let mut script = Script::new();
    let replies = script.exec(Vec::new(), &["SET s v", "INCR s", "SET t 1", "GET t"]);
    assert_eq!(replies, "*[+OK, -ERR value is not an integer or out of range, +OK, $1]");
    assert_eq!(script.exec(Vec::new(), &[]), "*[]");
}

#[test]
fn a_watched_key_that_changed_aborts() {
    for (before, between, aborts) in [
        ("SET k 1", "SET k 2", true),
        ("SET k 1", "SET k 1", true),
        ("SET k 1", "GET k", false),
        ("SET k 1", "SET other 1", false),
        ("SET k 1", "DEL k", true),
        ("DEL k", "DEL k", false),
        ("DEL k", "SET k 1", true),
        ("SET k 1", "EXPIRE k 100", true),
        ("SET k 1", "EXPIRE k 100 XX", false),
        ("SET k 1", "RENAME k other", true),
        ("SET other 1", "RENAME other k", true),
        ("SET k 1", "COPY k other", false),
        ("SET k 1", "MOVE k 3", true),
        ("SET k 1", "APPEND k x", true),
        ("SET k 1", "SETNX k x", false),
        ("SET k x", "INCR k", false),
        ("HSET k f v", "HSET k f v2", true),
        ("SET k 1", "FLUSHDB", true),
        ("SET k 1", "FLUSHALL", true),
        ("SET other 1", "FLUSHALL", false),
        ("SET k 1", "SWAPDB 0 5", true),
        ("SET other 1", "SWAPDB 0 5", false),
        ("SET k 1", "SWAPDB 4 5", false),
    ] {
        let mut script = Script::new();
        script.run(before);
        let watched = script.watch(&["k"]);
        script.run(between);
        let expected = if aborts { "nil-array" } else { "*[:1]" };
        let reply = script.exec(watched, &["SETNX untouched x"]);
        assert_eq!(reply, expected, "{before}; WATCH k; {between}");
        let done = if aborts { ":0" } else { ":1" };
        assert_eq!(script.run("EXISTS untouched"), done);
    }
}

#[test]
fn a_key_that_came_and_went_aborts() {
    let mut script = Script::new();
    let watched = script.watch(&["k"]);
    script.expect(&[("SET k 1", "+OK"), ("DEL k", ":1")]);
    assert_eq!(script.exec(watched, &[]), "nil-array");
}

#[test]
fn a_key_that_expired_after_the_watch_aborts() {
    let mut script = Script::new();
    script.run("SET k 1 PX 40");
    let watched = script.watch(&["k"]);
    script.wait(41);
    assert_eq!(script.exec(watched, &[]), "nil-array");
    let watched = script.watch(&["k"]);
    assert_eq!(script.exec(watched, &[]), "*[]", "it was gone before this watch");
}

#[test]
fn a_key_swapped_in_from_another_database_counts_as_changed() {
    let mut script = Script::new();
    script.database = 5;
    script.run("SET k five");
    script.database = 0;
    script.run("SET k zero");
    let watched = script.watch(&["k"]);
    script.run("SWAPDB 5 0");
    assert_eq!(script.run("GET k"), "$five");
    assert_eq!(script.exec(watched, &[]), "nil-array");
    let watched = script.watch(&["k"]);
    assert_eq!(script.exec(watched, &["GET k"]), "*[$five]");
}

#[test]
fn a_flush_of_more_keys_than_are_remembered_aborts_every_watch_of_a_missing_key() {
    let mut script = Script::new();
    for key in 0..=super::super::deletions::REMEMBERED {
        script.run(&format!("SET {key} v"));
    }
    let watched = script.watch(&["0"]);
    let never = script.watch(&["never"]);
    script.run("FLUSHALL");
    assert_eq!(script.exec(watched, &[]), "nil-array");
    assert_eq!(script.exec(never, &[]), "nil-array", "too much rather than too little");
    let later = script.watch(&["0"]);
    assert_eq!(script.exec(later, &[]), "*[]");
}

fn entry(at: u64, action: Action) -> Entry {
    Entry { at: Timestamp::from_millis(at), action }
}

fn batch(serial: u64, request: &str) -> Action {
    let command = Command::parse(&words(request)).unwrap();
    let requests = vec![Request::One(Operation::new(0, command))];
    Action::Batch { session: SessionId(7), serial, acknowledged: 0, requests: requests.into() }
}

#[test]
fn a_repeated_serial_is_answered_and_not_applied() {
    let mut keyspace = Keyspace::new(Limits::default());
    let open = Action::Open {
        nonce: 1,
        node: NodeId::from_random(1),
        placement: Placement::new("a", "127.0.0.1:1".parse().unwrap()),
    };
    keyspace.apply(7, &entry(1, open));
    let first = keyspace.apply(8, &entry(2, batch(1, "INCR n"))).event;
    let again = keyspace.apply(9, &entry(3, batch(1, "INCR n"))).event;
    assert_eq!(first, again);
    let second = keyspace.apply(10, &entry(3, batch(2, "INCR n"))).event;
    assert!(format!("{second:?}").contains("Integer(2)"), "{second:?}");
    keyspace.apply(11, &entry(4, Action::Expire { session: SessionId(7) }));
    let late = keyspace.apply(12, &entry(5, batch(3, "INCR n"))).event;
    assert_eq!(late, Event::NoSession { session: SessionId(7), serial: 3 });
}
