//! Leaders that die and leaders that are cut off: for how long do clients at the other nodes wait for a write?
//!
//! Owns: the command line, the order of the rounds, the figures. Does not own: what happens in a round (`kill`, `isolate`).
//! Invariant: the gap of a round is the longest time between two acknowledgements that follow each other at one node, from the
//! last before the fault until the load ends, of the node at which that is longest; the node with the fault does not count.

mod isolate;
mod kill;
mod spread;

use std::path::PathBuf;
use std::time::Duration;

pub use self::kill::{Hosts, Load, Round, recover, round};
use self::spread::Spread;
use crate::failure::{Failure, Outcome};
use crate::load::median_and_worst;
use crate::network::Network;
use crate::{figures, report};

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// How many leaders to kill, each of a fresh cluster on one host, where the others see at once that its process is gone
    #[arg(long, visible_alias = "rounds", default_value_t = 20)]
    kills: usize,
    /// How many to kill where each node is on a host of its own, so that the others can only wait for it
    #[arg(long, default_value_t = 0)]
    kills_apart: usize,
    /// How many times to cut the leader off from all others, both ways
    #[arg(long, default_value_t = 0)]
    isolations: usize,
    /// For how long each time
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    isolated: f64,
    /// How many nodes there are; several numbers repeat everything
    #[arg(long, value_delimiter = ',', default_value = "3")]
    nodes: Vec<usize>,
    /// Clients at each node, which write one after the other
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// How long the load goes on before the fault
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    before: f64,
    /// How long the load goes on after all others accept writes again
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    after: f64,
    /// The folder for plots and the gap of every round
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl Line {
    /// Tells whether the test needs [`crate::network::enter`].
    #[must_use]
    pub const fn wants_network(&self) -> bool {
        self.isolations > 0
    }

    fn load(&self) -> Load {
        Load {
            writers: self.writers,
            before: Duration::from_secs_f64(self.before),
            after: Duration::from_secs_f64(self.after),
        }
    }
}

/// Runs all rounds; prints a line for each, and the distributions.
///
/// # Errors
/// When a round failed: an acknowledged write is missing, or the others did not recover.
pub async fn run(line: &Line, network: Option<Network>) -> Outcome {
    let load = line.load();
    let mut spreads = Vec::new();
    let mut failures = 0;
    for nodes in &line.nodes {
        for (hosts, count) in [(Hosts::One, line.kills), (Hosts::Each, line.kills_apart)] {
            if count == 0 {
                continue;
            }
            let name = format!("leader killed, {nodes} nodes {hosts}");
            let rounds =
                figures::rounds(&name, count, async |_| kill::kill(&load, *nodes, hosts).await)
                    .await;
            failures += rounds.failed;
            spreads.push(Spread::new(name, rounds.passed.iter().map(|round| round.gap).collect()));
        }
    }
    if let Some(network) = network.filter(|_| line.wants_network()) {
        let mut network = Some(network);
        for nodes in &line.nodes {
            let name = format!("leader cut off, {nodes} nodes");
            let mut group = isolate::start(*nodes, network.take()).await?;
            let isolated = Duration::from_secs_f64(line.isolated);
            let rounds = figures::rounds(&name, line.isolations, async |number| {
                isolate::isolate(&mut group, *nodes, &load, isolated, number).await
            })
            .await;
            failures += rounds.failed;
            spreads.push(Spread::new(name, rounds.passed.iter().map(|round| round.gap).collect()));
            if rounds.failed > 0 {
                figures::note(format!("logs are kept in {}", group.keep().display()));
            }
            network = group.into_network();
        }
    }
    summary(line, &spreads)?;
    match failures {
        0 => Ok(()),
        count => Err(Failure::new(format!("{count} rounds failed"))),
    }
}

fn summary(line: &Line, spreads: &[Spread]) -> Outcome {
    for spread in spreads {
        let mut gaps = spread.gaps.clone();
        if let Some((median, worst)) = median_and_worst(&mut gaps) {
            let count = gaps.len();
            figures::note(format!(
                "write gap over {count} rounds ({}): median {median:?}, worst {worst:?}",
                spread.name
            ));
        }
        figures::figure(spread);
    }
    if let Some(folder) = &line.output {
        spread::write(folder, spreads)?;
        figures::note(format!("plots are in {}", folder.display()));
    }
    Ok(())
}

/// Writes a page with plots; kept here so that what a page needs is named once.
fn page(title: &str, parts: &[String]) -> String {
    report::page(title, parts)
}
