//! Nodes with a disk: what was acknowledged outlives every process, and damage is never served as data.
//!
//! Owns: the order of kills, damage, full disks and power cuts. Does not own: the load and its check. Invariant: a node that
//! comes back has its id, and every acknowledged write is read through every node; one that cannot says why and ends with 1.

mod damage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use self::damage::{Damage, KINDS};
use crate::disks;
use crate::failover;
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::load::{self, Record, Writers};
use crate::process::{Cluster, Node, NodeOptions, Process, Signal, wait_for};

/// How long a node may take to come up or to say why it does not.
const START: Duration = Duration::from_secs(30);
/// Writers of different rounds have ids this far apart.
const ROUND: usize = 1000;

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many times all nodes are killed at once
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// How many kinds of damage are tried on each file of one node of three, and of a node alone
    #[arg(long, default_value_t = 8)]
    damages: usize,
    /// How many times a disk is full
    #[arg(long, default_value_t = 1)]
    full: usize,
    /// How many times the power is cut; needs root and loop devices
    #[arg(long, default_value_t = 5)]
    power: usize,
    /// Clients at each node, which write one after the other
    #[arg(long, default_value_t = 4)]
    writers: usize,
}

/// What one round has shown.
#[derive(Debug, Clone)]
struct Round {
    total: load::Total,
    up: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load::Total { acknowledged, unknown } = self.total;
        let up = figures::text(self.up);
        write!(f, "serving again {up} after the start, {acknowledged} writes acknowledged ")?;
        write!(f, "and all there, {unknown} unknown")
    }
}

/// Runs everything and prints what it has shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let mut failures = 0;
    if line.rounds > 0 {
        failures += kills(line).await?;
    }
    if line.damages > 0 {
        failures += figures::failed("damage to one of three", damage_one_of_three(line).await);
        failures += figures::failed("damage to a node alone", damage_a_node_alone(line).await);
    }
    if line.full > 0 {
        let full = figures::rounds("disk full", line.full, async |_| full_disk(line).await).await;
        failures += full.failed;
    }
    if line.power > 0 {
        failures += power_cuts(line).await?;
    }
    Ok(figures::exit(failures))
}

/// A snapshot each 64 KiB of the log, so that kills and damage meet snapshots and all that happens around them.
const CONFIG: &str = "[consensus]\nsnapshot_log_bytes = \"64 KiB\"\n";

/// Starts nodes whose data lies in `folder`, or in the cluster's own if there is none.
async fn durable(count: usize, folder: Option<&Path>) -> Outcome<Cluster> {
    Cluster::start_with(count, |index, options, own| {
        let (data, config) = (data_of(folder.unwrap_or(own), index), own.join("durable.toml"));
        std::fs::write(&config, CONFIG)?;
        let pairs = [("--data-dir", data), ("--config", config)];
        options.more =
            pairs.map(|(flag, path)| [flag.to_owned(), path.display().to_string()]).concat();
        Ok(())
    })
    .await
}

fn data_of(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("data{}", index + 1))
}

fn ids(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| node.id.clone()).collect()
}

/// Kills all nodes, the next one at once, and waits until they are gone.
async fn kill_all(cluster: &mut Cluster) -> Outcome {
    cluster.nodes.iter_mut().try_for_each(|node| node.process.signal(Signal::Kill))?;
    for node in &mut cluster.nodes {
        node.process.wait(START).await?;
    }
    Ok(())
}

/// Reads everything back through every node.
async fn check(cluster: &Cluster, records: &[Record]) -> Outcome {
    for address in cluster.resp() {
        load::check(address, records).await?;
    }
    Ok(())
}

async fn kills(line: &Line) -> Outcome<usize> {
    let mut cluster = durable(3, None).await?;
    let first = ids(&cluster);
    let mut all = Vec::new();
    let rounds = figures::rounds("all killed", line.rounds, async |number| {
        let load = Writers::start(&cluster.resp(), line.writers, number * ROUND);
        // Between 0.3 and 1.2 seconds, so that the kill meets every stage of a log and of its snapshots.
        sleep(Duration::from_millis(300 + (number as u64 * 373) % 900)).await;
        kill_all(&mut cluster).await?;
        let records = load.finish().await?;
        let start = Instant::now();
        cluster.start_again().await?;
        let up = start.elapsed();
        if ids(&cluster) != first {
            return Err(Failure::new(format!("ids {first:?} became {:?}", ids(&cluster))));
        }
        check(&cluster, &records).await?;
        let total = load::total(&records);
        all.extend(records);
        Ok(Round { total, up })
    })
    .await;
    rounds.figure("from the start of three durable nodes until all serve", |round| Some(round.up));
    let last = check(&cluster, &all).await;
    if last.is_ok() {
        let total = load::total(&all);
        let count = total.acknowledged;
        figures::note(format!("after all kills: all {count} acknowledged writes are there"));
    }
    Ok(rounds.failed + figures::failed("after all kills", last))
}

/// Writes enough for some snapshots, and a little more.
async fn fill(cluster: &Cluster) -> Outcome {
    let Some(node) = cluster.nodes.first() else { return Err(Failure::new("no node")) };
    let (mut client, value) = (node.client().await?, vec![b'f'; 4096]);
    for number in 0..50 {
        let key = format!("fill{}", number % 4);
        client.call(&[b"SET", key.as_bytes(), &value]).await?;
    }
    sleep(Duration::from_millis(300)).await;
    Ok(())
}

/// Strikes each file of one node while two others have all of it.
async fn damage_one_of_three(line: &Line) -> Outcome {
    let mut cluster = durable(3, None).await?;
    let folder = data_of(cluster.folder.path(), 0);
    let mut all = Vec::new();
    let mut number = 0;
    for kind in KINDS.into_iter().take(line.damages) {
        for at in 0.. {
            number += 1;
            let load = Writers::start(&cluster.resp(), line.writers, number * ROUND);
            fill(&cluster).await?;
            all.extend(load.finish().await?);
            kill_all(&mut cluster).await?;
            let what = strike(&folder, at, kind)?;
            let Some(what) = what else {
                cluster.start_again().await?;
                break;
            };
            let outcome = start_damaged(&mut cluster, &folder, &all).await;
            let told = outcome.map_err(|failure| failure.during(&what))?;
            figures::note(format!("damage to one of three: {what}: {told}"));
        }
    }
    Ok(())
}

/// Strikes the file at place `at`; none if there are not so many.
fn strike(folder: &Path, at: usize, kind: Damage) -> Outcome<Option<String>> {
    let files = damage::files(folder)?;
    let Some(file) = files.get(at) else { return Ok(None) };
    let mut bytes = std::fs::read(file)?;
    let struck = kind.strike(&mut bytes);
    std::fs::write(file, bytes)?;
    let name = file.strip_prefix(folder).unwrap_or(file).display();
    let effect = if struck { "" } else { " (too short, left as it is)" };
    Ok(Some(format!("{name}: {kind}{effect}")))
}

/// Starts the two whole nodes and then the damaged one, which comes back, or says why not and is replaced.
async fn start_damaged(cluster: &mut Cluster, folder: &Path, all: &[Record]) -> Outcome<String> {
    let options = cluster.options.clone();
    cluster.nodes.clear();
    let spawn =
        |options: &NodeOptions| Node::spawn(&cluster.program, options, cluster.folder.path());
    let [damaged, whole @ ..] = &options[..] else { return Err(Failure::new("no nodes")) };
    let processes: Vec<Process> = whole.iter().map(spawn).collect::<Outcome<_>>()?;
    let mut nodes = Vec::new();
    for process in processes {
        let node = Node::ready(process, START).await?;
        node.serves().await?;
        nodes.push(node);
    }
    let (node, told) = match come_up(spawn(damaged)?).await? {
        Ok(node) => (node, "it came back".to_owned()),
        Err(why) => {
            std::fs::remove_dir_all(folder)?;
            (Node::ready(spawn(damaged)?, START).await?, format!("it ended with 1: {why}"))
        }
    };
    node.serves().await?;
    nodes.insert(0, node);
    cluster.nodes = nodes;
    check(cluster, all).await?;
    Ok(told)
}

/// Waits until a node serves, or has ended with code 1 and a reason, which is returned.
async fn come_up(mut process: Process) -> Outcome<Result<Node, String>> {
    let deadline = Instant::now() + START;
    loop {
        if let Some(why) = process.reason()? {
            return Ok(Err(why));
        }
        if process.output().lines().any(|line| line.starts_with("ready ")) {
            return Ok(Ok(Node::ready(process, START).await?));
        }
        if Instant::now() > deadline {
            let text = format!("neither up nor ended after {START:?}; {}", process.log_end());
            return Err(Failure::new(text));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Strikes each file of a node that alone has the data: what it serves after that must be right, up to a lost end.
async fn damage_a_node_alone(line: &Line) -> Outcome {
    for kind in KINDS.into_iter().take(line.damages) {
        for at in 0.. {
            let mut cluster = durable(1, None).await?;
            let folder = data_of(cluster.folder.path(), 0);
            let load = Writers::start(&cluster.resp(), line.writers, 0);
            fill(&cluster).await?;
            kill_all(&mut cluster).await?;
            let records = load.finish().await?;
            let Some(what) = strike(&folder, at, kind)? else { break };
            let Some(options) = cluster.options.first() else { break };
            let process = Node::spawn(&cluster.program, options, cluster.folder.path())?;
            let told = match come_up(process).await.map_err(|failure| failure.during(&what))? {
                Err(why) => format!("it ended with 1: {why}"),
                Ok(node) => {
                    node.serves().await.map_err(|failure| failure.during(&what))?;
                    let lost = lost_end(&node, &records).await;
                    let lost = lost.map_err(|failure| failure.during(&what))?;
                    format!("it came back without the last {lost} of {} writes", total(&records))
                }
            };
            figures::note(format!("damage to a node alone: {what}: {told}"));
        }
    }
    Ok(())
}

fn total(records: &[Record]) -> usize {
    records.iter().map(|record| record.acknowledged.len()).sum()
}

/// Returns how many acknowledged writes are missing, which must be the last ones of each writer.
async fn lost_end(node: &Node, records: &[Record]) -> Outcome<usize> {
    let mut count = 0;
    for record in records {
        let lost = load::lost(node.resp, record).await?;
        let end = record.acknowledged.len() - lost.len();
        if record.acknowledged.get(end..) != Some(&lost[..]) {
            let text = format!("writer {} misses writes that are not its last ones", record.id);
            return Err(Failure::new(text));
        }
        count += lost.len();
        load::count(node.resp, record, lost.len() as u64 + 1).await?;
    }
    Ok(count)
}

#[derive(Debug)]
struct Full {
    why: String,
    after: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended with 1 after {} writes, the others went on: {}", self.after, self.why)
    }
}

/// Gives one of three nodes a small disk, and writes until it is full.
async fn full_disk(line: &Line) -> Outcome<Full> {
    let small = disks::Small::mount(disks::SMALL)?;
    let mut cluster = Cluster::start_with(3, |index, options, own| {
        let data = data_of(if index == 0 { small.folder() } else { own }, index);
        options.more = vec!["--data-dir".into(), data.display().to_string()];
        Ok(())
    })
    .await?;
    let load = Writers::start(&cluster.resp(), line.writers, 0);
    let survivors: Vec<_> = cluster.resp().into_iter().enumerate().skip(1).collect();
    let mut filler = cluster.nodes.get(1).ok_or_else(|| Failure::new("no node"))?.client().await?;
    let Some(victim) = cluster.nodes.first_mut() else { return Err(Failure::new("no node")) };
    let (value, mut after) = (vec![b'x'; 64 * 1024], 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    let why = loop {
        if let Some(why) = victim.process.reason()? {
            break why;
        }
        if Instant::now() > deadline {
            let text = format!("still runs after {after} writes of 64 KiB to a small disk");
            return Err(Failure::new(text));
        }
        // Always the same keys: the state stays small, the log does not.
        let key = format!("filler{}", after % 8);
        filler.call(&[b"SET", key.as_bytes(), &value]).await?;
        after += 1;
    };
    failover::recover(&survivors).await?;
    let records = load.finish().await?;
    for (_, address) in &survivors {
        load::check(*address, &records).await?;
    }
    Ok(Full { why, after })
}

/// Cuts the power of one disk that holds the data of all three nodes.
async fn power_cuts(line: &Line) -> Outcome<usize> {
    let image = match disks::Image::make(1024 * 1024 * 1024).await {
        Ok(image) => image,
        Err(failure) => {
            figures::left_out(format!("power cuts, because no file system can be made: {failure}"));
            return Ok(0);
        }
    };
    let mut cluster = durable(3, Some(image.folder())).await?;
    let first = ids(&cluster);
    let mut all = Vec::new();
    let rounds = figures::rounds("power cut", line.power, async |number| {
        let load = Writers::start(&cluster.resp(), line.writers, number * ROUND);
        sleep(Duration::from_millis(300 + (number as u64 * 373) % 900)).await;
        image.cut()?;
        kill_all(&mut cluster).await?;
        let records = load.finish().await?;
        cluster.nodes.clear();
        wait_for("the file system to come back", START, || {
            let mounted = image.mount_again();
            async move { mounted }
        })
        .await?;
        let start = Instant::now();
        cluster.start_again().await?;
        let up = start.elapsed();
        if ids(&cluster) != first {
            return Err(Failure::new(format!("ids {first:?} became {:?}", ids(&cluster))));
        }
        check(&cluster, &records).await?;
        let total = load::total(&records);
        all.extend(records);
        Ok(Round { total, up })
    })
    .await;
    let last = check(&cluster, &all).await;
    cluster.nodes.clear();
    Ok(rounds.failed + figures::failed("after all power cuts", last))
}
