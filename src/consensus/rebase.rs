//! Gives this node another engine: on its own state as a cluster of itself, or on nothing, to follow another formation.
//!
//! Owns the step from one engine to the next: the old one is stopped, all of the log is applied, and the log begins anew
//! behind it, so that no membership of the old formation is ever replayed. Does not decide when. Invariant: of two engines
//! only the later one changes the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::storage::{RaftLogReader, RaftLogStorage};
use tokio::sync::watch;

use super::machine::{self, Gate, Machine};
use super::network::Network;
use super::raft::{LogId, Raft, SnapshotMeta, StoredMembership, Vote};
use super::shared::{Links, Shared};
use super::state::State;
use super::store::Snapshots;
use super::witness::Seen;
use super::{Error, disk_error, log};
use crate::ids::{FormationId, NodeId, Placement};
use crate::keyspace::Keyspace;

type Membership = openraft::Membership<NodeId, Placement>;

/// How many entries are applied in one go.
const STEP: u64 = 1024;

/// From what a node goes on.
pub(super) enum Basis {
    /// From its own state and log.
    Own,
    /// From a state that came from outside, which stands behind the entry `last`.
    Given { last: LogId, keyspace: Box<Keyspace> },
}

/// Which engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The engine of this number.
    Running(u64),
    /// None: it is being replaced.
    Changing,
    /// None any more.
    Failed(String),
}

/// What every engine of this node is made of.
#[derive(Debug)]
pub(super) struct Works {
    pub(super) settings: Arc<openraft::Config>,
    pub(super) phase: watch::Sender<Phase>,
    /// The gate of the present engine's way to the state.
    pub(super) gate: parking_lot::Mutex<Gate>,
    /// One change at a time.
    pub(super) turn: tokio::sync::Mutex<u64>,
}

impl Works {
    pub(super) fn new(settings: openraft::Config) -> Self {
        Self {
            settings: Arc::new(settings),
            phase: watch::Sender::new(Phase::Running(0)),
            gate: parking_lot::Mutex::default(),
            turn: tokio::sync::Mutex::new(0),
        }
    }

    /// Starts an engine on what the log and the state hold.
    pub(super) async fn start(
        &self,
        node: NodeId,
        links: &Arc<Links>,
        log: &log::LogStore,
        snapshots: &Snapshots,
        state: &Arc<State>,
    ) -> Result<Raft, Error> {
        let gate = Gate::default();
        *self.gate.lock() = gate.clone();
        let machine = Machine::new(Arc::clone(state), gate, snapshots.clone());
        let network = Network { links: Arc::clone(links) };
        let raft = Raft::new(node, Arc::clone(&self.settings), network, log.clone(), machine).await;
        raft.map_err(|error| {
            disk_error(log, snapshots).unwrap_or_else(|| Error::Fatal(error.to_string()))
        })
    }
}

impl Shared {
    /// Goes on as a cluster of this node alone, in another formation.
    pub(super) async fn rebase(&self, basis: Basis, formation: FormationId) -> Result<(), Error> {
        self.replace(async || {
            let term = self.stop_engine().await.saturating_add(1);
            self.apply_rest().await?;
            let last = match basis {
                Basis::Own => self.state.position().0,
                Basis::Given { last, keyspace } => {
                    let meta = SnapshotMeta { last_log_id: Some(last), ..SnapshotMeta::default() };
                    self.state.install(&meta, *keyspace);
                    Some(last)
                }
            };
            let last =
                last.ok_or_else(|| Error::Fatal("there is no state to go on from".into()))?;
            let own: BTreeMap<NodeId, Placement> =
                BTreeMap::from([(self.node, self.placement.clone())]);
            let membership = StoredMembership::new(Some(last), Membership::from(own));
            self.state.advance(last, Some(membership));
            // What the log did must be durable elsewhere before the log goes.
            let (meta, snapshot) = self.state.snapshot();
            let saved = self.snapshots.save(meta, formation, Arc::new(snapshot)).await;
            saved.map_err(|e| fatal(&e))?;
            let vote = Vote::new(term, self.node);
            self.log.start_over(last, vote, formation).await.map_err(|e| fatal(&e))?;
            self.links.set_formation(formation);
            Ok(())
        })
        .await?;
        // A group of one needs no time-out to elect itself; if this is lost, the time-out does it.
        let _lost = self.raft().trigger().elect(false).await;
        Ok(())
    }

    /// Forgets what this node has and waits to be told the state of another formation. What it had stays readable until then.
    pub(super) async fn abandon(&self, formation: FormationId) -> Result<(), Error> {
        self.replace(async || {
            self.stop_engine().await;
            self.log.clear();
            self.state.forget_position();
            self.formation.forget();
            self.links.set_formation(formation);
            Ok(())
        })
        .await
    }

    /// Changes what the engine stands on while there is none, and starts the next.
    async fn replace(&self, change: impl AsyncFnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let mut turn = self.works.turn.lock().await;
        self.works.phase.send_replace(Phase::Changing);
        let replaced = async {
            change().await?;
            self.relay.forget(self.state.applied_index());
            let works = &self.works;
            works.start(self.node, &self.links, &self.log, &self.snapshots, &self.state).await
        };
        match replaced.await {
            Ok(raft) => {
                *self.engine.write() = raft;
                *turn = turn.saturating_add(1);
                self.works.phase.send_replace(Phase::Running(*turn));
                self.state.pending.changed.notify_one();
                Ok(())
            }
            Err(error) => {
                self.works.phase.send_replace(Phase::Failed(error.to_string()));
                Err(error)
            }
        }
    }

    /// Stops the engine; afterwards nothing of it reaches the state. Gives its term.
    async fn stop_engine(&self) -> u64 {
        use openraft::async_runtime::watch::WatchReceiver;
        let raft = self.raft();
        if let Err(error) = raft.shutdown().await {
            tracing::warn!(%error, "the engine did not stop cleanly");
        }
        self.works.gate.lock().close();
        self.state.stand.tell(|| Seen::EngineStopped);
        raft.metrics().borrow_watched().current_term
    }

    /// Applies all of the log that is not applied yet, committed or not.
    async fn apply_rest(&self) -> Result<(), Error> {
        let mut log = self.log.clone();
        let state = log.get_log_state().await.map_err(|e| fatal(&e))?;
        let end = state.last_log_id.map_or(0, |id| id.index().saturating_add(1));
        loop {
            let applied = self.state.position().0;
            let from = applied.map_or(0, |id| id.index().saturating_add(1));
            let to = from.saturating_add(STEP).min(end);
            if from >= to {
                return Ok(());
            }
            let entries = log.try_get_log_entries(from..to).await.map_err(|e| fatal(&e))?;
            if entries.is_empty() {
                return Err(Error::Fatal(format!(
                    "the log has no entry {from}, and ends at {end}"
                )));
            }
            entries.iter().for_each(|entry| machine::apply_one(&self.state, entry));
        }
    }
}

fn fatal(error: &dyn std::error::Error) -> Error {
    Error::Fatal(error.to_string())
}
