//! Why a driver did not do what it was asked.
//!
//! Owns the one error of the three drivers. Does not know matchmaking. Invariant: whoever gets one can tell whether trying
//! again is of use, and [`Error::effect_is_none`] says whether a write surely did nothing.

use crate::{command, node};

/// Why a driver did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was to be kept is no listing. Give up.
    #[error("a listing must be a JSON object with its roomId: {0}")]
    NoListing(String),
    /// What was asked for is no JSON object of conditions or of fields. Give up.
    #[error("conditions, orders and changes must be JSON objects: {0}")]
    NoObject(#[source] serde_json::Error),
    /// The cluster did not answer; the inner error says what is known.
    #[error("{0}")]
    Node(#[from] node::Error),
    /// The cluster refused, as Redis would: `roomcaches` is no hash.
    #[error("{0}")]
    Refused(#[from] command::Error),
    /// Redis did not answer, or refused; a write may have had its effect.
    #[cfg(feature = "redis")]
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Others changed the same room so often that this change was not made. Retry.
    #[error("room {room_id} was changed by others {tries} times meanwhile")]
    Contended {
        /// The room.
        room_id: String,
        /// How often it was tried.
        tries: usize,
    },
    /// What answered did not answer what was asked.
    #[error("an answer of another kind than was asked for")]
    Misplaced,
}

impl Error {
    /// Tells whether a write surely had no effect.
    #[must_use]
    pub const fn effect_is_none(&self) -> bool {
        match self {
            Self::Node(node::Error::Unknown) | Self::Misplaced => false,
            #[cfg(feature = "redis")]
            Self::Redis(_) => false,
            Self::NoListing(_)
            | Self::NoObject(_)
            | Self::Node(_)
            | Self::Refused(_)
            | Self::Contended { .. } => true,
        }
    }
}
