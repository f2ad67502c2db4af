//! Replies of a Redis server as replies of ours, and ours asked of it.
//!
//! Owns the step between the `redis` crate's values and commands and this crate's. Pure. Invariant: a refusal keeps the server's
//! text, code word first.

use bytes::Bytes;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerError, Value};

use crate::command::{Error, Reply};

/// The codes of refusals that pass by themselves; the command was not done.
const PASSING: &[&str] = &["LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN"];

/// What became of a command that was sent.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has its reply, a refusal perhaps.
    Replied(Reply),
    /// Surely not done, and may be if it is asked again.
    Later(String),
    /// Nobody knows: the connection broke, or the reply did not come.
    Unknown(String),
}

impl Outcome {
    /// Takes what the `redis` crate says.
    pub(super) fn new(result: Result<Value, RedisError>) -> Self {
        let text = match result {
            Ok(Value::ServerError(error)) => refusal(&error),
            Ok(value) => return Self::Replied(reply(value)),
            Err(error) => match (error.kind(), error.code()) {
                (ErrorKind::Server(_) | ErrorKind::Extension, Some(code)) => {
                    let detail = error.detail().unwrap_or_default();
                    format!("{code} {detail}").trim_end().to_owned()
                }
                _ => return Self::Unknown(format!("UNKNOWN {error}")),
            },
        };
        let code = text.split(' ').next().unwrap_or_default();
        if PASSING.contains(&code) {
            return Self::Later(text);
        }
        Self::Replied(Error::Text(text.into()).into())
    }
}

fn refusal(error: &ServerError) -> String {
    let detail = error.details().unwrap_or_default();
    format!("{} {detail}", error.code()).trim_end().to_owned()
}

fn replies(values: Vec<Value>) -> Vec<Reply> {
    values.into_iter().map(reply).collect()
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Integer(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes.into()),
        Value::Array(values) | Value::Push { data: values, .. } => Reply::Array(replies(values)),
        Value::Set(values) => Reply::Set(replies(values)),
        Value::Map(pairs) => {
            let flat = pairs.into_iter().flat_map(|(field, value)| [reply(field), reply(value)]);
            Reply::Map(flat.collect())
        }
        Value::Okay => Reply::Ok,
        Value::SimpleString(text) => Reply::Bulk(text.into()),
        Value::VerbatimString { text, .. } => Reply::Bulk(text.into()),
        Value::Double(number) => Reply::Bulk(number.to_string().into()),
        Value::Boolean(flag) => Reply::flag(flag),
        Value::BigNumber(number) => Reply::Bulk(number.into()),
        Value::Attribute { data, .. } => reply(*data),
        Value::ServerError(error) => Error::Text(refusal(&error).into()).into(),
        // What a later version of the crate may add.
        other => Reply::Bulk(format!("{other:?}").into()),
    }
}

/// One command.
pub(super) fn command(words: &[Bytes]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(&word[..]);
    }
    command
}

/// Several commands between MULTI and EXEC.
pub(super) fn transaction(commands: &[Vec<Bytes>]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    pipeline.atomic();
    for words in commands {
        pipeline.add_command(command(words));
    }
    pipeline
}
