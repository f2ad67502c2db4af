//! Confirms linearizable reads: many that wait share one question to the leader (Raft dissertation, section 6.4).
//!
//! Owns the question, the leader's answer, and the wait until this node has applied what the answer names. Invariants: a read is
//! confirmed only by a question that left after the read came; an index is given only by a leader of whom a majority says
//! that it knew of no later one after the question had left.
//!
//! ```text
//! a voter asks      vote in its log ──question──► leader: same vote here, both are a majority ──► committed index
//! anybody else                        question──► leader ──heartbeat──► majority ──► leader ──► committed index
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::{RaftState, ReadPolicy};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Error;
use super::raft::{Types, Vote};
use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::ids::NodeId;
use crate::time::Timestamp;

/// How long one question may take before it is asked again.
const QUESTION_MAX: Duration = Duration::from_millis(500);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(10);
/// How many reads share one question at most.
const SHARED_MAX: usize = 65_536;

/// A read that waits to be confirmed.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<Result<Timestamp, Error>>,
}

/// Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Reading>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && inbox.recv_many(&mut waiting, SHARED_MAX).await == 0 {
            return;
        }
        while let Ok(more) = inbox.try_recv() {
            waiting.push(more);
        }
        if let Some(at) = ask(&shared).await {
            for reading in waiting.drain(..) {
                // A caller that went away needs no answer.
                let _gone = reading.done.send(Ok(at));
            }
            continue;
        }
        let now = Instant::now();
        for late in waiting.extract_if(.., |reading| reading.deadline <= now) {
            let _gone = late.done.send(Err(Error::TryAgain));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks the leader how far the state must be, and waits until it is. Gives the leader's clock.
async fn ask(shared: &Shared) -> Option<Timestamp> {
    let (leader, placement) = shared.leader()?;
    let question = async {
        if leader == shared.node {
            return Some(answer(shared, leader, None).await);
        }
        let peer = shared.links.peer(leader, &placement);
        let call = Call::ReadIndex { node: shared.node, vote: shared.vote_of_voter() };
        shared.links.call(&peer, &call, QUESTION_MAX).await.ok()
    };
    let answered = tokio::select! {
        answered = tokio::time::timeout(QUESTION_MAX, question) => answered.ok()??,
        // The one that was asked leads no longer, and may not even live.
        () = shared.other_leader(leader) => return None,
    };
    let Answer::ReadIndex { index, at } = answered else {
        return None;
    };
    let mut applied = shared.state.applied();
    let reached = applied.wait_for(|applied| *applied >= index);
    tokio::time::timeout(QUESTION_MAX, reached).await.ok()?.ok()?;
    Some(at)
}

/// Tells how far a node must have applied to answer reads that began before it asked.
pub(super) async fn answer(shared: &Shared, asker: NodeId, vote: Option<Vote>) -> Answer {
    let index = match shared.index_between_two(asker, vote).await {
        Some(index) => Some(index),
        None => {
            let linearizer = shared.raft().get_read_linearizer(ReadPolicy::ReadIndex).await;
            linearizer.ok().map(|linearizer| linearizer.read_log_id().index())
        }
    };
    match index {
        Some(index) => Answer::ReadIndex { index, at: shared.state.stamp() },
        None => Answer::NotLeader { leader: shared.leader() },
    }
}

/// Tells whether two nodes alone are a majority of the voters; while a change is half done, of both sets.
fn are_majority(two: [NodeId; 2], configs: &[BTreeSet<NodeId>]) -> bool {
    let two = BTreeSet::from(two);
    configs.iter().all(|voters| two.intersection(voters).count() > voters.len() / 2)
}

impl Shared {
    /// The vote of this node, if it votes and keeps to its formation.
    fn vote_of_voter(&self) -> Option<Vote> {
        let counts = self.votes() && !self.recovery.is_bound();
        self.log.vote().filter(|_| counts)
    }

    /// The committed index, if this node leads and is, together with the one that asks and had this vote when it asked, a
    /// majority of the voters.
    ///
    /// Why no heartbeat is needed: neither of the two had voted in a later term when the question left, so that no later leader
    /// had been elected by then. All that was acknowledged before is in this leader's log, and committed in its eyes once
    /// an entry of its own term is (Raft dissertation, section 6.4).
    async fn index_between_two(&self, asker: NodeId, vote: Option<Vote>) -> Option<u64> {
        let me = self.node;
        let vote = vote.filter(|vote| vote.committed && vote.leader_id.node_id == me)?;
        let look = move |state: &RaftState<Types>| {
            let committed = *state.cluster_committed()?;
            let is_mine =
                *state.vote_ref() == vote && *committed.committed_leader_id() == vote.leader_id;
            let membership = state.membership_state.effective().membership();
            let are_majority = are_majority([me, asker], membership.get_joint_config());
            (is_mine && are_majority).then_some(committed.index())
        };
        self.raft().with_raft_state(look).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::super::tests::{TestNode, bulk, form, node, read, until, write};
    use super::*;
    use crate::transport::MemoryNetwork;

    async fn group(network: &MemoryNetwork, size: u8) -> Vec<TestNode> {
        let mut nodes = Vec::new();
        for number in 1..=size {
            nodes.push(node(network, number).await);
        }
        form(&nodes).await;
        let voters = usize::from(size.min(5));
        until("voters", || nodes.iter().all(|node| shared(node).voters().len() == voters)).await;
        nodes
    }

    fn shared(node: &TestNode) -> &Arc<Shared> {
        &node.consensus.shared
    }

    /// The node that leads, and the others.
    fn ranked(nodes: &[TestNode]) -> (&TestNode, Vec<&TestNode>) {
        let leads = |node: &&TestNode| node.consensus.status().role == Role::Leader;
        let (leaders, others): (Vec<_>, Vec<_>) = nodes.iter().partition(leads);
        (leaders[0], others)
    }

    async fn index(leader: &TestNode, asker: &TestNode, vote: Option<Vote>) -> Option<u64> {
        shared(leader).index_between_two(shared(asker).node, vote).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_voter_of_three_and_its_leader_know_without_the_third() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 3).await;
        let (leader, others) = ranked(&nodes);
        write(others[0], "f", "1").await.unwrap();
        let asker = others[1];
        let vote = shared(asker).vote_of_voter();
        let found = index(leader, asker, vote).await.unwrap();
        assert!(found >= shared(others[0]).state.applied_index());
        assert_eq!(read(asker, "f").await, bulk("1"));
        assert_eq!(index(leader, asker, None).await, None, "it has no vote, or does not say");
        let stranger = NodeId::from_random(9);
        assert_eq!(shared(leader).index_between_two(stranger, vote).await, None);
        assert_eq!(index(asker, leader, vote).await, None, "the one that is asked does not lead");
        let later = Vote::new_committed(vote.unwrap().leader_id.term + 1, shared(leader).node);
        assert_eq!(index(leader, asker, Some(later)).await, None, "it leads in another term");
    }

    #[tokio::test(start_paused = true)]
    async fn two_of_five_are_no_majority() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 5).await;
        let (leader, others) = ranked(&nodes);
        write(leader, "f", "1").await.unwrap();
        for asker in others {
            assert_eq!(index(leader, asker, shared(asker).vote_of_voter()).await, None);
            assert_eq!(read(asker, "f").await, bulk("1"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_others_have_replaced_gives_no_index_to_them() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 3).await;
        let (old, others) = ranked(&nodes);
        let before = shared(others[0]).vote_of_voter();
        network.isolate(old.candidate.placement.address);
        let leads = |node: &&TestNode| node.consensus.status().role == Role::Leader;
        until("another leader", || others.iter().any(leads)).await;
        write(others[0], "f", "new").await.unwrap();
        for asker in &others {
            let vote = shared(asker).vote_of_voter();
            assert_ne!(vote, before);
            assert_eq!(index(old, asker, vote).await, None);
        }
    }

    #[test]
    fn while_a_change_is_half_done_two_must_be_a_majority_of_both_sets() {
        let set = |ids: &[u64]| ids.iter().map(|id| NodeId::from_random(*id)).collect();
        let are = |configs: &[&[u64]]| {
            let configs: Vec<BTreeSet<_>> = configs.iter().map(|ids| set(ids)).collect();
            are_majority([NodeId::from_random(1), NodeId::from_random(2)], &configs)
        };
        for (configs, expected) in [
            (&[&[1, 2][..]][..], true),
            (&[&[1, 2, 3]], true),
            (&[&[1, 3]], false),
            (&[&[1]], true),
            (&[&[1, 2, 3, 4]], false),
            (&[&[1, 2, 3], &[1, 2, 4]], true),
            (&[&[1, 2, 3], &[1, 3, 4]], false),
            (&[&[1, 2, 3], &[1, 2, 3, 4, 5]], false),
        ] {
            assert_eq!(are(configs), expected, "{configs:?}");
        }
    }
}
