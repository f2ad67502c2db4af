//! The socket of one connection, with what has arrived and is not yet a request.
//!
//! Owns reading, writing, and when a client is too slow. Understands nothing of what passes. Invariant: it reads only when
//! asked to, so that a client which does not take its replies is not read from.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::drive::End;
use crate::resp::{Decoder, Limits, ProtocolError};

/// How many bytes are read at least, if they are there.
const READ_MIN: usize = 4 * 1024;
/// How many bytes are read at once when the last read filled its room.
const READ_MAX: usize = 64 * 1024;
/// An empty buffer of more than this is given back.
const IDLE_BUFFER_MAX: usize = 64 * 1024;

/// A socket and its read buffer.
pub(super) struct Wire {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
    read_next: usize,
    /// When something last came.
    pub(super) last_read: Instant,
    /// Since when the client takes nothing of what waits for it.
    pub(super) stalled_since: Option<Instant>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, limits: Limits) -> Self {
        Self {
            stream,
            decoder: Decoder::new(limits),
            input: BytesMut::new(),
            read_next: READ_MIN,
            last_read: Instant::now(),
            stalled_since: None,
        }
    }

    /// Says whether the client has authenticated; until then it may send less.
    pub(super) const fn set_authenticated(&mut self, is_authenticated: bool) {
        self.decoder.set_authenticated(is_authenticated);
    }

    /// Takes the next request off what has arrived.
    pub(super) fn decode(&mut self) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        self.decoder.decode(&mut self.input)
    }

    /// How many bytes have arrived and are no request yet.
    pub(super) fn waiting(&self) -> usize {
        self.input.len()
    }

    /// Writes as much of `out` as the client takes now.
    pub(super) fn write(&mut self, out: &mut BytesMut) -> Result<(), End> {
        while !out.is_empty() {
            match self.stream.try_write(out) {
                Ok(0) => return Err(End::Disconnected),
                Ok(count) => {
                    out.advance(count);
                    self.stalled_since = None;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(error) => return Err(lost(error)),
            }
        }
        give_back_if_large(out);
        Ok(())
    }

    /// When a client that takes nothing is given up.
    pub(super) fn stall_deadline(&self, timeout: Duration) -> Option<Instant> {
        self.stalled_since.and_then(|since| since.checked_add(timeout))
    }

    /// Waits until there is something to read, if asked to, or until `out` can be written; then reads and writes what goes.
    ///
    /// Cancel safety: safe; bytes are moved only when it returns.
    pub(super) async fn ready(&self, reads: bool, writes: bool) -> Result<tokio::io::Ready, End> {
        let interest = match (reads, writes) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return std::future::pending().await,
        };
        self.stream.ready(interest).await.map_err(lost)
    }

    /// Reads once.
    pub(super) fn read(&mut self) -> Result<(), End> {
        if self.input.is_empty() {
            give_back_if_large(&mut self.input);
        }
        self.input.reserve(self.read_next);
        let room = self.input.capacity().saturating_sub(self.input.len());
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => Err(End::Disconnected),
            Ok(count) => {
                self.read_next = if count == room { READ_MAX } else { READ_MIN };
                self.last_read = Instant::now();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(lost(error)),
        }
    }
}

/// Drops the memory of an empty buffer that has become large. Its capacity alone does not tell: what was consumed at the
/// front does not count in it.
fn give_back_if_large(buffer: &mut BytesMut) {
    if buffer.try_reclaim(IDLE_BUFFER_MAX.saturating_add(1)) {
        *buffer = BytesMut::new();
    }
}

fn lost(error: io::Error) -> End {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let is_gone = matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted);
    if is_gone { End::Disconnected } else { End::Io(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_given_back_though_its_front_was_consumed() {
        let mut buffer = BytesMut::from(&vec![0; IDLE_BUFFER_MAX * 4][..]);
        buffer.advance(IDLE_BUFFER_MAX * 4);
        give_back_if_large(&mut buffer);
        assert!(!buffer.try_reclaim(1));
        let mut small = BytesMut::with_capacity(1_024);
        give_back_if_large(&mut small);
        assert!(small.capacity() >= 1_024);
    }
}
