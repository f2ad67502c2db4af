//! Hash commands: replies, texts, and a plain model that they are compared with.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{ask, check, show};
use crate::command::Reply;
use crate::keyspace::{Keyspace, Limits};

#[test]
fn fields_come_and_go() {
    check(
        "HSET h f1 v1 f2 v2 => 2
         HSET h f1 v1b => 0
         HSET h f1 => -ERR wrong number of arguments for 'hset' command
         HSET h f1 v1 f2 => -ERR wrong number of arguments for 'hset' command
         HMSET h a 1 b 2 => OK
         HMSET h a 1 b => -ERR wrong number of arguments for 'hmset' command
         HGET h f1 => \"v1b\"
         HGET h nof => nil
         HGET nokey f => nil
         HMGET h f1 nof f2 => [\"v1b\" nil \"v2\"]
         HMGET nokey a b => [nil nil]
         HGETALL h => %[\"f1\" \"v1b\" \"f2\" \"v2\" \"a\" \"1\" \"b\" \"2\"]
         HGETALL nokey => %[]
         HKEYS h => [\"f1\" \"f2\" \"a\" \"b\"]
         HVALS h => [\"v1b\" \"v2\" \"1\" \"2\"]
         HKEYS nokey => []
         HVALS nokey => []
         HLEN h => 4
         HLEN nokey => 0
         HEXISTS h f1 => 1
         HEXISTS h nof => 0
         HEXISTS nokey f => 0
         HSTRLEN h f1 => 3
         HSTRLEN h nof => 0
         HSTRLEN nokey f => 0
         HSETNX h f1 x => 0
         HSETNX h newf x => 1
         HSETNX newh f x => 1
         HDEL h f1 nof f1 => 1
         HDEL nokey f => 0
         HDEL h => -ERR wrong number of arguments for 'hdel' command
         HKEYS h => [\"newf\" \"f2\" \"a\" \"b\"]
         HDEL h newf f2 a b => 4
         HLEN h => 0
         HSET dup f 1 f 2 => 1
         HGETALL dup => %[\"f\" \"2\"]
         HSET e '' '' => 1
         HGETALL e => %[\"\" \"\"]",
    );
}

#[test]
fn numbers_in_fields_are_added_to() {
    check(
        "HINCRBY h n 5 => 5
         HINCRBY h n -3 => 2
         HINCRBY h n abc => -ERR value is not an integer or out of range
         HINCRBY h n 1.5 => -ERR value is not an integer or out of range
         HSET h s abc => 1
         HINCRBY h s 1 => -ERR hash value is not an integer
         HSET h s ' 1' => 0
         HINCRBY h s 1 => -ERR hash value is not an integer
         HSET h s '' => 0
         HINCRBY h s 1 => -ERR hash value is not an integer
         HSET h n 9223372036854775807 => 0
         HINCRBY h n 1 => -ERR increment or decrement would overflow
         HSET h n -9223372036854775808 => 0
         HINCRBY h n -1 => -ERR increment or decrement would overflow
         HGET h n => \"-9223372036854775808\"
         HINCRBYFLOAT h fl 1.5 => \"1.5\"
         HINCRBYFLOAT h fl 1e3 => \"1001.5\"
         HINCRBYFLOAT h fl abc => -ERR value is not a valid float
         HINCRBYFLOAT h fl nan => -ERR value is not a valid float
         HINCRBYFLOAT h fl inf => -ERR value is NaN or Infinity
         HSET h s abc big 1e308 => 1
         HINCRBYFLOAT h s 1 => -ERR hash value is not a float
         HINCRBYFLOAT h big 1e308 => -ERR increment would produce NaN or Infinity
         HINCRBYFLOAT new f 0.1 => \"0.1\"
         HINCRBYFLOAT new f 0.2 => \"0.3\"",
    );
}

#[test]
fn random_fields_are_given_within_bounds() {
    check(
        "HSET one f v => 1
         HRANDFIELD one => \"f\"
         HRANDFIELD one 1 => [\"f\"]
         HRANDFIELD one 7 => [\"f\"]
         HRANDFIELD one -3 => [\"f\" \"f\" \"f\"]
         HRANDFIELD one 1 WITHVALUES => &[\"f\" \"v\"]
         HRANDFIELD one -2 withvalues => &[\"f\" \"v\" \"f\" \"v\"]
         HRANDFIELD one 0 => []
         HRANDFIELD nokey => nil
         HRANDFIELD nokey 2 => []
         HRANDFIELD nokey 2 WITHVALUES => &[]
         HRANDFIELD one abc => -ERR value is not an integer or out of range
         HRANDFIELD one 1 FOO => -ERR syntax error
         HRANDFIELD one 1 WITHVALUES x => -ERR syntax error
         HRANDFIELD one 4611686018427387904 WITHVALUES => -ERR value is out of range
         HRANDFIELD one 4611686018427387904 => [\"f\"]
         HRANDFIELD one -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         HRANDFIELD one -1048577 => -ERR value is out of range, at most 1048576 draws may repeat",
    );
}

#[test]
fn each_key_must_hold_a_hash() {
    let mut keyspace = Keyspace::new(Limits::default());
    ask(&mut keyspace, "SADD s x");
    for request in [
        "HSET s f v",
        "HGET s f",
        "HMGET s f",
        "HGETALL s",
        "HDEL s f",
        "HLEN s",
        "HKEYS s",
        "HVALS s",
        "HEXISTS s f",
        "HINCRBY s f 1",
        "HINCRBYFLOAT s f 1",
        "HSETNX s f v",
        "HSTRLEN s f",
        "HSCAN s 0",
        "HRANDFIELD s",
        "HRANDFIELD s 2",
    ] {
        let reply = show(&ask(&mut keyspace, request));
        assert!(reply.starts_with("-WRONGTYPE"), "{request}: {reply}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hashes_behave_as_plain_maps(
        steps in prop::collection::vec((0..5_u8, "[a-f]{1}", -9..9_i64), 1..80),
    ) {
        let mut keyspace = Keyspace::new(Limits::default());
        let mut model: BTreeMap<String, i64> = BTreeMap::new();
        for (step, field, number) in &steps {
            let there = model.contains_key(field);
            let (request, expected) = match step {
                0 => {
                    model.insert(field.clone(), *number);
                    (format!("HSET h {field} {number}"), i64::from(!there))
                }
                1 => {
                    model.entry(field.clone()).or_insert(*number);
                    (format!("HSETNX h {field} {number}"), i64::from(!there))
                }
                2 => {
                    model.remove(field);
                    (format!("HDEL h {field} z"), i64::from(there))
                }
                3 => {
                    let sum = model.entry(field.clone()).or_insert(0);
                    *sum += number;
                    (format!("HINCRBY h {field} {number}"), *sum)
                }
                _ => (format!("HEXISTS h {field}"), i64::from(there)),
            };
            prop_assert_eq!(ask(&mut keyspace, &request), Reply::Integer(expected), "{}", request);
            let Reply::Map(words) = ask(&mut keyspace, "HGETALL h") else { panic!("not a map") };
            let pairs: BTreeMap<_, _> =
                words.chunks(2).map(|pair| (show(&pair[0]), show(&pair[1]))).collect();
            let expected: BTreeMap<_, _> = model
                .iter()
                .map(|(field, number)| (format!("\"{field}\""), format!("\"{number}\"")))
                .collect();
            prop_assert_eq!(pairs, expected);
        }
    }
}
