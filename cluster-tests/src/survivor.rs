//! Loss of the majority on one host: who survives goes on by itself, with everything that was promised.
//!
//! Owns: the order of the rounds. Does not own: the load, the processes. Invariant: a survivor that goes on says so by a new
//! epoch, and one that cannot know goes on never: a stopped process is not a dead one.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::failover::recover;
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::load::{self, Record, Writers};
use crate::process::{Cluster, FORM_DEADLINE, Signal, wait_for};

/// Writes acknowledged this shortly before a majority died may have been with the dead alone.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many times one of two processes is killed, the leader and the follower in turn
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How many times three of five are killed
    #[arg(long, default_value_t = 4)]
    fives: usize,
    /// How many times one of two is stopped and continued
    #[arg(long, default_value_t = 2)]
    stalls: usize,
    /// Clients at each node, which write one after the other
    #[arg(long, default_value_t = 4)]
    writers: usize,
}

#[derive(Debug, Clone)]
struct Round {
    victims: String,
    gap: Option<Duration>,
    epoch: u64,
    total: load::Total,
    lost: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.victims)?;
        if let Some(gap) = self.gap {
            write!(f, "write gap {}, ", figures::text(gap))?;
        }
        let load::Total { acknowledged, unknown } = self.total;
        write!(f, "epoch {}, {acknowledged} writes acknowledged, {unknown} unknown", self.epoch)?;
        match self.lost {
            0 => write!(f, ", all acknowledged ones there"),
            lost => write!(f, ", {lost} acknowledged in the last moment before the kill are lost"),
        }
    }
}

/// Runs all rounds and prints what they have shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let pairs = figures::rounds("one of two killed", line.rounds, async |number| {
        kill_one_of_two(line.writers, number).await
    })
    .await;
    pairs.figure("write gap when one of two is killed", |round| round.gap);
    let fives = figures::rounds("three of five killed", line.fives, async |number| {
        kill_three_of_five(line.writers, number).await
    })
    .await;
    fives.figure("write gap when three of five are killed", |round| round.gap);
    let stalls = figures::rounds("one of two stopped", line.stalls, async |number| {
        stop_one_of_two(line.writers, number).await
    })
    .await;
    Ok(figures::exit(pairs.failed + fives.failed + stalls.failed))
}

async fn kill_one_of_two(writers: usize, number: usize) -> Outcome<Round> {
    let mut cluster = Cluster::start(2).await?;
    voters(&cluster, 2).await?;
    let place = (cluster.leader().await? + number) % 2;
    let victims =
        if number.is_multiple_of(2) { "the leader killed" } else { "the follower killed" };
    let round = kill(&mut cluster, &[place], writers, Duration::ZERO).await;
    let mut round = round.map_err(|failure| ends(&cluster, failure))?;
    victims.clone_into(&mut round.victims);
    Ok(round)
}

async fn kill_three_of_five(writers: usize, number: usize) -> Outcome<Round> {
    let mut cluster = Cluster::start_with(5, |_, options, folder| {
        let config = folder.join("five.toml");
        std::fs::write(&config, "[cluster]\nvoters_target = 5\n")?;
        options.more = vec!["--config".into(), config.display().to_string()];
        Ok(())
    })
    .await?;
    voters(&cluster, 5).await?;
    let leader = cluster.leader().await?;
    let with_leader = number.is_multiple_of(2);
    let first = if with_leader { leader } else { leader + 1 };
    let places: Vec<usize> = (first..first + 3).map(|place| place % 5).collect();
    let round = kill(&mut cluster, &places, writers, LAST_MOMENT).await;
    let mut round = round.map_err(|failure| ends(&cluster, failure))?;
    let victims = if with_leader { "the leader and two killed" } else { "three followers killed" };
    victims.clone_into(&mut round.victims);
    Ok(round)
}

/// Kills the nodes at `places` under load; what was acknowledged earlier than `spared` before must be there.
async fn kill(
    cluster: &mut Cluster,
    places: &[usize],
    writers: usize,
    spared: Duration,
) -> Outcome<Round> {
    let before = epoch(cluster, places).await?;
    let load = Writers::start(&cluster.resp(), writers, 0);
    sleep(Duration::from_secs(1)).await;
    let killed_at = Instant::now();
    for (place, node) in cluster.nodes.iter_mut().enumerate() {
        if places.contains(&place) {
            node.process.signal(Signal::Kill)?;
        }
    }
    let survivors = rest(cluster, places);
    let recovered = recover(&survivors).await;
    sleep(Duration::from_secs(1)).await;
    let records = load.finish().await?;
    recovered?;
    let lost = check(&survivors, &records, killed_at - spared, killed_at).await?;
    let after = epoch(cluster, places).await?;
    if after <= before {
        return Err(Failure::new(format!("epoch {after} is told after epoch {before}")));
    }
    let gap = survivors.iter().filter_map(|(node, _)| load::gap(&records, *node, killed_at)).max();
    let total = load::total(&records);
    Ok(Round { victims: String::new(), gap, epoch: after, total, lost })
}

/// Checks all writes at all survivors, and returns how many are lost of those acknowledged from `from` until `until`.
async fn check(
    survivors: &[(usize, SocketAddr)],
    records: &[Record],
    from: Instant,
    until: Instant,
) -> Outcome<usize> {
    let is_spared = |time: &Instant| *time >= from && *time <= until && from < until;
    let mut spared = 0;
    for (_, address) in survivors {
        for record in records {
            let place = format!("writer {}, read at {address}", record.id);
            let lost = load::lost(*address, record).await;
            let lost = lost.map_err(|failure| failure.during(&place))?;
            if let Some((number, _)) = lost.iter().find(|(_, time)| !is_spared(time)) {
                let text = format!("w{}:{number} was acknowledged and is not there", record.id);
                return Err(Failure::new(text).during(place));
            }
            spared += lost.len();
            let may_miss = record.times.iter().filter(|time| is_spared(time)).count();
            let counted = load::count(*address, record, may_miss as u64).await;
            counted.map_err(|failure| failure.during(place))?;
        }
    }
    Ok(spared / survivors.len().max(1))
}

async fn stop_one_of_two(writers: usize, number: usize) -> Outcome<Round> {
    let mut cluster = Cluster::start(2).await?;
    voters(&cluster, 2).await?;
    let place = (cluster.leader().await? + number) % 2;
    let round = stop(&mut cluster, place, writers).await;
    let mut round = round.map_err(|failure| ends(&cluster, failure))?;
    let victims =
        if number.is_multiple_of(2) { "the leader stopped" } else { "the follower stopped" };
    victims.clone_into(&mut round.victims);
    Ok(round)
}

async fn stop(cluster: &mut Cluster, place: usize, writers: usize) -> Outcome<Round> {
    let stall = Duration::from_secs(6);
    let all: Vec<(usize, SocketAddr)> = cluster.resp().into_iter().enumerate().collect();
    let before = epoch(cluster, &[place]).await?;
    let load = Writers::start(&cluster.resp(), writers, 0);
    sleep(Duration::from_secs(1)).await;
    signal(cluster, place, Signal::Stop)?;
    let stopped = Instant::now();
    let halted = wait_for("the survivor to halt", stall, || async {
        let states = states(cluster, place).await?;
        let is_halted = states.iter().all(|state| state == "halted");
        if is_halted { Ok(()) } else { Err(Failure::new(format!("its state is {states:?}"))) }
    })
    .await;
    tokio::time::sleep_until(stopped + stall).await;
    let during = epoch(cluster, &[place]).await;
    let continued = Instant::now();
    signal(cluster, place, Signal::Cont)?;
    let recovered = recover(&all).await;
    sleep(Duration::from_secs(1)).await;
    let records = load.finish().await?;
    halted?;
    recovered?;
    // Half a second for what was under way when the other one stopped.
    let alone = stopped + Duration::from_millis(500)..continued;
    let mut times = records.iter().flat_map(|record| &record.times);
    if times.any(|time| alone.contains(time)) {
        return Err(Failure::new("a write was acknowledged while one of two was stopped"));
    }
    let (during, after) = (during?, epoch(cluster, &[]).await?);
    if during != before || after != before {
        let text = format!("epoch {before} became {during} during the stop and {after} after it");
        return Err(Failure::new(text));
    }
    check(&all, &records, stopped, stopped).await?;
    let total = load::total(&records);
    Ok(Round { victims: String::new(), gap: None, epoch: after, total, lost: 0 })
}

fn signal(cluster: &mut Cluster, place: usize, signal: Signal) -> Outcome {
    let node = cluster.nodes.get_mut(place).ok_or_else(|| Failure::new("no node"))?;
    node.process.signal(signal)
}

/// The places and RESP addresses of all nodes but those at `places`.
fn rest(cluster: &Cluster, places: &[usize]) -> Vec<(usize, SocketAddr)> {
    let all = cluster.resp().into_iter().enumerate();
    all.filter(|(place, _)| !places.contains(place)).collect()
}

/// Asks all nodes but those at `places` for the epoch, on which they must agree.
async fn epoch(cluster: &Cluster, places: &[usize]) -> Outcome<u64> {
    let ask = || async {
        let mut epochs = Vec::new();
        for (_, node) in cluster.nodes.iter().enumerate().filter(|(at, _)| !places.contains(at)) {
            let status = node.status().await?;
            let told = |at: &str| status.pointer(at).cloned().unwrap_or(Value::Null);
            epochs.push((told("/cluster/epoch"), told("/cluster/formation")));
        }
        epochs.dedup();
        match &epochs[..] {
            [(epoch, _)] => epoch.as_u64().ok_or_else(|| Failure::new(format!("epoch {epoch}"))),
            _ => Err(Failure::new(format!("survivors tell different epochs: {epochs:?}"))),
        }
    };
    wait_for("one epoch", Duration::from_secs(10), ask).await
}

/// Asks all nodes but the one at `place` for their state.
async fn states(cluster: &Cluster, place: usize) -> Outcome<Vec<String>> {
    let mut states = Vec::new();
    for (_, node) in cluster.nodes.iter().enumerate().filter(|(at, _)| *at != place) {
        let status = node.status().await?;
        let state = status.pointer("/node/state").and_then(Value::as_str);
        states.push(state.unwrap_or_default().to_owned());
    }
    Ok(states)
}

/// Waits until every node knows of `count` voters.
async fn voters(cluster: &Cluster, count: usize) -> Outcome {
    wait_for("the voters", FORM_DEADLINE, || async {
        for node in &cluster.nodes {
            let status = node.status().await?;
            let voters = status.pointer("/voters").and_then(Value::as_array).map_or(0, Vec::len);
            if voters != count {
                return Err(Failure::new(format!("{voters} voters instead of {count}")));
            }
        }
        Ok(())
    })
    .await
}

/// Adds what the nodes have logged last.
fn ends(cluster: &Cluster, failure: Failure) -> Failure {
    let logs: Vec<String> = cluster.nodes.iter().map(|node| node.process.log_end()).collect();
    Failure::new(format!("{failure}\n{}", logs.join("\n")))
}
