//! Where one process start is reached, and what it fails together with.
//!
//! Owns the plain values that the log, the sessions and the voters share about a node. Decides nothing by them.
//! Invariant: `host` and `zone` are texts for comparison only; empty means that nothing is known.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Where a node is reached, what it is called, and what it fails together with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its name for people.
    pub name: String,
    /// The address of its cluster port.
    pub address: SocketAddr,
    /// The host it runs on; nodes of one host fail together. Empty if unknown.
    pub host: String,
    /// The zone its host stands in. Empty if unknown.
    pub zone: String,
}

impl Placement {
    /// A placement of which no host and no zone is known.
    #[must_use]
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self { name: name.into(), address, host: String::new(), zone: String::new() }
    }
}

/// For openraft's own tests, which do not care where their nodes are.
#[cfg(test)]
impl Default for Placement {
    fn default() -> Self {
        Self::new("", SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}
