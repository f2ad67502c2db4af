//! One stream from its opening: the first frame that says what it is for, and the limits that follow from it.
//!
//! Owns the bytes of that first frame. Does not decide who gets the stream. Invariant: every stream but the hello's begins
//! with one.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::calls::HEADER;
use super::frame::{FrameReceiver, FrameSender};
use super::{Config, Error, Purpose};
use crate::codec;

/// The most bytes of a first frame.
pub(super) const OPENING_MAX: usize = 64;

/// What a stream's first frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) purpose: Purpose,
    pub(super) is_calls: bool,
}

impl Opening {
    pub(super) fn encode(self) -> Bytes {
        codec::encode(&self)
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Self, Error> {
        codec::decode(frame).map_err(|_| Error::Malformed { what: "purpose of a stream" })
    }

    /// Gives the largest frame of the stream.
    pub(super) fn limit(self, config: &Config) -> usize {
        let limit = config.frame_max.of(self.purpose.class);
        if self.is_calls { limit.saturating_add(HEADER) } else { limit }
    }

    /// Makes the accepting side's ends of the stream.
    pub(super) fn ends(
        self,
        config: &Config,
        stream: quinn::SendStream,
        mut receiver: FrameReceiver,
        address: SocketAddr,
    ) -> (FrameSender, FrameReceiver) {
        let class = self.purpose.class;
        let limit = self.limit(config);
        prioritize(&stream, self);
        receiver.set_class(class, limit);
        (FrameSender::new(stream, address, class, limit), receiver)
    }
}

/// Gives the stream its class's place among those that wait.
pub(super) fn prioritize(stream: &quinn::SendStream, opening: Opening) {
    // A stream that is closed already needs no place.
    let _closed = stream.set_priority(opening.purpose.class.priority());
}
