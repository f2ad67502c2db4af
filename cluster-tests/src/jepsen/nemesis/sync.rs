//! Syncs that fail.
//!
//! Owns: this family's faults. Does not own: when they come. Invariant: what was done is undone by `heal`.

use super::{Family, Fault, Field, Harm, Mode};
use crate::failure::Outcome;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Sync {}

impl Harm for Sync {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        vec!["sync"]
    }

    async fn install(&mut self, _field: &mut Field) -> Fault {
        Fault::skipped(Family::SyncError, "sync", "not built")
    }

    async fn heal(&mut self, _field: &mut Field) -> Outcome {
        Ok(())
    }
}
