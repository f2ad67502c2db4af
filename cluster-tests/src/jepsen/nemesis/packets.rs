//! Bad links: loss, delay, duplication, corruption, reordering, an MTU hole, slowness.
//!
//! Owns: this family's faults. Does not own: when they come. Invariant: what was done is undone by `heal`.

use super::{Family, Fault, Field, Harm, Mode};
use crate::failure::Outcome;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Packets {}

impl Harm for Packets {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        vec!["packets"]
    }

    async fn install(&mut self, _field: &mut Field) -> Fault {
        Fault::skipped(Family::Packets, "packets", "not built")
    }

    async fn heal(&mut self, _field: &mut Field) -> Outcome {
        Ok(())
    }
}
