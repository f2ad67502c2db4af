//! What a node that comes back with its log does differently from a new one.
//!
//! Owns the time in which it takes part in no election. Does not know the disk. Invariant: a node that has just come back votes for
//! nobody, itself neither, before every leader that may count on its last word has asked again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::shared::Shared;

/// Until when this node takes part in no election.
///
/// A follower holds to a leader for `election_timeout_max` after its last word. A restart forgets that word, and the engine
/// does not keep it: without this, a node would help to elect another leader while the old one rightly believes
/// that nobody can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate(Option<Instant>);

impl Gate {
    /// Shut for `time` if this node was here before.
    pub(super) fn new(was_here: bool, time: Duration) -> Self {
        Self(was_here.then(|| Instant::now() + time))
    }

    /// Tells whether this node may vote.
    pub(super) fn is_open(self) -> bool {
        self.0.is_none_or(|until| Instant::now() >= until)
    }
}

/// Lets this node stand for election once the gate is open.
pub(super) async fn open(shared: Arc<Shared>) {
    let Some(until) = shared.gate.0 else {
        return;
    };
    let raft = shared.raft();
    // Alone, it is the only one that could elect another leader.
    if shared.voters().iter().all(|voter| *voter == shared.node) {
        return;
    }
    raft.runtime_config().elect(false);
    tokio::time::sleep_until(until).await;
    raft.runtime_config().elect(true);
}
