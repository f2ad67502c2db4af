//! Hash commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what HSET and its kin are. What they do stands in `keyspace/hash.rs`. Invariant: a parsed command has at least
//! one field or pair where Redis demands one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::Arguments;
use super::number::Float;
use super::random::signed_count;
use super::reply::Error;
use super::scan::Page;
use super::table::{Rows, Spec};

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
    /// Sets a field that is not there yet.
    ///
    /// ```text
    /// HSETNX key field value
    /// ```
    ///
    /// Reply: 1 if it was set, else 0. Cost: O(1).
    /// Source: <https://redis.io/commands/hsetnx>, Redis 7.2.
    SetIfAbsent {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
        /// Its value.
        value: Bytes,
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
    /// Gives the values of fields.
    ///
    /// ```text
    /// HMGET key field [field …]
    /// ```
    ///
    /// Reply: an array of values or nil. Cost: O(1) a field.
    /// Source: <https://redis.io/commands/hmget>, Redis 7.2.
    GetEach {
        /// The key.
        key: Bytes,
        /// The fields.
        fields: Vec<Bytes>,
    },
    /// Gives all fields with their values.
    ///
    /// ```text
    /// HGETALL key
    /// ```
    ///
    /// Reply: a map, in the order in which the fields were first set. Cost: O(fields).
    /// Source: <https://redis.io/commands/hgetall>, Redis 7.2.
    GetAll {
        /// The key.
        key: Bytes,
    },
    /// Removes fields; a hash without fields is gone. The last field takes the place of a removed one.
    ///
    /// ```text
    /// HDEL key field [field …]
    /// ```
    ///
    /// Reply: how many were there. Cost: O(1) a field.
    /// Source: <https://redis.io/commands/hdel>, Redis 7.2.
    Delete {
        /// The key.
        key: Bytes,
        /// The fields.
        fields: Vec<Bytes>,
    },
    /// Tells whether a field is there.
    ///
    /// ```text
    /// HEXISTS key field
    /// ```
    ///
    /// Reply: 1 or 0. Cost: O(1).
    /// Source: <https://redis.io/commands/hexists>, Redis 7.2.
    Contains {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
    },
    /// Counts the fields.
    ///
    /// ```text
    /// HLEN key
    /// ```
    ///
    /// Reply: how many. Cost: O(1).
    /// Source: <https://redis.io/commands/hlen>, Redis 7.2.
    Length {
        /// The key.
        key: Bytes,
    },
    /// Gives all fields.
    ///
    /// ```text
    /// HKEYS key
    /// ```
    ///
    /// Reply: an array. Cost: O(fields).
    /// Source: <https://redis.io/commands/hkeys>, Redis 7.2.
    Fields {
        /// The key.
        key: Bytes,
    },
    /// Gives all values.
    ///
    /// ```text
    /// HVALS key
    /// ```
    ///
    /// Reply: an array. Cost: O(fields).
    /// Source: <https://redis.io/commands/hvals>, Redis 7.2.
    Values {
        /// The key.
        key: Bytes,
    },
    /// Adds to the integer in a field, which is 0 if it is not there.
    ///
    /// ```text
    /// HINCRBY key field increment
    /// ```
    ///
    /// Reply: the sum. Cost: O(1).
    /// Source: <https://redis.io/commands/hincrby>, Redis 7.2.
    Increment {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
        /// What to add.
        increment: i64,
    },
    /// Adds to the number in a field, which is 0 if it is not there.
    ///
    /// ```text
    /// HINCRBYFLOAT key field increment
    /// ```
    ///
    /// Reply: the sum, as text. Cost: O(1).
    /// Source: <https://redis.io/commands/hincrbyfloat>, Redis 7.2.
    IncrementFloat {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
        /// What to add, as text that is a finite number.
        increment: Bytes,
    },
    /// Gives the length of the value of a field.
    ///
    /// ```text
    /// HSTRLEN key field
    /// ```
    ///
    /// Reply: its bytes, 0 if it is not there. Cost: O(1).
    /// Source: <https://redis.io/commands/hstrlen>, Redis 7.2.
    ValueLength {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
    },
    /// Walks the fields, page by page. A field that is there all the while is shown at least once.
    ///
    /// ```text
    /// HSCAN key cursor [MATCH pattern] [COUNT count]
    /// ```
    ///
    /// Reply: the next cursor, 0 at the end, and an array of fields and values in turn. A hash of up to
    /// 128 fields comes in one page. Cost: O(count).
    /// Source: <https://redis.io/commands/hscan>, Redis 7.2.
    Scan {
        /// The key.
        key: Bytes,
        /// Which page.
        page: Page,
    },
    /// Gives fields at random and leaves them.
    ///
    /// ```text
    /// HRANDFIELD key [count [WITHVALUES]]
    /// ```
    ///
    /// Reply: the field, or nil; with a count an array, with values pairs. Cost: O(count log count).
    /// Source: <https://redis.io/commands/hrandfield>, Redis 7.2.
    Random {
        /// The key.
        key: Bytes,
        /// How many; a negative count lets a field come twice.
        count: Option<i64>,
        /// Whether to give the values too.
        with_values: bool,
    },
}

impl HashCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Set { .. }
            | Self::SetIfAbsent { .. }
            | Self::Delete { .. }
            | Self::Increment { .. }
            | Self::IncrementFloat { .. } => true,
            Self::Get { .. }
            | Self::GetEach { .. }
            | Self::GetAll { .. }
            | Self::Contains { .. }
            | Self::Length { .. }
            | Self::Fields { .. }
            | Self::Values { .. }
            | Self::ValueLength { .. }
            | Self::Scan { .. }
            | Self::Random { .. } => false,
        }
    }
}

const ROWS: Rows = Rows("hash");

pub(super) const SPECS: &[Spec] = &[
    ROWS.row("hset", -4, "write denyoom fast", "Sets fields of a hash.", set),
    ROWS.row("hmset", -4, "write denyoom fast", "Sets fields of a hash.", set),
    ROWS.row("hsetnx", 4, "write denyoom fast", "Sets a hash field that is absent.", set_if_absent),
    ROWS.row("hget", 3, "readonly fast", "Gives the value of a hash field.", get),
    ROWS.row("hmget", -3, "readonly fast", "Gives the values of hash fields.", get_each),
    ROWS.row("hgetall", 2, "readonly", "Gives all fields and values of a hash.", whole),
    ROWS.row("hdel", -3, "write fast", "Removes fields of a hash.", delete),
    ROWS.row("hexists", 3, "readonly fast", "Tells whether a hash has a field.", get),
    ROWS.row("hlen", 2, "readonly fast", "Counts the fields of a hash.", whole),
    ROWS.row("hkeys", 2, "readonly", "Gives all fields of a hash.", whole),
    ROWS.row("hvals", 2, "readonly", "Gives all values of a hash.", whole),
    ROWS.row("hincrby", 4, "write denyoom fast", "Adds to an integer in a hash.", increment),
    ROWS.row(
        "hincrbyfloat",
        4,
        "write denyoom fast",
        "Adds to a number in a hash.",
        increment_float,
    ),
    ROWS.row("hstrlen", 3, "readonly fast", "Gives the length of a hash value.", get),
    ROWS.row("hscan", -3, "readonly", "Walks the fields of a hash.", scan),
    ROWS.row("hrandfield", -2, "readonly", "Gives random fields of a hash.", random),
];

const fn done(command: HashCommand) -> Result<Command, Error> {
    Ok(Command::Hash(command))
}

fn set(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let reply_ok = arguments.name() == "hmset";
    let (key, pairs) = (arguments.take()?, arguments.pairs()?);
    done(HashCommand::Set { key, pairs, reply_ok })
}

fn set_if_absent(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, field) = (arguments.take()?, arguments.take()?);
    done(HashCommand::SetIfAbsent { key, field, value: arguments.take()? })
}

/// One key, one field.
fn get(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, field) = (arguments.take()?, arguments.take()?);
    done(match arguments.name() {
        "hexists" => HashCommand::Contains { key, field },
        "hstrlen" => HashCommand::ValueLength { key, field },
        _ => HashCommand::Get { key, field },
    })
}

fn get_each(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, fields) = (arguments.take()?, arguments.remaining());
    done(HashCommand::GetEach { key, fields })
}

/// One key, nothing else.
fn whole(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    done(match arguments.name() {
        "hlen" => HashCommand::Length { key },
        "hkeys" => HashCommand::Fields { key },
        "hvals" => HashCommand::Values { key },
        _ => HashCommand::GetAll { key },
    })
}

fn delete(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, fields) = (arguments.take()?, arguments.remaining());
    done(HashCommand::Delete { key, fields })
}

fn increment(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, field) = (arguments.take()?, arguments.take()?);
    done(HashCommand::Increment { key, field, increment: arguments.integer()? })
}

fn increment_float(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, field, increment) = (arguments.take()?, arguments.take()?, arguments.take()?);
    if Float::parse(&increment).ok_or(Error::NotFloat)?.is_infinite() {
        return Err(Error::ValueNotFinite);
    }
    done(HashCommand::IncrementFloat { key, field, increment })
}

fn scan(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, page) = (arguments.take()?, Page::parse(arguments)?);
    done(HashCommand::Scan { key, page })
}

fn random(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    let count = if arguments.is_empty() { None } else { Some(signed_count(arguments)?) };
    let with_values = arguments.keyword("withvalues");
    arguments.end()?;
    // Redis doubles the count, and refuses one whose double does not fit.
    if with_values && count.is_some_and(|count| !(i64::MIN / 2..=i64::MAX / 2).contains(&count)) {
        return Err(Error::text("ERR value is out of range"));
    }
    done(HashCommand::Random { key, count, with_values })
}
