//! A rolling restart: every node leaves as planned and a new process takes its place, under load.
//!
//! Owns: the load, whose clients go to another node when theirs leaves, the restarts, the measure. Does not own: the
//! processes. Invariant: no reply is an error. A connection may end without the reply to a command that the leaving node has
//! not read; the client sends it again elsewhere, and there it must turn out that it had no effect.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::client::Client;
use crate::door::{Door, Effect, another, attempt, check_keys, figures, read_number};
use crate::failure::{Failure, Outcome};
use crate::process::{Group, Plan};
use crate::reply::Reply;

/// How long the cluster may take to be whole again after a restart.
const SETTLE_DEADLINE: Duration = Duration::from_secs(30);
/// How long a client looks for a node that takes its write.
const SEARCH_DEADLINE: Duration = Duration::from_secs(20);

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// How many nodes there are, each of which is restarted once
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// How many clients write, one command after the other
    #[arg(long, default_value_t = 20)]
    writers: usize,
    /// Keep the state on disk, so that each node comes back as the same one
    #[arg(long)]
    disk: bool,
    /// The seed of what is left to chance
    #[arg(long)]
    rng_seed: Option<u64>,
    /// The worst write delay above which the run fails
    #[arg(long, value_name = "MILLISECONDS")]
    delay_max: Option<u64>,
}

/// What one writer knows: its keys hold their numbers, and its counter counts them.
#[derive(Debug, Default)]
struct Record {
    id: usize,
    acknowledged: Vec<u64>,
    delays: Vec<Duration>,
    /// Connections that ended while nothing was under way on them, or something that was not read.
    moved: usize,
    /// Commands that were sent again, because their connection ended before they were read.
    repeated: usize,
    failed: Vec<String>,
}

/// Runs it, and prints a line for each restart and one for all.
///
/// # Errors
/// When a write fails, is lost, or was done without a reply.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub async fn run(line: &Line) -> Outcome {
    let mut group = Group::new(Plan { durable: line.disk, ..Plan::default() })?;
    let result = restarts(line, &mut group).await;
    if result.is_err() {
        println!("logs are kept in {}", group.keep().display());
    }
    result
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn restarts(line: &Line, group: &mut Group) -> Outcome {
    let mut chance = Chance::new(line.rng_seed);
    println!("seed {}", chance.rng_seed());
    group.start(&(1..=line.nodes).collect::<Vec<_>>()).await?;
    let voters = line.nodes.min(3);
    group.settle(voters, SETTLE_DEADLINE).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<JoinHandle<Record>> = (0..line.writers)
        .map(|id| tokio::spawn(write(id, group.doors(), chance.branch(), Arc::clone(&stop))))
        .collect();
    sleep(Duration::from_secs(1)).await;
    let restarted = restart_each(line, group, voters).await;
    sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let mut records = Vec::new();
    for writer in writers {
        records
            .push(writer.await.map_err(|error| Failure::new(format!("a writer broke: {error}")))?);
    }
    println!("{}", Summary(&records));
    for failed in records.iter().flat_map(|record| record.failed.iter()).take(10) {
        println!("failed: {failed}");
    }
    restarted?;
    if let Some(failed) = records.iter().find_map(|record| record.failed.first()) {
        return Err(Failure::new(format!("a write failed: {failed}")));
    }
    for door in group.open() {
        check(&door, &records)
            .await
            .map_err(|failure| failure.during(format!("n{}", door.slot)))?;
    }
    let worst = records.iter().flat_map(|record| record.delays.iter()).max();
    match (line.delay_max.map(Duration::from_millis), worst) {
        (Some(limit), Some(worst)) if *worst > limit => {
            Err(Failure::new(format!("the worst delay of {worst:?} exceeds {limit:?}")))
        }
        _ => Ok(()),
    }
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn restart_each(line: &Line, group: &mut Group, voters: usize) -> Outcome {
    for slot in 1..=line.nodes {
        let role = if group.leader().await? == slot { " (the leader)" } else { "" };
        let left = group.leave(&[slot]).await?.first().copied().unwrap_or_default();
        let begun = Instant::now();
        group.start(&[slot]).await?;
        let started = begun.elapsed();
        group.settle(voters, SETTLE_DEADLINE).await?;
        println!(
            "n{slot}{role}: left within {} ms, served again {} ms after its start, whole {} ms after it",
            left.as_millis(),
            started.as_millis(),
            begun.elapsed().as_millis()
        );
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

struct Summary<'a>(&'a [Record]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Record) -> usize| self.0.iter().map(of).sum::<usize>();
        let mut delays: Vec<Duration> =
            self.0.iter().flat_map(|record| record.delays.iter().copied()).collect();
        let writes = delays.len();
        write!(f, "rolling restart: {writes} writes, {} failed, ", sum(|r| r.failed.len()))?;
        write!(f, "{} connections moved, {} commands ", sum(|r| r.moved), sum(|r| r.repeated))?;
        f.write_str("sent again because the leaving node had not read them")?;
        if let Some([median, most, worst]) = figures(&mut delays) {
            write!(f, "; write delay median {median:?}, p99 {most:?}, worst {worst:?}")?;
        }
        Ok(())
    }
}

/// Where a writer is connected, and how it moves on.
struct Roamer {
    doors: watch::Receiver<Vec<Door>>,
    chance: Chance,
    slot: Option<usize>,
    client: Option<Client>,
}

impl Roamer {
    /// Takes the open connection, or finds another node.
    async fn client(&mut self) -> Outcome<&mut Client> {
        let deadline = Instant::now() + SEARCH_DEADLINE;
        while self.client.is_none() {
            let doors = self.doors.borrow().clone();
            if let Some(door) = another(&doors, self.slot, &mut self.chance) {
                self.slot = Some(door.slot);
                self.client = door.open().await.ok();
            }
            if self.client.is_none() {
                if Instant::now() > deadline {
                    return Err(Failure::new(format!(
                        "no node lets in within {SEARCH_DEADLINE:?}"
                    )));
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
        self.client.as_mut().ok_or_else(|| Failure::new("no connection"))
    }
}

async fn write(
    id: usize,
    doors: watch::Receiver<Vec<Door>>,
    chance: Chance,
    stop: Arc<AtomicBool>,
) -> Record {
    let mut record = Record { id, ..Record::default() };
    let mut roamer = Roamer { doors, chance, slot: None, client: None };
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) && record.failed.len() < 3 {
        number += 1;
        let begun = Instant::now();
        match write_once(&mut roamer, &mut record, number).await {
            Ok(()) => {
                record.acknowledged.push(number);
                record.delays.push(begun.elapsed());
            }
            Err(failure) => record.failed.push(failure.to_string()),
        }
    }
    record
}

/// Writes key and counter in one transaction, at another node if this one closes before it has read it. A repetition
/// that finds the key there proves that the first attempt was done without its reply.
async fn write_once(roamer: &mut Roamer, record: &mut Record, number: u64) -> Outcome {
    let (key, value) = (format!("o{}:{number}", record.id), number.to_string());
    let mut is_repeated = false;
    loop {
        let client = roamer.client().await?;
        let arguments: [&[u8]; 4] = [b"SET", key.as_bytes(), value.as_bytes(), b"NX"];
        let effect = attempt(client, &arguments).await;
        let place = roamer.slot.unwrap_or(0);
        match effect {
            Effect::Done(Reply::Simple(_)) => break,
            Effect::Cut => {
                record.moved += 1;
                record.repeated += usize::from(!is_repeated);
                is_repeated = true;
                roamer.client = None;
            }
            Effect::Done(reply) if is_repeated => {
                let text = format!("{key} was written at a leaving node without a reply: {reply}");
                return Err(Failure::new(text));
            }
            other @ (Effect::Done(_) | Effect::Refused(_) | Effect::Unknown(_)) => {
                roamer.client = None;
                return Err(Failure::new(format!("SET {key} at n{place}: {other:?}")));
            }
        }
    }
    // A counter cannot be told apart from its repetition, so that it is compared at the end.
    loop {
        let client = roamer.client().await?;
        let counter = format!("oc{}", record.id);
        let effect = attempt(client, &[b"INCR", counter.as_bytes()]).await;
        let place = roamer.slot.unwrap_or(0);
        match effect {
            Effect::Done(Reply::Integer(count)) if count.to_string() == value => return Ok(()),
            Effect::Cut => {
                record.moved += 1;
                record.repeated += 1;
                roamer.client = None;
            }
            other @ (Effect::Done(_) | Effect::Refused(_) | Effect::Unknown(_)) => {
                roamer.client = None;
                let text = format!("INCR {counter} at n{place}, to {number}: {other:?}");
                return Err(Failure::new(text));
            }
        }
    }
}

async fn check(door: &Door, records: &[Record]) -> Outcome {
    let mut client = door.open().await?;
    for record in records {
        check_keys(&mut client, &format!("o{}:", record.id), &record.acknowledged).await?;
        let counted =
            read_number(&mut client, &[b"GET", format!("oc{}", record.id).as_bytes()]).await?;
        if counted != record.acknowledged.len() as u64 {
            let text = format!("oc{} is {counted}, not {}", record.id, record.acknowledged.len());
            return Err(Failure::new(text));
        }
    }
    Ok(())
}
