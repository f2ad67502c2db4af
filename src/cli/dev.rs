//! `quorate dev`: a whole cluster in one process, for trying it.
//!
//! Owns the ports of its nodes. Invariant: it listens on this machine only, and its secret is never written down.

use super::Failure;
use super::arguments::Dev;

/// Runs a cluster until a signal ends it.
pub(crate) fn dev(flags: &Dev) -> Result<(), Failure> {
    let nodes = flags.nodes;
    Err(Failure::Fatal(format!("a cluster of {nodes} is still being built")))
}
