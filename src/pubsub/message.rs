//! What is published and what arrives.
//!
//! Owns the shape of a message, of the three ways to listen, and of the news that something is missing. Invariant: a payload
//! is shared, never copied per subscriber.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

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

/// A message that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// [`Kind::Pattern`] counts as [`Kind::Channel`].
    pub kind: Kind,
    /// The channel.
    pub channel: Bytes,
    /// The content.
    pub payload: Bytes,
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
    /// The log position of the last write of the publisher's node before it published this; 0 if it has written nothing.
    pub position: u64,
    /// For a causal subscriber: this node had not applied [`Message::position`] within `causal_wait_max`, so that a local read
    /// may not see what the publisher wrote before. Always false for others.
    pub is_ahead: bool,
    /// How many older messages to this channel it stands for, that came by this subscription and were not received in
    /// time: see [`Policy::LatestOnly`](super::Policy::LatestOnly). 0 under the other policies.
    pub replaced: u64,
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// Messages that it should have got are missing. Told before the next message, so as early as it can be: the missing ones
    /// may belong before, between or after the messages that wait already. Losses of one cause are added up until they
    /// are told.
    Lost(Lost),
}

impl Delivery {
    /// Gives the message, if it is one.
    #[must_use]
    pub fn message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Lost(_) => None,
        }
    }
}

/// Messages that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where they were lost.
    pub cause: Cause,
    /// How many; none when nobody can know, because the publisher died or the link to it broke while it did not send
    /// them. Where some were counted and others were not, there are two of these, the one with the count first.
    pub count: Option<u64>,
}

/// Where messages were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// In this subscriber's own queue, because it was too slow.
    Slow,
    /// On the way from the node that published them: its link to this node broke, or too much waited for it there. They may
    /// have been to channels that this subscriber does not listen to.
    Link {
        /// That node.
        publisher: NodeId,
    },
    /// As [`Cause::Link`], from several nodes, when there are too many to tell them apart, or from nodes that this one does not
    /// know of, because it was out of the cluster while they were there.
    Links,
    /// Keyspace notifications that this node did not give, because more happened at once than can wait, or because it has taken
    /// over a whole state (then nobody knows the count). They may have been of keys that this subscriber does not listen to.
    Keyspace,
}
