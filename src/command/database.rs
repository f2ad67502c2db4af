//! Commands on whole databases as data: their grammar, their row in the table, their parser.
//!
//! Owns what KEYS, SCAN, FLUSHDB and SWAPDB are. What they do stands in `keyspace/database.rs`. Invariant: a database
//! number in a parsed command exists.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::{Arguments, parse_integer};
use super::key::database_number;
use super::reply::Error;
use super::scan::Page;
use super::table::{Parse, Spec};

/// A command on all keys of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DatabaseCommand {
    /// Lists the keys that match a pattern.
    ///
    /// ```text
    /// KEYS pattern
    /// ```
    ///
    /// Reply: an array, in no promised order. Cost: O(all keys). Source: <https://redis.io/commands/keys>, Redis 7.2.
    Keys {
        /// The pattern; see [`super::glob`].
        pattern: Bytes,
    },
    /// Walks the keys page by page. A key that is there from the first page to the last is given at least once.
    ///
    /// ```text
    /// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
    /// ```
    ///
    /// Reply: the cursor of the next page, 0 after the last one, and an array of keys, which may be empty.
    /// Cost: O(count). Source: <https://redis.io/commands/scan>, Redis 7.2.
    Scan {
        /// Where to go on, what to show, how many keys to look at.
        page: Page,
        /// Only keys of the type with this name.
        kind: Option<Bytes>,
    },
    /// Gives any key.
    ///
    /// ```text
    /// RANDOMKEY
    /// ```
    ///
    /// Reply: a key, or nil. Cost: O(shards). Source: <https://redis.io/commands/randomkey>, Redis 7.2.
    Random,
    /// Counts the keys.
    ///
    /// ```text
    /// DBSIZE
    /// ```
    ///
    /// Reply: how many. Cost: O(keys that are due but not yet removed).
    /// Source: <https://redis.io/commands/dbsize>, Redis 7.2.
    Size,
    /// Takes all keys away.
    ///
    /// ```text
    /// FLUSHDB [ASYNC | SYNC]    FLUSHALL [ASYNC | SYNC]
    /// ```
    ///
    /// Reply: `OK`. Cost: O(keys), at once either way. Source: <https://redis.io/commands/flushdb>, Redis 7.2.
    Flush {
        /// Of all databases (FLUSHALL).
        all: bool,
    },
    /// Exchanges the keys of two databases.
    ///
    /// ```text
    /// SWAPDB number number
    /// ```
    ///
    /// Reply: `OK`. Cost: O(1), and O(16,384) at most for the keys' watchers.
    /// Source: <https://redis.io/commands/swapdb>, Redis 7.2.
    Swap {
        /// One of them.
        one: u8,
        /// The other, which may be the same.
        other: u8,
    },
}

impl DatabaseCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Flush { .. } | Self::Swap { .. } => true,
            Self::Keys { .. } | Self::Scan { .. } | Self::Random | Self::Size => false,
        }
    }
}

const fn spec(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    group: &'static str,
    summary: &'static str,
    parse: Parse,
) -> Spec {
    Spec { name, arity, flags, keys: (0, 0, 0), group, summary, parse: Some(parse) }
}

pub(super) const SPECS: &[Spec] = &[
    spec("keys", 2, "readonly", "generic", "Lists the keys that match a pattern.", keys),
    spec("scan", -2, "readonly", "generic", "Walks the keys page by page.", scan),
    spec("randomkey", 1, "readonly", "generic", "Gives any key.", random),
    spec("dbsize", 1, "readonly fast", "server", "Counts the keys of the database.", size),
    spec("flushdb", -1, "write", "server", "Deletes all keys of the database.", flush),
    spec("flushall", -1, "write", "server", "Deletes all keys of all databases.", flush),
    spec("swapdb", 3, "write fast", "server", "Exchanges the keys of two databases.", swap),
];

fn keys(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Database(DatabaseCommand::Keys { pattern: arguments.take()? }))
}

fn scan(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let cursor = Page::cursor(arguments)?;
    let (mut page, mut kind) = (Page::new(cursor), None);
    while !arguments.is_empty() {
        if arguments.keyword("type") {
            kind = Some(arguments.take().map_err(|_| Error::Syntax)?);
        } else if !page.option(arguments)? {
            return Err(Error::Syntax);
        }
    }
    Ok(Command::Database(DatabaseCommand::Scan { page, kind }))
}

fn random(_: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Database(DatabaseCommand::Random))
}

fn size(_: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Database(DatabaseCommand::Size))
}

fn flush(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    if !arguments.is_empty() && !arguments.keyword("async") && !arguments.keyword("sync") {
        return Err(Error::Syntax);
    }
    arguments.end()?;
    Ok(Command::Database(DatabaseCommand::Flush { all: arguments.name() == "flushall" }))
}

fn swap(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (one, other) = (arguments.take()?, arguments.take()?);
    let number = |text: &[u8], wrong| parse_integer(text).ok_or(Error::text(wrong));
    let one = number(&one, "ERR invalid first DB index")?;
    let other = number(&other, "ERR invalid second DB index")?;
    let (one, other) = (database_number(one)?, database_number(other)?);
    Ok(Command::Database(DatabaseCommand::Swap { one, other }))
}
