//! Commands over several sets as data: intersection, union, difference.
//!
//! Owns what they are. What they do stands in `keyspace/set_algebra.rs`. Invariant: a parsed command names at least one
//! set to read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::arguments::{Arguments, parse_integer};
use super::reply::Error;
use super::table::{Rows, Spec};
use super::{Command, SetCommand};

/// How several sets become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Combination {
    /// What is in all of them.
    Intersection,
    /// What is in any of them.
    Union,
    /// What is in the first and in no other.
    Difference,
}

/// A command over several sets. Each key must hold a set or be missing, even where the result is already decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AlgebraCommand {
    /// Gives the combination of sets.
    ///
    /// ```text
    /// SINTER key [key …]
    /// SUNION key [key …]
    /// SDIFF key [key …]
    /// ```
    ///
    /// Reply: a set. Cost: O(members) of the smallest set times the sets for SINTER, else O(members) of all.
    /// Source: <https://redis.io/commands/sinter>, Redis 7.2.
    Combine {
        /// How.
        how: Combination,
        /// The sets.
        keys: Vec<Bytes>,
    },
    /// Puts the combination of sets behind a key, whatever it held, without a deadline; removes the key if it is empty.
    ///
    /// ```text
    /// SINTERSTORE destination key [key …]
    /// SUNIONSTORE destination key [key …]
    /// SDIFFSTORE destination key [key …]
    /// ```
    ///
    /// Reply: how many members the result has. Cost: as [`AlgebraCommand::Combine`].
    /// Source: <https://redis.io/commands/sinterstore>, Redis 7.2.
    Store {
        /// How.
        how: Combination,
        /// Where the result goes.
        destination: Bytes,
        /// The sets.
        keys: Vec<Bytes>,
    },
    /// Counts the intersection of sets.
    ///
    /// ```text
    /// SINTERCARD numkeys key [key …] [LIMIT limit]
    /// ```
    ///
    /// Reply: how many, at most `limit`. Cost: as SINTER, but it stops at the limit.
    /// Source: <https://redis.io/commands/sintercard>, Redis 7.2.
    CountIntersection {
        /// The sets.
        keys: Vec<Bytes>,
        /// Where to stop; none counts all.
        limit: Option<u64>,
    },
}

impl AlgebraCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Store { .. } => true,
            Self::Combine { .. } | Self::CountIntersection { .. } => false,
        }
    }
}

const ROWS: Rows = Rows("set");

pub(super) const SPECS: &[Spec] = &[
    ROWS.row("sinter", -2, "readonly", "Gives what all sets have.", combine),
    ROWS.row("sunion", -2, "readonly", "Gives what any set has.", combine),
    ROWS.row("sdiff", -2, "readonly", "Gives what the first set has and no other.", combine),
    ROWS.row("sinterstore", -3, "write denyoom", "Keeps what all sets have.", store),
    ROWS.row("sunionstore", -3, "write denyoom", "Keeps what any set has.", store),
    ROWS.row(
        "sdiffstore",
        -3,
        "write denyoom",
        "Keeps what the first set has and no other.",
        store,
    ),
    Spec {
        keys: (0, 0, 0),
        ..ROWS.row("sintercard", -3, "readonly movablekeys", "Counts what all sets have.", count)
    },
];

fn combination(name: &str) -> Combination {
    match name {
        "sunion" | "sunionstore" => Combination::Union,
        "sdiff" | "sdiffstore" => Combination::Difference,
        _ => Combination::Intersection,
    }
}

fn combine(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (how, keys) = (combination(arguments.name()), arguments.remaining());
    Ok(Command::Set(SetCommand::Algebra(AlgebraCommand::Combine { how, keys })))
}

fn store(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let how = combination(arguments.name());
    let (destination, keys) = (arguments.take()?, arguments.remaining());
    Ok(Command::Set(SetCommand::Algebra(AlgebraCommand::Store { how, destination, keys })))
}

fn count(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let keys = arguments
        .counted_keys(Error::text("ERR Number of keys can't be greater than number of args"))?;
    let mut limit = None;
    while !arguments.is_empty() {
        if !arguments.keyword("limit") || arguments.is_empty() {
            return Err(Error::Syntax);
        }
        let given = parse_integer(&arguments.take()?).and_then(|limit| u64::try_from(limit).ok());
        let given = given.ok_or(Error::text("ERR LIMIT can't be negative"))?;
        limit = Some(given).filter(|limit| *limit > 0);
    }
    Ok(Command::Set(SetCommand::Algebra(AlgebraCommand::CountIntersection { keys, limit })))
}
