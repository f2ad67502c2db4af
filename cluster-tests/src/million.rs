//! Many keys: their memory, their snapshot, what it does to writes, and the start from disk.
//!
//! Owns: the load and the measures. Does not own: when a node takes a snapshot; it is made to by the size of its log.
//! Invariant: every figure names how many keys it was taken with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use crate::client::{Arrival, Client, REPLY_DEADLINE, encode};
use crate::failure::{Failure, Outcome};
use crate::figures::{self, quantile, text};
use crate::process::{Cluster, Node, Signal, wait_for};
use crate::reply::Reply;

/// How many keys one request sets.
const BATCH: usize = 500;
/// How many requests are under way at once.
const WINDOW: usize = 16;

/// How many keys expire at one moment, and how many seconds after the first of them is written.
const DUE: usize = 100_000;
const DUE_AFTER: u64 = 15;
const DUE_DEADLINE: Duration = Duration::from_secs(60);

/// A snapshot each 8 MiB of the log, so that some are taken while writes are measured.
const CONFIG: &str = "[consensus]\nsnapshot_log_bytes = \"8 MiB\"\n";

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// The length of a value
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// How many nodes
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// For how long writes are measured, with snapshots and without
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    time: f64,
}

/// Runs everything and prints what it has shown.
///
/// # Errors
/// When the harness itself fails, or something that was promised is not kept.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let mut cluster = Cluster::start_with(line.nodes, |index, options, folder| {
        let (data, config) = (data_of(folder, index), folder.join("many.toml"));
        std::fs::write(&config, CONFIG)?;
        let pairs = [("--data-dir", data), ("--config", config)];
        options.more =
            pairs.map(|(flag, path)| [flag.to_owned(), path.display().to_string()]).concat();
        Ok(())
    })
    .await?;
    let before = resident(&cluster)?;
    let Some(address) = cluster.resp().first().copied() else {
        return Err(Failure::new("no node"));
    };
    let start = Instant::now();
    fill(address, line).await?;
    figures::figure(format!("{} keys written in {}", line.keys, text(start.elapsed())));
    // Until logs are cut and buffers are given back.
    sleep(Duration::from_secs(5)).await;
    let after = resident(&cluster)?;
    for (node, (before, after)) in before.iter().zip(&after).enumerate() {
        let each = after.saturating_sub(*before) / line.keys.max(1) as u64;
        let (before, after) = (before >> 20, after >> 20);
        let node = node + 1;
        figures::figure(format!("memory of n{node}: {each} bytes a key ({before} to {after} MiB)"));
    }
    delays(&cluster, line).await?;
    expire(&cluster, line).await?;
    for node in &mut cluster.nodes {
        node.process.signal(Signal::Kill)?;
    }
    restart(&mut cluster, line).await?;
    Ok(ExitCode::SUCCESS)
}

fn data_of(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("data{}", index + 1))
}

fn resident(cluster: &Cluster) -> Outcome<Vec<u64>> {
    cluster.nodes.iter().map(|node| node.process.resident()).collect()
}

/// Writes all keys, each with a value of its own.
async fn fill(address: SocketAddr, line: &Line) -> Outcome {
    let mut client = Client::connect(address).await?;
    let numbers: Vec<usize> = (0..line.keys).collect();
    let mut waiting = 0;
    for batch in numbers.chunks(BATCH) {
        let pairs: Vec<(String, String)> = batch.iter().map(|n| pair(*n, line.value)).collect();
        let mut words: Vec<&[u8]> = vec![b"MSET"];
        for (key, value) in &pairs {
            words.extend([key.as_bytes(), value.as_bytes()]);
        }
        client.send(&encode(&words)).await?;
        waiting += 1;
        if waiting == WINDOW {
            taken(&mut client).await?;
            waiting -= 1;
        }
    }
    for _ in 0..waiting {
        taken(&mut client).await?;
    }
    Ok(())
}

async fn taken(client: &mut Client) -> Outcome {
    match client.next(REPLY_DEADLINE).await? {
        Arrival::Reply(reply) if reply.error_text().is_none() => Ok(()),
        other @ (Arrival::Reply(_) | Arrival::Closed | Arrival::Nothing) => {
            Err(Failure::new(format!("a write gave {other:?}")))
        }
    }
}

fn pair(number: usize, length: usize) -> (String, String) {
    (format!("key:{number:09}"), format!("{number:0length$}"))
}

/// One write after the other, each with the time at which it was sent.
async fn write_for(address: SocketAddr, time: Duration) -> Outcome<Vec<(Instant, Duration)>> {
    let mut client = Client::connect(address).await?;
    let end = Instant::now() + time;
    let mut delays = Vec::new();
    let value = "y".repeat(100);
    while Instant::now() < end {
        let sent = Instant::now();
        let reply = client.ask(&format!("SET other:{} {value}", delays.len() % 1000)).await?;
        if let Some(text) = reply.error_text() {
            return Err(Failure::new(text));
        }
        delays.push((sent, sent.elapsed()));
    }
    Ok(delays)
}

/// Writes slowly, which moves no log to its limit, and then so much that snapshots are taken.
async fn delays(cluster: &Cluster, line: &Line) -> Outcome {
    let time = Duration::from_secs_f64(line.time);
    let leader = cluster.leader().await?;
    let Some(node) = cluster.nodes.get(leader) else { return Err(Failure::new("no leader")) };
    let calm = write_for(node.resp, time).await?;
    let writing = tokio::spawn(write_for(node.resp, time));
    let folder = data_of(cluster.folder.path(), leader);
    let taking = tokio::spawn(async move { snapshots(&folder, time).await });
    let seen = load(node, time).await;
    let under = writing.await.map_err(|error| Failure::new(error.to_string()))??;
    let taken = taking.await.map_err(|error| Failure::new(error.to_string()))??;
    seen?;
    tell("without a snapshot", line.keys, calm.iter().map(|(_, delay)| *delay));
    if taken.is_empty() {
        figures::left_out(
            "the delay while a snapshot is taken, because none was; give more --time",
        );
    } else {
        tell("while snapshots are taken", line.keys, under.iter().map(|(_, delay)| *delay));
        figures::spread(&format!("time of a snapshot on disk, {} keys", line.keys), taken);
    }
    Ok(())
}

/// Lets as many keys as [`DUE`] expire at one moment while writes go on: nobody else may come to lead for that.
async fn expire(cluster: &Cluster, line: &Line) -> Outcome {
    let Some(node) = cluster.nodes.first() else { return Err(Failure::new("no node")) };
    let mut client = node.client().await?;
    let now = client.ask("TIME").await?;
    let parts = if let Reply::Array(parts) = &now { parts.as_slice() } else { &[] };
    let first = parts.first().and_then(|part| std::str::from_utf8(part.bytes()?).ok());
    let seconds: u64 = first
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Failure::new(format!("TIME gave {now}")))?;
    let (due, before) = ((seconds + DUE_AFTER).to_string(), term(cluster).await?);
    let keys: Vec<String> = (0..DUE).map(|number| format!("due:{number}")).collect();
    for batch in keys.chunks(BATCH) {
        for key in batch {
            client.send(&encode(&[b"SET", key.as_bytes(), b"x", b"EXAT", due.as_bytes()])).await?;
        }
        for _ in batch {
            taken(&mut client).await?;
        }
    }
    let sums = |reply: Reply| reply.integer().and_then(|keys| usize::try_from(keys).ok());
    let there = sums(client.ask("DBSIZE").await?).unwrap_or_default();
    let writing = tokio::spawn(write_for(node.resp, Duration::from_secs(DUE_AFTER + 2)));
    wait_for("the keys to expire", DUE_DEADLINE, || async {
        let mut client = node.client().await?;
        let keys = sums(client.ask("DBSIZE").await?).unwrap_or_default();
        if there >= DUE && keys <= there - DUE {
            Ok(())
        } else {
            Err(Failure::new(format!("{keys} keys of {there}")))
        }
    })
    .await?;
    let delays = writing.await.map_err(|error| Failure::new(error.to_string()))??;
    tell(
        "while 100000 others expire at one moment",
        line.keys,
        delays.into_iter().map(|(_, delay)| delay),
    );
    let after = term(cluster).await?;
    if after != before {
        return Err(Failure::new(format!("term {before} became {after} while {DUE} keys expired")));
    }
    figures::figure(format!("{DUE} keys expired at one moment: the term stayed {after}"));
    Ok(())
}

async fn term(cluster: &Cluster) -> Outcome<u64> {
    let leader = cluster.leader().await?;
    let Some(node) = cluster.nodes.get(leader) else { return Err(Failure::new("no leader")) };
    let status = node.status().await?;
    let term = status.pointer("/raft/term").and_then(serde_json::Value::as_u64);
    term.ok_or_else(|| Failure::new("no term in the status"))
}

/// Looks each millisecond whether a snapshot is being written, and returns how long each took.
async fn snapshots(folder: &Path, time: Duration) -> Outcome<Vec<Duration>> {
    let end = Instant::now() + time;
    let (mut taken, mut begun) = (Vec::new(), None);
    while Instant::now() < end {
        let mut is_there = false;
        for entry in std::fs::read_dir(folder)? {
            is_there |= entry?.file_name().to_string_lossy().ends_with(".part");
        }
        match (is_there, begun) {
            (true, None) => begun = Some(Instant::now()),
            (false, Some(since)) => {
                taken.push(since.elapsed());
                begun = None;
            }
            _ => {}
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(taken)
}

fn tell(when: &str, keys: usize, delays: impl Iterator<Item = Duration>) {
    let mut delays: Vec<Duration> = delays.collect();
    delays.sort_unstable();
    let at = |share| quantile(&delays, share).map(text).unwrap_or_default();
    let worst = delays.last().copied().map(text).unwrap_or_default();
    figures::figure(format!(
        "delay of a write {when}, {keys} keys: median {}, p99 {}, worst {worst}, of {}",
        at(0.5),
        at(0.99),
        delays.len()
    ));
}

/// Fills the log again and again.
async fn load(node: &Node, time: Duration) -> Outcome {
    let end = Instant::now() + time;
    let mut client = node.client().await?;
    let value = "z".repeat(64 * 1024);
    while Instant::now() < end {
        client.ask(&format!("SET filler {value}")).await?;
    }
    Ok(())
}

/// Starts all nodes from disk and reads some keys back.
async fn restart(cluster: &mut Cluster, line: &Line) -> Outcome {
    let start = Instant::now();
    cluster.start_again().await?;
    figures::figure(format!(
        "from the start of {} nodes with {} keys on disk until all serve: {}",
        line.nodes,
        line.keys,
        text(start.elapsed())
    ));
    for node in &cluster.nodes {
        let mut client = node.client().await?;
        for number in [0, line.keys / 2, line.keys.saturating_sub(1)] {
            let (key, value) = pair(number, line.value);
            let reply = client.ask(&format!("GET {key}")).await?;
            if reply.bytes() != Some(value.as_bytes()) {
                return Err(Failure::new(format!("{key} is {reply} after the restart")));
            }
        }
        let keys = client.ask("DBSIZE").await?.integer().unwrap_or_default();
        if usize::try_from(keys).unwrap_or_default() < line.keys {
            return Err(Failure::new(format!("{keys} keys after the restart of {}", line.keys)));
        }
    }
    Ok(())
}
