//! What an operator may change about membership.
//!
//! Owns the keys of the `[membership]` table and their defaults. Does not hold the seeds, which are the node's.
//! Invariant: a value that would make the gossip fail is refused at the start, with the key and the number.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;

/// The keys of the `[membership]` table. They should be alike on all nodes, but need not be equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often this node gossips with a few others. Default 200 ms. Raised: less traffic (about 3 kB/s per node at the
    /// default), and everything below is seen later in proportion. Lowered: the reverse.
    #[serde(with = "crate::time::duration_text")]
    pub gossip_interval: Duration,
    /// How many times the usual pause between two signs of life a node may be silent before it counts as dead.
    /// Default 16: a crash is seen within about 1.3 to 2 s at the default interval. Raised: deaths are seen later. Lowered: a
    /// node that stalls for a moment is taken for dead; at 8, a stall of 1 s is enough. Source: measured.
    pub phi_threshold: f64,
    /// For how long a dead node is remembered. Default 10 min. Raised: in a crash loop, the many dead starts make every
    /// message longer, above some 500 too long. Lowered: below a minute, a node behind a cut may be forgotten.
    #[serde(with = "crate::time::duration_text")]
    pub dead_grace: Duration,
    /// How often the host names among the seeds are resolved anew. Default 30 s, and every 2 s while no other node is
    /// known. Raised: fewer queries. Lowered: nodes behind a changed name are found sooner.
    #[serde(with = "crate::time::duration_text")]
    pub resolve_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gossip_interval: Duration::from_millis(200),
            phi_threshold: 16.0,
            dead_grace: Duration::from_secs(600),
            resolve_interval: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Checks the values and their relations.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and the number.
    pub fn check(&self) -> Result<(), Error> {
        let refused = |what: String| Err(Error::Config { what });
        if self.gossip_interval < Duration::from_millis(10) {
            return refused(format!(
                "gossip_interval of {:?} is below the least, 10ms",
                self.gossip_interval
            ));
        }
        if !(1.0..=1_000.0).contains(&self.phi_threshold) {
            return refused(format!("phi_threshold of {} is not 1 to 1000", self.phi_threshold));
        }
        if self.dead_grace < self.gossip_interval.saturating_mul(100) {
            return refused(format!(
                "dead_grace of {:?} is below 100 times gossip_interval, which is {:?}",
                self.dead_grace, self.gossip_interval
            ));
        }
        if self.resolve_interval < Duration::from_secs(1) {
            return refused(format!(
                "resolve_interval of {:?} is below the least, 1s",
                self.resolve_interval
            ));
        }
        Ok(())
    }
}
