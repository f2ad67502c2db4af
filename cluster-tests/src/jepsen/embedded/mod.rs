//! A program with a node inside, which clients reach through the Rust interface instead of the Redis door.
//!
//! Owns: starting the node from the command line that `quorate serve` takes, its `ready` line and its leave. Does not own: how an
//! operation is executed (`door`). Invariant: seen from its process group it is a node like the others: the same addresses, the
//! same signals, the same HTTP door.
#![expect(clippy::print_stdout, reason = "the ready line is for the one that started this program")]

mod door;

pub(super) use door::GREETING;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use quorate::adapters::{http, resp};
use quorate::node::Node;
use quorate::node::config::File;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Outcome};

/// The command line: what [`crate::process::NodeOptions`] writes.
#[derive(Debug, Args)]
pub struct Line {
    #[arg(long)]
    name: String,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    seed: Vec<SocketAddr>,
    #[arg(long)]
    bootstrap_expect: Option<u16>,
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Where it takes operations
    #[arg(long)]
    resp: SocketAddr,
    #[arg(long)]
    http: SocketAddr,
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

type Settings = File<resp::Config, http::Config>;

fn told(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}

fn settings(line: &Line) -> Outcome<Settings> {
    let text = line.config.as_ref().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
    let mut settings = Settings::read(&text).map_err(told)?;
    settings.node.name = Some(line.name.parse().map_err(told)?);
    settings.node.listen = line.listen;
    settings.node.seeds = line.seed.iter().map(ToString::to_string).collect();
    settings.node.data_dir.clone_from(&line.data_dir);
    settings.cluster.secret_file.clone_from(&line.secret_file);
    settings.cluster.bootstrap_expect =
        line.bootstrap_expect.unwrap_or(settings.cluster.bootstrap_expect);
    (settings.http.enabled, settings.http.listen) = (true, line.http);
    settings.check().map_err(told)?;
    Ok(settings)
}

/// Runs the program until it is asked to leave.
///
/// # Errors
/// When the node does not start, or stops by itself.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (config, _, http) = settings(line)?.split();
    let node = tokio::select! {
        started = Box::pin(Node::start(config)) => started.map_err(told)?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
    };
    let http = http::Server::bind(&node, &http).await.map_err(told)?;
    let listener = TcpListener::bind(line.resp).await?;
    let (id, cluster) = (node.id(), node.address());
    let (resp, shown) = (listener.local_addr()?, http.address());
    println!("ready node={id} cluster={cluster} resp={resp} http={shown}");
    tokio::select! {
        never = door::serve(&node, &listener) => never?,
        why = node.stopped() => return Err(Failure::new(why)),
        _ = terminate.recv() => {}
    }
    node.hand_over().await;
    drop(listener);
    node.leave().await;
    Ok(ExitCode::SUCCESS)
}
