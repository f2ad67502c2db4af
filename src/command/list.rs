//! List commands as data: their grammar, their row in the table.
//!
//! Owns what commands on lists are; how their words are read stands in `list_parse.rs`, those that may wait in
//! `blocking.rs`. What they do stands in `keyspace/list.rs`. Invariant: a parsed command has at least one value or key
//! where Redis demands one.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blocking::BlockingCommand;
use super::list_parse as parse;
use super::table::{Rows, Spec};
use crate::ids::WaitId;

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Index 0.
    Left,
    /// Index -1.
    Right,
}

/// A command on lists. Indexes count from 0 at the left, or from -1 at the right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ListCommand {
    /// Puts elements on one end, one after the other.
    ///
    /// ```text
    /// LPUSH key element [element …]
    /// RPUSH key element [element …]
    /// LPUSHX key element [element …]
    /// RPUSHX key element [element …]
    /// ```
    ///
    /// Reply: the length of the list; 0 if it is not there and must be. Cost: O(1) an element.
    /// Source: <https://redis.io/commands/lpush>, Redis 7.2.
    Push {
        /// The key.
        key: Bytes,
        /// What to put.
        elements: Vec<Bytes>,
        /// At which end.
        end: End,
        /// Whether the list must be there (`LPUSHX`, `RPUSHX`).
        only_existing: bool,
    },
    /// Takes elements off one end; a list without elements is gone.
    ///
    /// ```text
    /// LPOP key [count]
    /// RPOP key [count]
    /// ```
    ///
    /// Reply: the element, or nil; with a count an array, or a nil array. Cost: O(1) an element.
    /// Source: <https://redis.io/commands/lpop>, Redis 7.2.
    Pop {
        /// The key.
        key: Bytes,
        /// At which end.
        end: End,
        /// The most to take.
        count: Option<u64>,
    },
    /// Takes elements off one end of the first list that has any.
    ///
    /// ```text
    /// LMPOP numkeys key [key …] <LEFT | RIGHT> [COUNT count]
    /// ```
    ///
    /// Reply: an array of the key and an array of elements, or a nil array. Cost: O(1) an element and key.
    /// Source: <https://redis.io/commands/lmpop>, Redis 7.2.
    PopFirst {
        /// The lists, in order.
        keys: Vec<Bytes>,
        /// At which end.
        end: End,
        /// The most to take, at least 1.
        count: u64,
    },
    /// Moves an element from an end of a list to an end of the same or another.
    ///
    /// ```text
    /// LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>
    /// RPOPLPUSH source destination
    /// ```
    ///
    /// Reply: the element, or nil. Cost: O(1).
    /// Source: <https://redis.io/commands/lmove>, Redis 7.2.
    Move {
        /// Where it is taken.
        source: Bytes,
        /// Where it is put.
        destination: Bytes,
        /// At which end it is taken.
        from: End,
        /// At which end it is put.
        to: End,
    },
    /// Counts the elements.
    ///
    /// ```text
    /// LLEN key
    /// ```
    ///
    /// Reply: how many. Cost: O(1).
    /// Source: <https://redis.io/commands/llen>, Redis 7.2.
    Length {
        /// The key.
        key: Bytes,
    },
    /// Gives the elements from one index to another, both included.
    ///
    /// ```text
    /// LRANGE key start stop
    /// ```
    ///
    /// Reply: an array. Cost: O(elements given).
    /// Source: <https://redis.io/commands/lrange>, Redis 7.2.
    Range {
        /// The key.
        key: Bytes,
        /// The first index.
        start: i64,
        /// The last index.
        stop: i64,
    },
    /// Gives the element at an index.
    ///
    /// ```text
    /// LINDEX key index
    /// ```
    ///
    /// Reply: the element, or nil. Cost: O(1).
    /// Source: <https://redis.io/commands/lindex>, Redis 7.2.
    Index {
        /// The key.
        key: Bytes,
        /// The index; `None` is no integer, which is refused only behind the key's type, as in Redis.
        index: Option<i64>,
    },
    /// Replaces the element at an index.
    ///
    /// ```text
    /// LSET key index element
    /// ```
    ///
    /// Reply: `OK`, or an error if there is no such list or index. Cost: O(1).
    /// Source: <https://redis.io/commands/lset>, Redis 7.2.
    Set {
        /// The key.
        key: Bytes,
        /// The index; `None` is no integer, which is refused only behind the key's type, as in Redis.
        index: Option<i64>,
        /// What stands there then.
        element: Bytes,
    },
    /// Puts an element beside the first one that equals the pivot.
    ///
    /// ```text
    /// LINSERT key <BEFORE | AFTER> pivot element
    /// ```
    ///
    /// Reply: the length of the list; -1 if the pivot is not in it, 0 if there is no list. Cost: O(elements).
    /// Source: <https://redis.io/commands/linsert>, Redis 7.2.
    Insert {
        /// The key.
        key: Bytes,
        /// Whether behind the pivot, not before it.
        after: bool,
        /// The element to look for.
        pivot: Bytes,
        /// What to put.
        element: Bytes,
    },
    /// Removes elements that equal the given one.
    ///
    /// ```text
    /// LREM key count element
    /// ```
    ///
    /// Reply: how many were removed. Cost: O(elements).
    /// Source: <https://redis.io/commands/lrem>, Redis 7.2.
    Remove {
        /// The key.
        key: Bytes,
        /// The most to remove; from the right if negative, all if 0.
        count: i64,
        /// What to remove.
        element: Bytes,
    },
    /// Removes all elements but those from one index to another, both included.
    ///
    /// ```text
    /// LTRIM key start stop
    /// ```
    ///
    /// Reply: `OK`. Cost: O(elements removed).
    /// Source: <https://redis.io/commands/ltrim>, Redis 7.2.
    Trim {
        /// The key.
        key: Bytes,
        /// The first index that stays.
        start: i64,
        /// The last index that stays.
        stop: i64,
    },
    /// Gives the index of an element, or of several that are equal.
    ///
    /// ```text
    /// LPOS key element [RANK rank] [COUNT count] [MAXLEN length]
    /// ```
    ///
    /// Reply: the index, or nil; with a count an array. Cost: O(elements).
    /// Source: <https://redis.io/commands/lpos>, Redis 7.2.
    Position {
        /// The key.
        key: Bytes,
        /// What to look for.
        element: Bytes,
        /// Which match to begin with, counted from 1; from the right if negative; never 0.
        rank: i64,
        /// The most to give; 0 for all.
        count: Option<u64>,
        /// The most elements to compare; 0 for all.
        compared_max: u64,
    },
    /// A command that waits if there is nothing to take.
    Blocking(BlockingCommand),
    /// Ends the waiting of a client, by its own node: its time has run out, it has gone, or `CLIENT UNBLOCK` said so. No
    /// client can send it.
    ///
    /// Reply: 1 if the client still waited; it is then served nil, or the error of `CLIENT UNBLOCK`. 0 if it did not.
    EndWait {
        /// The waiting client.
        wait: WaitId,
        /// Whether `CLIENT UNBLOCK … ERROR` was the reason.
        unblocked: bool,
    },
}

impl ListCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Push { .. }
            | Self::Pop { .. }
            | Self::PopFirst { .. }
            | Self::Move { .. }
            | Self::Set { .. }
            | Self::Insert { .. }
            | Self::Remove { .. }
            | Self::Trim { .. }
            | Self::Blocking(_)
            | Self::EndWait { .. } => true,
            Self::Length { .. }
            | Self::Range { .. }
            | Self::Index { .. }
            | Self::Position { .. } => false,
        }
    }

    /// Tells whether it may wait for an element, outside a transaction.
    #[must_use]
    pub const fn is_blocking(&self) -> bool {
        matches!(self, Self::Blocking(_))
    }

    /// How long a client is ready to wait; `None` is for ever, and for a command that does not wait. The keyspace does not
    /// look at it: whoever serves the client measures the time and sends [`ListCommand::EndWait`].
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        if let Self::Blocking(command) = self { command.timeout() } else { None }
    }
}

const ROWS: Rows = Rows("list");

pub(super) const SPECS: &[Spec] = &[
    ROWS.row("lpush", -3, "write denyoom fast", "Puts elements on the left.", parse::push),
    ROWS.row("rpush", -3, "write denyoom fast", "Puts elements on the right.", parse::push),
    ROWS.row(
        "lpushx",
        -3,
        "write denyoom fast",
        "Puts elements on the left of a list.",
        parse::push,
    ),
    ROWS.row(
        "rpushx",
        -3,
        "write denyoom fast",
        "Puts elements on the right of a list.",
        parse::push,
    ),
    ROWS.row("lpop", -2, "write fast", "Takes elements off the left.", parse::pop),
    ROWS.row("rpop", -2, "write fast", "Takes elements off the right.", parse::pop),
    Spec {
        keys: (0, 0, 0),
        ..ROWS.row("lmpop", -4, "write movablekeys", "Takes from the first list.", parse::pop_first)
    },
    Spec {
        keys: (1, 2, 1),
        ..ROWS.row(
            "lmove",
            5,
            "write denyoom",
            "Moves an element between lists.",
            parse::move_element,
        )
    },
    Spec {
        keys: (1, 2, 1),
        ..ROWS.row("rpoplpush", 3, "write denyoom", "Moves an element.", parse::move_element)
    },
    ROWS.row("llen", 2, "readonly fast", "Counts the elements of a list.", parse::length),
    ROWS.row("lrange", 4, "readonly", "Gives a range of a list.", parse::range),
    ROWS.row("lindex", 3, "readonly", "Gives an element by its index.", parse::index),
    ROWS.row("lset", 4, "write denyoom", "Replaces an element by its index.", parse::set),
    ROWS.row("linsert", 5, "write denyoom", "Puts an element beside another.", parse::insert),
    ROWS.row("lrem", 4, "write", "Removes elements of a list.", parse::remove),
    ROWS.row("ltrim", 4, "write", "Keeps only a range of a list.", parse::range),
    ROWS.row("lpos", -3, "readonly", "Gives the index of an element.", parse::position),
];
