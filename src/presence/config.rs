//! The settings of a presence over a node.
//!
//! Owns their defaults. The presence is part of a game process, so they are handed in by it and stand in no file of ours.
//! Invariant: each is enforced where its key says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::node::bind::Bind;
use crate::pubsub::QueueLimits;

/// How a [`ClusterPresence`](super::ClusterPresence) asks its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a call is tried again that nobody took, or that may be done twice: while there is no leader, no majority, or
    /// the node is not ready. Default 10 s; time in which the whole process was stopped does not count, and
    /// the last try may take the node's `consensus.request_timeout` in addition. Raised: callers wait longer before they
    /// hear that the cluster is down. Lowered: an election or a slow start fails calls.
    #[serde(with = "crate::time::duration_text")]
    pub patience: Duration,
    /// Keys whose writes go with this process, in addition to the node's own `[[bind]]`. Default none. `to` is not looked at:
    /// a program has no connection. More: each write is compared with more patterns.
    pub bind: Vec<Bind>,
    /// How far a subscription may fall behind. Default 32 MiB, above which its oldest messages are dropped, and the subscriber
    /// is told how many; `soft` is not looked at. Raised: a slow subscriber holds more memory. Lowered: a burst loses messages.
    pub subscription: QueueLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            bind: Vec::new(),
            subscription: QueueLimits::default(),
        }
    }
}
