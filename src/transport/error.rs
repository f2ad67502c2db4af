//! What can go wrong between nodes, by what the caller can do about it.
//!
//! Owns this room's one error. Does not log. Invariant: [`Error::effect_is_none`] is true only where it is certain
//! that the peer has not seen, and will not see, what was to be sent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Class;

/// Why bytes did not reach a peer, or did not come from one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The peer did not answer the dial. Retry later.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it was sought.
        address: SocketAddr,
        /// What the network said.
        reason: String,
    },
    /// One of the two sides does not want the other: another secret, cluster, setting, version or node. An operator
    /// must act, or the caller's idea of who lives at that address is out of date.
    #[error("refused between this node and {address}: {reason}")]
    Refused {
        /// The other side.
        address: SocketAddr,
        /// Why, in words for an operator.
        reason: String,
    },
    /// The stream or its connection ended. Open another; what was sent last may or may not have arrived.
    #[error("link closed: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
    /// The stream or its connection ended before anything was sent. Retry.
    #[error("not sent: {reason}")]
    NotSent {
        /// Why.
        reason: String,
    },
    /// A frame is larger than its class allows. Give up on that frame; when the peer sent it, the stream is over.
    #[error("{class} frame of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The class of the stream.
        class: Class,
        /// How large the frame is, or claims to be.
        size: u64,
        /// The limit of its class.
        limit: u64,
    },
    /// The peer sent what no node of this version sends. Give up on the stream.
    #[error("malformed {what} from the peer")]
    Malformed {
        /// What it should have been.
        what: &'static str,
    },
    /// The call's deadline has passed. Retry if the request may be done twice or `is_sent` is false.
    #[error("no answer within {} ms{}", waited.as_millis(), if *is_sent { "" } else { ", and the request was not sent" })]
    Deadline {
        /// The deadline that was given.
        waited: Duration,
        /// Whether the request may have reached the peer.
        is_sent: bool,
    },
    /// The peer took the request and chose to give no answer to it.
    #[error("the peer declined to answer")]
    NoAnswer,
    /// This node cannot run like this: a taken port, a wrong secret file, a socket that broke. Stop the node.
    #[error("{what}")]
    Fatal {
        /// What is wrong, with names and numbers.
        what: String,
        /// What the system said, if it was the system.
        #[source]
        source: Option<Arc<io::Error>>,
    },
}

impl Error {
    /// Tells whether the peer surely has not seen what was to be sent.
    #[must_use]
    pub fn effect_is_none(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Fatal { .. } => true,
            Self::TooLarge { .. } | Self::NotSent { .. } => true,
            Self::Deadline { is_sent, .. } => !is_sent,
            Self::Closed { .. } | Self::Malformed { .. } | Self::NoAnswer => false,
        }
    }

    pub(super) fn closed(reason: impl Into<String>) -> Self {
        Self::Closed { reason: reason.into() }
    }

    pub(super) fn fatal(what: impl Into<String>) -> Self {
        Self::Fatal { what: what.into(), source: None }
    }

    pub(super) fn fatal_io(what: impl Into<String>, source: io::Error) -> Self {
        let what = format!("{}: {source}", what.into());
        Self::Fatal { what, source: Some(Arc::new(source)) }
    }
}
