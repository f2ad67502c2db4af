//! Whether anybody got a message, or would: a count, and whether it is all of it.
//!
//! Owns the difference between nobody and nobody heard of. Invariant: a count is called whole only when every peer that there is
//! has answered, so that a peer which stalls, or whose link is broken, is never taken for one without listeners.

use std::sync::Arc;

use bytes::Bytes;

use super::gather::Gathered;
use super::{Error, Kind, PubSub};

/// How many subscriptions in the cluster a message has reached, or would reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Those that are known.
    pub count: u64,
    /// Whether there are no others: every peer has answered, or has said before that it has no listeners.
    pub is_whole: bool,
}

impl Reach {
    /// Tells whether there surely was nobody.
    #[must_use]
    pub const fn is_nobody(self) -> bool {
        self.count == 0 && self.is_whole
    }
}

impl From<Gathered<u64>> for Reach {
    fn from(Gathered { sum, is_whole }: Gathered<u64>) -> Self {
        Self { count: sum, is_whole }
    }
}

impl From<Reach> for Gathered<u64> {
    fn from(Reach { count, is_whole }: Reach) -> Self {
        Self { sum: count, is_whole }
    }
}

impl PubSub {
    /// Publishes as [`PubSub::publish`] does; the future tells whom it has reached, and whether these are all.
    ///
    /// # Errors
    /// As [`PubSub::publish`].
    pub fn publish_reaching(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<impl Future<Output = Reach> + Send + use<>, Error> {
        Ok(self.hub().publish(kind, channel, payload, true)?.known())
    }

    /// Asks how many subscribers in the cluster listen to each of `channels` by its name, and whether these are all.
    ///
    /// Cost: a question to each peer, and at most `count_timeout`.
    pub async fn listeners(&self, kind: Kind, channels: Vec<Bytes>) -> Vec<Reach> {
        Arc::clone(self.hub()).subscriber_counts(kind, channels).await
    }

    /// Tells whether anybody on this node listens to a channel by its name.
    #[must_use]
    pub fn is_heard_here(&self, kind: Kind, channel: &[u8]) -> bool {
        self.hub().state().table.listeners(kind, channel) > 0
    }
}
