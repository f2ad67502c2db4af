//! One order of writes for all nodes, by Raft; linearizable reads on every node; the voters and who else takes part.
//!
//! Owns the engine `openraft`, the session of this node, and what a leader does besides replicating. Does not know doors
//! or channels. Invariants: a reply comes only from an entry that this node has applied; nothing outside this room names
//! the engine.
//!
//! ```text
//!   submit ─► writer ─► way ─► feed ─► openraft ─► machine ─► state ─► pending ─► caller
//!              (this node)  (leader)   (all)       (each node applies; the asking one answers)
//!   confirm ─► reads ─► read index at the leader ─► applied here ─► caller reads state
//! ```

mod arbiter;
mod backup;
mod clients;
mod cluster_time;
mod config;
mod deaths;
mod duties;
mod engine;
mod feed;
mod follow;
mod formation;
mod intake;
mod lag;
mod leave;
mod log;
mod losses;
mod machine;
mod manager;
mod meeting;
mod network;
mod notices;
mod notifications;
#[cfg(test)]
mod observer_tests;
mod pending;
mod plan;
mod progress;
mod raft;
mod read_index;
mod reads;
mod rebase;
mod recovery;
#[cfg(test)]
mod recovery_tests;
mod relay;
mod replay;
mod restart;
mod ring;
mod serve;
mod shared;
mod sources;
mod state;
mod status;
mod store;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod voter_tests;
mod wire;
pub mod witness;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::backup::{Backup, BackupError};
pub use self::clients::{BOUND_MAX, Client, Clients};
pub use self::config::{Config, Timing, Voting};
pub use self::formation::{Candidate, Expect};
pub use self::lag::Lag;
pub use self::manager::LastDecision;
pub use self::notices::Notice;
pub use self::notifications::{Notifications, Told};
use self::pending::{Pending, Submission};
pub use self::progress::Progress;
use self::reads::Reading;
pub use self::recovery::{Recovered, Refusal};
use self::shared::{Links, Shared};
use self::state::State;
pub use self::state::{SessionPeer, SessionPeers};
pub use self::status::{Role, Status};
pub use self::store::Store;
use crate::codec;
use crate::command::{Reply, Request};
use crate::host::Host;
use crate::ids::{FormationId, GroupId, NodeId, Placement, SessionId, WaitId};
use crate::keyspace::{Limits, Notification};
use crate::time::{Clock, Timestamp};
use crate::transport::{Inbound, Transport};

/// The one Raft group there is today.
const GROUP: GroupId = GroupId(0);

/// Why a request was not answered, by what is known of its effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Surely not done: no leader took it in time. Retry.
    #[error("no leader took the request within its deadline; it surely had no effect")]
    TryAgain,
    /// May have been done: it was under way when its deadline or its session ended.
    #[error("no outcome within the deadline; the request may have had its effect")]
    Unknown,
    /// Surely not done: it would make a log entry that no frame carries. Give up on it.
    #[error("request of {size} bytes exceeds the limit of {limit} bytes for one log entry")]
    TooLarge {
        /// How large it is.
        size: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A wait ended with the session it was part of. Wait again.
    #[error("the session of this wait has ended")]
    SessionLost,
    /// This node has stopped. Go to another.
    #[error("consensus has stopped")]
    Stopped,
    /// The engine cannot go on. Stop the node.
    #[error("consensus failed: {0}")]
    Fatal(String),
    /// The disk cannot be used any more, or holds what nobody wrote. Stop the node.
    #[error("{0}")]
    Disk(String),
}

/// What consensus is assembled from.
#[derive(Debug)]
pub struct Parts {
    /// This node's settings.
    pub config: Config,
    /// The cluster's times.
    pub timing: Timing,
    /// Who shall vote.
    pub voting: Voting,
    /// The cluster's limits on values.
    pub limits: Limits,
    /// What it keeps, and with that its id.
    pub store: Store,
    /// Where this node is reached.
    pub placement: Placement,
    /// The way to other nodes.
    pub transport: Transport,
    /// The most bytes of one submission; what the frames of the transport carry.
    pub submission_max: usize,
    /// The wall clock.
    pub clock: Clock,
    /// Fresh random bytes.
    pub rng_seed: [u8; 32],
    /// This process's lock, and its look at those of the others.
    pub host: Host,
    /// Who watches, in tests; none in production.
    pub witness: Option<Arc<dyn witness::Witness>>,
}

/// Consensus on this node. Cheap to clone.
#[derive(Clone)]
pub struct Consensus {
    shared: Arc<Shared>,
    submissions: mpsc::Sender<Submission>,
    readings: mpsc::Sender<Reading>,
    /// End with the last clone, or when consensus is stopped.
    tasks: Arc<Mutex<JoinSet<()>>>,
    /// The first task that has ended; none should while the node lives.
    ended: watch::Sender<Option<&'static str>>,
    notices: Arc<Mutex<Option<mpsc::Receiver<Notice>>>>,
}

/// Tells that a task has ended, by itself or by a panic.
struct Alarm {
    task: &'static str,
    ended: watch::Sender<Option<&'static str>>,
}

impl Alarm {
    async fn over(self, work: impl Future<Output = ()>) {
        work.await;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.ended.send_modify(|first| *first = first.or(Some(self.task)));
    }
}

/// Why the disk cannot be used, if it failed.
fn disk_error(log: &log::LogStore, snapshots: &store::Snapshots) -> Option<Error> {
    log.failure().or_else(|| snapshots.failure()).map(|error| Error::Disk(error.to_string()))
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus").field("node", &self.shared.node).finish_non_exhaustive()
    }
}

impl Consensus {
    /// Starts this node's part, outside of any cluster yet: see [`Consensus::form_alone`] and
    /// [`Consensus::step_towards_cluster`].
    ///
    /// # Errors
    /// [`Error::Fatal`] when the engine refuses the configuration.
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let Parts { config, timing, voting, limits, store, placement, transport, clock, .. } =
            parts;
        let Store { node, log, snapshots } = store;
        if let Some(witness) = parts.witness {
            let stored = snapshots.newest().and_then(|(meta, _)| meta.last_log_id);
            log.watch(witness, node, stored);
        }
        let clients = Clients::default();
        let (outbox, notices) = notices::channel();
        let pending = Pending::new(node, clients.clone(), parts.submission_max, outbox);
        let time = cluster_time::ClusterTime::new(clock.clone(), log.last_index());
        let state = Arc::new(State::new(limits, pending, log.stand(), time));
        let links = Arc::new(Links::new(transport, config.clone(), parts.host, log.clone()));
        let gate = restart::Gate::new(log.is_used(), timing.election_max);
        let works = rebase::Works::new(engine::settings(&config, &timing)?);
        let raft = works.start(node, &links, &log, &snapshots, &state).await?;
        let (submissions, queue) = mpsc::channel(config.queue_max.max(1));
        let (readings, inbox) = mpsc::channel(config.queue_max.max(1));
        let (read_indexes, askers) = read_index::Queue::new();
        let shared = Arc::new(Shared {
            config,
            timing,
            voting,
            node,
            placement,
            clock,
            links,
            log,
            snapshots,
            gate,
            engine: RwLock::new(raft),
            state,
            formation: formation::Formation::default(),
            duties: duties::Duties::default(),
            deaths: deaths::Deaths::default(),
            recovery: recovery::Recovery::default(),
            meetings: meeting::Meetings::default(),
            works,
            manager: manager::Manager::default(),
            clients,
            read_indexes,
            is_let_go: AtomicBool::new(false),
            renewed: Mutex::new(Instant::now()),
            relay: relay::Relay::default(),
            follow: follow::Follow::default(),
            submission_max: parts.submission_max,
            rng: Mutex::new(StdRng::from_seed(parts.rng_seed)),
        });
        let ended = watch::Sender::new(None);
        let alarm = |task| Alarm { task, ended: ended.clone() };
        let mut tasks = JoinSet::new();
        let writer = writer::Writer::new(Arc::clone(&shared), queue).run();
        tasks.spawn(alarm("writer").over(writer));
        tasks.spawn(alarm("reads").over(reads::run(Arc::clone(&shared), inbox)));
        tasks.spawn(alarm("read index").over(read_index::run(Arc::clone(&shared), askers)));
        tasks.spawn(alarm("deaths").over(deaths::run(Arc::clone(&shared))));
        tasks.spawn(alarm("recovery").over(recovery::run(Arc::clone(&shared))));
        tasks.spawn(alarm("duties").over(duties::run(Arc::clone(&shared))));
        tasks.spawn(alarm("manager").over(manager::run(Arc::clone(&shared))));
        let releases = clients::run(Arc::clone(&shared), submissions.clone());
        tasks.spawn(alarm("releases").over(releases));
        tasks.spawn(alarm("relay").over(relay::run(Arc::clone(&shared))));
        tasks.spawn(alarm("follow").over(follow::run(Arc::clone(&shared))));
        tasks.spawn(alarm("session").over(duties::keep_session(Arc::clone(&shared))));
        tasks.spawn(restart::open(Arc::clone(&shared)));
        let tasks = Arc::new(Mutex::new(tasks));
        let notices = Arc::new(Mutex::new(Some(notices)));
        Ok(Self { shared, submissions, readings, tasks, ended, notices })
    }

    /// Serves a stream that a peer has opened for consensus, until it ends.
    pub async fn serve(&self, inbound: Inbound) {
        serve::serve(Arc::clone(&self.shared), inbound).await;
    }

    /// Notes where nodes are reached, by their own words; for those that came back under another address.
    pub fn set_addresses(&self, addresses: BTreeMap<NodeId, SocketAddr>) {
        self.shared.links.set_addresses(addresses);
    }

    /// Forms a cluster of this node alone, unless it is back in one.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the engine refuses.
    pub async fn form_alone(&self) -> Result<(), Error> {
        formation::form_alone(&self.shared).await
    }

    /// Takes one step towards being in a cluster: joins the one that `others` are in, or forms one when the
    /// nodes that `expect` names wait for it. To be called every few hundred milliseconds; a member only
    /// looks whether its cluster was formed anew without it.
    pub async fn step_towards_cluster(&self, others: &[Candidate], expect: Option<Expect>) {
        meeting::meet(&self.shared, others).await;
        formation::step(&self.shared, others, expect).await;
    }

    /// Submits requests that take effect in their order, next to each other, and gives their replies. Cost: one share of a log entry, one round trip to the leader and one to a majority.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::TryAgain`] when they surely had no effect, [`Error::Unknown`] when nobody knows.
    ///
    /// # Cancel safety
    /// The requests may still take effect.
    pub async fn submit(&self, requests: Vec<Request>) -> Result<Vec<Reply>, Error> {
        submit(&self.shared, &self.submissions, requests).await
    }

    /// Waits for what a wait gets, once `submit` has replied that it is one. Each wait can be asked for once.
    ///
    /// # Errors
    /// [`Error::SessionLost`] when it must be submitted again, [`Error::Unknown`] when it may have been served and the
    /// element is lost.
    pub async fn served(&self, wait: WaitId) -> Result<Reply, Error> {
        let arrival = self.shared.state.pending.take_arrival(wait).ok_or(Error::Unknown)?;
        let mut replies = arrival.await.map_err(|_| Error::Unknown)??;
        replies.pop().ok_or(Error::Unknown)
    }

    /// Confirms that a read of this node's state now is linearizable; gives the leader's clock. Cost: a share of one round
    /// trip to the leader and, unless the two are a majority, one of its to the voters.
    ///
    /// # Errors
    /// [`Error::TryAgain`] when no leader confirmed it in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn confirm_read(&self) -> Result<Timestamp, Error> {
        let deadline = Instant::now() + self.shared.config.request_timeout;
        let (done, confirmed) = oneshot::channel();
        let sent = self.readings.send(Reading { deadline, done }).await;
        sent.map_err(|_| Error::Stopped)?;
        confirmed.await.map_err(|_| Error::Stopped)?
    }

    /// Answers requests that do not write from this node's state as it is, all from one instant. Linearizable only behind
    /// [`Consensus::confirm_read`] or a write of the same caller.
    #[must_use]
    pub fn read(&self, at: Timestamp, requests: &[Request]) -> Vec<Reply> {
        self.shared.state.read(at, requests, None)
    }

    /// The same, with a notification of each key that a read looks for and does not find.
    #[must_use]
    pub fn read_with_misses(
        &self,
        at: Timestamp,
        requests: &[Request],
    ) -> (Vec<Reply>, Vec<Notification>) {
        let mut misses = Vec::new();
        let replies = self.shared.state.read(at, requests, Some(&mut misses));
        (replies, misses)
    }

    /// The cluster's time as far as this node knows it, for reads that need no confirmation.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.state.time.now()
    }

    /// The revision of this node's state; see [`crate::command::Watched`].
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.state.with(crate::keyspace::Keyspace::revision)
    }

    /// How far this node's state has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let State { pending, .. } = &*self.shared.state;
        Progress::new(self.shared.state.applied(), pending.written.clone())
    }

    /// The live sessions, as this node has applied them.
    #[must_use]
    pub fn sessions(&self) -> watch::Receiver<SessionPeers> {
        self.shared.state.sessions()
    }

    /// The nodes whose processes ran on this host and have died, while their sessions are open still.
    #[must_use]
    pub fn dead(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.shared.deaths.dead()
    }

    /// This node's session, once it is open.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.shared.state.pending.session()
    }

    /// The clients of this node.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.shared.clients
    }

    /// Where what the node must know comes out; taken a second time, nothing does.
    #[must_use]
    pub fn notices(&self) -> mpsc::Receiver<Notice> {
        self.notices.lock().take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// The keyspace notifications of the entries that this node applies.
    #[must_use]
    pub fn notifications(&self) -> &Arc<Notifications> {
        &self.shared.state.notifications
    }

    /// The formation that this node is in, if it is in one.
    #[must_use]
    pub fn formation(&self) -> Option<FormationId> {
        self.shared.is_member().then(|| self.shared.links.formation())
    }

    /// Stops the engine. Callers that wait are told so.
    pub async fn stop(&self) {
        self.tasks.lock().abort_all();
        self.shared.state.notifications.close();
        if let Err(error) = self.shared.raft().shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
        let voters = self.shared.voters();
        let is_counted_on = voters.contains(&self.shared.node) && voters.len() > 1;
        let is_let_go = !is_counted_on || self.shared.is_let_go.load(Ordering::SeqCst);
        self.shared.links.host.release(is_let_go);
    }

    /// Waits until the engine has failed; gives why. A node whose consensus has failed must stop.
    pub async fn failed(&self) -> Error {
        let mut phases = self.shared.works.phase.subscribe();
        let mut ended = self.ended.subscribe();
        let mut phase = phases.borrow_and_update().clone();
        let mut metrics = self.shared.raft().server_metrics();
        loop {
            let running = self.shared.running();
            let now = phases.borrow_and_update().clone();
            if now != phase {
                phase = now;
                metrics = self.shared.raft().server_metrics();
                continue;
            }
            match (&phase, running) {
                (rebase::Phase::Failed(why), _) => return Error::Fatal(why.clone()),
                (rebase::Phase::Running(_), Err(fatal)) => {
                    return self.because(Error::Fatal(fatal));
                }
                (rebase::Phase::Running(_) | rebase::Phase::Changing, _) => {}
            }
            let is_running = matches!(phase, rebase::Phase::Running(_));
            tokio::select! {
                changed = metrics.changed(), if is_running => {
                    // The reports of an engine that is replaced end.
                    if changed.is_err() && *self.shared.works.phase.borrow() == phase {
                        return self.because(Error::Stopped);
                    }
                }
                changed = phases.changed() => if changed.is_err() {
                    return Error::Stopped;
                },
                task = ended.wait_for(Option::is_some) => {
                    let task = task.ok().and_then(|task| *task).unwrap_or("unknown");
                    return self.because(Error::Fatal(format!("the task '{task}' has ended")));
                }
            }
        }
    }

    /// The disk's failure, if that is behind another one.
    fn because(&self, error: Error) -> Error {
        disk_error(&self.shared.log, &self.shared.snapshots).unwrap_or(error)
    }
}

async fn submit(
    shared: &Shared,
    submissions: &mpsc::Sender<Submission>,
    requests: Vec<Request>,
) -> Result<Vec<Reply>, Error> {
    let deadline = Instant::now() + shared.config.request_timeout;
    let (done, replies) = oneshot::channel();
    let bytes = requests.iter().map(codec::size_of).sum();
    if bytes > shared.submission_max {
        return Err(Error::TooLarge { size: bytes, limit: shared.submission_max });
    }
    let submission = Submission { requests, bytes, deadline, done };
    let room = tokio::time::timeout_at(deadline, submissions.send(submission)).await;
    room.map_err(|_| Error::TryAgain)?.map_err(|_| Error::Stopped)?;
    // It may stand in the leader's log, though this node has stopped.
    replies.await.map_err(|_| Error::Unknown)?
}
