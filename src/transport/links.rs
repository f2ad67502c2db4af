//! The connections that this node has dialled: one per peer, made when first needed, used by everybody.
//!
//! ```text
//! (nothing) ──open──► Dialling ──hello answered──► Up ──connection ends, next open──► Dialling …
//!                        └──failed──► (nothing)
//! ```
//!
//! Owns dialling and the hello's asking side. Does not touch what peers dialled. Invariant: at most one dial per address is
//! under way; all who wait for it get its outcome, and none of them can cancel it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::close::{self, REFUSED};
use super::frame::{FrameReceiver, FrameSender};
use super::notice::Kind;
use super::pace::Pace;
use super::{Class, Error, Peer, Remote, Shared, hello};
use crate::ids::NodeId;

/// Above this many addresses, entries of ended connections are swept out before another is added.
const SWEEP_ABOVE: usize = 64;

/// A connection whose hello was answered.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: quinn::Connection,
    pub(super) remote: Remote,
    /// Whether datagrams may be sent now.
    pub(super) pace: Mutex<Pace>,
    /// How many bytes of datagrams may wait when none does.
    pub(super) datagram_room: usize,
}

impl Link {
    fn is_up(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    fn suits(&self, peer: &Peer) -> bool {
        peer.id.is_none_or(|id| id == self.remote.id)
    }
}

type Outcome = Option<Result<Arc<Link>, Error>>;

#[derive(Debug)]
enum Slot {
    Dialling(watch::Receiver<Outcome>),
    Up(Arc<Link>),
}

/// The table of links by address.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<BTreeMap<SocketAddr, Slot>>);

impl Links {
    /// Gives the links that are up.
    pub(super) fn up(&self) -> Vec<Arc<Link>> {
        let slots = self.0.lock();
        let link = |slot: &Slot| match slot {
            Slot::Up(link) if link.is_up() => Some(Arc::clone(link)),
            Slot::Up(_) | Slot::Dialling(_) => None,
        };
        slots.values().filter_map(link).collect()
    }

    /// Gives the link to a peer, if it is up.
    pub(super) fn to(&self, peer: &Peer) -> Option<Arc<Link>> {
        match self.0.lock().get(&peer.address)? {
            Slot::Up(link) if link.is_up() && link.suits(peer) => Some(Arc::clone(link)),
            Slot::Up(_) | Slot::Dialling(_) => None,
        }
    }
}

/// Gives the link to `peer`, dialling it if there is none.
pub(super) async fn link(shared: &Arc<Shared>, peer: &Peer) -> Result<Arc<Link>, Error> {
    let mut outcome = match shared.links_entry(peer) {
        Entry::Ready(link) => return Ok(link),
        Entry::Wait(outcome) => outcome,
    };
    let result = match outcome.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone(),
        Err(_) => None,
    };
    let link = result.unwrap_or_else(|| Err(Error::closed("this node is stopping")))?;
    if link.suits(peer) {
        return Ok(link);
    }
    // Another asked for whoever is there, while this one asks for a certain node.
    let reason = format!("another node was expected, node {} is here", link.remote.id);
    Err(Error::Refused { address: peer.address, reason })
}

enum Entry {
    Ready(Arc<Link>),
    Wait(watch::Receiver<Outcome>),
}

impl Shared {
    fn links_entry(self: &Arc<Self>, peer: &Peer) -> Entry {
        let mut slots = self.links.0.lock();
        match slots.get(&peer.address) {
            Some(Slot::Up(link)) if link.is_up() && link.suits(peer) => {
                return Entry::Ready(Arc::clone(link));
            }
            Some(Slot::Dialling(outcome)) => return Entry::Wait(outcome.clone()),
            Some(Slot::Up(_)) | None => {}
        }
        if slots.len() >= SWEEP_ABOVE {
            slots.retain(|_, slot| match slot {
                Slot::Up(link) => link.is_up(),
                Slot::Dialling(_) => true,
            });
        }
        let (outcome_tx, outcome) = watch::channel(None);
        let before = slots.insert(peer.address, Slot::Dialling(outcome.clone()));
        drop(slots);
        tokio::spawn(dial(Arc::clone(self), *peer, before, outcome_tx));
        Entry::Wait(outcome)
    }
}

/// Dials, stores the outcome in the table and tells all who wait.
async fn dial(
    shared: Arc<Shared>,
    peer: Peer,
    before: Option<Slot>,
    outcome_tx: watch::Sender<Outcome>,
) {
    let limit = shared.config.handshake_timeout;
    let result = match tokio::time::timeout(limit, connect(&shared, &peer)).await {
        Ok(result) => result.map(Arc::new),
        Err(_) => {
            let reason = format!("no answer within {} ms", limit.as_millis());
            Err(Error::Unreachable { address: peer.address, reason })
        }
    };
    if let Err(Error::Refused { reason, .. }) = &result {
        shared.notices.warn(peer.address, Kind::Dialled, reason);
    }
    let mut slots = shared.links.0.lock();
    match (&result, before) {
        (Ok(link), _) => slots.insert(peer.address, Slot::Up(Arc::clone(link))),
        (Err(_), Some(Slot::Up(link))) if link.is_up() => {
            slots.insert(peer.address, Slot::Up(link))
        }
        (Err(_), _) => slots.remove(&peer.address),
    };
    drop(slots);
    outcome_tx.send_replace(Some(result));
}

/// Makes one connection and says hello on it.
async fn connect(shared: &Shared, peer: &Peer) -> Result<Link, Error> {
    let address = peer.address;
    if address == shared.advertised {
        let reason = "it is the address of this node itself".to_owned();
        return Err(Error::Unreachable { address, reason });
    }
    let unreachable = |reason: String| Error::Unreachable { address, reason };
    let connecting =
        shared.endpoint.connect(address, &shared.name).map_err(|e| unreachable(e.to_string()))?;
    let connection = connecting.await.map_err(|e| close::of_dial(&e, address))?;
    match greet(shared, &connection, address, peer.id).await {
        Ok(remote) => {
            let (pace, datagram_room) = (Mutex::default(), connection.datagram_send_buffer_space());
            Ok(Link { connection, remote, pace, datagram_room })
        }
        Err(Error::Closed { reason }) => Err(unreachable(reason)),
        Err(error) => {
            if let Error::Refused { reason, .. } = &error {
                connection.close(REFUSED, close::shortened(reason));
            }
            Err(error)
        }
    }
}

async fn greet(
    shared: &Shared,
    connection: &quinn::Connection,
    address: SocketAddr,
    expected: Option<NodeId>,
) -> Result<Remote, Error> {
    let (stream, answers) =
        connection.open_bi().await.map_err(|e| close::of_connection(&e, address))?;
    let mut sender = FrameSender::new(stream, address, Class::Control, hello::SIZE_MAX);
    let mut receiver = FrameReceiver::new(answers, address, Class::Control, hello::SIZE_MAX);
    sender.send(hello::hello(&shared.identity, shared.advertised, expected)).await?;
    sender.finish();
    let answer = receiver.receive().await?.ok_or(Error::Malformed { what: "hello answer" })?;
    hello::welcomed(&answer, expected).map_err(|reason| Error::Refused { address, reason })
}
