//! Whole nodes on simulated machines, all in one thread, from one seed.
//!
//! Owns the command line of the simulator. The parts: `setup` is what a seed decides beforehand, `world` the machines and the
//! true time, `chaos` the faults, `nemesis` the chance behind them, `clients` the load, `settle` the second phase, `run` one
//! seed, `scenario` one with a name, `fleet` many of them. Invariant: the same seed gives the same datagrams at the same times, in every process.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each part cares for the few faults, calls and replies that are its own"
)]

pub mod chaos;
pub mod clients;
pub mod fault;
pub mod fleet;
pub mod host;
pub mod invariants;
pub mod nemesis;
pub mod run;
pub mod scenario;
pub mod settle;
pub mod setup;
mod told;
pub mod view;
pub mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

pub use self::fault::{Kind, Target};
pub use self::fleet::{Line, run as run_fleet};
use self::scenario::{Scenario, Step};
use self::setup::Setup;
use crate::failure::Outcome;
use crate::figures::note;
use crate::history;

/// One seed in this process; a part of `sim`.
#[derive(Debug, Args)]
pub struct SeedLine {
    /// The seed
    #[arg(long, required_unless_present = "scenario")]
    seed: Option<u64>,
    /// How many virtual seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The file of a scenario instead
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    scenario: Option<PathBuf>,
}

/// Repeats a seed, and tells what happens.
#[derive(Debug, Args)]
pub struct ReplayLine {
    #[command(flatten)]
    what: SeedLine,
    /// What nodes log is printed too, as far as this lets it through: `info`, `quorate=debug`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Where the history goes, as JSON lines
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

impl SeedLine {
    fn setup(&self) -> Outcome<(Setup, Vec<Step>)> {
        if let Some(file) = &self.scenario {
            let scenario = Scenario::read(file)?;
            return Ok((scenario.setup(), scenario.steps));
        }
        let length = Duration::from_secs(self.seconds);
        Ok((Setup::draw(self.seed.unwrap_or_default(), length), Vec::new()))
    }
}

/// Runs one seed and prints its report as JSON.
///
/// # Errors
/// When it cannot be run.
pub fn seed(line: &SeedLine) -> Outcome<ExitCode> {
    let (setup, steps) = line.setup()?;
    let (report, _) = run::run(setup, steps, false)?;
    note(serde_json::to_string(&report).map_err(std::io::Error::other)?);
    Ok(ExitCode::SUCCESS)
}

/// Runs one seed and prints what happens.
///
/// # Errors
/// When it cannot be run, or the history cannot be written.
pub fn replay(line: &ReplayLine) -> Outcome<ExitCode> {
    let (setup, steps) = line.what.setup()?;
    line.log.as_deref().map_or(Ok(()), told::print)?;
    note(format!("seed {}", setup.seed));
    note(serde_json::to_string_pretty(&setup).map_err(std::io::Error::other)?);
    let (report, lines) = run::run(setup, steps, true)?;
    if let Some(path) = &line.history {
        history::write(path, &lines)?;
        note(format!("history: {}", path.display()));
    }
    let summary = run::Report { events: Vec::new(), ..report.clone() };
    note(serde_json::to_string_pretty(&summary).map_err(std::io::Error::other)?);
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
