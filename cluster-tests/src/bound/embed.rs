//! A program that embeds a node, as a game server would.
//!
//! Owns: starting it as a process, and what it does there: join, bind, print what it is told. Does not own: checks.
//! Invariant: it prints each event as one line, and nothing else after `holding`.
#![expect(clippy::print_stdout, reason = "the lines tell the one that started this program")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use bytes::Bytes;
use clap::Args;
use quorate::command::{Command, Reply};
use quorate::{Config, Node};

use super::Hold;
use crate::failure::{Failure, Outcome};
use crate::process::{Cluster, Process};

/// The command line of the program.
#[derive(Debug, Args)]
pub struct Line {
    /// A node to join through
    #[arg(long, required = true)]
    seed: Vec<SocketAddr>,
    /// The file with the cluster secret
    #[arg(long)]
    secret_file: PathBuf,
    /// How many hash fields, and how many keys, to bind
    #[arg(long, default_value_t = 0)]
    bound: usize,
}

/// Starts the program as a process that joins `cluster`.
///
/// # Errors
/// When it cannot be started.
pub fn start(cluster: &Cluster, hold: Option<Hold>, name: &Path) -> Outcome<Process> {
    let mut command = process::Command::new(std::env::current_exe()?);
    command.arg("embed").arg("--secret-file").arg(cluster.folder.path().join("secret"));
    for node in &cluster.nodes {
        command.args(["--seed", &node.cluster.to_string()]);
    }
    command.args(["--bound", &hold.map_or(0, |hold| hold.keys).to_string()]);
    Process::start(&name.display().to_string(), command, cluster.folder.path())
}

/// The configuration of a node that joins through `seeds`.
#[must_use]
pub fn config(seeds: &[SocketAddr], secret_file: &Path) -> Config {
    let mut config = Config::default();
    config.node.seeds = seeds.iter().map(ToString::to_string).collect();
    config.cluster.secret_file = Some(secret_file.to_owned());
    config
}

/// Runs the program until it is killed.
///
/// # Errors
/// When the node does not start, or stops.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let node = Node::start(config(&line.seed, &line.secret_file)).await;
    let node = node.map_err(|error| Failure::new(error.to_string()))?;
    node.ready().await;
    let mut events = node.events();
    if line.bound > 0 {
        bind(&node, Hold { fields: line.bound, keys: line.bound }).await?;
        println!("holding");
    }
    while let Some(event) = events.next().await {
        println!("event: {event:?}");
    }
    Err(Failure::new(node.stopped().await))
}

/// Writes all that is to be bound to this process.
async fn bind(node: &Node, hold: Hold) -> Outcome {
    let bound = node.bound();
    for words in hold.bound() {
        let words: Vec<Bytes> = words.into_iter().map(Bytes::from).collect();
        let command = Command::parse(&words).map_err(|error| Failure::new(format!("{error:?}")))?;
        match bound.command(command).await {
            Ok(Reply::Error(error)) => return Err(Failure::new(format!("{error:?}"))),
            Ok(_) => {}
            Err(error) => return Err(Failure::new(error.to_string())),
        }
    }
    Ok(())
}
