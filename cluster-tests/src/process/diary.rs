//! What was done to the processes of a group, as it was done.
//!
//! Owns: the notes that nobody has taken yet. Does not own: who does what. Invariant: a note is taken once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::history::Happening;

/// The notes. A clone holds the same ones.
#[derive(Debug, Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<(Instant, usize, Happening)>>>);

impl Diary {
    /// Notes that something happens now to the node in `slot`.
    pub(super) fn note(&self, slot: usize, what: Happening) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push((Instant::now(), slot, what));
    }

    /// Takes the notes so far.
    #[must_use]
    pub fn take(&self) -> Vec<(Instant, usize, Happening)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
