//! Puts the rooms together.
//!
//! Owns which part gets what, and the task that hands incoming streams to their rooms. The impure parts (clock,
//! randomness, socket) come in from outside, so that a simulation can hand in its own. Invariant: every task that is
//! started here ends the node when it ends by itself.
//!
//! ```text
//!                 ┌── Gossip ──► membership ──┐ view
//!   transport ────┼── Publish ─► pubsub ◄─────┤ link, attach        lifecycle: join ► session ► attach ► ready
//!   (accept loop) └── others ──► consensus ───┘ sessions
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng, TryRng};
use tokio::sync::watch;
use tokio::time::Instant;

use super::bind::Patterns;
use super::lifecycle::Phase;
use super::{Config, Inner, Node, StartError, events, gossip, lifecycle, messages, notify};
use crate::consensus::witness::Witness;
use crate::consensus::{self, Backup, Consensus, Store, Timing, Voting};
use crate::host::{self, Host, Place};
use crate::ids::{NodeId, Placement};
use crate::keyspace::Limits;
use crate::membership::{Facts, Membership, Own};
use crate::pubsub::PubSub;
use crate::storage::{self, Disk, RealDisk};
use crate::time::Clock;
use crate::transport::{Class, Identity, Inbound, Incoming, Socket, Transport};

/// The impure parts that production and simulation fill differently.
#[derive(Debug)]
pub struct Parts {
    /// The UDP socket of the cluster port.
    pub socket: Socket,
    /// The wall clock.
    pub clock: Clock,
    /// Fresh random bytes; everything random in the node follows from them.
    pub rng_seed: [u8; 32],
    /// Where the node shows the other processes of its host that it lives.
    pub locks: Place,
    /// Where log, snapshots and identity are kept beyond the process; none: in memory alone.
    pub disk: Option<Arc<dyn Disk>>,
    /// Who watches the node's consensus, in tests; none in production.
    pub witness: Option<Arc<dyn Witness>>,
}

impl Node {
    /// Starts a node on this machine. It forms a cluster alone at once, joins through its seeds, or waits for
    /// `cluster.bootstrap_expect` nodes; see [`Node::ready`].
    ///
    /// # Errors
    /// When the configuration, a file it names, the data folder or the cluster port cannot be used.
    pub async fn start(mut config: Config) -> Result<Self, StartError> {
        config.check()?;
        config.node.host = config.node.host.or_else(machine_name);
        let open = || config.node.data_dir.as_deref().map(RealDisk::open).transpose();
        let disk = patiently(storage::Error::is_in_use, open).await?;
        let disk = disk.map(|disk| -> Arc<dyn Disk> { Arc::new(disk) });
        let socket = Socket::bind(config.node.listen)?;
        let mut rng_seed = [0; 32];
        let filled = rand::rngs::SysRng.try_fill_bytes(&mut rng_seed);
        filled.map_err(|error| StartError::Random(error.to_string()))?;
        let locks = locks(&config);
        let clock = Clock::system();
        Self::assemble(config, Parts { socket, clock, rng_seed, locks, disk, witness: None }).await
    }

    /// Starts a node on the given parts.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn assemble(config: Config, parts: Parts) -> Result<Self, StartError> {
        let Parts { socket, clock, rng_seed, locks, disk, witness } = parts;
        let mut rng = StdRng::from_seed(rng_seed);
        let mut draw = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let fresh = NodeId::from_random(u64::from_le_bytes(first_eight(draw())));
        let store = open_store(disk, fresh).await?;
        let backup = read_backup(&config).await?;
        let generation = store.begin(clock.now().as_millis()).await?;
        let (id, is_durable) = (store.node(), store.is_durable());
        let name = config.node.name.as_ref().map_or_else(|| id.to_string(), ToString::to_string);
        let credentials = config.credentials(draw())?;
        let identity = Identity {
            cluster: config.cluster.id.clone(),
            node: id,
            name: name.clone(),
            advertise: config.node.advertise,
            settings: config.cluster.settings(),
        };
        let parts = crate::transport::Parts { socket, rng_seed: draw() };
        let (transport, incoming) =
            Transport::start(config.transport.clone(), credentials, identity, parts).await?;
        let (placement, facts) = introduce(&config, &name, &transport);
        let (cluster, address) = (config.cluster.id.clone(), transport.advertised());
        let own = Own { cluster, node: id, generation, address };
        let (seeds, wire) = (config.node.seeds.clone(), gossip::wire(&transport));
        let membership =
            Membership::start(config.membership.clone(), own, wire, seeds, facts).await?;
        let consensus = Consensus::start(consensus::Parts {
            config: config.consensus.clone(),
            timing: timing(&config),
            voting: voting(&config),
            limits: limits(&config),
            store,
            placement,
            transport: transport.clone(),
            submission_max: submission_max(&config),
            clock,
            rng_seed: draw(),
            host: patiently(host_is_held, || hold(&config, &locks, id, is_durable)).await?,
            witness,
        })
        .await?;
        let positions = Arc::new(messages::Written(consensus.progress()));
        let pubsub = PubSub::start(config.pubsub.clone(), transport.clone(), generation, positions);
        let inner = Inner {
            id,
            notify: AtomicU16::new(config.node.notify_keyspace_events.bits()),
            is_notifying: Mutex::new(false),
            patterns: Patterns::new(&config.bind),
            config,
            transport,
            membership,
            consensus,
            pubsub,
            events: events::channel(),
            phase: watch::Sender::new(Phase::Joining),
            failure: watch::Sender::new(None),
        };
        let node = Self(Arc::new(inner));
        let accepting = tokio::spawn(accept(node.clone(), incoming));
        let living = tokio::spawn(lifecycle::run(node.clone(), backup));
        let telling = tokio::spawn(events::run(node.clone(), node.consensus().notices()));
        let tasks = (accepting, living, telling, tokio::spawn(notify::run(node.clone())));
        tokio::spawn(lifecycle::watch_failures(node.clone(), tasks));
        Ok(node)
    }
}

/// Where a process of this machine holds its lock.
fn locks(config: &Config) -> Place {
    if let Some(folder) = &config.node.lock_dir {
        return Place::Folder(folder.clone());
    }
    match Place::default_folder() {
        Ok(folder) => Place::Folder(folder),
        Err(error) => {
            tracing::warn!(%error, "no lock is held: others cannot tell this process's death");
            Place::Nowhere
        }
    }
}

/// How long the start waits for locks of the process before it, which a kill does not end at once.
const PREDECESSOR_MAX: Duration = Duration::from_secs(2);

/// Tries again for a while as long as `is_held` says that another process is in the way.
async fn patiently<T, E>(
    is_held: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let until = Instant::now() + PREDECESSOR_MAX;
    loop {
        match attempt() {
            Err(error) if is_held(&error) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            ended => return ended,
        }
    }
}

const fn host_is_held(error: &host::Error) -> bool {
    matches!(error, host::Error::Held { .. })
}

/// Takes the node's lock. Without a folder of the operator's choice, a node goes on without one.
fn hold(config: &Config, locks: &Place, id: NodeId, is_durable: bool) -> Result<Host, host::Error> {
    match locks.hold(id, is_durable) {
        Err(error @ (host::Error::Folder { .. } | host::Error::Unsafe { .. }))
            if config.node.lock_dir.is_none() =>
        {
            tracing::warn!(%error, "no lock is held: others cannot tell this process's death");
            Ok(Host::nowhere())
        }
        held => held,
    }
}

/// Reads the backup that the cluster is to begin with, if one is named.
async fn read_backup(config: &Config) -> Result<Option<Backup>, StartError> {
    let Some(path) = config.node.restore.clone() else {
        return Ok(None);
    };
    let limits = limits(config);
    let read = tokio::task::spawn_blocking(move || Backup::read(&path, limits)).await;
    Ok(Some(read.map_err(|_| StartError::Consensus(consensus::Error::Stopped))??))
}

/// The limits that decide replies.
const fn limits(config: &Config) -> Limits {
    Limits { value_max: config.cluster.value_max.as_u64() }
}

/// Opens what the node keeps, and reads the log back.
async fn open_store(disk: Option<Arc<dyn Disk>>, fresh: NodeId) -> Result<Store, StartError> {
    let Some(disk) = disk else {
        return Ok(Store::in_memory(fresh));
    };
    if !disk.is_blocking() {
        return Ok(Store::open(disk, fresh)?);
    }
    let opened = tokio::task::spawn_blocking(move || Store::open(disk, fresh)).await;
    Ok(opened.map_err(|_| storage::Error::Ended)??)
}

fn voting(config: &Config) -> Voting {
    let cluster = &config.cluster;
    let target = usize::from(cluster.voters_target);
    Voting { target, replace_after: cluster.voter_replace_after }
}

/// What the node tells of itself to the log, and to gossip.
fn introduce(config: &Config, name: &str, transport: &Transport) -> (Placement, Facts) {
    let address = transport.advertised();
    let (host, zone) = (config.node.host.clone().unwrap_or_default(), config.node.zone.clone());
    let state = lifecycle::first_state(config);
    let facts =
        Facts { host: host.clone(), zone: zone.clone(), ..Facts::new(name, address, state) };
    (Placement { host, zone, ..Placement::new(name, address) }, facts)
}

/// The machine's host name; none where the system does not tell it in a file.
fn machine_name() -> Option<String> {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"))?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.chars().filter(|c| !c.is_control()).take(63).collect())
}

fn first_eight(bytes: [u8; 32]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    [a, b, c, d, e, f, g, h]
}

fn timing(config: &Config) -> Timing {
    let cluster = &config.cluster;
    Timing {
        heartbeat: cluster.heartbeat_interval,
        election_min: cluster.election_timeout_min,
        election_max: cluster.election_timeout_max,
        session_timeout: cluster.session_timeout,
    }
}

/// What one log entry may hold so that every frame it travels in carries it, with room for its envelope.
fn submission_max(config: &Config) -> usize {
    const ENVELOPE: u64 = 1024 * 1024;
    let frames = &config.transport.frame_max;
    let most =
        frames.append.min(frames.forward).min(frames.follow).as_u64().saturating_sub(ENVELOPE / 2);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Hands each incoming stream to its room.
async fn accept(node: Node, mut incoming: Incoming) {
    while let Some(inbound) = incoming.accept().await {
        tokio::spawn(serve(node.clone(), inbound));
    }
}

async fn serve(node: Node, inbound: Inbound) {
    match inbound.purpose.class {
        Class::Gossip => gossip::serve(node, inbound).await,
        Class::Publish => node.0.pubsub.handle(inbound),
        Class::Control | Class::Append | Class::Snapshot | Class::Forward | Class::Follow => {
            node.0.consensus.serve(inbound).await;
        }
    }
}
