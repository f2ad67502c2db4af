//! Real processes under faults, and the verdict on what their clients saw.
//!
//! Owns: the command lines of `jepsen` and `soak`. Does not own: a run (`run`), faults (`nemesis`), the judgement of histories
//! (`check`). Invariant: a fault that did not happen never counts as passed, and what this machine cannot do is named.
//!
//! ```text
//! run ── load ── team ── wire ──── the nodes' Redis doors, or the program with a node inside (embedded)
//!  │      │        │
//!  │      │        └─ book ── history file; the lines of keys that are not judged yet
//!  │      ├─ subscribers ─┘
//!  │      └─ janitor ─────── judges keys that have seen enough, and deletes them
//!  ├─ nemesis ── faults      scene ── leaders, processes, a line every five seconds
//!  └─ finals ── last reads and messages at every node
//! ```

mod all;
mod book;
mod calls;
pub mod embedded;
mod errors;
mod finals;
mod janitor;
mod load;
pub mod nemesis;
mod run;
mod samples;
mod scene;
mod subscribers;
mod team;
mod verdict;
mod wire;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use self::nemesis::Family;
use self::run::Setup;
use self::verdict::End;
pub use self::workload::Workload;
use crate::failure::Outcome;
use crate::network::{self, Entered};

/// The command line.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a command line")]
pub struct Line {
    /// Which family of faults; `none` for none
    #[arg(long, default_value = "none")]
    family: Family,
    /// How many nodes there are: 3 or 5
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// For how long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// How many operations a second shall be answered
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// What clients do
    #[arg(long, value_delimiter = ',', default_values_t = Workload::ALL)]
    workloads: Vec<Workload>,
    /// The seed of what is left to chance
    #[arg(long)]
    rng_seed: Option<u64>,
    /// Where the history goes; without it, it is kept only if the run does not pass
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A short run: any one fault of the family is enough, else each kind of it must have happened
    #[arg(long)]
    brief: bool,
    /// Exit with 0 if this machine cannot do what the family needs
    #[arg(long)]
    allow_missing: bool,
    /// Do without disks
    #[arg(long)]
    in_memory: bool,
    /// Let all nodes be `quorate serve`, and none a program with a node inside
    #[arg(long)]
    no_embedded: bool,
    /// Do without namespaces, and so without what needs them
    #[arg(long)]
    no_network: bool,
    /// Run every family with three and with five nodes, each in a process of its own
    #[arg(long, conflicts_with_all = ["family", "nodes", "no_network"])]
    all: bool,
    /// How many of them at a time
    #[arg(long, default_value_t = 1, requires = "all")]
    parallel: usize,
}

/// The command line of a long run.
#[derive(Debug, Clone, clap::Args)]
pub struct SoakLine {
    /// For how long
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// How many nodes there are: 3 or 5
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// Which family of faults
    #[arg(long, default_value = "mixed")]
    family: Family,
    /// How many operations a second shall be answered
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// The seed of what is left to chance
    #[arg(long)]
    rng_seed: Option<u64>,
    /// Where the history goes
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs one family, or all; prints what happens, and the figures at the end.
///
/// # Errors
/// When the harness does not get as far as a verdict.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    run::check_nodes(line.nodes)?;
    if line.all {
        return all::run(line).await;
    }
    let setup = Setup {
        family: line.family,
        nodes: line.nodes,
        time: Duration::from_secs_f64(line.minutes * 60.0),
        rate: line.rate,
        workloads: line.workloads.clone(),
        rng_seed: line.rng_seed,
        is_durable: !line.in_memory,
        has_embedded: !line.no_embedded,
        out: line.out.clone(),
        is_soak: false,
        is_brief: line.brief,
    };
    enter(&setup, line.no_network, line.allow_missing).await
}

/// Runs for hours, and fails also if memory or disk grow.
///
/// # Errors
/// As [`run`].
pub async fn soak(line: &SoakLine) -> Outcome<ExitCode> {
    run::check_nodes(line.nodes)?;
    let setup = Setup {
        family: line.family,
        nodes: line.nodes,
        time: Duration::from_secs_f64(line.hours * 3600.0),
        rate: line.rate,
        workloads: Workload::ALL.to_vec(),
        rng_seed: line.rng_seed,
        is_durable: true,
        has_embedded: true,
        out: line.out.clone(),
        is_soak: true,
        is_brief: false,
    };
    enter(&setup, false, false).await
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn enter(setup: &Setup, no_network: bool, allow_missing: bool) -> Outcome<ExitCode> {
    let (network, missing) = if no_network {
        (None, Some("--no-network was given".to_owned()))
    } else {
        match network::enter()? {
            Entered::Inside(network) => (Some(network), None),
            Entered::Ended(code) => return Ok(code),
            Entered::Missing(reason) => (None, Some(reason)),
        }
    };
    let running = run::run(setup, network, missing.as_deref());
    let Some(report) = unless_told_to_stop(running).await? else {
        return Ok(End::Rejected.code());
    };
    for text in &report.lines {
        println!("{text}");
    }
    let is_allowed = report.end == End::LeftOut && allow_missing;
    Ok(if is_allowed { ExitCode::SUCCESS } else { report.end.code() })
}

/// Does `work`; a signal drops it, and with it all processes that it has started.
async fn unless_told_to_stop<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<Option<T>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => return done.map(Some),
        _ = tokio::signal::ctrl_c() => println!("interrupted"),
        _ = terminate.recv() => println!("terminated"),
    }
    Ok(None)
}
