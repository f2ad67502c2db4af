//! Partitions.
//!
//! Owns: this family's faults. Does not own: when they come. Invariant: what was done is undone by `heal`.

use super::{Family, Fault, Field, Harm, Mode};
use crate::failure::Outcome;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Partition {
    family: Family,
}

impl Partition {
    pub(super) const fn new(family: Family) -> Self {
        Self { family }
    }
}

impl Harm for Partition {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        vec!["partition"]
    }

    async fn install(&mut self, _field: &mut Field) -> Fault {
        Fault::skipped(self.family, "partition", "not built")
    }

    async fn heal(&mut self, _field: &mut Field) -> Outcome {
        Ok(())
    }
}
