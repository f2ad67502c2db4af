//! Is the history one that can be judged?
//!
//! Owns: what the other checkers rely on: written values are unique. Does not own: promises of the product. Source: Jepsen's rule that a
//! broken harness is not a broken system. Invariant: what it finds makes the verdict unknown, never broken.

use std::collections::BTreeMap;

use super::run::Run;
use super::verdict::Verdict;
use crate::history::{Call, Operation};

/// How many values that are not unique are told.
const TOLD_MAX: usize = 5;

/// Checks all operations.
pub(super) fn check(run: &Run<'_>, verdict: &mut Verdict) {
    let mut told = 0;
    for (key, (_, operations)) in &run.keys {
        let mut seen: BTreeMap<(u64, u64), &Operation> = BTreeMap::new();
        for operation in operations {
            let Some(written) = written(operation) else { continue };
            let Some(other) = seen.insert(written, operation) else { continue };
            told += 1;
            if told <= TOLD_MAX {
                verdict.give_up(format!("{key}: written twice: {other}, and {operation}"));
            }
        }
    }
}

/// Gives what names a write: its value, or publisher and number. Elements may be added again after they were removed.
fn written(operation: &Operation) -> Option<(u64, u64)> {
    match operation.call {
        Call::Write(value)
        | Call::Cas { to: value, .. }
        | Call::WriteFor { value, .. }
        | Call::Append(value)
        | Call::Bind { value, .. } => Some((0, value)),
        Call::FieldSet { value, .. } => Some((0, value)),
        Call::Publish { number } => Some((operation.client.into(), number)),
        _ => None,
    }
}
