//! The frames of a lane.
//!
//! ```text
//! message   0x00 | kind u8 | count id u64 | position u64 | channel length u32 | channel | payload       big-endian
//! control   0x01 | Control, by codec                                                     at most 1 MiB
//! request, reply   0x02 and 0x03, see `requests/frame.rs`
//! ```
//!
//! Owns their bytes. Does not send them. A message's frame is the same for every peer, so it is encoded once; its sequence
//! number in a lane comes by the [`Control::Run`] before it. Invariant: no bytes from a peer make decoding panic, and a decoded
//! message shares its frame's memory.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::Kind;
use super::interest::Name;
use super::requests::frame;
use crate::codec;

const MESSAGE: u8 = 0;
const CONTROL: u8 = 1;
const CHANNEL: u8 = 0;
const SHARDED: u8 = 1;
/// The bytes of a message's frame before the channel.
const HEADER: usize = 1 + 1 + 8 + 8 + 4;
/// The most bytes of a control frame: what one may make this node allocate stays a small multiple of it.
const CONTROL_MAX: usize = 1024 * 1024;
/// Lists are cut into pieces of about this many bytes, so that they fit control frames.
pub(super) const PIECE_MAX: usize = 256 * 1024;
/// The most names in one prune or graft.
pub(super) const NAMES_MAX: usize = PIECE_MAX / 8 + 2;

/// Everything that goes over a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Something was published.
    Message(Publication),
    /// Anything else.
    Control(Control),
    /// A request to a responder.
    Request(frame::Request),
    /// The reply to one.
    Reply(frame::Reply),
}

/// A message on its way to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) kind: Kind,
    /// Not zero: the publisher wants to know how many subscriptions it reached.
    pub(super) count_id: u64,
    /// The log position of the last write of the publisher's node.
    pub(super) position: u64,
    pub(super) channel: Bytes,
    pub(super) payload: Bytes,
}

/// What a lane carries beside messages. The publisher says the first five and the last one, the listener the others, on the
/// way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Control {
    /// The first frame of a stream.
    Hello(Hello),
    /// The messages that follow are numbered from `first` on, each one higher, until the next run.
    Run { first: u64 },
    /// Have a lane to this node and say there [`Control::Attached`].
    Attach { id: u64 },
    /// What is published from now on comes by this lane.
    Attached { id: u64 },
    /// Please answer.
    Query { id: u64, question: Question },
    /// How many subscriptions messages have reached, by their count ids.
    Counts(Vec<(u64, u64)>),
    /// A piece of the answer to a query.
    Answer { id: u64, answer: Answer, is_last: bool },
    /// Is there a responder to this channel? Said by the publisher, for one of its requests.
    Seek { id: u64, channel: Bytes },
    /// The answer to it.
    Sought { id: u64, is_here: bool },
    /// There will be no reply to a request.
    Refused { id: u64, refusal: frame::Refusal },
    /// Nobody here listens to these channels: do not send what is published to them.
    Prune { names: Vec<Name> },
    /// Somebody here is about to listen to these: send it again from now on, and say so.
    Graft { id: u64, names: Vec<Name> },
    /// What is published from now on to the channels of that graft comes by this lane. `attempt` is that of the stream
    /// by which the graft came; on any other stream this says nothing.
    Grafted { attempt: u64, id: u64 },
}

/// Where a lane's stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The publisher's start. With `attempt` it says which of two streams is the newer one.
    pub(super) generation: u64,
    /// Grows with every stream that the publisher opens.
    pub(super) attempt: u64,
    /// Which lane this is. The numbers of messages go on from one stream to the next of the same lane.
    pub(super) lane: u64,
    /// The number of the first message that may come.
    pub(super) next: u64,
}

/// What a node may be asked about its own subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    /// Which names somebody listens to.
    Names { kind: Kind, pattern: Option<Bytes> },
    /// How many listen to each of these.
    Counts { kind: Kind, channels: Vec<Bytes> },
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// To [`Question::Names`].
    Names(Vec<Bytes>),
    /// To [`Question::Counts`], in the same order.
    Counts(Vec<u64>),
}

/// Bytes that no node of this version sends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("message frame of {0} bytes is cut short")]
    Short(usize),
    #[error("unknown frame {0}")]
    Unknown(u8),
    #[error("control frame of {0} bytes exceeds the limit of {CONTROL_MAX} bytes")]
    TooLarge(usize),
    #[error("malformed control frame: {0}")]
    Malformed(#[from] codec::Error),
}

/// Encodes a message and gives its frame.
pub(super) fn message(
    kind: Kind,
    count_id: u64,
    position: u64,
    channel: &[u8],
    payload: &[u8],
) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + channel.len() + payload.len());
    frame.put_u8(MESSAGE);
    frame.put_u8(if kind == Kind::Sharded { SHARDED } else { CHANNEL });
    frame.put_u64(count_id);
    frame.put_u64(position);
    frame.put_u32(u32::try_from(channel.len()).unwrap_or(u32::MAX));
    frame.put_slice(channel);
    frame.put_slice(payload);
    frame.freeze()
}

/// Gives the channel, of `length` bytes, and the payload of a frame that [`message`] made, sharing its memory.
pub(super) fn parts_of(frame: &Bytes, length: usize) -> (Bytes, Bytes) {
    let start = HEADER + length;
    (frame.slice(HEADER..start), frame.slice(start..))
}

/// Encodes anything else.
pub(super) fn control(control: &Control) -> Bytes {
    let mut frame = BytesMut::with_capacity(32);
    frame.put_u8(CONTROL);
    codec::encode_into(control, &mut frame);
    frame.freeze()
}

/// Decodes one frame.
pub(super) fn decode(mut frame: Bytes) -> Result<Frame, Error> {
    let size = frame.len();
    match frame.try_get_u8().map_err(|_| Error::Short(size))? {
        MESSAGE => publication(frame).ok_or(Error::Short(size)).map(Frame::Message),
        CONTROL if size > CONTROL_MAX => Err(Error::TooLarge(size)),
        CONTROL => Ok(Frame::Control(codec::decode(&frame)?)),
        frame::REQUEST => {
            frame::decode_request(frame).ok_or(Error::Short(size)).map(Frame::Request)
        }
        frame::REPLY => frame::decode_reply(frame).ok_or(Error::Short(size)).map(Frame::Reply),
        other => Err(Error::Unknown(other)),
    }
}

fn publication(mut frame: Bytes) -> Option<Publication> {
    let kind = match frame.try_get_u8().ok()? {
        CHANNEL => Kind::Channel,
        SHARDED => Kind::Sharded,
        _ => return None,
    };
    let count_id = frame.try_get_u64().ok()?;
    let position = frame.try_get_u64().ok()?;
    let length = usize::try_from(frame.try_get_u32().ok()?).ok()?;
    if length > frame.len() {
        return None;
    }
    let channel = frame.split_to(length);
    Some(Publication { kind, count_id, position, channel, payload: frame })
}

/// Cuts a list into pieces of about [`PIECE_MAX`] bytes and no more than [`NAMES_MAX`] names; at least one, perhaps empty.
pub(super) fn pieces<T>(names: Vec<T>, length: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut size = 0;
    for name in names {
        if size > PIECE_MAX {
            pieces.push(std::mem::take(&mut piece));
            size = 0;
        }
        size += length(&name) + size_of::<u64>();
        piece.push(name);
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[track_caller]
    fn check(frame: Frame, golden: &str) {
        let bytes = match &frame {
            Frame::Message(m) => message(m.kind, m.count_id, m.position, &m.channel, &m.payload),
            Frame::Control(c) => control(c),
            Frame::Request(r) => frame::request(r.attempt, r.id, &r.channel, &r.payload),
            Frame::Reply(r) => frame::reply(r.id, &r.payload),
        };
        assert_eq!(hex(&bytes), golden);
        assert_eq!(decode(bytes).unwrap(), frame);
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn format_is_golden() {
        let (channel, payload) = (bytes("news"), bytes("hi"));
        let publication =
            Publication { kind: Kind::Channel, count_id: 0, position: 0, channel, payload };
        check(
            Frame::Message(publication),
            "000000000000000000000000000000000000000000046e6577736869",
        );
        let (channel, payload) = (bytes(""), bytes(""));
        let publication =
            Publication { kind: Kind::Sharded, count_id: 258, position: 3, channel, payload };
        check(Frame::Message(publication), "00010000000000000102000000000000000300000000");
        let hello = Hello { generation: 300, attempt: 2, lane: 1, next: 7 };
        check(Frame::Control(Control::Hello(hello)), "010100fb2c01020107");
        check(Frame::Control(Control::Run { first: 5 }), "01010105");
        check(Frame::Control(Control::Attach { id: 9 }), "01010209");
        check(Frame::Control(Control::Attached { id: 9 }), "01010309");
        let question = Question::Names { kind: Kind::Channel, pattern: Some(bytes("a*")) };
        check(Frame::Control(Control::Query { id: 1, question }), "0101040100000102612a");
        let question = Question::Counts { kind: Kind::Sharded, channels: vec![bytes("a")] };
        check(
            Frame::Control(Control::Query { id: 1, question }),
            "0101040101020101 61".replace(' ', "").as_str(),
        );
        check(Frame::Control(Control::Counts(vec![(1, 2), (3, 4)])), "0101050201020304");
        let answer = Answer::Names(vec![bytes("a"), bytes("")]);
        check(
            Frame::Control(Control::Answer { id: 1, answer, is_last: true }),
            "0101060100020161 0001".replace(' ', "").as_str(),
        );
        let answer = Answer::Counts(vec![3]);
        check(
            Frame::Control(Control::Answer { id: 1, answer, is_last: false }),
            "0101060101010300",
        );
        let names = vec![(Kind::Channel, bytes("a")), (Kind::Sharded, bytes("bc"))];
        check(Frame::Control(Control::Prune { names: names.clone() }), "01010a0200016102026263");
        check(Frame::Control(Control::Graft { id: 5, names }), "01010b050200016102026263");
        check(Frame::Control(Control::Grafted { attempt: 300, id: 5 }), "01010cfb2c0105");
    }

    #[test]
    fn as_many_names_as_there_may_be_fit_a_frame() {
        for length in [0, 1, 7, 1_000, 512 * 1024] {
            let name = (Kind::Channel, Bytes::from(vec![7; length]));
            let names = vec![name; (1 << 20) / length.max(8)];
            for names in pieces(names, |(_, name)| name.len()) {
                assert!(names.len() <= NAMES_MAX, "{}", names.len());
                assert!(decode(control(&Control::Graft { id: u64::MAX, names })).is_ok());
            }
        }
    }

    #[test]
    fn large_lists_go_in_pieces_that_fit() {
        let names: Vec<Bytes> = (0..20).map(|_| Bytes::from(vec![7; 64 * 1024])).collect();
        let pieces = pieces(names.clone(), Bytes::len);
        assert!(pieces.len() > 1);
        assert_eq!(pieces.concat(), names);
        for piece in pieces {
            let answer = Answer::Names(piece);
            let frame = control(&Control::Answer { id: 1, answer, is_last: false });
            assert!(decode(frame).is_ok());
        }
        assert_eq!(super::pieces(Vec::new(), Bytes::len), [Vec::<Bytes>::new()]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _refused = decode(Bytes::from(bytes));
        }

        #[test]
        fn any_control_like_bytes_are_decoded_or_refused(
            variant in 0_u8..14,
            rest in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _refused = decode(Bytes::from([&[CONTROL, codec::VERSION, variant], &rest[..]].concat()));
        }
    }
}
