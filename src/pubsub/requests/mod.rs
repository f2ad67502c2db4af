//! Requests that one responder somewhere in the cluster replies to.
//!
//! ```text
//! request ──► asking ──► lane to the responder's node ──► responders ──► inbox ──► Responder::next
//!                ▲                                                                       │
//!                └──────────────── way back of that lane's stream ◄──────── Request::reply
//! ```
//!
//! Owns the step from what the pure tables decide to lanes and queues. Does not decide: `asking`, `responders` and `routes` do,
//! which are pure. Invariant: a request whose error says so was never handed to a responder, and is not handed to one later.

mod asking;
mod error;
pub(super) mod frame;
mod inbox;
mod responder;
mod responders;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub(super) use self::asking::Event;
use self::asking::{Action, Asking, Place};
pub use self::error::{RequestError, Unit};
use self::frame::Refusal;
use self::inbox::{Inbox, Origin, Waiting};
pub use self::responder::{Request, Responder};
use self::responders::{Choice, ResponderId, Responders};
use super::deliver::own;
use super::hub::{Hub, State};
use super::outbox::Outbox;
use super::wire::Control;
use super::{Config, Error};
use crate::ids::NodeId;

/// What a request weighs at its responder beside its bytes.
const OVERHEAD: u64 = 256;
/// How much of the way back is kept for what is said beside replies.
const RESERVE: u64 = 256 * 1024;

/// The requests and responders of this node.
pub(super) struct Requests {
    asking: Asking,
    responders: Responders,
    calls: BTreeMap<u64, oneshot::Sender<Result<Bytes, RequestError>>>,
    inboxes: BTreeMap<ResponderId, Arc<Inbox>>,
}

impl Requests {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            asking: Asking::new(asking::Limits::of(config)),
            responders: Responders::new(responders::Limits::of(config)),
            calls: BTreeMap::new(),
            inboxes: BTreeMap::new(),
        }
    }

    /// Tells whether somebody here responds to a channel.
    pub(super) fn has(&self, channel: &[u8]) -> bool {
        self.responders.has(channel)
    }

    /// Gives how many requests of this node are under way, and how many responders it has.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.asking.len(), self.responders.len())
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asking, responders) = self.counts();
        f.debug_struct("Requests")
            .field("asking", &asking)
            .field("responders", &responders)
            .finish()
    }
}

/// A request under way. Dropped, it is not waited for any more.
struct Calling {
    hub: Arc<Hub>,
    id: u64,
    reply: oneshot::Receiver<Result<Bytes, RequestError>>,
}

impl Calling {
    /// Ends the request, unless it has ended.
    fn give_up(&mut self, waited: Duration) -> Result<Bytes, RequestError> {
        let was_sent = self.hub.state().requests.asking.was_sent(self.id);
        // Between the deadline and the lock it may have come after all.
        match (self.reply.try_recv(), was_sent) {
            (Ok(result), _) => result,
            (Err(_), was_sent) => {
                Err(RequestError::Timeout { waited, was_sent: was_sent.unwrap_or(true) })
            }
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if state.requests.calls.remove(&self.id).is_some() {
            state.ask(Event::GivenUp { id: self.id });
        }
    }
}

impl Hub {
    /// Sends a request to one responder and waits for its reply.
    pub(super) async fn request(
        self: &Arc<Self>,
        channel: &[u8],
        payload: Bytes,
        time: Duration,
    ) -> Result<Bytes, RequestError> {
        let mut calling = self.call(channel, payload)?;
        match timeout(time, &mut calling.reply).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => calling.give_up(time),
        }
    }

    fn call(self: &Arc<Self>, channel: &[u8], payload: Bytes) -> Result<Calling, RequestError> {
        let (size, limit) = (channel.len() as u64, self.config.name_limit());
        if size > limit {
            return Err(RequestError::NameTooLong { size, limit });
        }
        let size = size.saturating_add(payload.len() as u64);
        let limit = self.config.message_max.as_u64();
        if size > limit {
            return Err(RequestError::TooLarge { size, limit });
        }
        let (done, reply) = oneshot::channel();
        let channel = Bytes::copy_from_slice(channel);
        let payload = own(&payload);
        let mut state = self.state();
        if state.is_stopped {
            return Err(RequestError::Closed { was_sent: false });
        }
        if let Some(refusal) = state.requests.asking.refusal(size) {
            return Err(refusal);
        }
        let id = state.next_number();
        state.requests.calls.insert(id, done);
        state.ask(Event::Asked { id, channel, payload });
        drop(state);
        Ok(Calling { hub: Arc::clone(self), id, reply })
    }

    /// Opens a responder.
    pub(super) fn respond(self: &Arc<Self>, channel: &[u8]) -> Result<Responder, Error> {
        let mut state = self.state();
        if state.is_stopped {
            return Err(Error::Closed);
        }
        let id = state.requests.responders.open(channel)?;
        let inbox = Arc::new(Inbox::new(Bytes::copy_from_slice(channel)));
        state.requests.inboxes.insert(id, Arc::clone(&inbox));
        drop(state);
        Ok(Responder::new(Arc::clone(self), id, inbox))
    }
}

impl State {
    /// Lets the requests of this node take in what happened, and does what follows.
    pub(super) fn ask(&mut self, event: Event) {
        let mut actions = VecDeque::from(self.requests.asking.handle(event));
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.act(action) {
                actions.extend(self.requests.asking.handle(event));
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Give { id, channel, payload } => {
                let refusal = self.give(&channel, payload, Origin::Here { id })?;
                Some(Event::Refused { place: Place::Here, id, refusal })
            }
            Action::Seek { peer, id, channel } => {
                if let Some(lane) = self.lanes.get(&peer) {
                    // When the outbox is full, the peer counts as one that does not answer.
                    let _full = lane.outbox.push_control(&Control::Seek { id, channel });
                }
                None
            }
            Action::Send { peer, attempt, id, channel, payload } => {
                let outbox = &self.lanes.get(&peer)?.outbox;
                let frame = frame::request(attempt, id, &channel, &payload);
                if outbox.push_frame(frame) {
                    return None;
                }
                let (waiting, limit) = (outbox.fill().bytes, outbox.limit());
                Some(Event::LinkFull { peer, id, waiting, limit })
            }
            Action::End { id, result } => {
                if let Some(done) = self.requests.calls.remove(&id) {
                    // Who asked may have gone.
                    let _gone = done.send(result);
                }
                None
            }
        }
    }

    /// Hands a request to a responder of this node; gives the reason when none can have it.
    fn give(&mut self, channel: &[u8], payload: Bytes, origin: Origin) -> Option<Refusal> {
        let size = OVERHEAD + (channel.len() + payload.len()) as u64;
        let requests = &mut self.requests;
        match requests.responders.choose(channel, size) {
            Choice::Chosen(id) => {
                let inbox = requests.inboxes.get(&id)?;
                inbox.push(Waiting { payload, size, origin });
                None
            }
            Choice::Busy { waiting, limit, unit } => {
                let is_bytes = unit == Unit::Bytes;
                Some(Refusal::Busy { waiting, limit, is_bytes })
            }
            Choice::Nobody => Some(Refusal::Nobody),
        }
    }

    /// Tells who asked that there is no reply.
    fn turn_away(&mut self, origin: Origin, refusal: Refusal) {
        match origin {
            Origin::Here { id } => self.ask(Event::Refused { place: Place::Here, id, refusal }),
            Origin::Peer { answers, id } => refuse(&answers, id, refusal),
        }
    }

    /// Takes in a peer's request, which came on a stream whose way back is `answers`.
    pub(super) fn take_request(&mut self, request: frame::Request, answers: &Arc<Outbox>) {
        let frame::Request { id, channel, payload, .. } = request;
        let payload = own(&payload);
        let origin = Origin::Peer { answers: Arc::clone(answers), id };
        if let Some(refusal) = self.give(&channel, payload, origin) {
            refuse(answers, id, refusal);
        }
    }

    /// Takes in a peer's reply.
    pub(super) fn take_reply(&mut self, peer: NodeId, reply: frame::Reply) {
        let frame::Reply { id, payload } = reply;
        let payload = own(&payload);
        self.ask(Event::Replied { place: Place::At(peer), id, payload });
    }

    /// Takes in a peer's word that there is no reply.
    pub(super) fn take_refusal(&mut self, peer: NodeId, id: u64, refusal: Refusal) {
        self.ask(Event::Refused { place: Place::At(peer), id, refusal });
    }

    /// Ends all requests and responders.
    pub(super) fn stop_requests(&mut self) {
        self.ask(Event::Stopped);
        for (responder, inbox) in std::mem::take(&mut self.requests.inboxes) {
            self.requests.responders.close(responder);
            for waiting in inbox.close() {
                self.turn_away(waiting.origin, Refusal::Nobody);
            }
        }
    }
}

/// Tells a peer that there is no reply. One that reads so little that not even this can wait for it loses its stream, and so
/// learns that replies are missing.
fn refuse(answers: &Outbox, id: u64, refusal: Refusal) {
    if !answers.push_control(&Control::Refused { id, refusal }) {
        answers.discard();
    }
}

/// Sends a reply on the way back, or the reason why it does not fit.
fn reply(answers: &Outbox, id: u64, payload: &[u8]) {
    let size = payload.len() as u64;
    let room = answers.limit().saturating_sub(answers.fill().bytes).saturating_sub(RESERVE);
    if size > room || !answers.push_frame(frame::reply(id, payload)) {
        refuse(answers, id, Refusal::TooLarge { size, limit: room });
    }
}
