//! What a seed decides before anything runs: the cluster, its settings, the faults that may happen and the load.
//!
//! Owns the draw and the configuration of a node. Pure. Invariant: a setup follows from its seed and length alone, and each part
//! is drawn from a branch of its own, so that another choice in one part leaves the others as they were.

use std::net::SocketAddr;
use std::time::Duration;

use quorate::Config;
use quorate::transport::{Link, Secret};
use serde::{Deserialize, Serialize};

use super::fault::Kind;
use crate::chance::Chance;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// One value for each key, with compare-and-set.
    Register,
    /// Elements added to and removed from sets.
    Set,
    /// Fields of hashes.
    Hash,
    /// Numbers that are added to.
    Counter,
    /// Lists that are appended to.
    List,
    /// Values that expire.
    Expiry,
    /// Fields that go with their writer.
    Bound,
    /// Messages.
    PubSub,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Register,
        Self::Set,
        Self::Hash,
        Self::Counter,
        Self::List,
        Self::Expiry,
        Self::Bound,
        Self::PubSub,
    ];
}

/// The times that must be equal on all nodes, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Between two signs of life of a leader.
    pub heartbeat: u64,
    /// The shortest election timeout.
    pub election_min: u64,
    /// The longest.
    pub election_max: u64,
    /// The session timeout.
    pub session: u64,
    /// How long a voter may be silent before it is replaced.
    pub replace_after: u64,
}

/// How datagrams fare without a fault, in microseconds and thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// How long each takes at least.
    pub delay_us: u64,
    /// How much longer it may take.
    pub jitter_us: u64,
    /// How many of a thousand are lost.
    pub loss: u32,
    /// How many of a thousand arrive twice.
    pub duplication: u32,
}

impl Wire {
    /// As the network takes it.
    #[must_use]
    pub fn link(self) -> Link {
        Link {
            delay: Duration::from_micros(self.delay_us),
            jitter: Duration::from_micros(self.jitter_us),
            loss: f64::from(self.loss) / 1000.0,
            duplication: f64::from(self.duplication) / 1000.0,
            ..Link::default()
        }
    }
}

/// Everything that is decided beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// What everything follows from.
    pub seed: u64,
    /// How long the run is, in virtual milliseconds, with both phases.
    pub length_ms: u64,
    /// How many nodes there are at first.
    pub nodes: usize,
    /// How many machines more there are, on which nodes may join later.
    pub spares: usize,
    /// Whether nodes have disks.
    pub is_durable: bool,
    /// Whether all run on one machine, so that each knows of the others' deaths.
    pub is_one_machine: bool,
    /// How many nodes shall vote.
    pub voters_target: u16,
    /// The times of the cluster.
    pub times: Times,
    /// The size of a log at which a snapshot is taken.
    pub snapshot_log_bytes: u64,
    /// After how many useless messages a channel is pruned.
    pub prune_after: u32,
    /// How many pruned channels are kept.
    pub prunes_max: usize,
    /// How long a node looks for an outcome, in milliseconds.
    pub request_timeout: u64,
    /// How long a client waits, in milliseconds.
    pub patience: u64,
    /// How datagrams fare without a fault.
    pub wire: Wire,
    /// What may go wrong.
    pub faults: Vec<Kind>,
    /// The time between two faults, on average, in milliseconds.
    pub fault_every: u64,
    /// What clients do.
    pub workloads: Vec<Workload>,
    /// How many clients each process has.
    pub clients: usize,
    /// How many operations a second all of them do.
    pub rate: u64,
}

/// Tells yes in `percent` of a hundred cases.
pub fn odds(chance: &mut Chance, percent: usize) -> bool {
    chance.below(100) < percent
}

/// Draws one of the choices by their weights.
pub fn weighted<T: Copy>(chance: &mut Chance, choices: &[(usize, T)]) -> Option<T> {
    let mut at = chance.below(choices.iter().map(|(weight, _)| weight).sum());
    for (weight, choice) in choices {
        if at < *weight {
            return Some(*choice);
        }
        at -= weight;
    }
    None
}

impl Setup {
    /// Draws a setup.
    #[must_use]
    pub fn draw(seed: u64, length: Duration) -> Self {
        let mut root = Chance::new(Some(seed));
        let (mut shape, mut times, mut sizes) = (root.branch(), root.branch(), root.branch());
        let (mut wire, mut faults, mut load) = (root.branch(), root.branch(), root.branch());
        let sizes_of_clusters = [(55, 3), (5, 4), (30, 5), (3, 6), (7, 7)];
        let nodes = weighted(&mut shape, &sizes_of_clusters).unwrap_or(3);
        let is_durable = odds(&mut shape, 55);
        let voters_target = if nodes >= 5 && odds(&mut shape, 60) { 5 } else { 3 };
        let times = draw_times(&mut times);
        let is_one_machine = odds(&mut shape, 20);
        let spares = if odds(&mut shape, 30) { 1 } else { 0 };
        Self {
            seed,
            length_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            nodes,
            spares,
            is_durable,
            is_one_machine,
            voters_target,
            times,
            snapshot_log_bytes: sizes.pick(&[2, 6, 16, 64, 65_536]).unwrap_or(64) * 1024,
            prune_after: sizes.pick(&[0, 2, 8, 8]).unwrap_or(8),
            prunes_max: sizes.pick(&[1, 3, 65_536, 65_536]).unwrap_or(65_536),
            request_timeout: sizes.pick(&[2_000, 5_000, 10_000]).unwrap_or(5_000),
            patience: sizes.pick(&[800, 3_000, 6_000]).unwrap_or(3_000),
            wire: draw_wire(&mut wire),
            faults: Kind::ALL
                .into_iter()
                .filter(|kind| odds(&mut faults, 50) && (is_durable || !kind.needs_disk()))
                .collect(),
            fault_every: faults.pick(&[600, 1_500, 4_000]).unwrap_or(1_500),
            workloads: draw_workloads(&mut load),
            clients: 1 + load.below(3),
            rate: 30 + load.below(51) as u64,
        }
    }

    /// How many machines there are.
    #[must_use]
    pub const fn machines(&self) -> usize {
        self.nodes + self.spares
    }

    /// The address of a machine's nodes; each move gives it another.
    #[must_use]
    pub fn address(machine: usize, moves: u16) -> SocketAddr {
        let number = u16::try_from(machine + 1).unwrap_or(u16::MAX);
        let last = u8::try_from(number).unwrap_or(u8::MAX);
        SocketAddr::from(([10, 0, 0, last], 7_000 + number + 100 * moves))
    }

    /// The configuration of the node at `address` of a machine.
    #[must_use]
    pub fn config(&self, machine: usize, address: SocketAddr, seeds: Vec<String>) -> Config {
        let mut config = Config::default();
        let millis = Duration::from_millis;
        config.node.listen = address;
        config.node.seeds = seeds;
        let place = if self.is_one_machine { 0 } else { machine };
        config.node.host = Some(format!("machine-{place}"));
        let cluster = &mut config.cluster;
        cluster.bootstrap_expect = u16::try_from(self.nodes).unwrap_or(u16::MAX);
        cluster.secret = Some(Secret::generate([7; 32]));
        cluster.voters_target = self.voters_target;
        cluster.heartbeat_interval = millis(self.times.heartbeat);
        cluster.election_timeout_min = millis(self.times.election_min);
        cluster.election_timeout_max = millis(self.times.election_max);
        cluster.session_timeout = millis(self.times.session);
        cluster.voter_replace_after = millis(self.times.replace_after);
        config.consensus.request_timeout = millis(self.request_timeout);
        if let Ok(size) = format!("{}B", self.snapshot_log_bytes).parse() {
            config.consensus.snapshot_log_bytes = size;
        }
        config.pubsub.prune_after = self.prune_after;
        config.pubsub.prunes_max = self.prunes_max;
        config
    }
}

fn draw_times(chance: &mut Chance) -> Times {
    let (heartbeat, election_min, election_max, session) = weighted(
        chance,
        &[(60, (50, 200, 400, 2_000)), (25, (20, 80, 160, 800)), (15, (100, 400, 800, 3_000))],
    )
    .unwrap_or((50, 200, 400, 2_000));
    let replace_after = if odds(chance, 40) { 10_000 } else { session + 1_000 };
    Times { heartbeat, election_min, election_max, session, replace_after }
}

fn draw_wire(chance: &mut Chance) -> Wire {
    Wire {
        delay_us: chance.pick(&[200, 1_000, 1_000, 5_000]).unwrap_or(1_000),
        jitter_us: chance.pick(&[0, 500, 2_000, 6_000]).unwrap_or(500),
        loss: chance.pick(&[0, 0, 0, 5, 20]).unwrap_or(0),
        duplication: chance.pick(&[0, 0, 0, 10]).unwrap_or(0),
    }
}

fn draw_workloads(chance: &mut Chance) -> Vec<Workload> {
    let mut drawn: Vec<_> = Workload::ALL.into_iter().filter(|_| odds(chance, 50)).collect();
    if drawn.is_empty() {
        drawn.extend(chance.pick(&Workload::ALL));
    }
    drawn
}
