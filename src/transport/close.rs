//! Why connections and streams end: the codes on the wire, and what they mean to the caller.
//!
//! Owns the application error codes and the reading of QUIC's own errors. Does not close anything itself.
//! Invariant: text from a peer that has not proved who it is reaches a log only shortened and escaped.

use std::net::SocketAddr;

use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::Error;

/// A clean goodbye: the node is leaving or stopping.
pub(super) const GOODBYE: VarInt = VarInt::from_u32(0);
/// The hello was judged and found wanting; the reason says why.
pub(super) const REFUSED: VarInt = VarInt::from_u32(1);
/// The peer sent what no node sends.
pub(super) const MALFORMED: VarInt = VarInt::from_u32(2);
/// The peer has newer connections than this one.
pub(super) const SUPERSEDED: VarInt = VarInt::from_u32(3);
/// A stream was dropped before its end.
pub(super) const ABANDONED: VarInt = VarInt::from_u32(4);

/// The one that closes it had stood still for so long that the other one has most likely given it up.
pub(super) const STOOD_STILL: VarInt = VarInt::from_u32(5);

/// The most bytes of a peer's words that are passed on.
const REASON_MAX: usize = 500;

/// Shortens and escapes words that came over the wire.
pub(super) fn quoted(words: &[u8]) -> String {
    let kept = words.get(..REASON_MAX).unwrap_or(words);
    printable(&String::from_utf8_lossy(kept))
}

/// Escapes what could break a log line or steer a terminal.
fn printable(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for c in words.chars() {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

/// Shortens a reason so that it fits the closing packet.
pub(super) fn shortened(reason: &str) -> &[u8] {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.as_bytes().get(..end).unwrap_or_default()
}

/// Tells whether a QUIC error code is an alert of the TLS handshake.
fn is_alert(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// Takes our verifier's own words (`verify.rs`, `Verdict`) out of the engine's wrapping.
fn verdict(reason: &str) -> String {
    let Some((_, words)) = reason.split_once("Verdict(\"") else {
        return reason.to_owned();
    };
    words.strip_suffix("\")))").unwrap_or(words).replace("\\\"", "\"").replace("\\\\", "\\")
}

/// Reads why the connection to `address` ended.
pub(super) fn of_connection(error: &ConnectionError, address: SocketAddr) -> Error {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == REFUSED => {
            Error::Refused { address, reason: quoted(&close.reason) }
        }
        ConnectionError::ApplicationClosed(close) => {
            let words = quoted(&close.reason);
            Error::closed(match close.error_code {
                GOODBYE => format!("{address} said goodbye: {words}"),
                SUPERSEDED => format!("{address} has a newer connection"),
                STOOD_STILL => format!("{address} had stood still"),
                MALFORMED => format!("{address} could not read what this node sent: {words}"),
                other => format!("{address} closed the connection with code {other}: {words}"),
            })
        }
        ConnectionError::TransportError(e) if is_alert(e.code) => {
            Error::Refused { address, reason: printable(&verdict(&e.reason)) }
        }
        ConnectionError::ConnectionClosed(close) if is_alert(close.error_code) => Error::Refused {
            address,
            reason: format!(
                "the other side refused this node: {}",
                verdict(&quoted(&close.reason))
            ),
        },
        ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            Error::Unreachable { address, reason: "it has too many handshakes under way".into() }
        }
        ConnectionError::VersionMismatch => {
            Error::Refused { address, reason: "it speaks another version of QUIC".into() }
        }
        ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => Error::closed(format!("{address}: {error}")),
    }
}

/// Reads why a dial failed: as [`of_connection`], but what was never up cannot have closed.
pub(super) fn of_dial(error: &ConnectionError, address: SocketAddr) -> Error {
    let error = of_connection(error, address);
    if let Error::Closed { reason } = error {
        return Error::Unreachable { address, reason };
    }
    error
}

/// Reads why no more can be read from a stream.
pub(super) fn of_read(error: &ReadError, address: SocketAddr) -> Error {
    match error {
        ReadError::ConnectionLost(e) => of_connection(e, address),
        ReadError::Reset(_)
        | ReadError::ClosedStream
        | ReadError::IllegalOrderedRead
        | ReadError::ZeroRttRejected => Error::closed(format!("{address}: {error}")),
    }
}

/// Reads why no more can be written to a stream.
pub(super) fn of_write(error: &WriteError, address: SocketAddr) -> Error {
    match error {
        WriteError::ConnectionLost(e) => of_connection(e, address),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            Error::closed(format!("{address}: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_own_words_are_told() {
        let wrapped = "invalid peer certificate: Other(OtherError(Verdict(\"another secret\")))";
        assert_eq!(verdict(wrapped), "another secret");
        assert_eq!(
            verdict("invalid peer certificate: Expired"),
            "invalid peer certificate: Expired"
        );
    }
}
