//! What all clients of a run share: the clock, the history, and the numbers and keys that they give out.
//!
//! Owns the order of moments: within one step of the world each moment is later than the one before, so that what really
//! happened first is first in the history. Does not act. Invariant: a value is given out once in a run, and so is a client's
//! number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate::ids::NodeId;

use super::super::setup::Workload;
use crate::chance::Chance;
use crate::history::{Line, Nanos, Recorder};

/// After how many operations a key is not used any more.
const OPERATIONS_MAX: u32 = 300;
/// After how many of unknown outcome.
const UNKNOWN_MAX: u32 = 8;
/// How many values of a key are remembered, to be asked for later.
const REMEMBERED: usize = 12;

/// What clients share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ground(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    /// The world's time, and how many moments were told since.
    now: AtomicU64,
    moments: AtomicU64,
    client: AtomicU32,
    value: AtomicU64,
    is_stopping: AtomicBool,
    under_way: AtomicU64,
    keys: Mutex<BTreeMap<Workload, Vec<Key>>>,
    /// The machines of all nodes that ever were.
    nodes: Mutex<BTreeMap<NodeId, u8>>,
    findings: Mutex<Vec<String>>,
}

/// A key in use.
#[derive(Clone, Debug, Default)]
struct Key {
    name: String,
    operations: u32,
    unknown: u32,
    values: Vec<u64>,
}

/// An operation that is under way as long as this lives.
#[derive(Debug)]
pub struct UnderWay(Ground);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ground {
    /// Makes the ground of a run, with so many keys of each workload in use at once.
    #[must_use]
    pub fn new(recorder: Recorder, workloads: &[Workload], keys: usize) -> Self {
        let ground = Self(Arc::new(Inner {
            recorder,
            now: AtomicU64::new(0),
            moments: AtomicU64::new(0),
            client: AtomicU32::new(0),
            value: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
            keys: Mutex::default(),
            nodes: Mutex::default(),
            findings: Mutex::default(),
        }));
        for workload in workloads {
            let fresh = (0..keys).map(|_| ground.fresh_key(*workload)).collect();
            locked(&ground.0.keys).insert(*workload, fresh);
        }
        ground
    }

    fn fresh_key(&self, workload: Workload) -> Key {
        let name = serde_json::to_value(workload).ok();
        let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or("key");
        Key { name: format!("{name}-{}", self.value()), ..Key::default() }
    }

    /// Sets the world's time.
    pub fn set_now(&self, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.0.now.store(now, Relaxed);
        self.0.moments.store(0, Relaxed);
        self.0.recorder.advance(now);
    }

    /// Tells the time: later than all that was told before.
    #[must_use]
    pub fn moment(&self) -> Nanos {
        let moment = self.0.now.load(Relaxed) + self.0.moments.fetch_add(1, Relaxed);
        self.0.recorder.advance(moment);
        moment
    }

    /// Gives out a client's number.
    #[must_use]
    pub fn client(&self) -> u32 {
        self.0.client.fetch_add(1, Relaxed)
    }

    /// Gives out a value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.value.fetch_add(1, Relaxed) + 1
    }

    /// The history.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// Takes down a line.
    pub fn record(&self, line: Line) {
        self.0.recorder.record(line);
    }

    /// Has no client begin anything more.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Relaxed);
    }

    /// Tells whether clients are to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Relaxed)
    }

    /// Counts an operation as under way.
    #[must_use]
    pub fn begin(&self) -> UnderWay {
        self.0.under_way.fetch_add(1, Relaxed);
        UnderWay(self.clone())
    }

    /// How many operations are under way.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.0.under_way.load(Relaxed)
    }

    /// Notes something that must not be.
    pub fn find(&self, finding: String) {
        locked(&self.0.findings).push(finding);
    }

    /// Takes what was found.
    #[must_use]
    pub fn take_findings(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.0.findings))
    }

    /// Notes on which machine a node runs.
    pub fn introduce(&self, node: NodeId, machine: u8) {
        locked(&self.0.nodes).insert(node, machine);
    }

    /// Tells on which machine a node runs or ran.
    #[must_use]
    pub fn machine(&self, node: NodeId) -> Option<u8> {
        locked(&self.0.nodes).get(&node).copied()
    }

    /// Draws one of the keys in use, and counts an operation on it.
    #[must_use]
    pub fn key(&self, workload: Workload, chance: &mut Chance) -> String {
        let mut keys = locked(&self.0.keys);
        let Some(keys) = keys.get_mut(&workload) else { return String::new() };
        let place = chance.below(keys.len());
        let Some(key) = keys.get_mut(place) else { return String::new() };
        let is_spent = key.operations >= OPERATIONS_MAX || key.unknown >= UNKNOWN_MAX;
        // A channel stays, so that those who listen to it hear what is published.
        if is_spent && workload != Workload::PubSub {
            *key = self.fresh_key(workload);
        }
        key.operations += 1;
        key.name.clone()
    }

    /// Takes note of an operation of unknown outcome.
    pub fn note_unknown(&self, workload: Workload, name: &str) {
        self.with(workload, name, |key| key.unknown += 1);
    }

    /// Remembers a value of a key.
    pub fn remember(&self, workload: Workload, name: &str, value: u64) {
        self.with(workload, name, |key| {
            if key.values.len() >= REMEMBERED {
                key.values.remove(0);
            }
            key.values.push(value);
        });
    }

    /// Draws a value that was remembered.
    #[must_use]
    pub fn remembered(&self, workload: Workload, name: &str, chance: &mut Chance) -> Option<u64> {
        let mut drawn = None;
        self.with(workload, name, |key| drawn = chance.pick(&key.values));
        drawn
    }

    fn with(&self, workload: Workload, name: &str, work: impl FnOnce(&mut Key)) {
        let mut keys = locked(&self.0.keys);
        let mut keys = keys.get_mut(&workload).into_iter().flatten();
        if let Some(key) = keys.find(|key| key.name == name) {
            work(key);
        }
    }
}
