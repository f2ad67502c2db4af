//! Tests of the snapshot: what is in it, that it stands still, and that damaged ones are refused.
//!
//! Owns hand-made states and damage. Random ones stand in `property.rs`. Invariant: a restored keyspace writes the same
//! chunks again.

use bytes::Bytes;

use crate::codec;
use crate::command::entry::Binding;
use crate::command::{Action, Command, Entry, Operation, Request};
use crate::ids::{NodeId, Placement, SessionId};
use crate::keyspace::script::{Script, words};
use crate::keyspace::snapshot::{CHUNK_MAX, FORMAT, Item, Kind};
use crate::keyspace::stakes::Stake;
use crate::keyspace::{Error, Keyspace, Limits, Owner, Restore};
use crate::time::Timestamp;

pub(super) fn chunks(keyspace: &Keyspace) -> Vec<Bytes> {
    keyspace.snapshot().chunks().collect()
}

pub(super) fn restore(chunks: &[Bytes]) -> Result<Keyspace, Error> {
    let mut restore = Restore::new(Limits::default());
    for chunk in chunks {
        restore.feed(chunk)?;
    }
    restore.finish()
}

fn filled() -> Script {
    let mut script = Script::new();
    for request in ["SET s v EX 100", "INCR n", "HSET h f v g w", "SET gone x", "DEL gone"] {
        script.run(request);
    }
    script.database = 3;
    script.run("SET s three");
    script.run("SWAPDB 3 4");
    script
}

#[test]
fn a_restored_keyspace_is_the_same() {
    let mut script = filled();
    let taken = chunks(&script.keyspace);
    let restored = restore(&taken).unwrap();
    assert_eq!(chunks(&restored), taken);
    assert_eq!(restored.snapshot().digest(), script.keyspace.snapshot().digest());
    assert_eq!(restored.revision(), script.keyspace.revision());
    assert_eq!(restored.next_deadline(), script.keyspace.next_deadline());
    let watched = script.watch(&["gone"]);
    script.keyspace = restored;
    script.database = 0;
    script.expect(&[("GET s", "$v"), ("TTL s", ":100"), ("HGET h g", "$w"), ("DBSIZE", ":3")]);
    assert_eq!(script.exec(watched, &[]), "*[]");
    script.wait(100_000);
    script.expect(&[("GET s", "nil"), ("GET n", "$1")]);
}

#[test]
fn writes_after_a_snapshot_do_not_show_in_it() {
    let mut script = filled();
    script.database = 0;
    let before = chunks(&script.keyspace);
    let snapshot = script.keyspace.snapshot();
    for request in ["SET s other", "HSET h f x", "DEL n", "SET new 1", "APPEND s x", "FLUSHALL"] {
        script.run(request);
    }
    assert_eq!(snapshot.chunks().collect::<Vec<_>>(), before);
    assert_ne!(chunks(&script.keyspace), before);
}

#[test]
fn a_large_collection_is_split_over_chunks() {
    let mut script = Script::new();
    for field in 0..60 {
        script.run(&format!("HSET h f{field} {}", "v".repeat(50_000)));
    }
    for field in 0..40_000 {
        script.run(&format!("HSET many f{field} v"));
    }
    let taken = chunks(&script.keyspace);
    assert!(taken.len() > 5, "{} chunks", taken.len());
    assert!(taken.iter().all(|chunk| chunk.len() <= CHUNK_MAX));
    assert_eq!(chunks(&restore(&taken).unwrap()), taken);
}

#[test]
fn damaged_snapshots_are_refused() {
    let taken = chunks(&filled().keyspace);
    assert!(matches!(restore(&[]), Err(Error::Incomplete { number: 0 })));
    let (last, rest) = taken.split_last().unwrap();
    assert!(matches!(restore(rest), Err(Error::Incomplete { .. })));
    assert!(restore(std::slice::from_ref(last)).is_err(), "an end without a start");
    assert!(restore(&[&taken[..], &taken[..]].concat()).is_err(), "twice");
    for place in 0..rest[0].len() {
        let mut damaged = rest[0].to_vec();
        damaged[place] ^= 1;
        assert!(restore(&[damaged.into(), last.clone()]).is_err(), "byte {place}");
    }
}

fn snapshot_of(items: &[Item]) -> Result<Keyspace, Error> {
    let start = Item::Start { format: FORMAT, now: Timestamp::ZERO, revision: 1 };
    let chunk = codec::encode(&[&[start], items].concat());
    let digest = super::super::shards::hash_of(&chunk);
    let end = Item::End { chunks: 1, items: items.len() as u64 + 1, digest };
    restore(&[chunk, codec::encode(&vec![end])])
}

#[test]
fn snapshots_that_make_no_sense_are_refused() {
    let key = Bytes::from_static(b"k");
    let home = Item::Database { number: 0, swapped: 0 };
    let string = Item::String { key: key.clone(), deadline: None, revision: 1, value: key.clone() };
    let begin = |kind| Item::Collection { key: key.clone(), deadline: None, revision: 1, kind };
    let member = Item::Member(key.clone());
    assert!(snapshot_of(&[]).is_ok(), "what is made here is sound");
    assert!(snapshot_of(&[home.clone(), begin(Kind::Members), member.clone()]).is_ok());
    for (items, what) in [
        (vec![string.clone()], "no database"),
        (vec![Item::Database { number: 16, swapped: 0 }], "database 16"),
        (vec![home.clone(), string.clone(), string.clone()], "a key twice"),
        (vec![home.clone(), begin(Kind::Hash)], "an empty collection"),
        (vec![home.clone(), begin(Kind::Members), member.clone(), member.clone()], "twice"),
        (vec![home.clone(), begin(Kind::Integers), Item::Integer(2), Item::Integer(1)], "order"),
        (vec![home.clone(), begin(Kind::Hash), member.clone()], "a member of a hash"),
        (vec![member], "a member of nothing"),
        (vec![Item::Batch { serial: 1, count: 0 }], "a batch of no session"),
        (vec![Item::Part(super::super::snapshot::Part::Waits)], "no waits"),
        (vec![Item::Start { format: FORMAT, now: Timestamp::ZERO, revision: 1 }], "two starts"),
        (vec![Item::Start { format: 99, now: Timestamp::ZERO, revision: 1 }], "another format"),
    ] {
        assert!(snapshot_of(&items).is_err(), "{what}");
    }
}

#[test]
fn stakes_in_nothing_are_refused() {
    let key = Bytes::from_static(b"k");
    let number = |value| Item::String { key: key.clone(), deadline: None, revision: 1, value };
    let home = Item::Database { number: 0, swapped: 0 };
    let string = vec![home.clone(), number(Bytes::from_static(b"12"))];
    let begin = |kind| Item::Collection { key: key.clone(), deadline: None, revision: 1, kind };
    let set = vec![home.clone(), begin(Kind::Members), Item::Member(key.clone())];
    let hash = vec![home, begin(Kind::Hash), Item::Field(key.clone(), key.clone())];
    let list = vec![set[0].clone(), begin(Kind::List), Item::Member(key.clone())];
    let session = Item::Session {
        id: SessionId(5),
        node: NodeId::from_random(1),
        placement: Placement::new("a", "127.0.0.1:1".parse().unwrap()),
        nonce: 1,
        last: 0,
    };
    let owner = Owner { session: SessionId(5), client: 1 };
    let owned = Stake::Owned(owner);
    let shares = Stake::Shares { amounts: [(owner, 3)].into(), has_rest: true };
    let held = Stake::Held([owner].into());
    let none = Stake::Held([].into());
    let no_shares = Stake::Shares { amounts: [].into(), has_rest: true };
    let (whole, element, other) = (None, Some(key.clone()), Some(Bytes::from_static(b"other")));
    let fed = |before: &[Item], element: &Option<Bytes>, stake: &Stake, after: &[Item]| {
        let (element, stake) = (element.clone(), stake.clone());
        let stake = Item::Stake { key: key.clone(), element, stake };
        snapshot_of(&[before, &[stake], after].concat())
    };
    let open = std::slice::from_ref(&session);
    for (before, element, stake) in
        [(&string, &whole, &owned), (&string, &whole, &shares), (&set, &element, &held)]
    {
        fed(before, element, stake, open).unwrap();
    }
    fed(&hash, &element, &owned, open).unwrap();
    for (before, element, stake, what) in [
        (&vec![], &whole, &owned, "no database"),
        (&string[..1].to_vec(), &whole, &owned, "no key"),
        (&string, &element, &owned, "an element of a string"),
        (&string, &whole, &held, "a string that is held"),
        (&string, &whole, &no_shares, "shares of nobody"),
        (&hash, &element, &shares, "shares of no number"),
        (&hash, &other, &owned, "no field"),
        (&hash, &whole, &owned, "all of a hash"),
        (&set, &other, &held, "no member"),
        (&set, &element, &none, "a member that nobody holds"),
        (&set, &element, &owned, "a member that is owned"),
        (&list, &element, &held, "an element of a list"),
    ] {
        assert!(fed(before, element, stake, open).is_err(), "{what}");
    }
    assert!(fed(&string, &whole, &owned, &[]).is_err(), "a session that is not open");
    let again = Item::Stake { key: key.clone(), element: None, stake: owned.clone() };
    assert!(fed(&string, &whole, &shares, &[again, session]).is_err(), "two stakes in one value");
}

/// A state with something of everything, made by entries alone.
fn golden_state() -> Keyspace {
    let mut keyspace = Keyspace::new(Limits::default());
    let mut at = 1_800_000_000_000;
    let mut apply = |index: u64, action: Action| {
        at += 1;
        keyspace.apply(index, &Entry { at: Timestamp::from_millis(at), action });
    };
    apply(
        5,
        Action::Open {
            nonce: 9,
            node: NodeId::from_random(4_660),
            placement: Placement::new("game-1", "127.0.0.1:7380".parse().unwrap()),
        },
    );
    let requests = [
        "SET s v PXAT 1900000000000",
        "SET gone v",
        "DEL gone",
        "INCR n",
        "SADD numbers 3 1 2",
        "SADD members a 1 b",
        "HSET h f v g w",
        "RPUSH l a b c",
        "MGET s n",
        "HGET s f",
        "BLPOP empty other 0",
        "SWAPDB 0 2",
        "SET back v",
        "=SET owned v",
        "=HINCRBY h n 3",
        "=SADD members held",
        "BLPOP served 0",
        "RPUSH served e",
    ];
    for (serial, request) in (1..).zip(requests) {
        let bound = request.strip_prefix('=');
        let binding = if bound.is_some() { Binding::Client(3) } else { Binding::None };
        let command = Command::parse(&words(bound.unwrap_or(request))).unwrap();
        let requests = [Request::One(Operation { database: 0, binding, command })].into();
        let session = SessionId(5);
        apply(5 + serial, Action::Batch { session, serial, acknowledged: 6, requests });
    }
    keyspace
}

/// `golden.txt` holds a snapshot chunk by chunk. Write it anew, on purpose and with another `FORMAT` if one was ever
/// released, with `QUORATE_GOLDEN=write cargo test golden`.
#[test]
fn the_golden_snapshot_holds() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("src/keyspace/tests/golden.txt");
    let taken = chunks(&golden_state());
    let hex = |chunk: &Bytes| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: String = taken.iter().map(|chunk| hex(chunk) + "\n").collect();
    let text = format!("# Golden bytes of a snapshot, one chunk a line. See snapshot.rs.\n{lines}");
    if std::env::var_os("QUORATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(chunks(&restore(&taken).unwrap()), taken);
}
