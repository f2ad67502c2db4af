//! What a leader does besides replicating: moves the clock when a key is due, and ends silent sessions.
//!
//! Owns when each session was last heard of; a new leader starts these clocks afresh. Invariant: a session ends only by
//! a committed entry, and only after this leader alone has waited `session_timeout`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

use super::raft::Proposal;
use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::command::{Action, Entry};
use crate::ids::{NodeId, Placement, SessionId};
use crate::time::Timestamp;

/// How often a leader looks whether something is due.
const TICK: Duration = Duration::from_millis(20);
/// A leader that has not looked for this long was stalled.
const STALL: Duration = Duration::from_millis(500);
#[derive(Debug, Default)]
struct Inner {
    /// When this node last looked as the leader; none when it did not lead.
    looked: Option<Instant>,
    heard: BTreeMap<SessionId, Instant>,
}

/// The leader's memory of who was heard of when.
#[derive(Debug, Default)]
pub(super) struct Duties(Mutex<Inner>);

impl Duties {
    /// Notes a sign of life.
    pub(super) fn hear(&self, session: SessionId) {
        if let Some(heard) = self.0.lock().heard.get_mut(&session) {
            *heard = Instant::now();
        }
    }

    /// Renews a session, if this node leads and knows it.
    pub(super) fn renew(&self, shared: &Shared, session: SessionId) -> Answer {
        let not_leader = || Answer::NotLeader { leader: shared.leader() };
        if !shared.is_leader() {
            return not_leader();
        }
        self.hear(session);
        // Before the look at the state: whoever has just been elected may have yet to apply what opened the session.
        let knows_all = shared.has_applied_own();
        let is_open = shared.state.with(|keyspace| keyspace.sessions().contains_key(&session));
        match (is_open, knows_all) {
            (true, _) => Answer::Done,
            (false, true) => Answer::NoSession,
            (false, false) => not_leader(),
        }
    }

    /// Opens a session for a node.
    pub(super) async fn open_session(
        &self,
        shared: &Shared,
        nonce: u64,
        node: NodeId,
        placement: Placement,
    ) -> Answer {
        let proposed = shared.propose(Action::Open { nonce, node, placement }).await;
        if !matches!(proposed, Answer::Done) {
            return proposed;
        }
        let opened = shared.state.with(|keyspace| {
            let mut sessions = keyspace.sessions().iter();
            sessions
                .find(|(_, open)| open.node == node && open.is_opened_by(nonce))
                .map(|(id, _)| *id)
        });
        opened.map_or(Answer::NoSession, |session| Answer::Opened { session })
    }

    /// How long ago a session was last heard of, by this leader.
    pub(super) fn heard(&self, session: SessionId) -> Option<Duration> {
        self.0.lock().heard.get(&session).map(Instant::elapsed)
    }

    /// Which sessions were silent for too long; notes those that it has not seen before.
    fn silent(&self, shared: &Shared) -> Vec<SessionId> {
        let now = Instant::now();
        let open: BTreeSet<_> =
            shared.state.with(|keyspace| keyspace.sessions().keys().copied().collect());
        let mut inner = self.0.lock();
        // A new leader has heard nobody yet; one that was stalled itself cannot tell who was silent meanwhile.
        let is_fresh = inner.looked.is_none_or(|at| now.duration_since(at) > STALL);
        inner.looked = Some(now);
        if is_fresh {
            inner.heard.clear();
        }
        inner.heard.retain(|session, _| open.contains(session));
        for session in open {
            inner.heard.entry(session).or_insert(now);
        }
        if let Some(mine) = shared.state.pending.session() {
            inner.heard.insert(mine, now);
        }
        let is_silent =
            |heard: &Instant| now.duration_since(*heard) > shared.timing.session_timeout;
        inner.heard.iter().filter(|(_, heard)| is_silent(heard)).map(|(id, _)| *id).collect()
    }

    fn step_down(&self) {
        *self.0.lock() = Inner::default();
    }
}

/// The task that does what is due while this node leads. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        trim_log(&shared).await;
        if !shared.is_leader() {
            shared.duties.step_down();
            continue;
        }
        let silent = shared.duties.silent(&shared);
        // Without a quorum nothing can be ended.
        if !shared.is_led() {
            continue;
        }
        for session in silent {
            // It may have spoken while another one was ended.
            let heard = shared.duties.heard(session);
            if heard.is_some_and(|heard| heard > shared.timing.session_timeout) {
                end_session(&shared, session).await;
            }
        }
        let due = shared.state.with(crate::keyspace::Keyspace::next_deadline);
        if due.is_some_and(|due: Timestamp| due <= shared.state.stamp()) {
            shared.propose(Action::Tick).await;
        }
    }
}

async fn end_session(shared: &Shared, session: SessionId) {
    let node = shared.state.with(|keyspace| keyspace.sessions().get(&session).map(|s| s.node));
    let timeout = shared.timing.session_timeout;
    tracing::warn!(%session, ?node, ?timeout, "ending a session that was silent for too long");
    shared.propose(Action::Expire { session }).await;
}

/// When the log has grown large, takes a snapshot, then forgets all of the log but the last quarter for followers that
/// lag a little.
async fn trim_log(shared: &Shared) {
    let most = usize::try_from(shared.config.snapshot_log_bytes.as_u64()).unwrap_or(usize::MAX);
    let size = shared.log.size().1;
    if size <= most {
        return;
    }
    let Some(mut purge_to) = shared.log.index_before_last(most / 4) else {
        return;
    };
    // Who is being fed a snapshot needs what comes behind it, but not for ever.
    if let Some(needed) = shared.relay.needed().filter(|_| size <= most.saturating_mul(2)) {
        purge_to = purge_to.min(needed.saturating_sub(1));
    }
    // A stopped engine is reported where it stops.
    let _stopped = if shared.snapshot_index() >= purge_to {
        shared.raft().trigger().purge_log(purge_to).await
    } else {
        shared.raft().trigger().snapshot().await
    };
}

/// The task that keeps this node's session alive at the leader. Runs until the node is dropped.
pub(super) async fn keep_session(shared: Arc<Shared>) {
    let every = shared.timing.session_timeout / 4;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (Some(session), Some((leader, placement))) =
            (shared.state.pending.known_session(), shared.leader())
        else {
            continue;
        };
        let answer = if leader == shared.node {
            // What another leader has opened may be over without a trace in the snapshot that brought this one here.
            Ok(shared.duties.renew(&shared, session))
        } else {
            let peer = shared.links.peer(leader, &placement);
            shared.links.call(&peer, &Call::Renew { session }, every).await
        };
        if matches!(answer, Ok(Answer::Done | Answer::NoSession)) {
            *shared.renewed.lock() = Instant::now();
        }
        if matches!(answer, Ok(Answer::NoSession)) {
            shared.state.pending.lose_session(session);
        }
    }
}

impl Shared {
    /// Proposes an entry of the leader's own and waits until it is applied here.
    pub(super) async fn propose(&self, action: Action) -> Answer {
        let proposal = Proposal(Arc::new(Entry { at: self.state.stamp(), action }));
        match self.raft().client_write(proposal).await {
            Ok(_) => Answer::Done,
            Err(_) => Answer::NotLeader { leader: self.leader() },
        }
    }
}
