//! Large fan-out: one publisher, listeners at three processes, beside redis-server and a NATS cluster.
//!
//! Owns: the sides, their turns, the table and the ratios. Does not own: how a side is driven. Invariant: every side gets the same
//! messages at the same pace, one right after the other, and a side that loses a message has no figure.
//!
//! The figures hold for this machine at this moment; only the ratios between sides of one run mean anything. The publisher
//! waits when the slowest listener is a window behind, so that no side can win by losing.

pub mod dialect;
pub mod drive;
pub mod embed;
mod nats;
mod table;

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::dialect::Dialect;
use self::drive::Plan;
use self::embed::Programs;
use self::nats::NatsCluster;
use self::table::{Row, Table};
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::{Cluster, RedisServer, processor_time, redis_server};

/// How many processes listeners are spread over.
const PROCESSES: usize = 3;

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many times each side is measured in each case
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// For how long each time
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    time: f64,
    /// How many listeners there are at each of the three processes; redis-server has all of them
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 30])]
    listeners: Vec<usize>,
    /// How the publisher goes on
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Mode::Pipelined, Mode::Answered, Mode::Alone])]
    modes: Vec<Mode>,
    /// How many messages the slowest listener may be behind
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(8..=16_384))]
    window: u64,
    /// Only these sides
    #[arg(long, value_delimiter = ',', default_values_t = Name::ALL)]
    sides: Vec<Name>,
}

/// When the publisher sends the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// At once, an eighth of the window in one write
    Pipelined,
    /// When the server has answered the one before
    Answered,
    /// When all listeners have the one before
    Alone,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipelined => "pipelined",
            Self::Answered => "answered",
            Self::Alone => "alone",
        })
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Three nodes, clients at their RESP doors
    Quorate,
    /// Three programs with a node inside, listeners and publisher in them
    Embedded,
    /// One redis-server
    Redis,
    /// Three NATS servers
    Nats,
}

impl Name {
    const ALL: [Self; 4] = [Self::Quorate, Self::Embedded, Self::Redis, Self::Nats];
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quorate => "quorate",
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::Nats => "nats",
        })
    }
}

/// How the publisher is paced.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How far it may be ahead of the slowest listener.
    pub window: u64,
    /// How many messages it sends at once.
    pub step: u64,
    /// Whether it waits for the answers of its server.
    pub is_answered: bool,
    /// After how many messages a process of its own tells how far its slowest listener is.
    pub told_every: u64,
}

impl Pace {
    const fn of(mode: Mode, window: u64) -> Self {
        let part = window / 8;
        let (window, step) = match mode {
            Mode::Pipelined => (window, part),
            Mode::Answered => (window, 1),
            Mode::Alone => (1, 1),
        };
        let told_every = if window == 1 { 1 } else { part };
        Self { window, step, is_answered: matches!(mode, Mode::Answered), told_every }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.window, self.step, self.is_answered, self.told_every)
    }
}

/// What one measurement has shown; every listener has got every message.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// How many messages were published.
    pub published: u64,
    /// How many listeners each of them went to.
    pub listeners: usize,
    /// From the first publish until the last delivery.
    pub elapsed: Duration,
}

/// The servers of one side.
struct Side {
    name: Name,
    servers: Servers,
    pids: Vec<u32>,
}

enum Servers {
    Quorate(Cluster),
    Embedded(Programs),
    Redis(RedisServer),
    Nats(NatsCluster),
}

impl Side {
    async fn start(name: Name) -> Outcome<Self> {
        let servers = match name {
            Name::Quorate => Servers::Quorate(Cluster::start(PROCESSES).await?),
            Name::Embedded => Servers::Embedded(Programs::start(PROCESSES).await?),
            Name::Redis => {
                let program = redis_server();
                let program = program.ok_or_else(|| Failure::new("no redis-server is found"))?;
                Servers::Redis(RedisServer::start(&program).await?)
            }
            Name::Nats => Servers::Nats(NatsCluster::start(&nats::program()?, PROCESSES).await?),
        };
        let pids = match &servers {
            Servers::Quorate(cluster) => {
                cluster.nodes.iter().map(|node| node.process.pid()).collect()
            }
            Servers::Embedded(Programs { processes, .. })
            | Servers::Nats(NatsCluster { processes, .. }) => {
                processes.iter().map(|process| process.pid()).collect()
            }
            Servers::Redis(server) => vec![server.pid()],
        };
        Ok(Self { name, servers, pids })
    }

    /// Where clients of this side connect; none for programs, which have no clients.
    fn clients(&self) -> Option<(Dialect, Vec<SocketAddr>)> {
        match &self.servers {
            Servers::Quorate(cluster) => Some((Dialect::Resp, cluster.resp())),
            Servers::Redis(server) => Some((Dialect::Resp, vec![server.address])),
            Servers::Nats(cluster) => Some((Dialect::Nats, cluster.clients.clone())),
            Servers::Embedded(_) => None,
        }
    }

    async fn measure(&mut self, line: &Line, case: Case, number: usize) -> Outcome<Row> {
        let pace = Pace::of(case.mode, line.window);
        let time = Duration::from_secs_f64(line.time);
        let channel = format!("fan:{number:08}");
        let servers_before = total(&self.pids)?;
        let own_before = processor_time(std::process::id())?;
        let shown = match (self.clients(), &mut self.servers) {
            (Some((dialect, servers)), _) => {
                let listeners = case.each * PROCESSES;
                drive::measure(Plan { dialect, servers, listeners, channel, pace, time }).await?
            }
            (None, Servers::Embedded(programs)) => {
                programs.measure(&channel, case.each, pace, time).await?
            }
            (None, _) => return Err(Failure::new("a side without clients")),
        };
        let servers = total(&self.pids)?.saturating_sub(servers_before);
        let driver = processor_time(std::process::id())?.saturating_sub(own_before);
        Ok(Row { shown, servers, driver })
    }
}

fn total(pids: &[u32]) -> Outcome<Duration> {
    pids.iter().map(|pid| processor_time(*pid)).sum()
}

/// What is compared with one another.
#[derive(Debug, Clone, Copy)]
struct Case {
    mode: Mode,
    each: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} listeners at each of {PROCESSES} processes", self.mode, self.each)
    }
}

/// Runs everything and prints what it has shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let mut sides = Vec::new();
    for name in &line.sides {
        match Side::start(*name).await {
            Ok(side) => sides.push(side),
            Err(failure) if matches!(name, Name::Redis | Name::Nats) => {
                figures::left_out(format!("{name}, because {failure}"));
            }
            Err(failure) => return Err(failure),
        }
    }
    figures::note(
        "TLS: between quorate's processes always; between NATS' servers, as configured here; redis-server is \
         one process. Clients of all sides connect without.",
    );
    let mut failed = 0;
    for mode in &line.modes {
        for each in &line.listeners {
            let case = Case { mode: *mode, each: *each };
            failed += measure_case(line, case, &mut sides).await;
        }
    }
    Ok(figures::exit(failed))
}

/// Measures all sides in turn; gives how many measurements failed.
async fn measure_case(line: &Line, case: Case, sides: &mut [Side]) -> usize {
    let mut table = Table::new(case.to_string(), sides.iter().map(|side| side.name));
    let mut failed = 0;
    for round in 0..line.rounds {
        // Every second turn goes the other way, so that no side is always the first.
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for at in order {
            let Some(side) = sides.get_mut(at) else { continue };
            let number = case.each * 1_000_000 + case.mode as usize * 10_000 + round * 10 + at;
            match side.measure(line, case, number).await {
                Ok(row) => table.add(side.name, round, row),
                Err(failure) => {
                    failed += 1;
                    figures::note(format!("{case}, {}: FAILED: {failure}", side.name));
                }
            }
        }
    }
    table.print();
    failed
}
