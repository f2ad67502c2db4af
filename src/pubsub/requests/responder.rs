//! Who replies to requests, and a request as it gets it.
//!
//! Owns their life: a responder that is dropped responds no more, and a request that is dropped is declined. Invariant: every
//! request is answered at most once, and whoever asked is told of its end whatever becomes of it here.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::asking::{Event, Place};
use super::frame::Refusal;
use super::inbox::{Inbox, Origin, Waiting};
use super::responders::ResponderId;
use crate::pubsub::Error;
use crate::pubsub::hub::Hub;

/// Takes the requests to one channel, one after the other. Dropped, it responds no more: requests that waited for it go to
/// another responder if there is one, and those it has taken can still be replied to.
pub struct Responder {
    hub: Arc<Hub>,
    id: ResponderId,
    inbox: Arc<Inbox>,
}

impl Responder {
    pub(super) const fn new(hub: Arc<Hub>, id: ResponderId, inbox: Arc<Inbox>) -> Self {
        Self { hub, id, inbox }
    }

    /// Gives the channel that it responds to.
    #[must_use]
    pub fn channel(&self) -> &Bytes {
        &self.inbox.channel
    }

    /// Waits for the next request; none when the node has stopped. Take the next one before the last is replied to if they
    /// are to be handled beside each other.
    ///
    /// # Cancel safety
    /// Safe: a request is taken only when it is returned.
    pub async fn next(&self) -> Option<Request> {
        let Waiting { payload, size, origin } = self.inbox.take().await?;
        let ticket = Ticket { hub: Arc::clone(&self.hub), responder: self.id, size, origin };
        Some(Request { channel: self.inbox.channel.clone(), payload, ticket: Some(ticket) })
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.requests.responders.close(self.id);
        state.requests.inboxes.remove(&self.id);
        for Waiting { payload, origin, .. } in self.inbox.close() {
            // Another responder of this node may take it.
            if let Some(refusal) = state.give(&self.inbox.channel, payload, origin.clone()) {
                state.turn_away(origin, refusal);
            }
        }
    }
}

/// A request that waits for a reply. Dropped without one, it is declined.
pub struct Request {
    channel: Bytes,
    payload: Bytes,
    ticket: Option<Ticket>,
}

/// The right to answer once.
struct Ticket {
    hub: Arc<Hub>,
    responder: ResponderId,
    size: u64,
    origin: Origin,
}

impl Request {
    /// Gives the channel that it was made to.
    #[must_use]
    pub const fn channel(&self) -> &Bytes {
        &self.channel
    }

    /// Gives what is asked.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Replies. Who asked may have gone or wait no longer; that is not told.
    ///
    /// # Errors
    /// [`Error::MessageTooLarge`]; who asked is told, too.
    pub fn reply(mut self, payload: Bytes) -> Result<(), Error> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        let (size, limit) = (payload.len() as u64, ticket.hub.config.message_max.as_u64());
        if size > limit {
            ticket.answer(Err(Refusal::TooLarge { size, limit }));
            return Err(Error::MessageTooLarge { size, limit });
        }
        ticket.answer(Ok(payload));
        Ok(())
    }
}

impl Ticket {
    fn answer(self, answer: Result<Bytes, Refusal>) {
        let mut state = self.hub.state();
        state.requests.responders.done(self.responder, self.size);
        match (self.origin, answer) {
            (Origin::Here { id }, Ok(payload)) => {
                state.ask(Event::Replied { place: Place::Here, id, payload });
            }
            (Origin::Peer { answers, id }, Ok(payload)) => {
                // A large reply is copied; not under the lock.
                drop(state);
                super::reply(&answers, id, &payload);
            }
            (origin, Err(refusal)) => state.turn_away(origin, refusal),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, payload, .. } = self;
        f.debug_struct("Request").field("channel", channel).field("size", &payload.len()).finish()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.answer(Err(Refusal::Declined));
        }
    }
}
