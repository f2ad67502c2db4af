//! String commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what SET, GET and their kin are. What they do stands in `keyspace/string.rs`. Invariant: options that exclude
//! each other never stand in one command.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::{Arguments, parse_integer};
use super::expire::{Expiry, Unit};
use super::reply::Error;
use super::table::{Rows, Spec};

/// What becomes of a key's deadline when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// The key has none afterwards.
    Endless,
    /// It stays what it was.
    Keep,
    /// It gets this one.
    Until(Expiry),
}

/// Whether a value is set at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// In any case.
    Always,
    /// Only if the key does not exist (`NX`).
    Missing,
    /// Only if the key exists (`XX`).
    Present,
}

/// A command on strings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StringCommand {
    /// Sets `key` to `value`, whatever it held before.
    ///
    /// ```text
    /// SET key value [NX | XX] [GET] [EX seconds | PX ms | EXAT unix-seconds | PXAT unix-ms | KEEPTTL]
    /// SETEX key seconds value    PSETEX key ms value    GETSET key value
    /// ```
    ///
    /// Reply: `OK`, or nil when `NX`/`XX` did not hold; with `GET` (and for GETSET) the old value or nil, and nothing is
    /// set if that is no string. Cost: O(1). Source: <https://redis.io/commands/set>, Redis 7.2.
    Set {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// Whether it is set at all.
        condition: Condition,
        /// What becomes of the deadline.
        lifetime: Lifetime,
        /// Whether the reply is the old value.
        reply_old: bool,
    },
    /// Sets `key` if it does not exist.
    ///
    /// ```text
    /// SETNX key value
    /// ```
    ///
    /// Reply: 1 if it was set, else 0. Cost: O(1). Source: <https://redis.io/commands/setnx>, Redis 7.2.
    SetNew {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Gives the value of `key`.
    ///
    /// ```text
    /// GET key    GETEX key
    /// ```
    ///
    /// Reply: the value, or nil. Cost: O(1). Source: <https://redis.io/commands/get>, Redis 7.2.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Gives the value of `key` and takes the key away.
    ///
    /// ```text
    /// GETDEL key
    /// ```
    ///
    /// Reply: the value, or nil. Cost: O(1). Source: <https://redis.io/commands/getdel>, Redis 7.2.
    Take {
        /// The key.
        key: Bytes,
    },
    /// Gives the value of `key` and sets its deadline.
    ///
    /// ```text
    /// GETEX key [EX seconds | PX ms | EXAT unix-seconds | PXAT unix-ms | PERSIST]
    /// ```
    ///
    /// Reply: the value, or nil. Cost: O(log keys with a deadline). Source: <https://redis.io/commands/getex>, Redis 7.2.
    GetAndExpire {
        /// The key.
        key: Bytes,
        /// The deadline it gets, or none.
        expiry: Option<Expiry>,
    },
    /// Gives the values of several keys.
    ///
    /// ```text
    /// MGET key [key …]
    /// ```
    ///
    /// Reply: an array; nil for a key that is missing or no string. Cost: O(keys).
    /// Source: <https://redis.io/commands/mget>, Redis 7.2.
    GetMany {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Sets several keys in one step.
    ///
    /// ```text
    /// MSET key value [key value …]
    /// ```
    ///
    /// Reply: `OK`. Cost: O(keys). Source: <https://redis.io/commands/mset>, Redis 7.2.
    SetMany {
        /// Keys with their values; of a key that stands twice the last one holds.
        pairs: Vec<(Bytes, Bytes)>,
    },
    /// Sets several keys in one step if none of them exists.
    ///
    /// ```text
    /// MSETNX key value [key value …]
    /// ```
    ///
    /// Reply: 1 if all were set, else 0. Cost: O(keys). Source: <https://redis.io/commands/msetnx>, Redis 7.2.
    SetManyNew {
        /// Keys with their values.
        pairs: Vec<(Bytes, Bytes)>,
    },
    /// Puts bytes behind a value; a missing key is empty.
    ///
    /// ```text
    /// APPEND key value
    /// ```
    ///
    /// Reply: the new length. Cost: O(new length) the first time, then mostly O(appended).
    /// Source: <https://redis.io/commands/append>, Redis 7.2.
    Append {
        /// The key.
        key: Bytes,
        /// What is put behind.
        value: Bytes,
    },
    /// Gives the length of a value.
    ///
    /// ```text
    /// STRLEN key
    /// ```
    ///
    /// Reply: bytes; 0 for a missing key. Cost: O(1). Source: <https://redis.io/commands/strlen>, Redis 7.2.
    Length {
        /// The key.
        key: Bytes,
    },
    /// Gives part of a value; both ends are included and count from the end if negative.
    ///
    /// ```text
    /// GETRANGE key start end    SUBSTR key start end
    /// ```
    ///
    /// Reply: the part, empty if there is none. Cost: O(1), nothing is copied.
    /// Source: <https://redis.io/commands/getrange>, Redis 7.2.
    GetRange {
        /// The key.
        key: Bytes,
        /// The first byte.
        start: i64,
        /// The last byte.
        end: i64,
    },
    /// Overwrites part of a value, filling a gap with zeros.
    ///
    /// ```text
    /// SETRANGE key offset value
    /// ```
    ///
    /// Reply: the new length. An empty value changes nothing. Cost: O(length).
    /// Source: <https://redis.io/commands/setrange>, Redis 7.2.
    SetRange {
        /// The key.
        key: Bytes,
        /// Where the bytes go.
        offset: u64,
        /// The bytes.
        value: Bytes,
    },
}

impl StringCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Set { .. }
            | Self::SetNew { .. }
            | Self::Take { .. }
            | Self::GetAndExpire { .. }
            | Self::SetMany { .. }
            | Self::SetManyNew { .. }
            | Self::Append { .. }
            | Self::SetRange { .. } => true,
            Self::Get { .. }
            | Self::GetMany { .. }
            | Self::Length { .. }
            | Self::GetRange { .. } => false,
        }
    }
}

const ROWS: Rows = Rows("string");

const ONE: (i8, i8, i8) = (1, 1, 1);
const WRITE: &str = "write denyoom";
const WRITE_FAST: &str = "write denyoom fast";

pub(super) const SPECS: &[Spec] = &[
    ROWS.keyed("set", -3, WRITE, ONE, "Sets a key to a value.", set),
    ROWS.keyed("get", 2, "readonly fast", ONE, "Gives the value of a key.", get),
    ROWS.keyed("setex", 4, WRITE, ONE, "Sets a key for so many seconds.", setex),
    ROWS.keyed("psetex", 4, WRITE, ONE, "Sets a key for so many milliseconds.", setex),
    ROWS.keyed("setnx", 3, WRITE_FAST, ONE, "Sets a key that does not exist.", setnx),
    ROWS.keyed("getset", 3, WRITE_FAST, ONE, "Sets a key and gives its old value.", getset),
    ROWS.keyed("getdel", 2, "write fast", ONE, "Gives a value and deletes its key.", getdel),
    ROWS.keyed("getex", -2, "write fast", ONE, "Gives a value and sets its key's deadline.", getex),
    ROWS.keyed("mget", -2, "readonly fast", (1, -1, 1), "Gives the values of several keys.", mget),
    ROWS.keyed("mset", -3, WRITE, (1, -1, 2), "Sets several keys in one step.", mset),
    ROWS.keyed("msetnx", -3, WRITE, (1, -1, 2), "Sets several keys if none exists.", mset),
    ROWS.keyed("append", 3, WRITE_FAST, ONE, "Puts bytes behind a value.", append),
    ROWS.keyed("strlen", 2, "readonly fast", ONE, "Gives the length of a value.", strlen),
    ROWS.keyed("getrange", 4, "readonly", ONE, "Gives part of a value.", getrange),
    ROWS.keyed("substr", 4, "readonly", ONE, "Gives part of a value.", getrange),
    ROWS.keyed("setrange", 4, WRITE, ONE, "Overwrites part of a value.", setrange),
];

fn set(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, value) = (arguments.take()?, arguments.take()?);
    let mut condition = Condition::Always;
    let mut lifetime = None;
    let mut reply_old = false;
    while !arguments.is_empty() {
        if arguments.keyword("nx") {
            condition = merge(condition, Condition::Missing)?;
        } else if arguments.keyword("xx") {
            condition = merge(condition, Condition::Present)?;
        } else if arguments.keyword("get") {
            reply_old = true;
        } else if arguments.keyword("keepttl") {
            option(&mut lifetime, "keepttl", Lifetime::Keep)?;
        } else {
            expiry_option(arguments, &mut lifetime)?;
        }
    }
    let lifetime = checked(arguments.name(), lifetime)?;
    Ok(Command::String(StringCommand::Set { key, value, condition, lifetime, reply_old }))
}

fn merge(have: Condition, want: Condition) -> Result<Condition, Error> {
    if have == Condition::Always || have == want { Ok(want) } else { Err(Error::Syntax) }
}

/// An option about the deadline: its keyword, and either what it means or the number still to be checked.
type Chosen = (&'static str, Choice);

#[derive(Clone)]
enum Choice {
    Plain(Lifetime),
    Amount(Bytes, Unit, bool),
}

/// Notes an option; the same keyword may stand twice, two different ones may not.
fn option(
    chosen: &mut Option<Chosen>,
    keyword: &'static str,
    means: Lifetime,
) -> Result<(), Error> {
    note(chosen, (keyword, Choice::Plain(means)))
}

fn note(chosen: &mut Option<Chosen>, option: Chosen) -> Result<(), Error> {
    if chosen.as_ref().is_some_and(|(keyword, _)| *keyword != option.0) {
        return Err(Error::Syntax);
    }
    *chosen = Some(option);
    Ok(())
}

fn expiry_option(arguments: &mut Arguments<'_>, chosen: &mut Option<Chosen>) -> Result<(), Error> {
    for (keyword, unit, is_absolute) in [
        ("ex", Unit::Seconds, false),
        ("px", Unit::Milliseconds, false),
        ("exat", Unit::Seconds, true),
        ("pxat", Unit::Milliseconds, true),
    ] {
        if arguments.keyword(keyword) {
            let amount = arguments.take().map_err(|_| Error::Syntax)?;
            return note(chosen, (keyword, Choice::Amount(amount, unit, is_absolute)));
        }
    }
    Err(Error::Syntax)
}

/// Reads the number of the option that was chosen, which Redis does only once all options are understood.
fn checked(name: &'static str, chosen: Option<Chosen>) -> Result<Lifetime, Error> {
    match chosen {
        None => Ok(Lifetime::Endless),
        Some((_, Choice::Plain(lifetime))) => Ok(lifetime),
        Some((_, Choice::Amount(text, unit, is_absolute))) => {
            let amount = parse_integer(&text).ok_or(Error::NotInteger)?;
            Ok(Lifetime::Until(Expiry::positive(name, amount, unit, is_absolute)?))
        }
    }
}

fn setex(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let unit = if arguments.name() == "setex" { Unit::Seconds } else { Unit::Milliseconds };
    let key = arguments.take()?;
    let expiry = Expiry::positive(arguments.name(), arguments.integer()?, unit, false)?;
    Ok(Command::String(StringCommand::Set {
        key,
        value: arguments.take()?,
        condition: Condition::Always,
        lifetime: Lifetime::Until(expiry),
        reply_old: false,
    }))
}

fn getset(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::String(StringCommand::Set {
        key: arguments.take()?,
        value: arguments.take()?,
        condition: Condition::Always,
        lifetime: Lifetime::Endless,
        reply_old: true,
    }))
}

fn setnx(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, value) = (arguments.take()?, arguments.take()?);
    Ok(Command::String(StringCommand::SetNew { key, value }))
}

fn get(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::String(StringCommand::Get { key: arguments.take()? }))
}

fn getdel(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::String(StringCommand::Take { key: arguments.take()? }))
}

fn getex(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    if arguments.is_empty() {
        return Ok(Command::String(StringCommand::Get { key }));
    }
    let mut chosen = None;
    while !arguments.is_empty() {
        if arguments.keyword("persist") {
            option(&mut chosen, "persist", Lifetime::Endless)?;
        } else {
            expiry_option(arguments, &mut chosen)?;
        }
    }
    let expiry = match checked(arguments.name(), chosen)? {
        Lifetime::Until(expiry) => Some(expiry),
        Lifetime::Endless | Lifetime::Keep => None,
    };
    Ok(Command::String(StringCommand::GetAndExpire { key, expiry }))
}

fn mget(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::String(StringCommand::GetMany { keys: arguments.remaining() }))
}

fn mset(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let is_new = arguments.name() == "msetnx";
    let pairs = arguments.pairs()?;
    Ok(Command::String(match is_new {
        true => StringCommand::SetManyNew { pairs },
        false => StringCommand::SetMany { pairs },
    }))
}

fn append(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, value) = (arguments.take()?, arguments.take()?);
    Ok(Command::String(StringCommand::Append { key, value }))
}

fn strlen(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::String(StringCommand::Length { key: arguments.take()? }))
}

fn getrange(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::String(StringCommand::GetRange {
        key: arguments.take()?,
        start: arguments.integer()?,
        end: arguments.integer()?,
    }))
}

fn setrange(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, offset) = (arguments.take()?, arguments.integer()?);
    let offset = u64::try_from(offset).map_err(|_| Error::text("ERR offset is out of range"))?;
    Ok(Command::String(StringCommand::SetRange { key, offset, value: arguments.take()? }))
}
