//! Hash commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what HSET and its kin are. What they do stands in `keyspace/hash.rs`. Invariant: a parsed command has at least
//! one field or pair where Redis demands one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::Arguments;
use super::reply::Error;
use super::table::Spec;

/// A command on one hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HashCommand {
    /// Sets fields, whatever they held before.
    ///
    /// ```text
    /// HSET key field value [field value …]
    /// HMSET key field value [field value …]
    /// ```
    ///
    /// Reply: how many fields are new; `OK` for HMSET. Cost: O(1) a field.
    /// Source: <https://redis.io/commands/hset>, Redis 7.2.
    Set {
        /// The key.
        key: Bytes,
        /// Fields with their values.
        pairs: Vec<(Bytes, Bytes)>,
        /// Whether it was HMSET, which replies `OK`.
        reply_ok: bool,
    },
    /// Gives the value of a field.
    ///
    /// ```text
    /// HGET key field
    /// ```
    ///
    /// Reply: the value, or nil. Cost: O(1).
    /// Source: <https://redis.io/commands/hget>, Redis 7.2.
    Get {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
    },
}

impl HashCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Set { .. } => true,
            Self::Get { .. } => false,
        }
    }
}

const fn spec(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    summary: &'static str,
    parse: super::table::Parse,
) -> Spec {
    Spec { name, arity, flags, keys: (1, 1, 1), group: "hash", summary, parse: Some(parse) }
}

pub(super) const SPECS: &[Spec] = &[
    spec("hset", -4, "write denyoom fast", "Sets fields of a hash.", set),
    spec("hmset", -4, "write denyoom fast", "Sets fields of a hash.", set),
    spec("hget", 3, "readonly fast", "Gives the value of a hash field.", get),
];

fn set(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let reply_ok = arguments.name() == "hmset";
    let key = arguments.take()?;
    let pairs = arguments.pairs()?;
    Ok(Command::Hash(HashCommand::Set { key, pairs, reply_ok }))
}

fn get(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, field) = (arguments.take()?, arguments.take()?);
    Ok(Command::Hash(HashCommand::Get { key, field }))
}
