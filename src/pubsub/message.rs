//! What is published and what arrives.
//!
//! Owns the shape of a message and of the three ways to listen. Invariant: a payload is shared, never copied per
//! subscriber.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a subscriber listens by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An exact channel: `SUBSCRIBE`.
    Channel,
    /// A glob over channels: `PSUBSCRIBE`.
    Pattern,
    /// A sharded channel, a space of its own: `SSUBSCRIBE`.
    Sharded,
}

/// A message as one subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// By which kind of subscription it came; a client with a channel and two matching patterns gets it three times.
    pub kind: Kind,
    /// The pattern that matched, for [`Kind::Pattern`].
    pub pattern: Option<Bytes>,
    /// The channel it was published to.
    pub channel: Bytes,
    /// What was published.
    pub payload: Bytes,
}
