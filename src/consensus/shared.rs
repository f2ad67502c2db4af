//! What the tasks of this room share: the engine, the replicated state, the way to the other members.
//!
//! Owns the questions that several of them ask about this node's place in its cluster. Decides nothing. Invariant: the engine
//! is asked for anew each time, since it is another one after the cluster has been formed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::{Mutex, RwLock};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::clients::Clients;
use super::config::{Config, Timing, Voting};
use super::raft::{Raft, StoredMembership};
use super::state::State;
use super::wire::{Answer, Call};
use super::{
    GROUP, deaths, duties, follow, formation, log, manager, meeting, read_index, rebase, recovery,
    relay, restart, store,
};
use crate::codec;
use crate::host::Host;
use crate::ids::{FormationId, NodeId, Placement};
use crate::time::Clock;
use crate::transport::{Class, Peer, Purpose, Transport};

/// How often is looked for a leader where nothing tells of one.
const LOOK: Duration = Duration::from_millis(5);

/// The way to the other members, and the formation all of it belongs to.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) transport: Transport,
    pub(super) config: Config,
    pub(super) host: Host,
    formation: watch::Sender<FormationId>,
    /// Keeps the formation beyond this process.
    log: log::LogStore,
    /// Where nodes are reached now, as their own words have it. It beats what the membership says, which stays as it was when
    /// a node comes back under another address.
    addresses: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

impl Links {
    pub(super) fn new(
        transport: Transport,
        config: Config,
        host: Host,
        log: log::LogStore,
    ) -> Self {
        let formation = if log.is_used() { log.formation() } else { FormationId::NONE };
        let (formation, addresses) = (watch::Sender::new(formation), Mutex::default());
        Self { transport, config, host, formation, log, addresses }
    }

    pub(super) fn formation(&self) -> FormationId {
        *self.formation.borrow()
    }

    pub(super) fn set_formation(&self, formation: FormationId) {
        self.log.set_formation(formation);
        self.formation.send_replace(formation);
    }

    /// Notes where nodes are reached.
    pub(super) fn set_addresses(&self, addresses: BTreeMap<NodeId, SocketAddr>) {
        *self.addresses.lock() = addresses;
    }

    /// How a node is reached that was said to be at `placement`.
    pub(super) fn peer(&self, node: NodeId, placement: &Placement) -> Peer {
        let address = self.addresses.lock().get(&node).copied();
        Peer { id: Some(node), address: address.unwrap_or(placement.address) }
    }

    pub(super) fn is_formation(&self, formation: FormationId) -> bool {
        formation.is_some() && formation == self.formation()
    }

    /// Waits until this node is in another formation than `formation`.
    pub(super) async fn left(&self, formation: FormationId) {
        let mut formations = self.formation.subscribe();
        // The sender lives as long as this.
        let _left = formations.wait_for(|now| *now != formation).await.is_ok();
    }

    pub(super) fn purpose(&self, class: Class) -> Purpose {
        Purpose { class, group: GROUP, formation: self.formation() }
    }

    pub(super) async fn call(
        &self,
        peer: &Peer,
        call: &Call,
        deadline: Duration,
    ) -> Result<Answer, crate::transport::Error> {
        self.call_for(self.purpose(Class::Control), peer, call, deadline).await
    }

    /// Calls a peer about a formation that there may never be. All such calls share one stream: an attempt that comes to nothing
    /// leaves none behind.
    pub(super) async fn call_unformed(
        &self,
        peer: &Peer,
        call: &Call,
        deadline: Duration,
    ) -> Result<Answer, crate::transport::Error> {
        let formation = FormationId::NONE;
        let purpose = Purpose { formation, ..self.purpose(Class::Control) };
        self.call_for(purpose, peer, call, deadline).await
    }

    async fn call_for(
        &self,
        purpose: Purpose,
        peer: &Peer,
        call: &Call,
        deadline: Duration,
    ) -> Result<Answer, crate::transport::Error> {
        let answer = self.transport.call(peer, purpose, codec::encode(call), deadline).await?;
        codec::decode(&answer).map_err(|_| crate::transport::Error::Malformed { what: "answer" })
    }
}

/// What the tasks of this room share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) timing: Timing,
    pub(super) voting: Voting,
    pub(super) node: NodeId,
    pub(super) placement: Placement,
    pub(super) clock: Clock,
    pub(super) links: Arc<Links>,
    pub(super) log: log::LogStore,
    pub(super) snapshots: store::Snapshots,
    pub(super) gate: restart::Gate,
    pub(super) engine: RwLock<Raft>,
    pub(super) state: Arc<State>,
    pub(super) formation: formation::Formation,
    pub(super) duties: duties::Duties,
    pub(super) relay: relay::Relay,
    pub(super) follow: follow::Follow,
    pub(super) deaths: deaths::Deaths,
    pub(super) recovery: recovery::Recovery,
    pub(super) meetings: meeting::Meetings,
    pub(super) works: rebase::Works,
    pub(super) manager: manager::Manager,
    pub(super) clients: Clients,
    pub(super) read_indexes: read_index::Queue,
    /// The others go on without this node, which is leaving.
    pub(super) is_let_go: AtomicBool,
    /// When a leader last answered about this node's session, or it was opened.
    pub(super) renewed: Mutex<Instant>,
    pub(super) submission_max: usize,
    pub(super) rng: Mutex<StdRng>,
}

impl Shared {
    /// The engine.
    pub(super) fn raft(&self) -> Raft {
        self.engine.read().clone()
    }

    /// A random number.
    pub(super) fn draw(&self) -> u64 {
        self.rng.lock().next_u64()
    }

    pub(super) fn is_leader(&self) -> bool {
        self.raft().server_metrics().borrow_watched().state == ServerState::Leader
    }

    /// Tells whether an entry of the newest leader that this node knows of is applied here, and with it all that was
    /// committed under those before.
    pub(super) fn has_applied_own(&self) -> bool {
        let vote = self.raft().server_metrics().borrow_watched().vote;
        let (applied, _) = self.state.position();
        applied.is_some_and(|last| *last.committed_leader_id() == vote.leader_id)
    }

    /// The leader that this node knows of.
    pub(super) fn leader(&self) -> Option<(NodeId, Placement)> {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow_watched();
        let leader = match self.newer_leader(metrics.vote) {
            Some(newer) => newer?,
            None => metrics.current_leader?,
        };
        Some((leader, metrics.membership_config.get_node(&leader)?.clone()))
    }

    /// Waits until this node knows of another leader than `known`.
    pub(super) async fn other_leader(&self, known: NodeId) {
        let mut metrics = self.raft().server_metrics();
        while self.leader().is_none_or(|(id, _)| id == known) {
            // What tells of a change may be the engine, or a member that this node follows.
            if let Ok(Err(_)) = timeout(LOOK, metrics.changed()).await {
                sleep(LOOK).await;
                metrics = self.raft().server_metrics();
            }
        }
    }

    /// The newest membership that this node knows of, committed or not.
    pub(super) fn membership(&self) -> Arc<StoredMembership> {
        Arc::clone(&self.raft().server_metrics().borrow_watched().membership_config)
    }

    pub(super) fn voters(&self) -> BTreeSet<NodeId> {
        self.membership().voter_ids().collect()
    }

    /// Tells whether this node has something of a formation's state, whether or not it votes.
    pub(super) fn is_member(&self) -> bool {
        self.links.formation().is_some() && self.state.position().0.is_some()
    }

    /// Tells whether anything of a formation has reached this node's log.
    pub(super) fn is_formed(&self) -> bool {
        self.log.size().0 > 0 || self.state.applied_index() > 0
    }

    /// Tells, on the leader, whether a member has answered within `age`.
    pub(super) fn is_alive(&self, node: NodeId, age: Duration) -> bool {
        node == self.node || self.answered(node).is_some_and(|ago| ago <= age)
    }
}
