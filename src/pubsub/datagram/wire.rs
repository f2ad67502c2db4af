//! The bytes of an unreliable message.
//!
//! ```text
//! generation u64 | lane u64 | number u64 | position u64 | kind u8 | channel length u16 | channel | payload      big-endian
//! ```
//!
//! Owns them. Does not send them. Invariant: no bytes from a peer make decoding panic, and what is decoded shares the
//! datagram's memory.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::pubsub::Kind;
use crate::transport::DATAGRAM_MAX;

const CHANNEL: u8 = 0;
const SHARDED: u8 = 1;
/// The bytes before the channel.
const HEADER: usize = 4 * 8 + 1 + 2;
/// The most bytes that the channel's name and the payload of an unreliable message may have together.
pub const UNRELIABLE_MAX: usize = 1_100;

const _: () = assert!(HEADER + UNRELIABLE_MAX <= DATAGRAM_MAX);

/// Whose numbers a message has: those of one lane of one start of the publisher. The greater one is the later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) generation: u64,
    pub(crate) lane: u64,
}

/// A message on its way to another node, which may not get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreliable {
    pub(crate) source: Source,
    /// Grows with every message of the source.
    pub(crate) number: u64,
    /// The log position of the last write of the publisher's node.
    pub(crate) position: u64,
    pub(crate) kind: Kind,
    pub(crate) channel: Bytes,
    pub(crate) payload: Bytes,
}

/// Encodes a message with room for what the transport adds. Channel and payload are no larger than [`UNRELIABLE_MAX`].
pub(super) fn encode(
    source: Source,
    number: u64,
    position: u64,
    kind: Kind,
    channel: &[u8],
    payload: &[u8],
) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEADER + channel.len() + payload.len() + 1);
    bytes.put_u64(source.generation);
    bytes.put_u64(source.lane);
    bytes.put_u64(number);
    bytes.put_u64(position);
    bytes.put_u8(if kind == Kind::Sharded { SHARDED } else { CHANNEL });
    bytes.put_u16(u16::try_from(channel.len()).unwrap_or(u16::MAX));
    bytes.put_slice(channel);
    bytes.put_slice(payload);
    bytes
}

/// Decodes a message; none when no node of this version sends such bytes.
pub(super) fn decode(mut bytes: Bytes) -> Option<Unreliable> {
    let source = Source { generation: bytes.try_get_u64().ok()?, lane: bytes.try_get_u64().ok()? };
    let (number, position) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
    let kind = match bytes.try_get_u8().ok()? {
        CHANNEL => Kind::Channel,
        SHARDED => Kind::Sharded,
        _ => return None,
    };
    let length = usize::from(bytes.try_get_u16().ok()?);
    if length > bytes.len() {
        return None;
    }
    let channel = bytes.split_to(length);
    Some(Unreliable { source, number, position, kind, channel, payload: bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn format_is_golden() {
        let source = Source { generation: 1, lane: 2 };
        let bytes = encode(source, 3, 4, Kind::Sharded, b"ch", b"p").freeze();
        let golden = "00000000000000010000000000000002000000000000000300000000000000040100026368\
                      70";
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.replace(' ', ""));
        let (channel, payload) = (Bytes::from_static(b"ch"), Bytes::from_static(b"p"));
        let (number, position, kind) = (3, 4, Kind::Sharded);
        let decoded = Unreliable { source, number, position, kind, channel, payload };
        assert_eq!(decode(bytes.clone()), Some(decoded));
        for end in 0..HEADER + 2 {
            assert_eq!(decode(bytes.slice(..end)), None);
        }
    }

    #[test]
    fn the_largest_message_fits() {
        let channel = [0; UNRELIABLE_MAX];
        let bytes = encode(Source::default(), 0, 0, Kind::Channel, &channel, b"");
        assert!(bytes.len() <= DATAGRAM_MAX);
        assert_eq!(decode(bytes.freeze()).unwrap().channel.len(), UNRELIABLE_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _refused = decode(Bytes::from(bytes));
        }
    }
}
