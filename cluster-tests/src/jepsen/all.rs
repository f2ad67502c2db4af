//! All families with three and with five nodes, each in a process of its own.
//!
//! Owns: which runs there are, how many at a time, the table at the end. Does not own: a run. Invariant: the exit code is 0 only if every run
//! has passed; those that this machine cannot do count as passed only with `--allow-missing`.

use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Line;
use super::nemesis::Family;
use super::verdict::End;
use crate::failure::{Failure, Outcome};

struct Done {
    family: Family,
    nodes: usize,
    code: Option<i32>,
    /// The result line, or the last one before it ended.
    told: String,
}

/// Runs them.
///
/// # Errors
/// When this program cannot be started again.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub(super) async fn run(line: &Line) -> Outcome<ExitCode> {
    // Built once, before many want it at a time.
    crate::process::binary()?;
    let gate = Arc::new(Semaphore::new(line.parallel.max(1)));
    let mut runs = JoinSet::new();
    for nodes in [3, 5] {
        for family in Family::ALL {
            let (gate, line) = (Arc::clone(&gate), line.clone());
            runs.spawn(async move {
                let permit = gate.acquire_owned().await;
                let done = one(&line, family, nodes).await;
                drop(permit);
                done
            });
        }
    }
    let mut table = Vec::new();
    while let Some(done) = runs.join_next().await {
        let done = done.map_err(|error| Failure::new(error.to_string()))??;
        println!("done: {} {}: {}", done.family, done.nodes, done.told);
        table.push(done);
    }
    table.sort_by_key(|done| (done.family, done.nodes));
    println!();
    let mut worst = End::Valid;
    for done in &table {
        let end = match done.code {
            Some(0) => End::Valid,
            Some(1) => End::Invalid,
            Some(3) => End::LeftOut,
            Some(5) => End::Unknown,
            _ => End::Rejected,
        };
        println!("{:16} {}  {:9} {}", done.family, done.nodes, end.word(), done.told);
        if !(end == End::LeftOut && line.allow_missing) {
            worst = worst.max(end);
        }
    }
    Ok(worst.code())
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn one(line: &Line, family: Family, nodes: usize) -> Outcome<Done> {
    let mut command = Command::new(std::env::current_exe()?);
    let workloads: Vec<&str> = line.workloads.iter().map(|workload| workload.name()).collect();
    command.args(["jepsen", "--family", family.name(), "--nodes", &nodes.to_string()]);
    command.args(["--minutes", &line.minutes.to_string(), "--rate", &line.rate.to_string()]);
    command.args(["--workloads", &workloads.join(",")]);
    if let Some(rng_seed) = line.rng_seed {
        command.args(["--rng-seed", &rng_seed.to_string()]);
    }
    if let Some(out) = &line.out {
        command.arg("--out").arg(out.join(format!("{family}-{nodes}")));
    }
    for (is_given, flag) in [(line.in_memory, "--in-memory"), (line.no_embedded, "--no-embedded")] {
        command.args(is_given.then_some(flag));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (mut told, mut last) = (None, String::new());
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Some(text) = lines.next_line().await? {
            if text.starts_with("jepsen: ") || text.starts_with("left out: ") {
                told = Some(text.clone());
            }
            println!("{family} {nodes}: {text}");
            last = text;
        }
    }
    let code = child.wait().await?.code();
    Ok(Done { family, nodes, code, told: told.unwrap_or(last) })
}
