//! What can go wrong with a presence, by what the caller can do about it.
//!
//! Owns this room's one error. Does not log. Invariant: an error says whether the command may have had its effect:
//! [`Error::effect_is_none`].

use std::time::Duration;

use crate::{command, node, pubsub};

/// Why a call of a presence failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The command was refused, and a retry would be too. Give up. The text is Redis', code word first.
    #[error("{text}")]
    Refused {
        /// `WRONGTYPE Operation against …`, `ERR value is not an integer or out of range`, …
        text: String,
    },
    /// Surely not done: nobody took it for so long. Retry later.
    #[error("{text}; given up after {} ms", waited.as_millis())]
    Unavailable {
        /// What the last try was told.
        text: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// May have been done: it was under way when its process stalled, its deadline passed or its connection broke. Look
    /// whether it was.
    #[error("{text}")]
    Unknown {
        /// What the last try was told.
        text: String,
    },
    /// A topic or a message that is refused, at a limit that the text names.
    #[error("{0}")]
    Messages(#[from] pubsub::Error),
    /// Surely not done: too many calls wait in the [`Queue`](super::Queue). Await some of them.
    #[error("{waiting} calls wait, which is the limit of the queue")]
    QueueFull {
        /// How many there may be.
        waiting: usize,
    },
    /// Surely not done: the presence is shut down, or its node has stopped.
    #[error("this presence is shut down")]
    ShutDown,
    /// A reply of a shape that the command never has; whoever gave it is no Redis.
    #[error("unexpected reply to {command}: {reply}")]
    Unexpected {
        /// The command.
        command: String,
        /// What came.
        reply: String,
    },
    /// A setting that cannot be used. Somebody must change it.
    #[error("{text}")]
    Setting {
        /// Which one, and why.
        text: String,
    },
}

impl Error {
    /// Tells whether the call surely had no effect.
    #[must_use]
    pub const fn effect_is_none(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Unavailable { .. }
            | Self::Messages(_)
            | Self::QueueFull { .. }
            | Self::ShutDown
            | Self::Setting { .. } => true,
            Self::Unknown { .. } | Self::Unexpected { .. } => false,
        }
    }

    /// Takes what a node says, after it was asked for `waited`.
    pub(super) fn of_node(error: &node::Error, waited: Duration) -> Self {
        let text = error.to_string();
        match error {
            node::Error::TryAgain | node::Error::ClusterDown { .. } => {
                Self::Unavailable { text, waited }
            }
            node::Error::Unknown => Self::Unknown { text },
            node::Error::TooLarge { .. } => Self::Refused { text },
            node::Error::Stopped => Self::ShutDown,
        }
    }
}

impl From<command::Error> for Error {
    fn from(error: command::Error) -> Self {
        Self::Refused { text: error.to_string() }
    }
}
