//! Processes stopped and continued.
//!
//! Owns: this family's faults. Does not own: when they come. Invariant: what was done is undone by `heal`.

use super::{Family, Fault, Field, Harm, Mode};
use crate::failure::Outcome;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Pause {}

impl Harm for Pause {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        vec!["pause"]
    }

    async fn install(&mut self, _field: &mut Field) -> Fault {
        Fault::skipped(Family::Pause, "pause", "not built")
    }

    async fn heal(&mut self, _field: &mut Field) -> Outcome {
        Ok(())
    }
}
