//! What a node asks about state that is bound to a session or to one of its clients.
//!
//! Owns the commands that no client can send: they have no row in the table, the node submits them by itself. What they
//! do stands in `keyspace/bound.rs`; how an operation is bound, in `entry.rs`.

use serde::{Deserialize, Serialize};

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
}

impl BoundCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Release { .. } => true,
        }
    }
}
