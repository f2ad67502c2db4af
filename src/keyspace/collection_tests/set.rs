//! Set commands: replies, texts, and a plain model that they are compared with.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::{ask, check};
use crate::command::Reply;
use crate::keyspace::{Keyspace, Limits};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn members_come_and_go() {
    check(
        "SADD s a b c => 3
         SADD s a d => 1
         SADD s a => 0
         SADD s => -ERR wrong number of arguments for 'sadd' command
         SCARD s => 4
         SCARD nokey => 0
         SISMEMBER s a => 1
         SISMEMBER s z => 0
         SISMEMBER nokey z => 0
         SMISMEMBER s a z b => [1 0 1]
         SMISMEMBER nokey a => [0]
         SMEMBERS s => {\"a\" \"b\" \"c\" \"d\"}
         SMEMBERS nokey => {}
         SREM s a z a => 1
         SMEMBERS s => {\"d\" \"b\" \"c\"}
         SREM nokey a => 0
         SREM s => -ERR wrong number of arguments for 'srem' command
         SREM s b c d => 3
         SCARD s => 0
         SMEMBERS s extra => -ERR wrong number of arguments for 'smembers' command
         SADD num 3 1 2 -5 => 4
         SMEMBERS num => {\"-5\" \"1\" \"2\" \"3\"}
         SREM num 1 01 => 1
         SMEMBERS num => {\"-5\" \"2\" \"3\"}
         SADD num x => 1
         SMEMBERS num => {\"-5\" \"2\" \"3\" \"x\"}
         SADD bin '' => 1
         SMEMBERS bin => {\"\"}",
    );
}

#[test]
fn sets_are_combined() {
    check(
        "SADD s1 a b c => 3
         SADD s2 b c d => 3
         SADD i1 5 3 9 => 3
         SADD i2 9 1 5 => 3
         SINTER s1 s2 => {\"b\" \"c\"}
         SUNION s1 s2 => {\"a\" \"b\" \"c\" \"d\"}
         SDIFF s1 s2 => {\"a\"}
         SDIFF s1 s1 => {}
         SDIFF nokey s1 => {}
         SINTER i1 i2 => {\"5\" \"9\"}
         SUNION i1 i2 => {\"1\" \"3\" \"5\" \"9\"}
         SINTER s1 nokey => {}
         SINTER s1 => {\"a\" \"b\" \"c\"}
         SUNION s1 nokey => {\"a\" \"b\" \"c\"}
         SINTER => -ERR wrong number of arguments for 'sinter' command
         SINTERSTORE d s1 s2 => 2
         SUNIONSTORE d s1 s2 => 4
         SDIFFSTORE d s1 s2 => 1
         SMEMBERS d => {\"a\"}
         SUNIONSTORE d d s2 => 4
         SINTERSTORE d s1 nokey => 0
         SCARD d => 0
         HSET h f v => 1
         SUNIONSTORE h s1 => 3
         SCARD h => 3
         SINTERCARD 2 s1 s2 => 2
         SINTERCARD 2 s1 s2 LIMIT 1 => 1
         SINTERCARD 2 s1 s2 limit 0 => 2
         SINTERCARD 1 nokey => 0
         SINTERCARD 0 s1 => -ERR numkeys should be greater than 0
         SINTERCARD abc s1 => -ERR numkeys should be greater than 0
         SINTERCARD 3 s1 s2 => -ERR Number of keys can't be greater than number of args
         SINTERCARD 9223372036854775807 s1 => -ERR Number of keys can't be greater than number of args
         SINTERCARD 2 s1 s2 LIMIT -1 => -ERR LIMIT can't be negative
         SINTERCARD 1 s1 LIMIT abc => -ERR LIMIT can't be negative
         SINTERCARD 1 s1 FOO => -ERR syntax error
         SINTERCARD 1 s1 LIMIT => -ERR syntax error
         SMOVE s1 s2 a => 1
         SMOVE s1 s2 zzz => 0
         SMOVE nokey s2 a => 0
         SMOVE s2 s2 a => 1
         SMEMBERS s2 => {\"b\" \"c\" \"d\" \"a\"}
         SMEMBERS s1 => {\"c\" \"b\"}",
    );
}

#[test]
fn random_members_are_given_within_bounds() {
    check(
        "SPOP nokey => nil
         SPOP nokey 2 => {}
         SADD one x => 1
         SRANDMEMBER one => \"x\"
         SRANDMEMBER one 5 => [\"x\"]
         SRANDMEMBER one -3 => [\"x\" \"x\" \"x\"]
         SRANDMEMBER one 9223372036854775807 => [\"x\"]
         SRANDMEMBER nokey => nil
         SRANDMEMBER nokey 3 => []
         SRANDMEMBER nokey -3 => []
         SRANDMEMBER one 0 => []
         SRANDMEMBER one 1 2 => -ERR syntax error
         SRANDMEMBER one abc => -ERR value is not an integer or out of range
         SRANDMEMBER one -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         SRANDMEMBER one -9223372036854775807 => -ERR value is out of range, at most 1048576 draws may repeat
         SPOP one 0 => {}
         SPOP one -1 => -ERR value is out of range, must be positive
         SPOP one abc => -ERR value is out of range, must be positive
         SPOP one 1 2 => -ERR syntax error
         SPOP one => \"x\"
         SCARD one => 0
         SADD num 1 2 3 => 3
         SPOP num 9 => {\"1\" \"2\" \"3\"}
         SCARD num => 0",
    );
}

#[test]
fn spop_takes_each_member_once() {
    for (numbers, size) in [(true, 40), (false, 40), (false, 700)] {
        let mut keyspace = Keyspace::new(Limits::default());
        let prefix = if numbers { "" } else { "m" };
        let all: Vec<_> = (0..size).map(|n| format!("{prefix}{n}")).collect();
        ask(&mut keyspace, &format!("SADD s {}", all.join(" ")));
        let mut popped = Vec::new();
        for request in ["SPOP s", "SPOP s 7", "SPOP s 1000"] {
            let reply = ask(&mut keyspace, request);
            if let Reply::Set(members) = &reply {
                popped.extend(members.iter().map(super::show));
            } else {
                popped.push(super::show(&reply));
            }
        }
        assert_ne!(popped[..8], *all[..8].iter().map(|m| format!("\"{m}\"")).collect::<Vec<_>>());
        popped.sort();
        let mut expected: Vec<_> = all.iter().map(|member| format!("\"{member}\"")).collect();
        expected.sort();
        assert_eq!(popped, expected);
        assert_eq!(ask(&mut keyspace, "SCARD s"), Reply::Integer(0));
    }
}

#[test]
fn each_key_must_hold_a_set() {
    let mut keyspace = Keyspace::new(Limits::default());
    ask(&mut keyspace, "HSET h f v");
    ask(&mut keyspace, "SADD s b");
    for request in [
        "SADD h x",
        "SREM h x",
        "SMEMBERS h",
        "SISMEMBER h x",
        "SMISMEMBER h x",
        "SCARD h",
        "SPOP h",
        "SPOP h 2",
        "SRANDMEMBER h",
        "SRANDMEMBER h 2",
        "SINTER h s",
        "SUNION s h",
        "SDIFF s h",
        "SINTER nokey h",
        "SDIFF nokey h",
        "SINTERSTORE d s h",
        "SMOVE h s x",
        "SMOVE s h b",
        "SMOVE s h nomember",
        "SSCAN h 0",
        "SINTERCARD 1 h",
        "SINTERCARD 2 nokey h",
    ] {
        assert_eq!(super::show(&ask(&mut keyspace, request)), WRONG_TYPE, "{request}");
    }
    assert_eq!(ask(&mut keyspace, "SMEMBERS s"), Reply::Set(vec![Reply::Bulk("b".into())]));
    assert_eq!(ask(&mut keyspace, "SMOVE nokey h x"), Reply::Integer(0), "as in Redis");
}

/// What a model of plain sets is asked.
#[derive(Clone, Debug)]
enum Step {
    Add(usize, Vec<Bytes>),
    Remove(usize, Vec<Bytes>),
    Move(usize, usize, Bytes),
    Pop(usize, u8),
    Store(usize, &'static str, Vec<usize>),
}

fn member() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        (0..20_i64).prop_map(|number| Bytes::from(number.to_string())),
        (0..600_i64).prop_map(|number| Bytes::from(number.to_string())),
        "[a-d]{0,2}".prop_map(Bytes::from),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let members = || prop::collection::vec(member(), 1..12);
    let how = prop::sample::select(vec!["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
    prop_oneof![
        3 => (0..3_usize, members()).prop_map(|(key, members)| Step::Add(key, members)),
        2 => (0..3_usize, members()).prop_map(|(key, members)| Step::Remove(key, members)),
        1 => (0..3_usize, 0..3_usize, member()).prop_map(|(from, to, member)| Step::Move(from, to, member)),
        1 => (0..3_usize, 0..4_u8).prop_map(|(key, count)| Step::Pop(key, count)),
        1 => (0..3_usize, how, prop::collection::vec(0..3_usize, 1..4))
            .prop_map(|(to, how, keys)| Step::Store(to, how, keys)),
    ]
}

fn request(name: &str, keys: &[usize], rest: &[Bytes]) -> String {
    let keys = keys.iter().map(|key| format!(" k{key}")).collect::<String>();
    let rest = rest.iter().map(|word| format!(" '{}'", word.escape_ascii())).collect::<String>();
    format!("{name}{keys}{rest}")
}

/// Applies a step to the keyspace and to the model; gives both replies.
fn take_step(
    keyspace: &mut Keyspace,
    model: &mut [BTreeSet<Bytes>; 3],
    step: &Step,
) -> (Reply, Reply) {
    match step {
        Step::Add(key, members) => {
            let added =
                members.iter().filter(|member| model[*key].insert((*member).clone())).count();
            (ask(keyspace, &request("SADD", &[*key], members)), Reply::count(added))
        }
        Step::Remove(key, members) => {
            let removed = members.iter().filter(|member| model[*key].remove(*member)).count();
            (ask(keyspace, &request("SREM", &[*key], members)), Reply::count(removed))
        }
        Step::Move(from, to, member) => {
            let moved = model[*from].remove(member);
            if moved {
                model[*to].insert(member.clone());
            }
            let member = std::slice::from_ref(member);
            (ask(keyspace, &request("SMOVE", &[*from, *to], member)), Reply::flag(moved))
        }
        Step::Pop(key, count) => {
            let reply = ask(keyspace, &format!("SPOP k{key} {count}"));
            let Reply::Set(popped) = &reply else { return (reply, Reply::Nil) };
            let expected = model[*key].len().min(usize::from(*count));
            let taken = popped.iter().filter(
                |popped| matches!(popped, Reply::Bulk(member) if model[*key].remove(member)),
            );
            (Reply::count(taken.count()), Reply::count(expected))
        }
        Step::Store(to, how, keys) => {
            let (first, others) = keys.split_first().unwrap();
            let mut result = model[*first].clone();
            for other in others {
                let other = &model[*other];
                result = match *how {
                    "SINTERSTORE" => &result & other,
                    "SUNIONSTORE" => &result | other,
                    _ => &result - other,
                };
            }
            let count = Reply::count(result.len());
            model[*to] = result;
            (ask(keyspace, &request(how, &[&[*to], &keys[..]].concat(), &[])), count)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sets_behave_as_plain_sets(steps in prop::collection::vec(step(), 1..60)) {
        let mut keyspace = Keyspace::new(Limits::default());
        let mut model: [BTreeSet<Bytes>; 3] = Default::default();
        for step in &steps {
            let (reply, expected) = take_step(&mut keyspace, &mut model, step);
            prop_assert_eq!(reply, expected, "{:?}", step);
            for (key, model) in model.iter().enumerate() {
                let Reply::Set(members) = ask(&mut keyspace, &format!("SMEMBERS k{key}")) else {
                    panic!("not a set");
                };
                let members: BTreeSet<_> = members.iter().map(super::show).collect();
                let expected: BTreeSet<_> =
                    model.iter().map(|member| super::show(&Reply::Bulk(member.clone()))).collect();
                prop_assert_eq!(members, expected);
            }
        }
    }
}
