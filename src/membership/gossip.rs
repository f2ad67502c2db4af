//! Carries the gossip engine's messages: out through what was handed in from above, in through a bounded inbox.
//!
//! Owns the bytes of a message. Does not know the network. Invariant: nothing here makes the engine wait or fail, for it would
//! stop gossiping for ever; a lost message is repeated by the next round.

use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::{ChitchatMessage, Deserializable as _, Serializable as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Error;

/// How many messages wait for the engine.
const INBOX_MAX: usize = 1_024;

/// The way to the other nodes: sends a message to the node that advertises an address, or drops it. It must not wait.
#[derive(Clone)]
pub struct Wire(Arc<dyn Fn(SocketAddr, Bytes) + Send + Sync>);

impl Wire {
    /// Makes a wire of what sends or drops one message.
    #[must_use]
    pub fn new(send: impl Fn(SocketAddr, Bytes) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// A message and the advertised address of the node it came from.
type Received = (SocketAddr, ChitchatMessage);

/// Where messages for the engine are put.
#[derive(Debug)]
pub(super) struct Inbox(mpsc::Sender<Received>);

impl Inbox {
    /// Takes one message in, or drops it when the engine is behind.
    pub(super) fn put(&self, from: SocketAddr, bytes: &[u8]) -> Result<(), Error> {
        let message = decoded(bytes).ok_or(Error::Malformed { size: bytes.len() })?;
        // A full inbox drops: the next round says the same and more.
        let _dropped = self.0.try_send((from, message));
        Ok(())
    }
}

/// What the engine opens.
pub(super) struct Gossip {
    wire: Wire,
    inbox: Mutex<Option<mpsc::Receiver<Received>>>,
}

impl Gossip {
    pub(super) fn new(wire: Wire) -> (Self, Inbox) {
        let (inbox_tx, inbox) = mpsc::channel(INBOX_MAX);
        (Self { wire, inbox: Mutex::new(Some(inbox)) }, Inbox(inbox_tx))
    }
}

/// Decodes a message that is all of `bytes`. The engine's decoder has no promise not to panic.
fn decoded(bytes: &[u8]) -> Option<ChitchatMessage> {
    let mut rest = bytes;
    let message = catch_unwind(AssertUnwindSafe(|| ChitchatMessage::deserialize(&mut rest).ok()));
    message.ok().flatten().filter(|_| rest.is_empty())
}

#[async_trait]
impl chitchat::transport::Transport for Gossip {
    async fn open(
        &self,
        listen_addr: SocketAddr,
    ) -> anyhow::Result<Box<dyn chitchat::transport::Socket>> {
        let inbox = self.inbox.lock().take();
        let inbox = inbox.ok_or_else(|| anyhow::anyhow!("{listen_addr} is open already"))?;
        Ok(Box::new(Socket { wire: self.wire.clone(), inbox }))
    }
}

/// What the engine holds.
struct Socket {
    wire: Wire,
    inbox: mpsc::Receiver<Received>,
}

#[async_trait]
impl chitchat::transport::Socket for Socket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        (self.wire.0)(to, message.serialize_to_vec().into());
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<Received> {
        match self.inbox.recv().await {
            Some(received) => Ok(received),
            // Nobody can put anything in any more; that must not end the engine.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_no_message() {
        for nonsense in [&b""[..], b"x", &[0xff; 200], &[0; 200]] {
            assert!(decoded(nonsense).is_none());
        }
        let mut bytes = ChitchatMessage::BadCluster.serialize_to_vec();
        assert!(decoded(&bytes).is_some());
        bytes.push(0);
        assert!(decoded(&bytes).is_none());
    }
}
