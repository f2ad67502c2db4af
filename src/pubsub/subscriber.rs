//! One listener of this node: what a client's connection holds.
//!
//! Owns nothing but its name in the tables and the end of its queue. Does not cut connections. Invariant: when `subscribe`
//! has returned, every later publish on a linked node arrives; when `unsubscribe` has returned, no more enters the queue.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::effect::Effect;
use super::hub::{Hub, Listener};
use super::interest::Event;
use super::queue::{Queue, QueueReport};
use super::table::SubscriberId;
use super::{Delivery, Error, Kind, Policy};

/// Listens to channels and patterns, with a bounded queue of its own. Dropped, it listens to nothing any more.
pub struct Subscriber {
    hub: Arc<Hub>,
    id: SubscriberId,
    queue: Arc<Queue>,
}

impl Subscriber {
    pub(super) const fn new(hub: Arc<Hub>, id: SubscriberId, queue: Arc<Queue>) -> Self {
        Self { hub, id, queue }
    }

    /// Makes it causal: each message that comes from now on is held back until this node's state has what the publisher's node
    /// had written before it published, so that a local read sees it. Order is kept: what is
    /// behind waits too. After `causal_wait_max` the message comes nevertheless, with [`is_ahead`](super::Message::is_ahead).
    #[must_use = "it gives the subscriber back"]
    pub fn causal(self) -> Self {
        self.set_causal(true);
        self
    }

    /// Begins or ends to hold messages back, as [`Subscriber::causal`] says; nothing waits any longer once it is off.
    pub fn set_causal(&self, is_causal: bool) {
        self.queue.set_causal(is_causal);
    }

    /// Tells whether it is causal.
    #[must_use]
    pub fn is_causal(&self) -> bool {
        self.queue.gate.is_causal()
    }

    /// Subscribes with [`Policy::Disconnect`]. In effect on this node when it returns, and on every linked node when the
    /// [`Subscription`] has been awaited: every later publish there arrives here.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::SubscriberFull`] and [`Error::TableFull`] at a limit; [`Error::Closed`] when this
    /// subscriber has overflowed or the node has stopped.
    pub fn subscribe(&self, kind: Kind, name: &[u8]) -> Result<Subscription, Error> {
        self.subscribe_with(kind, name, Policy::Disconnect)
    }

    /// Subscribes, and says what becomes of the subscription's messages when this subscriber does not keep up. Where it is
    /// subscribed already, the policy holds for what comes from now on.
    ///
    /// # Errors
    /// As [`Subscriber::subscribe`].
    pub fn subscribe_with(
        &self,
        kind: Kind,
        name: &[u8],
        policy: Policy,
    ) -> Result<Subscription, Error> {
        let listener = Listener { queue: Arc::clone(&self.queue), policy };
        let mut state = self.hub.state();
        let is_new = state.table.subscribe(self.id, kind, name, listener)?;
        let effect = state.subscribed(self.id, kind, name);
        drop(state);
        Ok(Subscription { is_new, effect: effect.map(|effect| Effect::new(&self.hub, effect)) })
    }

    /// Unsubscribes; gives false when it was not subscribed. Messages that came before wait still: take them with
    /// [`Subscriber::try_receive`] before telling a client that it is unsubscribed.
    #[must_use = "a client is told whether it was subscribed"]
    pub fn unsubscribe(&self, kind: Kind, name: &[u8]) -> bool {
        self.hub.state().table.unsubscribe(self.id, kind, name)
    }

    /// Gives what it is subscribed to, in no certain order.
    #[must_use]
    pub fn subscriptions(&self, kind: Kind) -> Vec<Bytes> {
        self.hub.state().table.subscriptions(self.id, kind)
    }

    /// Gives how many channels and patterns it is subscribed to: the number in the answers to SUBSCRIBE and PSUBSCRIBE.
    #[must_use]
    pub fn count(&self) -> usize {
        let state = self.hub.state();
        state.table.count_of(self.id, Kind::Channel) + state.table.count_of(self.id, Kind::Pattern)
    }

    /// Gives how many sharded channels it is subscribed to: the number in the answers to SSUBSCRIBE.
    #[must_use]
    pub fn sharded_count(&self) -> usize {
        self.hub.state().table.count_of(self.id, Kind::Sharded)
    }

    /// Waits for the next message, or for the news that some are missing. One publisher's messages come in the order in which
    /// they were published.
    ///
    /// # Errors
    /// [`Error::Overflow`] when this subscriber was too slow; [`Error::Closed`] when the node has stopped. Nothing comes
    /// after either.
    ///
    /// # Cancel safety
    /// Safe: a message is taken only when it is returned.
    pub async fn receive(&self) -> Result<Delivery, Error> {
        self.queue.receive().await
    }

    /// Takes the next message if it is there, and need not wait for this node's state.
    ///
    /// # Errors
    /// As [`Subscriber::receive`].
    pub fn try_receive(&self) -> Result<Option<Delivery>, Error> {
        self.queue.try_receive()
    }

    /// Takes what is there and need not wait for this node's state, at once and in order, until it weighs about `bytes_max`;
    /// gives how much it was, perhaps nothing. Cheaper than one [`Subscriber::try_receive`] after the other.
    ///
    /// # Errors
    /// As [`Subscriber::receive`]; then nothing was taken.
    pub fn try_receive_many(&self, to: &mut Vec<Delivery>, bytes_max: u64) -> Result<usize, Error> {
        self.queue.try_receive_many(to, bytes_max)
    }

    /// Waits until no more messages will come, and says why; for who does not receive at the moment. Those that wait may
    /// still be there.
    ///
    /// # Cancel safety
    /// Safe: it takes nothing.
    pub async fn ended(&self) -> Error {
        self.queue.ended().await
    }

    /// Gives a view of its queue for others than its owner.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter(Arc::clone(&self.queue))
    }
}

/// Tells how full a subscriber's queue is, and what was lost there.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Queue>);

impl Meter {
    /// Reads it.
    #[must_use]
    pub fn read(&self) -> QueueReport {
        self.0.report()
    }
}

/// A subscription that is in effect on this node already.
#[derive(Debug)]
#[must_use = "publishes on other nodes are sure to arrive only once this has been awaited"]
pub struct Subscription {
    is_new: bool,
    /// None when it is in effect everywhere.
    effect: Option<Effect>,
}

impl Subscription {
    /// Tells whether it was not there before.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Waits until it is in effect on every linked node: one round trip to those that publish to this channel and had been
    /// told that nobody listens here, and nothing otherwise. Gives [`Subscription::is_new`].
    ///
    /// # Cancel safety
    /// Safe: the subscription stays, and comes into effect all the same.
    pub async fn in_effect(self) -> bool {
        if let Some(mut effect) = self.effect {
            effect.wait().await;
        }
        self.is_new
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        // The hub's lock is not held while what stood for the subscriber is dropped.
        let _listener = state.table.remove(self.id);
        state.note(Event::Dropped(self.id));
        drop(state);
    }
}
