//! Keyspace notifications as a property of any sequence of entries, and beside the state.
//!
//! Owns the oracle: what a key holds before and after an entry. Invariant: what fails prints its requests.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::property::{Step, entries, step};
use super::snapshot::{chunks, restore};
use crate::command::{Action, Command, DatabaseCommand, Entry, Reply, Request};
use crate::keyspace::script::Script;
use crate::keyspace::value::Value;
use crate::keyspace::{Event, Flags, Keyspace, Limits, Notification, What};
use crate::time::Timestamp;

/// All live keys with what they hold and until when.
type Contents = BTreeMap<(u8, Bytes), (Value, Option<Timestamp>)>;

fn contents(keyspace: &Keyspace) -> Contents {
    let homes = (0_u8..).zip(&keyspace.databases);
    let records = homes.flat_map(|(number, home)| home.iter().map(move |(k, r)| (number, k, r)));
    records
        .filter(|(_, _, record)| keyspace.is_live(record))
        .map(|(number, key, record)| {
            ((number, key.clone()), (record.value.clone(), record.deadline))
        })
        .collect()
}

/// Whether it changes keys of which nothing is told, as in Redis.
fn is_silent(entry: &Entry) -> bool {
    let Action::Batch { requests, .. } = &entry.action else {
        return false;
    };
    let silent = |command: &Command| {
        use DatabaseCommand::{Flush, Swap};
        matches!(command, Command::Database(Flush { .. } | Swap { .. }))
    };
    requests.iter().any(|request| match request {
        Request::One(operation) => silent(&operation.command),
        Request::Transaction { operations, .. } => {
            operations.iter().any(|operation| silent(&operation.command))
        }
    })
}

/// Keeps what the events say: whether a key is there, as far as they tell.
fn follow(alive: &mut BTreeSet<(u8, Bytes)>, notifications: &[Notification]) {
    for Notification { database, key, what } in notifications {
        let place = (*database, key.clone());
        if matches!(what, What::Delete | What::Expired | What::RenameFrom | What::MoveFrom) {
            assert!(alive.remove(&place), "{what:?} of {key:?}, which was not there");
        } else if *what == What::New {
            alive.insert(place);
        } else {
            // What takes the last element is told before the end of the key.
            assert!(alive.contains(&place), "{what:?} of {key:?}, which is not there");
        }
    }
}

proptest! {
    #[test]
    fn whoever_changes_is_told_and_nobody_else(steps in prop::collection::vec(step(), 1..40)) {
        let all: Flags = "KEAnm".parse().unwrap();
        let mut keyspace = Keyspace::new(Limits::default());
        let mut alive = BTreeSet::new();
        for (index, entry) in (1..).zip(entries(&steps)) {
            let before = contents(&keyspace);
            keyspace.set_flags(all);
            let outcome = keyspace.apply(index, &entry);
            let after = contents(&keyspace);
            let told: BTreeSet<_> =
                outcome.notifications.iter().map(|n| (n.database, n.key.clone())).collect();
            if let Event::Replied { replies, .. } = &outcome.event
                && replies.iter().all(|reply| matches!(reply, Reply::Error(_)))
            {
                prop_assert!(outcome.notifications.iter().all(|n| n.what == What::Expired));
            }
            if is_silent(&entry) {
                alive = after.keys().cloned().collect();
                continue;
            }
            let places: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
            for place in places {
                let changed = before.get(&place) != after.get(&place);
                prop_assert!(!changed || told.contains(&place), "{:?} is not told", place);
            }
            follow(&mut alive, &outcome.notifications);
            prop_assert_eq!(&alive, &after.keys().cloned().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn what_is_noted_is_no_part_of_the_state(
        steps in prop::collection::vec(step(), 1..40), half in 0..40_usize,
    ) {
        let mut silent = Keyspace::new(Limits::default());
        let mut noting = Keyspace::new(Limits::default());
        for (index, entry) in (1..).zip(entries(&steps)) {
            let wanted = if index % 3 == 0 { "Kg$x" } else { "KEAnm" };
            noting.set_flags(wanted.parse().unwrap());
            let (one, mut other) = (silent.apply(index, &entry), noting.apply(index, &entry));
            prop_assert!(one.notifications.is_empty(), "nothing is noted that nobody wants");
            let wanted: Flags = wanted.parse().unwrap();
            prop_assert!(other.notifications.drain(..).all(|noted| noted.is_in(wanted)));
            prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
            prop_assert_eq!(silent.snapshot().digest(), noting.snapshot().digest());
            if usize::try_from(index).unwrap() == half {
                noting = restore(&chunks(&noting)).unwrap();
                let tick = Entry { at: Timestamp::from_millis(u64::MAX), action: Action::Tick };
                let mut later = restore(&chunks(&noting)).unwrap();
                prop_assert!(later.apply(index, &tick).notifications.is_empty());
            }
        }
        prop_assert_eq!(chunks(&silent), chunks(&noting));
    }
}

impl Script {
    /// Does what a request asks and gives the events that it told.
    fn told(&mut self, request: &str) -> String {
        self.run(request);
        self.noted()
    }

    fn noted(&mut self) -> String {
        let noted = self.keyspace.take_notifications().into_iter();
        let noted = noted.map(|n| format!("{} {}", n.what.name(), String::from_utf8_lossy(&n.key)));
        noted.collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn keys_that_wait_to_be_removed_expire_when_they_are_replaced() {
    let mut script = Script::new();
    script.keyspace.set_flags("KEAn".parse().unwrap());
    for key in 0..1002 {
        script.run(&format!("SET {key} v PX {}", key + 1));
    }
    script.noted();
    script.at = script.at.saturating_add(std::time::Duration::from_secs(9));
    let told = script.told("SET 1001 v");
    assert!(told.ends_with("expired 999, expired 1001, new 1001, set 1001"), "{told}");
    assert_eq!(script.told("GET 0"), "");
    assert_eq!(script.told("DEL x"), "expired 1000");
}

#[test]
fn a_repeated_serial_tells_nothing_again() {
    let step = Step::set_again(false);
    let again = Step::set_again(true);
    let mut keyspace = Keyspace::new(Limits::default());
    keyspace.set_flags("KEA".parse().unwrap());
    let mut told = Vec::new();
    for (index, entry) in (1..).zip(entries(&[step.clone(), again, step])) {
        told.push(keyspace.apply(index, &entry).notifications.len());
    }
    assert_eq!(told, [0, 0, 1, 0, 1], "two sessions, a batch, the same again, another");
}
