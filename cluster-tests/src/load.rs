//! Writers that keep a cluster busy, and their record of what was promised to them.
//!
//! Owns: the load, what each writer knows of its writes, reading it all back, the measure of a gap. Does not own:
//! processes and what is done to them. Invariant: a write counts as acknowledged only if its reply arrived, and as
//! refused only if the reply says that it had no effect; everything else is unknown and may have happened or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::{Arrival, Client, encode};
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// How long a writer waits for one reply before it counts the outcome as unknown.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// The replies of a writer that promise that nothing happened.
const REFUSALS: [&str; 2] = ["TRYAGAIN", "CLUSTERDOWN"];

/// Sorts `times` and returns the middle and the longest.
pub fn median_and_worst(times: &mut [Duration]) -> Option<(Duration, Duration)> {
    times.sort_unstable();
    Some((*times.get(times.len() / 2)?, *times.last()?))
}

/// What one writer knows of its writes: key `w<id>:<n>` holds `n`, and `c<id>` counts.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The writer, by which its keys are named.
    pub id: usize,
    /// The place of the node that it wrote to.
    pub node: usize,
    /// The keys whose writes were acknowledged, with the time of that.
    pub acknowledged: Vec<(u64, Instant)>,
    /// The keys whose writes may have happened or not.
    pub unknown: Vec<u64>,
    /// How many increments were acknowledged.
    pub counted: u64,
    /// How many increments may have happened or not.
    pub uncounted: u64,
    /// When anything was acknowledged.
    pub times: Vec<Instant>,
}

/// What was promised to all writers together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How many writes were acknowledged.
    pub acknowledged: usize,
    /// How many may have happened or not.
    pub unknown: usize,
}

/// Adds up what `records` say.
#[must_use]
pub fn total(records: &[Record]) -> Total {
    let uncounted: u64 = records.iter().map(|record| record.uncounted).sum();
    Total {
        acknowledged: records.iter().map(|record| record.times.len()).sum(),
        unknown: records.iter().map(|record| record.unknown.len()).sum::<usize>()
            + usize::try_from(uncounted).unwrap_or(usize::MAX),
    }
}

/// Writers under way.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Record>>,
}

impl Writers {
    /// Starts `each` writers at each of the addresses, named from `first_id` on.
    #[must_use]
    pub fn start(addresses: &[SocketAddr], each: usize, first_id: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for (node, address) in addresses.iter().enumerate() {
            for _ in 0..each {
                let id = first_id + tasks.len();
                tasks.push(tokio::spawn(write(id, node, *address, Arc::clone(&stop))));
            }
        }
        Self { stop, tasks }
    }

    /// Ends the load and returns what the writers know.
    ///
    /// # Errors
    /// When a writer broke.
    pub async fn finish(self) -> Outcome<Vec<Record>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut records = Vec::new();
        for task in self.tasks {
            let record = task.await;
            records.push(record.map_err(|error| Failure::new(format!("a writer broke: {error}")))?);
        }
        Ok(records)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Effect {
    Done,
    Nothing,
    Unknown,
}

/// Writes until told to stop, one write after the other: a key of its own, then a count.
async fn write(id: usize, node: usize, address: SocketAddr, stop: Arc<AtomicBool>) -> Record {
    let mut record = Record { id, node, ..Record::default() };
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
                record.acknowledged.push((number, Instant::now()));
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
#[must_use]
pub fn gap(records: &[Record], node: usize, killed_at: Instant) -> Option<Duration> {
    let here = records.iter().filter(|record| record.node == node);
    let mut times: Vec<Instant> = here.flat_map(|record| record.times.iter().copied()).collect();
    times.sort_unstable();
    let first = times.iter().rposition(|time| *time <= killed_at)?;
    let gaps = times.get(first..)?.windows(2);
    gaps.filter_map(|pair| Some(*pair.last()? - *pair.first()?)).max()
}

/// Reads back at `address` what all writers have written.
///
/// # Errors
/// When an acknowledged write is missing, a value is wrong, or a counter is out of bounds.
pub async fn check(address: SocketAddr, records: &[Record]) -> Outcome {
    for record in records {
        let lost = lost(address, record).await;
        let place = format!("writer {}, read at {address}", record.id);
        let lost = lost.map_err(|failure| failure.during(&place))?;
        if let Some((number, _)) = lost.first() {
            let text = format!("w{}:{number} was acknowledged and is not there", record.id);
            return Err(
                Failure::new(format!("{text}, nor are {} more", lost.len() - 1)).during(&place)
            );
        }
        count(address, record, 0).await.map_err(|failure| failure.during(&place))?;
    }
    Ok(())
}

/// Returns the acknowledged writes of one writer that are not there.
///
/// # Errors
/// When a value is there and wrong, also one whose outcome was unknown, or the node does not answer.
pub async fn lost(address: SocketAddr, record: &Record) -> Outcome<Vec<(u64, Instant)>> {
    let mut client = Client::connect(address).await?;
    let known = record.acknowledged.iter().map(|(number, time)| (*number, Some(*time)));
    let unknown = record.unknown.iter().map(|number| (*number, None));
    let all: Vec<(u64, Option<Instant>)> = known.chain(unknown).collect();
    let mut lost = Vec::new();
    for batch in all.chunks(500) {
        let keys: Vec<String> =
            batch.iter().map(|(number, _)| format!("w{}:{number}", record.id)).collect();
        let mut command: Vec<&[u8]> = vec![b"MGET"];
        command.extend(keys.iter().map(String::as_bytes));
        let reply = client.call(&command).await?;
        let values = reply.elements().ok_or_else(|| Failure::new(format!("MGET: {reply}")))?;
        for ((number, time), value) in batch.iter().zip(values) {
            if *value == Reply::NilBulk {
                lost.extend(time.map(|time| (*number, time)));
            } else if *value != Reply::Bulk(number.to_string().into_bytes()) {
                return Err(Failure::new(format!("w{}:{number} is {value}", record.id)));
            }
        }
    }
    Ok(lost)
}

/// Reads one writer's counter, from which `missing` increments may have been lost.
///
/// # Errors
/// When it is out of bounds.
pub async fn count(address: SocketAddr, record: &Record, missing: u64) -> Outcome {
    let mut client = Client::connect(address).await?;
    let reply = client.ask(&format!("GET c{}", record.id)).await?;
    let text = reply.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let counted: u64 = text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let bounds = record.counted.saturating_sub(missing)..=record.counted + record.uncounted;
    if bounds.contains(&counted) {
        return Ok(());
    }
    let (low, high) = bounds.into_inner();
    let text = format!("c{} is {counted}, but {low} to {high} increments happened", record.id);
    Err(Failure::new(text))
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

    #[test]
    fn unknown_increments_count_as_unknown_writes() {
        let now = Instant::now();
        let one = Record { times: vec![now; 3], unknown: vec![4], ..Record::default() };
        let two = Record { times: vec![now; 2], uncounted: 2, ..Record::default() };
        assert_eq!(total(&[one, two]), Total { acknowledged: 5, unknown: 3 });
    }
}
