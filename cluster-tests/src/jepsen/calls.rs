//! Operations of a history as requests, and replies as answers.
//!
//! Owns the words of each call and what its reply means. Does not own: which call comes when, and errors. Invariant: a reply of another
//! shape than the call's is no answer; it is told as such and fails the run.
#![expect(clippy::wildcard_enum_match_arm, reason = "few of many kinds are meant, here and later")]

use super::wire::{Words, words};
use crate::history::{Answer, Call};
use crate::reply::Reply;

/// The words of a call that is one request; nothing for a CAS, which is several on the Redis door, and for what subscribers do.
pub(super) fn request(key: &str, call: &Call) -> Option<Words> {
    let number = |value: &u64| value.to_string();
    Some(match call {
        Call::Read => words(&["GET", key]),
        Call::Write(value) => words(&["SET", key, &number(value)]),
        Call::Cas { .. } => return None,
        Call::Delete => words(&["DEL", key]),
        Call::Add(value) => words(&["SADD", key, &number(value)]),
        Call::Remove(value) => words(&["SREM", key, &number(value)]),
        Call::Contains(value) => words(&["SISMEMBER", key, &number(value)]),
        Call::Members => words(&["SMEMBERS", key]),
        Call::FieldSet { field, value } | Call::Bind { field, value } => {
            words(&["HSET", key, &field.to_string(), &number(value)])
        }
        Call::FieldGet(field) => words(&["HGET", key, &field.to_string()]),
        Call::FieldDelete(field) => words(&["HDEL", key, &field.to_string()]),
        Call::Fields | Call::BoundFields => words(&["HGETALL", key]),
        Call::Increment(by) => words(&["INCRBY", key, &by.to_string()]),
        Call::Count => words(&["GET", key]),
        Call::Append(value) => words(&["RPUSH", key, &number(value)]),
        Call::Range => words(&["LRANGE", key, "0", "-1"]),
        Call::WriteFor { value, ttl_ms } => {
            words(&["SET", key, &number(value), "PX", &ttl_ms.to_string()])
        }
        Call::Persist => words(&["PERSIST", key]),
        Call::Publish { .. } => return None,
    })
}

/// What a reply means.
pub(super) fn answer(call: &Call, reply: &Reply) -> Option<Answer> {
    match call {
        Call::Read | Call::FieldGet(_) => value(reply).map(Answer::Value),
        Call::Write(_) | Call::WriteFor { .. } => is_ok(reply).then_some(Answer::None),
        Call::Cas { .. } | Call::Delete | Call::Add(_) | Call::Remove(_) | Call::Contains(_) => {
            yes(reply)
        }
        Call::FieldSet { .. } | Call::FieldDelete(_) | Call::Persist | Call::Bind { .. } => {
            yes(reply)
        }
        Call::Members | Call::Range => {
            reply.elements()?.iter().map(number).collect::<Option<_>>().map(Answer::Values)
        }
        Call::Fields | Call::BoundFields => pairs(reply).map(Answer::Pairs),
        Call::Increment(_) | Call::Append(_) | Call::Publish { .. } => {
            reply.integer().map(Answer::Number)
        }
        Call::Count => match value(reply)? {
            None => Some(Answer::Number(0)),
            Some(count) => i64::try_from(count).ok().map(Answer::Number),
        },
    }
}

fn is_ok(reply: &Reply) -> bool {
    *reply == Reply::Simple(b"OK".to_vec())
}

fn yes(reply: &Reply) -> Option<Answer> {
    match reply.integer()? {
        0 => Some(Answer::Yes(false)),
        1 => Some(Answer::Yes(true)),
        _ => None,
    }
}

fn number<N: std::str::FromStr>(reply: &Reply) -> Option<N> {
    std::str::from_utf8(reply.bytes()?).ok()?.parse().ok()
}

fn value(reply: &Reply) -> Option<Option<u64>> {
    match reply {
        Reply::Null | Reply::NilBulk => Some(None),
        other => number(other).map(Some),
    }
}

fn pairs(reply: &Reply) -> Option<Vec<(u32, u64)>> {
    if let Reply::Map(pairs) = reply {
        return pairs.iter().map(|(field, value)| Some((number(field)?, number(value)?))).collect();
    }
    let items = reply.elements()?.chunks(2);
    items
        .map(|pair| match pair {
            [field, value] => Some((number(field)?, number(value)?)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_another_shape_are_no_answers() {
        let bulk = |text: &str| Reply::Bulk(text.into());
        assert_eq!(answer(&Call::Read, &bulk("7")), Some(Answer::Value(Some(7))));
        assert_eq!(answer(&Call::Read, &Reply::Null), Some(Answer::Value(None)));
        assert_eq!(answer(&Call::Read, &bulk("x")), None);
        assert_eq!(answer(&Call::Write(1), &Reply::Integer(1)), None);
        assert_eq!(answer(&Call::Delete, &Reply::Integer(2)), None);
        assert_eq!(answer(&Call::Count, &Reply::Null), Some(Answer::Number(0)));
        let map = Reply::Map(vec![(bulk("1"), bulk("2"))]);
        let flat = Reply::Array(vec![bulk("1"), bulk("2")]);
        assert_eq!(answer(&Call::Fields, &map), Some(Answer::Pairs(vec![(1, 2)])));
        assert_eq!(answer(&Call::Fields, &flat), Some(Answer::Pairs(vec![(1, 2)])));
        let odd = Reply::Array(vec![bulk("1")]);
        assert_eq!(answer(&Call::BoundFields, &odd), None);
    }
}
