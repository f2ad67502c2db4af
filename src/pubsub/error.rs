//! What can go wrong with listening and publishing, by what the caller can do about it.
//!
//! Owns this room's one error. Does not log. Invariant: an error about a limit names the limit and both numbers.

use std::time::Duration;

use crate::ids::NodeId;

/// Why a subscription, a message or a lane was refused or has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The subscriber fell too far behind and was dropped, with all that waited for it. Cut its connection, or subscribe
    /// anew and take it that messages are missing.
    #[error(
        "subscriber is too slow: {messages} messages of {bytes} bytes waited, the limit is {limit} bytes"
    )]
    Overflow {
        /// How many messages waited, and are lost.
        messages: u64,
        /// How many bytes they had.
        bytes: u64,
        /// The limit that was exceeded: the hard one, or the soft one for too long.
        limit: u64,
    },
    /// This node has stopped. Go to another one.
    #[error("this node has stopped")]
    Closed,
    /// The message is too large. Give up on it.
    #[error("message of {size} bytes exceeds message_max of {limit} bytes")]
    MessageTooLarge {
        /// How many bytes the channel and the payload have.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The message does not fit one datagram on every path. Give up on it, or publish it reliably.
    #[error("unreliable message of {size} bytes exceeds the limit of {limit} bytes")]
    DatagramTooLarge {
        /// How many bytes the channel and the payload have.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The name of a channel or pattern is too long to be subscribed or published to. Give up on it.
    #[error("name of {size} bytes exceeds name_max of {limit} bytes")]
    NameTooLong {
        /// How many bytes it has.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The subscriber listens to too much. Unsubscribe from something first.
    #[error(
        "{count} subscriptions of this subscriber reach subscriptions_per_subscriber_max of {limit}"
    )]
    SubscriberFull {
        /// How many it has.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The node's subscribers listen to too much. Go to another node.
    #[error("{count} subscriptions of this node reach subscriptions_max of {limit}")]
    TableFull {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer's lane to this node did not come up. Retry, or go on without that peer once it is no member any more.
    #[error("no lane from node {peer} within {} ms", waited.as_millis())]
    NotAttached {
        /// The member that was asked.
        peer: NodeId,
        /// The deadline.
        waited: Duration,
    },
}
