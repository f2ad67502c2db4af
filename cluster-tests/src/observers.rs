//! What observers cost the leader, and how far behind they are.
//!
//! Owns: a load at a fixed rate, the processor time of the leader, the lag of observers inside this process. Does not own: how
//! observers follow. Invariant: every side gets the same load on a cluster of its own, and the sides take turns.
//!
//! The lag is the time from a write's acknowledgement, given by the leader's RESP door, until a local read of a node inside
//! this program sees it; it looks once a millisecond.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use quorate::Node;
use quorate::command::{Command, Operation, Reply, Request};
use quorate::node::Consistency;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::bound::embed;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::figures::{self, quantile, text};
use crate::process::{Cluster, FORM_DEADLINE, wait_for};

/// Observers inside this process, which measure the lag.
const PROBES_MAX: usize = 2;
/// Between two looks at the state of a probe.
const LOOK: Duration = Duration::from_millis(1);
/// Clients that share the load.
const CLIENTS: usize = 8;

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many times each number of observers is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The numbers of observers
    #[arg(long, value_delimiter = ',', default_values_t = [0, 8, 32])]
    counts: Vec<usize>,
    /// Writes in a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// For how long they are measured
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    time: f64,
}

/// What one cluster has shown.
#[derive(Debug, Clone)]
struct Round {
    observers: usize,
    writes: usize,
    /// The leader's processor time for each write, and without what it takes when idle.
    whole: Duration,
    net: Duration,
    /// Sorted.
    lags: Vec<Duration>,
    told: String,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { observers, writes, whole, net, .. } = self;
        write!(f, "{observers} observers, {writes} writes, the leader's processor time for each ")?;
        write!(f, "{} us, {} us without idle", whole.as_micros(), net.as_micros())?;
        if let (Some(half), Some(most)) = (quantile(&self.lags, 0.5), quantile(&self.lags, 0.99)) {
            write!(f, ", lag median {}, p99 {}", text(half), text(most))?;
        }
        if self.told.is_empty() { Ok(()) } else { write!(f, ", /status: {}", self.told) }
    }
}

/// Runs all rounds and prints what they have shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let sides = line.counts.len();
    let rounds = figures::rounds("observers", line.rounds * sides, async |number| {
        // Every second turn goes the other way, so that no side is always the first.
        let (turn, at) = ((number - 1) / sides, (number - 1) % sides);
        let at = if turn.is_multiple_of(2) { at } else { sides - 1 - at };
        measure(line, line.counts.get(at).copied().unwrap_or_default()).await
    })
    .await;
    let mut base = None;
    for count in &line.counts {
        let side: Vec<&Round> =
            rounds.passed.iter().filter(|round| round.observers == *count).collect();
        let median = |field: fn(&Round) -> Duration| {
            let mut times: Vec<Duration> = side.iter().map(|round| field(round)).collect();
            times.sort_unstable();
            quantile(&times, 0.5)
        };
        let (Some(whole), Some(net)) = (median(|round| round.whole), median(|round| round.net))
        else {
            continue;
        };
        let (base_whole, base_net) = *base.get_or_insert((whole, net));
        figures::figure(format!(
            "leader's processor time for each write with {count} observers: {} us, ratio {:.2}; \
             without what it takes when idle {} us, ratio {:.2}",
            whole.as_micros(),
            whole.as_secs_f64() / base_whole.as_secs_f64(),
            net.as_micros(),
            net.as_secs_f64() / base_net.as_secs_f64(),
        ));
        let mut lags: Vec<Duration> = side.iter().flat_map(|round| &round.lags).copied().collect();
        lags.sort_unstable();
        if let (Some(half), Some(most)) = (quantile(&lags, 0.5), quantile(&lags, 0.99)) {
            let (half, most, of) = (text(half), text(most), lags.len());
            figures::figure(format!(
                "observer lag with {count} observers: median {half}, p99 {most}, of {of}"
            ));
        }
    }
    Ok(figures::exit(rounds.failed))
}

async fn measure(line: &Line, observers: usize) -> Outcome<Round> {
    let mut cluster = Cluster::start(3).await?;
    let probes = observers.min(PROBES_MAX).min(observers.div_ceil(8));
    for _ in probes..observers {
        cluster.join().await?;
    }
    let seeds: Vec<SocketAddr> = cluster.nodes.iter().take(3).map(|node| node.cluster).collect();
    let mut inside = Vec::new();
    for _ in 0..probes {
        let config = embed::config(&seeds, &cluster.folder.path().join("secret"));
        let node = Node::start(config).await.map_err(|error| Failure::new(error.to_string()))?;
        let ready = tokio::time::timeout(FORM_DEADLINE, node.ready()).await;
        ready.map_err(|_| Failure::new("an observer inside this process did not become ready"))?;
        inside.push(node);
    }
    settled(&cluster, 3 + observers).await?;
    let round = measure_settled(line, &cluster, observers, &inside).await;
    for node in inside {
        node.leave().await;
    }
    round
}

async fn measure_settled(
    line: &Line,
    cluster: &Cluster,
    observers: usize,
    inside: &[Node],
) -> Outcome<Round> {
    let time = Duration::from_secs_f64(line.time);
    let leader = cluster.leader().await?;
    let Some(node) = cluster.nodes.get(leader) else { return Err(Failure::new("no leader")) };
    let before = node.process.processor_time()?;
    sleep(time / 2).await;
    let idle = (node.process.processor_time()? - before) * 2;
    let lags = tokio::spawn(lags(node.resp, inside.to_vec(), time));
    let before = node.process.processor_time()?;
    let writes = write_steadily(node.resp, line.rate, time).await;
    let busy = node.process.processor_time()? - before;
    let mut lags = lags.await.map_err(|error| Failure::new(error.to_string()))??;
    let writes = writes?;
    if cluster.leader().await? != leader {
        return Err(Failure::new("the leader has changed meanwhile"));
    }
    lags.sort_unstable();
    let each = |time: Duration| time / u32::try_from(writes).unwrap_or(u32::MAX).max(1);
    let (whole, net) = (each(busy), each(busy.saturating_sub(idle)));
    Ok(Round { observers, writes, whole, net, lags, told: told(cluster).await })
}

/// Waits until every node knows of all `count` and three vote.
async fn settled(cluster: &Cluster, count: usize) -> Outcome {
    wait_for("everybody to know everybody", FORM_DEADLINE, || async {
        for node in &cluster.nodes {
            let status = node.status().await?;
            let length = |at: &str| {
                status.pointer(at).and_then(serde_json::Value::as_array).map_or(0, Vec::len)
            };
            let (members, voters) = (length("/members"), length("/voters"));
            if (members, voters) != (count, 3) {
                let text = format!("{members} members of {count}, and {voters} voters of 3");
                return Err(Failure::new(text));
            }
        }
        Ok(())
    })
    .await?;
    sleep(Duration::from_secs(2)).await;
    Ok(())
}

/// Writes at `address` at a fixed rate, and returns how many writes were acknowledged: all, or it fails.
async fn write_steadily(address: SocketAddr, rate: u32, time: Duration) -> Outcome<usize> {
    let mut clients = JoinSet::new();
    let end = Instant::now() + time;
    for id in 0..CLIENTS {
        let mut client = Client::connect(address).await?;
        let pause = Duration::from_secs(1) * u32::try_from(CLIENTS).unwrap_or(1) / rate;
        clients.spawn(async move {
            let mut ticks = interval(pause);
            // What a slow reply has held up is made good: the number of writes is the same on each side.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut count = 0_usize;
            while ticks.tick().await < end {
                let reply = client.ask(&format!("SET load:{id}:{} {count}", count % 100)).await?;
                if let Some(text) = reply.error_text() {
                    return Err(Failure::new(text));
                }
                count += 1;
            }
            Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = clients.join_next().await {
        count += done.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(count)
}

/// Writes a number every 20 ms and measures how long after its acknowledgement each probe sees it.
async fn lags(address: SocketAddr, probes: Vec<Node>, time: Duration) -> Outcome<Vec<Duration>> {
    let end = Instant::now() + time;
    let mut client = Client::connect(address).await?;
    let mut lags = Vec::new();
    let mut number = 0_u64;
    while Instant::now() < end && !probes.is_empty() {
        sleep(Duration::from_millis(20)).await;
        number += 1;
        let reply = client.ask(&format!("SET probe {number}")).await?;
        if let Some(text) = reply.error_text() {
            return Err(Failure::new(text));
        }
        let acknowledged = Instant::now();
        let mut looks = JoinSet::new();
        for probe in probes.clone() {
            looks.spawn(async move { sees(&probe, number, acknowledged).await });
        }
        while let Some(lag) = looks.join_next().await {
            lags.push(lag.map_err(|error| Failure::new(error.to_string()))??);
        }
    }
    Ok(lags)
}

/// Waits until `probe` sees `number` in its own state, and returns how long after `since` that was.
async fn sees(probe: &Node, number: u64, since: Instant) -> Outcome<Duration> {
    let get = Command::parse(&["GET".into(), "probe".into()]);
    let get = get.map_err(|error| Failure::new(format!("{error:?}")))?;
    let request = [Request::One(Operation::new(0, get))];
    let wanted = Reply::Bulk(number.to_string().into());
    loop {
        let replies = probe.read(&request, Consistency::Local).await;
        let replies = replies.map_err(|error| Failure::new(error.to_string()))?;
        if replies.first() == Some(&wanted) {
            return Ok(since.elapsed());
        }
        if since.elapsed() > Duration::from_secs(10) {
            let text = format!("an observer does not see probe {number}: {replies:?}");
            return Err(Failure::new(text));
        }
        sleep(LOOK).await;
    }
}

/// What `/status` of the last observer tells about how far behind it is.
async fn told(cluster: &Cluster) -> String {
    let Some(node) = cluster.nodes.get(3..).and_then(<[_]>::last) else { return String::new() };
    let Ok(status) = node.status().await else { return "no answer".into() };
    let lag = status.pointer("/raft/lag");
    lag.map_or_else(String::new, |lag| format!("lag of {} {lag}", node.id))
}
