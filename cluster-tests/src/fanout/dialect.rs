//! What a publisher and a listener say to a server, and what a message looks like when it arrives.
//!
//! Owns: the bytes of RESP2 and of the NATS client protocol, as far as this tool speaks them. Does not own: sockets.
//! Invariant: all messages of one measurement have the same length on the wire, so that a listener only compares and counts.

use crate::client::encode;
use crate::failure::{Failure, Outcome};
use crate::reply::quoted;

/// How long a payload is: eight bytes of its number, and filler.
pub const PAYLOAD: usize = 128;
/// The number of a message that only shows that a subscription is in effect.
pub const PROBE: u64 = u64::MAX;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RESP2.
    Resp,
    /// The text protocol of NATS.
    Nats,
}

/// Gives the payload of a message.
#[must_use]
pub fn payload(number: u64) -> [u8; PAYLOAD] {
    let mut payload = [b'x'; PAYLOAD];
    if let Some(head) = payload.first_chunk_mut() {
        *head = number.to_be_bytes();
    }
    payload
}

/// Gives the number that a payload begins with.
#[must_use]
pub fn number(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|head| u64::from_be_bytes(*head))
}

impl Dialect {
    /// What a client says first, and how the answer ends that shows that it was taken; a publisher listens to nothing.
    #[must_use]
    pub fn greeting(self, listens_to: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        match (self, listens_to) {
            (Self::Resp, Some(channel)) => {
                (encode(&[b"SUBSCRIBE", channel.as_bytes()]), b":1\r\n".to_vec())
            }
            (Self::Resp, None) => (encode(&[b"PING"]), b"+PONG\r\n".to_vec()),
            (Self::Nats, channel) => {
                let options = r#"{"verbose":false,"pedantic":false,"tls_required":false,"lang":"rust","version":"0"}"#;
                let subscribe = channel.map(|channel| format!("SUB {channel} 1\r\n"));
                let text =
                    format!("CONNECT {options}\r\n{}PING\r\n", subscribe.unwrap_or_default());
                (text.into_bytes(), b"PONG\r\n".to_vec())
            }
        }
    }

    /// Appends what a publisher says to publish a message; if `wants_answer`, so that the server answers, which RESP does in
    /// any case.
    pub fn publish(self, channel: &str, of: u64, wants_answer: bool, to: &mut Vec<u8>) {
        let payload = payload(of);
        match self {
            Self::Resp => to.extend(encode(&[b"PUBLISH", channel.as_bytes(), &payload])),
            Self::Nats => {
                to.extend_from_slice(format!("PUB {channel} {PAYLOAD}\r\n").as_bytes());
                to.extend_from_slice(&payload);
                to.extend_from_slice(b"\r\n");
                if wants_answer {
                    to.extend_from_slice(b"PING\r\n");
                }
            }
        }
    }

    /// Gives a byte that stands once in each answer to a publisher, and nowhere else.
    #[must_use]
    pub const fn answer_mark(self) -> u8 {
        match self {
            Self::Resp => b':',
            // Of PONG; the server's own PING has none.
            Self::Nats => b'O',
        }
    }

    /// Gives the shape of arriving messages.
    #[must_use]
    pub fn frame(self, channel: &str) -> Frame {
        let head = match self {
            Self::Resp => {
                let length = channel.len();
                format!("*3\r\n$7\r\nmessage\r\n${length}\r\n{channel}\r\n${PAYLOAD}\r\n")
            }
            Self::Nats => format!("MSG {channel} 1 {PAYLOAD}\r\n"),
        };
        Frame { length: head.len() + PAYLOAD + 2, head: head.into_bytes() }
    }
}

/// The shape of an arriving message: the same bytes each time, and then the payload.
#[derive(Debug, Clone)]
pub struct Frame {
    head: Vec<u8>,
    length: usize,
}

impl Frame {
    /// Shows the numbers of all messages that are whole in `bytes`, and gives how many bytes they took.
    ///
    /// # Errors
    /// When something else arrives.
    pub fn take(&self, bytes: &[u8], mut visit: impl FnMut(u64) -> Outcome) -> Outcome<usize> {
        const PING: &[u8] = b"PING\r\n";
        let mut rest = bytes;
        while rest.len() >= PING.len() {
            if let Some(after) = rest.strip_prefix(PING) {
                // A NATS server looks whether its client is there; it asks too rarely to miss an answer.
                rest = after;
                continue;
            }
            let Some((message, after)) = rest.split_at_checked(self.length) else { break };
            let number = message.strip_prefix(self.head.as_slice()).and_then(number);
            let Some(number) = number else {
                return Err(Failure::new(format!("no message begins with {}", quoted(message))));
            };
            visit(number)?;
            rest = after;
        }
        Ok(bytes.len() - rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_the_stream_is_cut() {
        let payload = |number| String::from_utf8(payload(number).to_vec()).unwrap();
        for (dialect, one, ping) in [
            (Dialect::Resp, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$128\r\n", ""),
            (Dialect::Nats, "MSG c 1 128\r\n", "PING\r\n"),
        ] {
            let text = format!("{one}{}\r\n{ping}{one}{}\r\n", payload(7), payload(8));
            let bytes = text.as_bytes();
            for cut in 0..=bytes.len() {
                let (mut numbers, frame) = (Vec::new(), dialect.frame("c"));
                let mut visit = |number| {
                    numbers.push(number);
                    Ok(())
                };
                let used = frame.take(&bytes[..cut], &mut visit).unwrap();
                let all = frame.take(&bytes[used..], &mut visit).unwrap();
                assert_eq!((numbers, used + all), (vec![7, 8], bytes.len()), "cut at {cut}");
            }
        }
        assert!(Dialect::Resp.frame("c").take(&[b'-'; 300], |_| Ok(())).is_err());
    }
}
