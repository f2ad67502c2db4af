//! With whose end the writes of one connection go: `QUORATE.BIND`, and the patterns of the configuration.
//!
//! Owns the client's choice and what it means for a command. Does not release anything: the node does, when the connection's
//! [`Client`] is dropped. Invariant: an operation is bound to this connection only through its [`Client`], so that its end is
//! not missed.

use bytes::Bytes;

use crate::command::entry::Binding;
use crate::command::{Command, Error, Operation};
use crate::consensus::{BOUND_MAX, Client};
use crate::node::bind::{BindTo, Patterns};

/// What binds the writes of one connection.
#[derive(Debug)]
pub(super) struct Binder {
    patterns: Patterns,
    client: Client,
    /// What the client has chosen for all its writes; none leaves it to the patterns.
    pub(super) chosen: Option<BindTo>,
}

impl Binder {
    pub(super) const fn new(patterns: Patterns, client: Client) -> Self {
        Self { patterns, client, chosen: None }
    }

    /// Makes an operation of a command, bound as the client has chosen or the patterns say.
    ///
    /// # Errors
    /// With the text for the client when too many clients have yet to be released.
    pub(super) fn operation(&self, database: u8, command: Command) -> Result<Operation, Error> {
        self.operation_as(self.chosen, database, command)
    }

    /// The same for a choice that is made within a transaction.
    pub(super) fn operation_as(
        &self,
        chosen: Option<BindTo>,
        database: u8,
        command: Command,
    ) -> Result<Operation, Error> {
        let to = match chosen {
            Some(to) => Some(to).filter(|_| command.is_write()),
            None => self.patterns.to(&command),
        };
        let binding = match to {
            None => Binding::None,
            Some(BindTo::Node) => Binding::Node,
            Some(BindTo::Connection) => self.client.bind().ok_or_else(too_many)?,
        };
        Ok(Operation { database, binding, command })
    }
}

fn too_many() -> Error {
    let text = format!(
        "TRYAGAIN {BOUND_MAX} clients with bound state have yet to be released; the command had no effect"
    );
    Error::Text(text.into())
}

/// Reads what a client chooses.
///
/// ```text
/// QUORATE.BIND <ON | OFF> [CONNECTION | NODE]
/// ```
///
/// # Errors
/// When it is something else.
pub(super) fn choice(words: &[Bytes]) -> Result<Option<BindTo>, Error> {
    let is = |at: usize, keyword: &str| {
        words.get(at).is_some_and(|word| word.eq_ignore_ascii_case(keyword.as_bytes()))
    };
    let to = match words.len() {
        2 => BindTo::Connection,
        3 if is(2, "connection") => BindTo::Connection,
        3 if is(2, "node") => BindTo::Node,
        _ => return Err(Error::Syntax),
    };
    match (is(1, "on"), is(1, "off")) {
        (true, _) => Ok(Some(to)),
        (_, true) => Ok(None),
        _ => Err(Error::Syntax),
    }
}
