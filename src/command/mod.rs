//! What may be asked of the replicated data, as plain data, one file per type.
//!
//! Owns the commands, how the words of a request become one, what they reply, and what stands in the log. Pure: no
//! clock, socket or state. `command/hash.rs` says what HSET is; `keyspace/hash.rs` what it does. Invariant: whatever a
//! client sends becomes a [`Command`] or an [`Error`] with Redis' text.

pub mod arguments;
pub mod blocking;
pub mod bound;
pub mod counter;
pub mod database;
mod door;
pub mod entry;
pub mod expire;
pub mod glob;
#[cfg(test)]
mod golden;
pub mod hash;
pub mod inspect;
pub mod key;
pub mod list;
mod list_parse;
pub mod number;
pub mod random;
pub mod reply;
pub mod scan;
pub mod set;
pub mod set_algebra;
pub mod string;
pub mod table;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::arguments::Arguments;
pub use self::bound::BoundCommand;
pub use self::counter::CounterCommand;
pub use self::database::DatabaseCommand;
pub use self::entry::{Action, Entry, Operation, Request, Watched};
pub use self::expire::ExpireCommand;
pub use self::hash::HashCommand;
pub use self::inspect::InspectCommand;
pub use self::key::KeyCommand;
pub use self::list::ListCommand;
pub use self::reply::{Error, Reply};
pub use self::set::SetCommand;
pub use self::string::StringCommand;

/// A command on the keyspace, by the type of value it concerns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Strings.
    String(StringCommand),
    /// Strings that hold a number.
    Counter(CounterCommand),
    /// Keys of any type: their life and names.
    Key(KeyCommand),
    /// The deadlines of keys.
    Expire(ExpireCommand),
    /// All keys of a database.
    Database(DatabaseCommand),
    /// What is behind a key.
    Inspect(InspectCommand),
    /// Sets.
    Set(SetCommand),
    /// Hashes.
    Hash(HashCommand),
    /// Lists.
    List(ListCommand),
    /// What is bound to a session or a client.
    Bound(BoundCommand),
}

impl From<HashCommand> for Command {
    fn from(command: HashCommand) -> Self {
        Self::Hash(command)
    }
}

impl From<KeyCommand> for Command {
    fn from(command: KeyCommand) -> Self {
        Self::Key(command)
    }
}

impl From<BoundCommand> for Command {
    fn from(command: BoundCommand) -> Self {
        Self::Bound(command)
    }
}

impl Command {
    /// Makes a command of the words of a request, its name first. Door commands (`PING`, `SUBSCRIBE`, …) are not
    /// commands on the keyspace: see [`table::Spec::parse`].
    ///
    /// # Errors
    /// With Redis' text when the name is unknown or the words do not fit.
    pub fn parse(words: &[Bytes]) -> Result<Self, Error> {
        let spec = table::resolve(words)?;
        let parse = spec.parse.ok_or_else(|| Error::Text(unknown_command(words).into()))?;
        let named = if spec.name.contains('|') { 2 } else { 1 };
        parse(&mut Arguments::new(spec.name, words.get(named..).unwrap_or_default()))
    }

    /// Tells whether it may change the state, so that it must go through the log.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::String(command) => command.is_write(),
            Self::Counter(command) => command.is_write(),
            Self::Key(command) => command.is_write(),
            Self::Expire(command) => command.is_write(),
            Self::Database(command) => command.is_write(),
            Self::Inspect(_) => false,
            Self::Set(command) => command.is_write(),
            Self::Hash(command) => command.is_write(),
            Self::List(command) => command.is_write(),
            Self::Bound(command) => command.is_write(),
        }
    }

    /// Tells whether it may wait for an element, outside a transaction.
    #[must_use]
    pub const fn is_blocking(&self) -> bool {
        matches!(self, Self::List(command) if command.is_blocking())
    }
}

/// Redis' text for a command that does not exist: the name as it was sent, and as many arguments as fit 128 bytes.
#[must_use]
pub fn unknown_command(words: &[Bytes]) -> String {
    const SHOWN_MAX: usize = 128;
    let shown = |word: &[u8], most: usize| {
        let word = word.get(..most.min(word.len())).unwrap_or(word);
        String::from_utf8_lossy(word).replace(['\r', '\n'], " ")
    };
    let (name, rest) = words.split_first().map_or((&b""[..], &words[..0]), |(n, r)| (&n[..], r));
    let mut arguments = String::new();
    for word in rest {
        if arguments.len() >= SHOWN_MAX {
            break;
        }
        let left = SHOWN_MAX.saturating_sub(arguments.len());
        arguments.push_str(&format!("'{}' ", shown(word, left)));
    }
    format!(
        "ERR unknown command '{}', with args beginning with: {arguments}",
        shown(name, SHOWN_MAX)
    )
}
