//! Ends the sessions of processes that are proven dead, at once and not after `session_timeout`, and succeeds a leader that is.
//!
//! Owns the look at the locks of this host, and telling this node and the leader, who may run on another. Invariant: what is told is a
//! session whose process has surely ended; the lock is taken before a session is opened, so that a new start of the same
//! node is never meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::SessionPeers;
use super::raft::Vote;
use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::command::Action;
use crate::host::Evidence;
use crate::ids::{NodeId, SessionId};

/// How often the locks are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(25);
/// After how long a death is told again to the same leader.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a voter may take to tell where its log ends before a leader is succeeded without its word.
const TELL_MAX: Duration = Duration::from_millis(50);
/// How long the voter with most is asked to stand before the one that sees to it stands itself.
const HEIR_MAX: Duration = Duration::from_millis(100);
/// How often this process makes its own lock file young.
const RENEW: Duration = Duration::from_secs(3600);
/// How many of the gone are remembered.
const GONE_MAX: usize = 1024;

/// Who is known to be dead.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    /// The nodes that are known to be gone by the word of others.
    gone: Mutex<BTreeSet<NodeId>>,
    /// The nodes whose locks show that their processes have ended, while their sessions are open still.
    dead: watch::Sender<BTreeSet<NodeId>>,
}

impl Deaths {
    /// Tells of processes of this host that have died, as soon as it is seen: before their sessions end, for which there must
    /// be a leader.
    pub(super) fn dead(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.dead.subscribe()
    }
}

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
        let mut gone = shared.deaths.gone.lock();
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
    let mut told: BTreeMap<SessionId, (NodeId, Instant)> = BTreeMap::new();
    let mut tried = None;
    let mut renewed = Instant::now();
    loop {
        ticks.tick().await;
        if renewed.elapsed() > RENEW {
            renewed = Instant::now();
            shared.links.host.renew();
        }
        let open = shared.state.sessions().borrow().clone();
        told.retain(|session, (_, at)| open.contains_key(session) && at.elapsed() < AGAIN);
        let dead = look(&shared, &open);
        shared.deaths.dead.send_if_modified(|known| {
            let now: BTreeSet<NodeId> = dead.iter().map(|(_, node, _)| *node).collect();
            let is_new = *known != now;
            *known = now;
            is_new
        });
        succeed(&shared, &dead, &mut tried).await;
        for (session, _, is_durable) in dead {
            let is_leader = shared.is_leader();
            let leader =
                if is_leader { Some(shared.node) } else { shared.leader().map(|(id, _)| id) };
            // A leader that was elected since, as after the death of the last one, hears of it at once.
            let Some(leader) =
                leader.filter(|id| told.get(&session).is_none_or(|(to, _)| to != id))
            else {
                continue;
            };
            if is_leader && !shared.is_led() {
                continue;
            }
            told.insert(session, (leader, Instant::now()));
            if is_leader {
                end(&shared, session, is_durable).await;
            } else {
                tell(&shared, session, is_durable).await;
            }
        }
    }
}

/// The sessions of other nodes whose processes have ended, and whether the nodes keep their state.
fn look(shared: &Shared, open: &SessionPeers) -> Vec<(SessionId, NodeId, bool)> {
    let mut dead = Vec::new();
    for (session, peer) in open.iter().filter(|(_, peer)| peer.node != shared.node) {
        if let Evidence::Dead { is_durable } = shared.links.host.evidence(peer.node) {
            dead.push((*session, peer.node, is_durable));
        }
    }
    dead
}

/// Has a successor stand for election at once, as if it had been handed over, when the leader that this node votes under is dead: of
/// the living voters that tell in time the one with most in its log, or else it would not win. Of those that live on this host the first
/// one sees to it, so that they do not split the votes; where nobody wins, since that one is stopped, all stand when their time has
/// come. The term and the log decide as in any election.
async fn succeed(
    shared: &Shared,
    dead: &[(SessionId, NodeId, bool)],
    tried: &mut Option<(Vote, NodeId, Instant)>,
) {
    let is_dead = |id: &NodeId| dead.iter().any(|(_, node, _)| node == id);
    let raft = shared.raft();
    let (vote, leader) = {
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        (metrics.vote, metrics.current_leader)
    };
    let voters = shared.voters();
    let is_majority_alive = voters.iter().filter(|id| !is_dead(id)).count() > voters.len() / 2;
    let lives_here =
        |id: &NodeId| *id == shared.node || shared.links.host.evidence(*id) == Evidence::Alive;
    let is_due = leader.is_some_and(|leader| is_dead(&leader))
        && is_majority_alive
        && voters.iter().find(|id| lives_here(id)) == Some(&shared.node);
    if !is_due {
        return;
    }
    let most = furthest(shared, voters.into_iter().filter(|id| !is_dead(id))).await;
    let first = tried.filter(|(of, heir, _)| (*of, *heir) == (vote, most));
    let (.., since) = *tried.insert(first.unwrap_or((vote, most, Instant::now())));
    // Another that does not stand, as when its disk hangs, is not waited for.
    let heir = if since.elapsed() < HEIR_MAX { most } else { shared.node };
    tracing::info!(?leader, %heir, "the leader is proven dead: having a voter stand for election");
    let handed_over = TransferLeaderRequest::new(vote, heir, None);
    if heir == shared.node {
        // A stopped engine is reported where it stops.
        let _stopped = raft.handle_transfer_leader(handed_over).await;
    } else if let Some(placement) = shared.placement_of(heir) {
        let peer = shared.links.peer(heir, &placement);
        // It is handed over again as long as nothing comes of it.
        let _late = shared.links.call(&peer, &Call::TransferLeader(handed_over), TELL_MAX).await;
    }
}

/// The voter with most in its log, this one before others that have as much.
async fn furthest(shared: &Shared, voters: impl Iterator<Item = NodeId>) -> NodeId {
    let last_of = async |voter: NodeId| {
        let peer = shared.links.peer(voter, &shared.placement_of(voter)?);
        let told = shared.links.call(&peer, &Call::Survey, TELL_MAX).await.ok()?;
        let Answer::Surveyed { last, .. } = told else { return None };
        Some((last, voter))
    };
    let told = join_all(voters.filter(|id| *id != shared.node).map(last_of)).await;
    let own = shared.last_log_id().await;
    let most = told.into_iter().flatten().filter(|(last, _)| *last > own).max();
    most.map_or(shared.node, |(_, voter)| voter)
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
        here == Evidence::Dead { is_durable: false } || self.deaths.gone.lock().contains(&node)
    }
}
