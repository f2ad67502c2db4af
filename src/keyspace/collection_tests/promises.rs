//! What holds for every command on collections, whatever it is asked: no panic, no empty collection, no needless copy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::blocking::{Log, ONE, TWO};
use super::{ask, operation, show};
use crate::command::{Command, Operation, Request, table};
use crate::ids::WaitId;
use crate::keyspace::value::{Collection, Hash, List, Set, Value};
use crate::keyspace::{Keyspace, Limits};
use crate::time::Timestamp;

const WORDS: [&str; 28] = [
    "k",
    "l",
    "m",
    "a",
    "",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551615",
    "1.5",
    "nan",
    "LEFT",
    "RIGHT",
    "COUNT",
    "MATCH",
    "LIMIT",
    "RANK",
    "MAXLEN",
    "WITHVALUES",
    "BEFORE",
    "AFTER",
    "[",
    "inf",
    "1e308",
];

fn request() -> impl Strategy<Value = Vec<Bytes>> {
    let groups = ["set", "hash", "list"];
    let names: Vec<_> =
        table::all().filter(|spec| groups.contains(&spec.group)).map(|spec| spec.name).collect();
    let words = prop::collection::vec(prop::sample::select(&WORDS[..]), 1..7);
    (prop::sample::select(names), words).prop_map(|(name, words)| {
        [vec![name], words].concat().into_iter().map(Bytes::from).collect()
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(_) => false,
        Value::Set(set) => Collection::is_empty(&**set),
        Value::Hash(hash) => hash.is_empty(),
        Value::List(list) => list.is_empty(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_panics_and_nothing_empty_stays(requests in prop::collection::vec(request(), 1..60)) {
        let mut keyspace = Keyspace::new(Limits::default());
        for words in &requests {
            let Ok(command) = Command::parse(words) else { continue };
            let operation = Operation::new(0, command);
            let read = keyspace.read(Timestamp::ZERO, &operation);
            let is_write = operation.command.is_write();
            let reply = keyspace.apply_request(Timestamp::ZERO, &Request::One(operation));
            if is_write {
                prop_assert!(show(&read).starts_with("-ERR a read"), "{:?}", words);
            } else if !words[0].windows(4).any(|part| part == b"rand") {
                prop_assert_eq!(read, reply, "{:?}", words);
            }
            for key in WORDS {
                let record = keyspace.live(0, key.as_bytes());
                prop_assert!(record.is_none_or(|record| !is_empty(&record.value)), "{:?}", words);
            }
        }
    }
}

#[test]
fn what_changes_nothing_copies_nothing() {
    let mut keyspace = Keyspace::new(Limits::default());
    for request in ["SADD s a b", "HSET h f v", "RPUSH l a b", "SADD other z"] {
        ask(&mut keyspace, request);
    }
    fn behind<C: Collection>(keyspace: &Keyspace, key: &str) -> *const C {
        C::of(&keyspace.live(0, key.as_bytes()).unwrap().value).unwrap()
    }
    let shared = ["s", "h", "l"].map(|key| keyspace.live(0, key.as_bytes()).unwrap().value.clone());
    let before = (
        behind::<Set>(&keyspace, "s"),
        behind::<Hash>(&keyspace, "h"),
        behind::<List>(&keyspace, "l"),
    );
    let revision =
        |keyspace: &Keyspace, key: &str| keyspace.live(0, key.as_bytes()).unwrap().revision;
    let revisions = ["s", "h", "l"].map(|key| revision(&keyspace, key));
    for request in [
        "SADD s a",
        "SREM s x",
        "SPOP s 0",
        "SMOVE s other x",
        "SMOVE s s a",
        "HSETNX h f x",
        "HDEL h x",
        "HINCRBY h f 1",
        "LPOP l 0",
        "LSET l 9 x",
        "LINSERT l BEFORE x y",
        "LREM l 0 x",
        "LTRIM l 0 -1",
    ] {
        ask(&mut keyspace, request);
    }
    let after = (
        behind::<Set>(&keyspace, "s"),
        behind::<Hash>(&keyspace, "h"),
        behind::<List>(&keyspace, "l"),
    );
    assert_eq!(before, after, "the same allocations");
    assert_eq!(
        revisions,
        ["s", "h", "l"].map(|key| revision(&keyspace, key)),
        "no watch is broken"
    );
    ask(&mut keyspace, "SADD s c");
    assert_ne!(before.0, behind::<Set>(&keyspace, "s"), "a change copies what is shared");
    let Value::Set(set) = &shared[0] else { panic!("not a set") };
    assert_eq!((set.len(), Arc::strong_count(set)), (2, 1), "the other holder sees no change");
}

/// What is asked of the waiting clients and of a naive model of them.
#[derive(Clone, Debug)]
enum Step {
    Push(usize, usize),
    PushBoth(usize, usize),
    Wait(Vec<usize>),
    Move(usize, usize),
    End(usize),
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    prop_oneof![
        3 => (key(), 1..4_usize).prop_map(|(key, count)| Step::Push(key, count)),
        1 => (key(), key()).prop_map(|(one, two)| Step::PushBoth(one, two)),
        4 => prop::collection::vec(key(), 1..4).prop_map(Step::Wait),
        2 => (key(), key()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => (1..40_usize).prop_map(Step::End),
    ]
}

/// Waits and lists without any index: whoever waits is looked for among all.
#[derive(Debug, Default)]
struct Model {
    lists: [VecDeque<usize>; 3],
    /// Number, keys, and where a move goes.
    waits: Vec<(usize, Vec<usize>, Option<usize>)>,
    numbers: usize,
    values: usize,
}

impl Model {
    fn push(&mut self, key: usize) -> String {
        self.values += 1;
        self.lists[key].push_back(self.values);
        format!("RPUSH {} {}", KEYS[key], self.values)
    }

    /// Takes from the first of the keys that has an element; gives the reply.
    fn take(
        &mut self,
        keys: &[usize],
        to: Option<usize>,
        ready: &mut VecDeque<usize>,
    ) -> Option<String> {
        let key = *keys.iter().find(|key| !self.lists[**key].is_empty())?;
        let value = self.lists[key].pop_front()?;
        let Some(to) = to else { return Some(format!("[\"{}\" \"{value}\"]", KEYS[key])) };
        let comes_to_be = to != key && self.lists[to].is_empty();
        self.lists[to].push_back(value);
        if comes_to_be && !ready.contains(&to) {
            ready.push_back(to);
        }
        Some(format!("\"{value}\""))
    }

    fn serve(&mut self, mut ready: VecDeque<usize>) -> Vec<String> {
        let mut served = Vec::new();
        while let Some(key) = ready.pop_front() {
            while let Some(place) = self.waits.iter().position(|(_, keys, _)| keys.contains(&key)) {
                let (number, _, to) = self.waits[place].clone();
                let Some(reply) = self.take(&[key], to, &mut ready) else { break };
                served.push(format!("{number}: {reply}"));
                self.waits.remove(place);
            }
        }
        served
    }

    /// The request of a step, its reply if it is not a push, and who is served.
    fn step(&mut self, step: &Step) -> (String, Option<String>, Vec<String>) {
        let mut ready = VecDeque::new();
        let (request, keys, to) = match step {
            Step::Push(key, count) => {
                let words: Vec<_> = (0..*count).map(|_| self.push(*key)).collect();
                return (words.join(" ; "), None, self.serve([*key].into()));
            }
            Step::PushBoth(one, two) => {
                let words = format!("{} ; {}", self.push(*one), self.push(*two));
                let ready = if one == two { vec![*one] } else { vec![*one, *two] };
                return (words, None, self.serve(ready.into()));
            }
            Step::Wait(keys) => {
                let names: Vec<_> = keys.iter().map(|key| KEYS[*key]).collect();
                (format!("BLPOP {} 0", names.join(" ")), keys.clone(), None)
            }
            Step::Move(from, to) => {
                let request = format!("BLMOVE {} {} LEFT RIGHT 0", KEYS[*from], KEYS[*to]);
                (request, vec![*from], Some(*to))
            }
            Step::End(_) => (String::new(), vec![], None),
        };
        if let Some(reply) = self.take(&keys, to, &mut ready) {
            return (request, Some(reply), self.serve(ready));
        }
        self.numbers += 1;
        self.waits.push((self.numbers, keys, to));
        (request, Some(format!("wait {}", self.numbers)), Vec::new())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn waiting_clients_are_served_as_by_a_naive_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut log = Log::new();
        let mut model = Model::default();
        let mut sessions = BTreeMap::new();
        for (turn, step) in steps.iter().enumerate() {
            if let Step::End(number) = step {
                let place = model.waits.iter().position(|wait| wait.0 == *number);
                let session = sessions.get(number).copied().unwrap_or(ONE);
                let wait = WaitId { session, number: *number as u64 };
                let (reply, _) = log.end_wait(wait, false);
                prop_assert_eq!(reply, if place.is_some() { "1" } else { "0" });
                place.map(|place| model.waits.remove(place));
                continue;
            }
            let session = if turn % 2 == 0 { ONE } else { TWO };
            let (request, expected, served) = model.step(step);
            sessions.entry(model.numbers).or_insert(session);
            let (reply, got) = log.run(session, &request);
            prop_assert_eq!(got, served, "{}", request);
            if let Some(expected) = expected {
                prop_assert_eq!(reply, expected, "{}", request);
            }
            for (key, list) in KEYS.iter().zip(&model.lists) {
                let all = operation(&format!("LRANGE {key} 0 -1")).unwrap();
                let values: Vec<_> = list.iter().map(|value| format!("\"{value}\"")).collect();
                let shown = show(&log.keyspace.read(Timestamp::ZERO, &all));
                prop_assert_eq!(shown, format!("[{}]", values.join(" ")));
            }
            let waited_for: BTreeSet<_> = model.waits.iter().flat_map(|wait| &wait.1).collect();
            prop_assert!(waited_for.iter().all(|key| model.lists[**key].is_empty()), "{:?}", model);
            prop_assert_eq!(log.keyspace.waiting(), model.waits.len());
        }
    }
}
