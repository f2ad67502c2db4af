//! Bound state against a plain model: each value with its owners beside it, and an end that looks at everything.
//!
//! Owns the model and the random histories of several owners, with releases, ends of sessions, expiry and snapshots in
//! between. Invariant: after every entry the keyspace is what the model is, deadlines and owners included.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::bound::Log;
use super::snapshot::{chunks, restore};
use crate::command::entry::Binding;
use crate::command::{Action, Reply};
use crate::ids::SessionId;
use crate::keyspace::stakes::Stake;
use crate::keyspace::value::Value;
use crate::keyspace::{Keyspace, Outcome, Owner};

#[derive(Clone, Debug, Default, PartialEq)]
enum Owned {
    #[default]
    Free,
    By(Owner),
    Shared(BTreeMap<Owner, i64>, bool),
    /// A member of a set.
    Held(BTreeSet<Owner>),
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    String,
    Hash,
    Set,
    List,
}

/// A string has one element, without a name; a set's elements are without text.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    kind: Kind,
    deadline: Option<u64>,
    elements: BTreeMap<Option<String>, (String, Owned)>,
}

impl Key {
    const fn new(kind: Kind) -> Self {
        Self { kind, deadline: None, elements: BTreeMap::new() }
    }
}

type Home = BTreeMap<String, Key>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Model([Home; 2]);

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is to be seen of a keyspace, as the model has it.
fn seen(keyspace: &Keyspace) -> Model {
    let mut model = Model::default();
    for (number, home) in (0..2_u8).zip(&mut model.0) {
        for (name, record) in keyspace.databases[usize::from(number)].iter() {
            if !keyspace.is_live(record) {
                continue;
            }
            let owned = |element: Option<&[u8]>| {
                let stakes = keyspace.bound.behind(number, name);
                let element = element.map(bytes::Bytes::copy_from_slice);
                match stakes.and_then(|stakes| stakes.get(&element)) {
                    None => Owned::Free,
                    Some(Stake::Owned(owner)) => Owned::By(*owner),
                    Some(Stake::Held(holders)) => Owned::Held(holders.clone()),
                    Some(Stake::Shares { amounts, has_rest }) => {
                        Owned::Shared(amounts.clone(), *has_rest)
                    }
                }
            };
            let (kind, elements): (_, BTreeMap<_, _>) = match &record.value {
                Value::String(text) => (Kind::String, [(None, (shown(text), owned(None)))].into()),
                Value::Hash(hash) => {
                    let fields = hash.iter().map(|(field, text)| {
                        (Some(shown(field)), (shown(text), owned(Some(field))))
                    });
                    (Kind::Hash, fields.collect())
                }
                Value::Set(set) => {
                    let members = set.iter().map(|member| {
                        (Some(shown(&member)), (String::new(), owned(Some(&member))))
                    });
                    (Kind::Set, members.collect())
                }
                Value::List(list) => {
                    let elements = list.iter().enumerate().map(|(place, element)| {
                        (Some(place.to_string()), (shown(element), Owned::Free))
                    });
                    (Kind::List, elements.collect())
                }
            };
            let deadline = record.deadline.map(crate::time::Timestamp::as_millis);
            home.insert(shown(name), Key { kind, deadline, elements });
        }
    }
    model
}

impl Model {
    fn expire(&mut self, now: u64) {
        for home in &mut self.0 {
            home.retain(|_, key| key.deadline.is_none_or(|deadline| deadline > now));
        }
    }

    /// Takes away all that an owner has; gives how many pieces it had.
    fn end(&mut self, is_owner: impl Fn(&Owner) -> bool) -> usize {
        let mut pieces = 0;
        for home in &mut self.0 {
            for key in home.values_mut() {
                key.elements.retain(|_, (text, owned)| match owned {
                    Owned::By(owner) if is_owner(owner) => {
                        pieces += 1;
                        false
                    }
                    Owned::Free | Owned::By(_) => true,
                    Owned::Held(holders) => {
                        let before = holders.len();
                        holders.retain(|owner| !is_owner(owner));
                        pieces += before - holders.len();
                        !holders.is_empty()
                    }
                    Owned::Shared(amounts, has_rest) => {
                        let mut number: i64 = text.parse().unwrap();
                        amounts.retain(|owner, amount| {
                            if is_owner(owner) {
                                pieces += 1;
                                number = number.saturating_sub(*amount);
                            }
                            !is_owner(owner)
                        });
                        *text = number.to_string();
                        let stays = *has_rest || !amounts.is_empty();
                        if amounts.is_empty() {
                            *owned = Owned::Free;
                        }
                        stays
                    }
                });
            }
            home.retain(|_, key| !key.elements.is_empty());
        }
        pieces
    }

    /// Does what a request asks that had this reply.
    fn apply(&mut self, number: usize, owner: Option<Owner>, now: u64, line: &str, reply: &Reply) {
        let words: Vec<_> = line.split(' ').collect();
        if matches!(reply, Reply::Error(_) | Reply::Nil) {
            return;
        }
        let one = matches!(reply, Reply::Integer(1));
        match words[..] {
            ["FLUSHDB"] => self.0[number].clear(),
            ["SWAPDB", ..] => self.0.swap(0, 1),
            ["MOVE", key, _] if one => {
                let moved = self.0[number].remove(key).unwrap();
                self.0[1 - number].insert(key.to_owned(), moved);
            }
            _ => {}
        }
        let home = &mut self.0[number];
        keys(home, owner, now, &words, one);
        strings_and_fields(home, owner, now, &words, reply);
        members_and_elements(home, owner, &words, reply);
    }
}

fn free_or_own(owner: Option<Owner>) -> Owned {
    owner.map_or(Owned::Free, Owned::By)
}

fn strings_and_fields(
    home: &mut Home,
    owner: Option<Owner>,
    now: u64,
    words: &[&str],
    reply: &Reply,
) {
    let one = matches!(reply, Reply::Integer(1));
    let written = |value: &str| (value.to_owned(), free_or_own(owner));
    match *words {
        ["SET", key, value, ref rest @ ..] => {
            let mut new = Key::new(Kind::String);
            new.deadline = if let ["PX", ms] = rest { Some(now + millis(ms)) } else { None };
            new.elements.insert(None, written(value));
            home.insert(key.to_owned(), new);
        }
        ["APPEND", key, value] => {
            let place = element(home, Kind::String, key, None);
            place.0.push_str(value);
            place.1 = free_or_own(owner);
        }
        ["INCRBY", key, amount] => add(home, Kind::String, key, None, amount, owner),
        ["HINCRBY", key, field, amount] => {
            add(home, Kind::Hash, key, Some(field), amount, owner);
        }
        ["INCRBYFLOAT", key, _] => {
            *element(home, Kind::String, key, None) = (bulk(reply), Owned::Free);
        }
        ["HINCRBYFLOAT", key, field, _] => {
            *element(home, Kind::Hash, key, Some(field)) = (bulk(reply), Owned::Free);
        }
        ["HSET", key, field, value] => {
            *element(home, Kind::Hash, key, Some(field)) = written(value);
        }
        ["HSETNX", key, field, value] if one => {
            *element(home, Kind::Hash, key, Some(field)) = written(value);
        }
        _ => {}
    }
}

fn members_and_elements(home: &mut Home, owner: Option<Owner>, words: &[&str], reply: &Reply) {
    match *words {
        ["HDEL" | "SREM", key, ref elements @ ..] => {
            elements.iter().for_each(|element| remove(home, key, element));
        }
        ["SPOP", key] => remove(home, key, &bulk(reply)),
        ["SADD", key, ref members @ ..] => {
            members.iter().for_each(|member| hold(home, key, member, owner));
        }
        ["SMOVE", key, to, member] if *reply == Reply::Integer(1) && key != to => {
            remove(home, key, member);
            hold(home, to, member, owner);
        }
        ["SUNIONSTORE", key, ref sources @ ..] => {
            let sets = sources.iter().filter_map(|source| home.get(*source));
            let members: BTreeSet<_> = sets.flat_map(|set| set.elements.keys().cloned()).collect();
            home.remove(key);
            members.iter().flatten().for_each(|member| hold(home, key, member, owner));
        }
        ["RPUSH", key, value] => {
            let Reply::Integer(length) = reply else { panic!("a length") };
            let place = (length - 1).to_string();
            element(home, Kind::List, key, Some(&place)).0 = value.to_owned();
        }
        _ => {}
    }
}

fn keys(home: &mut Home, owner: Option<Owner>, now: u64, words: &[&str], one: bool) {
    match *words {
        ["GETDEL" | "DEL", key] => {
            home.remove(key);
        }
        ["RENAME", key, to] => {
            let moved = home.remove(key).unwrap();
            home.insert(to.to_owned(), moved);
        }
        ["COPY", key, to, "REPLACE"] if one => {
            let mut copy = home[key].clone();
            for (_, owned) in copy.elements.values_mut() {
                *owned = match copy.kind {
                    Kind::Set => held(owner),
                    Kind::List => Owned::Free,
                    Kind::String | Kind::Hash => free_or_own(owner),
                };
            }
            home.insert(to.to_owned(), copy);
        }
        ["PEXPIRE", key, ms] if one => {
            home.get_mut(key).unwrap().deadline = Some(now + millis(ms));
        }
        _ => {}
    }
}

fn millis(word: &str) -> u64 {
    word.parse().unwrap()
}

fn bulk(reply: &Reply) -> String {
    let Reply::Bulk(text) = reply else { panic!("no text: {reply:?}") };
    shown(text)
}

fn held(owner: Option<Owner>) -> Owned {
    owner.map_or(Owned::Free, |owner| Owned::Held([owner].into()))
}

/// The element of a key, made if it is missing.
fn element<'a>(
    home: &'a mut Home,
    kind: Kind,
    key: &str,
    name: Option<&str>,
) -> &'a mut (String, Owned) {
    let key = home.entry(key.to_owned()).or_insert_with(|| Key::new(kind));
    key.elements.entry(name.map(str::to_owned)).or_default()
}

fn remove(home: &mut Home, key: &str, name: &str) {
    if let Some(found) = home.get_mut(key) {
        found.elements.remove(&Some(name.to_owned()));
        if found.elements.is_empty() {
            home.remove(key);
        }
    }
}

fn hold(home: &mut Home, key: &str, member: &str, owner: Option<Owner>) {
    let key = home.entry(key.to_owned()).or_insert_with(|| Key::new(Kind::Set));
    match (key.elements.get_mut(&Some(member.to_owned())), owner) {
        (None, _) => {
            key.elements.insert(Some(member.to_owned()), (String::new(), held(owner)));
        }
        (Some((_, Owned::Held(holders))), Some(owner)) => {
            holders.insert(owner);
        }
        (Some((_, owned)), None) => *owned = Owned::Free,
        (Some(_), Some(_)) => {}
    }
}

fn add(
    home: &mut Home,
    kind: Kind,
    key: &str,
    name: Option<&str>,
    amount: &str,
    owner: Option<Owner>,
) {
    let amount: i64 = amount.parse().unwrap();
    let (text, owned) = element(home, kind, key, name);
    let before = text.parse::<i64>().ok();
    *text = (before.unwrap_or(0) + amount).to_string();
    if matches!(owned, Owned::By(one) if Some(*one) == owner)
        || (*owned == Owned::Free && owner.is_none())
    {
        return;
    }
    let (mut amounts, mut has_rest) = match std::mem::take(owned) {
        Owned::Free => (BTreeMap::new(), before.is_some()),
        Owned::By(one) => ([(one, before.unwrap())].into(), false),
        Owned::Shared(amounts, has_rest) => (amounts, has_rest),
        Owned::Held(_) => panic!("a counter is no member"),
    };
    has_rest |= owner.is_none();
    if let Some(owner) = owner {
        let share = amounts.entry(owner).or_default();
        *share = share.saturating_add(amount);
    }
    *owned = Owned::Shared(amounts, has_rest);
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        node: usize,
        binding: Binding,
        database: u8,
        millis: u64,
        line: String,
    },
    Release {
        node: usize,
        client: u64,
    },
    /// The session ends; its node opens another one.
    End {
        node: usize,
    },
    /// The node starts again before its session has ended.
    Restart {
        node: usize,
    },
    Snapshot,
}

const TEMPLATES: &str = "SET K V|SET K V PX 15|SET K V NX|APPEND K 1|INCRBY K N|INCRBY K N|INCRBYFLOAT K 0.5|GETDEL K|\
    DEL K|RENAME K L|COPY K L REPLACE|MOVE K 1|MOVE K 0|PEXPIRE K 12|FLUSHDB|SWAPDB 0 1|HSET K F V|HSET K F V|HSETNX K F V|\
    HDEL K F|HDEL K F G|HINCRBY K F N|HINCRBY K F N|HINCRBYFLOAT K F 0.5|SADD K F G|SADD K F|SADD K 1 G|SREM K F|SPOP K|\
    SMOVE K L F|SUNIONSTORE K K L|SUNIONSTORE L K|RPUSH K V";

fn line() -> impl Strategy<Value = String> {
    let templates: Vec<_> = TEMPLATES.split('|').map(str::trim).collect();
    let keys = || prop::sample::select(vec!["a", "b", "c"]);
    let elements = || prop::sample::select(vec!["f", "g", "7"]);
    let values = prop::sample::select(vec!["1", "-7", "x"]);
    let amounts =
        prop::sample::select(vec!["1", "-3", "9223372036854775807", "-9223372036854775807"]);
    let words = (keys(), keys(), elements(), elements(), values, amounts);
    (prop::sample::select(templates), words).prop_map(|(template, (k, l, f, g, v, n))| {
        let word = |word| match word {
            "K" => k,
            "L" => l,
            "F" => f,
            "G" => g,
            "V" => v,
            "N" => n,
            other => other,
        };
        template.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    })
}

fn step() -> impl Strategy<Value = Step> {
    let bindings =
        vec![Binding::None, Binding::None, Binding::Node, Binding::Client(1), Binding::Client(2)];
    let write = (0..2_usize, prop::sample::select(bindings), 0..2_u8, 0..6_u64, line());
    prop_oneof![
        30 => write.prop_map(|(node, binding, database, millis, line)| {
            Step::Write { node, binding, database, millis, line }
        }),
        1 => (0..2_usize, 0..3_u64).prop_map(|(node, client)| Step::Release { node, client }),
        1 => (0..2_usize).prop_map(|node| Step::End { node }),
        1 => (0..2_usize).prop_map(|node| Step::Restart { node }),
        2 => Just(Step::Snapshot),
    ]
}

fn pieces(outcome: &Outcome) -> usize {
    outcome.taken.iter().map(|(_, pieces)| pieces.len()).sum()
}

/// Takes one step on both sides; gives how many pieces of bound state each of them took.
fn take(
    log: &mut Log,
    model: &mut Model,
    open: &mut [SessionId; 2],
    step: &Step,
) -> (usize, usize) {
    match *step {
        Step::Write { node, binding, database, millis, ref line } => {
            log.at += millis;
            model.expire(log.at);
            let session = open[node];
            let owner = match binding {
                Binding::None => None,
                Binding::Node => Some(Owner { session, client: 0 }),
                Binding::Client(client) => Some(Owner { session, client }),
            };
            let reply = log.ask(session, binding, database, line);
            model.apply(usize::from(database), owner, log.at, line, &reply);
            (0, 0)
        }
        Step::Release { node, client } => {
            let owner = Owner { session: open[node], client };
            (pieces(&log.release(open[node], client)), model.end(|other| *other == owner))
        }
        Step::End { node } => {
            let told = log.keyspace.bound_by(open[node]);
            let outcome = log.end(open[node]);
            let taken = outcome.taken.iter().map(|(owner, pieces)| (*owner, pieces.len()));
            let told = told.iter().map(|(owner, pieces)| (*owner, pieces.len()));
            assert_eq!(taken.collect::<Vec<_>>(), told.collect::<Vec<_>>());
            let session = std::mem::replace(&mut open[node], log.open(node as u64 + 1));
            (pieces(&outcome), model.end(|owner| owner.session == session))
        }
        Step::Restart { node } => {
            let session = std::mem::replace(&mut open[node], log.open(node as u64 + 1));
            model.end(|owner| owner.session == session);
            (0, 0)
        }
        Step::Snapshot => {
            let taken = chunks(&log.keyspace);
            log.keyspace = restore(&taken).unwrap();
            assert_eq!(chunks(&log.keyspace), taken);
            (0, 0)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn bound_state_is_as_a_plain_model_has_it(steps in prop::collection::vec(step(), 1..120)) {
        let (mut log, mut model) = (Log::new(), Model::default());
        let mut open = [log.open(1), log.open(2)];
        for step in &steps {
            let (taken, expected) = take(&mut log, &mut model, &mut open, step);
            prop_assert_eq!(taken, expected, "{:?}", step);
            prop_assert_eq!(&seen(&log.keyspace), &model, "after {:?}", step);
        }
        for session in open {
            log.end(session);
            model.end(|owner| owner.session == session);
        }
        prop_assert_eq!(seen(&log.keyspace), model);
        prop_assert!(log.keyspace.bound.is_empty() && log.keyspace.bound_counts().is_empty());
        log.append(Action::Tick);
    }

    #[test]
    fn a_binding_changes_nothing_but_who_owns(
        steps in prop::collection::vec((0..2_u8, line()), 1..80),
    ) {
        let (mut free, mut bound) = (Log::new(), Log::new());
        let (one, other) = (free.open(1), bound.open(1));
        for (database, line) in steps {
            let reply = free.ask(one, Binding::None, database, &line);
            prop_assert_eq!(bound.ask(other, Binding::Client(3), database, &line), reply);
        }
        prop_assert!(free.keyspace.bound.is_empty());
        bound.keyspace.bound = Default::default();
        prop_assert_eq!(chunks(&free.keyspace), chunks(&bound.keyspace));
    }
}
