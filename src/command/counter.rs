//! Counter commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what INCR and its kin are. What they do stands in `keyspace/counter.rs`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::Arguments;
use super::reply::Error;
use super::table::{Parse, Spec};

/// A command on a string that holds a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CounterCommand {
    /// Adds to a 64-bit integer; a missing key is 0. The key keeps its deadline.
    ///
    /// ```text
    /// INCR key    DECR key    INCRBY key amount    DECRBY key amount
    /// ```
    ///
    /// Reply: the sum. Cost: O(1). Source: <https://redis.io/commands/incrby>, Redis 7.2.
    Add {
        /// The key.
        key: Bytes,
        /// What is added.
        amount: i64,
    },
    /// Adds to a decimal fraction; a missing key is 0. The key keeps its deadline.
    ///
    /// ```text
    /// INCRBYFLOAT key amount
    /// ```
    ///
    /// Reply: the sum as text, without an exponent. Cost: O(1).
    /// Source: <https://redis.io/commands/incrbyfloat>, Redis 7.2.
    AddFloat {
        /// The key.
        key: Bytes,
        /// What is added, as [`super::number::Float::parse`] reads it.
        amount: Bytes,
    },
}

impl CounterCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Add { .. } | Self::AddFloat { .. } => true,
        }
    }
}

const fn spec(name: &'static str, arity: i8, summary: &'static str, parse: Parse) -> Spec {
    let (flags, keys) = ("write denyoom fast", (1, 1, 1));
    Spec { name, arity, flags, keys, group: "string", summary, parse: Some(parse) }
}

pub(super) const SPECS: &[Spec] = &[
    spec("incr", 2, "Adds one to a counter.", incr),
    spec("decr", 2, "Takes one from a counter.", decr),
    spec("incrby", 3, "Adds to a counter.", incrby),
    spec("decrby", 3, "Takes from a counter.", decrby),
    spec("incrbyfloat", 3, "Adds to a number with a fraction.", incrbyfloat),
];

fn incr(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Counter(CounterCommand::Add { key: arguments.take()?, amount: 1 }))
}

fn decr(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Counter(CounterCommand::Add { key: arguments.take()?, amount: -1 }))
}

fn incrby(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, amount) = (arguments.take()?, arguments.integer()?);
    Ok(Command::Counter(CounterCommand::Add { key, amount }))
}

fn decrby(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, amount) = (arguments.take()?, arguments.integer()?);
    let amount = amount.checked_neg().ok_or(Error::DecrementOverflow)?;
    Ok(Command::Counter(CounterCommand::Add { key, amount }))
}

/// Leaves a text that is no float to `apply`, because Redis looks at the key's type first.
fn incrbyfloat(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, amount) = (arguments.take()?, arguments.take()?);
    Ok(Command::Counter(CounterCommand::AddFloat { key, amount }))
}
