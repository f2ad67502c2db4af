//! SSCAN and HSCAN: pages, options, and that an element which stays is never missed.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::{ask, check};
use crate::command::Reply;
use crate::keyspace::{Keyspace, Limits};

#[test]
fn small_collections_come_in_one_page() {
    check(
        "SADD one x => 1
         SSCAN one 0 => [\"0\" [\"x\"]]
         SSCAN one 0 MATCH y* => [\"0\" []]
         SSCAN one 00 COUNT 1 MATCH x => [\"0\" [\"x\"]]
         SSCAN one 18446744073709551615 => [\"0\" [\"x\"]]
         SSCAN one 18446744073709551616 => -ERR invalid cursor
         SSCAN one 0 COUNT 0 => -ERR syntax error
         SSCAN one 0 COUNT abc => -ERR value is not an integer or out of range
         SSCAN one 0 COUNT => -ERR syntax error
         SSCAN one 0 MATCH => -ERR syntax error
         SSCAN one 0 FOO 1 => -ERR syntax error
         SSCAN one abc => -ERR invalid cursor
         SSCAN nokey 0 => [\"0\" []]
         SSCAN nokey 7 => [\"0\" []]
         HSET h f v g w => 2
         HSCAN h 0 => [\"0\" [\"f\" \"v\" \"g\" \"w\"]]
         HSCAN h 0 COUNT 1 MATCH [g-z] => [\"0\" [\"g\" \"w\"]]
         HSCAN h 0 NOVALUES => -ERR syntax error
         HSCAN h abc => -ERR invalid cursor
         HSCAN nokey 0 => [\"0\" []]",
    );
}

#[test]
fn integers_come_in_one_page_up_to_512() {
    let mut keyspace = Keyspace::new(Limits::default());
    let all: Vec<_> = (0..512).map(|number| number.to_string()).collect();
    ask(&mut keyspace, &format!("SADD s {}", all.join(" ")));
    let (cursor, members) = page(&mut keyspace, "SSCAN s 0 COUNT 3");
    assert_eq!((cursor.as_str(), members.len()), ("0", 512));
    ask(&mut keyspace, "SADD s x");
    let (cursor, members) = page(&mut keyspace, "SSCAN s 0 COUNT 3");
    assert_eq!((cursor.as_str(), members.len()), ("510", 3));
}

fn page(keyspace: &mut Keyspace, request: &str) -> (String, Vec<String>) {
    let Reply::Array(parts) = ask(keyspace, request) else { panic!("not a page") };
    let [Reply::Bulk(cursor), Reply::Array(shown)] = &parts[..] else { panic!("not a page") };
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let shown = shown.iter().map(|reply| {
        let Reply::Bulk(member) = reply else { panic!("not a text") };
        text(member)
    });
    (text(cursor), shown.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_member_that_stays_is_shown_whatever_comes_and_goes(
        size in 1..600_usize,
        count in 1..90_usize,
        changes in prop::collection::vec((any::<bool>(), 0..700_usize), 0..400),
        per_page in 1..40_usize,
        hash: bool,
    ) {
        let mut keyspace = Keyspace::new(Limits::default());
        let (add, remove, scan) =
            if hash { ("HSETNX", "HDEL", "HSCAN") } else { ("SADD", "SREM", "SSCAN") };
        let value = if hash { " v" } else { "" };
        let mut stay: BTreeSet<String> = BTreeSet::new();
        for number in 0..size {
            ask(&mut keyspace, &format!("{add} k m{number}{value}"));
            stay.insert(format!("m{number}"));
        }
        let mut seen = BTreeSet::new();
        let mut changes = changes.into_iter();
        let mut cursor = "0".to_owned();
        loop {
            let request = format!("{scan} k {cursor} COUNT {count}");
            let (next, shown) = page(&mut keyspace, &request);
            seen.extend(shown.into_iter().step_by(if hash { 2 } else { 1 }));
            cursor = next;
            if cursor == "0" {
                break;
            }
            for (adds, number) in changes.by_ref().take(per_page) {
                if adds {
                    ask(&mut keyspace, &format!("{add} k m{number}{value}"));
                } else {
                    ask(&mut keyspace, &format!("{remove} k m{number}"));
                    stay.remove(&format!("m{number}"));
                }
            }
        }
        let missed: Vec<_> = stay.difference(&seen).collect();
        prop_assert!(missed.is_empty(), "{missed:?}");
    }
}
