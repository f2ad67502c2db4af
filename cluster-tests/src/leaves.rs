//! Planned leaves of the leader: how long do clients at the other nodes wait for a write?
//!
//! Owns: the load, the leaves, the measure. Does not own: the processes. Invariant: no acknowledged write is lost, and no
//! write at a node that stays is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::door::{Door, Effect, attempt, check_keys, figures, longest_gap};
use crate::failure::{Failure, Outcome};
use crate::process::{Group, Plan};

/// How long the cluster may take to have its voters again after a leave and a start.
const SETTLE_DEADLINE: Duration = Duration::from_secs(30);

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// How many leaders leave, one after the other; a new node takes the place of each
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How many nodes there are before each leave
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Clients at each node, which write one after the other
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// How long the load goes on before and after each leave
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    load: f64,
    /// The median gap above which the run fails
    #[arg(long, value_name = "MILLISECONDS")]
    median_max: Option<u64>,
}

/// What one writer knows: its keys hold their numbers.
#[derive(Debug)]
struct Record {
    slot: usize,
    prefix: String,
    acknowledged: Vec<u64>,
    times: Vec<Instant>,
    troubles: Vec<String>,
}

/// Runs all rounds; prints a line for each and one for all.
///
/// # Errors
/// When a write is lost or refused, or the cluster does not settle.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub async fn run(line: &Line) -> Outcome {
    let mut group = Group::new(Plan::default())?;
    let result = rounds(line, &mut group).await;
    if result.is_err() {
        println!("logs are kept in {}", group.keep().display());
    }
    result
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn rounds(line: &Line, group: &mut Group) -> Outcome {
    let voters = line.nodes.min(3);
    group.start(&(1..=line.nodes).collect::<Vec<_>>()).await?;
    let (mut gaps, mut durations) = (Vec::new(), Vec::new());
    for round in 1..=line.rounds {
        group.settle(voters, SETTLE_DEADLINE).await?;
        let leader = group.leader().await?;
        let (gap, duration, count) = leave(line, group, round, leader).await?;
        println!(
            "round {round}: leader n{leader} left within {} ms, write gap {} ms, {count} writes, all there",
            duration.as_millis(),
            gap.as_millis()
        );
        gaps.push(gap);
        durations.push(duration);
        group.start(&[leader]).await?;
    }
    let [median, _, worst] = figures(&mut gaps).ok_or_else(|| Failure::new("no rounds"))?;
    let [usual, _, longest] = figures(&mut durations).ok_or_else(|| Failure::new("no rounds"))?;
    println!(
        "write gap over {} planned leaves of the leader of {} nodes: median {median:?}, worst {worst:?}; \
         a leave takes {usual:?}, at most {longest:?}",
        line.rounds, line.nodes
    );
    match line.median_max {
        Some(limit) if median > Duration::from_millis(limit) => {
            Err(Failure::new(format!("the median gap of {median:?} exceeds {limit} ms")))
        }
        _ => Ok(()),
    }
}

/// Lets the leader leave under load; returns the gap, the duration of the leave, and how many writes were acknowledged.
async fn leave(
    line: &Line,
    group: &mut Group,
    round: usize,
    leader: usize,
) -> Outcome<(Duration, Duration, usize)> {
    let pause = Duration::from_secs_f64(line.load);
    let stop = Arc::new(AtomicBool::new(false));
    let others: Vec<Door> = group.open().into_iter().filter(|door| door.slot != leader).collect();
    let mut writers: Vec<JoinHandle<Record>> = Vec::new();
    for door in &others {
        for number in 0..line.writers {
            let prefix = format!("l{round}:{}:{number}:", door.slot);
            writers.push(tokio::spawn(write(door.clone(), prefix, Arc::clone(&stop))));
        }
    }
    sleep(pause).await;
    let begun = Instant::now();
    let left = group.leave(&[leader]).await;
    sleep(pause).await;
    stop.store(true, Ordering::Relaxed);
    let mut records = Vec::new();
    for writer in writers {
        records
            .push(writer.await.map_err(|error| Failure::new(format!("a writer broke: {error}")))?);
    }
    let duration = left?.first().copied().unwrap_or_default();
    if let Some(trouble) = records.iter().find_map(|record| record.troubles.first()) {
        return Err(Failure::new(format!("a write at a node that stays failed: {trouble}")));
    }
    let gaps: Option<Vec<Duration>> = others
        .iter()
        .map(|door| {
            let here = records.iter().filter(|record| record.slot == door.slot);
            longest_gap(&here.flat_map(|record| record.times.clone()).collect::<Vec<_>>(), begun)
        })
        .collect();
    let gap = gaps.and_then(|gaps| gaps.into_iter().max());
    for record in &records {
        let mut client = group.open().last().ok_or_else(|| Failure::new("no door"))?.open().await?;
        check_keys(&mut client, &record.prefix, &record.acknowledged).await?;
    }
    let gap = gap.ok_or_else(|| Failure::new("no write was acknowledged around the leave"))?;
    Ok((gap, duration, records.iter().map(|record| record.times.len()).sum()))
}

/// Writes at one node until told to stop. The node stays, so that its connections must, too.
async fn write(door: Door, prefix: String, stop: Arc<AtomicBool>) -> Record {
    let (acknowledged, times, troubles) = Default::default();
    let mut record = Record { slot: door.slot, prefix, acknowledged, times, troubles };
    let mut number = 0_u64;
    match door.open().await {
        Err(failure) => record.troubles.push(failure.to_string()),
        Ok(mut client) => {
            while !stop.load(Ordering::Relaxed) && record.troubles.is_empty() {
                number += 1;
                let (key, value) = (format!("{}{number}", record.prefix), number.to_string());
                match attempt(&mut client, &[b"SET", key.as_bytes(), value.as_bytes()]).await {
                    Effect::Done(_) => {
                        record.acknowledged.push(number);
                        record.times.push(Instant::now());
                    }
                    other @ (Effect::Refused(_) | Effect::Unknown(_) | Effect::Cut) => {
                        record.troubles.push(format!("n{}: SET {key}: {other:?}", door.slot))
                    }
                }
            }
        }
    }
    record
}
