//! What a presence is asked, as the words of Redis commands.
//!
//! Owns how words become a request to the keyspace and how the replies of a transaction come together, and which
//! commands may be done twice. Pure. Invariant: what cannot be parsed is a reply, as it is from a Redis server.

use bytes::Bytes;

use crate::command::entry::Binding;
use crate::command::{self, Command, Operation, Reply, Request, table};

/// One command by its words, or several of them in one indivisible step (`MULTI` … `EXEC`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub(super) commands: Vec<Vec<Bytes>>,
    pub(super) is_transaction: bool,
}

/// The commands that write and leave the same behind when they are done twice in a row.
const REPEATABLE: &[&[u8]] = &[
    b"set", b"setex", b"psetex", b"mset", b"del", b"unlink", b"expire", b"pexpire", b"persist",
    b"hset", b"hmset", b"hdel", b"sadd", b"srem",
];

impl Asked {
    /// Asks one command, its name first.
    #[must_use]
    pub fn one(words: Vec<Bytes>) -> Self {
        Self { commands: vec![words], is_transaction: false }
    }

    /// Asks several commands, with nothing in between. The reply is an array; a command that is refused has its error there,
    /// and the others are done.
    #[must_use]
    pub const fn transaction(commands: Vec<Vec<Bytes>>) -> Self {
        Self { commands, is_transaction: true }
    }

    /// The bytes of its words.
    pub(super) fn size(&self) -> usize {
        self.commands.iter().flatten().map(Bytes::len).fold(0, usize::saturating_add)
    }
}

/// An [`Asked`] that the keyspace understands.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    /// What is to be done.
    pub(super) request: Request,
    /// Whether it may be done again when nobody knows whether it was done.
    pub(super) is_repeatable: bool,
    /// The commands of a transaction that could not be parsed, by their places.
    refused: Vec<(usize, command::Error)>,
}

impl Parsed {
    /// Reads what is asked. `key_max` is the longest key; `bind` says whether a command's effect goes with the process.
    pub(super) fn new(
        asked: &Asked,
        key_max: usize,
        bind: impl Fn(&Command) -> bool,
    ) -> Result<Self, command::Error> {
        let operation = |words: &[Bytes]| {
            let command = parse(words, key_max)?;
            let binding = if bind(&command) { Binding::Node } else { Binding::None };
            Ok(Operation { database: 0, binding, command })
        };
        let is_repeatable = asked.commands.iter().all(|words| is_repeatable(words));
        let (mut operations, mut refused) = (Vec::new(), Vec::new());
        if !asked.is_transaction {
            let words = asked.commands.first().map_or(&[][..], Vec::as_slice);
            let request = Request::One(operation(words)?);
            return Ok(Self { request, is_repeatable, refused });
        }
        for (place, words) in asked.commands.iter().enumerate() {
            match operation(words) {
                Ok(operation) => operations.push(operation),
                Err(error) => refused.push((place, error)),
            }
        }
        let request = Request::Transaction { watched: Vec::new(), operations };
        Ok(Self { request, is_repeatable, refused })
    }

    /// Puts what could not be parsed into its place among the replies.
    pub(super) fn complete(&self, reply: Reply) -> Reply {
        let Reply::Array(mut replies) = reply else {
            return reply;
        };
        for (place, error) in &self.refused {
            replies.insert((*place).min(replies.len()), error.clone().into());
        }
        Reply::Array(replies)
    }
}

/// Makes a command of its words, if its keys are no longer than `key_max`.
pub(super) fn parse(words: &[Bytes], key_max: usize) -> Result<Command, command::Error> {
    let command = Command::parse(words)?;
    if words.iter().any(|word| word.len() > key_max) {
        let keys = table::keys_of(words);
        if let Some(size) = keys.iter().map(Bytes::len).find(|size| *size > key_max) {
            return Err(command::Error::Text(
                format!(
                    "ERR key of {size} bytes exceeds the limit of {key_max} bytes; raise cluster.key_max to allow it"
                )
                .into(),
            ));
        }
    }
    Ok(command)
}

/// Tells whether a command leaves the same behind when it is done twice in a row.
pub(super) fn is_repeatable(words: &[Bytes]) -> bool {
    let Some(name) = words.first() else {
        return true;
    };
    if REPEATABLE.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        // SET with options may depend on what was there.
        return !name.eq_ignore_ascii_case(b"set") || words.len() == 3;
    }
    table::resolve(words).is_ok_and(|spec| spec.has("readonly"))
}
