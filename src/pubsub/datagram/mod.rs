//! Unreliable messages: one QUIC datagram each, for what the next message replaces.
//!
//! ```text
//! publish_unreliable ──► listeners of this node
//!           └──► numbered for each peer ──► datagram ~~ may be lost ~~► track: newer than all before? ──► listeners there
//! ```
//!
//! Owns their way from publisher to listener. Does not repeat, and tells nobody of losses but by counting them. Invariant: of one
//! publisher's messages to one channel, no older one is delivered after a newer one.

mod track;
mod wire;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub(super) use self::track::Track;
use self::wire::Source;
pub use self::wire::UNRELIABLE_MAX;
use super::deliver::Post;
use super::hub::{Hub, State};
use super::lane::Lane;
use super::{Error, Kind};
use crate::transport::{Class, Datagram, Datagrams, Peer};

/// How many datagrams are taken in under one lock.
const BATCH_MAX: usize = 64;

/// What has been sent to one peer.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The number of the next one.
    next: AtomicU64,
    unsent: AtomicU64,
}

/// How unreliable messages between this node and one peer have fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreliableReport {
    /// How many were given to the network for the peer.
    pub sent: u64,
    /// How many were not, because no link to it was up or it was too slow for so many.
    pub unsent: u64,
    /// How many came from the peer and were delivered to whom they concern.
    pub received: u64,
    /// How many from the peer have not come, up to now.
    pub missing: u64,
    /// How many came when a newer one of the same channel had come already, and were dropped.
    pub stale: u64,
    /// How many the peer's version does not share with this one.
    pub malformed: u64,
}

impl UnreliableReport {
    pub(super) fn of(lane: &Lane) -> Self {
        let Sent { next, unsent } = &*lane.datagrams;
        let unsent = unsent.load(Ordering::Relaxed);
        let counts = lane.track.counts;
        Self {
            sent: next.load(Ordering::Relaxed).saturating_sub(unsent),
            unsent,
            received: counts.received,
            missing: counts.missing,
            stale: counts.stale,
            malformed: counts.malformed,
        }
    }
}

/// Where one message goes.
struct Target {
    peer: Peer,
    lane: u64,
    sent: Arc<Sent>,
}

impl Hub {
    /// Publishes an unreliable message; gives how many subscriptions of this node it reached.
    pub(super) fn publish_unreliable(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<u64, Error> {
        let size = channel.len().saturating_add(payload.len());
        if size > UNRELIABLE_MAX {
            return Err(Error::DatagramTooLarge { size, limit: UNRELIABLE_MAX });
        }
        self.check(channel, &payload)?;
        let mut state = self.state();
        if state.is_stopped {
            return Err(Error::Closed);
        }
        let position = self.positions.written();
        let targets = state.targets(kind, channel);
        let post = Post { channel, payload: &payload, position, frame: None };
        let reached = state.deliver(kind, post);
        drop(state);
        let Some(links) = &self.links else { return Ok(reached) };
        for Target { peer, lane, sent } in targets {
            let source = Source { generation: links.generation, lane };
            let number = sent.next.fetch_add(1, Ordering::Relaxed);
            let body = wire::encode(source, number, position, kind, channel, &payload);
            if let Err(error) = links.transport.datagram(&peer, Class::Publish, body) {
                sent.unsent.fetch_add(1, Ordering::Relaxed);
                tracing::trace!(address = %peer.address, "unreliable message: {error}");
            }
        }
        Ok(reached)
    }

    /// Takes in what peers send, until this node's pub/sub is stopped.
    pub(super) async fn receive(self: Arc<Self>, mut inbox: Datagrams) {
        let mut stopped = pin!(self.stopped());
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = &mut stopped => return,
                count = inbox.receive(&mut batch, BATCH_MAX) => count,
            };
            if count == 0 {
                return;
            }
            let mut state = self.state();
            batch.drain(..).for_each(|datagram| state.take_unreliable(datagram));
        }
    }
}

impl State {
    /// Gives the peers that a message goes to.
    fn targets(&mut self, kind: Kind, channel: &[u8]) -> Vec<Target> {
        let pruners = self.interest.pruners(kind, channel);
        let is_pruner = |id: &crate::ids::NodeId| pruners.binary_search(id).is_ok();
        for (_, lane) in self.lanes.iter_mut().filter(|(id, _)| is_pruner(id)) {
            lane.withheld += 1;
        }
        let target = |(id, lane): (&crate::ids::NodeId, &Lane)| Target {
            peer: Peer { id: Some(*id), address: lane.address },
            lane: lane.number,
            sent: Arc::clone(&lane.datagrams),
        };
        self.lanes.iter().filter(|(id, _)| !is_pruner(id)).map(target).collect()
    }

    /// Delivers what came from a peer, if nothing newer came before it.
    fn take_unreliable(&mut self, datagram: Datagram) {
        let Datagram { remote, class, body } = datagram;
        // What a node sends that this one does not know as a member cannot be put in order.
        let Some(lane) = self.lanes.get_mut(&remote.id) else { return };
        let message = Some(body).filter(|_| class == Class::Publish).and_then(wire::decode);
        let Some(message) = message else {
            lane.track.counts.malformed += 1;
            return;
        };
        if lane.track.passes(&message) {
            let wire::Unreliable { kind, channel, payload, position, .. } = message;
            let post = Post { channel: &channel, payload: &payload, position, frame: None };
            if self.deliver(kind, post) == 0 {
                let mut names = Vec::new();
                self.unwanted(remote.id, kind, &channel, &mut names);
                self.prune(remote.id, names);
            }
        }
    }
}
