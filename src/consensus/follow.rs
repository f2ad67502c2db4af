//! The follower's side: a node that does not vote gets the committed entries from one source at a time.
//!
//! Owns which source that is and when to seek another, the beginning of a snapshot that a source did not end, and what is known
//! of the lag. Invariants: never two sources at once; what a source sends reaches the engine only if a source that keeps the
//! rules could have sent it, since the engine stops at anything else.
//!
//! Why this is sound: each entry that comes is committed, under the vote of an elected leader that has it in its log. To the
//! engine the source looks like that leader, slow but truthful. Nothing is acknowledged to a leader, so nothing is
//! counted for a majority; a later leader that takes this node in finds a log that agrees with its own. A node outside the
//! membership never stands for election, however long it hears nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::intake::{Begin, Intake};
use super::lag::{Lag, Marks};
use super::raft::Vote;
use super::shared::Shared;
use super::sources::{self, Attempt, Field, Stand};
use super::wire::{Alive, Answer, Call, Supply, Wish};
use crate::codec;
use crate::host::Evidence;
use crate::ids::{FormationId, NodeId, Placement};
use crate::transport::{Class, FrameReceiver, Peer};

/// How long it may take to open a stream to a source.
const OPEN_MAX: Duration = Duration::from_secs(1);
/// How long to wait when no source takes this node on.
const PAUSE: Duration = Duration::from_millis(200);
/// How many heartbeats may pass without a byte from the source.
const SILENT_HEARTBEATS: u32 = 10;
/// Frames above this may take a while over a slow link, in bytes.
const LARGE: usize = 64 * 1024;
/// How many possible sources are remembered beside the voters.
const KNOWN_MAX: usize = 1024;

/// The source of this node.
#[derive(Clone, Copy, Debug)]
struct Upstream {
    node: NodeId,
    since: Instant,
    /// When and what it last told of itself.
    told: Option<(Instant, Alive)>,
}

#[derive(Debug, Default)]
struct Inner {
    upstream: Option<Upstream>,
    marks: Marks,
    /// How many chunks of snapshots came since the start.
    chunks: u64,
    /// The last entry that any source told to be committed, and the formation that it belongs to.
    furthest: (FormationId, u64),
    /// Nodes of this formation that gossip or a source told of.
    known: BTreeMap<NodeId, Placement>,
}

/// What this node knows of its sources.
#[derive(Debug)]
pub(super) struct Follow {
    inner: Mutex<Inner>,
    /// When a leader last spoke to this node itself.
    heard: Mutex<Instant>,
}

impl Default for Follow {
    fn default() -> Self {
        Self { inner: Mutex::default(), heard: Mutex::new(Instant::now()) }
    }
}

impl Follow {
    /// Notes that a leader has spoken to this node.
    pub(super) fn hear(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// How long ago a leader last spoke to this node.
    fn heard(&self) -> Duration {
        self.heard.lock().elapsed()
    }

    /// Learns of nodes of this formation.
    pub(super) fn meet(&self, nodes: impl IntoIterator<Item = (NodeId, Placement)>) -> bool {
        let mut inner = self.inner.lock();
        let before = inner.known.len();
        for (node, placement) in nodes {
            if inner.known.len() < KNOWN_MAX || inner.known.contains_key(&node) {
                inner.known.insert(node, placement);
            }
        }
        inner.known.len() > before
    }

    /// The last entry of a formation that this node has ever been told to be committed.
    pub(super) fn furthest(&self, formation: FormationId) -> u64 {
        let (of, index) = self.inner.lock().furthest;
        if of == formation { index } else { 0 }
    }

    /// The source that feeds this node.
    pub(super) fn source(&self) -> Option<NodeId> {
        self.inner.lock().upstream.filter(|up| up.told.is_some()).map(|up| up.node)
    }

    fn note_chunk(&self) {
        let mut inner = self.inner.lock();
        inner.chunks = inner.chunks.saturating_add(1);
    }

    /// How many chunks of snapshots came since the start.
    pub(super) fn chunks(&self) -> u64 {
        self.inner.lock().chunks
    }

    /// How far this node is behind its source.
    pub(super) fn lag(&self, applied: u64) -> Lag {
        self.inner.lock().marks.lag(Instant::now(), applied)
    }

    /// Forgets the source; gives what it last told.
    fn end(&self) -> Option<(Instant, Alive)> {
        let mut inner = self.inner.lock();
        inner.marks.forget();
        inner.upstream.take()?.told
    }

    /// How long ago the voter at the beginning of this node's chain heard of a leader, and how long the chain is.
    fn chain(&self) -> Option<(Duration, u8)> {
        let (at, alive) = self.inner.lock().upstream?.told?;
        let age = Duration::from_millis(alive.age_ms).saturating_add(at.elapsed());
        Some((age, alive.depth.saturating_add(1)))
    }

    /// The newest vote that the source knows of.
    fn vote(&self) -> Option<Vote> {
        let (_, alive) = self.inner.lock().upstream?.told?;
        Some(alive.vote)
    }
}

impl Shared {
    /// Tells whether this node votes.
    pub(super) fn votes(&self) -> bool {
        self.votes_in_group(self.node)
    }

    fn must_follow(&self) -> bool {
        sources::must_follow(&Stand {
            has_formation: self.links.formation().is_some(),
            leads: self.is_leader(),
            votes: self.votes(),
            heard: self.follow.heard(),
            election_max: self.timing.election_max,
        })
    }

    /// How long ago this node, or the voter at the beginning of the chain that feeds it, heard of a leader; and how many nodes
    /// stand between this one and that voter.
    pub(super) fn freshness(&self) -> (Duration, u8) {
        if self.is_leader() {
            // Alone it needs nobody's word; else the last one of a majority counts.
            let alone = self.voters().len() <= 1;
            let age = if alone { Some(Duration::ZERO) } else { self.quorum_age() };
            return (age.unwrap_or(Duration::MAX), 0);
        }
        let own = self.votes().then(|| (self.follow.heard(), 0));
        let chain = self.follow.chain();
        let best = own.into_iter().chain(chain).min_by_key(|(age, _)| *age);
        best.unwrap_or((Duration::MAX, u8::MAX))
    }

    /// The leader that this node's source knows of, if that is newer than what the engine knows.
    pub(super) fn newer_leader(&self, own: Vote) -> Option<Option<NodeId>> {
        let vote = self.follow.vote().filter(|vote| vote.leader_id > own.leader_id)?;
        Some(vote.committed.then_some(vote.leader_id.node_id))
    }

    /// Has the leader step into a later term than one that a removed node has voted in: that node refuses whatever comes
    /// under an earlier vote, and nobody but its own old group would ever have told the leader.
    pub(super) async fn outrun(&self, node: NodeId, vote: Vote) -> Answer {
        let own = self.raft().server_metrics().borrow_watched().vote;
        if !self.is_leader() || self.votes_in_group(node) || vote.leader_id <= own.leader_id {
            return Answer::Refused { reason: "not called for".to_owned() };
        }
        let others = self.voters().into_iter().filter(|id| *id != self.node);
        let alive = others.filter(|id| self.is_alive(*id, Duration::from_secs(1)));
        let Some(heir) = alive.min_by_key(|id| self.answered(*id)) else {
            return Answer::Refused { reason: "no other voter to lead in a later term".to_owned() };
        };
        tracing::warn!(%node, %vote, %heir, "handing over, for a removed node has voted in a later term");
        // A stopped engine is reported where it stops.
        let _stopped = self.raft().trigger().transfer_leader(heir).await;
        Answer::Done
    }

    fn votes_in_group(&self, node: NodeId) -> bool {
        self.membership().voter_ids().any(|id| id == node)
    }

    /// Asks the leader that a source tells of to outrun this node's vote, if that is in its way.
    async fn ask_to_outrun(&self, alive: Alive) {
        let own = self.raft().server_metrics().borrow_watched().vote;
        let is_ahead = !own.committed && own.leader_id > alive.vote.leader_id;
        let leader = alive.vote.leader_id.node_id;
        if !is_ahead || !alive.vote.committed {
            return;
        }
        if let Some(placement) = self.placement_of(leader) {
            let call = Call::Outrun { node: self.node, vote: own };
            let peer = self.links.peer(leader, &placement);
            let answer = self.links.call(&peer, &call, OPEN_MAX).await;
            tracing::warn!(vote = %own, ?answer, "this node has voted in a later term than its group");
        }
    }

    /// Where a node is reached, as far as this one knows.
    pub(super) fn placement_of(&self, node: NodeId) -> Option<Placement> {
        if let Some(placement) = self.membership().get_node(&node) {
            return Some(placement.clone());
        }
        let sessions = self.state.sessions();
        let by_session = sessions.borrow().values().find(|peer| peer.node == node).cloned();
        let known = || self.follow.inner.lock().known.get(&node).cloned();
        by_session.map(|peer| peer.placement).or_else(known)
    }

    fn field(&self, lost: Option<NodeId>) -> Field {
        let sessions = self.state.sessions();
        let open: Vec<_> = sessions.borrow().values().map(|peer| peer.node).collect();
        let known: Vec<_> = self.follow.inner.lock().known.keys().copied().collect();
        let leader = self.leader().map(|(id, _)| id);
        let others = known.into_iter().chain(open).filter(|id| *id != self.node).collect();
        Field { me: self.node, leader, voters: self.voters(), others, lost }
    }
}

/// How following one source ended.
#[derive(Debug)]
enum End {
    /// It does not take this node on; whether it told of nodes that were not known.
    Refused { is_news: bool, reason: String },
    /// It could not be reached, or sent nothing.
    Failed(String),
    /// It has fed this node, and that is over.
    Over(String),
}

/// Follows whenever this node has to. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(shared.timing.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut begun = None;
    let mut lost = None;
    loop {
        ticks.tick().await;
        if shared.must_follow() {
            lost = round(&shared, &mut begun, lost).await;
        }
    }
}

/// Asks one source after the other until one has fed this node. Gives the source that is lost then.
async fn round(
    shared: &Arc<Shared>,
    begun: &mut Option<Begin>,
    lost: Option<NodeId>,
) -> Option<NodeId> {
    for attempt in sources::attempts(&shared.field(lost)) {
        let Some(placement) = shared.placement_of(attempt.source) else {
            continue;
        };
        if matches!(shared.links.host.evidence(attempt.source), Evidence::Dead { .. }) {
            continue;
        }
        let peer = shared.links.peer(attempt.source, &placement);
        let end = follow(shared, &peer, attempt, begun).await;
        let source = placement.name;
        match end {
            End::Refused { is_news, reason } => {
                tracing::debug!(source, reason, "a source refuses");
                if is_news {
                    return lost;
                }
            }
            End::Failed(reason) => tracing::debug!(source, reason, "no source"),
            End::Over(reason) => {
                tracing::info!(source, reason, "seeking another source");
                return Some(attempt.source);
            }
        }
        if !shared.must_follow() {
            return None;
        }
    }
    tokio::time::sleep(PAUSE).await;
    None
}

/// Follows one source until that ends.
async fn follow(
    shared: &Arc<Shared>,
    peer: &Peer,
    attempt: Attempt,
    begun: &mut Option<Begin>,
) -> End {
    let purpose = shared.links.purpose(Class::Follow);
    let opened = timeout(OPEN_MAX, shared.links.transport.open(peer, purpose)).await;
    let (mut sender, receiver, _) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return End::Failed(error.to_string()),
        Err(_) => return End::Failed("it does not answer".to_owned()),
    };
    let wish = Wish {
        node: shared.node,
        applied: shared.state.position().0,
        begun: begun.as_ref().and_then(Begin::stand),
        urgency: attempt.urgency,
    };
    if let Err(error) = sender.send(codec::encode(&wish)).await {
        return End::Failed(error.to_string());
    }
    let mut stream = Stream {
        shared,
        source: attempt.source,
        receiver,
        arrived: 0,
        intake: Intake::new(Arc::clone(shared), begun),
        is_fed: false,
    };
    shared.follow.inner.lock().upstream =
        Some(Upstream { node: attempt.source, since: Instant::now(), told: None });
    let end = tokio::select! {
        end = stream.run() => end,
        // What it sends belongs to a formation that this node has left.
        () = shared.links.left(purpose.formation) => End::Over("another formation".to_owned()),
    };
    stream.intake.close().await;
    let told = shared.follow.end();
    sender.finish();
    if let Some((_, alive)) = told {
        shared.ask_to_outrun(alive).await;
    }
    match end {
        End::Over(reason) if !stream.is_fed => End::Failed(reason),
        End::Refused { .. } | End::Failed(_) | End::Over(_) => end,
    }
}

/// The stream from one source.
struct Stream<'a> {
    shared: &'a Arc<Shared>,
    source: NodeId,
    receiver: FrameReceiver,
    /// How many bytes of a frame had arrived when it was last looked.
    arrived: usize,
    intake: Intake<'a>,
    is_fed: bool,
}

impl Stream<'_> {
    async fn run(&mut self) -> End {
        let mut ticks = tokio::time::interval(self.shared.timing.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let silence_max = self.shared.timing.heartbeat.saturating_mul(SILENT_HEARTBEATS);
        let stale_after = sources::stale_after(self.shared.timing.election_max);
        let mut applied = self.shared.state.applied();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                biased;
                failed = self.intake.failed() => return End::Over(failed),
                frame = self.receiver.receive() => {
                    heard = Instant::now();
                    let frame = match frame {
                        Ok(Some(frame)) => frame,
                        Ok(None) => return End::Over("it has ended the stream".to_owned()),
                        Err(error) => return End::Over(error.to_string()),
                    };
                    if let Err(end) = self.take(&frame).await {
                        return end;
                    }
                }
                moved = applied.changed() => {
                    let index = *applied.borrow_and_update();
                    let clock = self.shared.clock.now();
                    self.shared.follow.inner.lock().marks.reach(clock, index);
                    if moved.is_err() {
                        return End::Over("stopped".to_owned());
                    }
                }
                _ = ticks.tick() => {
                    // A large frame on a slow link is not silence.
                    let arrived = self.receiver.arrived();
                    if arrived != self.arrived {
                        (self.arrived, heard) = (arrived, Instant::now());
                    }
                    // In the midst of one, a lost datagram holds up all behind it for as long as the link's queue is.
                    let is_large = self.receiver.awaited() > LARGE;
                    if heard.elapsed() > if is_large { stale_after } else { silence_max } {
                        return End::Over(format!("silent for {:?}", heard.elapsed()));
                    }
                    if let Some(reason) = self.reason_to_leave(heard.elapsed()) {
                        return End::Over(reason.to_owned());
                    }
                }
            }
        }
    }

    async fn take(&mut self, frame: &[u8]) -> Result<(), End> {
        let Ok(supply) = codec::decode::<Supply>(frame) else {
            return Err(End::Over("it sent something that is no frame".to_owned()));
        };
        let taken = match supply {
            Supply::Alive(alive) => {
                self.note(alive);
                Ok(())
            }
            // This node has been elected meanwhile: what comes under its own vote it has sent itself, and to an engine that
            // leads it is a broken invariant.
            Supply::Entries(AppendEntriesRequest { vote, .. }) | Supply::Snapshot { vote, .. }
                if vote.leader_id.node_id == self.shared.node =>
            {
                Err("this node leads".to_owned())
            }
            Supply::Entries(request) => {
                if let Some((index, at)) = Intake::announced(&request) {
                    self.shared.follow.inner.lock().marks.announce(Instant::now(), index, at);
                }
                self.intake.append(request).await
            }
            Supply::Snapshot { vote, meta, from } => self.intake.begin(vote, meta, from),
            Supply::Chunk(chunk) => {
                self.shared.follow.note_chunk();
                self.intake.chunk(&chunk)
            }
            Supply::SnapshotEnd => self.intake.install().await,
            Supply::Refused { reason, others } => {
                let is_news = self.shared.follow.meet(others);
                return Err(End::Refused { is_news, reason });
            }
        };
        taken.map_err(End::Over)
    }

    fn note(&mut self, alive: Alive) {
        if !std::mem::replace(&mut self.is_fed, true) {
            tracing::info!(source = %self.source, committed = alive.committed, "following");
        }
        let formation = self.shared.links.formation();
        let mut inner = self.shared.follow.inner.lock();
        let known = if inner.furthest.0 == formation { inner.furthest.1 } else { 0 };
        inner.furthest = (formation, known.max(alive.committed));
        if let Some(upstream) = &mut inner.upstream {
            upstream.told = Some((Instant::now(), alive));
        }
        inner.marks.announce(Instant::now(), alive.committed, None);
        let clock = self.shared.clock.now();
        inner.marks.reach(clock, self.shared.state.applied_index());
    }

    /// Why this source is to be left, if it is. `silent` is how long nothing has come from it, not even a part of a frame: on a slow
    /// link its next word of the leader waits behind a large frame, and so would that of any other source.
    fn reason_to_leave(&self, silent: Duration) -> Option<&'static str> {
        let shared = self.shared;
        if !shared.must_follow() {
            return Some("this node votes");
        }
        let upstream = shared.follow.inner.lock().upstream?;
        let patience = sources::stale_after(shared.timing.election_max);
        // A source that was taken as the last resort is left only after a while.
        if upstream.since.elapsed() <= patience {
            return None;
        }
        let leader = shared.leader().map(|(id, _)| id);
        if sources::should_spare(self.source, leader, shared.voters().len()) {
            return Some("it leads, and others vote too");
        }
        let alive = upstream.told.map(|(_, alive)| alive);
        let age = alive.map_or(Duration::ZERO, |alive| Duration::from_millis(alive.age_ms));
        if age.saturating_add(silent) > patience {
            return Some("it has not heard of a leader lately");
        }
        let depth = alive.map_or(0, |alive| alive.depth.saturating_add(1));
        (depth > sources::DEPTH_MAX).then_some("too many observers follow each other")
    }
}
