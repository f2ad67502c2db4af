//! The tools of this folder as one program; see `README.md`. Part of the library, so that each tool is compiled once.
//!
//! Owns: the command line. Does not own: what the tools do. Invariant: exit code 0 means that everything
//! asked for was done and passed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for a terminal")]

use std::process::{Command, ExitCode};

use crate::bound;
use crate::check;
use crate::driver;
use crate::durable;
use crate::failover;
use crate::failure::{Failure, Outcome};
use crate::fanout;
use crate::jepsen;
use crate::million;
use crate::mutants;
use crate::network::{self, Entered};
use crate::observers;
use crate::process::{Cluster, RedisServer, redis_server};
use crate::rendezvous;
use crate::requests;
use crate::script::{self, Flavour, Target};
use crate::survivor;
use crate::{counters, fleet, leaves, report, rolling, rounds, sim, slow, traffic};
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Tests whole clusters from outside")]
struct Line {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Runs whole clusters on simulated machines, each from a seed and in a process of its own
    Sim(sim::Line),
    /// Repeats a seed of `sim`, and tells what happens
    Replay(sim::ReplayLine),
    /// One seed in this process; a part of `sim`
    #[command(hide = true)]
    SimSeed(sim::SeedLine),
    /// Kills the leader under load, again and again, and measures how long no write is answered
    Failover(failover::Line),
    /// Shows a history as a page with plots
    Report(report::Line),
    /// Increments counters through all nodes while the leader is killed, paused and cut off
    Counters(counters::Line),
    /// Grows and shrinks a fleet of nodes while some are killed
    Fleet(fleet::Line),
    /// Lets the leader leave as planned, again and again, and measures how long no write is answered
    Leaves(leaves::Line),
    /// Restarts every node of a cluster under load, one after the other, with planned leaves
    Rolling(rolling::Line),
    /// Runs real processes under one family of faults, and judges what their clients saw
    Jepsen(jepsen::Line),
    /// The same for hours, with memory and disk measured
    Soak(jepsen::SoakLine),
    /// A program with a node inside; a part of `jepsen`
    #[command(hide = true)]
    JepsenNode(jepsen::embedded::Line),
    /// Kills and stops processes that had bound state, and watches it go and come back
    Bound(bound::Line),
    /// Processes that find each other on this machine: started at once, killed, started again
    Rendezvous(rendezvous::Line),
    /// Kills one process of two on this host, and three of five, and lets the others go on
    Survivor(survivor::Line),
    /// Kills durable nodes all at once, damages their files, fills their disk, cuts their power
    Durable(durable::Line),
    /// Measures what observers cost the leader, and how far behind they are
    Observers(observers::Line),
    /// Asks matchmaking drivers for rooms: of one process, of three nodes, of a redis-server
    Driver(driver::bench::Line),
    /// Measures memory, snapshots and the start from disk with many keys
    Million(million::Line),
    /// Delivers to many listeners at three processes, beside redis-server and NATS
    Fanout(fanout::Line),
    /// A program with a node and listeners inside; a part of `fanout`
    #[command(hide = true)]
    FanoutProgram(fanout::embed::Line),
    /// Plants known bugs in a copy of the sources, and counts how many seeds it takes to catch each
    Mutants(mutants::Line),
    /// Subscribes at one node and publishes at another at once, again and again
    Rounds(rounds::Line),
    /// Measures what a busy channel sends to nodes on which nobody listens to it
    Traffic(traffic::Line),
    /// Measures what a subscriber that reads nothing does to the others
    Slow(slow::Line),
    /// Measures requests across processes beside redis-server, and kills responders
    Requests(requests::Line),
    /// A program with a node and responders inside; a part of `requests`
    #[command(hide = true)]
    RequestPeer(requests::peer::Line),
    /// Binds state through a RESP door and holds it; a part of `bound`
    #[command(hide = true)]
    Hold(bound::HoldLine),
    /// A program with a node inside; a part of other tools
    #[command(hide = true)]
    Embed(bound::embed::Line),
    /// Runs a command with servers at hand, and stops them when it ends
    With(WithLine),
    /// Judges a history that a run has left behind
    Check(check::ProgramLine),
    /// Runs script files against servers that are there already
    Script(ScriptLine),
}

#[derive(Debug, Args)]
struct WithLine {
    /// How many quorate nodes to start
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// The configuration file of the nodes
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Start a redis-server instead
    #[arg(long, conflicts_with = "config")]
    redis: bool,
    /// The command, which finds the servers in its environment
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct ScriptLine {
    /// The RESP addresses of the nodes, for connections A, B and so on
    #[arg(long, required = true, value_delimiter = ',', value_name = "IP:PORT")]
    address: Vec<std::net::SocketAddr>,
    /// The servers are the reference
    #[arg(long)]
    redis: bool,
    /// The script files
    #[arg(required = true)]
    files: Vec<std::path::PathBuf>,
}

/// Does what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let tool = Line::parse().tool;
    // No runtime but its own in a process that repeats a seed: tokio's generators count their threads for the whole process.
    if let Tool::Replay(line) = &tool {
        return code(sim::replay(line));
    }
    if let Tool::SimSeed(line) = &tool {
        return code(sim::seed(line));
    }
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => code(runtime.block_on(run(tool))),
        Err(error) => code(Err(error.into())),
    }
}

fn code(result: Outcome<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        eprintln!("cluster-tests: {failure}");
        ExitCode::FAILURE
    })
}

async fn run(tool: Tool) -> Outcome<ExitCode> {
    match tool {
        Tool::Failover(line) => run_failover(&line).await,
        Tool::Report(line) => report::run(&line).map(|()| ExitCode::SUCCESS),
        Tool::Counters(line) => run_counters(&line).await,
        Tool::Fleet(line) => unless_told_to_stop(fleet::run(&line)).await,
        Tool::Leaves(line) => unless_told_to_stop(leaves::run(&line)).await,
        Tool::Rolling(line) => unless_told_to_stop(rolling::run(&line)).await,
        Tool::Jepsen(line) => jepsen::run(&line).await,
        Tool::Soak(line) => jepsen::soak(&line).await,
        Tool::JepsenNode(line) => jepsen::embedded::run(&line).await,
        Tool::Bound(line) => bound::run(&line).await,
        Tool::Hold(line) => bound::hold(&line).await,
        Tool::Embed(line) => bound::embed::run(&line).await,
        Tool::Rendezvous(line) => rendezvous::run(&line).await,
        Tool::Survivor(line) => survivor::run(&line).await,
        Tool::Durable(line) => durable::run(&line).await,
        Tool::Observers(line) => observers::run(&line).await,
        Tool::Driver(line) => driver::bench::run(&line).await,
        Tool::Million(line) => million::run(&line).await,
        Tool::Fanout(line) => fanout::run(&line).await,
        Tool::FanoutProgram(line) => fanout::embed::run(&line).await,
        Tool::Rounds(line) => unless_told_to_stop(rounds::run(&line)).await,
        Tool::Traffic(line) => run_traffic(&line).await,
        Tool::Mutants(line) => mutants::run(&line).map(|()| ExitCode::SUCCESS),
        Tool::Sim(line) => sim::run_fleet(&line).await,
        Tool::Replay(_) | Tool::SimSeed(_) => {
            Err(Failure::new("a simulation runs where no runtime is"))
        }
        Tool::Slow(line) => slow::run(&line).await,
        Tool::Requests(line) => requests::run(&line).await,
        Tool::RequestPeer(line) => requests::peer::run(&line).await,
        Tool::Check(line) => check::run_program(&line),
        Tool::With(line) => with_servers(&line).await,
        Tool::Script(line) => run_scripts(&line).await,
    }
}

async fn run_traffic(line: &traffic::Line) -> Outcome<ExitCode> {
    let network = match network::enter()? {
        Entered::Inside(network) => Some(network),
        Entered::Ended(code) => return Ok(code),
        Entered::Missing(reason) => {
            println!("left out: bytes on the wire between each two nodes, because {reason}");
            None
        }
    };
    unless_told_to_stop(traffic::run(line, network)).await
}

async fn run_counters(line: &counters::Line) -> Outcome<ExitCode> {
    let network = if line.wants_network() {
        match network::enter()? {
            Entered::Inside(network) => Some(network),
            Entered::Ended(code) => return Ok(code),
            Entered::Missing(reason) => {
                println!("left out: partitions, because {reason}");
                None
            }
        }
    } else {
        println!("left out: partitions, because --no-network was given");
        None
    };
    unless_told_to_stop(counters::run(line, network)).await
}

/// Does `work`; a signal drops it, and with it all processes that it has started.
async fn unless_told_to_stop(work: impl Future<Output = Outcome>) -> Outcome<ExitCode> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = work => done.map(|()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        _ = terminate.recv() => Err(Failure::new("terminated")),
    }
}

async fn run_failover(line: &failover::Line) -> Outcome<ExitCode> {
    let network = match line.wants_network().then(network::enter).transpose()? {
        Some(Entered::Inside(network)) => Some(network),
        Some(Entered::Ended(code)) => return Ok(code),
        Some(Entered::Missing(reason)) => {
            println!("left out: isolations of the leader, because {reason}");
            None
        }
        None => None,
    };
    unless_told_to_stop(failover::run(line, network)).await
}

async fn with_servers(line: &WithLine) -> Outcome<ExitCode> {
    let list = |items: &[String]| items.join(",");
    if line.redis {
        let program =
            redis_server().ok_or_else(|| Failure::new("no redis-server is to be found"))?;
        let server = RedisServer::start(&program).await?;
        let address = server.address.to_string();
        return run_command(line, &[("FLAVOUR", "redis".into()), ("RESP", address)]).await;
    }
    let config = line.config.as_ref().map(std::path::absolute).transpose()?;
    let cluster = Cluster::start_with(line.nodes, |_, options, _| {
        let config = config.iter().flat_map(|file| ["--config".into(), file.display().to_string()]);
        options.more.extend(config);
        Ok(())
    })
    .await?;
    let each = |field: fn(&crate::process::Node) -> String| {
        list(&cluster.nodes.iter().map(field).collect::<Vec<_>>())
    };
    let environment = [
        ("FLAVOUR", "quorate".to_owned()),
        ("RESP", each(|node| node.resp.to_string())),
        ("HTTP", each(|node| node.http.to_string())),
        ("PIDS", each(|node| node.process.pid().to_string())),
        ("LEADER", cluster.leader().await?.to_string()),
        ("PROGRAM", cluster.program.display().to_string()),
    ];
    let code = run_command(line, &environment).await?;
    if code != ExitCode::SUCCESS {
        for node in &cluster.nodes {
            eprintln!("{}", node.process.log_end());
        }
    }
    Ok(code)
}

/// Runs the command with `QUORATE_TEST_*` variables; an interrupt ends it and the servers.
async fn run_command(line: &WithLine, environment: &[(&str, String)]) -> Outcome<ExitCode> {
    let Some((program, arguments)) = line.command.split_first() else {
        return Err(Failure::new("no command"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in environment {
        command.env(format!("QUORATE_TEST_{name}"), value);
    }
    if let Some(folder) = std::env::current_exe()?.parent() {
        command.env("QUORATE_TEST_TOOLS", folder);
    }
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        status = child.wait() => {
            let code = status?.code().and_then(|code| u8::try_from(code).ok());
            Ok(ExitCode::from(code.unwrap_or(1)))
        }
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
        _ = terminate.recv() => Err(Failure::new("terminated")),
    }
}

async fn run_scripts(line: &ScriptLine) -> Outcome<ExitCode> {
    let flavour = if line.redis { Flavour::Redis } else { Flavour::Quorate };
    let target = Target { flavour, nodes: line.address.clone(), first: 0 };
    let mut code = ExitCode::SUCCESS;
    for file in &line.files {
        match script::run(&script::load(file)?, &target).await {
            Ok(count) => println!("{}: {count} steps passed", file.display()),
            Err(failure) => {
                println!("{failure}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
