//! What consensus tells about itself.
//!
//! Owns the report for people and doors; decides nothing by it. Invariant: taking a report never waits.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, ServerState};

use super::Consensus;
use super::lag::Lag;
use super::manager::LastDecision;
use super::shared::Shared;
use crate::ids::{FormationId, NodeId, Placement, SessionId};

/// What a node is in the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes and follows, or stands for election.
    Follower,
    /// It follows without a vote.
    Observer,
}

/// Consensus as this node sees it.
#[derive(Clone, Debug)]
pub struct Status {
    /// What this node is.
    pub role: Role,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub term: u64,
    /// The index of the last entry applied here.
    pub applied: u64,
    /// The index of the last entry in this node's log.
    pub last_log: u64,
    /// The formation; [`FormationId::NONE`] while there is none.
    pub formation: FormationId,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Everybody in the group, learners included.
    pub members: BTreeMap<NodeId, Placement>,
    /// This node's session, once it is open.
    pub session: Option<SessionId>,
    /// How many sessions are open in the cluster.
    pub sessions: usize,
    /// How many keys, fields, members and shares each session has bound; those with none are left out.
    pub bound: BTreeMap<SessionId, usize>,
    /// How many clients of the cluster wait for an element of a list.
    pub waiting: usize,
    /// Why there is no leader, if that is known.
    pub halted: Option<String>,
    /// Why the cluster was last formed anew, if this node did it.
    pub origin: Option<String>,
    /// Entries and bytes in this node's log.
    pub log: (usize, usize),
    /// The node that feeds this one, if it does not vote.
    pub follows: Option<NodeId>,
    /// How far this node is behind the one that feeds it; zero if it votes.
    pub lag: Lag,
    /// How many chunks of snapshots, of about 1 MiB each, this node got from its sources.
    pub chunks: u64,
    /// How many nodes this one feeds.
    pub feeds: usize,
    /// What the manager of voters decided last, on the leader.
    pub decision: Option<LastDecision>,
}

impl Shared {
    /// How long ago a member last answered this leader.
    pub(super) fn answered(&self, node: NodeId) -> Option<Duration> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.as_ref()?.get(&node)?.as_ref()?;
        Some(heard.elapsed())
    }

    /// How long ago, on the leader, a majority last answered.
    pub(super) fn quorum_age(&self) -> Option<Duration> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        Some(metrics.last_quorum_acked.as_ref()?.elapsed())
    }

    /// The index of the last entry in the latest snapshot.
    pub(super) fn snapshot_index(&self) -> u64 {
        self.raft().metrics().borrow_watched().snapshot.map_or(0, |id| id.index())
    }

    /// Tells whether the engine runs, or why it does not.
    pub(super) fn running(&self) -> Result<(), String> {
        self.raft().metrics().borrow_watched().running_state.clone().map_err(|e| e.to_string())
    }
}

impl Consensus {
    /// The leader that this node knows of.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.shared.leader().map(|(leader, _)| leader)
    }

    /// Tells whether there was a sign within the session timeout of a leader that a majority follows: that it has renewed this
    /// node's session or, if this node leads, that a majority has answered.
    #[must_use]
    pub fn is_in_contact(&self) -> bool {
        let shared = &self.shared;
        let timeout = shared.timing.session_timeout;
        if shared.is_leader() {
            let metrics = shared.raft().metrics();
            let metrics = metrics.borrow_watched();
            let is_alone = metrics.membership_config.voter_ids().all(|id| id == shared.node);
            let acked = metrics.last_quorum_acked;
            return is_alone || acked.is_some_and(|at| at.into_inner().elapsed() <= timeout);
        }
        shared.renewed.lock().elapsed() <= timeout
    }

    /// Takes a report.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let metrics = shared.raft().metrics().borrow_watched().clone();
        let membership = &metrics.membership_config;
        let voters: Vec<_> = membership.voter_ids().collect();
        let role = if metrics.state == ServerState::Leader {
            Role::Leader
        } else if voters.contains(&shared.node) {
            Role::Follower
        } else {
            Role::Observer
        };
        let (sessions, waiting, bound) = shared.state.with(|keyspace| {
            (keyspace.sessions().len(), keyspace.waiting(), keyspace.bound_counts())
        });
        Status {
            role,
            leader: metrics.current_leader,
            term: metrics.current_term,
            applied: shared.state.applied_index(),
            last_log: metrics.last_log_index.unwrap_or(0),
            formation: shared.links.formation(),
            voters,
            members: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
            session: shared.state.pending.session(),
            sessions,
            waiting,
            bound,
            halted: shared.recovery.reason(),
            origin: shared.recovery.origin(),
            log: shared.log.size(),
            follows: shared.follow.source(),
            lag: shared.follow.lag(shared.state.applied_index()),
            chunks: shared.follow.chunks(),
            feeds: shared.relay.fed(),
            decision: shared.manager.decision(),
        }
    }
}
