//! One client's connection, without its socket: what it has chosen, queued, watched and subscribed to.
//!
//! Owns the state that commands read and change, and the buffer their replies go to. Does not read or write the socket
//! and gives no order of its own: `drive.rs` does. Invariant: what is in `out` is whole replies and pushes only.

use std::sync::Arc;

use bytes::BytesMut;

use super::binding::Binder;
use super::listening::Listening;
use super::registry::Card;
use super::server::Shared;
use super::transaction::Transaction;
use crate::command::Watched;
use crate::consensus::Client;
use crate::node;
use crate::pubsub::{Delivery, Error as ListenError, Subscriber};
use crate::resp::{Encoder, Version};

/// How many bytes may wait for the socket before messages wait in their queue instead. With a message of usual size behind
/// it, it fits the buffer that an idle connection keeps, so that a busy one does not get a new one for each write.
const PUSH_ROOM: usize = 48 * 1024;

/// The state of one connection.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) card: Arc<Card>,
    /// Replies and pushes on their way to the client.
    pub(super) out: BytesMut,
    pub(super) version: Version,
    pub(super) database: u8,
    pub(super) is_authenticated: bool,
    pub(super) silence: Silence,
    /// Whether the connection ends when `out` is written.
    pub(super) is_closing: bool,
    /// What was queued since MULTI.
    pub(super) transaction: Option<Transaction>,
    pub(super) watched: Vec<Watched>,
    /// With what its writes go.
    pub(super) binder: Binder,
    pub(super) listening: Listening,
    /// Whether EXEC's array is being written, so that pushes must wait. The driver ends it.
    pub(super) is_in_exec: bool,
    /// Pushes that wait for the end of EXEC's array.
    deferred: BytesMut,
    /// Always empty: kept for its memory.
    taken: Vec<Delivery>,
}

/// Whether replies are written, as `CLIENT REPLY` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Silence {
    /// They are.
    #[default]
    None,
    /// The next command's is not.
    Next,
    /// None is.
    All,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, card: Arc<Card>, client: Client) -> Self {
        let binder = Binder::new(shared.patterns.clone(), client);
        let is_authenticated = shared.password.is_none();
        Self {
            shared,
            card,
            out: BytesMut::new(),
            version: Version::Resp2,
            database: 0,
            is_authenticated,
            silence: Silence::None,
            is_closing: false,
            transaction: None,
            watched: Vec::new(),
            binder,
            listening: Listening::default(),
            is_in_exec: false,
            deferred: BytesMut::new(),
            taken: Vec::new(),
        }
    }

    /// Writes a reply in the client's protocol version.
    pub(super) const fn reply(&mut self) -> Encoder<'_> {
        Encoder::new(&mut self.out, self.version)
    }

    /// Writes `+OK`.
    pub(super) fn ok(&mut self) {
        self.reply().ok();
    }

    /// Writes an error; `text` begins with its code word.
    pub(super) fn error(&mut self, text: &str) {
        self.reply().error(text);
    }

    /// Writes what the node said instead of an answer.
    pub(super) fn node_error(&mut self, error: &node::Error) {
        self.error(&error.to_string());
    }

    /// Tells whether only the few commands of a RESP2 subscriber are allowed.
    pub(super) fn is_subscriber_only(&self) -> bool {
        self.version == Version::Resp2 && self.listening.is_any()
    }

    /// Gives whether the command that comes now stays without a reply.
    pub(super) fn begin_command(&mut self) -> bool {
        match self.silence {
            Silence::None => false,
            Silence::Next => {
                self.silence = Silence::None;
                true
            }
            Silence::All => true,
        }
    }

    /// Writes a message as a push, or keeps it until EXEC's array is complete.
    pub(super) fn push(&mut self, delivery: &Delivery) {
        let to = if self.is_in_exec { &mut self.deferred } else { &mut self.out };
        self.listening.write(delivery, &mut Encoder::new(to, self.version));
    }

    /// Lets the pushes out that waited for the end of EXEC's array.
    pub(super) fn end_exec(&mut self) {
        self.is_in_exec = false;
        let deferred = std::mem::take(&mut self.deferred);
        self.out.unsplit(deferred);
    }

    /// Tells whether messages may be written: while much waits for the socket they stay in their queue, whose limits and
    /// policies are for them.
    pub(super) fn may_push(&self) -> bool {
        self.out.len() < PUSH_ROOM
    }

    /// Writes the messages that are here, as far as there is room.
    pub(super) fn push_waiting(&mut self) -> Result<(), ListenError> {
        let mut taken = std::mem::take(&mut self.taken);
        while let Some(subscriber) = &self.listening.subscriber
            && self.may_push()
        {
            let room = PUSH_ROOM.saturating_sub(self.out.len());
            if subscriber.try_receive_many(&mut taken, room as u64)? == 0 {
                break;
            }
            if self.out.is_empty() && taken.len() > 1 {
                self.out.reserve(PUSH_ROOM);
            }
            taken.drain(..).for_each(|delivery| self.push(&delivery));
        }
        self.taken = taken;
        Ok(())
    }

    /// Writes all messages that are here, which are no more than the queue's limit, and none that comes meanwhile. None
    /// waits for the node's state.
    pub(super) fn push_all(&mut self) -> Result<(), ListenError> {
        let Some(subscriber) = &self.listening.subscriber else { return Ok(()) };
        subscriber.set_causal(false);
        let mut left = self.listening.report().queued;
        while left > 0
            && let Some(subscriber) = &self.listening.subscriber
            && let Some(delivery) = subscriber.try_receive()?
        {
            left = left.saturating_sub(u64::from(matches!(delivery, Delivery::Message(_))));
            self.push(&delivery);
        }
        self.listening.choose(self.listening.choices);
        Ok(())
    }

    /// Forgets everything that the client chose, as at the start of a connection; what waits to be written stays.
    pub(super) fn reset(&mut self) {
        self.version = Version::Resp2;
        self.database = 0;
        self.is_authenticated = self.shared.password.is_none();
        self.silence = Silence::None;
        self.transaction = None;
        self.watched.clear();
        self.binder.chosen = None;
        self.listening = Listening::default();
        self.card.change(|facts| facts.name.clear());
    }

    /// Shows the others what this connection is now.
    pub(super) fn show(&self) {
        let queued = self.transaction.as_ref().map(Transaction::len);
        let (channels, patterns) = (self.listening.channels, self.listening.patterns);
        self.card.change(|facts| {
            facts.database = self.database;
            facts.version = self.version;
            facts.channels = channels;
            facts.patterns = patterns;
            facts.sharded = self.listening.sharded;
            facts.meter = self.listening.subscriber.as_ref().map(Subscriber::meter);
            facts.queued = queued;
        });
    }
}
