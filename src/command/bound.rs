//! What a node asks about state that is bound to a session or to one of its clients.
//!
//! Owns the commands that no client can send: they have no row in the table, the node submits them by itself. What they
//! do stands in `keyspace/bound.rs`; how an operation is bound, in `entry.rs`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A field that is to be written or removed, if it still holds what it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The field.
    pub field: Bytes,
    /// What it must hold.
    pub held: Bytes,
    /// What it is to hold; none to remove it.
    pub value: Option<Bytes>,
}

/// A command on bound state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BoundCommand {
    /// Removes all that is bound to one client of the session that submits it: its connection has ended.
    ///
    /// Reply: how much was bound. Cost: O(B log N) with B bound of N.
    Release {
        /// The client, as in [`Binding::Client`](super::entry::Binding::Client); 0 for what is bound to the node itself.
        client: u64,
    },
    /// Sets a field of a hash, unless it is bound to the session of another node, which lives.
    ///
    /// Reply: 1 if the field is new, 0 if it was there, nil if it is another's. Cost: O(log N) with N bound.
    SetField {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// Writes or removes fields of a hash that hold what is expected; others stay. A field that is written stays bound to
    /// whom it was bound.
    ///
    /// Reply: how many were written or removed. Cost: O(1) a field.
    Exchange {
        /// The key.
        key: Bytes,
        /// The fields.
        fields: Vec<Exchange>,
    },
}

impl BoundCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Release { .. } | Self::SetField { .. } | Self::Exchange { .. } => true,
        }
    }
}
