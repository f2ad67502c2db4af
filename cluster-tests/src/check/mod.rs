//! Judges histories.
//!
//! Owns: which checker sees what, and the verdict. Does not own: histories (`history`). Each checker has a file of its own, which
//! names its source. Invariant: the verdict follows from the history and the rules alone: no clock, no chance, no threads.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each checker looks at its own few calls and lines; a new one belongs to a new checker"
)]

mod bound;
mod cell;
mod counter;
mod expiry;
mod form;
mod index;
mod linearizable;
mod models;
mod program;
mod pubsub;
mod rules;
mod run;
mod sets;
mod verdict;

pub use self::program::{Line as ProgramLine, run as run_program};
pub use self::rules::Rules;
pub use self::verdict::{Count, Finding, Verdict};

use self::linearizable::{Answer, Entry, search, shortest};
use self::run::{Run, Workload};
use crate::history::{Call, Line, Operation};

/// The name under which the search for an order is counted.
const ORDER: &str = "linearizable";
/// How many steps it may take to shorten what was found.
const SHORTEN_STEPS_MAX: u64 = 300_000;

/// Judges a history.
#[must_use]
pub fn check(history: &[Line], rules: &Rules) -> Verdict {
    let mut verdict = Verdict { findings_max: rules.findings_max as u64, ..Verdict::default() };
    let run = Run::new(history, rules, &mut verdict);
    form::check(&run, &mut verdict);
    check_order(&run, &mut verdict);
    counter::check(&run, &mut verdict);
    sets::check(&run, &mut verdict);
    expiry::check(&run, &mut verdict);
    bound::check(&run, &mut verdict);
    index::check(&run, &mut verdict);
    pubsub::check(&run, &mut verdict);
    verdict
}

/// Searches an order for each part of each key.
fn check_order(run: &Run<'_>, verdict: &mut Verdict) {
    for (key, (workload, operations)) in &run.keys {
        if !is_ordered(*workload, operations) {
            continue;
        }
        let late = expiry::late_reads(run, operations);
        let parts = models::parts(*workload, operations, &late, run.rules.expiry_epsilon_ms);
        for (part, entries) in parts {
            verdict.count(ORDER, entries.len());
            let name = part.map_or_else(|| (*key).to_owned(), |part| format!("{key}/{part}"));
            let mut steps = run.rules.steps_max;
            match search(&entries, &mut steps) {
                Answer::Linearizable => {}
                Answer::Impossible => {
                    let text = "no order of these operations explains their answers";
                    // What is only counted need not be made short.
                    let is_shown = verdict.is_room_for(ORDER, text);
                    let lines = if is_shown { explain(operations, &entries) } else { Vec::new() };
                    verdict.find(ORDER, name, text, lines);
                }
                Answer::Unknown => verdict.give_up(format!(
                    "{ORDER}: {name}: no answer for {} operations after {} steps",
                    entries.len(),
                    run.rules.steps_max
                )),
            }
        }
    }
}

/// Tells whether an order is searched: for a counter only if increments are answered, because sums alone leave too many orders.
fn is_ordered(workload: Workload, operations: &[&Operation]) -> bool {
    match workload {
        Workload::Messages | Workload::Bound => false,
        Workload::Counter => {
            use crate::history::Answer::Number;
            let is_silent = |operation: &Operation| {
                matches!(operation.call, Call::Increment(_))
                    && operation.is_ok()
                    && !matches!(operation.answer(), Some(Number(_)))
            };
            !operations.iter().any(|operation| is_silent(operation))
        }
        Workload::Register | Workload::Set | Workload::Hash | Workload::List | Workload::Expiry => {
            true
        }
    }
}

fn explain(operations: &[&Operation], entries: &[Entry]) -> Vec<Line> {
    let mut few = shortest(entries, SHORTEN_STEPS_MAX);
    few.sort_by_key(|entry| entry.invoked);
    few.iter().map(|entry| Line::Operation(operations[entry.operation].clone())).collect()
}

#[cfg(test)]
mod tests;
