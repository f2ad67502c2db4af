//! One publisher that is never idle, and the subscribers that read.
//!
//! Owns: their connections, the count of deliveries, the memory of a process over time. Does not own: the slow one. Invariant: a reader
//! that misses a message, or is cut off, ends the run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{CHANNEL, Line};
use crate::client::{Client, encode};
use crate::failure::{Failure, Outcome};
use crate::heard::{Heard, hear, subscribe};
use crate::process::{Cluster, Node};
use crate::whole::Whole;

/// How many PUBLISH go into one write.
const BATCH: usize = 64;
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(50);

/// The load under way.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    publisher: JoinHandle<()>,
    readers: Vec<JoinHandle<Outcome<Whole>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The last number that may have been published.
    sent: AtomicU64,
    delivered: Arc<AtomicU64>,
    is_over: AtomicBool,
    /// Why a client ended early.
    broken: Mutex<Option<Failure>>,
}

impl Shared {
    /// Keeps the first failure for the one who measures.
    fn note<T>(&self, who: &str, outcome: Outcome<T>) -> Outcome<T> {
        outcome.map_err(|failure| {
            let failure = failure.during(who);
            if let Ok(mut broken) = self.broken.lock() {
                broken.get_or_insert_with(|| failure.clone());
            }
            failure
        })
    }

    fn check(&self) -> Outcome {
        let broken = self.broken.lock().ok().and_then(|broken| broken.clone());
        broken.map_or(Ok(()), Err)
    }
}

impl Load {
    /// Starts the publisher at the first node and readers at all of them.
    pub(super) async fn start(cluster: &Cluster, line: &Line) -> Outcome<Self> {
        let shared = Arc::new(Shared::default());
        let mut readers = Vec::new();
        for node in cluster.nodes.iter().cycle().take(line.readers) {
            let mut client = open(node).await?;
            subscribe(&mut client, CHANNEL, drop).await?;
            let (shared, who) = (Arc::clone(&shared), format!("a reader at {}", node.resp));
            readers.push(tokio::spawn(async move {
                let whole = read(client, &shared).await;
                shared.note(&who, whole)
            }));
        }
        let first = cluster.nodes.first().ok_or_else(|| Failure::new("no node"))?;
        let client = open(first).await?;
        let (window, size) = (line.window, line.size);
        let own = Arc::clone(&shared);
        let publisher = tokio::spawn(async move {
            let published = publish(client, window, size, &own).await;
            // Whoever measures finds it there.
            drop(own.note("the publisher", published));
        });
        Ok(Self { shared, publisher, readers })
    }

    /// Gives the last number that may have been published.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// Gives the count of deliveries, for those who read elsewhere.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.delivered)
    }

    /// Lets the load run until it is even.
    pub(super) async fn warm(&self, time: Duration) -> Outcome {
        self.rate(time).await.map(drop)
    }

    /// Measures how many messages a second reach all readers together.
    pub(super) async fn rate(&self, time: Duration) -> Outcome<f64> {
        let (begun, before) = (Instant::now(), self.delivered());
        sleep(time).await;
        let count = self.delivered() - before;
        self.shared.check()?;
        #[expect(clippy::cast_precision_loss, reason = "some millions")]
        let count = count as f64;
        Ok(count / begun.elapsed().as_secs_f64())
    }

    fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::Relaxed)
    }

    /// Stops, and fails if a reader has missed anything.
    pub(super) async fn end(self, name: &str) -> Outcome {
        self.shared.is_over.store(true, Ordering::Release);
        let broke = |error| Failure::new(format!("a client of the load broke: {error}"));
        self.publisher.await.map_err(broke)?;
        self.shared.check()?;
        let mut count = 0;
        for (place, reader) in self.readers.into_iter().enumerate() {
            let whole = reader.await.map_err(broke)??;
            if let Some(text) = whole.broken.first() {
                return Err(Failure::new(format!("reader {place}: {text}")));
            }
            count += whole.received;
        }
        crate::figures::note(format!("{name}: {count} messages were read, none is missing"));
        Ok(())
    }
}

async fn open(node: &Node) -> Outcome<Client> {
    let mut client = node.client().await?;
    let reply = client.ask("HELLO 3").await?;
    reply.error_text().map_or(Ok(client), |text| Err(Failure::new(text)))
}

/// Keeps a window of messages under way until the end.
async fn publish(mut client: Client, window: usize, size: usize, shared: &Shared) -> Outcome {
    let mut owed = 0_usize;
    let mut is_over = false;
    while !is_over || owed > 0 {
        is_over = shared.is_over.load(Ordering::Acquire);
        while !is_over && owed + BATCH <= window.max(BATCH) {
            let first = shared.sent.fetch_add(BATCH as u64, Ordering::AcqRel) + 1;
            let mut batch = Vec::new();
            for number in first..first + BATCH as u64 {
                let payload = format!("{number:0size$}");
                batch.extend(encode(&[b"PUBLISH", CHANNEL, payload.as_bytes()]));
            }
            client.send(&batch).await?;
            owed += BATCH;
        }
        if owed > 0 {
            let heard = hear(&mut client, DEADLINE).await?;
            if !matches!(&heard, Heard::Reply(reply) if reply.integer().is_some()) {
                return Err(Failure::new(format!("PUBLISH gave {heard:?}")));
            }
            owed -= 1;
        }
    }
    Ok(())
}

async fn read(mut client: Client, shared: &Shared) -> Outcome<Whole> {
    let mut whole = Whole::default();
    let mut last_heard = Instant::now();
    loop {
        match hear(&mut client, LOOK).await? {
            Heard::Message { payload, .. } => {
                whole.received(number_of(&payload)?);
                shared.delivered.fetch_add(1, Ordering::Relaxed);
                last_heard = Instant::now();
            }
            Heard::Lost(loss) => whole.broken.push(loss.to_string()),
            Heard::Closed => return Err(Failure::new("a reader was cut off")),
            Heard::Nothing => {
                let published = shared.sent.load(Ordering::Acquire);
                let is_late = last_heard.elapsed() > DEADLINE;
                if shared.is_over.load(Ordering::Acquire)
                    && (whole.last() == Some(published) || is_late)
                {
                    whole.end(published);
                    return Ok(whole);
                }
            }
            Heard::Confirmed { .. } | Heard::Reply(_) => {}
        }
    }
}

/// Reads the number that a message is.
pub(super) fn number_of(payload: &[u8]) -> Outcome<u64> {
    let number = String::from_utf8_lossy(payload).parse();
    number.map_err(|_| Failure::new("a message that is no number"))
}

/// What a process held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) before: u64,
    pub(super) peak: u64,
    pub(super) after: u64,
}

/// Looks at the memory of a process until it is ended.
#[derive(Debug)]
pub(super) struct Watch {
    pid: u32,
    before: u64,
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

/// Begins to look at the memory of `pid`.
pub(super) fn watch(pid: u32) -> Outcome<Watch> {
    let before = resident(pid)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let task = tokio::spawn(async move {
        let mut peak = before;
        while !stopped.load(Ordering::Acquire) {
            peak = peak.max(resident(pid).unwrap_or_default());
            sleep(LOOK).await;
        }
        peak
    });
    Ok(Watch { pid, before, stop, task })
}

impl Watch {
    pub(super) async fn end(self) -> Outcome<Memory> {
        self.stop.store(true, Ordering::Release);
        let peak = self.task.await.map_err(|error| Failure::new(error.to_string()))?;
        Ok(Memory { before: self.before, peak, after: resident(self.pid)? })
    }
}

/// Reads how much memory a process holds resident, in bytes.
fn resident(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Failure::new("no VmRSS in /proc"))
}
