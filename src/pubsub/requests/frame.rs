//! The bytes of requests and replies on a lane. The rest of what is said about them are control frames.
//!
//! ```text
//! request   0x02 | attempt u64 | id u64 | channel length u32 | channel | payload          big-endian
//! reply     0x03 | id u64 | payload                                      on the way back
//! ```
//!
//! Does not send them. Invariant: no bytes from a peer make decoding panic, and what is decoded shares its frame's memory.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// The first byte of a request.
pub(in crate::pubsub) const REQUEST: u8 = 2;
/// The first byte of a reply.
pub(in crate::pubsub) const REPLY: u8 = 3;

/// A request on its way to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pubsub) struct Request {
    /// The stream that it is meant for. On another one, whoever asked knows already that it was lost.
    pub(in crate::pubsub) attempt: u64,
    /// What the reply is to be marked with.
    pub(in crate::pubsub) id: u64,
    pub(in crate::pubsub) channel: Bytes,
    pub(in crate::pubsub) payload: Bytes,
}

/// A reply on its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pubsub) struct Reply {
    pub(in crate::pubsub) id: u64,
    pub(in crate::pubsub) payload: Bytes,
}

/// Why there is no reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pubsub) enum Refusal {
    /// Nobody responds to the channel here; nobody has got the request.
    Nobody,
    /// Those who respond have too much to do; nobody has got the request.
    Busy { waiting: u64, limit: u64, is_bytes: bool },
    /// The responder has dropped the request.
    Declined,
    /// There is no room for the reply on the way back.
    TooLarge { size: u64, limit: u64 },
}

/// Encodes a request.
pub(in crate::pubsub) fn request(attempt: u64, id: u64, channel: &[u8], payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + 8 + 8 + 4 + channel.len() + payload.len());
    frame.put_u8(REQUEST);
    frame.put_u64(attempt);
    frame.put_u64(id);
    frame.put_u32(u32::try_from(channel.len()).unwrap_or(u32::MAX));
    frame.put_slice(channel);
    frame.put_slice(payload);
    frame.freeze()
}

/// Encodes a reply.
pub(in crate::pubsub) fn reply(id: u64, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + 8 + payload.len());
    frame.put_u8(REPLY);
    frame.put_u64(id);
    frame.put_slice(payload);
    frame.freeze()
}

/// Decodes a request without its first byte; none when it is cut short.
pub(in crate::pubsub) fn decode_request(mut frame: Bytes) -> Option<Request> {
    let attempt = frame.try_get_u64().ok()?;
    let id = frame.try_get_u64().ok()?;
    let length = usize::try_from(frame.try_get_u32().ok()?).ok()?;
    if length > frame.len() {
        return None;
    }
    let channel = frame.split_to(length);
    Some(Request { attempt, id, channel, payload: frame })
}

/// Decodes a reply without its first byte; none when it is cut short.
pub(in crate::pubsub) fn decode_reply(mut frame: Bytes) -> Option<Reply> {
    let id = frame.try_get_u64().ok()?;
    Some(Reply { id, payload: frame })
}
