//! Tests of the table: its rules one by one, and against a model that is too simple to be wrong.
//!
//! Owns the model. Invariant: the model knows no index.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::table::*;
use super::super::{Error, Kind};
use crate::command::glob;

const LIMITS: Limits = Limits { name: 64, per_subscriber: 1_000, all: 10_000 };

/// What a message reaches: subscriber, kind, name; in order.
type Reached = Vec<(SubscriberId, Kind, Bytes)>;

fn reached(table: &Table<()>, kind: Kind, channel: &[u8]) -> Reached {
    let mut found = Vec::new();
    table.matching(kind, channel, |m| found.push((m.subscriber, m.kind, m.name.clone())));
    found
}

#[test]
fn channel_comes_before_patterns_and_counts_once_each() {
    let mut table = Table::new(LIMITS);
    let id = table.add(());
    for (kind, name) in [(Kind::Pattern, "n*"), (Kind::Channel, "news"), (Kind::Pattern, "*s")] {
        assert_eq!(table.subscribe(id, kind, name.as_bytes(), ()), Ok(true));
        assert_eq!(table.subscribe(id, kind, name.as_bytes(), ()), Ok(false));
    }
    let kinds: Vec<Kind> = reached(&table, Kind::Channel, b"news").iter().map(|m| m.1).collect();
    assert_eq!(kinds, [Kind::Channel, Kind::Pattern, Kind::Pattern]);
    assert_eq!(reached(&table, Kind::Sharded, b"news"), []);
    assert_eq!(table.count_of(id, Kind::Pattern), 2);
    assert!(table.unsubscribe(id, Kind::Pattern, b"n*"));
    assert!(!table.unsubscribe(id, Kind::Pattern, b"n*"));
    assert_eq!(reached(&table, Kind::Channel, b"news").len(), 2);
}

#[test]
fn sharded_channels_are_a_space_of_their_own() {
    let mut table = Table::new(LIMITS);
    let id = table.add(());
    table.subscribe(id, Kind::Sharded, b"news", ()).unwrap();
    table.subscribe(id, Kind::Pattern, b"*", ()).unwrap();
    let found = reached(&table, Kind::Sharded, b"news");
    assert_eq!(found, [(id, Kind::Sharded, Bytes::from_static(b"news"))]);
    assert_eq!(table.listeners(Kind::Channel, b"news"), 0);
    assert_eq!(table.listeners(Kind::Sharded, b"news"), 1);
}

#[test]
fn limits_are_errors_with_both_numbers() {
    let mut table = Table::new(Limits { name: 4, per_subscriber: 2, all: 3 });
    let (one, other) = (table.add(()), table.add(()));
    let refused = table.subscribe(one, Kind::Channel, b"12345", ());
    assert_eq!(refused, Err(Error::NameTooLong { size: 5, limit: 4 }));
    table.subscribe(one, Kind::Channel, b"a", ()).unwrap();
    table.subscribe(one, Kind::Pattern, b"a", ()).unwrap();
    let refused = table.subscribe(one, Kind::Sharded, b"a", ());
    assert_eq!(refused, Err(Error::SubscriberFull { count: 2, limit: 2 }));
    table.subscribe(other, Kind::Channel, b"a", ()).unwrap();
    let refused = table.subscribe(other, Kind::Channel, b"b", ());
    assert_eq!(refused, Err(Error::TableFull { count: 3, limit: 3 }));
    assert_eq!(table.subscribe(other, Kind::Channel, b"a", ()), Ok(false));
    table.remove(one);
    assert_eq!(table.subscribe(other, Kind::Channel, b"b", ()), Ok(true));
    assert_eq!(table.subscribe(one, Kind::Channel, b"b", ()), Err(Error::Closed));
}

#[test]
fn removing_all_leaves_nothing_behind() {
    let mut table = Table::new(LIMITS);
    let id = table.add(());
    for name in ["a*", "ab?", "", "*", "[x]", "plain"] {
        table.subscribe(id, Kind::Pattern, name.as_bytes(), ()).unwrap();
        table.subscribe(id, Kind::Channel, name.as_bytes(), ()).unwrap();
    }
    assert_eq!(table.names(Kind::Pattern).count(), 6);
    table.remove(id);
    assert_eq!(table.names(Kind::Pattern).count() + table.names(Kind::Channel).count(), 0);
    assert_eq!((table.count, table.patterns.is_empty()), (0, true));
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe(usize, Kind, String),
    Unsubscribe(usize, Kind, String),
    Leave(usize),
    Publish(Kind, String),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Channel), Just(Kind::Pattern), Just(Kind::Sharded)]
}

fn step() -> impl Strategy<Value = Step> {
    let name = || r"[ab*?\\\[\]^-]{0,4}";
    prop_oneof![
        4 => (0..4_usize, kind(), name()).prop_map(|(s, k, n)| Step::Subscribe(s, k, n)),
        2 => (0..4_usize, kind(), name()).prop_map(|(s, k, n)| Step::Unsubscribe(s, k, n)),
        1 => (0..4_usize).prop_map(Step::Leave),
        4 => (kind(), "[ab]{0,3}").prop_map(|(k, n)| Step::Publish(k, n)),
    ]
}

/// Every subscription in one set, searched from end to end.
#[derive(Default)]
struct Model(BTreeSet<(SubscriberId, Kind, Bytes)>);

impl Model {
    fn reached(&self, kind: Kind, channel: &[u8]) -> BTreeSet<(SubscriberId, Kind, Bytes)> {
        let hits = |(_, by, name): &&(SubscriberId, Kind, Bytes)| match by {
            Kind::Sharded => kind == Kind::Sharded && name == channel,
            Kind::Channel => kind != Kind::Sharded && name == channel,
            Kind::Pattern => kind != Kind::Sharded && glob::matches(name, channel),
        };
        self.0.iter().filter(hits).cloned().collect()
    }
}

proptest! {
    #[test]
    fn table_agrees_with_the_model(steps in prop::collection::vec(step(), 0..200)) {
        let mut table = Table::new(LIMITS);
        let mut model = Model::default();
        let mut ids: BTreeMap<usize, SubscriberId> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Subscribe(who, kind, name) => {
                    let id = *ids.entry(who).or_insert_with(|| table.add(()));
                    let is_new = model.0.insert((id, kind, Bytes::from(name.clone())));
                    prop_assert_eq!(table.subscribe(id, kind, name.as_bytes(), ()), Ok(is_new));
                }
                Step::Unsubscribe(who, kind, name) => {
                    let id = *ids.entry(who).or_insert_with(|| table.add(()));
                    let was_there = model.0.remove(&(id, kind, Bytes::from(name.clone())));
                    prop_assert_eq!(table.unsubscribe(id, kind, name.as_bytes()), was_there);
                }
                Step::Leave(who) => {
                    if let Some(id) = ids.remove(&who) {
                        table.remove(id);
                        model.0.retain(|(subscriber, _, _)| *subscriber != id);
                    }
                }
                Step::Publish(kind, channel) => {
                    let found = reached(&table, kind, channel.as_bytes());
                    prop_assert!(found.is_sorted_by_key(|m| m.1 == Kind::Pattern));
                    let count = found.len();
                    let found: BTreeSet<_> = found.into_iter().collect();
                    prop_assert_eq!(found.len(), count);
                    prop_assert_eq!(found, model.reached(kind, channel.as_bytes()));
                }
            }
            prop_assert_eq!(table.count, model.0.len());
        }
    }
}
