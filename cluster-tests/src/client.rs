//! One connection of a Redis client, as plain as can be.
//!
//! Owns: a socket, the bytes that arrived and were not read yet, and the encoding of requests. Does not
//! own: any knowledge of commands; it sends what it is told and hands back what arrives, in order.
//! Invariant: nothing waits without a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::failure::{Failure, Outcome};
use crate::reply::{Reply, decode};

/// How long a reply may take before the server counts as stuck.
pub const REPLY_DEADLINE: Duration = Duration::from_secs(10);
/// How many bytes are asked of the system at once.
const READ_AHEAD: usize = 64 * 1024;

/// What came next on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A whole reply or push.
    Reply(Reply),
    /// The server closed the connection.
    Closed,
    /// Nothing within the time given.
    Nothing,
}

/// A connection to a server that speaks RESP.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    start: usize,
}

impl Client {
    /// Connects to `address`.
    ///
    /// # Errors
    /// When nobody accepts within [`REPLY_DEADLINE`].
    pub async fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = tokio::time::timeout(REPLY_DEADLINE, TcpStream::connect(address))
            .await
            .map_err(|_| Failure::new(format!("{address} did not accept in time")))?
            .map_err(|error| Failure::new(format!("cannot connect to {address}: {error}")))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), start: 0 })
    }

    /// Connects to `address` with a small buffer of the system for what arrives, so that whoever stops reading is noticed soon.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_narrow(address: SocketAddr, receive_buffer: u32) -> Outcome<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_recv_buffer_size(receive_buffer)?;
        let stream = tokio::time::timeout(REPLY_DEADLINE, socket.connect(address))
            .await
            .map_err(|_| Failure::new(format!("{address} did not accept in time")))?
            .map_err(|error| Failure::new(format!("cannot connect to {address}: {error}")))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), start: 0 })
    }

    /// Sends one command and returns its reply.
    ///
    /// # Errors
    /// When the connection ends or the reply does not come in time.
    pub async fn call(&mut self, arguments: &[&[u8]]) -> Outcome<Reply> {
        self.send(&encode(arguments)).await?;
        match self.next(REPLY_DEADLINE).await? {
            Arrival::Reply(reply) => Ok(reply),
            Arrival::Closed => Err(Failure::new("connection closed instead of a reply")),
            Arrival::Nothing => Err(Failure::new(format!("no reply within {REPLY_DEADLINE:?}"))),
        }
    }

    /// Sends a command given as words parted by spaces.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ask(&mut self, line: &str) -> Outcome<Reply> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        self.call(&words).await
    }

    /// Sends raw bytes. A connection that the server has closed is no failure here: the next read tells.
    ///
    /// # Errors
    /// When the server does not take the bytes in time.
    pub async fn send(&mut self, bytes: &[u8]) -> Outcome {
        // Both ways at once: a server may stop reading while its replies are not taken.
        let deadline = Instant::now() + REPLY_DEADLINE;
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let (mut reader, mut writer) = self.stream.split();
            self.unread.reserve(READ_AHEAD);
            let step = async {
                tokio::select! {
                    written = writer.write(rest) => written.map(|count| (count, 0)),
                    read = reader.read_buf(&mut self.unread) => read.map(|count| (0, count)),
                }
            };
            match timeout_at(deadline, step).await {
                Err(_) => return Err(Failure::new(format!("only {sent} bytes were taken"))),
                Ok(Err(_) | Ok((0, 0))) => return Ok(()),
                Ok(Ok((written, _))) => sent += written,
            }
        }
        Ok(())
    }

    /// Waits up to `patience` for the next reply or push.
    ///
    /// # Errors
    /// When what arrives is not RESP.
    pub async fn next(&mut self, patience: Duration) -> Outcome<Arrival> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some((reply, length)) =
                decode(self.unread.get(self.start..).unwrap_or_default())?
            {
                self.start += length;
                if self.start == self.unread.len() {
                    self.unread.clear();
                    self.start = 0;
                }
                return Ok(Arrival::Reply(reply));
            }
            // What was handed out goes, so that a stream which never pauses takes no more and more memory.
            self.unread.drain(..self.start);
            self.start = 0;
            self.unread.reserve(READ_AHEAD);
            match timeout_at(deadline, self.stream.read_buf(&mut self.unread)).await {
                Err(_) => return Ok(Arrival::Nothing),
                // A reset after an error reply is a close, too: unread input makes the kernel send one.
                Ok(Ok(0) | Err(_)) => return Ok(Arrival::Closed),
                Ok(Ok(_)) => {}
            }
        }
    }
}

/// Encodes one command as a RESP array of bulks.
#[must_use]
pub fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
