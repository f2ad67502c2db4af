//! Why a driver did not do what it was asked.
//!
//! Owns what can be wrong with listings and with questions about them. What can go wrong on the way is the presence's error.
//! Invariant: [`Error::effect_is_none`] says whether a write surely did nothing.

use crate::presence;

/// Why a driver did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was to be kept, or is kept, is no listing. Give up.
    #[error("a listing must be a JSON object with its roomId: {0}")]
    NoListing(String),
    /// What was asked for is no JSON object of conditions or of fields. Give up.
    #[error("conditions, orders and changes must be JSON objects: {0}")]
    NoObject(#[source] serde_json::Error),
    /// The cluster or Redis did not answer, or refused; the inner error says what can be done.
    #[error(transparent)]
    Asked(#[from] presence::Error),
    /// Others changed the same room so often that this change was not made. Retry.
    #[error("room {room_id} was changed by others {tries} times meanwhile")]
    Contended {
        /// The room.
        room_id: String,
        /// How often it was tried.
        tries: usize,
    },
}

impl Error {
    /// Tells whether a write surely had no effect.
    #[must_use]
    pub const fn effect_is_none(&self) -> bool {
        match self {
            Self::Asked(error) => error.effect_is_none(),
            Self::NoListing(_) | Self::NoObject(_) | Self::Contended { .. } => true,
        }
    }
}
