//! One operation against a node by the embedded API, from its words to what is known of it.
//!
//! Owns how calls become commands and replies become answers. Does not choose them. Invariant: an operation whose end was not
//! seen is unknown, never failed.

use std::time::Duration;

use bytes::Bytes;
use quorate::Node;
use quorate::command::{Command, Operation, Reply, Request, Watched};
use quorate::node::Error;
use quorate::pubsub::Kind;
use tokio::time::timeout;

use crate::history::{Answer, Call, Outcome};

/// Performs `call` on `key`, and waits for at most `patience`.
pub async fn perform(
    node: &Node,
    client: u32,
    key: &str,
    call: &Call,
    patience: Duration,
) -> Outcome {
    match timeout(patience, attempt(node, client, key, call)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Unknown(format!("no answer within {patience:?}")),
    }
}

async fn attempt(node: &Node, client: u32, key: &str, call: &Call) -> Outcome {
    match call {
        Call::Publish { number } => publish(node, client, key, *number),
        Call::Cas { from, to } => compare_and_set(node, key, *from, *to).await,
        Call::Bind { .. } => match command(key, call) {
            Some(command) => outcome(call, node.bound().command(command).await),
            None => Outcome::Failed("no command".to_owned()),
        },
        _ => match command(key, call) {
            Some(command) => outcome(call, node.command(command).await),
            None => Outcome::Failed("no command".to_owned()),
        },
    }
}

fn publish(node: &Node, client: u32, channel: &str, number: u64) -> Outcome {
    let payload = Bytes::from(format!("{client} {number}"));
    match node.publish(Kind::Channel, channel.as_bytes(), payload) {
        Ok(_count) => Outcome::Ok(Answer::None),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Sets a value if it is what is expected, as WATCH, GET, MULTI, SET and EXEC do.
async fn compare_and_set(node: &Node, key: &str, from: Option<u64>, to: u64) -> Outcome {
    let revision = match node.revision().await {
        Ok(revision) => revision,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let found = match command(key, &Call::Read) {
        Some(read) => outcome(&Call::Read, node.command(read).await),
        None => return Outcome::Failed("no command".to_owned()),
    };
    match found {
        Outcome::Ok(Answer::Value(value)) if value == from => {}
        Outcome::Ok(_) => return Outcome::Ok(Answer::Yes(false)),
        // A read changes nothing.
        Outcome::Failed(why) | Outcome::Unknown(why) => return Outcome::Failed(why),
    }
    let Some(write) = command(key, &Call::Write(to)) else {
        return Outcome::Failed("no command".to_owned());
    };
    let key = Bytes::copy_from_slice(key.as_bytes());
    let request = Request::Transaction {
        watched: vec![Watched { database: 0, key, revision }],
        operations: vec![Operation::new(0, write)],
    };
    match node.execute(vec![request]).await.pop() {
        Some(Ok(Reply::Nil | Reply::NilArray)) => Outcome::Ok(Answer::Yes(false)),
        Some(Ok(Reply::Array(_))) => Outcome::Ok(Answer::Yes(true)),
        Some(Ok(other)) => Outcome::Unknown(format!("odd reply {other:?}")),
        Some(Err(error)) => of_error(&error),
        None => Outcome::Unknown("no reply".to_owned()),
    }
}

/// The command for a call, if it is a single one.
#[must_use]
pub fn command(key: &str, call: &Call) -> Option<Command> {
    let number = |number: &u64| number.to_string();
    let words: Vec<String> = match call {
        Call::Read | Call::Count => vec!["GET".into(), key.into()],
        Call::Write(value) => vec!["SET".into(), key.into(), number(value)],
        Call::Delete => vec!["DEL".into(), key.into()],
        Call::Add(value) => vec!["SADD".into(), key.into(), number(value)],
        Call::Remove(value) => vec!["SREM".into(), key.into(), number(value)],
        Call::Contains(value) => vec!["SISMEMBER".into(), key.into(), number(value)],
        Call::Members => vec!["SMEMBERS".into(), key.into()],
        Call::FieldSet { field, value } | Call::Bind { field, value } => {
            vec!["HSET".into(), key.into(), field.to_string(), number(value)]
        }
        Call::FieldGet(field) => vec!["HGET".into(), key.into(), field.to_string()],
        Call::FieldDelete(field) => vec!["HDEL".into(), key.into(), field.to_string()],
        Call::Fields | Call::BoundFields => vec!["HGETALL".into(), key.into()],
        Call::Increment(by) => vec!["INCRBY".into(), key.into(), by.to_string()],
        Call::Append(value) => vec!["RPUSH".into(), key.into(), number(value)],
        Call::Range => vec!["LRANGE".into(), key.into(), "0".into(), "-1".into()],
        Call::WriteFor { value, ttl_ms } => {
            vec!["SET".into(), key.into(), number(value), "PX".into(), ttl_ms.to_string()]
        }
        Call::Persist => vec!["PERSIST".into(), key.into()],
        Call::Cas { .. } | Call::Publish { .. } => return None,
    };
    let words: Vec<Bytes> = words.into_iter().map(Bytes::from).collect();
    Command::parse(&words).ok()
}

/// What is known of a call after this reply.
fn outcome(call: &Call, reply: Result<Reply, Error>) -> Outcome {
    match reply {
        Ok(reply) => answer(call, &reply)
            .map_or_else(|| Outcome::Unknown(format!("odd reply {reply:?}")), Outcome::Ok),
        Err(error) => of_error(&error),
    }
}

fn of_error(error: &Error) -> Outcome {
    match error {
        Error::TryAgain | Error::ClusterDown { .. } | Error::TooLarge { .. } => {
            Outcome::Failed(error.to_string())
        }
        Error::Unknown | Error::Stopped => Outcome::Unknown(error.to_string()),
    }
}

/// What a reply says; none if it is not one that the call can have.
#[must_use]
pub fn answer(call: &Call, reply: &Reply) -> Option<Answer> {
    Some(match (call, reply) {
        (Call::Read | Call::FieldGet(_), reply) => Answer::Value(value(reply)?),
        (Call::Count, reply) => Answer::Number(i64::try_from(value(reply)?.unwrap_or(0)).ok()?),
        (Call::Write(_) | Call::WriteFor { .. }, Reply::Ok) => Answer::None,
        (Call::Increment(_) | Call::Append(_), Reply::Integer(number)) => Answer::Number(*number),
        (Call::Range, Reply::Array(items))
        | (Call::Members, Reply::Array(items) | Reply::Set(items)) => {
            let values: Option<Vec<u64>> = items.iter().map(|item| value(item).flatten()).collect();
            Answer::Values(values?)
        }
        (Call::Fields | Call::BoundFields, Reply::Map(items) | Reply::Array(items)) => {
            let numbers: Option<Vec<u64>> =
                items.iter().map(|item| value(item).flatten()).collect();
            let numbers = numbers?;
            let pairs = numbers.chunks_exact(2).map(|pair| match pair {
                [field, value] => Some((u32::try_from(*field).ok()?, *value)),
                _ => None,
            });
            let mut pairs = pairs.collect::<Option<Vec<_>>>()?;
            pairs.sort_unstable();
            Answer::Pairs(pairs)
        }
        (
            Call::Delete
            | Call::Add(_)
            | Call::Remove(_)
            | Call::Contains(_)
            | Call::FieldSet { .. }
            | Call::FieldDelete(_)
            | Call::Persist
            | Call::Bind { .. },
            Reply::Integer(number),
        ) => Answer::Yes(*number > 0),
        _ => return None,
    })
}

/// The number in a reply; the outer none if there is something else.
fn value(reply: &Reply) -> Option<Option<u64>> {
    match reply {
        Reply::Nil => Some(None),
        Reply::Bulk(bytes) => Some(Some(std::str::from_utf8(bytes).ok()?.parse().ok()?)),
        Reply::Integer(number) => Some(Some(u64::try_from(*number).ok()?)),
        _ => None,
    }
}
