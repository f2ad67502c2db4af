//! Kills the leader of a cluster under load and checks what it had promised.
//!
//! Owns: the load, the record of what was acknowledged, the measure of the gap, the check afterwards. Does not
//! own: the processes. Invariant: a write counts as acknowledged only if its reply arrived, and as refused
//! only if the reply says that it had no effect; everything else is unknown and may have happened or not.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::{Arrival, Client, encode};
use crate::failure::{Failure, Outcome};
use crate::process::{Cluster, Signal};
use crate::reply::Reply;

/// How long the survivors may take to accept writes again before the round fails.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a writer waits for one reply before it counts the outcome as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// The replies of a writer that promise that nothing happened.
const REFUSALS: [&str; 2] = ["TRYAGAIN", "CLUSTERDOWN"];

/// How much is written, and how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Clients at each node.
    pub writers: usize,
    /// Load before the kill.
    pub before: Duration,
    /// Load after the recovery.
    pub after: Duration,
}

/// What one round has shown.
#[derive(Debug, Clone)]
pub struct Round {
    /// The node that led, from 1.
    pub leader: usize,
    /// The longest time in which a survivor acknowledged no write.
    pub gap: Duration,
    /// How many writes were acknowledged.
    pub acknowledged: usize,
    /// How many writes may have happened or not.
    pub unknown: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leader, gap, acknowledged, unknown } = self;
        let ms = gap.as_millis();
        write!(f, "leader n{leader} killed, write gap {ms} ms, ")?;
        write!(f, "{acknowledged} writes acknowledged and all there, {unknown} unknown")
    }
}

/// Sorts `gaps` and returns the middle and the longest.
pub fn median_and_worst(gaps: &mut [Duration]) -> Option<(Duration, Duration)> {
    gaps.sort_unstable();
    Some((*gaps.get(gaps.len() / 2)?, *gaps.last()?))
}

/// What one writer knows of its writes: key `w<id>:<n>` holds `n`, and `c<id>` counts.
#[derive(Debug, Default)]
struct Record {
    node: usize,
    acknowledged: Vec<u64>,
    unknown: Vec<u64>,
    counted: u64,
    uncounted: u64,
    times: Vec<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Effect {
    Done,
    Nothing,
    Unknown,
}

/// Runs one round with a fresh cluster of three.
///
/// # Errors
/// When an acknowledged write is missing, a counter is out of bounds, or the survivors do not recover.
pub async fn round(load: &Load) -> Outcome<Round> {
    let mut cluster = Cluster::start(3).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for (node, address) in cluster.resp().into_iter().enumerate() {
        for _ in 0..load.writers {
            writers.push(tokio::spawn(write(writers.len(), node, address, Arc::clone(&stop))));
        }
    }
    sleep(load.before).await;
    let leader = cluster.leader().await?;
    let killed_at = Instant::now();
    if let Some(node) = cluster.nodes.get_mut(leader) {
        node.process.signal(Signal::Kill)?;
    }
    let mut survivors: Vec<(usize, SocketAddr)> = cluster.resp().into_iter().enumerate().collect();
    survivors.remove(leader);
    let recovered = recover(&survivors).await;
    sleep(load.after).await;
    stop.store(true, Ordering::Relaxed);
    let records = join(writers).await?;
    recovered?;
    for (_, address) in &survivors {
        for (id, record) in records.iter().enumerate() {
            let checked = check(*address, id, record).await;
            checked.map_err(|failure| failure.during(format!("writer {id}, read at {address}")))?;
        }
    }
    let gap = survivors.iter().filter_map(|(node, _)| gap(&records, *node, killed_at)).max();
    Ok(Round {
        leader: leader + 1,
        gap: gap.ok_or_else(|| Failure::new("no write was acknowledged around the kill"))?,
        acknowledged: records.iter().map(|record| record.times.len()).sum(),
        unknown: records.iter().map(|record| record.unknown.len()).sum::<usize>()
            + usize::try_from(records.iter().map(|record| record.uncounted).sum::<u64>())
                .unwrap_or(usize::MAX),
    })
}

/// Waits until each survivor has accepted a write that began after the kill.
async fn recover(survivors: &[(usize, SocketAddr)]) -> Outcome {
    for (node, address) in survivors {
        let what = format!("a write at n{} after the kill", node + 1);
        crate::process::wait_for(&what, RECOVERY_DEADLINE, || async {
            let reply = Client::connect(*address).await?.ask("SET recovered 1").await?;
            match reply.error_text() {
                None => Ok(()),
                Some(text) => Err(Failure::new(text)),
            }
        })
        .await?;
    }
    Ok(())
}

async fn join(writers: Vec<JoinHandle<Record>>) -> Outcome<Vec<Record>> {
    let mut records = Vec::new();
    for writer in writers {
        records
            .push(writer.await.map_err(|error| Failure::new(format!("a writer broke: {error}")))?);
    }
    Ok(records)
}

/// Writes until told to stop, one write after the other: a key of its own, then a count.
async fn write(id: usize, node: usize, address: SocketAddr, stop: Arc<AtomicBool>) -> Record {
    let mut record = Record { node, ..Record::default() };
    let mut client = Client::connect(address).await.ok();
    let (counter, mut number) = (format!("c{id}"), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = &mut client else {
            // The node is dead, or it has closed the connection; only the latter can be mended.
            sleep(Duration::from_millis(10)).await;
            client = Client::connect(address).await.ok();
            continue;
        };
        number += 1;
        let (key, value) = (format!("w{id}:{number}"), number.to_string());
        let effect = effect(open, &[b"SET", key.as_bytes(), value.as_bytes()]).await;
        match effect {
            Effect::Done => {
                record.acknowledged.push(number);
                record.times.push(Instant::now());
            }
            Effect::Nothing => sleep(Duration::from_millis(5)).await,
            Effect::Unknown => {
                record.unknown.push(number);
                client = None;
                continue;
            }
        }
        match self::effect(open, &[b"INCR", counter.as_bytes()]).await {
            Effect::Done => {
                record.counted += 1;
                record.times.push(Instant::now());
            }
            Effect::Nothing => sleep(Duration::from_millis(5)).await,
            Effect::Unknown => {
                record.uncounted += 1;
                client = None;
            }
        }
    }
    record
}

async fn effect(client: &mut Client, arguments: &[&[u8]]) -> Effect {
    if client.send(&encode(arguments)).await.is_err() {
        return Effect::Unknown;
    }
    match client.next(WRITE_DEADLINE).await {
        Ok(Arrival::Reply(reply)) => match reply.error_text() {
            None => Effect::Done,
            Some(text) if REFUSALS.iter().any(|word| text.starts_with(word)) => Effect::Nothing,
            Some(_) => Effect::Unknown,
        },
        Ok(Arrival::Closed | Arrival::Nothing) | Err(_) => Effect::Unknown,
    }
}

/// Returns the longest time between two acknowledged writes at `node`, from the last one before the kill on.
fn gap(records: &[Record], node: usize, killed_at: Instant) -> Option<Duration> {
    let here = records.iter().filter(|record| record.node == node);
    let mut times: Vec<Instant> = here.flat_map(|record| record.times.iter().copied()).collect();
    times.sort_unstable();
    let first = times.iter().rposition(|time| *time <= killed_at)?;
    let gaps = times.get(first..)?.windows(2);
    gaps.filter_map(|pair| Some(*pair.last()? - *pair.first()?)).max()
}

/// Reads back at `address` what writer `id` has written.
async fn check(address: SocketAddr, id: usize, record: &Record) -> Outcome {
    let mut client = Client::connect(address).await?;
    for batch in record.acknowledged.chunks(500) {
        let keys: Vec<String> = batch.iter().map(|number| format!("w{id}:{number}")).collect();
        let mut command: Vec<&[u8]> = vec![b"MGET"];
        command.extend(keys.iter().map(String::as_bytes));
        let reply = client.call(&command).await?;
        let values = reply.elements().ok_or_else(|| Failure::new(format!("MGET: {reply}")))?;
        for (number, value) in batch.iter().zip(values) {
            if *value != Reply::Bulk(number.to_string().into_bytes()) {
                let text = format!("w{id}:{number} was acknowledged and is {value}");
                return Err(Failure::new(text));
            }
        }
    }
    let reply = client.ask(&format!("GET c{id}")).await?;
    let text = reply.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let counted: u64 = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let bounds = record.counted..=record.counted + record.uncounted;
    if bounds.contains(&counted) {
        return Ok(());
    }
    let (low, high) = bounds.into_inner();
    Err(Failure::new(format!("c{id} is {counted}, but {low} to {high} increments happened")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_begins_with_the_last_write_before_the_kill() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let record = |node, times: &[u64]| Record {
            node,
            times: times.iter().map(|ms| at(*ms)).collect(),
            ..Record::default()
        };
        let records =
            [record(0, &[0, 500, 990, 1400]), record(0, &[1450]), record(1, &[995, 1100])];
        assert_eq!(gap(&records, 0, at(1000)), Some(Duration::from_millis(410)));
        assert_eq!(gap(&records, 1, at(1000)), Some(Duration::from_millis(105)));
        assert_eq!(gap(&records, 2, at(1000)), None);
        let mut gaps = [3, 1, 2].map(Duration::from_secs);
        let sorted = (Duration::from_secs(2), Duration::from_secs(3));
        assert_eq!(median_and_worst(&mut gaps), Some(sorted));
    }
}
