//! Ends the sessions of processes that are proven dead, at once and not after `session_timeout`.
//!
//! Owns the look at the locks of this host, and telling the leader, who may run on another. Invariant: what is told is a
//! session whose process has surely ended; the lock is taken before a session is opened, so that a new start of the same
//! node is never meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::command::Action;
use crate::host::Evidence;
use crate::ids::{NodeId, SessionId};

/// How often the locks are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(25);
/// After how long a death is told again.
const AGAIN: Duration = Duration::from_millis(500);
/// How many of the gone are remembered.
const GONE_MAX: usize = 1024;

/// The nodes that are known to be gone by the word of others.
#[derive(Debug, Default)]
pub(super) struct Deaths(Mutex<BTreeSet<NodeId>>);

/// Takes the word of another node that the process of a session is dead.
pub(super) async fn take(shared: &Shared, session: SessionId, is_durable: bool) -> Answer {
    if !shared.is_leader() {
        return Answer::NotLeader { leader: shared.leader() };
    }
    end(shared, session, is_durable).await;
    Answer::Done
}

async fn end(shared: &Shared, session: SessionId, is_durable: bool) {
    let node = shared.state.with(|keyspace| keyspace.sessions().get(&session).map(|s| s.node));
    let Some(node) = node.filter(|node| *node != shared.node) else {
        return;
    };
    if !is_durable {
        let mut gone = shared.deaths.0.lock();
        if gone.len() < GONE_MAX {
            gone.insert(node);
        }
    }
    tracing::warn!(%session, %node, "ending the session of a process that is proven dead");
    // Without a quorum it is not answered; then it is proposed again later.
    let _late = timeout(AGAIN, shared.propose(Action::Expire { session })).await;
}

/// Looks at the locks. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: BTreeMap<SessionId, Instant> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let open = shared.state.sessions().borrow().clone();
        told.retain(|session, at| open.contains_key(session) && at.elapsed() < AGAIN);
        for (session, peer) in open {
            let Evidence::Dead { is_durable } = shared.links.host.evidence(peer.node) else {
                continue;
            };
            let is_halted = shared.is_leader() && !shared.is_led();
            if peer.node == shared.node || is_halted || told.contains_key(&session) {
                continue;
            }
            told.insert(session, Instant::now());
            if shared.is_leader() {
                end(&shared, session, is_durable).await;
            } else {
                tell(&shared, session, is_durable).await;
            }
        }
    }
}

async fn tell(shared: &Shared, session: SessionId, is_durable: bool) {
    let Some((leader, placement)) = shared.leader() else {
        return;
    };
    // One on this host looks for itself.
    if shared.links.host.evidence(leader) != Evidence::Unknown {
        return;
    }
    let peer = shared.links.peer(leader, &placement);
    let call = Call::Dead { session, is_durable };
    // It is told again while the session is open.
    let _answer = shared.links.call(&peer, &call, AGAIN).await;
}

impl Shared {
    /// Tells whether a node is proven dead and can never come back: its place can be given away at once.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        let here = self.links.host.evidence(node);
        here == Evidence::Dead { is_durable: false } || self.deaths.0.lock().contains(&node)
    }
}
