//! The connections that this node has dialled: one per peer, made when first needed, used by everybody.
//!
//! ```text
//! (nothing) ──open──► Dialling ──hello answered──► Up ──connection ends, next open──► Dialling …
//!                        └──failed──► (nothing)
//! ```
//!
//! Owns dialling and the hello's asking side. Does not touch what peers dialled. Invariants: for each node that is asked for at
//! an address at most one dial is under way; all who wait for it get its outcome, and none of them can cancel it; a dial for
//! one node, which may be gone, never keeps another at the same address from being reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::close::{self, REFUSED, STOOD_STILL, SUPERSEDED};
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

/// What there is at one address.
#[derive(Debug, Default)]
struct Place {
    link: Option<Arc<Link>>,
    /// The dials under way, by the node that was asked for; none is whoever is there.
    dials: BTreeMap<Option<NodeId>, watch::Receiver<Outcome>>,
}

impl Place {
    fn up(&self) -> Option<&Arc<Link>> {
        self.link.as_ref().filter(|link| link.is_up())
    }
}

/// The table of links by address.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<BTreeMap<SocketAddr, Place>>);

impl Links {
    /// Gives the links that are up.
    pub(super) fn up(&self) -> Vec<Arc<Link>> {
        self.0.lock().values().filter_map(Place::up).cloned().collect()
    }

    /// Ends every link, so that the next one asked for is dialled; tells how many were up.
    pub(super) fn end_all(&self) -> usize {
        let up = self.up();
        up.iter().for_each(|link| link.connection.close(STOOD_STILL, b""));
        up.len()
    }

    /// Gives the link to a peer, if it is up.
    pub(super) fn to(&self, peer: &Peer) -> Option<Arc<Link>> {
        let places = self.0.lock();
        places.get(&peer.address)?.up().filter(|link| link.suits(peer)).cloned()
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
        let mut places = self.links.0.lock();
        if !places.contains_key(&peer.address) && places.len() >= SWEEP_ABOVE {
            places.retain(|_, place| place.up().is_some() || !place.dials.is_empty());
        }
        let place = places.entry(peer.address).or_default();
        if let Some(link) = place.up().filter(|link| link.suits(peer)) {
            return Entry::Ready(Arc::clone(link));
        }
        if let Some(outcome) = place.dials.get(&peer.id).or_else(|| place.dials.get(&None)) {
            return Entry::Wait(outcome.clone());
        }
        let (outcome_tx, outcome) = watch::channel(None);
        place.dials.insert(peer.id, outcome.clone());
        drop(places);
        tokio::spawn(dial(Arc::clone(self), *peer, outcome_tx));
        Entry::Wait(outcome)
    }
}

/// Dials, stores the outcome in the table and tells all who wait.
async fn dial(shared: Arc<Shared>, peer: Peer, outcome_tx: watch::Sender<Outcome>) {
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
    let mut places = shared.links.0.lock();
    let place = places.entry(peer.address).or_default();
    place.dials.remove(&peer.id);
    let result = result.map(|link| match place.up() {
        // Two dials have met the same node: one connection is enough.
        Some(known) if known.remote.id == link.remote.id => {
            link.connection.close(SUPERSEDED, b"another dial was quicker");
            Arc::clone(known)
        }
        Some(_) | None => Arc::clone(place.link.insert(link)),
    });
    drop(places);
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
