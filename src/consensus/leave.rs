//! Leaving on purpose: first the lead and the vote go to others while everything still works, then the session ends.
//!
//! Owns both sides of it, that of the node that leaves and that of the leader which lets it go. What is to be done with the
//! votes, the plan decides. Invariant: a leave ends in bounded time, whether or not anybody answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Consensus;
use super::plan::Step;
use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::command::Action;
use crate::ids::{NodeId, SessionId};

/// How long a node tries to give its lead and its vote away.
const HAND_OVER_MAX: Duration = Duration::from_millis(1_500);
/// How long it waits for its session to be ended.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long a leader works on letting one go before it says that it has not.
const LET_GO_MAX: Duration = Duration::from_millis(1_200);
/// How long a leader that leaves waits for somebody to hand over to, while there is nobody.
const NOBODY_MAX: Duration = Duration::from_millis(200);
/// How often is looked again where nothing tells of a change.
const LOOK: Duration = Duration::from_millis(10);
/// How long the others may take to hear of it before the first step is taken all the same.
const TOLD_MAX: Duration = Duration::from_millis(100);

impl Consensus {
    /// Gives the lead and the vote of this node to others, while it goes on to work: requests, reads and waits are served
    /// as before. Comes back when that is done, or when it cannot be done within about 1.5 s.
    ///
    /// # Cancel safety
    /// Safe; what was begun goes on.
    pub async fn hand_over(&self) {
        let shared = &self.shared;
        // This process goes, whichever session it has or still gets.
        shared.manager.note_leaver(shared.node, Some(SessionId(u64::MAX)));
        let until = Instant::now() + HAND_OVER_MAX;
        let mut told = Some(tokio::spawn(tell(Arc::clone(shared))));
        let mut metrics = shared.raft().server_metrics();
        let mut nobody = Nobody::default();
        while shared.voters().contains(&shared.node) && Instant::now() < until {
            if shared.is_leader() {
                if nobody.takes_over(shared) || shared.is_alone() {
                    break;
                }
            } else if shared.ask_to_go(false, until).await {
                shared.is_let_go.store(true, Ordering::SeqCst);
                break;
            }
            if let Ok(Err(_)) = timeout(LOOK, metrics.changed()).await {
                // The engine has stopped; another may take its place.
                sleep(LOOK).await;
                metrics = shared.raft().server_metrics();
            }
        }
        if let Some(told) = told.take() {
            told.abort();
        }
    }

    /// Leaves the group: hands over if that was not done before, and ends the session. Comes back within about 2.5 s, whether
    /// or not anybody has answered.
    pub async fn leave(&self) {
        let shared = &self.shared;
        shared.state.pending.retire();
        self.hand_over().await;
        let Some(session) = shared.state.pending.known_session() else {
            return;
        };
        if shared.is_leader() {
            // Nobody took over. What the session holds ends with it, in case anybody comes later.
            let ended = shared.propose(Action::Expire { session });
            let _ended = timeout(GOODBYE_MAX / 4, ended).await.is_ok();
            return;
        }
        let until = Instant::now() + GOODBYE_MAX;
        while Instant::now() < until {
            if shared.ask_to_go(true, until).await {
                return shared.is_let_go.store(true, Ordering::SeqCst);
            }
            sleep(LOOK).await;
        }
        tracing::warn!("leaving without a word from the leader; the session ends by itself");
    }
}

/// Tells all voters that this node leaves, so that none of them hands leadership to it.
async fn tell(shared: Arc<Shared>) {
    let membership = shared.membership();
    let tell = |(node, placement): (&NodeId, &crate::ids::Placement)| {
        let shared = &shared;
        let peer = shared.links.peer(*node, placement);
        async move {
            let session = shared.state.pending.known_session();
            let call = Call::Leave { node: shared.node, session, is_end: false };
            shared.links.call(&peer, &call, TOLD_MAX).await.is_ok()
        }
    };
    let others = membership.nodes().filter(|(node, _)| **node != shared.node);
    futures_util::future::join_all(others.map(tell)).await;
}

/// For how long a leader has seen nobody who could take over.
#[derive(Default)]
struct Nobody {
    since: Option<Instant>,
}

impl Nobody {
    /// Tells whether nobody has been there for so long that nobody will be. Is to be asked again and again.
    fn takes_over(&mut self, shared: &Shared) -> bool {
        if shared.plan().is_none_or(|plan| plan.step != Step::Rest) {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() > NOBODY_MAX
    }
}

impl Shared {
    /// Tells whether no other node votes, and none could.
    fn is_alone(&self) -> bool {
        let sessions = self.state.sessions();
        let others = sessions.borrow().values().filter(|peer| peer.node != self.node).count();
        others == 0 && self.voters().iter().all(|id| *id == self.node)
    }

    /// Tells whether every voter and every node with a session is among these.
    fn are_all(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let sessions = self.state.sessions();
        let have_sessions = sessions.borrow().values().all(|peer| nodes.contains(&peer.node));
        have_sessions && self.voters().is_subset(nodes)
    }

    /// Asks the leader to let this node go, or to end its session; tells whether it did.
    async fn ask_to_go(&self, is_end: bool, until: Instant) -> bool {
        let Some((leader, placement)) = self.leader().filter(|(id, _)| *id != self.node) else {
            return false;
        };
        let peer = self.links.peer(leader, &placement);
        let session = self.state.pending.known_session();
        let call = Call::Leave { node: self.node, session, is_end };
        let most = until.saturating_duration_since(Instant::now());
        tokio::select! {
            answer = self.links.call(&peer, &call, most) => matches!(answer, Ok(Answer::Done)),
            // Another leader was found while this one did not answer.
            () = self.other_leader(leader) => false,
        }
    }
}

/// Answers a node that leaves with this session. First it asks for its vote to be given to others, at the end for the
/// session's end.
pub(super) async fn let_go(
    shared: &Shared,
    node: NodeId,
    session: Option<SessionId>,
    is_end: bool,
) -> Answer {
    shared.manager.note_leaver(node, session);
    if !shared.is_leader() || node == shared.node {
        return Answer::NotLeader { leader: shared.leader() };
    }
    let Some(session) = session.filter(|_| is_end) else {
        return take_vote(shared, node, LET_GO_MAX).await;
    };
    // One that has not been let go goes with its vote, which those who stay may need: this is the last time to move it.
    let taken = take_vote(shared, node, GOODBYE_MAX / 2).await;
    if matches!(taken, Answer::NotLeader { .. }) {
        return taken;
    }
    shared.propose(Action::Expire { session }).await
}

/// Waits until a node that leaves has no vote any more, or needs not to be waited for.
async fn take_vote(shared: &Shared, node: NodeId, most: Duration) -> Answer {
    let mut metrics = shared.raft().metrics();
    let until = Instant::now() + most;
    let mut nobody = Nobody::default();
    loop {
        {
            let metrics = metrics.borrow_watched();
            let voters = |membership: &super::raft::StoredMembership| {
                membership.voter_ids().collect::<BTreeSet<_>>()
            };
            let votes = voters(&metrics.committed_membership_config).contains(&node)
                || voters(&metrics.membership_config).contains(&node);
            if !votes {
                return Answer::Done;
            }
        }
        let leavers = shared.manager.leavers(shared);
        if shared.are_all(&leavers)
            || shared.voters().is_subset(&leavers) && nobody.takes_over(shared)
        {
            // All go, so that nothing is left to be kept up; or those who stay cannot take over.
            return Answer::Done;
        }
        if !shared.is_leader() {
            return Answer::NotLeader { leader: shared.leader() };
        }
        if Instant::now() >= until {
            let reason = shared.plan().map_or_else(String::new, |decision| decision.reason);
            return Answer::Refused { reason };
        }
        let soon = (Instant::now() + LOOK).min(until);
        if let Ok(Err(_)) = timeout_at(soon, metrics.changed()).await {
            // This engine has stopped, and decides nothing any more.
            return Answer::NotLeader { leader: None };
        }
    }
}
