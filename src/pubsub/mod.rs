//! Messages to listeners: on this node, and by one ordered lane to every other node. Not through Raft.
//!
//! Owns subscriptions, delivery and the lanes. Does not know who is a member: it is told whom to link. Invariants: when
//! `subscribe` has returned, every later publish on any linked node is delivered here; one publisher's messages arrive in
//! their order, each at most once.
//!
//! ```text
//!  publish ──► hub (one lock) ──► table ──► queue ──► Subscriber::receive
//!                 │  ▲                                                     pure: table, patterns, backlog, losses,
//!                 ▼  └───────────── server ◄── stream of a peer's lane           interest, gather, arrivals, wire
//!              outbox ──► lane ──► stream to a peer
//! ```

mod announce;
mod answer;
mod arrivals;
mod ask;
mod backlog;
mod causal;
mod config;
mod datagram;
mod deliver;
mod effect;
mod error;
mod gather;
mod hub;
mod interest;
mod lane;
mod losses;
mod message;
mod outbox;
mod patterns;
mod publish;
mod queue;
mod reach;
mod report;
mod requests;
mod server;
mod subscriber;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

pub use self::causal::Positions;
use self::causal::Stateless;
pub use self::config::{Config, Policy, QueueLimits};
pub use self::datagram::{UNRELIABLE_MAX, UnreliableReport};
pub use self::error::Error;
use self::hub::Hub;
use self::lane::{Lane, Links};
pub use self::message::{Cause, Delivery, Draft, Kind, Lost, Message};
use self::publish::Count;
pub use self::queue::{Counters, QueueReport};
pub use self::reach::Reach;
pub use self::report::{LaneReport, SubscribersReport};
pub use self::requests::{Request, RequestError, Responder, Unit};
pub use self::subscriber::{Meter, Subscriber, Subscription};
use crate::ids::NodeId;
use crate::transport::{Inbound, Transport};

/// How long [`PubSub::stop`] waits for the lanes to send what waits in them.
const STOP_MAX: Duration = Duration::from_secs(1);

/// Pub/sub on one node. Cheap to clone; when the last clone is dropped, all its subscribers and lanes end.
#[derive(Clone, Debug)]
pub struct PubSub(Arc<Handle>);

/// Ends everything with the last [`PubSub`]; tasks and subscribers hold only what is inside.
#[derive(Debug)]
struct Handle(Arc<Hub>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl PubSub {
    /// Starts pub/sub without peers, for a process that is alone.
    #[must_use]
    pub fn local(config: Config) -> Self {
        Self(Arc::new(Handle(Arc::new(Hub::new(config, None, Arc::new(Stateless))))))
    }

    /// Starts pub/sub over `transport`, with no peer linked yet. `generation` must be higher at each start of a node that
    /// keeps its id. The transport's `frame_max.publish` must exceed `message_max` by 64 bytes. `positions` tells how far this
    /// node's state has come, for messages to [causal](Subscriber::causal) subscribers.
    ///
    /// Give it the incoming streams of [`Class::Publish`](crate::transport::Class::Publish) by [`PubSub::handle`].
    #[must_use]
    pub fn start(
        config: Config,
        transport: Transport,
        generation: u64,
        positions: Arc<dyn Positions>,
    ) -> Self {
        let node = transport.identity().node;
        let links = Links { transport, node, generation };
        let inbox = links.transport.datagrams();
        let hub = Arc::new(Hub::new(config, Some(links), positions));
        tokio::spawn(Arc::clone(&hub).receive(inbox));
        Self(Arc::new(Handle(hub)))
    }

    /// Opens a subscriber with the limits of the configuration.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        self.subscriber_with(self.hub().config.subscriber)
    }

    /// Opens a subscriber with limits of its own.
    #[must_use]
    pub fn subscriber_with(&self, limits: QueueLimits) -> Subscriber {
        self.hub().subscriber(limits)
    }

    /// Publishes. When this returns, the message waits in the queue of every local listener and on its way to every linked
    /// peer, behind all that this node has published before. The future gives how many subscriptions received it over the
    /// whole cluster if `want_count`, else how many did here; it waits no longer than `count_timeout` and need not be
    /// awaited. [`Kind::Pattern`] counts as [`Kind::Channel`].
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::MessageTooLarge`] and [`Error::Closed`]; nobody has received it then.
    pub fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
        want_count: bool,
    ) -> Result<impl Future<Output = u64> + Send + use<>, Error> {
        let count = self.hub().publish(kind, channel, payload, want_count)?;
        Ok(async move { count.known().await.count })
    }

    /// Publishes many messages in their order, as [`PubSub::publish`] each of them: cheaper, because lanes and listeners are woken
    /// for many of them at once.
    ///
    /// # Errors
    /// In the place of each message as [`PubSub::publish`]; the others are published.
    pub fn publish_all(
        &self,
        drafts: &[Draft],
        want_count: bool,
    ) -> Vec<Result<impl Future<Output = u64> + Send + use<>, Error>> {
        let counts = self.hub().publish_all(drafts, want_count);
        let count = |count: Count| async move { count.known().await.count };
        counts.into_iter().map(|asked| Ok(count(asked?))).collect()
    }

    /// Publishes what may be lost, for state that the next message replaces: one QUIC datagram to each peer that may listen
    /// and whose link is up. When this returns, it waits in the queue of every local listener; it gives how many subscriptions
    /// that were. Of one publisher's unreliable messages to one channel, no older one comes after a newer one. Lost
    /// ones are counted in [`LaneReport::unreliable`], and no subscriber is told of them. Order with other messages is not kept.
    ///
    /// # Errors
    /// [`Error::DatagramTooLarge`] when channel and payload have more than [`UNRELIABLE_MAX`] bytes; otherwise as
    /// [`PubSub::publish`].
    pub fn publish_unreliable(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<u64, Error> {
        self.hub().publish_unreliable(kind, channel, payload)
    }

    /// Sends a request to one responder to `channel`, on this node if it has one, else on any linked peer, and waits for its
    /// reply. At most one responder gets it.
    ///
    /// Cost: one round trip, and another one when this node does not know yet which of several peers has a responder.
    ///
    /// # Errors
    /// [`RequestError`] says what is known about the request's effect: [`RequestError::effect_is_none`].
    ///
    /// # Cancel safety
    /// A responder may have got the request, or may still get it; its reply is dropped.
    pub async fn request(
        &self,
        channel: &[u8],
        payload: Bytes,
        time: Duration,
    ) -> Result<Bytes, RequestError> {
        self.hub().request(channel, payload, time).await
    }

    /// Responds to requests to `channel`, beside all others who do. When this returns, every later request on a linked
    /// node finds it.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::TableFull`] and [`Error::Closed`].
    pub fn respond(&self, channel: &[u8]) -> Result<Responder, Error> {
        self.hub().respond(channel)
    }

    /// Gives how many requests of this node wait for replies, and how many responders it has.
    #[must_use]
    pub fn request_counts(&self) -> (usize, usize) {
        self.hub().state().requests.counts()
    }

    /// Begins the lane to a member, or brings its address up to date. It is dialled until it is unlinked.
    pub fn link(&self, peer: NodeId, address: SocketAddr) {
        // No lane when this node is alone, is that peer, or has stopped.
        let _outbox = self.hub().link(peer, address, true);
    }

    /// Ends the lane to a node that is no member any more. What waits for it is dropped.
    pub fn unlink(&self, peer: NodeId) {
        self.hub().unlink(peer);
    }

    /// Takes in that this node was out of the cluster for a while. Others may have come, published and left meanwhile, so each
    /// subscriber is told [`Cause::Links`].
    pub fn was_apart(&self) {
        self.hub().state().tell_of_strangers();
    }

    /// Takes in that the process of a linked peer has ended: requests that it held end at once. Its lane stays until it is
    /// unlinked, and counts as a new one once its stream is open again.
    pub fn died(&self, peer: NodeId) {
        self.hub().state().ask(requests::Event::Unlinked(peer));
    }

    /// Links `peer` and waits until its lane to this node is up, so that everything published there from then on arrives
    /// here. A node that joins does this with every member before it says that it is ready.
    ///
    /// # Errors
    /// [`Error::NotAttached`] after `attach_timeout`, or when the peer is unlinked meanwhile; [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Safe: the lane stays.
    pub async fn attach(&self, peer: NodeId, address: SocketAddr) -> Result<(), Error> {
        self.hub().attach(peer, address).await
    }

    /// Reads a peer's lane, until it ends.
    pub fn handle(&self, inbound: Inbound) {
        tokio::spawn(server::serve(Arc::clone(self.hub()), inbound));
    }

    /// Gives the channels that somebody in the cluster listens to, by their names and not by patterns, in order; only those
    /// that match `pattern`, if there is one. [`Kind::Pattern`] gives the patterns themselves. A peer that does not answer
    /// within `count_timeout` is left out.
    pub async fn channels(&self, kind: Kind, pattern: Option<Bytes>) -> Vec<Bytes> {
        self.hub().names(kind, pattern).await.into_iter().collect()
    }

    /// Gives how many subscribers in the cluster listen to each of `channels` by its name, as [`PubSub::channels`].
    pub async fn subscriber_counts(&self, kind: Kind, channels: Vec<Bytes>) -> Vec<u64> {
        let counts = self.hub().subscriber_counts(kind, channels).await;
        counts.iter().map(|reach| reach.count).collect()
    }

    /// Gives how many different patterns the cluster listens to, as [`PubSub::channels`].
    pub async fn pattern_count(&self) -> u64 {
        self.hub().names(Kind::Pattern, None).await.len() as u64
    }

    /// Reports on the lanes, by peer.
    #[must_use]
    pub fn lane_report(&self) -> Vec<LaneReport> {
        self.hub().state().report()
    }

    /// Reports on the subscribers of this node. Cost: O(subscribers).
    #[must_use]
    pub fn subscribers_report(&self) -> SubscribersReport {
        self.hub().subscribers_report()
    }

    /// Ends all subscribers, who may still receive what waits for them, and all lanes, which are given a second to send
    /// what waits in them.
    pub async fn stop(&self) {
        self.hub().stop();
        let tasks: Vec<_> =
            self.hub().state().lanes.values_mut().filter_map(Lane::take_task).collect();
        let deadline = Instant::now() + STOP_MAX;
        for task in tasks {
            // A lane that takes longer is not waited for.
            let _late = timeout_at(deadline, task).await;
        }
    }

    fn hub(&self) -> &Arc<Hub> {
        let Handle(hub) = &*self.0;
        hub
    }
}
