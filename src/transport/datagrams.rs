//! Single messages that may be lost: QUIC datagrams, on links that are up and on no others.
//!
//! ```text
//! body | class u8          at most DATAGRAM_MAX + 1 bytes, which fit one packet of 1,200 bytes, the least that QUIC demands of a path
//! ```
//!
//! Owns their bytes, the bounded inbox of those that come in, and the counts of all that is dropped here. Does not dial, repeat or
//! order anything. Invariant: neither sending nor receiving ever waits for the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::{Class, Error, Peer, Remote, Shared};

/// The most bytes of one datagram's body. A packet of 1,200 bytes has 1,162 for it and the class.
pub const DATAGRAM_MAX: usize = 1_150;
/// How many datagrams may wait for the node; more are dropped.
const INBOX_MAX: usize = 4_096;

/// A datagram from a peer.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub remote: Arc<Remote>,
    /// What it is for.
    pub class: Class,
    /// What it says; has its memory for itself.
    pub body: Bytes,
}

/// The datagrams that peers send to this node, in the order in which they came.
#[derive(Debug)]
pub struct Datagrams(mpsc::Receiver<Datagram>);

impl Datagrams {
    /// Waits for datagrams and appends no more than `most` of them to `datagrams`; gives how many. None come any more when it
    /// is 0.
    ///
    /// # Cancel safety
    /// Safe: datagrams are taken only when they are given.
    pub async fn receive(&mut self, datagrams: &mut Vec<Datagram>, most: usize) -> usize {
        self.0.recv_many(datagrams, most).await
    }
}

/// How datagrams have fared at this node since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramReport {
    /// How many were given to links.
    pub sent: u64,
    /// How many times an older one that was not sent yet had to make room for a new one.
    pub displaced: u64,
    /// How many were not sent because datagrams had taken a link for themselves for too long.
    pub held_back: u64,
    /// How many came.
    pub received: u64,
    /// How many of those were dropped because too many waited for this node.
    pub overflowed: u64,
    /// How many of those no node of this version sends.
    pub malformed: u64,
}

/// The counts, and the inbox.
#[derive(Debug)]
pub(super) struct Mail {
    sent: AtomicU64,
    displaced: AtomicU64,
    held_back: AtomicU64,
    received: AtomicU64,
    overflowed: AtomicU64,
    malformed: AtomicU64,
    inbox_tx: mpsc::Sender<Datagram>,
    inbox: parking_lot::Mutex<Option<Datagrams>>,
}

impl Default for Mail {
    fn default() -> Self {
        let (inbox_tx, inbox) = mpsc::channel(INBOX_MAX);
        Self {
            sent: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
            received: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            inbox_tx,
            inbox: parking_lot::Mutex::new(Some(Datagrams(inbox))),
        }
    }
}

impl Mail {
    /// Gives the inbox; taken a second time, nothing comes out of it.
    pub(super) fn take_inbox(&self) -> Datagrams {
        self.inbox.lock().take().unwrap_or_else(|| Datagrams(mpsc::channel(1).1))
    }

    pub(super) fn report(&self) -> DatagramReport {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DatagramReport {
            sent: value(&self.sent),
            displaced: value(&self.displaced),
            held_back: value(&self.held_back),
            received: value(&self.received),
            overflowed: value(&self.overflowed),
            malformed: value(&self.malformed),
        }
    }

    /// Takes in what a peer has sent.
    pub(super) fn take(&self, remote: &Arc<Remote>, datagram: &[u8]) {
        count(&self.received);
        let decoded = datagram.split_last().and_then(|(class, body)| Some((decode(*class)?, body)));
        let Some((class, body)) = decoded else {
            return count(&self.malformed);
        };
        // The packet that it came in may share its memory with many others.
        let body = Bytes::copy_from_slice(body);
        let datagram = Datagram { remote: Arc::clone(remote), class, body };
        match self.inbox_tx.try_send(datagram) {
            Ok(()) => {}
            // When the inbox is gone, nobody wants them.
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => count(&self.overflowed),
        }
    }
}

fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn encode(class: Class) -> u8 {
    let numbered = (0..).zip(Class::ALL).find(|(_, known)| *known == class);
    numbered.expect("ALL has every class").0
}

fn decode(byte: u8) -> Option<Class> {
    Class::ALL.get(usize::from(byte)).copied()
}

/// Sends a datagram on the link to `peer`.
pub(super) fn send(
    shared: &Shared,
    peer: &Peer,
    class: Class,
    mut body: BytesMut,
) -> Result<(), Error> {
    if body.len() > DATAGRAM_MAX {
        let (size, limit) = (body.len() as u64, DATAGRAM_MAX as u64);
        return Err(Error::TooLarge { class, size, limit });
    }
    let Some(link) = shared.links.to(peer) else {
        return Err(Error::NotSent { reason: format!("no link to {} is up", peer.address) });
    };
    body.put_u8(encode(class));
    let room = link.connection.datagram_send_buffer_space();
    if !link.pace.lock().admits(Instant::now(), room >= link.datagram_room) {
        count(&shared.mail.held_back);
        return Err(Error::NotSent {
            reason: "the link is left to streams for a while".to_owned(),
        });
    }
    if room < body.len() {
        count(&shared.mail.displaced);
    }
    let sent = link.connection.send_datagram(body.freeze());
    sent.map_err(|error| Error::NotSent { reason: error.to_string() })?;
    count(&shared.mail.sent);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_keep_their_bytes() {
        for (byte, class) in (0..).zip(Class::ALL) {
            assert_eq!((encode(class), decode(byte)), (byte, Some(class)));
        }
        assert_eq!(encode(Class::Publish), 5);
        assert_eq!(decode(u8::MAX), None);
    }
}
