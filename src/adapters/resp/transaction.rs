//! What a client queues between MULTI and EXEC.
//!
//! Owns the queue, its limits, and how it splits into one indivisible request for the node and what the door does by
//! itself. Invariant: all commands on the keyspace of one EXEC are one [`Request::Transaction`].

use bytes::Bytes;

use super::binding::{Binder, choice};
use super::commands::Row;
use crate::command::arguments::parse_integer;
use crate::command::entry::DATABASES;
use crate::command::{Command, Error, Request, Watched};

/// The commands since MULTI.
#[derive(Default)]
pub(super) struct Transaction {
    queued: Vec<Queued>,
    bytes: usize,
    /// Whether a command was refused, so that EXEC must be.
    is_refused: bool,
}

/// One queued command.
pub(super) enum Queued {
    /// For the node.
    Command(Command),
    /// Its words do not fit, which EXEC tells in its place.
    Refused(Error),
    /// For the door.
    Door(&'static Row, Vec<Bytes>),
}

/// What stands in one place of EXEC's array.
pub(super) enum Slot {
    /// The node's next reply.
    Node,
    /// An error.
    Refused(Error),
    /// What the door answers.
    Door(&'static Row, Vec<Bytes>),
}

/// The most that may be queued.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) requests_max: usize,
    pub(super) bytes_max: usize,
}

impl Transaction {
    pub(super) const fn len(&self) -> usize {
        self.queued.len()
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Notes that a command was refused; frees what was queued, as it can never run.
    pub(super) fn refuse(&mut self) {
        *self = Self { is_refused: true, ..Self::default() };
    }

    /// Queues a command of `bytes` bytes.
    ///
    /// # Errors
    /// With the text for the client when there is too much; EXEC is then refused.
    pub(super) fn push(
        &mut self,
        queued: Queued,
        bytes: usize,
        limits: Limits,
    ) -> Result<(), String> {
        if self.is_refused {
            return Ok(());
        }
        let (count, bytes) =
            (self.queued.len().saturating_add(1), self.bytes.saturating_add(bytes));
        let text = if count > limits.requests_max {
            let limit = limits.requests_max;
            format!(
                "ERR transaction of {count} commands exceeds limit of {limit}; raise resp.transaction_requests_max"
            )
        } else if bytes > limits.bytes_max {
            let limit = limits.bytes_max;
            format!(
                "ERR transaction of {bytes} bytes exceeds limit of {limit}; raise resp.transaction_bytes_max"
            )
        } else {
            self.bytes = bytes;
            self.queued.push(queued);
            return Ok(());
        };
        self.refuse();
        Err(text)
    }

    /// Splits it into what stands in EXEC's array and the one request for the node, if there is any; `database` is the one
    /// selected when EXEC comes, `binder` has what binds the writes then.
    pub(super) fn split(
        self,
        watched: Vec<Watched>,
        mut database: u8,
        binder: &Binder,
    ) -> (Vec<Slot>, Option<Request>) {
        let mut operations = Vec::new();
        let mut chosen = binder.chosen;
        let slots = self
            .queued
            .into_iter()
            .map(|queued| match queued {
                Queued::Command(command) => match binder.operation_as(chosen, database, command) {
                    Ok(operation) => {
                        operations.push(operation);
                        Slot::Node
                    }
                    Err(error) => Slot::Refused(error),
                },
                Queued::Refused(error) => Slot::Refused(error),
                Queued::Door(row, words) => {
                    // A SELECT or QUORATE.BIND in between counts for what follows it.
                    if row.name == "select" {
                        database = selected(&words).unwrap_or(database);
                    } else if row.name == "quorate.bind" {
                        chosen = choice(&words).unwrap_or(chosen);
                    }
                    Slot::Door(row, words)
                }
            })
            .collect();
        let is_needed = !operations.is_empty() || !watched.is_empty();
        let request = is_needed.then_some(Request::Transaction { watched, operations });
        (slots, request)
    }
}

/// The database that a SELECT asks for, if there is one of that number.
pub(super) fn selected(words: &[Bytes]) -> Option<u8> {
    let number = parse_integer(words.get(1)?)?;
    u8::try_from(number).ok().filter(|database| *database < DATABASES)
}
