//! Messages between processes, as programs and doors use them.
//!
//! Owns nothing but the step from the node's API to pub/sub. Invariant: a subscription is made only on a node that every
//! other node publishes to.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Node;
use crate::consensus::Progress;
use crate::pubsub::{Draft, Error, Kind, Positions, PubSub, RequestError, Responder, Subscriber};

/// Tells pub/sub how far consensus has come.
#[derive(Debug)]
pub(super) struct Written(pub(super) Progress);

impl Positions for Written {
    fn written(&self) -> u64 {
        self.0.written()
    }

    fn applied(&self) -> u64 {
        self.0.applied()
    }

    fn reached(&self, position: u64) -> BoxFuture<'_, ()> {
        Box::pin(self.0.reached(position))
    }
}

impl Node {
    /// Publishes. When this returns, the message is on its way to every listener, behind all that this node has published
    /// before. The future gives how many subscriptions received it over the whole cluster, as Redis' PUBLISH does; it need
    /// not be awaited.
    ///
    /// # Errors
    /// When the message is larger than allowed; then nobody received it.
    pub fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<impl Future<Output = u64> + Send + use<>, Error> {
        self.pubsub().publish(kind, channel, payload, true)
    }

    /// Publishes many messages in their order, as [`Node::publish`] each of them, at less cost.
    ///
    /// # Errors
    /// In the place of each message as [`Node::publish`]; the others are published.
    pub fn publish_all(
        &self,
        drafts: &[Draft],
    ) -> Vec<Result<impl Future<Output = u64> + Send + use<>, Error>> {
        self.pubsub().publish_all(drafts, true)
    }

    /// Publishes what may be lost, for state that the next message replaces (positions, cursors): one QUIC datagram to each node
    /// that may listen. Older ones never come after newer ones of the same channel; subscribe with
    /// [`Policy::LatestOnly`](crate::pubsub::Policy::LatestOnly) to have waiting ones replaced too. Nobody is told of those
    /// that are lost. Gives how many subscriptions of this node it reached.
    ///
    /// # Errors
    /// When channel and payload have more than [`UNRELIABLE_MAX`](crate::pubsub::UNRELIABLE_MAX) bytes.
    pub fn publish_unreliable(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<u64, Error> {
        self.pubsub().publish_unreliable(kind, channel, payload)
    }

    /// Opens a subscriber with its own bounded queue. Subscribe only once [`Node::ready`] has returned: from then on every
    /// later publish on any node is delivered. Made [causal](Subscriber::causal), it gives a message only once this node has
    /// applied what the publisher's node had written before, so that a read with
    /// [`Consistency::Local`](super::Consistency::Local) sees that.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        self.pubsub().subscriber()
    }

    /// Sends a request to one responder to `channel`, wherever in the cluster it is, and waits for its reply. At most one
    /// responder gets it: one of this node if there is one.
    ///
    /// Cost: one round trip between nodes, and another one when this node does not know yet where there is a responder.
    ///
    /// # Errors
    /// At once when nobody responds, and when the responder's process is known to be gone; and in all other cases of
    /// [`RequestError`], which says whether somebody may have got the request: [`RequestError::effect_is_none`].
    ///
    /// # Cancel safety
    /// A responder may have got the request, or may still get it; its reply is dropped.
    pub async fn request(
        &self,
        channel: &[u8],
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RequestError> {
        self.pubsub().request(channel, payload, timeout).await
    }

    /// Responds to requests to `channel`, beside all others who do. In effect when it returns: every later request on any
    /// node finds it. Call it only once [`Node::ready`] has returned.
    ///
    /// # Errors
    /// When there are too many responders, the name is too long, or the node has stopped.
    pub fn respond(&self, channel: &[u8]) -> Result<Responder, Error> {
        self.pubsub().respond(channel)
    }

    /// Gives pub/sub itself, for what a door needs beyond these.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.0.pubsub
    }

    /// Gives the channels with a subscriber anywhere in the cluster, that match `pattern`.
    pub async fn channels(&self, kind: Kind, pattern: Option<Bytes>) -> Vec<Bytes> {
        self.pubsub().channels(kind, pattern).await
    }

    /// Gives how many subscribers each channel has over the whole cluster.
    pub async fn subscriber_counts(&self, kind: Kind, channels: Vec<Bytes>) -> Vec<u64> {
        self.pubsub().subscriber_counts(kind, channels).await
    }

    /// Gives how many distinct patterns are subscribed to, over the whole cluster.
    pub async fn pattern_count(&self) -> u64 {
        self.pubsub().pattern_count().await
    }
}
