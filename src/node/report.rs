//! Gathers the node's status from its rooms.
//!
//! Owns how their reports become one. Does not decide anything. Invariant: never waits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::ClusterConfig;
use super::lifecycle::Phase;
use super::status::{
    ClusterStatus, FollowStatus, LaneStatus, ManagerStatus, MemberStatus, NodeStatus, RaftStatus,
    Role, State, Status, SubscribersStatus,
};
use super::{Error, Node};
use crate::ids::NodeId;
use crate::{consensus, membership, pubsub};

/// How entries come to this node, and whom it feeds.
fn follow(raft: &consensus::Status) -> FollowStatus {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    FollowStatus {
        source: raft.follows,
        lag_entries: raft.lag.entries,
        lag_ms: millis(raft.lag.time),
        delay_median_ms: millis(raft.lag.delay_median),
        delay_p99_ms: millis(raft.lag.delay_p99),
        snapshot_chunks: raft.chunks,
        feeds: u64::try_from(raft.feeds).unwrap_or(u64::MAX),
    }
}

/// What the lanes to and from one node have carried.
fn lane(report: &pubsub::LaneReport) -> LaneStatus {
    let unreliable = report.unreliable;
    LaneStatus {
        peer: report.peer,
        up: report.is_up,
        queued_bytes: report.queued_bytes,
        dropped: report.dropped,
        sent: report.sent,
        sent_bytes: report.sent_bytes,
        withheld: report.withheld,
        prunes_held: report.prunes_held,
        prunes_made: report.prunes_made,
        grafts: report.grafts,
        reconnects: report.reconnects,
        received: report.received,
        missed: report.missed,
        unreliable_sent: unreliable.sent,
        unreliable_unsent: unreliable.unsent,
        unreliable_received: unreliable.received,
        unreliable_missing: unreliable.missing,
        unreliable_stale: unreliable.stale,
    }
}

/// What waits for this node's subscribers, and what they lost.
fn subscribers(report: &pubsub::SubscribersReport) -> SubscribersStatus {
    let pubsub::QueueReport { queued, queued_bytes, counters } = report.queues;
    SubscribersStatus {
        count: report.subscribers,
        subscriptions: report.subscriptions,
        queued,
        queued_bytes,
        lost_slow: counters.lost_slow,
        lost_link: counters.lost_link,
        lost_uncounted: counters.lost_uncounted,
        replaced: counters.replaced,
        cut: counters.overflows,
    }
}

impl Node {
    /// Tells how the node is and what it knows of its cluster. Cheap, and never waits.
    #[must_use]
    pub fn status(&self) -> Status {
        let raft = self.0.consensus.status();
        let (state, reason) = self.state(&raft);
        let name = self.0.transport.identity().name.clone();
        let ClusterConfig { id, .. } = &self.0.config.cluster;
        let formation = self.0.consensus.formation();
        let epoch = formation.map_or(0, |formation| formation.epoch);
        Status {
            node: NodeStatus { id: self.0.id, name, address: self.address(), state, reason },
            cluster: ClusterStatus {
                id: id.clone(),
                epoch,
                formation: formation.map(|f| f.to_string()),
                origin: raft.origin.clone(),
            },
            raft: RaftStatus {
                role: raft.role.into(),
                leader: raft.leader,
                term: raft.term,
                applied: raft.applied,
                last_log: raft.last_log,
                lag: raft.last_log.saturating_sub(raft.applied),
                log_entries: raft.log.0 as u64,
                log_bytes: raft.log.1 as u64,
            },
            follow: follow(&raft),
            voters: raft.voters.clone(),
            members: self.members(&raft),
            lanes: self.pubsub().lane_report().iter().map(lane).collect(),
            subscribers: subscribers(&self.pubsub().subscribers_report()),
            sessions: raft.sessions as u64,
            bound: raft.bound.values().map(|count| *count as u64).sum(),
            waiting: raft.waiting as u64,
            manager: raft.decision.as_ref().map(|last| ManagerStatus {
                decision: last.text.clone(),
                at_ms: last.at.as_millis(),
            }),
        }
    }

    fn state(&self, raft: &consensus::Status) -> (State, Option<String>) {
        let because = |reason: &str| Some(reason.to_owned());
        match self.phase() {
            Phase::Joining => (State::Joining, because("in no cluster yet")),
            Phase::Syncing => (State::Syncing, because("catching up with the cluster")),
            Phase::Leaving => (State::Leaving, because("leaving")),
            Phase::Ready if raft.halted.is_some() => (State::Halted, raft.halted.clone()),
            Phase::Ready if raft.leader.is_none() => (State::Halted, because("no leader is known")),
            Phase::Ready if raft.session.is_none() => {
                (State::Syncing, because("opening another session"))
            }
            Phase::Ready => (State::Ready, None),
        }
    }

    fn members(&self, raft: &consensus::Status) -> Vec<MemberStatus> {
        let sessions = self.0.consensus.sessions().borrow().clone();
        let follows = |id: &NodeId| sessions.values().any(|peer| peer.node == *id);
        let role = |id: &NodeId| {
            if raft.leader.as_ref() == Some(id) {
                Some(Role::Leader)
            } else if raft.voters.contains(id) {
                Some(Role::Follower)
            } else {
                (raft.members.contains_key(id) || follows(id)).then_some(Role::Observer)
            }
        };
        let session = |id: &NodeId| {
            sessions.iter().find(|(_, peer)| peer.node == *id).map(|(session, _)| *session)
        };
        let bound = |id: &NodeId| {
            session(id).and_then(|id| raft.bound.get(&id)).map_or(0, |count| *count as u64)
        };
        let view = self.0.membership.view();
        let known = view.values().map(|member| MemberStatus {
            id: member.id,
            name: member.facts.name.clone(),
            address: member.facts.address,
            alive: member.alive && member.facts.state != membership::State::Leaving,
            role: role(&member.id),
            session: session(&member.id).map(|id| id.to_string()),
            bound: bound(&member.id),
        });
        let in_session = sessions.values().map(|peer| (&peer.node, &peer.placement));
        let placements: BTreeMap<_, _> = raft.members.iter().chain(in_session).collect();
        let unknown = placements.into_iter().filter(|(id, _)| !view.contains_key(id));
        let unknown = unknown.map(|(id, placement)| MemberStatus {
            id: *id,
            name: placement.name.clone(),
            address: placement.address,
            // Gossip is slower than consensus: a node that has just joined is known by its session first.
            alive: *id == self.0.id || follows(id),
            role: role(id),
            session: session(id).map(|id| id.to_string()),
            bound: bound(id),
        });
        let mut members: Vec<_> = known.chain(unknown).collect();
        members.sort_by_key(|member| member.id);
        members
    }

    /// Says that the majority of voters is gone, if gossip believes so.
    pub(super) fn without_majority(&self) -> Option<Error> {
        let voters = self.0.consensus.status().voters;
        let view = self.0.membership.view();
        let is_alive = |id: &NodeId| *id == self.0.id || view.get(id).is_some_and(|m| m.alive);
        let alive = voters.iter().filter(|id| is_alive(id)).count();
        let is_lost = !voters.is_empty() && alive <= voters.len() / 2;
        is_lost.then_some(Error::ClusterDown { alive, voters: voters.len() })
    }
}
