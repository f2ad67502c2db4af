//! Whether a command may run now, and whether it runs or is queued: Redis' checks in Redis' order.
//!
//! Owns the order (unknown, arity, password, subscriber, MULTI). Runs nothing. Invariant: a refusal inside MULTI makes EXEC
//! fail. Source: Redis 7.2, `processCommand`.

use bytes::Bytes;

use super::commands::{self, Row};
use super::connection::Connection;
use super::transaction::{Limits, Queued, Transaction};
use crate::command::arguments::Arguments;
use crate::command::table::{self, Spec};
use crate::command::{Command, Error, unknown_command};

/// Where a command goes.
#[derive(Clone, Copy)]
pub(super) enum Route {
    /// To the node.
    Keyspace(&'static Spec),
    /// Into the door itself.
    Door(&'static Row),
}

impl Route {
    /// The full name, `client|id` for a subcommand.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Keyspace(spec) => spec.name,
            Self::Door(row) => row.name,
        }
    }
}

impl Connection {
    /// Finds where a command goes, if it may.
    ///
    /// # Errors
    /// With the text for the client; an open transaction is then spoiled.
    pub(super) fn admit(&mut self, words: &[Bytes]) -> Result<Route, String> {
        let text = match route(words) {
            Ok(route) => match self.refusal(&route).or_else(|| self.long_key(&route, words)) {
                None => return Ok(route),
                Some(text) => text,
            },
            Err(text) => text,
        };
        if words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"exec")) {
            self.transaction = None;
            self.watched.clear();
            let reason = text.strip_prefix("ERR ").unwrap_or(&text);
            return Err(format!("EXECABORT Transaction discarded because of: {reason}"));
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.refuse();
        }
        Err(text)
    }

    fn refusal(&self, route: &Route) -> Option<String> {
        let row = match route {
            Route::Keyspace(_) => None,
            Route::Door(row) => Some(*row),
        };
        if !self.is_authenticated && !row.is_some_and(|row| row.has(commands::ALWAYS)) {
            return Some("NOAUTH Authentication required.".to_owned());
        }
        if self.is_subscriber_only() && !row.is_some_and(|row| row.has(commands::SUBSCRIBER)) {
            return Some(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                route.name()
            ));
        }
        None
    }

    /// The refusal of a key that is too long.
    fn long_key(&self, route: &Route, words: &[Bytes]) -> Option<String> {
        let limit = self.shared.key_max;
        let is_suspect = words.iter().any(|word| word.len() > limit);
        if !is_suspect || !matches!(route, Route::Keyspace(_)) {
            return None;
        }
        let size = table::keys_of(words).iter().map(Bytes::len).find(|size| *size > limit)?;
        Some(format!(
            "ERR key of {size} bytes exceeds the limit of {limit} bytes; raise cluster.key_max to allow it"
        ))
    }

    /// Queues the command if MULTI is open and it is one that is queued; tells what to answer. `None` when it is to run.
    pub(super) fn queue(
        &mut self,
        route: Route,
        words: &mut Vec<Bytes>,
    ) -> Option<Result<(), String>> {
        if matches!(route, Route::Door(row) if row.has(commands::UNQUEUED)) {
            return None;
        }
        let transaction: &mut Transaction = self.transaction.as_mut()?;
        let config = &self.shared.config;
        let limits = Limits {
            requests_max: config.transaction_requests_max,
            bytes_max: usize::try_from(config.transaction_bytes_max.as_u64()).unwrap_or(usize::MAX),
        };
        let bytes = words.iter().map(Bytes::len).fold(0, usize::saturating_add);
        let queued = match route {
            Route::Keyspace(spec) => {
                parse(spec, words).map_or_else(Queued::Refused, Queued::Command)
            }
            Route::Door(row) => Queued::Door(row, std::mem::take(words)),
        };
        Some(transaction.push(queued, bytes, limits))
    }
}

/// Makes a command on the keyspace of its words.
pub(super) fn parse(spec: &'static Spec, words: &[Bytes]) -> Result<Command, Error> {
    let parse = spec.parse.ok_or_else(|| Error::Text(unknown_command(words).into()))?;
    let named = if spec.name.contains('|') { 2 } else { 1 };
    parse(&mut Arguments::new(spec.name, words.get(named..).unwrap_or_default()))
}

fn route(words: &[Bytes]) -> Result<Route, String> {
    let spec = table::resolve(words).map_err(|error| error.to_string())?;
    if spec.parse.is_some() {
        return Ok(Route::Keyspace(spec));
    }
    commands::find(spec.name).map(Route::Door).ok_or_else(|| unknown_command(words))
}
