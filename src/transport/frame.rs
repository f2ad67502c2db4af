//! Frames on a stream: a length and that many bytes.
//!
//! ```text
//! +----------------------+-----------------+
//! | length: u32, big end | length × byte   |   and so on
//! +----------------------+-----------------+
//! ```
//!
//! Owns the two ends of a stream. Does not know what is in a frame. Invariant: a frame is judged by its length before
//! anything is allocated for it, and a stream that lost a part of a frame carries no more frames.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::time::timeout;

use super::close::{self, ABANDONED, MALFORMED};
use super::{Class, Error};

const PREFIX: usize = 4;
/// Frames below this are copied together; larger ones are handed over as they are.
const COPY_MAX: usize = 2 * 1024;
/// Pieces taken from the connection in one go.
const PIECES: usize = 32;

/// The sending end of a stream. Dropped without [`FrameSender::finish`], it tells the peer that the stream broke.
#[derive(Debug)]
pub struct FrameSender {
    stream: quinn::SendStream,
    address: SocketAddr,
    class: Class,
    limit: usize,
    /// True while a write is under way, and for ever when one was cancelled or failed midway.
    is_torn: bool,
    is_finished: bool,
}

impl FrameSender {
    pub(super) const fn new(
        stream: quinn::SendStream,
        address: SocketAddr,
        class: Class,
        limit: usize,
    ) -> Self {
        Self { stream, address, class, limit, is_torn: false, is_finished: false }
    }

    /// Sends one frame. Returns when it is in this node's send buffer, which says nothing about the peer.
    ///
    /// # Errors
    /// [`Error::TooLarge`] leaves the stream as it was; after any other the stream is over.
    ///
    /// # Cancel safety
    /// None: a cancelled send ends the stream.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), Error> {
        self.send_all(&mut vec![frame]).await
    }

    /// Sends many frames in one write and leaves `frames` empty. Nothing is sent when one of them is too large.
    ///
    /// # Errors
    /// As [`FrameSender::send`].
    ///
    /// # Cancel safety
    /// None: a cancelled send ends the stream.
    pub async fn send_all(&mut self, frames: &mut Vec<Bytes>) -> Result<(), Error> {
        self.write(frames, None).await
    }

    /// Sends many frames like [`FrameSender::send_all`], and gives up when none of their bytes could go on for as long as `still_max`:
    /// over a slow link a large frame may take many times that.
    ///
    /// # Errors
    /// As [`FrameSender::send`], and [`Error::Closed`] when they stand still.
    ///
    /// # Cancel safety
    /// None: a cancelled send ends the stream.
    pub async fn send_moving(
        &mut self,
        frames: &mut Vec<Bytes>,
        still_max: Duration,
    ) -> Result<(), Error> {
        self.write(frames, Some(still_max)).await
    }

    async fn write(
        &mut self,
        frames: &mut Vec<Bytes>,
        still_max: Option<Duration>,
    ) -> Result<(), Error> {
        if self.is_torn || self.is_finished {
            return Err(Error::closed("the stream ended in an earlier send"));
        }
        let too_large = frames.iter().find(|frame| frame.len() > self.limit);
        if let Some(frame) = too_large {
            let (size, limit) = (frame.len() as u64, self.limit as u64);
            return Err(Error::TooLarge { class: self.class, size, limit });
        }
        let mut chunks = gathered(frames);
        self.is_torn = true;
        let mut left = &mut chunks[..];
        while !left.is_empty() {
            let writing = self.stream.write_chunks(left);
            let written = match still_max {
                Some(still_max) => timeout(still_max, writing).await.map_err(|_| {
                    Error::closed(format!("{} took nothing for {still_max:?}", self.address))
                })?,
                None => writing.await,
            };
            let written = written.map_err(|e| close::of_write(&e, self.address))?;
            left = &mut left[written.chunks..];
        }
        self.is_torn = false;
        Ok(())
    }

    /// Ends the stream cleanly: the peer receives every frame and then the end.
    pub fn finish(&mut self) {
        if !self.is_torn && !self.is_finished {
            self.is_finished = true;
            // A stream that is closed already has nothing left to end.
            let _closed = self.stream.finish();
        }
    }

    /// Gives the most bytes that one frame may have.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Waits until the peer no longer reads this stream, or its connection has ended.
    pub async fn stopped(&self) {
        // Either outcome means the same here.
        let _outcome = self.stream.stopped().await;
    }
}

impl Drop for FrameSender {
    fn drop(&mut self) {
        if !self.is_finished {
            // A stream that is closed already needs no reset.
            let _closed = self.stream.reset(ABANDONED);
        }
    }
}

/// Drains `frames` into chunks with their lengths in front; small ones share a chunk.
fn gathered(frames: &mut Vec<Bytes>) -> Vec<Bytes> {
    let small: usize = frames.iter().map(|f| f.len().min(COPY_MAX) + PREFIX).sum();
    let mut chunks = Vec::with_capacity(1);
    let mut pending = BytesMut::with_capacity(small);
    for frame in frames.drain(..) {
        pending.put_u32(u32::try_from(frame.len()).expect("the limit of a class is below 1 GiB"));
        if frame.len() <= COPY_MAX {
            pending.put_slice(&frame);
        } else {
            chunks.push(pending.split().freeze());
            chunks.push(frame);
        }
    }
    if !pending.is_empty() {
        chunks.push(pending.freeze());
    }
    chunks
}

/// The receiving end of a stream. Dropped, it tells the peer to stop sending.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: quinn::RecvStream,
    address: SocketAddr,
    class: Class,
    limit: usize,
    buffer: BytesMut,
    is_over: bool,
}

impl FrameReceiver {
    pub(super) fn new(
        stream: quinn::RecvStream,
        address: SocketAddr,
        class: Class,
        limit: usize,
    ) -> Self {
        Self { stream, address, class, limit, buffer: BytesMut::new(), is_over: false }
    }

    /// Sets the class, once the first frame has told it.
    pub(super) const fn set_class(&mut self, class: Class, limit: usize) {
        self.class = class;
        self.limit = limit;
    }

    /// Receives the next frame; none when the peer has ended the stream cleanly.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the peer announces a frame above the limit, [`Error::Closed`] when the stream broke.
    /// The stream is over in either case.
    ///
    /// # Cancel safety
    /// Safe: what has arrived stays for the next call.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if self.is_over {
                return self.end();
            }
            let mut pieces = [const { Bytes::new() }; PIECES];
            match self.stream.read_chunks(&mut pieces).await {
                Ok(Some(count)) => {
                    pieces.iter().take(count).for_each(|piece| self.buffer.put_slice(piece));
                }
                Ok(None) => self.is_over = true,
                Err(e) => return Err(close::of_read(&e, self.address)),
            }
        }
    }

    /// Receives every frame that has arrived already behind one, at most `max`, without waiting.
    ///
    /// # Errors
    /// [`Error::TooLarge`] as [`FrameReceiver::receive`].
    pub fn receive_ready(&mut self, max: usize) -> Result<Vec<Bytes>, Error> {
        let mut frames = Vec::new();
        while frames.len() < max {
            match self.buffered()? {
                Some(frame) => frames.push(frame),
                None => break,
            }
        }
        Ok(frames)
    }

    /// How many bytes have arrived of the frame that is not there whole yet.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.buffer.len()
    }

    /// How many bytes the frame that is not there whole yet will have; 0 while that is not known.
    #[must_use]
    pub fn awaited(&self) -> usize {
        let length = self.buffer.first_chunk::<PREFIX>().map(|prefix| u32::from_be_bytes(*prefix));
        length.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn end(&self) -> Result<Option<Bytes>, Error> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        Err(Error::closed(format!("{} ended the stream inside a frame", self.address)))
    }

    /// Takes the frame that the buffer begins with, if it is there whole.
    fn buffered(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > self.limit {
            // A stream that is closed already needs no stop.
            let _closed = self.stream.stop(MALFORMED);
            self.is_over = true;
            let (size, limit) = (u64::from(length), self.limit as u64);
            return Err(Error::TooLarge { class: self.class, size, limit });
        }
        if self.buffer.len() - PREFIX < size {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }
}
