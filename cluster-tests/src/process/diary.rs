//! What was done to the processes of a group, as it was done, and which of them run.
//!
//! Owns: the notes that nobody has taken yet, the process ids. Does not own: who does what. Invariant: a note is taken once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::history::Happening;

type Note = (Instant, usize, Happening);

/// The notes. A clone holds the same ones.
#[derive(Debug, Clone, Default)]
pub struct Diary(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    notes: Vec<Note>,
    pids: BTreeMap<usize, u32>,
}

impl Diary {
    /// Notes that something happens now to the node in `slot`.
    pub(super) fn note(&self, slot: usize, what: Happening) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.notes.push((Instant::now(), slot, what));
    }

    /// Notes the process that the node in `slot` is from now on.
    pub(super) fn runs(&self, slot: usize, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pids.insert(slot, pid);
    }

    /// Takes the notes so far.
    #[must_use]
    pub fn take(&self) -> Vec<(Instant, usize, Happening)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).notes)
    }

    /// Returns the process of each node that was started; it may have ended since.
    #[must_use]
    pub fn pids(&self) -> BTreeMap<usize, u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pids.clone()
    }
}
