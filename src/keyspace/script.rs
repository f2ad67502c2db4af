//! Runs requests against a bare keyspace and shows the replies as text, for the tests of this room.
//!
//! Owns how a test writes a request (`SET k "a b" EX 10`) and reads a reply (`+OK`, `:1`, `$v`, `nil`, `*[…]`, `-ERR …`).
//! Does not know RESP. Invariant: time moves only by [`Script::wait`].

use std::time::Duration;

use bytes::Bytes;

use super::{Keyspace, Limits};
use crate::command::{Command, Operation, Reply, Request, Watched};
use crate::time::Timestamp;

/// A keyspace with a client and a clock.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) keyspace: Keyspace,
    pub(crate) at: Timestamp,
    pub(crate) database: u8,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let at = Timestamp::from_millis(1_800_000_000_000);
        Self { keyspace: Keyspace::new(limits), at, database: 0 }
    }

    /// Lets time pass, and the keyspace know it.
    pub(crate) fn wait(&mut self, millis: u64) {
        self.at = self.at.saturating_add(Duration::from_millis(millis));
        let nothing = Request::Transaction { watched: Vec::new(), operations: Vec::new() };
        self.keyspace.apply_request(self.at, &nothing);
    }

    /// Does what one request asks and gives the reply.
    pub(crate) fn reply(&mut self, request: &str) -> Reply {
        match self.operation(request) {
            Err(reply) => reply,
            Ok(operation) if operation.command.is_write() => {
                self.keyspace.apply_request(self.at, &Request::One(operation))
            }
            Ok(operation) => self.keyspace.read(self.at, &operation),
        }
    }

    /// The same, with the reply as text.
    pub(crate) fn run(&mut self, request: &str) -> String {
        show(&self.reply(request))
    }

    /// Expects the replies of requests, one after the other.
    #[track_caller]
    pub(crate) fn expect(&mut self, exchanges: &[(&str, &str)]) {
        for (request, expected) in exchanges {
            assert_eq!(self.run(request), *expected, "{request}");
        }
    }

    /// Notes the state of keys, as `WATCH` does.
    pub(crate) fn watch(&self, keys: &[&str]) -> Vec<Watched> {
        let revision = self.keyspace.revision();
        let watched = |key: &&str| Watched {
            database: self.database,
            key: Bytes::copy_from_slice(key.as_bytes()),
            revision,
        };
        keys.iter().map(watched).collect()
    }

    /// Does all requests in one step, unless a watched key changed.
    pub(crate) fn exec(&mut self, watched: Vec<Watched>, requests: &[&str]) -> String {
        let operations =
            requests.iter().map(|request| self.operation(request).expect("it parses")).collect();
        let request = Request::Transaction { watched, operations };
        show(&self.keyspace.apply_request(self.at, &request))
    }

    fn operation(&self, request: &str) -> Result<Operation, Reply> {
        let command = Command::parse(&words(request))?;
        Ok(Operation::new(self.database, command))
    }
}

/// Splits a request at spaces; `"…"` holds spaces and the escapes `\n`, `\r`, `\"`, `\\` and `\xff`.
pub(crate) fn words(request: &str) -> Vec<Bytes> {
    let mut words = Vec::new();
    let mut rest = request.trim_start().bytes().peekable();
    while rest.peek().is_some() {
        let mut word = Vec::new();
        let quoted = rest.next_if_eq(&b'"').is_some();
        while let Some(byte) = rest.next() {
            match byte {
                b'"' if quoted => break,
                b' ' if !quoted => break,
                b'\\' if quoted => word.push(match rest.next() {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b'x') => {
                        let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                        let digits = std::str::from_utf8(&digits).unwrap();
                        u8::from_str_radix(digits, 16).unwrap()
                    }
                    other => other.unwrap(),
                }),
                _ => word.push(byte),
            }
        }
        words.push(Bytes::from(word));
        while rest.next_if_eq(&b' ').is_some() {}
    }
    words
}

/// A reply as text.
pub(crate) fn show(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(show).collect::<Vec<_>>().join(", ");
    match reply {
        Reply::Ok => "+OK".to_owned(),
        Reply::Status(text) => format!("+{text}"),
        Reply::Nil => "nil".to_owned(),
        Reply::NilArray => "nil-array".to_owned(),
        Reply::Integer(number) => format!(":{number}"),
        Reply::Bulk(bytes) => format!("${}", bytes.escape_ascii()),
        Reply::Array(items) => format!("*[{}]", list(items)),
        Reply::Set(items) => format!("~[{}]", list(items)),
        Reply::Map(items) => format!("%[{}]", list(items)),
        Reply::Pairs(items) => format!("=[{}]", list(items)),
        Reply::Error(error) => format!("-{error}"),
        Reply::Blocked(wait) => format!("blocked {}", wait.number),
    }
}
