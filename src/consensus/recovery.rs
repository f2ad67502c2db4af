//! Brings a cluster back whose majority is gone: by itself where locks prove the deaths, or at an operator's word; and lets
//! the nodes of an older epoch follow.
//!
//! Owns what this node has promised, and the talk among survivors. The judgement is in `arbiter`, the change in `rebase`.
//! Invariant: a node that has promised to follow one formation promises no other until that promise is void.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::storage::RaftLogStorage;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use super::arbiter::{self, Action, Other, Told, View};
use super::deaths::LOOK;
use super::raft::LogId;
use super::rebase::{Basis, Phase};
use super::shared::Shared;
use super::wire::{Answer, Call};
use super::{Consensus, Error, formation, sources};
use crate::host::Evidence;
use crate::ids::{FormationId, NodeId, Placement};

/// How long one question among survivors may take.
const CALL_MAX: Duration = Duration::from_millis(300);
/// How long an answer holds before it is asked for again.
const TOLD_MAX: Duration = Duration::from_secs(1);
/// How long a promise holds without the new formation.
const PROMISE_MAX: Duration = Duration::from_secs(3);
/// A halt that lasts for so long is shown; shorter ones are changes of leader.
const HALT_SHOWN_AFTER: Duration = Duration::from_secs(1);
/// A halt that lasts for so long is told in the log.
const HALT_TOLD_AFTER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct Promise {
    to: NodeId,
    next: FormationId,
    at: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    /// When this node last had a leader with a quorum.
    contact: Option<Instant>,
    /// Since when a quorum is known to be dead.
    lost: Option<Instant>,
    told: BTreeMap<NodeId, (Told, Instant)>,
    promise: Option<Promise>,
    halted: Option<Halted>,
    /// Why the cluster was last formed anew, as far as this node did it.
    origin: Option<String>,
}

#[derive(Clone, Debug)]
struct Halted {
    since: Instant,
    reason: String,
    is_told: bool,
}

/// What this node knows of the loss of a majority.
#[derive(Debug, Default)]
pub(super) struct Recovery(Mutex<Inner>);

impl Recovery {
    /// Notes a sign of a leader.
    pub(super) fn hear(&self) {
        self.0.lock().contact = Some(Instant::now());
    }

    /// Notes that a leader with a quorum was there so long ago.
    fn hear_of(&self, age: Duration) {
        let at = Instant::now().checked_sub(age).filter(|_| age < Duration::from_secs(3600));
        let mut inner = self.0.lock();
        inner.contact = inner.contact.max(at);
    }

    /// Tells whether this node has promised not to go on in its formation.
    pub(super) fn is_bound(&self) -> bool {
        self.0.lock().promise.is_some()
    }

    /// Why there is no leader, once that lasts.
    pub(super) fn reason(&self) -> Option<String> {
        let inner = self.0.lock();
        let lasts = inner.halted.as_ref().filter(|h| h.since.elapsed() >= HALT_SHOWN_AFTER);
        lasts.map(|halted| halted.reason.clone())
    }

    /// Why the cluster was formed anew, if this node did it.
    pub(super) fn origin(&self) -> Option<String> {
        self.0.lock().origin.clone()
    }

    fn halt(&self, reason: String) {
        let mut inner = self.0.lock();
        let now = Instant::now();
        let halted = inner.halted.get_or_insert(Halted {
            since: now,
            reason: String::new(),
            is_told: false,
        });
        halted.reason = reason;
        if !halted.is_told && halted.since.elapsed() >= HALT_TOLD_AFTER {
            halted.is_told = true;
            tracing::warn!(reason = halted.reason, "halted: no writes, no linearizable reads");
        }
    }

    fn rest(&self) {
        let mut inner = self.0.lock();
        if inner.halted.take().is_some_and(|halted| halted.is_told) {
            tracing::info!("there is a leader again");
        }
        inner.lost = None;
        inner.told.clear();
    }

    fn note(&self, told: Vec<(NodeId, Told)>) {
        let now = Instant::now();
        self.0.lock().told.extend(told.into_iter().map(|(id, told)| (id, (told, now))));
    }

    /// Whom this node waits for because it has promised to. A promise is void when its taker is dead, or too slow.
    fn taker(&self, shared: &Shared) -> Option<NodeId> {
        let mut inner = self.0.lock();
        let held = inner.promise.filter(|promise| {
            let is_dead = matches!(shared.links.host.evidence(promise.to), Evidence::Dead { .. });
            promise.at.elapsed() < PROMISE_MAX && !is_dead
        });
        inner.promise = held;
        held.map(|promise| promise.to)
    }

    /// Promises to follow `next`, or tells whom another promise was given to.
    pub(super) fn promise(
        &self,
        shared: &Shared,
        to: NodeId,
        next: FormationId,
    ) -> Result<(), NodeId> {
        if let Some(taker) = self.taker(shared).filter(|taker| *taker != to) {
            return Err(taker);
        }
        self.0.lock().promise = Some(Promise { to, next, at: Instant::now() });
        Ok(())
    }

    fn done(&self, origin: Option<String>) {
        let contact = Some(Instant::now());
        *self.0.lock() = Inner { contact, origin, ..Inner::default() };
    }
}

impl Shared {
    /// Tells whether this node has a leader that a quorum answers, as far as it can know.
    pub(super) fn is_led(&self) -> bool {
        let most = self.timing.election_max;
        if self.is_leader() {
            return self.freshness().0 <= most;
        }
        let most = if self.votes() { most } else { sources::stale_after(most) };
        let contact = self.recovery.0.lock().contact;
        contact.is_some_and(|at| at.elapsed() <= most)
    }

    pub(super) async fn last_log_id(&self) -> Option<LogId> {
        let mut log = self.log.clone();
        log.get_log_state().await.ok().and_then(|state| state.last_log_id)
    }

    /// Looks at everybody.
    async fn view(&self) -> View {
        let membership = self.membership();
        let configurations = membership.membership().get_joint_config().clone();
        let voters = configurations.iter().flatten().copied();
        let peers = self.state.sessions();
        let with_session: Vec<_> = peers.borrow().values().map(|peer| peer.node).collect();
        let all: BTreeSet<_> = voters.chain(with_session).filter(|id| *id != self.node).collect();
        let own = self.state.pending.session();
        let is_current = own.is_some_and(|own| peers.borrow().contains_key(&own));
        let is_led = self.is_led();
        let last = self.last_log_id().await;
        let inner = self.recovery.0.lock();
        let told = |id: &NodeId| {
            let fresh = inner.told.get(id).filter(|(_, at)| at.elapsed() <= TOLD_MAX);
            fresh.map_or(Told::Nothing, |(told, _)| *told)
        };
        let other = |id: NodeId| {
            let evidence = self.links.host.evidence(id);
            (id, Other { evidence, told: told(&id) })
        };
        let others = all.into_iter().map(other).collect();
        let lost = inner.lost.unwrap_or_else(Instant::now);
        let apart = inner.contact.map(|at| lost.saturating_duration_since(at));
        View { node: self.node, configurations, others, is_led, is_current, apart, last }
    }
}

/// Watches over the majority. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_running = matches!(*shared.works.phase.borrow(), Phase::Running(_));
        if is_running && shared.is_formed() {
            step(&shared).await;
        }
    }
}

async fn step(shared: &Arc<Shared>) {
    let recovery = &shared.recovery;
    // A follower notes each word of its leader itself; the others know how old the last one was.
    if shared.is_leader() || !shared.votes() {
        recovery.hear_of(shared.freshness().0);
    }
    if let Some(taker) = recovery.taker(shared).filter(|taker| *taker != shared.node) {
        return recovery.halt(format!("the majority is dead; node {taker} forms the cluster anew"));
    }
    let view = shared.view().await;
    // The voters that a node knows of which has yet to catch up are those of the past.
    let furthest = shared.follow.furthest(shared.links.formation());
    let last = view.last.map_or(0, |id| id.index());
    if last < furthest {
        return recovery.halt(format!("this node has {last} of {furthest} committed entries"));
    }
    let decided = arbiter::decide(&view);
    let is_lost = !matches!(decided, Action::Rest) && !view.has_quorum();
    if is_lost {
        recovery.0.lock().lost.get_or_insert_with(Instant::now);
    }
    match decided {
        Action::Rest => recovery.rest(),
        Action::Halt(reason) => recovery.halt(reason),
        Action::Ask(nodes) => recovery.note(ask(shared, &nodes, &Call::Survey).await),
        Action::Await(node) => {
            recovery.halt(format!("the majority is dead; node {node} has more, and is waited for"));
        }
        Action::Collect(nodes) => collect(shared, &nodes).await,
        Action::Reform => {
            let dead = view.dead().len();
            let voters = view.voters().len();
            let origin = format!("{dead} of {voters} voters were proven dead");
            reform(shared, origin).await;
        }
    }
}

/// Asks several nodes at once.
async fn ask(shared: &Shared, nodes: &[NodeId], call: &Call) -> Vec<(NodeId, Told)> {
    let one = async |node: &NodeId| {
        let Some(placement) = shared.placement_of(*node) else {
            return (*node, Told::Silent);
        };
        let peer = shared.links.peer(*node, &placement);
        let told = match shared.links.call(&peer, call, CALL_MAX).await {
            Ok(Answer::Surveyed { is_led: true, .. }) => Told::Led,
            Ok(Answer::Surveyed { is_promised: true, last, .. }) => Told::Promised { last },
            Ok(Answer::Surveyed { last, .. }) => Told::Free { last },
            Ok(_) | Err(_) => Told::Silent,
        };
        (*node, told)
    };
    join_all(nodes.iter().map(one)).await
}

async fn collect(shared: &Shared, nodes: &[NodeId]) {
    let recovery = &shared.recovery;
    let held = recovery.0.lock().promise.filter(|promise| promise.to == shared.node);
    let next = held.map_or_else(|| shared.links.formation().next(shared.draw()), |held| held.next);
    if recovery.promise(shared, shared.node, next).is_ok() {
        let call = Call::Yield { to: shared.node, next };
        recovery.note(ask(shared, nodes, &call).await);
    }
}

/// Goes on as a cluster of this node alone, and tells those who live.
async fn reform(shared: &Arc<Shared>, origin: String) {
    let before = shared.links.formation();
    let held = shared.recovery.0.lock().promise.filter(|promise| promise.to == shared.node);
    let next = held.map_or_else(|| before.next(shared.draw()), |held| held.next);
    tracing::warn!(%before, %next, reason = origin, "forming the cluster anew from this node");
    if let Err(error) = shared.rebase(Basis::Own, next).await {
        tracing::error!(%error, "could not form the cluster anew");
        return;
    }
    shared.recovery.done(Some(origin));
    tell_reformed(shared, next);
}

/// Tells everybody who may live that the cluster goes on under `next`. Gossip tells them too, only later.
fn tell_reformed(shared: &Arc<Shared>, next: FormationId) {
    let sessions = shared.state.sessions().borrow().clone();
    let is_dead = |id| matches!(shared.links.host.evidence(id), Evidence::Dead { .. });
    let others = sessions.into_values().filter(|peer| peer.node != shared.node);
    for other in others.filter(|peer| !is_dead(peer.node)) {
        let shared = Arc::clone(shared);
        let (node, placement) = (shared.node, shared.placement.clone());
        let call = Call::Reformed { formation: next, node, placement };
        tokio::spawn(async move {
            let peer = shared.links.peer(other.node, &other.placement);
            // Whoever misses it learns it by gossip.
            let _answer = shared.links.call(&peer, &call, CALL_MAX).await;
        });
    }
}

/// Tells another survivor what this node has; with `promise`, promises to follow.
pub(super) async fn survey(shared: &Shared, promise: Option<(NodeId, FormationId)>) -> Answer {
    let view = shared.view().await;
    let is_led = view.has_quorum() && view.is_led;
    let mut is_promised = false;
    if let Some((to, next)) = promise.filter(|_| !is_led) {
        if !next.follows(shared.links.formation()) {
            return Answer::Refused { reason: format!("{next} does not follow") };
        }
        if let Err(taker) = shared.recovery.promise(shared, to, next) {
            return Answer::Refused { reason: format!("promised to node {taker}") };
        }
        is_promised = true;
    }
    Answer::Surveyed { last: shared.last_log_id().await, is_led, is_promised }
}

/// Takes the word of a survivor that the cluster goes on with it.
pub(super) fn reformed(
    shared: &Arc<Shared>,
    formation: FormationId,
    node: NodeId,
    placement: Placement,
) -> Answer {
    let own = shared.links.formation();
    let promised =
        shared.recovery.0.lock().promise.is_some_and(|promise| promise.next == formation);
    if !formation.follows(own) || (shared.is_led() && !promised) {
        return Answer::Refused { reason: format!("in formation {own}") };
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        follow(&shared, formation).await;
        let member =
            formation::Candidate { node, placement, formation: Some(formation), is_forming: false };
        formation::step(&shared, &[member], None).await;
    });
    Answer::Done
}

/// Leaves the old formation for one that followed it. A node that keeps its data on disk stops instead: somebody must decide
/// what becomes of them.
pub(super) async fn follow(shared: &Shared, next: FormationId) {
    let before = shared.links.formation();
    if !next.follows(before) {
        return;
    }
    if shared.log.is_durable() {
        let why = format!(
            "the cluster went on without this node as {next}; the data here are of {before}: move the data folder away to join anew"
        );
        shared.works.phase.send_replace(Phase::Failed(why));
        return;
    }
    tracing::warn!(%before, %next, "the cluster was formed anew; following it with its state in place of this node's");
    if let Err(error) = shared.abandon(next).await {
        tracing::error!(%error, "could not follow");
        return;
    }
    shared.recovery.done(None);
}

/// What was done at an operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The formation that was.
    pub before: FormationId,
    /// The formation that is.
    pub formation: FormationId,
    /// The last log entry that this node had, committed or not; everything up to it is kept.
    pub last: u64,
    /// How many voters there were.
    pub voters: usize,
}

/// Why a cluster is not formed anew at an operator's word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not in a cluster. Name another node.
    #[error("this node is in no cluster, and has no state to go on from")]
    NotFormed,
    /// Nothing is lost. Leave it alone.
    #[error("there is a leader with a quorum ({leader}); nothing is to be recovered")]
    Led {
        /// What is known of it.
        leader: String,
    },
    /// It failed. Look at the node's log.
    #[error("{0}")]
    Failed(#[from] Error),
}

impl Consensus {
    /// Forms the cluster anew of this node alone, under the next epoch, with what this node has. For an operator who knows that
    /// the majority is gone: what it had acknowledged and this node has not heard of is lost.
    ///
    /// # Errors
    /// [`Refusal::Led`] when this node, or one that answers it, has a leader with a quorum.
    pub async fn recover(&self) -> Result<Recovered, Refusal> {
        let shared = &self.shared;
        if !shared.is_formed() {
            return Err(Refusal::NotFormed);
        }
        let view = shared.view().await;
        if view.has_quorum() && view.is_led {
            let leader =
                shared.leader().map_or("unknown".to_owned(), |(id, _)| format!("node {id}"));
            return Err(Refusal::Led { leader });
        }
        let others: Vec<_> = view.others.keys().copied().collect();
        for (node, told) in ask(shared, &others, &Call::Survey).await {
            if told == Told::Led {
                return Err(Refusal::Led { leader: format!("as node {node} says") });
            }
        }
        let before = shared.links.formation();
        let formation = before.next(shared.draw());
        tracing::warn!(%before, %formation, "forming the cluster anew from this node, as told");
        shared.rebase(Basis::Own, formation).await?;
        let last = shared.state.applied_index();
        shared.recovery.done(Some("an operator had it formed anew from this node".to_owned()));
        tell_reformed(shared, formation);
        Ok(Recovered { before, formation, last, voters: view.voters().len() })
    }
}
