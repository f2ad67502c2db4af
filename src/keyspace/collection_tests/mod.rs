//! Tests of collections and waits against the bare keyspace, written as requests with their replies.
//!
//! Owns the notation: `SADD s a b => 2`, one request a line; `'` quotes an argument; a reply is shown by [`show`].

mod blocking;
mod hash;
mod list;
mod promises;
mod set;
mod walk;

use bytes::Bytes;

use super::{Keyspace, Limits};
use crate::command::{Command, Error, Operation, Reply, Request};
use crate::time::Timestamp;

/// A reply in one line: `1`, `"text"`, `nil`, `nil[]`, `[array]`, `{set}`, `%[map]`, `&[pairs]`, `OK`, `-ERR …`.
pub(super) fn show(reply: &Reply) -> String {
    let join = |items: &[Reply]| items.iter().map(show).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Status(status) => (*status).to_owned(),
        Reply::Nil => "nil".to_owned(),
        Reply::NilArray => "nil[]".to_owned(),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(text) => format!("\"{}\"", text.escape_ascii()),
        Reply::Array(items) => format!("[{}]", join(items)),
        Reply::Set(items) => format!("{{{}}}", join(items)),
        Reply::Map(items) => format!("%[{}]", join(items)),
        Reply::Pairs(items) => format!("&[{}]", join(items)),
        Reply::Error(error) => format!("-{error}"),
        Reply::Blocked(wait) => format!("wait {}", wait.number),
    }
}

/// The words of a request; a word between `'` may be empty or hold spaces.
pub(super) fn words(line: &str) -> Vec<Bytes> {
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(number, part)| match number % 2 {
            1 => vec![part],
            _ => part.split_whitespace().collect(),
        })
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

/// Parses a request.
pub(super) fn operation(line: &str) -> Result<Operation, Error> {
    Ok(Operation::new(0, Command::parse(&words(line))?))
}

/// Asks one request, outside any session.
pub(super) fn ask(keyspace: &mut Keyspace, line: &str) -> Reply {
    match operation(line) {
        Ok(operation) => keyspace.apply_request(Timestamp::ZERO, &Request::One(operation)),
        Err(error) => Reply::Error(error),
    }
}

/// Runs requests against a new keyspace and compares each reply. Reads are asked both ways, through `apply` and `read`.
pub(super) fn check(script: &str) {
    let mut keyspace = Keyspace::new(Limits::default());
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, expected) = line.split_once(" => ").unwrap();
        if let Ok(operation) = operation(request)
            && !operation.command.is_write()
        {
            let reply = keyspace.read(Timestamp::ZERO, &operation);
            assert_eq!(show(&reply), expected, "{request} as a read");
        }
        assert_eq!(show(&ask(&mut keyspace, request)), expected, "{request}");
    }
}
