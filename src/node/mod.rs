//! The assembled node: the API that programs and doors use.
//!
//! Owns the configuration, the assembly of the rooms below, the life of a node from joining to leaving, its status, and
//! how requests are split between log and local reads. Does not know doors. Invariant: a node that cannot keep its
//! promises stops, and says why.

mod assembly;
pub mod bind;
mod bound;
#[cfg(test)]
mod bound_tests;
#[cfg(test)]
mod causal_tests;
#[cfg(test)]
mod clock_tests;
pub mod config;
#[cfg(test)]
mod durable_tests;
mod error;
pub mod events;
mod gossip;
mod lifecycle;
mod messages;
mod notify;
mod report;
mod requests;
pub mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

pub use self::assembly::Parts;
use self::bind::Patterns;
pub use self::bound::Bound;
pub use self::config::Config;
pub use self::error::{Error, StartError};
pub use self::events::{Event, Events};
use self::lifecycle::Phase;
pub use self::requests::{Consistency, Interrupt};
pub use self::status::Status;
use crate::consensus::Consensus;
use crate::ids::NodeId;
use crate::keyspace::Flags;
use crate::membership::Membership;
use crate::pubsub::PubSub;
use crate::transport::Transport;

/// A running node. Cheap to clone; all clones are the same node.
#[derive(Clone, Debug)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: NodeId,
    config: Config,
    transport: Transport,
    membership: Membership,
    consensus: Consensus,
    pubsub: PubSub,
    patterns: Patterns,
    /// The bits of [`Flags`].
    notify: AtomicU16,
    /// Whether keyspace notifications are given already: what a node catches up with at its start is no news.
    is_notifying: Mutex<bool>,
    events: broadcast::Sender<Event>,
    phase: watch::Sender<Phase>,
    failure: watch::Sender<Option<String>>,
}

impl Node {
    /// Gives the node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Gives the address at which other nodes reach this one.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.0.transport.advertised()
    }

    /// Gives the node's configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Waits until the node has been in sync with its cluster once: its session is open, and messages from every other
    /// node reach it. Returns at once ever after, and when the node stops.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&self) {
        let mut phase = self.0.phase.subscribe();
        // The sender lives in the node itself.
        let _ready = phase.wait_for(|phase| *phase >= Phase::Ready).await;
    }

    /// Waits until the node cannot go on; gives why. A program should end then, or start another node.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stopped(&self) -> String {
        let mut failure = self.0.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or_default(),
            Err(_) => "the node is gone".to_owned(),
        }
    }

    /// Waits until the node leaves or cannot go on: from then on nobody should join through it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ends(&self) {
        let mut phase = self.0.phase.subscribe();
        tokio::select! {
            // The sender lives in the node itself.
            _leaving = phase.wait_for(|phase| *phase == Phase::Leaving) => {}
            _why = self.stopped() => {}
        }
    }

    /// Which keyspace notifications this node gives its listeners now.
    #[must_use]
    pub fn notify_flags(&self) -> Flags {
        Flags::from_bits(self.0.notify.load(Ordering::Relaxed))
    }

    /// Changes which keyspace notifications this node gives its listeners, until it stops.
    pub fn set_notify_flags(&self, flags: Flags) {
        let is_notifying = self.0.is_notifying.lock();
        self.0.notify.store(flags.bits(), Ordering::Relaxed);
        if *is_notifying {
            self.consensus().notifications().set_flags(flags);
        }
    }

    fn consensus(&self) -> &Consensus {
        &self.0.consensus
    }
}
