//! Many seeds, each in a process of its own.
//!
//! Owns the processes, their limits, and the figures over all of them. Does not look inside. Invariant: a seed that hangs, dies or
//! panics is a finding of that seed, and of no other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::run::Report;
use super::scenario;
use crate::failure::{Failure, Outcome};
use crate::figures::{exit, figure, note};
use crate::jepsen::nemesis::faketime;

/// How much address space a seed may use, in KiB.
const MEMORY_MAX: u64 = 4 * 1024 * 1024;
/// How many times as fast the machine's clocks run for the second of two runs.
const HURRY: u32 = 100_000;
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);
/// How many of the slowest seeds are named.
const SLOWEST: usize = 5;

/// Runs whole clusters in one thread each, from seeds.
#[derive(Debug, Args)]
pub struct Line {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// Seeds as A..B, without B
    #[arg(long, value_parser = range, conflicts_with_all = ["from", "count"])]
    seeds: Option<std::ops::Range<u64>>,
    /// Run all scenarios instead, each once
    #[arg(long, conflicts_with_all = ["from", "count", "seeds"])]
    scenarios: bool,
    /// How many virtual seconds each
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many at once
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// After how many real seconds no other seed is begun
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// Run each seed twice, in two processes, and compare; for the second one the machine's clocks run 100,000 times as fast
    #[arg(long)]
    twice: bool,
    /// How many processes keep the processor busy meanwhile
    #[arg(long, default_value_t = 0)]
    hogs: usize,
    /// How many real seconds a seed may take
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    patience: u64,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers with .. between them")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok(number(from)?..number(to)?)
}

/// What is to be run.
#[derive(Clone, Debug)]
enum Job {
    Seed { seed: u64, seconds: u64 },
    Scenario(PathBuf),
}

impl Job {
    fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Seed { seed, seconds } => {
                let (seed, seconds) = (seed.to_string(), seconds.to_string());
                ["--seed", &seed, "--seconds", &seconds].map(OsString::from).into()
            }
            Self::Scenario(file) => vec!["--scenario".into(), file.into()],
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = self.arguments();
        let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        f.write_str(&texts.join(" "))
    }
}

/// What is known over all seeds.
#[derive(Debug, Default)]
struct Tally {
    seeds: u64,
    broken: Vec<String>,
    unequal: Vec<String>,
    virtual_ms: u64,
    took_ms: u64,
    ok: u64,
    failed: u64,
    unknown: u64,
    heard: u64,
    elections: u64,
    judged: u64,
    datagrams: u64,
    nodes: BTreeMap<usize, u64>,
    faults: BTreeMap<String, u64>,
    skipped: BTreeMap<String, u64>,
    slowest: Vec<(u64, u64)>,
}

/// Runs them.
///
/// # Errors
/// When no process can be started.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let count = line.from..line.from.saturating_add(line.count);
    let seeds = line.seeds.clone().unwrap_or(count);
    let mut total = seeds.end.saturating_sub(seeds.start);
    let seconds = line.seconds;
    let mut jobs: Box<dyn Iterator<Item = Job>> =
        Box::new(seeds.map(move |seed| Job::Seed { seed, seconds }));
    if line.scenarios {
        let files = scenario::files()?;
        total = files.len() as u64;
        jobs = Box::new(files.into_iter().map(Job::Scenario));
    }
    let clock = line.twice.then(hurried);
    let hogs: Vec<Child> = (0..line.hogs).map(|_| hog()).collect::<Outcome<_>>()?;
    let begun = Instant::now();
    let (mut tasks, mut tally, mut told) = (JoinSet::new(), Tally::default(), begun);
    loop {
        let is_time_left = line.budget.is_none_or(|most| begun.elapsed().as_secs() < most);
        while is_time_left && tasks.len() < line.jobs.max(1) {
            let Some(job) = jobs.next() else { break };
            let patience = Duration::from_secs(line.patience);
            tasks.spawn(whole(job, patience, clock.clone()));
        }
        let Some(ended) = tasks.join_next().await else { break };
        let (job, report, is_equal) = ended.map_err(|error| Failure::new(error.to_string()))?;
        tally.take(&job, &report, is_equal);
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let (done, broken) = (tally.seeds, tally.broken.len());
            note(format!("{done} of {total} seeds, {broken} with findings, {:?}", begun.elapsed()));
        }
    }
    drop(hogs);
    tally.tell(line, begun.elapsed());
    Ok(exit(tally.broken.len() + tally.unequal.len()))
}

/// Runs a seed, twice if it is to be compared.
async fn whole(job: Job, patience: Duration, twice: Option<Clock>) -> (Job, Report, bool) {
    let of_failure = |failure: Failure| Report {
        seed: if let Job::Seed { seed, .. } = job { seed } else { 0 },
        findings: vec![failure.to_string()],
        ..Report::default()
    };
    let first = one(&job, patience, &[]).await.unwrap_or_else(of_failure);
    let mut is_equal = true;
    if let Some(clock) = twice {
        let second = one(&job, patience, &clock).await.unwrap_or_else(of_failure);
        is_equal = first.digests() == second.digests() && first.findings == second.findings;
    }
    (job, first, is_equal)
}

/// What is set in the environment of the process of a second run, so that the machine's clocks run otherwise for it.
type Clock = Vec<(&'static str, String)>;

/// A clock by which the machine seems to be so slow that a simulation takes days.
fn hurried() -> Clock {
    match faketime() {
        Ok(library) => vec![("LD_PRELOAD", library), ("FAKETIME", format!("+0 x{HURRY}"))],
        Err(reason) => {
            note(format!("left out: another clock for the second of two runs, because {reason}"));
            Vec::new()
        }
    }
}

/// Runs a seed in a process of its own.
async fn one(job: &Job, patience: Duration, clock: &[(&str, String)]) -> Outcome<Report> {
    let program = std::env::current_exe()?;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &MEMORY_MAX.to_string()]);
    command.arg(program).arg("sim-seed").args(job.arguments());
    command.envs(clock.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(patience, command.output());
    let output =
        output.await.map_err(|_| Failure::new(format!("not done after {patience:?}")))??;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    report.ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = errors.lines().collect();
        let last = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join(" / ");
        Failure::new(format!("no report, {}: {last}", output.status))
    })
}

/// A process that keeps a processor busy.
fn hog() -> Outcome<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command.spawn()?)
}

impl Tally {
    fn take(&mut self, job: &Job, report: &Report, is_equal: bool) {
        self.seeds += 1;
        if !report.findings.is_empty() {
            self.broken.push(job.to_string());
            note(format!("FAILED: cluster-tests replay {job}"));
            report.findings.iter().take(4).for_each(|finding| note(format!("  {finding}")));
        }
        if !is_equal {
            self.unequal.push(job.to_string());
            note(format!("two runs differ: {job}"));
        }
        self.virtual_ms += report.virtual_ms;
        self.took_ms += report.took_ms;
        self.ok += report.ok;
        self.failed += report.failed;
        self.unknown += report.unknown;
        self.heard += report.heard;
        self.elections += report.elections;
        self.judged += report.judged;
        self.datagrams += report.datagrams;
        *self.nodes.entry(report.nodes).or_default() += 1;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        for (kind, count) in &report.skipped {
            *self.skipped.entry(kind.clone()).or_default() += count;
        }
        self.slowest.push((report.took_ms, report.seed));
        self.slowest.sort_unstable_by(|a, b| b.cmp(a));
        self.slowest.truncate(SLOWEST);
    }

    fn tell(&self, line: &Line, took: Duration) {
        let list = |counts: &BTreeMap<String, u64>| {
            let texts: Vec<_> =
                counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            texts.join(", ")
        };
        let nodes: Vec<_> = self.nodes.iter().map(|(nodes, n)| format!("{nodes}: {n}")).collect();
        let hours = self.virtual_ms / 36_000;
        figure(format!(
            "seeds: {} of {} s, {} with findings",
            self.seeds,
            line.seconds,
            self.broken.len()
        ));
        figure(format!("virtual hours: {}.{:02} in {took:.1?}", hours / 100, hours % 100));
        let per_seed = self.took_ms / self.seeds.max(1);
        figure(format!("real time: {per_seed} ms a seed, slowest (ms, seed): {:?}", self.slowest));
        let (ok, failed, unknown) = (self.ok, self.failed, self.unknown);
        figure(format!("operations: {ok} ok, {failed} failed, {unknown} unknown"));
        figure(format!("messages heard: {}", self.heard));
        figure(format!("datagrams: {}", self.datagrams));
        figure(format!("elections: {}", self.elections));
        figure(format!("votes, entries and applications judged: {}", self.judged));
        figure(format!("nodes at first (seeds): {}", nodes.join(", ")));
        figure(format!("faults: {}", list(&self.faults)));
        figure(format!("faults that could not be: {}", list(&self.skipped)));
        if line.twice {
            let (seeds, unequal) = (self.seeds, self.unequal.len());
            figure(format!("run twice: {seeds}, {unequal} of them not equal"));
        }
        if !self.broken.is_empty() {
            figure(format!("with findings: {:?}", self.broken));
        }
        if !self.unequal.is_empty() {
            figure(format!("whose runs differ: {:?}", self.unequal));
        }
    }
}
