//! List commands that wait if there is nothing to take, as data: their grammar, their row in the table, their parser.
//!
//! Owns what they are and how a time-out is read. What they do stands in `keyspace/blocking.rs`. Invariant: the time-out
//! decides nothing in the keyspace; it is for whoever serves the client.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::Arguments;
use super::list::{End, ListCommand};
use super::list_parse::{end, first_of};
use super::reply::Error;
use super::table::{Rows, Spec};

/// A command that waits if there is nothing to take, unless it stands in a transaction.
///
/// Who came first is served first, over the whole cluster; an element is given to one client. What waits on several keys is
/// served from the one that gets an element first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BlockingCommand {
    /// Takes one element off the first list that has any.
    ///
    /// ```text
    /// BLPOP key [key …] timeout
    /// BRPOP key [key …] timeout
    /// ```
    ///
    /// Reply: an array of the key and the element, or a nil array. Cost: O(keys).
    /// Source: <https://redis.io/commands/blpop>, Redis 7.2.
    Pop {
        /// The lists, in order.
        keys: Vec<Bytes>,
        /// At which end.
        end: End,
        /// How long to wait; `None` for ever.
        timeout: Option<Duration>,
    },
    /// Takes elements off the first list that has any.
    ///
    /// ```text
    /// BLMPOP timeout numkeys key [key …] <LEFT | RIGHT> [COUNT count]
    /// ```
    ///
    /// Reply: an array of the key and an array of elements, or a nil array. Cost: O(keys + elements).
    /// Source: <https://redis.io/commands/blmpop>, Redis 7.2.
    PopFirst {
        /// The lists, in order.
        keys: Vec<Bytes>,
        /// At which end.
        end: End,
        /// The most to take, at least 1.
        count: u64,
        /// How long to wait; `None` for ever.
        timeout: Option<Duration>,
    },
    /// Moves an element from an end of a list to an end of the same or another.
    ///
    /// ```text
    /// BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout
    /// BRPOPLPUSH source destination timeout
    /// ```
    ///
    /// Reply: the element; nil in a transaction; a nil array when the time has run out. Cost: O(1).
    /// Source: <https://redis.io/commands/blmove>, Redis 7.2.
    Move {
        /// Where it is taken.
        source: Bytes,
        /// Where it is put.
        destination: Bytes,
        /// At which end it is taken.
        from: End,
        /// At which end it is put.
        to: End,
        /// How long to wait; `None` for ever.
        timeout: Option<Duration>,
    },
}

impl BlockingCommand {
    /// The lists that it takes from, in order.
    #[must_use]
    pub fn sources(&self) -> &[Bytes] {
        match self {
            Self::Pop { keys, .. } | Self::PopFirst { keys, .. } => keys,
            Self::Move { source, .. } => std::slice::from_ref(source),
        }
    }

    /// How long the client is ready to wait; `None` is for ever.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Pop { timeout, .. }
            | Self::PopFirst { timeout, .. }
            | Self::Move { timeout, .. } => *timeout,
        }
    }
}

const ROWS: Rows = Rows("list");

const POP: &str = "write noscript blocking";
const MOVE: &str = "write denyoom noscript blocking";
const POP_FIRST: &str = "write blocking movablekeys";

pub(super) const SPECS: &[Spec] = &[
    ROWS.keyed("blpop", -3, POP, (1, -2, 1), "Takes an element off the left, or waits.", pop),
    ROWS.keyed("brpop", -3, POP, (1, -2, 1), "Takes an element off the right, or waits.", pop),
    ROWS.keyed(
        "blmpop",
        -5,
        POP_FIRST,
        (0, 0, 0),
        "Takes from the first list, or waits.",
        pop_first,
    ),
    ROWS.keyed("blmove", 6, MOVE, (1, 2, 1), "Moves an element, or waits.", move_element),
    ROWS.keyed("brpoplpush", 4, MOVE, (1, 2, 1), "Moves an element, or waits.", move_element),
];

const fn done(command: BlockingCommand) -> Result<Command, Error> {
    Ok(Command::List(ListCommand::Blocking(command)))
}

fn pop(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let end = if arguments.name() == "blpop" { End::Left } else { End::Right };
    let mut keys = arguments.remaining();
    let timeout = keys.pop().filter(|_| !keys.is_empty()).ok_or_else(|| arguments.wrong_arity())?;
    done(BlockingCommand::Pop { keys, end, timeout: parse_timeout(&timeout)? })
}

fn pop_first(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let timeout = arguments.take()?;
    let (keys, end, count) = first_of(arguments)?;
    done(BlockingCommand::PopFirst { keys, end, count, timeout: parse_timeout(&timeout)? })
}

fn move_element(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (source, destination) = (arguments.take()?, arguments.take()?);
    let (from, to) = match arguments.name() {
        "brpoplpush" => (End::Right, End::Left),
        _ => (end(arguments)?, end(arguments)?),
    };
    let timeout = parse_timeout(&arguments.take()?)?;
    done(BlockingCommand::Move { source, destination, from, to, timeout })
}

/// Reads a time-out in seconds, rounded up to a millisecond; 0 is for ever.
///
/// # Errors
/// Redis' text when it is no number, is negative, or does not fit 63 bits of milliseconds.
fn parse_timeout(text: &[u8]) -> Result<Option<Duration>, Error> {
    let no_float = || Error::text("ERR timeout is not a float or out of range");
    let seconds = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| !seconds.is_nan()).ok_or_else(no_float)?;
    let millis = (seconds * 1000.0).ceil();
    if millis < 0.0 {
        return Err(Error::text("ERR timeout is negative"));
    }
    const MILLIS_MAX: f64 = 9_223_372_036_854_775_807.0;
    if millis >= MILLIS_MAX {
        return Err(Error::text("ERR timeout is out of range"));
    }
    Ok(Some(Duration::from_secs_f64(millis / 1000.0)).filter(|timeout| !timeout.is_zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds_rounded_up() {
        for (text, millis) in [
            ("0", None),
            ("0.0", None),
            ("-0", None),
            ("-0.0001", None),
            ("0.0001", Some(1)),
            ("0.05", Some(50)),
            ("1", Some(1000)),
            ("1.5", Some(1500)),
            ("1e3", Some(1_000_000)),
            ("9223372036854774", Some(9_223_372_036_854_774_000)),
        ] {
            let timeout = parse_timeout(text.as_bytes()).unwrap();
            assert_eq!(timeout.map(|t| t.as_millis()), millis, "{text}");
        }
        for (text, expected) in [
            ("abc", "ERR timeout is not a float or out of range"),
            ("", "ERR timeout is not a float or out of range"),
            (" 1", "ERR timeout is not a float or out of range"),
            ("nan", "ERR timeout is not a float or out of range"),
            ("-1", "ERR timeout is negative"),
            ("-inf", "ERR timeout is negative"),
            ("inf", "ERR timeout is out of range"),
            ("1e30", "ERR timeout is out of range"),
            ("9223372036854775.808", "ERR timeout is out of range"),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
