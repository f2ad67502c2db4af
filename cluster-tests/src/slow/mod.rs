//! What a subscriber that reads nothing does to the others, to memory, and what it is told.
//!
//! Owns: the parts of a run, the phases that take turns, the verdict. Does not own: the load and those who read (`load`), the one
//! that does not (`sleeper`), the node inside this program (`inside`). Invariant: a phase with it stands between two without it,
//! under the same load and in the same cluster, and is compared with these two.

mod inside;
mod load;
mod sleeper;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use self::load::{Load, Memory};
use self::sleeper::{Cut, Sleeper};
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::{Cluster, Node};

/// The share of the delivery rate that the others must keep.
const RATIO_MIN: f64 = 0.9;
/// How much more a process may hold while somebody does not read than three times what may wait for a subscriber: buffers and
/// what the allocator keeps. Three times, because a message weighs more in memory than its bytes.
const SLACK: u64 = 48 << 20;
/// The node at which the slow one is; it has readers, too.
const PLACE: usize = 1;
/// The channel.
const CHANNEL: &[u8] = b"feed";

/// The command line.
#[derive(Debug, Clone, Args)]
pub struct Line {
    /// How many phases with a subscriber that reads nothing
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a phase is: long enough for --hard to be exceeded
    #[arg(long, default_value_t = 4.0, value_name = "SECONDS")]
    time: f64,
    /// How many subscribers read
    #[arg(long, default_value_t = 8)]
    readers: usize,
    /// How many nodes
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// How many messages the publisher has under way
    #[arg(long, default_value_t = 512)]
    window: usize,
    /// How many MiB of messages may wait for a subscriber; Redis' default
    #[arg(long, default_value_t = 32)]
    hard: u64,
    /// The least share of their rate that the others keep; lower it where phases are too short to be exact
    #[arg(long, default_value_t = RATIO_MIN)]
    ratio_min: f64,
}

impl Line {
    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.time)
    }

    /// How much more a process may hold while somebody does not read.
    const fn growth_max(&self) -> u64 {
        3 * (self.hard << 20) + SLACK
    }

    async fn cluster(&self) -> Outcome<Cluster> {
        let hard = self.hard;
        Cluster::start_with(self.nodes, |_, options, folder| {
            let config = folder.join("slow.toml");
            std::fs::write(&config, format!("[resp]\noutput_pubsub_hard_max = \"{hard} MiB\"\n"))?;
            options.more = vec!["--config".to_owned(), config.display().to_string()];
            Ok(())
        })
        .await
    }
}

/// Runs all parts and prints what they have shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let mut failures = 0;
    failures += figures::failed("slow, policy disconnect", disconnect(line).await);
    failures += figures::failed("slow, policy oldest", oldest(line).await);
    failures += figures::failed("slow, inside a program", inside::run(line).await);
    Ok(figures::exit(failures))
}

/// The rates of a phase with a slow one and of the two beside it.
#[derive(Debug, Clone, Copy)]
struct Turn {
    before: f64,
    with: f64,
    after: f64,
}

impl Turn {
    fn ratio(self) -> f64 {
        self.with / f64::midpoint(self.before, self.after).max(1.0)
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, with, after } = self;
        write!(f, "{before:.0} deliveries a second before, {with:.0} with it, {after:.0} after")?;
        write!(f, ": ratio {:.3}", self.ratio())
    }
}

/// Prints the median and the spread of the ratios, and judges the median.
fn judge(name: &str, turns: &[Turn], ratio_min: f64) -> Outcome {
    let mut ratios: Vec<f64> = turns.iter().map(|turn| turn.ratio()).collect();
    let mut rates: Vec<f64> = turns.iter().map(|turn| turn.before).collect();
    ratios.sort_by(f64::total_cmp);
    rates.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (ratios.first(), ratios.last()) else {
        return Err(Failure::new("no phase was measured"));
    };
    let at = |place: usize| ratios.get(place).copied().unwrap_or_default();
    let middle = f64::midpoint(at((ratios.len() - 1) / 2), at(ratios.len() / 2));
    let rate = rates.get(rates.len() / 2).copied().unwrap_or_default();
    figures::figure(format!(
        "slow, {name}: the others' deliveries with it as a ratio to without: median {middle:.3}, from {least:.3} to \
         {most:.3}, of {} turns; without it {rate:.0} a second",
        ratios.len()
    ));
    if middle < ratio_min {
        let text = format!("the others keep {middle:.3} of their rate, less than {ratio_min}");
        return Err(Failure::new(text));
    }
    Ok(())
}

/// Prints and judges what a process held.
fn judge_memory(name: &str, memory: Memory, growth_max: u64) -> Outcome {
    let Memory { before, peak, after } = memory;
    figures::figure(format!(
        "slow, {name}: resident memory of the process that it is connected to: {} MiB before, {} MiB at most, {} MiB after",
        before >> 20,
        peak >> 20,
        after >> 20
    ));
    let growth = peak.saturating_sub(before);
    if growth > growth_max {
        let (growth, limit) = (growth >> 20, growth_max >> 20);
        return Err(Failure::new(format!("it grew by {growth} MiB, more than {limit} MiB")));
    }
    Ok(())
}

fn place(cluster: &Cluster) -> Outcome<&Node> {
    cluster.nodes.get(PLACE).ok_or_else(|| Failure::new("two nodes are needed"))
}

/// The default policy: a slow one is cut off, and another one comes.
async fn disconnect(line: &Line) -> Outcome {
    let name = "policy disconnect";
    let cluster = line.cluster().await?;
    let node = place(&cluster)?;
    let load = Load::start(&cluster, line).await?;
    load.warm(line.time()).await?;
    let watch = load::watch(node.process.pid())?;
    let mut cuts: Vec<Cut> = Vec::new();
    let mut turns = Vec::new();
    let mut before = load.rate(line.time()).await?;
    for number in 1..=line.rounds {
        let end = Instant::now() + line.time();
        let (rate, cut) = tokio::join!(load.rate(line.time()), sleeper::replace_until(node, end));
        let (with, found) = (rate?, cut?);
        let count = found.len();
        cuts.extend(found);
        // What the last one has left behind goes first.
        sleep(Duration::from_millis(200)).await;
        let after = load.rate(line.time()).await?;
        let turn = Turn { before, with, after };
        figures::note(format!("{name}, turn {number}: {turn}, {count} slow ones cut off"));
        turns.push(turn);
        before = after;
    }
    let memory = watch.end().await?;
    load.end(name).await?;
    told_of_cuts(name, node, &cuts).await?;
    judge_memory(name, memory, line.growth_max())?;
    judge(name, &turns, line.ratio_min)
}

/// Tells how the slow ones were cut off, and whether the node says so in its log and its counters.
async fn told_of_cuts(name: &str, node: &Node, cuts: &[Cut]) -> Outcome {
    figures::spread(
        &format!("slow, {name}: from SUBSCRIBE until it was cut off"),
        cuts.iter().map(|cut| cut.after).collect(),
    );
    let got: Vec<u64> = cuts.iter().map(|cut| cut.got).collect();
    if cuts.is_empty() {
        return Err(Failure::new("no slow one was cut off; give more --time or a larger --size"));
    }
    figures::figure(format!(
        "slow, {name}: {} were cut off, and then read between {} and {} messages that were on their way",
        cuts.len(),
        got.iter().min().copied().unwrap_or_default(),
        got.iter().max().copied().unwrap_or_default()
    ));
    let log = node.process.log();
    let lines: Vec<&str> = log.lines().filter(|line| sleeper::is_cut(line)).collect();
    if let Some(line) = lines.first() {
        figures::note(format!("the log says: {line}"));
    }
    let counted = sleeper::counted_cuts(node).await?;
    let text = counted.map_or_else(|| "none".into(), |count| count.to_string());
    figures::figure(format!(
        "slow, {name}: {} lines of the log tell of a cut, and INFO counts {text}",
        lines.len()
    ));
    let told = counted.unwrap_or_default().min(lines.len() as u64);
    if told < cuts.len() as u64 {
        let text = format!("{} were cut off, but log and counter tell of {told}", cuts.len());
        return Err(Failure::new(text));
    }
    Ok(())
}

/// The policy that drops the oldest messages: the slow one stays, and is told how many.
async fn oldest(line: &Line) -> Outcome {
    let name = "policy oldest";
    let cluster = line.cluster().await?;
    let node = place(&cluster)?;
    if !sleeper::knows_policies(node).await? {
        figures::left_out(format!("slow, {name}, because the node knows no QUORATE.SUBSCRIBER"));
        return Ok(());
    }
    let load = Load::start(&cluster, line).await?;
    load.warm(line.time()).await?;
    let watch = load::watch(node.process.pid())?;
    let mut turns = Vec::new();
    let (mut received, mut lost) = (0, 0);
    let mut before = load.rate(line.time()).await?;
    for number in 1..=line.rounds {
        let sleeper = Sleeper::start(node, true).await?;
        let with = load.rate(line.time()).await?;
        let told = sleeper.wake(load.sent()).await?;
        let after = load.rate(line.time()).await?;
        let turn = Turn { before, with, after };
        figures::note(format!("{name}, turn {number}: {turn}; awake, it {told}"));
        if let Some(text) = told.whole.broken.first() {
            return Err(Failure::new(format!("turn {number}: {text}")));
        }
        received += told.whole.received;
        lost += told.whole.told;
        turns.push(turn);
        before = after;
    }
    let memory = watch.end().await?;
    load.end(name).await?;
    figures::figure(format!(
        "slow, {name}: when they read again, {received} messages came and {lost} were told as lost; each gap in the numbers \
         was told exactly"
    ));
    judge_memory(name, memory, line.growth_max())?;
    judge(name, &turns, line.ratio_min)?;
    if lost == 0 {
        return Err(Failure::new("nothing was dropped; give more --time or a larger --size"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_compared_with_both_its_neighbours() {
        let turn = |with| Turn { before: 90.0, with, after: 110.0 };
        assert!((turn(95.0).ratio() - 0.95).abs() < 1e-9);
        assert!(judge("", &[turn(95.0), turn(40.0), turn(91.0)], 0.9).is_ok());
        assert!(judge("", &[turn(95.0), turn(89.0), turn(88.0)], 0.9).is_err());
        assert!(judge("", &[turn(95.0), turn(80.0)], 0.9).is_err(), "of two it is between both");
        assert!(judge("", &[], 0.9).is_err());
    }

    #[test]
    fn memory_is_judged_by_its_peak() {
        let memory = |peak| Memory { before: 10, peak, after: 10 };
        assert!(judge_memory("", memory(110), 100).is_ok());
        assert!(judge_memory("", memory(111), 100).is_err());
    }
}
