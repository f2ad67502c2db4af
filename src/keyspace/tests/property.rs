//! Properties that hold for any sequence of commands.
//!
//! Owns the generator of requests. Invariant: what fails prints its requests.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::snapshot::{chunks, restore};
use crate::codec;
use crate::command::arguments::parse_integer;
use crate::command::entry::Binding;
use crate::command::{Action, BoundCommand, Command, Entry, Operation, Reply, Request};
use crate::ids::{NodeId, Placement, SessionId};
use crate::keyspace::script::{Script, words};
use crate::keyspace::stakes::{Spot, Stake};
use crate::keyspace::value::Value;
use crate::keyspace::{Keyspace, Limits, Owner, Restore};
use crate::time::Timestamp;

/// Requests in which `K` and `L` become keys and `V` a value.
const TEMPLATES: &str = "SET K V|SET K V PX 30|SET K V EXAT 1|SET K V NX GET|SET K V XX KEEPTTL|SETNX K V|GETSET K V|GETDEL K|\
    GETEX K PX 20|GETEX K PERSIST|MSET K V L V|MSETNX K V L V|MGET K L|APPEND K V|SETRANGE K 3 V|GETRANGE K 1 2|INCR K|DECRBY K 3|\
    INCRBYFLOAT K 0.1|DEL K L|EXISTS K L|TYPE K|RENAME K L|RENAMENX K L|COPY K L REPLACE|COPY K L DB 1|MOVE K 1|\
    PEXPIRE K 25|PEXPIRE K 10 LT|PEXPIRE K -1|PERSIST K|PTTL K|PEXPIRETIME K|KEYS *|SCAN 0 COUNT 2|RANDOMKEY|DBSIZE|FLUSHDB|\
    FLUSHALL|SWAPDB 0 1|OBJECT ENCODING K|MEMORY USAGE K|SADD K V 1 2|SADD K 3 4|SREM K V|SREM K 1 2 3|SMEMBERS K|\
    SPOP K|SPOP K 2|SRANDMEMBER K 2|SMOVE K L V|SINTERSTORE K K L|SUNIONSTORE L K L|SDIFF K L|HSET K f V|\
    HSET K g 1 h 2|HDEL K f|HINCRBY K g 2|HINCRBYFLOAT K g 0.5|HGETALL K|HRANDFIELD K 2|HSETNX K h V|LPUSH K V 1|\
    RPUSH K V 2|LPOP K|RPOP K 2|LINSERT K BEFORE 1 V|LSET K 0 V|LREM K 0 V|LTRIM K 0 2|LMOVE K L LEFT RIGHT|\
    LRANGE K 0 -1|BLPOP K L 0|BRPOP L 1|BLMOVE K L LEFT RIGHT 0|BLMPOP 0 2 K L LEFT COUNT 2";

/// One entry to be.
#[derive(Clone, Debug)]
pub(super) struct Step {
    session: u64,
    database: u8,
    millis: u64,
    repeat: bool,
    atomic: bool,
    binding: Binding,
    releases: bool,
    requests: Vec<String>,
}

impl Step {
    /// Sets a key, or sends the batch before it again.
    pub(super) fn set_again(repeat: bool) -> Self {
        let requests = vec!["SET k v".to_owned()];
        let (atomic, releases, binding) = (false, false, Binding::None);
        Self { session: 1, database: 0, millis: 1, repeat, atomic, binding, releases, requests }
    }
}

fn request() -> impl Strategy<Value = String> {
    let templates: Vec<_> = TEMPLATES.split('|').map(str::trim).collect();
    let keys = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let values = prop::sample::select(vec!["1", "-7", "x", "2.5", "long-long-long-value"]);
    (prop::sample::select(templates), keys(), keys(), values).prop_map(|(template, k, l, v)| {
        let word = |word| match word {
            "K" => k,
            "L" => l,
            "V" => v,
            other => other,
        };
        template.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let requests = prop::collection::vec(request(), 1..4);
    let bindings = vec![Binding::None, Binding::Node, Binding::Client(1), Binding::Client(2)];
    let (bindings, releases) = (prop::sample::select(bindings), prop::bool::weighted(0.1));
    let flags = (prop::bool::weighted(0.1), prop::bool::weighted(0.2), releases);
    (1..3_u64, 0..2_u8, 0..12_u64, flags, bindings, requests).prop_map(
        |(session, database, millis, (repeat, atomic, releases), binding, requests)| Step {
            session,
            database,
            millis,
            repeat,
            atomic,
            binding,
            releases,
            requests,
        },
    )
}

/// Makes log entries of the steps, behind two that open sessions 1 and 2.
pub(super) fn entries(steps: &[Step]) -> Vec<Entry> {
    let mut now = 1_000_000;
    let mut serials = [0_u64; 3];
    let open = |nonce: u64| Action::Open {
        nonce,
        node: NodeId::from_random(nonce),
        placement: Placement::new(format!("node-{nonce}"), "127.0.0.1:7380".parse().unwrap()),
    };
    let opened = [open(1), open(2)];
    let mut entries: Vec<_> =
        opened.map(|action| Entry { at: Timestamp::from_millis(now), action }).into();
    for step in steps {
        now += step.millis;
        let serial = &mut serials[usize::try_from(step.session).unwrap()];
        *serial += u64::from(!step.repeat || *serial == 0);
        let operations = step.requests.iter().filter_map(|request| {
            let command = Command::parse(&words(request)).ok()?;
            Some(Operation { database: step.database, binding: step.binding, command })
        });
        let release = Command::Bound(BoundCommand::Release { client: 1 });
        let release = step.releases.then(|| Operation::new(0, release));
        let operations = operations.chain(release);
        let requests = match step.atomic {
            true => {
                vec![Request::Transaction { watched: vec![], operations: operations.collect() }]
            }
            false => operations.map(Request::One).collect(),
        };
        let action = Action::Batch {
            session: SessionId(step.session),
            serial: *serial,
            acknowledged: serial.saturating_sub(3),
            requests: requests.into(),
        };
        entries.push(Entry { at: Timestamp::from_millis(now), action });
    }
    entries
}

proptest! {
    #[test]
    fn a_restored_replica_goes_on_like_the_others(
        steps in prop::collection::vec(step(), 1..60), half in 0..60_usize,
    ) {
        let mut stays = Keyspace::new(Limits::default());
        let mut restored = Keyspace::new(Limits::default());
        for (index, entry) in (1..).zip(entries(&steps)) {
            let entry = codec::decode::<Entry>(&codec::encode(&entry)).unwrap();
            let (one, other) = (stays.apply(index, &entry), restored.apply(index, &entry));
            prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
            if usize::try_from(index).unwrap() == half {
                let taken = chunks(&restored);
                restored = restore(&taken).unwrap();
                prop_assert_eq!(chunks(&restored), taken);
            }
            check_invariants(&stays);
        }
        prop_assert_eq!(chunks(&stays), chunks(&restored));
        prop_assert_eq!(stays.next_deadline(), restored.next_deadline());
    }

    #[test]
    fn a_key_that_stays_is_scanned(
        count in 1..20_u64,
        stays in prop::collection::btree_set(0..500_u16, 1..60),
        meanwhile in prop::collection::vec((0..3_u8, 0..500_u16), 0..400),
    ) {
        let mut script = Script::new();
        for key in 0..500 {
            if key % 2 == 0 || stays.contains(&key) {
                script.run(&format!("SET {key} v"));
            }
        }
        let mut meanwhile = meanwhile.into_iter();
        let mut seen = BTreeSet::new();
        let mut cursor = "0".to_owned();
        for _ in 0..10_000 {
            let reply = script.reply(&format!("SCAN {cursor} COUNT {count}"));
            let Reply::Array(parts) = reply else { panic!("no page") };
            let [Reply::Bulk(next), Reply::Array(keys)] = &parts[..] else { panic!("no page") };
            seen.extend(keys.iter().map(|key| {
                let Reply::Bulk(key) = key else { panic!("no key: {key:?}") };
                key.clone()
            }));
            cursor = String::from_utf8(next.to_vec()).unwrap();
            if cursor == "0" {
                break;
            }
            for (what, key) in meanwhile.by_ref().take(12) {
                match what {
                    0 => script.run(&format!("SET {key} other")),
                    1 => script.run(&format!("SET new-{key} v")),
                    _ if stays.contains(&key) => script.run(&format!("APPEND {key} x")),
                    _ => script.run(&format!("DEL {key} new-{key}")),
                };
            }
        }
        prop_assert_eq!(cursor, "0");
        for key in stays {
            prop_assert!(seen.contains(&Bytes::from(key.to_string())), "{} was missed", key);
        }
    }

    #[test]
    fn any_words_become_a_command_or_an_error(
        name in "(?i)(set|get|getex|expire|scan|copy|object|memory|hset|sadd|spop|lmpop|blpop|lpos|x)",
        words in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..6),
                "(?i)(ex|px|nx|xx|get|match|count|1|-1|0|usage|left|encoding)".prop_map(String::into_bytes),
            ],
            0..7,
        ),
    ) {
        let mut words: Vec<_> = words.into_iter().map(Bytes::from).collect();
        words.insert(0, name.into());
        if let Ok(command) = Command::parse(&words) {
            let wire = codec::encode(&command);
            prop_assert_eq!(codec::decode::<Command>(&wire).unwrap(), command.clone());
            let mut keyspace = Keyspace::new(Limits { value_max: 1024 });
            let request = Request::One(Operation::new(0, command));
            keyspace.apply_request(Timestamp::from_millis(1), &request);
            keyspace.apply_request(Timestamp::from_millis(2), &request);
            check_invariants(&keyspace);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = codec::VERSION;
        }
        let mut keyspace = Keyspace::new(Limits::default());
        if let Ok(entry) = codec::decode::<Entry>(&bytes) {
            keyspace.apply(1, &entry);
        }
        let mut restore = Restore::new(Limits::default());
        let _refused = restore.feed(&bytes);
        prop_assert!(restore.finish().is_err());
    }
}

/// What holds between the parts of a keyspace after every entry.
pub(super) fn check_invariants(keyspace: &Keyspace) {
    for home in &keyspace.databases {
        assert_eq!(home.len(), home.iter().count());
        let timed = home.iter().filter(|(_, record)| record.deadline.is_some()).count();
        assert_eq!(home.due(Timestamp::from_millis(u64::MAX)), timed);
    }
    check_stakes(keyspace);
}

/// The stakes name what is there and nothing else, are of sessions that are open, and are indexed as they are.
fn check_stakes(keyspace: &Keyspace) {
    let mut indexed: BTreeMap<Owner, BTreeSet<Spot>> = BTreeMap::new();
    for (database, home) in (0_u8..).zip(keyspace.bound.homes()) {
        for (key, stakes) in home.iter().flat_map(|shard| shard.iter()) {
            assert!(!stakes.is_empty(), "an entry of no stake");
            let record = keyspace.databases[usize::from(database)].get(key);
            for (element, stake) in stakes.iter() {
                let text = match (record.map(|record| &record.value), element) {
                    (Some(Value::String(text)), None) => Some(text),
                    (Some(Value::Hash(hash)), Some(field)) => hash.get(field),
                    (Some(Value::Set(set)), Some(member)) => {
                        assert!(set.contains(member) && matches!(stake, Stake::Held(_)));
                        None
                    }
                    other => panic!("{key:?}: a stake in {other:?}"),
                };
                match stake {
                    Stake::Owned(_) => assert!(text.is_some()),
                    Stake::Shares { .. } => assert!(parse_integer(text.unwrap()).is_some()),
                    Stake::Held(_) => assert!(text.is_none()),
                }
                assert!(stake.owners().next().is_some(), "a stake of nobody");
                for owner in stake.owners() {
                    assert!(
                        keyspace.sessions.contains_key(&owner.session),
                        "it outlives its owner"
                    );
                    let (key, element) = (key.clone(), element.clone());
                    indexed.entry(owner).or_default().insert(Spot { database, key, element });
                }
            }
        }
    }
    assert_eq!(&indexed, keyspace.bound.owners());
}
