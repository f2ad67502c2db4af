//! The source's side of following: committed entries, encoded once, and snapshots in chunks, for nodes outside the Raft group.
//!
//! Owns the frames, who is fed, and the snapshot that a broken stream can be taken up with. Does not decide who is fed; see
//! `sources`. Invariants: only what this node has applied is relayed, under the vote of an elected leader that has all of it in
//! its log; a follower holds no memory here but its stream's buffer.
//!
//! ```text
//!   applied ─► run: read the log, encode once ─► ring ─► Feed of each follower ─► stream
//!                                                 log ─────────┘   (behind the ring)
//!                                            snapshot ─────────┘   (behind the log)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::machine::SnapshotData;
use super::raft::{LogId, SnapshotMeta, Types, Vote};
use super::ring::{Found, Ring};
use super::shared::Shared;
use super::sources::{self, Supplier, Urgency};
use super::wire::{Alive, Begun, Supply, Wish};
use crate::codec;
use crate::ids::{NodeId, Placement};
use crate::transport::{Error, FrameSender, Inbound};

/// About how many bytes of entries go into one frame, unless one entry alone is larger.
const FRAME_BYTES: usize = 1024 * 1024;
/// How long a snapshot that nobody is taking is kept for one who comes again.
const HELD_MAX: Duration = Duration::from_secs(30);
/// How long a follower may take until it has said what it wants, and a snapshot until it is taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many frames, each follower's counted, go without a pause: one follower that waits for each of its writes needs no more.
const AT_ONCE: usize = 16;
/// The most other sources that a refusal names.
const NAMED_MAX: usize = 32;

/// One follower.
#[derive(Clone, Copy, Debug)]
struct Fed {
    node: NodeId,
    /// The next entry that it needs.
    next: u64,
}

/// A snapshot in use.
#[derive(Clone, Debug)]
struct Held {
    meta: SnapshotMeta,
    snapshot: SnapshotData,
    used: Instant,
}

/// What this node does for its followers.
#[derive(Debug, Default)]
pub(super) struct Relay {
    ring: Mutex<Ring>,
    /// The index behind which there is a frame; moves with each.
    head: watch::Sender<u64>,
    /// By the number of their stream.
    fed: Mutex<BTreeMap<u64, Fed>>,
    count: watch::Sender<usize>,
    held: Mutex<Option<Held>>,
}

/// A follower's place; gives it up when dropped.
struct Place<'a> {
    relay: &'a Relay,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut fed = self.relay.fed.lock();
        fed.remove(&self.number);
        self.relay.count.send_replace(fed.len());
    }
}

impl Relay {
    /// How many followers there are.
    pub(super) fn fed(&self) -> usize {
        self.fed.lock().len()
    }

    /// The first entry that a follower still needs from the log.
    pub(super) fn needed(&self) -> Option<u64> {
        self.fed.lock().values().map(|fed| fed.next).min()
    }

    /// Gives a follower its place, if `admit` agrees to that many.
    fn enter<E>(
        &self,
        fed: Fed,
        applied: u64,
        admit: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Place<'_>, E> {
        let mut all = self.fed.lock();
        // A node that comes again has lost its earlier stream, whether or not this side has seen that.
        all.retain(|_, other| other.node != fed.node);
        admit(all.len())?;
        if all.is_empty() {
            self.ring.lock().reset(Some(applied));
        }
        let number = all.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        all.insert(number, fed);
        self.count.send_replace(all.len());
        drop(all);
        Ok(Place { relay: self, number })
    }

    fn note(&self, number: u64, next: u64) -> bool {
        let mut fed = self.fed.lock();
        let place = fed.get_mut(&number);
        place.map(|fed| fed.next = next).is_some()
    }

    /// Forgets what was made of a state that this node no longer goes on from.
    pub(super) fn forget(&self, applied: u64) {
        *self.held.lock() = None;
        self.ring.lock().reset(Some(applied));
    }

    fn forget_unused(&self) {
        self.held.lock().take_if(|held| held.used.elapsed() > HELD_MAX);
    }
}

impl Shared {
    /// The vote to relay entries up to `last` under: the one of a leader that was elected and has them all. The leader of the
    /// last one did; one that this node follows now does too, since a leader's log has all that was committed before.
    fn vote_for(&self, last: LogId) -> Vote {
        let own = self.raft().server_metrics().borrow_watched().vote;
        let of_entry = Vote { leader_id: *last.committed_leader_id(), committed: true };
        if own.committed && own.leader_id > of_entry.leader_id { own } else { of_entry }
    }

    /// How this node is as a source.
    fn alive(&self) -> Alive {
        let (age, depth) = self.freshness();
        let vote = self.raft().server_metrics().borrow_watched().vote;
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Alive { committed: self.state.applied_index(), vote, age_ms, depth }
    }

    fn admit(&self, urgency: Urgency, fed: usize) -> Result<(), &'static str> {
        let voters = self.voters();
        let (age, depth) = self.freshness();
        let sessions = self.state.sessions();
        let observers = sessions.borrow().values().filter(|p| !voters.contains(&p.node)).count();
        let supplier = Supplier {
            leads: self.is_leader(),
            votes: voters.contains(&self.node),
            voters: voters.len(),
            observers,
            fed,
            fed_max: self.config.followers_max.max(1),
            fed_by_leader_max: self.config.followers_of_leader_max,
            depth,
            is_fresh: age <= sources::stale_after(self.timing.election_max),
        };
        sources::admit(&supplier, urgency)
    }

    /// The voters and this node's own followers, for one that is refused.
    fn other_sources(&self) -> Vec<(NodeId, Placement)> {
        let membership = self.membership();
        let voters = self.voters();
        let voting = voters.iter().filter_map(|id| Some((*id, membership.get_node(id)?.clone())));
        let fed: Vec<_> = self.relay.fed.lock().values().map(|fed| fed.node).collect();
        let sessions = self.state.sessions();
        let sessions = sessions.borrow();
        let following = sessions.values().filter(|peer| fed.contains(&peer.node));
        let following = following.map(|peer| (peer.node, peer.placement.clone()));
        voting.chain(following).take(NAMED_MAX).collect()
    }
}

/// Encodes entries of the log, from `from` to `to` or as many as one frame takes. Gives the frame and its last index; none
/// when the log does not have them any more.
fn encode(shared: &Shared, from: u64, to: u64) -> Option<(Bytes, u64)> {
    let piece = shared.log.read(from, to, FRAME_BYTES)?;
    let last = piece.entries.last()?.log_id();
    let request = AppendEntriesRequest::<Types> {
        vote: shared.vote_for(last),
        prev_log_id: piece.before,
        entries: piece.entries,
        leader_commit: Some(last),
    };
    Some((codec::encode(&Supply::Entries(request)), last.index()))
}

/// Makes frames of what is applied, while anybody follows. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let relay = &shared.relay;
    let mut applied = shared.state.applied();
    let mut count = relay.count.subscribe();
    let (mut since, mut sent) = (Instant::now(), 0_usize);
    loop {
        let waited = timeout(HELD_MAX, count.wait_for(|count| *count > 0)).await;
        let waited = waited.map(|ended| ended.is_ok());
        relay.forget_unused();
        match waited {
            Err(_) => continue,
            Ok(false) => return,
            Ok(true) => {}
        }
        let head = relay.ring.lock().head();
        tokio::select! {
            moved = applied.wait_for(|index| Some(*index) > head) => if moved.is_err() { return },
            _ = count.changed() => continue,
            () = tokio::time::sleep(HELD_MAX) => continue,
        }
        let pause = shared.config.relay_pause;
        if since.elapsed() >= pause {
            (since, sent) = (Instant::now(), 0);
        }
        fill(&shared);
        sent = sent.saturating_add(relay.fed());
        // What comes meanwhile goes into one frame; what comes after a quiet time, or for a few followers, goes at once.
        if sent >= AT_ONCE {
            tokio::time::sleep_until(since + pause).await;
        }
    }
}

/// Adds frames up to what is applied now.
fn fill(shared: &Shared) {
    let bytes_max = usize::try_from(shared.config.relay_bytes.as_u64()).unwrap_or(usize::MAX);
    let applied = shared.state.applied_index();
    let vote = shared.raft().server_metrics().borrow_watched().vote;
    shared.relay.ring.lock().set_leader((vote.leader_id.term, vote.leader_id.node_id));
    loop {
        let head = shared.relay.ring.lock().head();
        let Some(head) = head.filter(|head| *head < applied) else {
            return;
        };
        let encoded = encode(shared, head.saturating_add(1), applied);
        let mut ring = shared.relay.ring.lock();
        if ring.head() != Some(head) {
            return;
        }
        match encoded {
            Some((bytes, last)) => ring.push(last, bytes, bytes_max),
            // Applied by a snapshot: the followers need that too.
            None => ring.reset(Some(applied)),
        }
        let head = ring.head().unwrap_or(applied);
        drop(ring);
        shared.relay.head.send_replace(head);
    }
}

/// Serves a follower, until it goes or is too slow.
pub(super) async fn serve(shared: &Arc<Shared>, inbound: Inbound) -> Result<(), Error> {
    let Inbound { mut sender, mut receiver, .. } = inbound;
    let Ok(first) = timeout(PATIENCE, receiver.receive()).await else {
        return Ok(());
    };
    let Some(Ok(wish)) = first?.map(|frame| codec::decode::<Wish>(&frame)) else {
        return Ok(());
    };
    let next = wish.applied.map_or(0, |id| id.index().saturating_add(1));
    let fed = Fed { node: wish.node, next };
    let admitted = if shared.is_member() && wish.node != shared.node {
        let admit = |fed| shared.admit(wish.urgency, fed);
        is_shared_past(shared, &wish)
            .and_then(|()| shared.relay.enter(fed, shared.state.applied_index(), admit))
    } else {
        Err("it has nothing yet")
    };
    let place = match admitted {
        Ok(place) => place,
        Err(reason) => {
            let refused =
                Supply::Refused { reason: reason.to_owned(), others: shared.other_sources() };
            sender.send(codec::encode(&refused)).await?;
            sender.finish();
            return Ok(());
        }
    };
    tracing::debug!(node = %wish.node, next, "feeding a follower");
    let head = shared.relay.head.subscribe();
    let feed =
        Feed { shared, sender, number: place.number, next, begun: wish.begun, told: None, head };
    tokio::select! {
        ended = feed.run() => ended,
        gone = receiver.receive() => gone.map(|_| ()),
    }
}

/// Tells whether the follower's last entry is the one that stands at its place here.
fn is_shared_past(shared: &Shared, wish: &Wish) -> Result<(), &'static str> {
    let differs = |id: LogId| shared.log.id_at(id.index()).is_some_and(|own| own != id);
    let is_committed = |id: &LogId| id.index() <= shared.state.applied_index();
    if wish.applied.filter(is_committed).is_some_and(differs) {
        tracing::error!(node = %wish.node, applied = ?wish.applied, "a follower has another past");
        return Err("another past");
    }
    Ok(())
}

fn over(reason: &str) -> Error {
    Error::Closed { reason: reason.to_owned() }
}

/// The stream to one follower.
struct Feed<'a> {
    shared: &'a Arc<Shared>,
    sender: FrameSender,
    number: u64,
    next: u64,
    begun: Option<Begun>,
    /// When it was last told how this node is.
    told: Option<Instant>,
    head: watch::Receiver<u64>,
}

impl Feed<'_> {
    async fn run(mut self) -> Result<(), Error> {
        loop {
            self.tell().await?;
            self.head.mark_unchanged();
            let found = self.shared.relay.ring.lock().find(self.next);
            match found {
                Found::Frames { mut frames, next } => {
                    self.send_all(&mut frames).await?;
                    self.advance(next)?;
                }
                Found::Log { until } => match encode(self.shared, self.next, until) {
                    Some((frame, last)) => {
                        self.send_all(&mut vec![frame]).await?;
                        self.advance(last.saturating_add(1))?;
                    }
                    None => self.send_snapshot().await?,
                },
                Found::Nothing => {
                    let due = self
                        .told
                        .map_or(Duration::ZERO, |at| self.due().saturating_sub(at.elapsed()));
                    // A pause without news is what the next word is for.
                    let _quiet = timeout(due, self.head.changed()).await;
                }
            }
        }
    }

    fn due(&self) -> Duration {
        self.shared.timing.heartbeat
    }

    fn advance(&mut self, next: u64) -> Result<(), Error> {
        self.next = next;
        if self.shared.relay.note(self.number, next) {
            return Ok(());
        }
        Err(over("the follower has another stream"))
    }

    /// Tells how this node is, once in a heartbeat.
    async fn tell(&mut self) -> Result<(), Error> {
        if self.told.is_some_and(|at| at.elapsed() < self.due()) {
            return Ok(());
        }
        self.advance(self.next)?;
        self.told = Some(Instant::now());
        let alive = codec::encode(&Supply::Alive(self.shared.alive()));
        self.send_all(&mut vec![alive]).await
    }

    async fn send_all(&mut self, frames: &mut Vec<Bytes>) -> Result<(), Error> {
        self.sender.send_moving(frames, self.shared.config.snapshot_idle_timeout).await
    }

    /// Sends the newest snapshot, or goes on with the one that the follower has begun.
    async fn send_snapshot(&mut self) -> Result<(), Error> {
        let Held { meta, snapshot, .. } = self.take_snapshot().await?;
        let Some(last) = meta.last_log_id else {
            return Err(over("an empty snapshot"));
        };
        let begun = self.begun.take().filter(|begun| begun.last == last);
        let from = begun.map_or(0, |begun| begun.chunks);
        let node = self.shared.relay.fed.lock().get(&self.number).map(|fed| fed.node);
        tracing::info!(?node, index = last.index(), from, "sending a snapshot to a follower");
        self.advance(last.index().saturating_add(1))?;
        let vote = self.shared.vote_for(last);
        let start = codec::encode(&Supply::Snapshot { vote, meta, from });
        self.send_all(&mut vec![start]).await?;
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        for chunk in snapshot.chunks().skip(skipped) {
            let chunk = chunk.map_err(|error| {
                tracing::error!(%error, "cannot read a snapshot");
                over("its snapshot cannot be read")
            })?;
            self.send_all(&mut vec![codec::encode(&Supply::Chunk(chunk))]).await?;
            self.tell().await?;
            if let Some(held) = self.shared.relay.held.lock().as_mut() {
                held.used = Instant::now();
            }
        }
        self.send_all(&mut vec![codec::encode(&Supply::SnapshotEnd)]).await
    }

    /// The snapshot that others are taking, if entries follow it in the log; else the newest, or a new one.
    async fn take_snapshot(&mut self) -> Result<Held, Error> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let purged = self.shared.log.purged().map_or(0, |id| id.index());
            let is_usable =
                |meta: &SnapshotMeta| meta.last_log_id.is_some_and(|id| id.index() >= purged);
            if let Some(held) =
                self.shared.relay.held.lock().as_mut().filter(|h| is_usable(&h.meta))
            {
                held.used = Instant::now();
                return Ok(held.clone());
            }
            let taken = self.shared.raft().get_snapshot().await;
            let taken = taken.map_err(|_| over("the engine has stopped"))?;
            if let Some(taken) = taken.filter(|taken| is_usable(&taken.meta)) {
                let (meta, snapshot) = (taken.meta, taken.snapshot);
                let held = Held { meta, snapshot, used: Instant::now() };
                *self.shared.relay.held.lock() = Some(held);
                continue;
            }
            // A stopped engine is reported where it stops.
            let _stopped = self.shared.raft().trigger().snapshot().await;
            tokio::time::sleep(self.due()).await;
            self.tell().await?;
        }
        Err(over("no snapshot in time"))
    }
}
