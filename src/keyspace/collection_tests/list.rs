//! List commands: replies, texts, and a plain model that they are compared with.

use proptest::prelude::*;

use super::{ask, check, show};
use crate::command::Reply;
use crate::keyspace::{Keyspace, Limits};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn elements_are_put_and_taken() {
    check(
        "RPUSH l a b c => 3
         LPUSH l y z => 5
         LRANGE l 0 -1 => [\"z\" \"y\" \"a\" \"b\" \"c\"]
         LLEN l => 5
         LLEN nokey => 0
         LPUSH l => -ERR wrong number of arguments for 'lpush' command
         LPUSHX nokey a b => 0
         RPUSHX nokey a => 0
         RPUSHX l d => 6
         LPUSHX l x => 7
         LPOP l => \"x\"
         RPOP l => \"d\"
         LPOP l 2 => [\"z\" \"y\"]
         RPOP l 2 => [\"c\" \"b\"]
         LPOP l 9223372036854775807 => [\"a\"]
         LPOP l 5 => nil[]
         LPOP nokey => nil
         LPOP nokey 0 => nil[]
         RPUSH l a => 1
         LPOP l 0 => []
         LPOP l -1 => -ERR value is out of range, must be positive
         LPOP l abc => -ERR value is out of range, must be positive
         LPOP l 9223372036854775808 => -ERR value is out of range, must be positive
         LPOP l 1 2 => -ERR wrong number of arguments for 'lpop' command
         LLEN l => 1",
    );
}

#[test]
fn elements_are_found_and_changed_by_index() {
    check(
        "RPUSH l z a b c d => 5
         LINDEX l 0 => \"z\"
         LINDEX l -1 => \"d\"
         LINDEX l -5 => \"z\"
         LINDEX l -6 => nil
         LINDEX l 100 => nil
         LINDEX l -9223372036854775808 => nil
         LINDEX l 9223372036854775807 => nil
         LINDEX l abc => -ERR value is not an integer or out of range
         LINDEX nokey 0 => nil
         LINDEX nokey abc => nil
         LSET nokey abc Z => -ERR no such key
         LSET l 0 Z => OK
         LSET l -1 D => OK
         LSET l 100 Z => -ERR index out of range
         LSET l -6 Z => -ERR index out of range
         LSET l -9223372036854775808 Z => -ERR index out of range
         LSET nokey 0 Z => -ERR no such key
         LSET l abc Z => -ERR value is not an integer or out of range
         LRANGE l 0 -1 => [\"Z\" \"a\" \"b\" \"c\" \"D\"]
         LRANGE l -2 1 => []
         LRANGE l -2 -1 => [\"c\" \"D\"]
         LRANGE l -100 1 => [\"Z\" \"a\"]
         LRANGE l 3 100 => [\"c\" \"D\"]
         LRANGE l 5 10 => []
         LRANGE l 0 -6 => []
         LRANGE l -9223372036854775808 9223372036854775807 => [\"Z\" \"a\" \"b\" \"c\" \"D\"]
         LRANGE l a b => -ERR value is not an integer or out of range
         LRANGE nokey 0 -1 => []
         LTRIM l 1 -2 => OK
         LRANGE l 0 -1 => [\"a\" \"b\" \"c\"]
         LTRIM l -100 100 => OK
         LTRIM l -2 -1 => OK
         LRANGE l 0 -1 => [\"b\" \"c\"]
         LTRIM l 5 1 => OK
         LLEN l => 0
         LTRIM nokey 0 1 => OK",
    );
}

#[test]
fn elements_are_inserted_removed_and_looked_for() {
    check(
        "RPUSH l a b c a b => 5
         LINSERT l BEFORE b B => 6
         LINSERT l after c C => 7
         LRANGE l 0 -1 => [\"a\" \"B\" \"b\" \"c\" \"C\" \"a\" \"b\"]
         LINSERT l AFTER nope B => -1
         LINSERT l FOO b B => -ERR syntax error
         LINSERT nokey BEFORE a b => 0
         LPOS l b => 2
         LPOS l b RANK 2 => 6
         LPOS l b RANK -1 => 6
         LPOS l b RANK 3 => nil
         LPOS l b RANK 3 COUNT 0 => []
         LPOS l b COUNT 0 => [2 6]
         LPOS l b COUNT 1 COUNT 2 => [2 6]
         LPOS l b RANK -1 COUNT 0 => [6 2]
         LPOS l b COUNT 0 MAXLEN 3 => [2]
         LPOS l b RANK -1 MAXLEN 1 => 6
         LPOS l b RANK 9223372036854775807 => nil
         LPOS l zz => nil
         LPOS l zz COUNT 1 => []
         LPOS nokey a => nil
         LPOS nokey a COUNT 0 => []
         LPOS l b RANK 0 => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
         LPOS l b RANK abc => -ERR value is not an integer or out of range
         LPOS l b RANK -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         LPOS l b COUNT -1 => -ERR COUNT can't be negative
         LPOS l b MAXLEN -1 => -ERR MAXLEN can't be negative
         LPOS l b RANK => -ERR syntax error
         LPOS l b FOO 1 => -ERR syntax error
         LREM l -1 a => 1
         LRANGE l 0 -1 => [\"a\" \"B\" \"b\" \"c\" \"C\" \"b\"]
         LREM l 5 b => 2
         LREM l 0 zz => 0
         LREM l abc B => -ERR value is not an integer or out of range
         LREM nokey 0 a => 0
         LRANGE l 0 -1 => [\"a\" \"B\" \"c\" \"C\"]
         RPUSH same x x x => 3
         LREM same 0 x => 3
         LLEN same => 0",
    );
}

#[test]
fn elements_are_moved_between_lists() {
    check(
        "RPUSH l a b c => 3
         LMOVE l l2 LEFT RIGHT => \"a\"
         LMOVE l l2 FOO RIGHT => -ERR syntax error
         LMOVE l l2 LEFT => -ERR wrong number of arguments for 'lmove' command
         RPOPLPUSH l l2 => \"c\"
         LRANGE l2 0 -1 => [\"c\" \"a\"]
         RPOPLPUSH nokey l2 => nil
         LMOVE l2 l2 LEFT RIGHT => \"c\"
         LRANGE l2 0 -1 => [\"a\" \"c\"]
         LMOVE l l LEFT LEFT => \"b\"
         LMPOP 1 l LEFT => [\"l\" [\"b\"]]
         LMPOP 1 nokey LEFT => nil[]
         LMPOP 3 nokey l l2 right COUNT 5 => [\"l2\" [\"c\" \"a\"]]
         LMPOP 0 l LEFT => -ERR numkeys should be greater than 0
         LMPOP abc l LEFT => -ERR numkeys should be greater than 0
         LMPOP 2 l LEFT => -ERR syntax error
         LMPOP 99999999999 l LEFT => -ERR syntax error
         LMPOP 1 l FOO => -ERR syntax error
         LMPOP 1 l LEFT COUNT 0 => -ERR count should be greater than 0
         LMPOP 1 l LEFT COUNT abc => -ERR count should be greater than 0
         LMPOP 1 l LEFT COUNT 1 COUNT 2 => -ERR syntax error
         LMPOP 1 l LEFT COUNT => -ERR syntax error
         SADD s x => 1
         RPUSH l a => 1
         LMOVE nokey s LEFT LEFT => nil
         LMOVE l s LEFT LEFT => -WRONGTYPE Operation against a key holding the wrong kind of value
         LMOVE s l LEFT LEFT => -WRONGTYPE Operation against a key holding the wrong kind of value
         LMPOP 2 nokey s LEFT => -WRONGTYPE Operation against a key holding the wrong kind of value
         LLEN l => 1",
    );
}

#[test]
fn each_key_must_hold_a_list() {
    let mut keyspace = Keyspace::new(Limits::default());
    ask(&mut keyspace, "SADD s x");
    for request in [
        "LPUSH s x",
        "LPUSHX s x",
        "LRANGE s 0 -1",
        "LPOP s",
        "LPOP s 0",
        "LLEN s",
        "LINDEX s 0",
        "LINDEX s abc",
        "LSET s abc x",
        "LSET s 0 x",
        "LINSERT s BEFORE a b",
        "LREM s 0 x",
        "LTRIM s 0 1",
        "LPOS s x",
        "RPOPLPUSH s l",
        "BLPOP s 1",
        "BLPOP nokey s 1",
        "BLMPOP 1 1 s LEFT",
        "BLMOVE s l LEFT LEFT 1",
    ] {
        assert_eq!(show(&ask(&mut keyspace, request)), WRONG_TYPE, "{request}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(bool, Vec<u8>),
    Pop(bool, u8),
    Set(i64, u8),
    Insert(bool, u8, u8),
    Remove(i64, u8),
    Trim(i64, i64),
    Rotate(bool, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let value = || 0..4_u8;
    let index = || -8..8_i64;
    prop_oneof![
        4 => (any::<bool>(), prop::collection::vec(value(), 1..5)).prop_map(|(l, v)| Step::Push(l, v)),
        1 => (any::<bool>(), 0..3_u8).prop_map(|(l, n)| Step::Pop(l, n)),
        1 => (index(), value()).prop_map(|(i, v)| Step::Set(i, v)),
        1 => (any::<bool>(), value(), value()).prop_map(|(a, p, v)| Step::Insert(a, p, v)),
        1 => (-3..4_i64, value()).prop_map(|(c, v)| Step::Remove(c, v)),
        1 => (index(), index()).prop_map(|(from, to)| Step::Trim(from, to)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(from, to)| Step::Rotate(from, to)),
    ]
}

/// The request of a step, after the same was done to a plain vector, the slow way.
fn take_step(model: &mut Vec<u8>, step: &Step) -> String {
    let len = i64::try_from(model.len()).unwrap();
    let side = |left: &bool| if *left { "LEFT" } else { "RIGHT" };
    match step {
        Step::Push(left, values) => {
            for value in values {
                model.insert(if *left { 0 } else { model.len() }, *value);
            }
            let values = values.iter().map(|value| format!(" {value}")).collect::<String>();
            format!("{}PUSH l{values}", if *left { "L" } else { "R" })
        }
        Step::Pop(left, count) => {
            for _ in 0..*count {
                if !model.is_empty() {
                    model.remove(if *left { 0 } else { model.len() - 1 });
                }
            }
            format!("{}POP l {count}", if *left { "L" } else { "R" })
        }
        Step::Set(index, value) => {
            let place = if *index < 0 { len + index } else { *index };
            if let Some(there) = usize::try_from(place).ok().and_then(|place| model.get_mut(place))
            {
                *there = *value;
            }
            format!("LSET l {index} {value}")
        }
        Step::Insert(after, pivot, value) => {
            if let Some(place) = model.iter().position(|there| there == pivot) {
                model.insert(place + usize::from(*after), *value);
            }
            format!("LINSERT l {} {pivot} {value}", if *after { "AFTER" } else { "BEFORE" })
        }
        Step::Remove(count, value) => {
            let places = (0..model.len()).filter(|place| model[*place] == *value);
            let mut places: Vec<_> = places.collect();
            let most = usize::try_from(count.unsigned_abs()).unwrap();
            match count.signum() {
                1 => places.truncate(most),
                -1 => drop(places.drain(..places.len().saturating_sub(most))),
                _ => {}
            }
            for place in places.into_iter().rev() {
                model.remove(place);
            }
            format!("LREM l {count} {value}")
        }
        Step::Trim(from, to) => {
            let absolute = |index: i64| if index < 0 { len + index } else { index };
            let mut place = 0;
            model.retain(|_| {
                place += 1;
                (absolute(*from)..=absolute(*to)).contains(&(place - 1))
            });
            format!("LTRIM l {from} {to}")
        }
        Step::Rotate(from, to) => {
            if !model.is_empty() {
                let value = model.remove(if *from { 0 } else { model.len() - 1 });
                model.insert(if *to { 0 } else { model.len() }, value);
            }
            format!("LMOVE l l {} {}", side(from), side(to))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn lists_behave_as_plain_vectors(
        steps in prop::collection::vec(step(), 1..60), range in (-9..9_i64, -9..9_i64),
    ) {
        let mut keyspace = Keyspace::new(Limits::default());
        let mut model = Vec::new();
        for step in &steps {
            let request = take_step(&mut model, step);
            ask(&mut keyspace, &request);
            let expected: Vec<_> = model.iter().map(|value| format!("\"{value}\"")).collect();
            let all = show(&ask(&mut keyspace, "LRANGE l 0 -1"));
            prop_assert_eq!(all, format!("[{}]", expected.join(" ")), "{}", request);
            let len = i64::try_from(model.len()).unwrap();
            let absolute = |index: i64| if index < 0 { len + index } else { index };
            let shown = (absolute(range.0).max(0)..=absolute(range.1).min(len - 1))
                .filter_map(|place| expected.get(usize::try_from(place).ok()?))
                .cloned()
                .collect::<Vec<_>>();
            let part = show(&ask(&mut keyspace, &format!("LRANGE l {} {}", range.0, range.1)));
            prop_assert_eq!(part, format!("[{}]", shown.join(" ")));
            let reply = ask(&mut keyspace, "LLEN l");
            prop_assert_eq!(reply, Reply::Integer(len));
        }
    }
}
