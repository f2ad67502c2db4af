//! One run: a cluster, clients, one family of faults, the end, the verdict.
//!
//! Owns: the order of these. Does not own: what each of them does. Invariant: whatever happens after the cluster has formed, the history so
//! far is judged; a run that did not come to its end in order is rejected, never passed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate::time::Clock;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::book::Book;
use super::finals;
use super::janitor::Bench;
use super::load::{Load, Wanted};
use super::nemesis::{Abilities, Family, Fault, Field, Installed, Nemesis};
use super::samples::{self, Samples};
use super::scene;
use super::verdict::{End, Sum};
use super::workload::Workload;
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::history::{Head, Installation, Line};
use crate::network::Network;
use crate::process::{Group, Plan};
use crate::report::{self, About, Judgement};

/// How long the cluster is left alone between two.
const CALM: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));
/// How long the cluster may take to form, and to serve everywhere again once all faults are over.
const SETTLE_DEADLINE: Duration = Duration::from_secs(90);
/// Each node has a host of its own, since its namespace stands for one; snapshots come often, so that they meet faults.
const CONFIG: &str = "[cluster]\nvoters_target = {nodes}\n\n[consensus]\nsnapshot_log_bytes = \"256 KiB\"\n\n\
     [node]\nhost = \"host-{slot}\"\n";
/// The word that the command line of the program with a node inside begins with.
const EMBEDDED: &str = "jepsen-node";

/// What is to be run.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) family: Family,
    pub(super) nodes: usize,
    pub(super) time: Duration,
    pub(super) rate: u32,
    pub(super) workloads: Vec<Workload>,
    pub(super) rng_seed: Option<u64>,
    pub(super) is_durable: bool,
    pub(super) has_embedded: bool,
    pub(super) out: Option<PathBuf>,
    /// Whether memory and disk are measured and must not grow.
    pub(super) is_soak: bool,
    /// Whether one kind of the family's faults is enough.
    pub(super) is_brief: bool,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) end: End,
    /// The last lines: result, figures, reasons.
    pub(super) lines: Vec<String>,
}

/// Runs it; `missing` is why there is no network, if so.
///
/// # Errors
/// When the cluster does not form.
pub(super) async fn run(
    setup: &Setup,
    network: Option<Network>,
    missing: Option<&str>,
) -> Outcome<Report> {
    let abilities = Abilities::probe(missing);
    if let Some(reason) = abilities.missing(setup.family) {
        let lines = vec![format!("left out: {}: {reason}", setup.family)];
        return Ok(Report { end: End::LeftOut, lines });
    }
    let mut chance = Chance::new(setup.rng_seed);
    let folder = folder(setup, &chance);
    std::fs::create_dir_all(&folder)?;
    let config = CONFIG.replace("{nodes}", &setup.nodes.to_string());
    let group = Group::new(Plan { network, durable: setup.is_durable, config })?;
    let slots: Vec<usize> = (1..=setup.nodes).collect();
    let rng_seed = chance.rng_seed();
    let mut field = Field::new(group, slots.clone(), chance.branch(), abilities);
    if setup.has_embedded {
        let program = (std::env::current_exe()?, EMBEDDED.to_owned());
        field.group.own(setup.nodes).program = Some(program);
    }
    let mut nemesis = Nemesis::new(setup.family);
    if let Err(failure) = form(setup, &mut nemesis, &mut field).await {
        let kept = field.group.keep().display().to_string();
        return Err(failure.during(format!("forming the cluster; logs are kept in {kept}")));
    }
    let book = Arc::new(Book::new());
    book.recorder.to_file(&folder.join("history.jsonl"))?;
    book.recorder.record(Line::Head(head(setup, rng_seed)));
    let bench = Bench { book, sum: Arc::default(), gate: Arc::new(Semaphore::new(1)) };
    let mut run =
        Run { setup, chance, nemesis, field, bench, reasons: Vec::new(), samples: Samples::new() };
    let elapsed = run.all().await;
    run.conclude(&folder, elapsed)
}

/// Where the history goes.
fn folder(setup: &Setup, chance: &Chance) -> PathBuf {
    setup.out.clone().unwrap_or_else(|| {
        // Process ids are no help: in a namespace of its own each run has the same.
        let (seed, now) = (chance.rng_seed(), Clock::system().now().as_millis());
        let name = format!("jepsen-{}-{}-{seed}-{now}", setup.family, setup.nodes);
        std::env::temp_dir().join(name)
    })
}

async fn form(setup: &Setup, nemesis: &mut Nemesis, field: &mut Field) -> Outcome {
    nemesis.prepare(field).await?;
    field.group.start(&field.slots.clone()).await?;
    field.group.settle(setup.nodes, SETTLE_DEADLINE).await
}

fn head(setup: &Setup, rng_seed: u64) -> Head {
    let names: Vec<&str> = setup.workloads.iter().map(|workload| workload.name()).collect();
    let started = Clock::system().now().as_millis() / 1000;
    Head {
        rng_seed,
        nodes: u8::try_from(setup.nodes).unwrap_or(u8::MAX),
        workload: names.join(","),
        faults: setup.family.to_string(),
        started: format!("{started} s after 1970"),
    }
}

struct Run<'a> {
    setup: &'a Setup,
    chance: Chance,
    nemesis: Nemesis,
    field: Field,
    bench: Bench,
    /// Why the run is to be rejected.
    reasons: Vec<String>,
    samples: Samples,
}

impl Run<'_> {
    /// Everything between the forming of the cluster and the verdict; gives how long clients were at work.
    async fn all(&mut self) -> Duration {
        let stop = Arc::new(AtomicBool::new(false));
        let book = Arc::clone(&self.bench.book);
        let (doors, diary) = (self.field.group.doors(), self.field.group.diary());
        let fault = scene::Fault::default();
        let watching = scene::watch(&book, doors.clone(), diary, fault.clone(), &stop);
        let Setup { workloads, rate, .. } = self.setup;
        let sampling = samples::start(&book, &self.field.group, &self.field.slots, &stop);
        let wanted = Wanted { workloads, rate: *rate, slots: &self.field.slots.clone() };
        let mut load = Load::start(&wanted, &self.bench, &doors, &mut self.chance);
        let begun = Instant::now();
        if let Err(failure) = self.trouble(begun + self.setup.time, &fault).await {
            self.reasons.push(format!("the nemesis: {failure}"));
        }
        let elapsed = begun.elapsed();
        fault.set("the end");
        if let Err(failure) = load.stop_asking().await {
            self.reasons.push(failure.to_string());
        }
        let result = self.last_phase(&load).await;
        if let Err(failure) = result {
            self.reasons.push(format!("the last phase: {failure}"));
        }
        if let Err(failure) = load.stop_listening().await {
            self.reasons.push(failure.to_string());
        }
        stop.store(true, Ordering::Relaxed);
        if watching.await.is_err() {
            self.reasons.push("the watcher broke".to_owned());
        }
        match sampling.await {
            Ok(samples) => self.samples = samples,
            Err(error) => self.reasons.push(format!("the samples broke: {error}")),
        }
        for key in book.live_keys() {
            match Workload::of(&key) {
                Some(workload) => self.bench.judge(workload, key).await,
                None => self.reasons.push(format!("nobody knows the key {key}")),
            }
        }
        elapsed
    }

    /// Does one fault after the other until `until`, and leaves none.
    async fn trouble(&mut self, until: Instant, shown: &scene::Fault) -> Outcome {
        let result = loop {
            let calm = self.field.chance.between(CALM.0, CALM.1);
            shown.set("calm");
            let wait = calm.min(until.saturating_duration_since(Instant::now()));
            sleep(wait).await;
            if Instant::now() >= until {
                break Ok(());
            }
            if self.setup.family == Family::None {
                continue;
            }
            let at = self.bench.book.now();
            // Told before it is there, for keys are judged while it comes about.
            let coming = Fault::indeterminate(self.setup.family, "on its way", "");
            self.record(at, None, &coming);
            let fault = self.nemesis.install(&mut self.field).await;
            shown.set(fault.to_string());
            self.record(at, None, &fault);
            self.record(at, Some(self.bench.book.now()), &coming);
            let (least, most) = self.setup.family.lasts();
            let harm = self.field.chance.between(least, most);
            let held = self.nemesis.hold(&mut self.field, harm).await;
            shown.set(format!("healing: {fault}"));
            let healed = self.nemesis.heal(&mut self.field).await;
            self.record(at, Some(self.bench.book.now()), &fault);
            if let Err(failure) = held.and(healed) {
                break Err(failure.during(fault));
            }
        };
        // Once more, also when it broke in the middle: the last phase needs every node.
        self.nemesis.heal(&mut self.field).await.and(result)
    }

    fn record(&self, at: u64, until: Option<u64>, fault: &Fault) {
        let (outcome, text) = match &fault.installed {
            Installed::Installed(text) => (Installation::Installed, text),
            Installed::Skipped(text) => (Installation::Skipped, text),
            Installed::Indeterminate(text) => (Installation::Indeterminate, text),
        };
        let family = format!("{}, {}", fault.family, fault.mode);
        self.bench.book.aside(Line::Fault { at, until, family, text: text.clone(), outcome });
    }

    async fn last_phase(&mut self, load: &Load) -> Outcome {
        self.field.group.settle(self.setup.nodes.min(5), SETTLE_DEADLINE).await?;
        let doors = self.field.group.open();
        finals::read_all(&self.bench.book, &doors).await?;
        let teams: Vec<_> = load.teams(Workload::PubSub).cloned().collect();
        finals::publish_all(&self.bench.book, &doors, &teams).await
    }

    fn conclude(mut self, folder: &Path, elapsed: Duration) -> Outcome<Report> {
        let book = &self.bench.book;
        self.reasons.extend(book.troubles());
        let required = self.nemesis.required(self.setup.nodes);
        let missing = self.field.modes.missing(&required);
        let missing =
            if self.setup.is_brief && missing.len() < required.len() { vec![] } else { missing };
        self.reasons.extend(missing.into_iter().map(|mode| format!("never installed: {mode}")));
        self.reasons.extend(panics(self.field.group.folder())?);
        if let Err(failure) = book.recorder.flush() {
            self.reasons.push(failure.to_string());
        }
        let (mut lines, grown) = samples::judge(&self.samples);
        if self.setup.is_soak {
            self.reasons.extend(grown);
        }
        let sum = std::mem::take(&mut *self.sum());
        let end = match () {
            () if sum.found > 0 => End::Invalid,
            () if sum.is_unknown => End::Unknown,
            () if !self.reasons.is_empty() => End::Rejected,
            () => End::Valid,
        };
        lines.extend(self.lines(&sum, end, elapsed));
        if end == End::Valid && self.setup.out.is_none() {
            std::fs::remove_dir_all(folder)?;
        } else {
            self.show(&sum, end, &lines, folder)?;
            lines.push(format!("history.jsonl and report.html are in {}", folder.display()));
        }
        if end != End::Valid {
            lines.push(format!("logs and data are kept in {}", self.field.group.keep().display()));
        }
        Ok(Report { end, lines })
    }

    /// Writes the page on the run.
    fn show(&self, sum: &Sum, end: End, lines: &[String], folder: &Path) -> Outcome {
        let Setup { family, nodes, .. } = self.setup;
        let judgement = match end {
            End::Valid => Judgement::Passed,
            End::Invalid => Judgement::Broken,
            End::Unknown | End::Rejected | End::LeftOut => Judgement::Unknown,
        };
        let mut about = About {
            title: format!("{family}, {nodes} nodes"),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            judgement,
            remarks: lines.to_vec(),
            ..About::default()
        };
        sum.findings.iter().for_each(|text| about.found(text));
        report::write_of_file(&folder.join("report.html"), &folder.join("history.jsonl"), &about)
    }

    fn sum(&self) -> std::sync::MutexGuard<'_, Sum> {
        let sum: &Mutex<Sum> = &self.bench.sum;
        sum.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self, sum: &Sum, end: End, elapsed: Duration) -> Vec<String> {
        let Setup { family, nodes, .. } = self.setup;
        let book = &self.bench.book;
        let mut lines: Vec<String> =
            sum.findings.iter().map(|finding| format!("FOUND: {finding}")).collect();
        if sum.found > 0 {
            lines.push(format!("FOUND: {} findings in all", sum.found));
        }
        lines.extend(self.reasons.iter().map(|reason| format!("REJECTED: {reason}")));
        for (workload, counts) in book.by_workload() {
            let each = counts.ok + counts.failed + counts.unknown;
            lines.push(format!(
                "figure: {workload}: {each} operations, {} failed, {} unknown",
                counts.failed, counts.unknown
            ));
        }
        lines.push(format!(
            "figure: latency: half within {:.1} ms, 99 % within {:.1} ms, 99.9 % within {:.1} ms",
            book.latency(500),
            book.latency(990),
            book.latency(999)
        ));
        let counts = book.counts();
        let rate = counts.ok as f64 / elapsed.as_secs_f64().max(0.001);
        let faults = self.field.modes.to_string();
        let faults = if faults.is_empty() { "none".to_owned() } else { faults };
        lines.push(format!(
            "jepsen: {family} {nodes} nodes {:.1} min: {} operations ({}/{}/{}), {rate:.0} ops/s, faults: {faults}; \
             {} keys checked by {}: {}",
            elapsed.as_secs_f64() / 60.0,
            counts.all(),
            counts.ok,
            counts.failed,
            counts.unknown,
            sum.keys,
            sum.checkers(),
            end.word()
        ));
        lines
    }
}

/// Gives each log of a node in which somebody panicked.
fn panics(folder: &Path) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let panic = text.lines().find(|line| line.contains("panicked at"));
        found.extend(panic.map(|line| format!("{}: {line}", path.display())));
    }
    found.sort();
    Ok(found)
}

impl From<Report> for std::process::ExitCode {
    fn from(report: Report) -> Self {
        report.end.code()
    }
}

/// Fails unless there are three or five nodes.
///
/// # Errors
/// When there are not.
pub(super) fn check_nodes(nodes: usize) -> Outcome {
    let text = format!("{nodes} nodes: there can be 3 or 5");
    if matches!(nodes, 3 | 5) { Ok(()) } else { Err(Failure::new(text)) }
}
