//! What stands in the Raft log: requests stamped with the leader's clock, and the life of sessions.
//!
//! Owns the shape of a log entry's payload. Invariant: everything that applying an entry depends on stands in the
//! entry or in the state before it; never in a clock, a random source or the node that applies it.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use crate::ids::{NodeId, Placement, SessionId};
use crate::time::Timestamp;

/// How many databases there are; `SELECT` takes 0 to 15.
pub const DATABASES: u8 = 16;

/// With whose end goes what an operation writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// With nobody's: it stays until it is removed.
    #[default]
    None,
    /// With the session of the node that submitted it.
    Node,
    /// With that session or, earlier, with one client of that node: a connection at its Redis door.
    Client(u64),
}

/// One command against one of the databases 0 to 15.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The database, below [`DATABASES`].
    pub database: u8,
    /// With whose end goes what it writes.
    pub binding: Binding,
    /// What is asked.
    pub command: Command,
}

impl Operation {
    /// An operation whose effect is bound to nobody.
    #[must_use]
    pub const fn new(database: u8, command: Command) -> Self {
        Self { database, binding: Binding::None, command }
    }
}

/// A key that a client watches, and the state it saw: EXEC is refused if the key changed since.
/// Source: Redis 7.2, `WATCH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The database of the key.
    pub database: u8,
    /// The key.
    pub key: Bytes,
    /// The keyspace's revision when the key was looked at.
    pub revision: u64,
}

/// What a client asks in one indivisible step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// One command.
    One(Operation),
    /// MULTI … EXEC: all or, if a watched key changed, nothing.
    Transaction {
        /// Must all be unchanged.
        watched: Vec<Watched>,
        /// Applied one after the other with nothing in between.
        operations: Vec<Operation>,
    },
}

impl Request {
    /// Tells whether it may change the state, so that it must go through the log.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::One(operation) => operation.command.is_write(),
            Self::Transaction { watched, operations } => {
                !watched.is_empty() || operations.iter().any(|o| o.command.is_write())
            }
        }
    }
}

/// The payload of a log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The leader's clock when it appended the entry.
    pub at: Timestamp,
    /// What is to be done.
    pub action: Action,
}

/// What a log entry does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Opens a session; its id is the index of this entry.
    Open {
        /// Drawn by the node, so that it recognises its own entry.
        nonce: u64,
        /// The node.
        node: NodeId,
        /// Where it is reached, and what it fails together with.
        placement: Placement,
    },
    /// Requests of one node, in order. The same serial is never applied twice (Raft dissertation, section 6.3).
    Batch {
        /// The session of the node.
        session: SessionId,
        /// Grows by one with every batch of the session, from 1.
        serial: u64,
        /// The node has seen the replies of all serials up to this one; they can be forgotten.
        acknowledged: u64,
        /// What is asked.
        requests: Arc<[Request]>,
    },
    /// Ends a session and all that lives with it.
    Expire {
        /// The session.
        session: SessionId,
    },
    /// Only moves the replicated clock, so that what is due expires.
    Tick,
}
