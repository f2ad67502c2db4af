//! Processes that find each other on one machine without configuration: started at once, killed, started again.
//!
//! Owns: the order of the rounds, and the check that there is one cluster. Does not own: the processes. Invariant: a round
//! passes only if all living processes are in one and the same cluster and see one state.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::{FORM_DEADLINE, Node, NodeOptions, Process, Signal, binary, wait_for};
use crate::reply::Reply;

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many rounds of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many processes start at the same moment
    #[arg(long, default_value_t = 8)]
    processes: usize,
}

/// What one round has shown.
#[derive(Debug, Clone)]
pub struct Round {
    what: String,
    /// From the start of the processes until the last one is ready.
    ready: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, one cluster after {}", self.what, figures::text(self.ready))
    }
}

/// Runs all rounds and prints what they have shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let count = line.processes.max(2);
    let mut failed = 0;
    let rounds = figures::rounds("started at once", line.rounds, async |number| {
        at_once_and_again(count, number).await
    })
    .await;
    rounds.figure(&format!("until {count} processes that start at once are ready"), |round| {
        Some(round.ready)
    });
    failed += rounds.failed;
    let rounds = figures::rounds("the first one killed", line.rounds, async |number| {
        first_killed(count, number).await
    })
    .await;
    rounds.figure("until those are ready who joined through one that was killed", |round| {
        Some(round.ready)
    });
    failed += rounds.failed;
    let rounds =
        figures::rounds("one of two killed", line.rounds, async |number| pair(number).await).await;
    rounds.figure("until a third process is ready beside the survivor", |round| Some(round.ready));
    Ok(figures::exit(failed + rounds.failed))
}

/// Processes that meet in a folder of their own.
struct Meeting {
    program: PathBuf,
    folder: TempDir,
    started: usize,
    nodes: Vec<Node>,
}

impl Meeting {
    fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { program: binary()?, folder, started: 0, nodes: Vec::new() })
    }

    /// Starts a process without waiting for it.
    fn spawn(&mut self) -> Outcome<Process> {
        self.started += 1;
        let options = NodeOptions {
            name: format!("p{}", self.started),
            more: ["--rendezvous", "game"].map(Into::into).to_vec(),
            ..NodeOptions::default()
        };
        let mut command = Command::new(&self.program);
        command.args(options.arguments()).current_dir(self.folder.path());
        command.env("QUORATE_RENDEZVOUS", self.folder.path().join("meeting"));
        Process::start(&options.name, command, self.folder.path())
    }

    /// Starts `count` processes at the same moment and waits until all are ready; tells how long that took.
    async fn start(&mut self, count: usize) -> Outcome<Duration> {
        let began = Instant::now();
        let processes: Vec<_> = (0..count).map(|_| self.spawn()).collect::<Outcome<_>>()?;
        self.ready(processes).await?;
        Ok(began.elapsed())
    }

    async fn ready(&mut self, processes: Vec<Process>) -> Outcome {
        for process in processes {
            self.nodes.push(Node::ready(process, FORM_DEADLINE).await?);
        }
        Ok(())
    }

    /// Kills the process at `place` and forgets it.
    fn kill(&mut self, place: usize) -> Outcome {
        self.nodes.remove(place).process.signal(Signal::Kill)
    }

    /// Checks that all are in one cluster, which knows of all and of nobody else, and that what one has written all others read.
    async fn is_one(&self) -> Outcome {
        let checked = wait_for("one cluster", FORM_DEADLINE, || async {
            let mut formations = Vec::new();
            for node in &self.nodes {
                let status = node.status().await?;
                let told = |at: &str| status.pointer(at).cloned().unwrap_or(Value::Null);
                if told("/node/state") != "ready" || told("/sessions") != self.nodes.len() {
                    return Err(Failure::new(format!("not one cluster yet: {status}")));
                }
                formations.push(told("/cluster/formation"));
            }
            formations.dedup();
            if formations.len() == 1 && formations.iter().all(Value::is_string) {
                return Ok(());
            }
            Err(Failure::new(format!("several clusters: {formations:?}")))
        });
        checked.await.map_err(|failure| self.with_logs(failure))?;
        let Some((first, others)) = self.nodes.split_first() else { return Ok(()) };
        let written = self.started.to_string();
        first.client().await?.ask(&format!("SET written {written}")).await?;
        for node in others {
            let read = node.client().await?.ask("GET written").await?;
            if read != Reply::Bulk(written.clone().into_bytes()) {
                return Err(Failure::new(format!("{written} was written, and {read} is read")));
            }
        }
        Ok(())
    }

    /// Waits until every process knows of `count` voters.
    async fn votes(&self, count: usize) -> Outcome {
        wait_for("the voters", FORM_DEADLINE, || async {
            for node in &self.nodes {
                let status = node.status().await?;
                let voters = status.pointer("/voters").and_then(Value::as_array).map(Vec::len);
                if voters != Some(count) {
                    return Err(Failure::new(format!("{voters:?} voters instead of {count}")));
                }
            }
            Ok(())
        })
        .await
    }

    fn with_logs(&self, failure: Failure) -> Failure {
        let logs: Vec<String> = self.nodes.iter().map(|node| node.process.log_end()).collect();
        Failure::new(format!("{failure}\n{}", logs.join("\n")))
    }
}

/// Starts all at once, kills some of them, starts as many again; kills all, and starts all again.
///
/// # Errors
/// When they are not in one cluster, each time.
pub async fn at_once_and_again(count: usize, number: usize) -> Outcome<Round> {
    let mut meeting = Meeting::new()?;
    let ready = meeting.start(count).await?;
    meeting.is_one().await?;
    // Less than half, with or without the one that formed the cluster.
    let victims = number % (count / 2).max(1);
    for _ in 0..victims {
        let place = number % meeting.nodes.len();
        meeting.kill(place)?;
    }
    meeting.start(victims).await?;
    meeting.is_one().await?;
    while !meeting.nodes.is_empty() {
        meeting.kill(0)?;
    }
    meeting.start(count).await?;
    meeting.is_one().await?;
    let what = format!("{count} at once, {victims} killed and started again, then all");
    Ok(Round { what, ready })
}

/// Kills the only process there is, while the others join through it.
///
/// # Errors
/// When they are not in one cluster afterwards.
pub async fn first_killed(count: usize, number: usize) -> Outcome<Round> {
    let mut meeting = Meeting::new()?;
    meeting.start(1).await?;
    let began = Instant::now();
    let others: Vec<_> = (1..count).map(|_| meeting.spawn()).collect::<Outcome<_>>()?;
    let pause = Duration::from_millis(100) * u32::try_from(number % 10).unwrap_or_default();
    sleep(pause).await;
    meeting.kill(0)?;
    meeting.ready(others).await?;
    let ready = began.elapsed();
    meeting.is_one().await?;
    Ok(Round { what: format!("killed {} after {count} others began", figures::text(pause)), ready })
}

/// Kills one of two processes; the other one goes on with what was written, and a third one joins it.
///
/// # Errors
/// When what was written is gone, or the two are not one cluster.
pub async fn pair(number: usize) -> Outcome<Round> {
    let mut meeting = Meeting::new()?;
    meeting.start(2).await?;
    meeting.is_one().await?;
    // Until both vote, what is acknowledged is with one of them alone.
    meeting.votes(2).await?;
    let Some(node) = meeting.nodes.first() else { return Err(Failure::new("no node")) };
    node.client().await?.ask("SET kept yes").await?;
    meeting.kill(number % 2)?;
    let ready = meeting.start(1).await?;
    meeting.is_one().await?;
    for node in &meeting.nodes {
        let kept = node.client().await?.ask("GET kept").await?;
        if kept != Reply::Bulk(b"yes".to_vec()) {
            return Err(meeting.with_logs(Failure::new(format!("what was written is {kept}"))));
        }
    }
    let what = if number.is_multiple_of(2) { "the first killed" } else { "the second killed" };
    Ok(Round { what: what.to_owned(), ready })
}
