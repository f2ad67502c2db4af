//! Tests of the index of patterns: against holding every pattern against the channel, and for what it is there for.
//!
//! Owns the families of patterns that are told apart in different places. Invariant: what the index finds is what matches.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::patterns::Patterns;
use super::super::table::{Limits, Table};
use crate::command::glob;

fn found<'a>(patterns: &'a Patterns<()>, channel: &'a [u8]) -> Vec<&'a [u8]> {
    patterns.matching(channel).map(|(pattern, _)| &pattern[..]).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, Vec<u8>),
    Remove(usize, Vec<u8>),
    Find(Vec<u8>),
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // So few that groups are crowded, and so short that many match.
        4 => r"[ab*?]{0,5}",
        1 => r"[ab*?\\\[\]^-]{0,6}",
        1 => r"room:[0-9]{1,2}:\*|\*:[0-9]{1,2}|\*:[0-9]{2}:room:\*|r\*:[0-9]{2}:\*|\?[ab]{9,12}\?",
        1 => "a{60,70}[b*]",
    ]
    .prop_map(String::into_bytes)
}

fn channel() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[ab]{0,6}",
        1 => r"[ab*?\\\[\]^-]{0,6}",
        1 => "room:[0-9]{1,2}:[0-9]{2}|r:[0-9]{2}:room:[0-9]{2}|[ab]{11,14}",
        1 => "a{60,70}[b*]",
    ]
    .prop_map(String::into_bytes)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, pattern()).prop_map(|(who, name)| Step::Insert(who, name)),
        3 => (0..2_usize, pattern()).prop_map(|(who, name)| Step::Remove(who, name)),
        6 => channel().prop_map(Step::Find),
    ]
}

proptest! {
    #[test]
    fn index_finds_what_matches(steps in prop::collection::vec(step(), 0..400)) {
        let mut table = Table::new(Limits { name: 99, per_subscriber: 999, all: 999 });
        let ids = [table.add(()), table.add(())];
        let mut patterns = Patterns::default();
        let mut model: BTreeMap<Vec<u8>, BTreeSet<usize>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(who, name) => {
                    patterns.insert(Bytes::from(name.clone()), ids[who], ());
                    model.entry(name).or_default().insert(who);
                }
                Step::Remove(who, name) => {
                    patterns.remove(&name, ids[who]);
                    if let Some(listeners) = model.get_mut(&name) {
                        listeners.remove(&who);
                        if listeners.is_empty() {
                            model.remove(&name);
                        }
                    }
                }
                Step::Find(channel) => {
                    let mut found: Vec<(&[u8], usize)> = patterns
                        .matching(&channel)
                        .map(|(pattern, listeners)| (&pattern[..], listeners.len()))
                        .collect();
                    found.sort_unstable();
                    let matching = model.iter().filter(|(name, _)| glob::matches(name, &channel));
                    let expected: Vec<(&[u8], usize)> =
                        matching.map(|(name, who)| (&name[..], who.len())).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            prop_assert_eq!(patterns.names().count(), model.len());
        }
        for (name, who) in model {
            who.into_iter().for_each(|who| patterns.remove(&name, ids[who]));
        }
        prop_assert!(patterns.is_empty());
    }
}

#[test]
fn patterns_that_begin_alike_are_found_by_what_tells_them_apart() {
    for (family, channel) in [
        ("room:{}:*", "room:00777:x"),
        ("room:*:{}", "room:x:00777"),
        ("r*:{}:*", "r:00777:x"),
        ("*:{}:messages", "x:00777:messages"),
        ("[rR]oom:{}:*", "room:00777:x"),
        ("*:chat:room:{}:of:the:day:*", "x:chat:room:00777:of:the:day:y"),
        ("?{}?", "x00777y"),
    ] {
        let mut table = Table::new(Limits { name: 99, per_subscriber: 99, all: 99 });
        let id = table.add(());
        let mut patterns = Patterns::default();
        for number in 0..10_000 {
            let name = family.replace("{}", &format!("{number:05}"));
            patterns.insert(Bytes::from(name), id, ());
        }
        let expected = family.replace("{}", "00777");
        assert_eq!(found(&patterns, channel.as_bytes()), [expected.as_bytes()]);
        let walked = patterns.candidates(channel.as_bytes());
        assert!(walked <= 100, "{walked} patterns are tried for {family}");
    }
}
