//! Clients of a fleet: each writes at a living node and moves on when that goes.
//!
//! Owns: what each writer knows, and the checks on it while it runs and at the end. Does not own: the nodes. Each writer has
//! unique keys, a counter and a register that only grows; all share one counter. Invariant: what a writer reads lies
//! between what was acknowledged to it and what it has tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::client::Client;
use crate::door::{Door, Effect, another, attempt, check_keys, read_number};
use crate::failure::{Failure, Outcome};
use crate::process::Group;
use crate::reply::Reply;

/// The pause between two rounds of a writer, so that the log of a long run stays small.
const PAUSE: Duration = Duration::from_millis(10);
/// How many rounds lie between two reads at another node.
const READ_EVERY: u64 = 10;
/// A time without an acknowledged write that is worth a line in the timeline.
const REMARKABLE: Duration = Duration::from_millis(1500);

/// What one writer knows.
#[derive(Debug, Default)]
pub(super) struct Record {
    id: usize,
    keys: Vec<u64>,
    counted: Bounds,
    register: Register,
    /// The replies to the increments of the shared counter.
    shared: Vec<u64>,
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) longest_gap: Duration,
    pub(super) remarks: Vec<String>,
    pub(super) broken: Vec<String>,
    last_done: Option<Instant>,
    trouble: Option<String>,
}

/// A number on the servers of which only this is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bounds {
    low: u64,
    high: u64,
}

impl Bounds {
    const fn holds(self, number: u64) -> bool {
        self.low <= number && number <= self.high
    }
}

/// A register that is set to growing numbers. A write of which nobody knows may still take effect much later, even after one
/// that was acknowledged; so what it holds is the last acknowledged number or one of those.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Register {
    acknowledged: u64,
    unknown: Vec<u64>,
}

impl Register {
    fn holds(&self, number: u64) -> bool {
        self.acknowledged == number || self.unknown.contains(&number)
    }
}

/// Writers under way.
#[derive(Debug)]
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Record>>,
}

impl Writers {
    pub(super) fn start(count: usize, group: &Group, chance: &mut Chance) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..count)
            .map(|id| {
                let writer = Writer {
                    record: Record { id, ..Record::default() },
                    doors: group.doors(),
                    chance: chance.branch(),
                    begun: Instant::now(),
                    slot: None,
                    client: None,
                };
                tokio::spawn(writer.run(Arc::clone(&stop), Arc::clone(&done)))
            })
            .collect();
        Self { stop, done, tasks }
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) async fn finish(self) -> Outcome<Vec<Record>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut records = Vec::new();
        for task in self.tasks {
            let record = task.await;
            records.push(record.map_err(|error| Failure::new(format!("a writer broke: {error}")))?);
        }
        Ok(records)
    }
}

struct Writer {
    record: Record,
    doors: watch::Receiver<Vec<Door>>,
    chance: Chance,
    begun: Instant,
    slot: Option<usize>,
    client: Option<Client>,
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Record {
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) && self.record.broken.is_empty() {
            let Some(mut client) = self.client.take() else {
                self.connect().await;
                continue;
            };
            number += 1;
            let before = self.record.done;
            if self.round(&mut client, number).await.is_some() {
                self.client = Some(client);
            }
            done.fetch_add(self.record.done - before, Ordering::Relaxed);
            if number.is_multiple_of(READ_EVERY) {
                self.read_elsewhere().await;
            }
            sleep(PAUSE).await;
        }
        self.record
    }

    async fn connect(&mut self) {
        let doors = self.doors.borrow().clone();
        if let Some(door) = another(&doors, self.slot, &mut self.chance) {
            self.slot = Some(door.slot);
            self.client = door.open().await.ok();
        }
        if self.client.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Writes all four; gives nothing when the connection is of no more use.
    async fn round(&mut self, client: &mut Client, number: u64) -> Option<()> {
        let (id, text) = (self.record.id, number.to_string());
        let key = format!("f{id}:{number}");
        let done = self.write(client, &[b"SET", key.as_bytes(), text.as_bytes()]).await?;
        if done.is_some() {
            self.record.keys.push(number);
        }
        self.record.counted.high += 1;
        match self.write(client, &[b"INCR", format!("fc{id}").as_bytes()]).await {
            Some(Some(Reply::Integer(count))) => {
                let count = u64::try_from(count).unwrap_or(0);
                let Bounds { low, high } = self.record.counted;
                if count <= low || count > high {
                    let text = format!("fc{id} counts {count} after {low}, with {high} tried");
                    self.record.broken.push(text);
                }
                self.record.counted.low = low + 1;
            }
            // Surely not done.
            Some(None) => self.record.counted.high -= 1,
            _ => return None,
        }
        let register = format!("fr{id}");
        match self.write(client, &[b"SET", register.as_bytes(), text.as_bytes()]).await {
            Some(Some(_)) => self.record.register.acknowledged = number,
            Some(None) => {}
            None => {
                self.record.register.unknown.push(number);
                return None;
            }
        }
        if let Some(Reply::Integer(count)) = self.write(client, &[b"INCR", b"fleet"]).await? {
            self.record.shared.push(u64::try_from(count).unwrap_or(0));
        }
        Some(())
    }

    /// Gives the reply, or `Some(None)` when it surely was not done, or nothing when nobody knows.
    async fn write(&mut self, client: &mut Client, arguments: &[&[u8]]) -> Option<Option<Reply>> {
        match attempt(client, arguments).await {
            Effect::Done(reply) => {
                self.note_done();
                Some(Some(reply))
            }
            Effect::Refused(text) => {
                self.record.refused += 1;
                self.record.trouble.get_or_insert(text);
                sleep(Duration::from_millis(5)).await;
                Some(None)
            }
            Effect::Unknown(text) => {
                self.record.unknown += 1;
                self.record.trouble.get_or_insert(text);
                None
            }
            Effect::Cut => {
                self.record.unknown += 1;
                self.record.trouble.get_or_insert("connection closed".into());
                None
            }
        }
    }

    fn note_done(&mut self) {
        let now = Instant::now();
        let record = &mut self.record;
        record.done += 1;
        let gap = record.last_done.replace(now).map_or(Duration::ZERO, |last| now - last);
        let trouble = record.trouble.take();
        if gap > REMARKABLE {
            let place = self.slot.unwrap_or(0);
            let (at, gap) = ((now - self.begun - gap).as_secs_f64(), gap.as_millis());
            let trouble = trouble.unwrap_or_else(|| "no error, only late".into());
            let id = record.id;
            record.remarks.push(format!(
                "at {at:.1} s: writer {id} waited {gap} ms, at last at n{place}: {trouble}"
            ));
        }
        record.longest_gap = record.longest_gap.max(gap);
    }

    /// Reads counter and register at another node. A read that fails tells nothing.
    async fn read_elsewhere(&mut self) {
        let doors = self.doors.borrow().clone();
        let Some(door) = another(&doors, self.slot, &mut self.chance) else { return };
        let Ok(mut client) = door.open().await else { return };
        if let Err(Misread::Wrong(text)) = numbers(&mut client, &self.record).await {
            self.record.broken.push(format!("read at n{}: {text}", door.slot));
        }
    }
}

/// Why a read shows nothing good.
enum Misread {
    /// It has shown what cannot be.
    Wrong(String),
    /// It was not answered.
    Not(Failure),
}

/// Reads counter and register of a writer.
async fn numbers(client: &mut Client, record: &Record) -> Result<(), Misread> {
    let (counter, register) = (format!("fc{}", record.id), format!("fr{}", record.id));
    let counted = read_number(client, &[b"GET", counter.as_bytes()]).await.map_err(Misread::Not)?;
    if !record.counted.holds(counted) {
        let text = format!("{counter} is {counted}, not within {:?}", record.counted);
        return Err(Misread::Wrong(text));
    }
    let set = read_number(client, &[b"GET", register.as_bytes()]).await.map_err(Misread::Not)?;
    if record.register.holds(set) {
        return Ok(());
    }
    Err(Misread::Wrong(format!("{register} is {set}, not as {:?} says", record.register)))
}

/// Finds a reply of the shared counter that two increments were given: two leaders would do so.
pub(super) fn conflict(records: &[Record]) -> Option<String> {
    let mut given = BTreeMap::new();
    for record in records {
        for count in &record.shared {
            if let Some(other) = given.insert(*count, record.id) {
                let id = record.id;
                return Some(format!(
                    "writers {other} and {id} were both told that fleet is {count}"
                ));
            }
        }
    }
    None
}

/// Reads everything back at `door`; returns how many writes were proved.
pub(super) async fn check(door: &Door, records: &[Record]) -> Outcome<usize> {
    let mut client = door.open().await?;
    let mut proved = 0;
    for record in records {
        check_keys(&mut client, &format!("f{}:", record.id), &record.keys).await?;
        numbers(&mut client, record).await.map_err(|misread| match misread {
            Misread::Wrong(text) => Failure::new(text),
            Misread::Not(failure) => failure,
        })?;
        proved += record.keys.len() + record.shared.len();
    }
    let shared = read_number(&mut client, &[b"GET", b"fleet"]).await?;
    let told = records.iter().flat_map(|record| record.shared.iter()).max().copied().unwrap_or(0);
    if shared < told {
        return Err(Failure::new(format!("fleet is {shared}, but {told} was told")));
    }
    Ok(proved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_count_for_two_is_a_conflict() {
        let record =
            |id, shared: &[u64]| Record { id, shared: shared.to_vec(), ..Record::default() };
        assert_eq!(conflict(&[record(0, &[1, 3]), record(1, &[2, 4])]), None);
        let found = conflict(&[record(0, &[1, 3]), record(1, &[2, 3])]);
        assert!(found.is_some_and(|text| text.contains("fleet is 3")));
    }

    #[test]
    fn bounds_hold_what_was_tried() {
        let bounds = Bounds { low: 3, high: 5 };
        assert!(bounds.holds(3) && bounds.holds(5) && !bounds.holds(2) && !bounds.holds(6));
        let register = Register { acknowledged: 9, unknown: vec![4] };
        assert!(register.holds(9) && register.holds(4) && !register.holds(8));
    }
}
