//! Judges keys that have seen enough, while the run goes on.
//!
//! Owns: the last read of a retired key, its judgement, its removal from the cluster. Does not own: the rules. Invariant: a key is judged
//! only when no operation on it can be under way any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::book::{Book, operation};
use super::team::{PATIENCE_MAX, Retired, judge, perform};
use super::verdict::Sum;
use super::wire::{Told, Wire, words};
use super::workload::Workload;
use crate::chance::Chance;
use crate::door::{Door, another};
use crate::history::Outcome as Known;

/// How long a key rests before its last read: longer than any client waits, and long enough to see another fault or two.
const REST: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(30));
/// How long subscribers stay with a channel after the last publish.
const LISTENING: Duration = Duration::from_secs(12);
/// How long a channel rests after that.
const CHANNEL_REST: Duration = Duration::from_secs(8);
/// How long the last read waits for its reply.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the last read is tried; after that the key is judged without it, for the faults may last.
const TRIES: Duration = Duration::from_secs(20);

/// What judging needs.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub(super) book: Arc<Book>,
    pub(super) sum: Arc<Mutex<Sum>>,
    /// One judgement at a time, so that the cluster keeps the processors.
    pub(super) gate: Arc<Semaphore>,
}

impl Bench {
    /// Judges one key.
    pub(super) async fn judge(&self, workload: Workload, key: String) {
        let Ok(_permit) = self.gate.acquire().await else { return };
        let lines = self.book.take(workload, &key);
        let judged = tokio::task::spawn_blocking(move || super::verdict::of_key(workload, &lines));
        match judged.await {
            Ok(judged) => {
                self.sum.lock().unwrap_or_else(PoisonError::into_inner).add(judged);
            }
            Err(error) => self.book.trouble(format!("the check of {key} broke: {error}")),
        }
    }
}

/// Works until the run stops and everything that was retired is judged or back among the live keys.
pub(super) async fn work(
    bench: Bench,
    mut retired: mpsc::Receiver<Retired>,
    doors: watch::Receiver<Vec<Door>>,
    mut chance: Chance,
    stop: Arc<AtomicBool>,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            key = retired.recv() => match key {
                Some(key) => {
                    let rest = chance.between(REST.0, REST.1);
                    let own = chance.branch();
                    let one = one(bench.clone(), key, rest, doors.clone(), own, Arc::clone(&stop));
                    tasks.spawn(one);
                }
                None => break,
            },
            Some(_) = tasks.join_next() => {}
            () = sleep(Duration::from_millis(200)) => {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn one(
    bench: Bench,
    retired: Retired,
    rest: Duration,
    doors: watch::Receiver<Vec<Door>>,
    mut chance: Chance,
    stop: Arc<AtomicBool>,
) {
    let Retired { workload, key, team } = retired;
    let is_channel = workload == Workload::PubSub;
    // When the run stops meanwhile, it is one of the live keys.
    if is_channel && !pause(LISTENING, &stop).await {
        return;
    }
    team.hide(&key);
    let rest = if is_channel { CHANNEL_REST } else { rest };
    if !pause(rest.max(PATIENCE_MAX), &stop).await {
        return;
    }
    // A subscriber at a node that is paused has yet to hear what waits there.
    while !bench.book.subscribed(&key).is_empty() {
        if !pause(Duration::from_secs(1), &stop).await {
            return;
        }
    }
    let deadline = Instant::now() + TRIES;
    let mut wire = None;
    while Instant::now() < deadline && !stop.load(Ordering::Relaxed) {
        let doors = doors.borrow().clone();
        let Some(door) = another(&doors, None, &mut chance) else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        match Wire::open(&door).await {
            Ok(mut opened) => {
                if last_read(&bench.book, &mut opened, workload, &key).await {
                    wire = Some(opened);
                    break;
                }
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    if stop.load(Ordering::Relaxed) && wire.is_none() {
        return;
    }
    bench.judge(workload, key.clone()).await;
    // So that the state does not grow with the length of the run. If it fails, the key stays, and no harm is done.
    if let Some(mut wire) = wire {
        drop::<Told>(wire.ask(words(&["DEL", &key]), PATIENCE).await);
    }
}

/// Waits; tells whether the run goes on.
async fn pause(time: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(100)).await;
    }
    !stop.load(Ordering::Relaxed)
}

/// Reads all of a key once; tells whether that was answered.
pub(super) async fn last_read(book: &Book, wire: &mut Wire, workload: Workload, key: &str) -> bool {
    let Some(call) = workload.whole() else { return true };
    let client = book.client();
    let invoked = book.now();
    let told = perform(wire, client, key, &call, PATIENCE).await;
    let times = (invoked, book.now());
    let (outcome, _) = judge(book, key, &call, told);
    let is_ok = matches!(outcome, Known::Ok(_));
    book.operation(workload, operation(client, wire.slot, key, call, times, outcome));
    is_ok
}
