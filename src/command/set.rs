//! Set commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what commands on one set are, and SMOVE; those over several sets stand in `set_algebra.rs`. What they do stands
//! in `keyspace/set.rs`. Invariant: a parsed command has at least one member where Redis demands one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::Arguments;
use super::random::{positive_count, signed_count};
use super::reply::Error;
use super::scan::Page;
use super::set_algebra::AlgebraCommand;
use super::table::{Rows, Spec};

/// A command on sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SetCommand {
    /// Adds members.
    ///
    /// ```text
    /// SADD key member [member …]
    /// ```
    ///
    /// Reply: how many are new. Cost: O(1) a member.
    /// Source: <https://redis.io/commands/sadd>, Redis 7.2.
    Add {
        /// The key.
        key: Bytes,
        /// What to add.
        members: Vec<Bytes>,
    },
    /// Removes members; a set without members is gone. The last member takes the place of a removed one.
    ///
    /// ```text
    /// SREM key member [member …]
    /// ```
    ///
    /// Reply: how many were there. Cost: O(1) a member.
    /// Source: <https://redis.io/commands/srem>, Redis 7.2.
    Remove {
        /// The key.
        key: Bytes,
        /// What to remove.
        members: Vec<Bytes>,
    },
    /// Gives all members.
    ///
    /// ```text
    /// SMEMBERS key
    /// ```
    ///
    /// Reply: a set, in the order in which they were added; up to 512 integers ascending. Cost: O(members).
    /// Source: <https://redis.io/commands/smembers>, Redis 7.2.
    Members {
        /// The key.
        key: Bytes,
    },
    /// Tells whether a member is there.
    ///
    /// ```text
    /// SISMEMBER key member
    /// ```
    ///
    /// Reply: 1 or 0. Cost: O(1).
    /// Source: <https://redis.io/commands/sismember>, Redis 7.2.
    Contains {
        /// The key.
        key: Bytes,
        /// What to look for.
        member: Bytes,
    },
    /// Tells of each of several members whether it is there.
    ///
    /// ```text
    /// SMISMEMBER key member [member …]
    /// ```
    ///
    /// Reply: an array of 1 or 0. Cost: O(1) a member.
    /// Source: <https://redis.io/commands/smismember>, Redis 7.2.
    ContainsEach {
        /// The key.
        key: Bytes,
        /// What to look for.
        members: Vec<Bytes>,
    },
    /// Counts the members.
    ///
    /// ```text
    /// SCARD key
    /// ```
    ///
    /// Reply: how many. Cost: O(1).
    /// Source: <https://redis.io/commands/scard>, Redis 7.2.
    Length {
        /// The key.
        key: Bytes,
    },
    /// Takes members out at random.
    ///
    /// ```text
    /// SPOP key [count]
    /// ```
    ///
    /// Reply: the member, or nil; with a count a set, which may be empty. Cost: O(1) a member.
    /// Source: <https://redis.io/commands/spop>, Redis 7.2.
    Pop {
        /// The key.
        key: Bytes,
        /// The most to take.
        count: Option<u64>,
    },
    /// Gives members at random and leaves them.
    ///
    /// ```text
    /// SRANDMEMBER key [count]
    /// ```
    ///
    /// Reply: the member, or nil; with a count an array. Cost: O(count log count).
    /// Source: <https://redis.io/commands/srandmember>, Redis 7.2.
    Random {
        /// The key.
        key: Bytes,
        /// How many; a negative count lets a member come twice.
        count: Option<i64>,
    },
    /// Moves a member from one set to another.
    ///
    /// ```text
    /// SMOVE source destination member
    /// ```
    ///
    /// Reply: 1 if it was there, else 0. Cost: O(1).
    /// Source: <https://redis.io/commands/smove>, Redis 7.2.
    Move {
        /// Where it is taken.
        source: Bytes,
        /// Where it is put.
        destination: Bytes,
        /// The member.
        member: Bytes,
    },
    /// Walks the members, page by page. A member that is there all the while is shown at least once.
    ///
    /// ```text
    /// SSCAN key cursor [MATCH pattern] [COUNT count]
    /// ```
    ///
    /// Reply: the next cursor, 0 at the end, and an array of members. A set of up to 128 members or of integers comes
    /// in one page. Cost: O(count).
    /// Source: <https://redis.io/commands/sscan>, Redis 7.2.
    Scan {
        /// The key.
        key: Bytes,
        /// Which page.
        page: Page,
    },
    /// A command over several sets.
    Algebra(AlgebraCommand),
}

impl SetCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Add { .. } | Self::Remove { .. } | Self::Pop { .. } | Self::Move { .. } => true,
            Self::Members { .. }
            | Self::Contains { .. }
            | Self::ContainsEach { .. }
            | Self::Length { .. }
            | Self::Random { .. }
            | Self::Scan { .. } => false,
            Self::Algebra(command) => command.is_write(),
        }
    }
}

const ROWS: Rows = Rows("set");

pub(super) const SPECS: &[Spec] = &[
    ROWS.row("sadd", -3, "write denyoom fast", "Adds members to a set.", add),
    ROWS.row("srem", -3, "write fast", "Removes members of a set.", remove),
    ROWS.row("smembers", 2, "readonly", "Gives all members of a set.", members),
    ROWS.row("sismember", 3, "readonly fast", "Tells whether a set has a member.", contains),
    ROWS.row("smismember", -3, "readonly fast", "Tells which members a set has.", contains_each),
    ROWS.row("scard", 2, "readonly fast", "Counts the members of a set.", length),
    ROWS.row("spop", -2, "write fast", "Takes random members out of a set.", pop),
    ROWS.row("srandmember", -2, "readonly", "Gives random members of a set.", random),
    Spec {
        keys: (1, 2, 1),
        ..ROWS.row("smove", 4, "write fast", "Moves a member to another set.", move_member)
    },
    ROWS.row("sscan", -3, "readonly", "Walks the members of a set.", scan),
];

fn add(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, members) = (arguments.take()?, arguments.remaining());
    Ok(Command::Set(SetCommand::Add { key, members }))
}

fn remove(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, members) = (arguments.take()?, arguments.remaining());
    Ok(Command::Set(SetCommand::Remove { key, members }))
}

fn members(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Set(SetCommand::Members { key: arguments.take()? }))
}

fn contains(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, member) = (arguments.take()?, arguments.take()?);
    Ok(Command::Set(SetCommand::Contains { key, member }))
}

fn contains_each(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, members) = (arguments.take()?, arguments.remaining());
    Ok(Command::Set(SetCommand::ContainsEach { key, members }))
}

fn length(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Set(SetCommand::Length { key: arguments.take()? }))
}

fn pop(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    if arguments.len() > 1 {
        return Err(Error::Syntax);
    }
    let count = if arguments.is_empty() { None } else { Some(positive_count(arguments)?) };
    Ok(Command::Set(SetCommand::Pop { key, count }))
}

fn random(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    if arguments.len() > 1 {
        return Err(Error::Syntax);
    }
    let count = if arguments.is_empty() { None } else { Some(signed_count(arguments)?) };
    Ok(Command::Set(SetCommand::Random { key, count }))
}

fn move_member(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (source, destination) = (arguments.take()?, arguments.take()?);
    Ok(Command::Set(SetCommand::Move { source, destination, member: arguments.take()? }))
}

fn scan(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, page) = (arguments.take()?, Page::parse(arguments)?);
    Ok(Command::Set(SetCommand::Scan { key, page }))
}
