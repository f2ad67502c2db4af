//! Takes what this node asks of the replicated state to the leader, in order, and takes it there again when a leader goes.
//!
//! Owns the session of this node and the one way to the leader that is open at a time. The replies come by
//! [`Pending`](super::pending::Pending). Invariant: batches leave in the order of their serials; after a break all that
//! are still under way leave again, before any new one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::pending::{Outgoing, Submission};
use super::raft::ServerMetrics;
use super::shared::Shared;
use super::wire::{Answer, Call, Forwarded, Rejected};
use super::{Error, feed};
use crate::codec;
use crate::ids::{NodeId, Placement};
use crate::transport::{Class, Peer};

/// How often deadlines are looked at and a missing session or way is sought.
const TICK: Duration = Duration::from_millis(20);
/// After how long a way that has ended is sought anew: at first, twice as long each time after, at most a tick. A leader
/// that has just been elected refuses until a majority has answered it.
const RETRY: Duration = Duration::from_millis(1);
/// How long an attempt to open a session may take.
const OPEN_MAX: Duration = Duration::from_millis(500);

/// The open way to a leader. Ends by itself when the leader takes no more.
#[derive(Debug)]
struct Way {
    leader: NodeId,
    outbox: mpsc::Sender<Forwarded>,
    /// Gives the serial from which on nothing is in the leader's log, if that is certain.
    end: JoinHandle<Option<u64>>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.end.abort();
    }
}

/// The writer's task.
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Submission>,
    held: VecDeque<Submission>,
    way: Option<Way>,
    opening: Option<JoinHandle<()>>,
    retry: Duration,
}

impl Writer {
    pub(super) const fn new(shared: Arc<Shared>, queue: mpsc::Receiver<Submission>) -> Self {
        Self { shared, queue, held: VecDeque::new(), way: None, opening: None, retry: RETRY }
    }

    /// Runs until the node is dropped.
    pub(super) async fn run(mut self) {
        self.shared.state.pending.begin_session(self.shared.draw());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.shared);
        let mut incoming = Vec::new();
        let mut leaders = Some(shared.raft().server_metrics());
        loop {
            let room = shared.config.queue_max.saturating_sub(self.held.len());
            tokio::select! {
                () = shared.state.pending.changed.notified() => self.retry = RETRY,
                goes_on = another(&mut leaders) => {
                    if !goes_on {
                        // The next tick asks the engine that has taken this one's place.
                        leaders = None;
                    }
                    self.retry = RETRY;
                    self.look_after();
                }
                refused_from = end_of(&mut self.way) => {
                    shared.state.pending.end_way(refused_from);
                    self.way = None;
                    // A tick seeks a leader again: an immediate retry would spin while there is none.
                    ticks.reset_after(self.retry);
                    self.retry = self.retry.saturating_mul(2).min(TICK);
                    continue;
                }
                count = self.queue.recv_many(&mut incoming, room), if room > 0 => {
                    if count == 0 {
                        return;
                    }
                    self.held.extend(incoming.drain(..));
                }
                _ = ticks.tick() => {
                    if leaders.is_none() {
                        leaders = Some(shared.raft().server_metrics());
                    }
                    self.look_after();
                }
            }
            self.send();
        }
    }

    /// Sees to it that there is a session and a way to the present leader, and that nobody waits beyond his deadline.
    fn look_after(&mut self) {
        let shared = Arc::clone(&self.shared);
        let pending = &shared.state.pending;
        let now = Instant::now();
        pending.expire(now);
        // Deadlines are alike, so the oldest pass first.
        while let Some(late) = self.held.pop_front_if(|submission| submission.deadline <= now) {
            // A caller that went away needs no answer.
            let _gone = late.done.send(Err(Error::TryAgain));
        }
        if pending.is_session_lost() {
            tracing::warn!("this node's session has ended; opening another");
            self.end_way();
            pending.begin_session(shared.draw());
        }
        let Some((leader, placement)) = shared.leader() else {
            return;
        };
        if pending.session().is_none() {
            self.open_session(leader, &placement);
            return;
        }
        if self.way.as_ref().is_some_and(|way| way.leader != leader) {
            self.end_way();
        }
        if self.way.is_none() {
            self.way = Some(open_way(&shared, leader, &placement));
            self.send_all(pending.all());
        }
    }

    fn end_way(&mut self) {
        if self.way.take().is_some() {
            self.shared.state.pending.end_way(None);
        }
    }

    fn open_session(&mut self, leader: NodeId, placement: &Placement) {
        // One that is open at the leader comes with the log.
        let pending = &self.shared.state.pending;
        if pending.known_session().is_some() || pending.is_retired() {
            return;
        }
        if self.opening.as_ref().is_some_and(|opening| !opening.is_finished()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let peer = shared.links.peer(leader, placement);
        let nonce = shared.state.pending.nonce();
        self.opening = Some(tokio::spawn(async move {
            let (node, placement) = (shared.node, shared.placement.clone());
            let opened = if leader == node {
                shared.duties.open_session(&shared, nonce, node, placement).await
            } else {
                let call = Call::Open { nonce, node, placement };
                match shared.links.call(&peer, &call, OPEN_MAX).await {
                    Ok(answer) => answer,
                    Err(error) => Answer::Refused { reason: error.to_string() },
                }
            };
            if let Answer::Opened { session } = opened {
                shared.state.pending.announce_session(nonce, session);
            } else {
                tracing::debug!(?opened, "no session yet");
            }
        }));
    }

    /// Makes batches of what is held, as far as there is a way and room on it.
    fn send(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (pending, config) = (&shared.state.pending, &shared.config);
        if pending.take_resend() {
            self.send_all(pending.all());
        }
        while self.way.is_some()
            && !self.held.is_empty()
            && pending.session().is_some()
            && pending.len() < config.batches_in_flight_max
        {
            let batch = self.next_batch();
            let outgoing = pending.add(batch);
            self.send_all(outgoing.into_iter().collect());
        }
    }

    fn next_batch(&mut self) -> Vec<Submission> {
        let config = &self.shared.config;
        let bytes_max = usize::try_from(config.batch_bytes_max.as_u64()).unwrap_or(usize::MAX);
        let (mut requests, mut bytes, mut batch) = (0usize, 0usize, Vec::new());
        while let Some(next) = self.held.pop_front_if(|next| {
            let fits = requests.saturating_add(next.requests.len()) <= config.batch_requests_max
                && bytes.saturating_add(next.bytes) <= bytes_max;
            batch.is_empty() || fits
        }) {
            requests = requests.saturating_add(next.requests.len());
            bytes = bytes.saturating_add(next.bytes);
            batch.push(next);
        }
        batch
    }

    fn send_all(&mut self, all: Vec<Outgoing>) {
        let Some(way) = &self.way else {
            return;
        };
        for Outgoing { session, serial, acknowledged, requests } in all {
            let forwarded = Forwarded { session, serial, acknowledged, requests };
            match way.outbox.try_send(forwarded) {
                Ok(()) => {}
                // A way that ended says so by its own end.
                Err(TrySendError::Closed(_)) => return,
                // It stands still. Another may not.
                Err(TrySendError::Full(_)) => return self.end_way(),
            }
        }
    }
}

/// Waits until the engine knows of another leader, or of another state of its own; false when it has stopped.
async fn another(leaders: &mut Option<ServerMetrics>) -> bool {
    match leaders {
        Some(leaders) => leaders.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

async fn end_of(way: &mut Option<Way>) -> Option<u64> {
    match way {
        Some(way) => (&mut way.end).await.unwrap_or(None),
        None => std::future::pending().await,
    }
}

fn open_way(shared: &Arc<Shared>, leader: NodeId, placement: &Placement) -> Way {
    let least = shared.state.pending.len();
    let most = shared.config.batches_in_flight_max.max(least).saturating_mul(2).max(1);
    let (outbox, mut inbox) = mpsc::channel(most);
    let shared = Arc::clone(shared);
    let peer = shared.links.peer(leader, placement);
    let end = tokio::spawn(async move {
        if leader == shared.node {
            feed::run(&shared, &mut inbox).await
        } else {
            forward(&shared, &peer, &mut inbox).await
        }
    });
    Way { leader, outbox, end }
}

/// Sends batches to another node that leads.
async fn forward(
    shared: &Shared,
    peer: &Peer,
    inbox: &mut mpsc::Receiver<Forwarded>,
) -> Option<u64> {
    let purpose = shared.links.purpose(Class::Forward);
    let opened = shared.links.transport.open(peer, purpose).await;
    let Ok((mut sender, mut receiver, _)) = opened else {
        // Nothing has left: all of it is refused.
        return Some(0);
    };
    let (mut batches, mut frames) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            answer = receiver.receive() => {
                let rejected = codec::decode::<Rejected>(&answer.ok()??).ok()?;
                return rejected.refused_from;
            }
            count = inbox.recv_many(&mut batches, 64) => {
                if count == 0 {
                    return None;
                }
                frames.extend(batches.drain(..).map(|batch| codec::encode(&batch)));
                sender.send_all(&mut frames).await.ok()?;
            }
        }
    }
}
