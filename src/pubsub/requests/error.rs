//! Why a request has no reply, by what its caller can do about it.
//!
//! Owns that one error. Does not log. Invariant: [`RequestError::effect_is_none`] is true only where it is certain that no
//! responder has got the request, nor ever will.

use std::fmt;
use std::time::Duration;

use crate::ids::NodeId;

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nobody in the cluster responds to this channel: this node and every linked peer have said so. Go elsewhere.
    #[error("no responders")]
    NoResponders,
    /// The process of the responder has died, or the link to it broke. It may have done what it was asked.
    #[error("the responder on node {node} is gone")]
    Gone {
        /// Its node.
        node: NodeId,
    },
    /// The responder took the request and dropped it without a reply.
    #[error("the responder declined to reply")]
    Declined,
    /// There was no reply in time.
    #[error("no reply within {} ms{}", waited.as_millis(), unsent(*was_sent))]
    Timeout {
        /// The time that was given.
        waited: Duration,
        /// Whether a responder may have got the request.
        was_sent: bool,
    },
    /// Every responder there has too much to do. Retry later.
    #[error("responder is busy: {waiting} {unit} wait, the limit is {limit}")]
    Busy {
        /// How much it has to answer still.
        waiting: u64,
        /// `responder_requests_max` or `responder_bytes_max`.
        limit: u64,
        /// What is counted.
        unit: Unit,
    },
    /// Too many requests of this node are under way. Retry later.
    #[error("too much is asked at once: {waiting} {unit} wait for replies, the limit is {limit}")]
    TooMany {
        /// How much waits for replies.
        waiting: u64,
        /// `requests_max` or `requests_bytes_max`.
        limit: u64,
        /// What is counted.
        unit: Unit,
    },
    /// Too much waits for the link to the responder's node. Retry later.
    #[error("{waiting} bytes wait for node {node}, the limit is {limit}")]
    LinkFull {
        /// That node.
        node: NodeId,
        /// How much waits.
        waiting: u64,
        /// The limit.
        limit: u64,
    },
    /// The request is too large. Give up on it.
    #[error("request of {size} bytes exceeds message_max of {limit} bytes")]
    TooLarge {
        /// How many bytes the channel and the payload have.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The channel's name is too long. Give up on it.
    #[error("name of {size} bytes exceeds name_max of {limit} bytes")]
    NameTooLong {
        /// How many bytes it has.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The responder has replied, but the reply is larger than a message may be, or than there is room for on the way back.
    #[error("reply of {size} bytes exceeds the {limit} bytes that there is room for")]
    ReplyTooLarge {
        /// How many bytes it has.
        size: u64,
        /// How many it may have.
        limit: u64,
    },
    /// This node has stopped. Go to another one.
    #[error("this node has stopped{}", unsent(*was_sent))]
    Closed {
        /// Whether a responder may have got the request.
        was_sent: bool,
    },
}

const fn unsent(was_sent: bool) -> &'static str {
    if was_sent { "" } else { ", and the request was not sent" }
}

/// What is counted against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Bytes of their channels and payloads.
    Bytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes",
        })
    }
}

impl RequestError {
    /// Tells whether surely no responder has got the request, nor ever will: it may be made again.
    #[must_use]
    pub const fn effect_is_none(&self) -> bool {
        match self {
            Self::NoResponders | Self::Busy { .. } | Self::TooMany { .. } => true,
            Self::LinkFull { .. } | Self::TooLarge { .. } | Self::NameTooLong { .. } => true,
            Self::Timeout { was_sent, .. } | Self::Closed { was_sent } => !*was_sent,
            Self::Gone { .. } | Self::Declined | Self::ReplyTooLarge { .. } => false,
        }
    }
}
