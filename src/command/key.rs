//! Key commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what DEL, RENAME, COPY and their kin are: what concerns a key whatever it holds. What they do stands in
//! `keyspace/key.rs`. Invariant: a database number in a parsed command exists.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::Arguments;
use super::entry::DATABASES;
use super::reply::Error;
use super::table::{Rows, Spec};

/// A command on keys of any type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyCommand {
    /// Takes keys away.
    ///
    /// ```text
    /// DEL key [key …]    UNLINK key [key …]
    /// ```
    ///
    /// Reply: how many there were. Cost: O(keys + elements). Source: <https://redis.io/commands/del>, Redis 7.2.
    Delete {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Counts which keys exist; one that stands twice counts twice.
    ///
    /// ```text
    /// EXISTS key [key …]    TOUCH key [key …]
    /// ```
    ///
    /// Reply: how many. Cost: O(keys). Source: <https://redis.io/commands/exists>, Redis 7.2.
    Exists {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Names the type of a key.
    ///
    /// ```text
    /// TYPE key
    /// ```
    ///
    /// Reply: `string`, `list`, `set`, `hash` or `none`. Cost: O(1).
    /// Source: <https://redis.io/commands/type>, Redis 7.2.
    Type {
        /// The key.
        key: Bytes,
    },
    /// Gives a key, with its deadline, another name.
    ///
    /// ```text
    /// RENAME key new-key    RENAMENX key new-key
    /// ```
    ///
    /// Reply: `OK`, or for RENAMENX 1, or 0 if the new name is taken; an error if there is no such key. Cost: O(1).
    /// Source: <https://redis.io/commands/rename>, Redis 7.2.
    Rename {
        /// The key.
        from: Bytes,
        /// Its new name.
        to: Bytes,
        /// Whether the new name must be free (RENAMENX).
        only_new: bool,
    },
    /// Copies a key with its deadline.
    ///
    /// ```text
    /// COPY key new-key [DB number] [REPLACE]
    /// ```
    ///
    /// Reply: 1 if it was copied, 0 if there is no such key or the other name is taken. Cost: O(1); elements are shared
    /// until either is written. Source: <https://redis.io/commands/copy>, Redis 7.2.
    Copy {
        /// The key.
        from: Bytes,
        /// The name of the copy.
        to: Bytes,
        /// The database of the copy, if another one.
        database: Option<u8>,
        /// Whether the other name may be taken.
        replace: bool,
    },
    /// Moves a key with its deadline to another database.
    ///
    /// ```text
    /// MOVE key number
    /// ```
    ///
    /// Reply: 1 if it was moved, 0 if there is no such key or one of that name is there. Cost: O(1).
    /// Source: <https://redis.io/commands/move>, Redis 7.2.
    Move {
        /// The key.
        key: Bytes,
        /// The other database.
        database: u8,
    },
}

impl KeyCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Delete { .. } | Self::Rename { .. } | Self::Copy { .. } | Self::Move { .. } => {
                true
            }
            Self::Exists { .. } | Self::Type { .. } => false,
        }
    }
}

const ROWS: Rows = Rows("generic");

const ALL: (i8, i8, i8) = (1, -1, 1);

pub(super) const SPECS: &[Spec] = &[
    ROWS.keyed("del", -2, "write", ALL, "Deletes keys.", delete),
    ROWS.keyed("unlink", -2, "write fast", ALL, "Deletes keys.", delete),
    ROWS.keyed("exists", -2, "readonly fast", ALL, "Counts which keys exist.", exists),
    ROWS.keyed("touch", -2, "readonly fast", ALL, "Counts which keys exist.", exists),
    ROWS.keyed("type", 2, "readonly fast", (1, 1, 1), "Names the type of a key.", kind),
    ROWS.keyed("rename", 3, "write", (1, 2, 1), "Renames a key.", rename),
    ROWS.keyed(
        "renamenx",
        3,
        "write fast",
        (1, 2, 1),
        "Renames a key if the new name is free.",
        rename,
    ),
    ROWS.keyed("copy", -3, "write denyoom", (1, 2, 1), "Copies a key.", copy),
    ROWS.keyed("move", 3, "write fast", (1, 1, 1), "Moves a key to another database.", move_to),
];

fn delete(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Key(KeyCommand::Delete { keys: arguments.remaining() }))
}

fn exists(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Key(KeyCommand::Exists { keys: arguments.remaining() }))
}

fn kind(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Key(KeyCommand::Type { key: arguments.take()? }))
}

fn rename(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let only_new = arguments.name() == "renamenx";
    let (from, to) = (arguments.take()?, arguments.take()?);
    Ok(Command::Key(KeyCommand::Rename { from, to, only_new }))
}

fn copy(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (from, to) = (arguments.take()?, arguments.take()?);
    let (mut database, mut replace) = (None, false);
    while !arguments.is_empty() {
        if arguments.keyword("replace") {
            replace = true;
        } else if arguments.keyword("db") && !arguments.is_empty() {
            database = Some(database_number(arguments.integer()?)?);
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(Command::Key(KeyCommand::Copy { from, to, database, replace }))
}

fn move_to(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    let database = database_number(arguments.integer()?)?;
    Ok(Command::Key(KeyCommand::Move { key, database }))
}

/// Checks the number of a database, as `SELECT` does too.
///
/// # Errors
/// [`Error::DatabaseOutOfRange`] unless it is below [`DATABASES`].
pub fn database_number(number: i64) -> Result<u8, Error> {
    let number = u8::try_from(number).ok().filter(|number| *number < DATABASES);
    number.ok_or(Error::DatabaseOutOfRange)
}
