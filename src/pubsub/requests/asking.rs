//! The requests of this node that wait for a reply: whom each is sent to, and how it ends. Pure: it sends nothing.
//!
//! ```text
//! Asked ──► Here ──none here──► (route) ──► Sent ──reply, refusal, end of the link──► End
//!                    │                       │ ▲
//!                    └──► Seeking ◄──none────┘ │
//!                           │  └──"here"───────┘         all said none: End
//!                           └──► …
//! ```
//!
//! Owns what is known of the peers' responders, and the limits of what waits. Does not know time. Invariants: every request
//! ends exactly once; it is handed to one place at a time, and to the next only when the last said that it has nobody; it ends
//! with "no responders" only when every place has said so.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::error::{RequestError, Unit};
use super::frame::Refusal;
use super::routes::Routes;
use crate::ids::NodeId;
use crate::pubsub::Config;

/// What a request weighs beside its bytes.
const OVERHEAD: u64 = 256;

/// The most that may wait for replies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        Self { requests: config.requests_max as u64, bytes: config.requests_bytes_max.as_u64() }
    }
}

/// Where responders may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pubsub) enum Place {
    /// On this node.
    Here,
    /// On a linked peer.
    At(NodeId),
}

/// What happens around requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pubsub) enum Event {
    /// Somebody on this node asks.
    Asked { id: u64, channel: Bytes, payload: Bytes },
    /// Who asked waits no longer.
    GivenUp { id: u64 },
    /// A peer says whether it has a responder to the channel of a request.
    Sought { peer: NodeId, id: u64, is_here: bool },
    /// The responder has replied.
    Replied { place: Place, id: u64, payload: Bytes },
    /// There is no reply, and the reason.
    Refused { place: Place, id: u64, refusal: Refusal },
    /// A request could not be queued for the peer.
    LinkFull { peer: NodeId, id: u64, waiting: u64, limit: u64 },
    /// There is a lane to this peer, which is not up yet.
    Linked(NodeId),
    /// The lane is up; `attempt` names its stream.
    Up { peer: NodeId, attempt: u64 },
    /// The stream has ended, and with it all that was to be answered on it.
    Down(NodeId),
    /// The peer is no member any more.
    Unlinked(NodeId),
    /// This node stops.
    Stopped,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Hand the request to a responder of this node, or refuse it.
    Give { id: u64, channel: Bytes, payload: Bytes },
    /// Ask a peer whether it has a responder.
    Seek { peer: NodeId, id: u64, channel: Bytes },
    /// Send the request to a peer.
    Send { peer: NodeId, attempt: u64, id: u64, channel: Bytes, payload: Bytes },
    /// Tell who asked.
    End { id: u64, result: Result<Bytes, RequestError> },
}

/// The requests under way.
#[derive(Debug)]
pub(super) struct Asking {
    limits: Limits,
    requests: BTreeMap<u64, Request>,
    /// Invariant: the sum of the costs of all requests.
    bytes: u64,
    /// The linked peers, with the stream that is open to each.
    peers: BTreeMap<NodeId, Option<u64>>,
    routes: Routes,
}

#[derive(Debug)]
struct Request {
    channel: Bytes,
    payload: Bytes,
    stage: Stage,
    /// Peers that had nobody when the request reached them. None of them gets it again.
    refused: BTreeSet<NodeId>,
}

impl Request {
    const fn cost(&self) -> u64 {
        OVERHEAD + self.channel.len() as u64 + self.payload.len() as u64
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// A responder has it, or will be given it.
    Sent(Place),
    /// It is kept back until one of these says that it has a responder. Never empty.
    Seeking(BTreeSet<NodeId>),
}

impl Asking {
    pub(super) fn new(limits: Limits) -> Self {
        let (requests, peers, routes) = Default::default();
        Self { limits, requests, bytes: 0, peers, routes }
    }

    /// Tells why no more may be asked now, if it is so.
    pub(super) fn refusal(&self, size: u64) -> Option<RequestError> {
        let (waiting, limit) = (self.requests.len() as u64, self.limits.requests);
        if waiting >= limit {
            return Some(RequestError::TooMany { waiting, limit, unit: Unit::Requests });
        }
        let (waiting, limit) = (self.bytes, self.limits.bytes);
        // A request that is alone may have any size that a message may have.
        let is_over = waiting > 0 && waiting.saturating_add(size) > limit;
        is_over.then_some(RequestError::TooMany { waiting, limit, unit: Unit::Bytes })
    }

    /// Tells whether a responder may have got a request; none when it has ended.
    pub(super) fn was_sent(&self, id: u64) -> Option<bool> {
        self.requests.get(&id).map(|request| matches!(request.stage, Stage::Sent(_)))
    }

    /// Gives how many requests are under way.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Takes in what happened and says what to do, in order.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Asked { id, channel, payload } => self.ask(id, channel, payload),
            Event::GivenUp { id } => {
                self.remove(id);
                Vec::new()
            }
            Event::Sought { peer, id, is_here } => self.sought(peer, id, is_here),
            Event::Replied { place, id, payload } => self.end(place, id, Ok(payload)),
            Event::Refused { place, id, refusal } => self.refused(place, id, refusal),
            Event::LinkFull { peer, id, waiting, limit } => {
                let error = RequestError::LinkFull { node: peer, waiting, limit };
                self.end(Place::At(peer), id, Err(error))
            }
            Event::Linked(peer) => {
                self.peers.entry(peer).or_insert(None);
                Vec::new()
            }
            Event::Up { peer, attempt } => self.up(peer, attempt),
            Event::Down(peer) => {
                self.peers.entry(peer).and_modify(|attempt| *attempt = None);
                self.lost(peer)
            }
            Event::Unlinked(peer) => self.unlinked(peer),
            Event::Stopped => self.stop(),
        }
    }

    fn ask(&mut self, id: u64, channel: Bytes, payload: Bytes) -> Vec<Action> {
        let stage = Stage::Sent(Place::Here);
        let give = Action::Give { id, channel: channel.clone(), payload: payload.clone() };
        let request = Request { channel, payload, stage, refused: BTreeSet::new() };
        self.bytes = self.bytes.saturating_add(request.cost());
        self.requests.insert(id, request);
        vec![give]
    }

    fn remove(&mut self, id: u64) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(request.cost());
        Some(request)
    }

    /// Ends a request that is at `place`. Anything else is an answer that nobody waits for.
    fn end(&mut self, place: Place, id: u64, result: Result<Bytes, RequestError>) -> Vec<Action> {
        let is_there = |request: &Request| request.stage == Stage::Sent(place);
        if !self.requests.get(&id).is_some_and(is_there) {
            return Vec::new();
        }
        self.remove(id);
        vec![Action::End { id, result }]
    }

    fn refused(&mut self, place: Place, id: u64, refusal: Refusal) -> Vec<Action> {
        let Some(request) = self.requests.get_mut(&id) else { return Vec::new() };
        if request.stage != Stage::Sent(place) {
            return Vec::new();
        }
        if let Place::At(peer) = place
            && matches!(refusal, Refusal::Nobody | Refusal::Busy { .. })
        {
            // When it is busy, the next one may ask for another.
            self.routes.refute(&request.channel, peer);
        }
        let error = match refusal {
            Refusal::Nobody => {
                if let Place::At(peer) = place {
                    request.refused.insert(peer);
                }
                return self.go_on(id);
            }
            Refusal::Busy { waiting, limit, is_bytes } => {
                let unit = if is_bytes { Unit::Bytes } else { Unit::Requests };
                RequestError::Busy { waiting, limit, unit }
            }
            Refusal::Declined => RequestError::Declined,
            Refusal::TooLarge { size, limit } => RequestError::ReplyTooLarge { size, limit },
        };
        self.end(place, id, Err(error))
    }

    /// Finds another place for a request that the last one has nobody for.
    fn go_on(&mut self, id: u64) -> Vec<Action> {
        let Some(request) = self.requests.get(&id) else { return Vec::new() };
        let routed = self.routes.get(&request.channel);
        let routed = routed.filter(|peer| !request.refused.contains(peer));
        let left = || self.peers.keys().filter(|peer| !request.refused.contains(peer));
        // A single peer that can be asked can as well be given the request.
        let only = || left().next().copied().filter(|_| left().nth(1).is_none());
        if let Some(peer) = routed.or_else(only)
            && let Some(Some(attempt)) = self.peers.get(&peer)
        {
            if routed.is_none() {
                self.routes.insert(&request.channel, peer);
            }
            return self.send(peer, *attempt, id);
        }
        let left: BTreeSet<NodeId> = left().copied().collect();
        if left.is_empty() {
            self.remove(id);
            return vec![Action::End { id, result: Err(RequestError::NoResponders) }];
        }
        let channel = request.channel.clone();
        let is_up = |peer: &&NodeId| self.peers.get(*peer).is_some_and(Option::is_some);
        let seek = |peer: &NodeId| Action::Seek { peer: *peer, id, channel: channel.clone() };
        let actions = left.iter().filter(is_up).map(seek).collect();
        if let Some(request) = self.requests.get_mut(&id) {
            request.stage = Stage::Seeking(left);
        }
        actions
    }

    fn send(&mut self, peer: NodeId, attempt: u64, id: u64) -> Vec<Action> {
        let Some(request) = self.requests.get_mut(&id) else { return Vec::new() };
        request.stage = Stage::Sent(Place::At(peer));
        let (channel, payload) = (request.channel.clone(), request.payload.clone());
        vec![Action::Send { peer, attempt, id, channel, payload }]
    }

    fn sought(&mut self, peer: NodeId, id: u64, is_here: bool) -> Vec<Action> {
        let Some(request) = self.requests.get_mut(&id) else { return Vec::new() };
        let Stage::Seeking(left) = &mut request.stage else {
            return Vec::new();
        };
        if !left.contains(&peer) {
            return Vec::new();
        }
        if is_here && let Some(Some(attempt)) = self.peers.get(&peer) {
            self.routes.insert(&request.channel, peer);
            return self.send(peer, *attempt, id);
        }
        left.remove(&peer);
        self.settle(id)
    }

    /// Ends a request that nobody is left to ask for.
    fn settle(&mut self, id: u64) -> Vec<Action> {
        let is_over =
            |request: &Request| matches!(&request.stage, Stage::Seeking(left) if left.is_empty());
        if !self.requests.get(&id).is_some_and(is_over) {
            return Vec::new();
        }
        self.remove(id);
        vec![Action::End { id, result: Err(RequestError::NoResponders) }]
    }

    fn up(&mut self, peer: NodeId, attempt: u64) -> Vec<Action> {
        self.peers.insert(peer, Some(attempt));
        let seek = |(id, request): (&u64, &Request)| {
            let Stage::Seeking(left) = &request.stage else { return None };
            let channel = request.channel.clone();
            left.contains(&peer).then_some(Action::Seek { peer, id: *id, channel })
        };
        self.requests.iter().filter_map(seek).collect()
    }

    /// Nothing will be answered on the stream that was open to a peer.
    fn lost(&mut self, peer: NodeId) -> Vec<Action> {
        self.routes.forget(peer);
        let place = Stage::Sent(Place::At(peer));
        let is_lost = |(_, request): &(&u64, &Request)| request.stage == place;
        let lost: Vec<u64> = self.requests.iter().filter(is_lost).map(|(id, _)| *id).collect();
        let end = |id| self.end(Place::At(peer), id, Err(RequestError::Gone { node: peer }));
        lost.into_iter().flat_map(end).collect()
    }

    fn unlinked(&mut self, peer: NodeId) -> Vec<Action> {
        self.peers.remove(&peer);
        let mut actions = self.lost(peer);
        let ids: Vec<u64> = self.requests.keys().copied().collect();
        for id in ids {
            if let Some(Request { stage: Stage::Seeking(left), .. }) = self.requests.get_mut(&id)
                && left.remove(&peer)
            {
                actions.extend(self.settle(id));
            }
        }
        actions
    }

    fn stop(&mut self) -> Vec<Action> {
        self.bytes = 0;
        let end = |(id, request): (u64, Request)| {
            let was_sent = matches!(request.stage, Stage::Sent(_));
            Action::End { id, result: Err(RequestError::Closed { was_sent }) }
        };
        std::mem::take(&mut self.requests).into_iter().map(end).collect()
    }
}
