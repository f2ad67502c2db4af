//! The books of a run: who gets which number, what happened on each key that is not judged yet, and the counts.
//!
//! Owns: the lines of each live key in memory, the whole history in the file, the counts by outcome. Does not own: the judgement.
//! Invariant: a key's lines leave memory only to be judged, so that memory is bounded by the keys that live at a time.
#![expect(clippy::wildcard_enum_match_arm, reason = "few of many kinds are meant, here and later")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::workload::{Values, Workload};
use crate::history::{Call, Line, Nanos, Operation, Outcome as Known, Recorder};

/// How much earlier than a key's first operation may be what concerns it.
const BEFORE: Nanos = 30_000_000_000;
/// How many texts of things that must not happen are kept.
const TROUBLES_MAX: usize = 20;

/// How many operations ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) unknown: u64,
}

impl Counts {
    /// All of them.
    pub(super) const fn all(self) -> u64 {
        self.ok + self.failed + self.unknown
    }
}

#[derive(Debug, Default)]
struct Pages {
    keys: BTreeMap<String, Vec<Line>>,
    /// What comes to these is too late to be judged; nothing does that is waited for.
    judged: BTreeSet<String>,
    /// What concerns no key: faults, processes, losses.
    background: Vec<Line>,
    counts: BTreeMap<Workload, Counts>,
    /// What the harness did wrong, or the server said that no workload provokes.
    troubles: Vec<String>,
    troubles_left_out: usize,
    /// The places of the nodes by their ids.
    ids: BTreeMap<String, u8>,
    /// Latencies of what was answered, in buckets of an eighth of an octave of microseconds.
    latencies: BTreeMap<u32, u64>,
}

/// The books.
#[derive(Debug)]
pub(super) struct Book {
    begun: Instant,
    pub(super) recorder: Recorder,
    pub(super) values: Values,
    clients: AtomicU32,
    keys: AtomicU64,
    pages: Mutex<Pages>,
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            // The file has all; memory has what is not judged yet.
            recorder: Recorder::with_limit(0),
            values: Values::default(),
            clients: AtomicU32::new(0),
            keys: AtomicU64::new(0),
            pages: Mutex::default(),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the time since the run began.
    pub(super) fn now(&self) -> Nanos {
        self.at(Instant::now())
    }

    /// Gives the time from the beginning of the run to `instant`.
    pub(super) fn at(&self, instant: Instant) -> Nanos {
        u64::try_from(instant.saturating_duration_since(self.begun).as_nanos())
            .unwrap_or(Nanos::MAX)
    }

    /// Gives a client or subscriber a number that no other had.
    pub(super) fn client(&self) -> u32 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Gives a key that no other was.
    pub(super) fn key(&self, workload: Workload) -> String {
        format!("{workload}-{}", self.keys.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Takes down what concerns `key`.
    pub(super) fn on_key(&self, key: &str, line: Line) {
        self.recorder.record(line.clone());
        let mut pages = self.pages();
        if let Some(lines) = pages.keys.get_mut(key) {
            lines.push(line);
        } else if !pages.judged.contains(key) {
            pages.keys.insert(key.to_owned(), vec![line]);
        }
    }

    /// Takes down an operation.
    pub(super) fn operation(&self, workload: Workload, operation: Operation) {
        let micros = operation.returned.saturating_sub(operation.invoked) / 1000;
        {
            let mut pages = self.pages();
            let counts = pages.counts.entry(workload).or_default();
            match &operation.outcome {
                Known::Ok(_) => counts.ok += 1,
                Known::Failed(_) => counts.failed += 1,
                Known::Unknown(_) => counts.unknown += 1,
            }
            if operation.is_ok() {
                *pages.latencies.entry(bucket(micros)).or_default() += 1;
            }
        }
        let key = operation.key.clone();
        self.on_key(&key, Line::Operation(operation));
    }

    /// Takes down what concerns no key.
    pub(super) fn aside(&self, line: Line) {
        self.recorder.record(line.clone());
        self.pages().background.push(line);
    }

    /// Takes down that something must not have happened; it spoils the run.
    pub(super) fn trouble(&self, text: String) {
        self.recorder.record(Line::Note { at: self.now(), text: text.clone() });
        let mut pages = self.pages();
        if pages.troubles.len() < TROUBLES_MAX {
            pages.troubles.push(text);
        } else {
            pages.troubles_left_out += 1;
        }
    }

    /// Gives what must not have happened and did.
    pub(super) fn troubles(&self) -> Vec<String> {
        let pages = self.pages();
        let more = pages.troubles_left_out;
        let more = (more > 0).then(|| format!("and {more} more"));
        pages.troubles.iter().cloned().chain(more).collect()
    }

    /// Remembers which node has this id.
    pub(super) fn name(&self, id: &str, slot: u8) {
        self.pages().ids.insert(id.to_owned(), slot);
    }

    /// Gives the place of the node that has or had this id.
    pub(super) fn slot_of(&self, id: &str) -> Option<u8> {
        self.pages().ids.get(id).copied()
    }

    /// Gives the counts of all workloads together.
    pub(super) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for counts in self.pages().counts.values() {
            all.ok += counts.ok;
            all.failed += counts.failed;
            all.unknown += counts.unknown;
        }
        all
    }

    /// Gives the counts of each workload.
    pub(super) fn by_workload(&self) -> BTreeMap<Workload, Counts> {
        self.pages().counts.clone()
    }

    /// Gives the time in milliseconds that so many of a thousand answered operations did not exceed.
    pub(super) fn latency(&self, of_thousand: u64) -> f64 {
        let latencies = self.pages().latencies.clone();
        let all: u64 = latencies.values().sum();
        let mut left = all.saturating_mul(of_thousand) / 1000;
        for (bucket, count) in &latencies {
            if *count >= left {
                return (f64::from(*bucket + 1) / 8.0).exp2() / 1000.0;
            }
            left -= count;
        }
        0.0
    }

    /// Gives the keys that are not judged yet.
    pub(super) fn live_keys(&self) -> BTreeSet<String> {
        self.pages().keys.keys().cloned().collect()
    }

    /// Gives the nodes with a subscriber to `channel` whose subscription is confirmed and has not ended.
    pub(super) fn subscribed(&self, channel: &str) -> BTreeSet<u8> {
        let pages = self.pages();
        let mut there = BTreeMap::new();
        for line in pages.keys.get(channel).into_iter().flatten() {
            match line {
                Line::Subscribed { node, subscriber, .. } => {
                    there.insert(*subscriber, *node);
                }
                Line::Unsubscribed { subscriber, .. } => {
                    there.remove(subscriber);
                }
                _ => {}
            }
        }
        there.into_values().collect()
    }

    /// Gives the nodes at which a message was heard.
    pub(super) fn heard(&self, channel: &str, client: u32, count: u64) -> BTreeSet<u8> {
        let pages = self.pages();
        let lines = pages.keys.get(channel).into_iter().flatten().rev().take(10_000);
        lines
            .filter_map(|line| match line {
                Line::Heard { node, publisher, number, .. } => {
                    (*publisher == client && *number == count).then_some(*node)
                }
                _ => None,
            })
            .collect()
    }

    /// Takes the lines of `key` out of memory, in the order of time, with what else concerns it.
    pub(super) fn take(&self, workload: Workload, key: &str) -> Vec<Line> {
        let mut pages = self.pages();
        let own = pages.keys.remove(key).unwrap_or_default();
        pages.judged.insert(key.to_owned());
        let first = own.iter().map(began).min().unwrap_or(0).saturating_sub(BEFORE);
        let concerns = |line: &&Line| match workload {
            Workload::Bound | Workload::Expiry => !matches!(line, Line::Lost { .. }),
            Workload::PubSub => line.at() >= first,
            _ => false,
        };
        let mut lines: Vec<Line> = pages.background.iter().filter(concerns).cloned().collect();
        drop(pages);
        lines.extend(own);
        lines.sort_by_key(Line::at);
        lines
    }
}

/// The eighth of an octave that so many microseconds are in.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8 * 64")]
fn bucket(micros: u64) -> u32 {
    ((micros.max(1) as f64).log2() * 8.0) as u32
}

fn began(line: &Line) -> Nanos {
    match line {
        Line::Operation(operation) => operation.invoked,
        other => other.at(),
    }
}

/// Makes an operation.
pub(super) fn operation(
    client: u32,
    slot: usize,
    key: &str,
    call: Call,
    times: (Nanos, Nanos),
    outcome: Known,
) -> Operation {
    let node = u8::try_from(slot).unwrap_or(u8::MAX);
    let (invoked, returned) = times;
    Operation { client, node, key: key.to_owned(), call, invoked, returned, outcome, index: None }
}
