//! Sees to it on the leader that the right nodes vote: gathers what the plan looks at, and carries its steps out.
//!
//! Owns who has said that he leaves, which each node remembers whether it leads or not, and the clocks of a leader, which
//! start afresh with each. Invariant: a change is made only to the membership that the plan
//! has seen (compare and set), and one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ChangeMembers, Instant as _, Precondition, RaftMetrics};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::plan::{Decision, Standing, Step, View, plan};
use super::raft::{LogId, Membership, Types};
use super::shared::Shared;
use super::state::SessionPeers;
use crate::ids::{NodeId, Placement, SessionId};
use crate::time::Timestamp;

/// How often the leader looks whether something is to be done.
const LOOK: Duration = Duration::from_millis(100);
/// How soon it looks again while something is expected.
const LOOK_SOON: Duration = Duration::from_millis(5);
/// How soon after a step that failed.
const LOOK_AFTER_FAILURE: Duration = Duration::from_millis(20);
/// A leader that has not looked for this long was stalled.
const STALL: Duration = Duration::from_millis(500);
/// The silence of a node that has never answered this leader is at least this.
const UNHEARD: Duration = Duration::from_millis(1_001);
/// How many entries a node may be behind to get a vote: few enough to be made up within a moment.
const NEAR_MAX: u64 = 256;
/// How long a learner may take until another is preferred.
const SLOW: Duration = Duration::from_secs(60);
/// A learner without a session for this long will open none.
const STRANGER: Duration = Duration::from_secs(10);
/// For how long it is remembered that a node leaves.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long one step may take before the leader looks again.
const STEP_MAX: Duration = Duration::from_secs(2);
/// Whether everybody in the group without a vote may stay there.
const LEARNERS_STAY: bool = false;

/// What the manager decided last, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastDecision {
    /// When it came to it, by this node's clock.
    pub at: Timestamp,
    /// What it does and why, for people.
    pub text: String,
}

/// The clocks of a leader.
#[derive(Debug)]
struct Term {
    since: Instant,
    looked: Instant,
    sessions: BTreeMap<SessionId, Instant>,
    /// Learners that are not near, or have no session, and since when.
    far: BTreeMap<NodeId, Instant>,
    strangers: BTreeMap<NodeId, Instant>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Who leaves, since when, and with which session by its own word: a younger one is of another start.
    leavers: BTreeMap<NodeId, (Instant, Option<SessionId>)>,
    /// None while this node does not lead.
    term: Option<Term>,
    decision: Option<LastDecision>,
    /// The step that was logged last: the reasons of one step differ by their figures alone.
    logged: Option<Step>,
}

/// The manager's memory.
#[derive(Debug, Default)]
pub(super) struct Manager {
    inner: Mutex<Inner>,
    wake: Notify,
    /// Set where somebody else moves the votes.
    is_resting: AtomicBool,
}

impl Manager {
    /// Notes that the process of a node leaves that has this session; none if it has none yet.
    pub(super) fn note_leaver(&self, node: NodeId, session: Option<SessionId>) {
        let mut inner = self.inner.lock();
        // Who never leads is told of leaves, too.
        inner.forget_leavers(Instant::now());
        let known = inner.leavers.get(&node);
        if known.is_none_or(|(_, of)| *of < session) {
            inner.leavers.insert(node, (Instant::now(), session));
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Leaves the votes to somebody else.
    #[cfg(test)]
    pub(super) fn rest(&self) {
        self.is_resting.store(true, Ordering::SeqCst);
    }

    /// Takes the votes up again.
    #[cfg(test)]
    pub(super) fn go_on(&self) {
        self.is_resting.store(false, Ordering::SeqCst);
    }

    /// Who is known to leave, those not counted that have left and come back since.
    pub(super) fn leavers(&self, shared: &Shared) -> BTreeSet<NodeId> {
        let sessions = shared.state.sessions().borrow().clone();
        let is_back = |node: NodeId, of: Option<SessionId>| {
            sessions.iter().any(|(session, peer)| peer.node == node && Some(*session) > of)
        };
        let inner = self.inner.lock();
        let leavers = inner.leavers.iter().filter(|(node, (_, of))| !is_back(**node, *of));
        leavers.map(|(node, _)| *node).collect()
    }

    /// What was decided last on this node, if it leads.
    pub(super) fn decision(&self) -> Option<LastDecision> {
        self.inner.lock().decision.clone()
    }

    /// Notes the decision, if it is another one.
    fn note(&self, shared: &Shared, decision: &Decision) {
        let text = format!("{}: {}", name(&decision.step), decision.reason);
        let mut inner = self.inner.lock();
        if inner.logged.as_ref() != Some(&decision.step) {
            inner.logged = Some(decision.step.clone());
            if decision.step == Step::Rest {
                tracing::debug!(text, "voters");
            } else {
                tracing::info!(text, "voters");
            }
        }
        if inner.decision.as_ref().is_none_or(|last| last.text != text) {
            inner.decision = Some(LastDecision { at: shared.clock.now(), text });
        }
    }

    /// Notes that the time since the last look was spent on its step.
    fn mark_looked(&self) {
        if let Some(term) = &mut self.inner.lock().term {
            term.looked = Instant::now();
        }
    }

    fn step_down(&self) {
        let mut inner = self.inner.lock();
        inner.term = None;
        inner.decision = None;
    }
}

const fn name(step: &Step) -> &'static str {
    match step {
        Step::Rest => "nothing",
        Step::Wait => "waiting",
        Step::Finish => "finishing",
        Step::Readdress(_) => "noting an address",
        Step::Learn(_) => "adding a learner",
        Step::Vote(_) => "moving votes",
        Step::Forget(_) => "dropping learners",
        Step::HandOver(_) => "handing leadership over",
    }
}

/// The manager's task. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let pause = look(&shared).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.manager.wake.notified() => {}
        }
    }
}

/// Looks once, and does what is to be done. Gives how long to wait before the next look.
async fn look(shared: &Shared) -> Duration {
    let Some(sight) = Sight::take(shared) else {
        shared.manager.step_down();
        return LOOK;
    };
    let decision = plan(&sight.view);
    shared.manager.note(shared, &decision);
    match &decision.step {
        Step::Rest => return LOOK,
        Step::Wait => return LOOK_SOON,
        Step::HandOver(heir) => {
            hand_over(shared, *heir).await;
            return LOOK_AFTER_FAILURE;
        }
        Step::Finish | Step::Readdress(_) | Step::Learn(_) | Step::Vote(_) | Step::Forget(_) => {}
    }
    let changed = timeout(STEP_MAX, sight.change(shared, &decision.step)).await;
    shared.manager.mark_looked();
    match changed {
        Ok(Ok(())) => Duration::ZERO,
        Ok(Err(error)) => {
            tracing::debug!(%error, ?decision, "could not change the group");
            LOOK_AFTER_FAILURE
        }
        Err(_) => LOOK_AFTER_FAILURE,
    }
}

/// Brings the heir up to date and lets it lead.
async fn hand_over(shared: &Shared, heir: NodeId) {
    let raft = shared.raft();
    let mut metrics = raft.metrics();
    let last = metrics.borrow_watched().last_log_index;
    let is_up_to_date = |metrics: &RaftMetrics<Types>| {
        let matched = metrics.replication.as_ref().and_then(|all| *all.get(&heir)?);
        matched.map(|id| id.index()) >= last || metrics.replication.is_none()
    };
    let catch_up = async {
        while !is_up_to_date(&metrics.borrow_watched()) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    };
    // One that does not catch up soon gets its chance all the same: it waits for the rest of the log itself.
    let _late = timeout(shared.timing.election_max, catch_up).await.is_err();
    if raft.trigger().transfer_leader(heir).await.is_err() {
        return;
    }
    let mut metrics = raft.server_metrics();
    let handed_over = async { while shared.is_leader() && metrics.changed().await.is_ok() {} };
    let handed_over = timeout(shared.timing.election_max.saturating_mul(2), handed_over).await;
    if handed_over.is_err() {
        tracing::warn!(%heir, "it did not take leadership over");
    }
}

/// What the leader sees at one moment.
struct Sight {
    view: View,
    /// Where the membership stands that the view shows.
    stands_at: Option<LogId>,
    sessions: SessionPeers,
}

impl Sight {
    /// Looks around; none when this node does not lead.
    fn take(shared: &Shared) -> Option<Self> {
        if !shared.is_leader() || shared.manager.is_resting.load(Ordering::SeqCst) {
            return None;
        }
        let metrics = shared.raft().metrics().borrow_watched().clone();
        let sessions = shared.state.sessions().borrow().clone();
        let mut inner = shared.manager.inner.lock();
        inner.start_clocks(&sessions);
        let view = inner.view(shared, &metrics, &sessions)?;
        drop(inner);
        Some(Self { view, stands_at: *metrics.membership_config.log_id(), sessions })
    }

    /// Where a node is reached that has a session.
    fn placement(&self, node: NodeId) -> Option<(NodeId, Placement)> {
        let peers = self.sessions.values().rev();
        peers.map(|peer| (peer.node, peer.placement.clone())).find(|(id, _)| *id == node)
    }

    async fn change(&self, shared: &Shared, step: &Step) -> Result<(), String> {
        let places = |nodes: &BTreeSet<NodeId>| {
            nodes.iter().filter_map(|node| self.placement(*node)).collect()
        };
        let change = match step {
            Step::Finish => ChangeMembers::AddVoterIds(BTreeSet::new()),
            Step::Readdress(node) => ChangeMembers::SetNodes(places(&[*node].into())),
            Step::Learn(nodes) => ChangeMembers::AddNodes(places(nodes)),
            Step::Vote(voters) => ChangeMembers::ReplaceAllVoters(voters.clone()),
            Step::Forget(nodes) => ChangeMembers::RemoveNodes(nodes.clone()),
            Step::Rest | Step::Wait | Step::HandOver(_) => return Ok(()),
        };
        let seen = Precondition::LastMembershipLogId { last_membership_log_id: self.stands_at };
        let changed = shared.raft().change_membership_if(change, true, [seen]).await;
        changed.map(|_| ()).map_err(|error| error.to_string())
    }
}

impl Inner {
    /// Forgets who left long ago.
    fn forget_leavers(&mut self, now: Instant) {
        self.leavers.retain(|_, (since, _)| now.duration_since(*since) < REMEMBERED);
    }

    /// Starts the clocks of a new leader, and those of one that was stalled: it cannot tell who was silent meanwhile.
    fn start_clocks(&mut self, sessions: &SessionPeers) {
        let now = Instant::now();
        self.forget_leavers(now);
        let fresh = Term {
            since: now,
            looked: now,
            sessions: BTreeMap::new(),
            far: BTreeMap::new(),
            strangers: BTreeMap::new(),
        };
        let term = self.term.get_or_insert(fresh);
        if now.duration_since(term.looked) > STALL {
            term.since = now;
        }
        term.looked = now;
        term.sessions.retain(|session, _| sessions.contains_key(session));
        for session in sessions.keys() {
            term.sessions.entry(*session).or_insert(now);
        }
    }

    fn view(
        &mut self,
        shared: &Shared,
        metrics: &RaftMetrics<Types>,
        sessions: &SessionPeers,
    ) -> Option<View> {
        let now = Instant::now();
        let membership = metrics.membership_config.membership();
        let learners: BTreeSet<_> = membership.learner_ids().collect();
        let mut nodes = standings(membership, sessions);
        let term = self.term.as_mut()?;
        let leading_for = now.duration_since(term.since);
        for (id, node) in &mut nodes {
            let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(id)?.as_ref());
            let heard = heard.map(|heard| heard.elapsed());
            // A voter must answer as a voter; of anybody else, the session is a sign of life too.
            let is_voter = membership.get_node(id).is_some() && !learners.contains(id);
            let renewed = node.session.filter(|_| !is_voter);
            let renewed = renewed.and_then(|session| shared.duties.heard(session));
            let answered = heard.into_iter().chain(renewed).min();
            node.silence = match answered {
                Some(ago) if ago < UNHEARD => ago,
                Some(ago) => ago.min(leading_for).max(UNHEARD),
                None => leading_for.max(UNHEARD),
            };
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(id)?);
            let last = metrics.last_log_index.unwrap_or(0);
            node.is_near = matched.is_some_and(|id| last.saturating_sub(id.index()) <= NEAR_MAX);
            let lasts = |since: &mut BTreeMap<NodeId, Instant>, holds: bool, limit: Duration| {
                if !holds {
                    since.remove(id);
                    return false;
                }
                now.duration_since(*since.entry(*id).or_insert(now)) > limit
            };
            let is_learner = learners.contains(id);
            node.is_slow = lasts(&mut term.far, is_learner && !node.is_near, SLOW);
            let is_strange = is_learner && node.session.is_none();
            node.is_stranger = lasts(&mut term.strangers, is_strange, STRANGER);
            let seen = node.session.and_then(|session| term.sessions.get(&session));
            let settled_after = shared.voting.replace_after;
            node.is_settled = seen.is_some_and(|at| now.duration_since(*at) >= settled_after);
            let left = self.leavers.get(id).filter(|(_, of)| node.session <= *of);
            node.leaving = left.map(|(since, _)| now.duration_since(*since));
            let place = membership.get_node(id).filter(|_| *id != shared.node);
            node.is_proven_dead = place.is_some_and(|place| {
                let is_silent = node.silence >= UNHEARD;
                shared.is_gone(*id) || is_silent && is_succeeded(*id, node.session, place, sessions)
            });
        }
        term.far.retain(|id, _| nodes.contains_key(id));
        term.strangers.retain(|id, _| nodes.contains_key(id));
        Some(View {
            leader: shared.node,
            configs: membership.get_joint_config().clone(),
            learners,
            nodes,
            target: shared.voting.target,
            replace_after: shared.voting.replace_after,
            learners_stay: LEARNERS_STAY,
        })
    }
}

/// Everybody in the group or with a session, and where.
fn standings(membership: &Membership, sessions: &SessionPeers) -> BTreeMap<NodeId, Standing> {
    let mut nodes: BTreeMap<NodeId, Standing> = BTreeMap::new();
    for (node, placement) in membership.nodes() {
        nodes.insert(*node, standing(placement));
    }
    // The youngest session of a node comes last; it tells where the node is.
    for (session, peer) in sessions {
        let standing = nodes.entry(peer.node).or_insert_with(|| standing(&peer.placement));
        standing.session = Some(*session);
        let known = membership.get_node(&peer.node);
        standing.is_moved = known.is_some_and(|known| known.address != peer.placement.address);
    }
    nodes
}

fn standing(placement: &Placement) -> Standing {
    let (host, zone) = (placement.host.clone(), placement.zone.clone());
    Standing { host, zone, ..Standing::default() }
}

/// Tells whether another process has the address of this one, which is proof that this one has ended.
fn is_succeeded(
    node: NodeId,
    session: Option<SessionId>,
    placement: &Placement,
    sessions: &SessionPeers,
) -> bool {
    sessions.iter().any(|(other, peer)| {
        peer.node != node && Some(*other) > session && peer.placement.address == placement.address
    })
}

impl Shared {
    /// What this leader would do now; none when this node does not lead.
    pub(super) fn plan(&self) -> Option<Decision> {
        Sight::take(self).map(|sight| plan(&sight.view))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leave_is_kept_for_the_youngest_session_and_not_for_ever() {
        let manager = Manager::default();
        let node = NodeId::from_random(1);
        let of = |session: Option<u64>| session.map(SessionId);
        for (told, kept) in [(None, None), (Some(7), Some(7)), (Some(3), Some(7)), (None, Some(7))]
        {
            manager.note_leaver(node, of(told));
            assert_eq!(manager.inner.lock().leavers.get(&node).unwrap().1, of(kept));
        }
        for number in 2..=100 {
            manager.note_leaver(NodeId::from_random(number), None);
        }
        assert_eq!(manager.inner.lock().leavers.len(), 100);
        tokio::time::advance(REMEMBERED).await;
        manager.note_leaver(node, of(Some(9)));
        assert_eq!(manager.inner.lock().leavers.len(), 1, "the others left long ago");
    }
}
