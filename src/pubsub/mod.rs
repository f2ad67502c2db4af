//! Messages to listeners: on this node, and by one ordered lane to every other node. Not through Raft.
//!
//! Invariant: when `subscribe` has returned, every later publish on any linked node is delivered here.

mod config;
mod error;
mod hub;
mod message;
mod patterns;
mod queue;
mod subscriber;
mod table;
#[cfg(test)]
mod table_tests;

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;

pub use self::config::{Config, QueueLimits};
pub use self::error::Error;
use self::hub::Hub;
pub use self::message::{Kind, Message};
pub use self::subscriber::Subscriber;

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
        Self(Arc::new(Handle(Arc::new(Hub::new(config)))))
    }

    /// Opens a subscriber with the limits of the configuration.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        self.subscriber_with(self.0.0.config.subscriber)
    }

    /// Opens a subscriber with limits of its own.
    #[must_use]
    pub fn subscriber_with(&self, limits: QueueLimits) -> Subscriber {
        self.0.0.subscriber(limits)
    }

    /// Publishes. When this returns, the message waits in the queue of every local listener and on its way to every linked
    /// peer, behind all that this node has published before. The future gives how many subscriptions received it over the
    /// whole cluster if `want_count`, else how many did here; it waits no longer than `count_timeout` and need not be
    /// awaited. [`Kind::Pattern`] counts as [`Kind::Channel`].
    ///
    /// # Errors
    /// [`Error::MessageTooLarge`], and then nobody received it.
    pub fn publish(
        &self,
        kind: Kind,
        channel: Bytes,
        payload: Bytes,
        want_count: bool,
    ) -> Result<impl Future<Output = u64> + Send + use<>, Error> {
        let _ = want_count;
        self.0.0.check(&channel, &payload)?;
        Ok(ready(self.0.0.state().deliver(kind, &channel, &payload)))
    }

    /// Gives the channels that somebody in the cluster listens to, by their names and not by patterns, in order; only those
    /// that match `pattern`, if there is one. [`Kind::Pattern`] gives the patterns themselves.
    pub fn channels(
        &self,
        kind: Kind,
        pattern: Option<Bytes>,
    ) -> impl Future<Output = Vec<Bytes>> + Send + use<> {
        let state = self.0.0.state();
        let is_wanted = |name: &&Bytes| pattern.as_ref().is_none_or(|p| patterns::matches(p, name));
        let mut names: Vec<Bytes> = state.table.names(kind).filter(is_wanted).cloned().collect();
        names.sort();
        ready(names)
    }

    /// Gives how many subscribers in the cluster listen to each of `channels` by its name.
    pub fn subscriber_counts(
        &self,
        kind: Kind,
        channels: Vec<Bytes>,
    ) -> impl Future<Output = Vec<u64>> + Send + use<> {
        let state = self.0.0.state();
        let count = |channel: &Bytes| state.table.listeners(kind, channel) as u64;
        ready(channels.iter().map(count).collect())
    }

    /// Gives how many different patterns the cluster listens to.
    pub fn pattern_count(&self) -> impl Future<Output = u64> + Send + use<> {
        ready(self.0.0.state().table.names(Kind::Pattern).count() as u64)
    }

    /// Ends all subscribers and lanes. What waits in them may still be received.
    pub fn stop(&self) {
        self.0.0.stop();
    }
}
