//! What the door needs of a node, so that it can be tested against another one.
//!
//! Owns the trait and nothing that happens behind it. Invariant: it mirrors [`Node`], name by name.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::command::{Operation, Reply, Request};
use crate::consensus::Client;
use crate::keyspace::Flags;
use crate::node::bind::Patterns;
use crate::node::status::State;
use crate::node::{self, Interrupt, Node};
use crate::pubsub::{self, Draft, Kind, QueueLimits, RequestError, Subscriber, SubscribersReport};

/// What INFO and its kin tell of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) node_id: String,
    pub(super) node_name: String,
    /// Whether it cannot serve yet, but will.
    pub(super) is_loading: bool,
    pub(super) state: String,
    pub(super) cluster: String,
    pub(super) role: String,
    pub(super) term: u64,
    pub(super) applied: u64,
    pub(super) voters: usize,
    pub(super) members: usize,
}

/// What a door asks of a node: see the methods of [`Node`].
#[async_trait]
pub(super) trait Backend: Send + Sync + 'static {
    /// Waits until every other node publishes to this one.
    async fn ready(&self);

    /// The longest key.
    fn key_max(&self) -> usize;

    /// Which keys are bound without being asked.
    fn patterns(&self) -> Patterns;

    /// Lets a client in, whose writes can go with it.
    fn client(&self) -> Client;

    /// Which keyspace notifications are given.
    fn notify_flags(&self) -> Flags;

    /// Changes them.
    fn set_notify_flags(&self, flags: Flags);

    async fn execute(&self, requests: Vec<Request>) -> Vec<Result<Reply, node::Error>>;

    async fn wait(
        &self,
        operation: Operation,
        interrupt: BoxFuture<'static, Interrupt>,
    ) -> Result<Reply, node::Error>;

    async fn revision(&self) -> Result<u64, node::Error>;

    fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<BoxFuture<'static, u64>, pubsub::Error>;

    async fn request(
        &self,
        channel: Bytes,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RequestError>;

    /// As [`Backend::publish`], for many; their errors stand in their places.
    fn publish_all(&self, drafts: &[Draft]) -> Vec<Result<BoxFuture<'static, u64>, pubsub::Error>>;

    /// Opens a subscriber with those limits.
    fn subscriber(&self, limits: QueueLimits) -> Subscriber;

    /// What waits for this node's subscribers, and what they lost.
    fn subscribers(&self) -> SubscribersReport;

    async fn channels(&self, kind: Kind, pattern: Option<Bytes>) -> Vec<Bytes>;

    async fn subscriber_counts(&self, kind: Kind, channels: Vec<Bytes>) -> Vec<u64>;

    async fn pattern_count(&self) -> u64;

    fn facts(&self) -> Facts;
}

#[async_trait]
impl Backend for Node {
    async fn ready(&self) {
        self.ready().await;
    }

    fn key_max(&self) -> usize {
        usize::try_from(self.config().cluster.key_max.as_u64()).unwrap_or(usize::MAX)
    }

    fn patterns(&self) -> Patterns {
        self.patterns().clone()
    }

    fn client(&self) -> Client {
        self.client()
    }

    fn notify_flags(&self) -> Flags {
        self.notify_flags()
    }

    fn set_notify_flags(&self, flags: Flags) {
        self.set_notify_flags(flags);
    }

    async fn execute(&self, requests: Vec<Request>) -> Vec<Result<Reply, node::Error>> {
        self.execute_as_bound(requests).await
    }

    async fn wait(
        &self,
        operation: Operation,
        interrupt: BoxFuture<'static, Interrupt>,
    ) -> Result<Reply, node::Error> {
        self.wait(operation, interrupt).await
    }

    async fn revision(&self) -> Result<u64, node::Error> {
        self.revision().await
    }

    fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<BoxFuture<'static, u64>, pubsub::Error> {
        Ok(Box::pin(self.publish(kind, channel, payload)?))
    }

    fn publish_all(&self, drafts: &[Draft]) -> Vec<Result<BoxFuture<'static, u64>, pubsub::Error>> {
        let counts = self.publish_all(drafts);
        counts.into_iter().map(|count| Ok(Box::pin(count?) as BoxFuture<'static, u64>)).collect()
    }

    async fn request(
        &self,
        channel: Bytes,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RequestError> {
        self.request(&channel, payload, timeout).await
    }

    fn subscriber(&self, limits: QueueLimits) -> Subscriber {
        self.pubsub().subscriber_with(limits)
    }

    fn subscribers(&self) -> SubscribersReport {
        self.pubsub().subscribers_report()
    }

    async fn channels(&self, kind: Kind, pattern: Option<Bytes>) -> Vec<Bytes> {
        self.channels(kind, pattern).await
    }

    async fn subscriber_counts(&self, kind: Kind, channels: Vec<Bytes>) -> Vec<u64> {
        self.subscriber_counts(kind, channels).await
    }

    async fn pattern_count(&self) -> u64 {
        self.pattern_count().await
    }

    fn facts(&self) -> Facts {
        let status = self.status();
        Facts {
            node_id: status.node.id.to_string(),
            node_name: status.node.name,
            is_loading: matches!(status.node.state, State::Joining | State::Syncing),
            state: format!("{:?}", status.node.state).to_lowercase(),
            cluster: status.cluster.id.to_string(),
            role: format!("{:?}", status.raft.role).to_lowercase(),
            term: status.raft.term,
            applied: status.raft.applied,
            voters: status.voters.len(),
            members: status.members.len(),
        }
    }
}
