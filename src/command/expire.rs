//! Deadline commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what EXPIRE, TTL and PERSIST are, and what an expiry is. What they do stands in `keyspace/expire.rs`.
//! Invariant: an [`Expiry`] that was parsed, added to any clock before the year 2039, fits 63 bits.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::{Arguments, parse_integer};
use super::reply::Error;
use super::table::{Rows, Spec};
use crate::time::Timestamp;

/// The unit in which a client counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// When a key is to expire, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiry {
    /// So long after the replicated clock of the entry that sets it; at once if not positive.
    After(i64),
    /// At this instant since the Unix epoch.
    At(i64),
}

impl Expiry {
    /// Redis adds its clock to a relative time and refuses a sum beyond 63 bits. A parser has no clock, so it takes one
    /// of the year 2039; the difference is seen by nobody who asks for less than 290 million years.
    const CLOCK_MAX: i64 = 1 << 41;

    /// Checks an amount of time as the EXPIRE family does; `name` is for the error.
    ///
    /// # Errors
    /// [`Error::InvalidExpire`] when it leaves 64 bits.
    pub fn new(name: &str, amount: i64, unit: Unit, is_absolute: bool) -> Result<Self, Error> {
        let factor = if unit == Unit::Seconds { 1000 } else { 1 };
        let most = if is_absolute { i64::MAX } else { i64::MAX - Self::CLOCK_MAX };
        match amount.checked_mul(factor) {
            Some(millis) if millis <= most => {
                Ok(if is_absolute { Self::At(millis) } else { Self::After(millis) })
            }
            _ => Err(Error::InvalidExpire(name.to_owned())),
        }
    }

    /// The same as the SET family does it: an amount that is not positive is refused too.
    ///
    /// # Errors
    /// [`Error::InvalidExpire`].
    pub fn positive(name: &str, amount: i64, unit: Unit, is_absolute: bool) -> Result<Self, Error> {
        if amount <= 0 {
            return Err(Error::InvalidExpire(name.to_owned()));
        }
        Self::new(name, amount, unit, is_absolute)
    }

    /// The deadline it means for an entry that is applied at `now`.
    #[must_use]
    pub fn deadline(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(millis) => Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)),
            Self::After(millis) => match u64::try_from(millis) {
                Ok(millis) => now.saturating_add(Duration::from_millis(millis)),
                Err(_) => now,
            },
        }
    }
}

/// Which deadlines an EXPIRE replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replace {
    /// Any, and none.
    Always,
    /// Only none (`NX`).
    Absent,
    /// Only one (`XX`).
    Present,
    /// Only an earlier one; none counts as infinitely late (`GT`, `XX GT`).
    Earlier,
    /// Only a later one; none counts as infinitely late (`LT`).
    Later,
    /// Only a later one that there is (`XX LT`).
    PresentLater,
}

/// A command on the deadline of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ExpireCommand {
    /// Sets a deadline.
    ///
    /// ```text
    /// EXPIRE key seconds [NX | XX | GT | LT]         PEXPIRE key ms …
    /// EXPIREAT key unix-seconds …                    PEXPIREAT key unix-ms …
    /// ```
    ///
    /// Reply: 1 if it was set (or the key went, because the deadline has passed), else 0.
    /// Cost: O(log keys with a deadline). Source: <https://redis.io/commands/expire>, Redis 7.2.
    Set {
        /// The key.
        key: Bytes,
        /// The deadline.
        expiry: Expiry,
        /// Which deadlines it replaces.
        replace: Replace,
    },
    /// Takes the deadline away.
    ///
    /// ```text
    /// PERSIST key
    /// ```
    ///
    /// Reply: 1 if there was one, else 0. Cost: O(log keys with a deadline).
    /// Source: <https://redis.io/commands/persist>, Redis 7.2.
    Clear {
        /// The key.
        key: Bytes,
    },
    /// Tells how long a key has left.
    ///
    /// ```text
    /// TTL key    PTTL key
    /// ```
    ///
    /// Reply: the time, rounded to the nearest second by TTL; -1 without a deadline, -2 without a key. Cost: O(1).
    /// Source: <https://redis.io/commands/ttl>, Redis 7.2.
    Left {
        /// The key.
        key: Bytes,
        /// The unit of the reply.
        unit: Unit,
    },
    /// Tells when a key expires.
    ///
    /// ```text
    /// EXPIRETIME key    PEXPIRETIME key
    /// ```
    ///
    /// Reply: the instant since the Unix epoch; -1 without a deadline, -2 without a key. Cost: O(1).
    /// Source: <https://redis.io/commands/expiretime>, Redis 7.2.
    Instant {
        /// The key.
        key: Bytes,
        /// The unit of the reply.
        unit: Unit,
    },
}

impl ExpireCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Set { .. } | Self::Clear { .. } => true,
            Self::Left { .. } | Self::Instant { .. } => false,
        }
    }
}

const ROWS: Rows = Rows("generic");

pub(super) const SPECS: &[Spec] = &[
    ROWS.row("expire", -3, "write fast", "Lets a key expire in so many seconds.", expire),
    ROWS.row("pexpire", -3, "write fast", "Lets a key expire in so many milliseconds.", expire),
    ROWS.row("expireat", -3, "write fast", "Lets a key expire at a second of Unix time.", expire),
    ROWS.row(
        "pexpireat",
        -3,
        "write fast",
        "Lets a key expire at a millisecond of Unix time.",
        expire,
    ),
    ROWS.row("persist", 2, "write fast", "Takes the deadline of a key away.", persist),
    ROWS.row("ttl", 2, "readonly fast", "Tells how many seconds a key has left.", left),
    ROWS.row("pttl", 2, "readonly fast", "Tells how many milliseconds a key has left.", left),
    ROWS.row("expiretime", 2, "readonly fast", "Tells at which second a key expires.", instant),
    ROWS.row(
        "pexpiretime",
        2,
        "readonly fast",
        "Tells at which millisecond a key expires.",
        instant,
    ),
];

/// Milliseconds for a name that begins with `p`.
fn unit_of(name: &str) -> Unit {
    if name.starts_with('p') { Unit::Milliseconds } else { Unit::Seconds }
}

fn expire(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, amount) = (arguments.take()?, arguments.take()?);
    let replace = replace(arguments)?;
    let amount = parse_integer(&amount).ok_or(Error::NotInteger)?;
    let name = arguments.name();
    let expiry = Expiry::new(name, amount, unit_of(name), name.ends_with("at"))?;
    Ok(Command::Expire(ExpireCommand::Set { key, expiry, replace }))
}

fn replace(arguments: &mut Arguments<'_>) -> Result<Replace, Error> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    while !arguments.is_empty() {
        let flag = [("nx", &mut nx), ("xx", &mut xx), ("gt", &mut gt), ("lt", &mut lt)]
            .into_iter()
            .find_map(|(keyword, flag)| arguments.keyword(keyword).then_some(flag));
        let Some(flag) = flag else {
            let option = arguments.take()?;
            let option = String::from_utf8_lossy(&option);
            return Err(Error::Text(format!("ERR Unsupported option {option}").into()));
        };
        *flag = true;
    }
    if nx && (xx || gt || lt) {
        let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(Error::text(text));
    }
    Ok(match (nx, xx, gt, lt) {
        (.., true, true) => {
            let text = "ERR GT and LT options at the same time are not compatible";
            return Err(Error::text(text));
        }
        (true, ..) => Replace::Absent,
        (_, _, true, _) => Replace::Earlier,
        (_, true, _, true) => Replace::PresentLater,
        (_, _, _, true) => Replace::Later,
        (_, true, ..) => Replace::Present,
        _ => Replace::Always,
    })
}

fn persist(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Expire(ExpireCommand::Clear { key: arguments.take()? }))
}

fn left(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let unit = unit_of(arguments.name());
    Ok(Command::Expire(ExpireCommand::Left { key: arguments.take()?, unit }))
}

fn instant(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let unit = unit_of(arguments.name());
    Ok(Command::Expire(ExpireCommand::Instant { key: arguments.take()?, unit }))
}
