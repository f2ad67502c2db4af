//! Does each family of faults to three real nodes under a little load, each family in a network of its own.
//!
//! Owns: one short run of each: a fault is installed, held, healed, and every node serves again. Does not own: the faults. Words
//! choose families by their names, `--all-modes` goes on until each mode that a run must have was there, `--rng-seed N` repeats
//! what is left to chance. Invariant: what this machine cannot do is named, and nothing counts as passed that was not installed.
#![expect(clippy::print_stdout, reason = "this is a test program; its output is its result")]

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cluster_tests::chance::Chance;
use cluster_tests::door::{Door, Effect, attempt};
use cluster_tests::failure::{Failure, Outcome};
use cluster_tests::jepsen::nemesis::{Abilities, Family, Field, Nemesis};
use cluster_tests::network::{self, Entered};
use cluster_tests::process::{Group, Plan};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long a fault lasts.
const HOLD: Duration = Duration::from_millis(2_500);
/// How long the nodes may take to form their cluster.
const SETTLE: Duration = Duration::from_secs(60);
/// Small snapshots, and each node on a host of its own.
const CONFIG: &str =
    "[consensus]\nsnapshot_log_bytes = \"256 KiB\"\n\n[node]\nhost = \"host-{slot}\"\n";
/// The word that says which family this process does.
const ONE: &str = "--family";
/// The exit code of a family that was left out.
const LEFT_OUT: u8 = 77;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    if let Some(name) = after(ONE) {
        return inside(&name, &arguments, after("--rng-seed").and_then(|text| text.parse().ok()));
    }
    let is_value = |at: usize| at > 0 && arguments.get(at - 1).is_some_and(|it| it == "--rng-seed");
    let words: Vec<&String> = arguments
        .iter()
        .enumerate()
        .filter(|(at, it)| !it.starts_with('-') && !is_value(*at))
        .map(|(_, word)| word)
        .collect();
    let wanted: Vec<Family> = Family::ALL
        .into_iter()
        .filter(|family| words.is_empty() || words.iter().any(|word| family.name().contains(*word)))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        wanted.iter().for_each(|family| println!("{family}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed, mut left_out) = (0, Vec::new(), 0);
    for family in wanted {
        let this = std::env::current_exe().map(Command::new);
        let status =
            this.and_then(|mut it| it.args([ONE, family.name()]).args(&arguments).status());
        match status.ok().and_then(|status| status.code()) {
            Some(0) => passed += 1,
            Some(code) if code == i32::from(LEFT_OUT) => left_out += 1,
            _ => failed.push(family.name()),
        }
    }
    println!(
        "nemesis: {passed} passed, {} failed, {left_out} left out {}",
        failed.len(),
        failed.join(" ")
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Does one family, in a network of its own.
fn inside(name: &str, arguments: &[String], rng_seed: Option<u64>) -> ExitCode {
    let entered = match network::enter() {
        Ok(Entered::Ended(code)) => return code,
        Ok(Entered::Inside(network)) => Ok(network),
        Ok(Entered::Missing(why)) => Err(why),
        Err(failure) => Err(failure.to_string()),
    };
    let family: Family = match name.parse() {
        Ok(family) => family,
        Err(failure) => {
            println!("{failure}");
            return ExitCode::FAILURE;
        }
    };
    let abilities = Abilities::probe(entered.as_ref().err().map(String::as_str));
    if let Some(why) = abilities.missing(family) {
        println!("left out: {family}: {why}");
        return ExitCode::from(LEFT_OUT);
    }
    let all_modes = arguments.iter().any(|argument| argument == "--all-modes");
    let chance = Chance::new(rng_seed);
    println!("{family}: seed {}", chance.rng_seed());
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                println!("{error}");
                return ExitCode::FAILURE;
            }
        };
    let plan = Plan { network: entered.ok(), durable: family.needs_disk(), config: CONFIG.into() };
    match runtime.block_on(one(family, plan, abilities, chance, all_modes)) {
        Ok(()) => {
            println!("ok    {family}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAIL  {family}: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn one(
    family: Family,
    plan: Plan,
    abilities: Abilities,
    mut chance: Chance,
    all_modes: bool,
) -> Outcome {
    let slots = vec![1, 2, 3];
    let group = Group::new(plan)?;
    let mut field = Field::new(group, slots.clone(), chance.branch(), abilities);
    let mut nemesis = Nemesis::new(family);
    nemesis.prepare(&mut field).await?;
    field.group.start(&slots).await?;
    field.group.settle(3, SETTLE).await?;
    let load = Load::start(field.group.doors());
    let result = faults(&mut nemesis, &mut field, all_modes, &load).await;
    let written = load.finish();
    println!("{family}: {written} writes answered; {}", field.modes);
    if result.is_err() && std::env::var_os("QUORATE_TEST_KEEP").is_some() {
        println!("logs are kept in {}", field.group.keep().display());
    }
    result
}

async fn faults(nemesis: &mut Nemesis, field: &mut Field, all_modes: bool, load: &Load) -> Outcome {
    let required = nemesis.required(field.slots.len());
    let tries = if all_modes { required.len() * 2 + 4 } else { 3 };
    for _ in 0..tries {
        let begun = Instant::now();
        let fault = nemesis.install(field).await;
        println!("  {fault} ({} ms)", begun.elapsed().as_millis());
        nemesis.hold(field, HOLD).await?;
        let healing = Instant::now();
        nemesis.heal(field).await.map_err(|failure| failure.during(format!("after {fault}")))?;
        let before = load.done.load(Ordering::Relaxed);
        println!("  whole again after {} ms; {before} writes", healing.elapsed().as_millis());
        let missing = field.modes.missing(&required);
        if (fault.is_installed() && !all_modes) || missing.is_empty() {
            return Ok(());
        }
    }
    Err(Failure::new(format!("never installed: {}", field.modes.missing(&required).join("; "))))
}

/// A few clients that write.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(doors: watch::Receiver<Vec<Door>>) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients = (0..3)
            .map(|id| tokio::spawn(write(id, doors.clone(), Arc::clone(&stop), Arc::clone(&done))));
        let clients = clients.collect();
        Self { stop, done, clients }
    }

    fn finish(&self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in &self.clients {
            client.abort();
        }
        self.done.load(Ordering::Relaxed)
    }
}

async fn write(
    id: usize,
    doors: watch::Receiver<Vec<Door>>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) {
    let key = format!("load{id}");
    let mut number = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let door = {
            let doors = doors.borrow();
            doors.get((id + number) % doors.len().max(1)).cloned()
        };
        let Some(mut client) = (match door {
            Some(door) => door.open().await.ok(),
            None => None,
        }) else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        for _ in 0..200 {
            match attempt(&mut client, &[b"SET", key.as_bytes(), &[b'v'; 100]]).await {
                Effect::Done(_) => done.fetch_add(1, Ordering::Relaxed),
                Effect::Refused(_) | Effect::Unknown(_) | Effect::Cut => break,
            };
            sleep(Duration::from_millis(2)).await;
        }
    }
}
