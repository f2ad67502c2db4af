//! The witnesses of a simulated cluster: one for each process, all writing into one list in the order of what happened.
//!
//! Owns the list. Judges nothing. Invariant: since all machines run in one thread, the order of the list is the order in
//! which things happened; what does not fit is counted, not forgotten.

use std::sync::{Arc, Mutex, PoisonError};

use quorate::consensus::witness::{Look, Seen, Witness};

/// The most that waits to be judged; far more than a step can make.
const WAITING_MAX: usize = 1 << 20;
/// The hash of the state is taken behind each entry whose index this divides.
const HASHED_EVERY: u64 = 64;
/// And the state is compared with what its snapshot gives behind each of these.
const RESTORED_EVERY: u64 = 512;

/// What one process was seen to do.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    /// The machine.
    pub host: usize,
    /// Which process of the machine, from 1.
    pub incarnation: u64,
    /// What it did.
    pub seen: Seen,
}

#[derive(Debug, Default)]
struct List {
    waiting: Vec<Sighting>,
    lost: u64,
}

/// What all witnesses write into. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Eyes(Arc<Mutex<List>>);

#[derive(Debug)]
struct Eye {
    host: usize,
    incarnation: u64,
    list: Eyes,
}

impl Eyes {
    /// Gives the witness for a process that is about to start.
    #[must_use]
    pub fn open(&self, host: usize, incarnation: u64) -> Arc<dyn Witness> {
        Arc::new(Eye { host, incarnation, list: self.clone() })
    }

    /// Takes what was seen since the last time, and how much of it was lost.
    pub(super) fn take(&self) -> (Vec<Sighting>, u64) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut list.waiting), std::mem::take(&mut list.lost))
    }
}

impl Witness for Eye {
    fn see(&self, seen: Seen) {
        let mut list = self.list.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.waiting.len() < WAITING_MAX {
            list.waiting.push(Sighting { host: self.host, incarnation: self.incarnation, seen });
        } else {
            list.lost += 1;
        }
    }

    fn look(&self, index: u64) -> Look {
        if index.is_multiple_of(RESTORED_EVERY) {
            Look::Closely
        } else if index.is_multiple_of(HASHED_EVERY) {
            Look::Hash
        } else {
            Look::Away
        }
    }
}
