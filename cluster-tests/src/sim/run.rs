//! One seed from beginning to end.
//!
//! Owns the two phases and the report. Does not own what happens in them. Invariant: a run uses nothing of the process that it
//! runs in but the processor: a process runs one seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::clients::ground::Ground;
use super::fault::Kind;
use super::nemesis::Nemesis;
use super::scenario::Step;
use super::settle;
use super::setup::Setup;
use super::world::World;
use crate::check::{Rules, check};
use crate::failure::Failure;
use crate::history::{Head, Line, Outcome, Recorder};

/// How much of a run, in hundredths, has faults.
const FAULTS_SHARE: u32 = 65;
/// How many keys of each workload are in use at once.
const KEYS: usize = 3;

/// What a run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What must not be.
    pub findings: Vec<String>,
    /// How long it was, in virtual milliseconds.
    pub virtual_ms: u64,
    /// How long it took, in milliseconds. Not the same in every run.
    pub took_ms: u64,
    /// How many nodes it began with.
    pub nodes: usize,
    /// Operations by outcome.
    pub ok: u64,
    /// Those that surely had no effect.
    pub failed: u64,
    /// Those of which nobody knows.
    pub unknown: u64,
    /// Messages heard.
    pub heard: u64,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Faults that could not happen.
    pub skipped: BTreeMap<String, u64>,
    /// How many terms had a leader.
    pub elections: u64,
    /// How many votes, entries and applications the invariants were held to.
    pub judged: u64,
    /// How many datagrams were sent.
    pub datagrams: u64,
    /// A hash of all datagrams' times, addresses, lengths and fates.
    pub trace: u64,
    /// A hash of all their bytes.
    pub contents: u64,
    /// A hash of the history.
    pub history: u64,
    /// A hash of what all nodes had at the end.
    pub state: u64,
    /// The last events, if something was found.
    pub events: Vec<String>,
}

impl Report {
    /// What must be equal when a seed is run again.
    #[must_use]
    pub const fn digests(&self) -> [u64; 4] {
        [self.trace, self.contents, self.history, self.state]
    }
}

/// FNV-1a.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Runs a setup on a thread of its own, whose generators and clocks are then fresh. Gives the report and the history.
///
/// # Errors
/// When the thread cannot be had or has panicked.
#[expect(clippy::disallowed_methods, reason = "how long it took is told, and decides nothing")]
pub fn run(
    setup: Setup,
    steps: Vec<Step>,
    is_verbose: bool,
) -> Result<(Report, Vec<Line>), Failure> {
    let begun = Instant::now();
    let thread = std::thread::Builder::new().name("world".to_owned()).stack_size(16 << 20);
    let thread = thread.spawn(move || {
        seeded::seed(setup.seed);
        whole(setup, steps, is_verbose)
    })?;
    let (mut report, lines) = thread.join().map_err(|_| Failure::new("the run has panicked"))?;
    report.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok((report, lines))
}

fn whole(setup: Setup, mut steps: Vec<Step>, is_verbose: bool) -> (Report, Vec<Line>) {
    let recorder = Recorder::new();
    recorder.record(Line::Head(Head {
        rng_seed: setup.seed,
        nodes: u8::try_from(setup.nodes).unwrap_or(u8::MAX),
        workload: format!("{:?}", setup.workloads),
        faults: setup.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        started: String::new(),
    }));
    let ground = Ground::new(recorder.clone(), &setup.workloads, KEYS);
    let length = Duration::from_millis(setup.length_ms);
    let mut world = World::new(setup, ground, is_verbose);
    let mut nemesis = Nemesis::new(&world);
    world.run_until(length * FAULTS_SHARE / 100, |world| {
        while let Some(place) = steps.iter().position(|step| at_seconds(step.at) <= world.now) {
            let step = steps.remove(place);
            world.inject(step.fault, step.target, at_seconds(step.length));
        }
        nemesis.act(world);
        false
    });
    world.heal_all();
    settle::wait_for_rest(&mut world);
    world.run_until(length, |_| false);
    settle::end_load(&mut world);
    settle::last_words(&mut world);
    let state = settle::compare_states(&mut world);
    let lines = recorder.lines();
    judge(&mut world, &lines);
    find_threads(&mut world);
    let mut report = of_world(&world, &lines);
    report.state = state;
    (report, lines)
}

fn at_seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Tells of machines on which something ran beside the simulation, so that the seed may give something else next time.
fn find_threads(world: &mut World) {
    let with_threads = world.hosts.iter().filter(|host| host.has_threads());
    let numbers: Vec<_> = with_threads.map(|host| host.number).collect();
    for number in numbers {
        world.find(format!("n{number} has started a thread, which no seed governs"));
    }
}

/// Has the history judged.
fn judge(world: &mut World, lines: &[Line]) {
    let verdict = check(lines, &rules(&world.setup));
    for finding in &verdict.findings {
        world.find(finding.to_string());
    }
    for text in &verdict.undecided {
        world.find(format!("undecided: {text}"));
    }
}

/// What a cluster with these settings promises.
fn rules(setup: &Setup) -> Rules {
    let times = &setup.times;
    let has = |kind: &Kind| setup.faults.contains(kind);
    let is_wall_off = [Kind::Skew, Kind::Strobe].iter().any(has);
    // The first leader after a stop of all nodes takes its wall clock. One whose monotonic clock runs at another rate takes
    // the deadlines with it.
    let is_unbounded = has(&Kind::Rate) || setup.is_durable && is_wall_off;
    Rules {
        expiry_epsilon_ms: if is_unbounded {
            400_000_000
        } else {
            Rules::default().expiry_epsilon_ms
        },
        bound_gone_within_ms: times.session + 10 * times.election_max + 2_000,
        settle_ms: times.session + 4_000,
        findings_max: 3,
        ..Rules::default()
    }
}

fn of_world(world: &World, lines: &[Line]) -> Report {
    let trace = world.network.trace();
    let mut report = Report {
        seed: world.setup.seed,
        findings: world.findings().to_vec(),
        virtual_ms: u64::try_from(world.now.as_millis()).unwrap_or(u64::MAX),
        nodes: world.setup.nodes,
        faults: world.installed.clone(),
        skipped: world.skipped.clone(),
        elections: world.elections() as u64,
        judged: world.judged(),
        datagrams: trace.sent,
        trace: trace.digest,
        contents: trace.contents,
        ..Report::default()
    };
    let mut bytes = Vec::new();
    for line in lines {
        match line {
            Line::Operation(operation) => match &operation.outcome {
                Outcome::Ok(_) => report.ok += 1,
                Outcome::Failed(_) => report.failed += 1,
                Outcome::Unknown(_) => report.unknown += 1,
            },
            Line::Heard { .. } => report.heard += 1,
            _ => {}
        }
        // A line that cannot be written has no digest, in any run.
        bytes.extend(serde_json::to_vec(line).unwrap_or_default());
    }
    report.history = digest(&bytes);
    if !report.findings.is_empty() {
        report.events = world.events();
    }
    report
}
