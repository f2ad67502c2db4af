//! Messages between processes, as programs and doors use them.
//!
//! Owns nothing but the step from the node's API to pub/sub. Invariant: a subscription is made only on a node that every
//! other node publishes to.

use bytes::Bytes;

use super::Node;
use crate::pubsub::{Error, Kind, PubSub, Subscriber};

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

    /// Opens a subscriber with its own bounded queue. Subscribe only once [`Node::ready`] has returned: from then on every
    /// later publish on any node is delivered.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        self.pubsub().subscriber()
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
