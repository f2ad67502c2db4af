//! Do reads of whole sets and hashes hold all that they must, and nothing else?
//!
//! Owns: reads of all elements and all fields, by the times of each element's and field's own changes. Does not own: single elements,
//! which are linearizable or not, and orders between elements. Source: Jepsen's `set-full` checker, and its names: an element
//! that was acknowledged is *lost* if no later read has it, *stale* if some later read lacks it. Invariant: each wrong
//! element of a key is told once.

use std::collections::BTreeMap;

use super::cell::{Cell, Change, Problem};
use super::run::{Run, Workload};
use super::verdict::Verdict;
use crate::history::{Answer, Call, Line, Operation};

const NAME: &str = "sets";

/// Checks all sets and hashes.
pub(super) fn check(run: &Run<'_>, verdict: &mut Verdict) {
    for (key, (workload, operations)) in &run.keys {
        if matches!(workload, Workload::Set | Workload::Hash) {
            check_key(key, operations, verdict);
        }
    }
}

/// Gives the element or field that an operation changes, and to what.
fn change(operation: &Operation) -> Option<(u64, Option<u64>)> {
    match operation.call {
        Call::Add(element) => Some((element, Some(element))),
        Call::Remove(element) => Some((element, None)),
        Call::FieldSet { field, value } => Some((field.into(), Some(value))),
        Call::FieldDelete(field) => Some((field.into(), None)),
        _ => None,
    }
}

/// Gives what a read of the whole has shown.
fn shown(operation: &Operation) -> Option<Vec<(u64, u64)>> {
    match operation.answer()? {
        Answer::Values(values) => Some(values.iter().map(|value| (*value, *value)).collect()),
        Answer::Pairs(pairs) => Some(pairs.iter().map(|(f, v)| (u64::from(*f), *v)).collect()),
        _ => None,
    }
}

fn check_key(key: &str, operations: &[&Operation], verdict: &mut Verdict) {
    let mut changes: BTreeMap<u64, Vec<Change<'_>>> = BTreeMap::new();
    for operation in operations {
        if let Some((element, value)) = change(operation) {
            changes.entry(element).or_default().push(Change { operation, value });
        }
    }
    let cells: BTreeMap<u64, Cell<'_>> =
        changes.into_iter().map(|(element, changes)| (element, Cell::new(changes))).collect();
    let reads: Vec<(&Operation, BTreeMap<u64, u64>)> = operations
        .iter()
        .filter_map(|operation| {
            let shown = shown(operation)?;
            let held: BTreeMap<u64, u64> = shown.iter().copied().collect();
            if held.len() < shown.len() {
                let lines = vec![Line::Operation((*operation).clone())];
                verdict.find(NAME, key, "an element or field is there twice", lines);
            }
            Some((*operation, held))
        })
        .collect();
    verdict.count(NAME, reads.len());
    let mut told: BTreeMap<u64, ()> = BTreeMap::new();
    for (read, held) in &reads {
        let span = (read.invoked, read.returned);
        let unknown = held.keys().filter(|element| !cells.contains_key(element));
        for element in unknown.filter(|element| told.insert(**element, ()).is_none()) {
            let text = "read what nobody has written";
            let lines = vec![Line::Operation((*read).clone())];
            verdict.find(NAME, format!("{key}/{element}"), text, lines);
        }
        for (element, cell) in &cells {
            let Err(problem) = cell.check(span, held.get(element).copied()) else { continue };
            if told.insert(*element, ()).is_none() {
                let text = name(&problem, *element, read, &reads);
                let (_, shown) = problem.told();
                let shown = shown.into_iter().chain([*read]);
                let lines = shown.map(|one| Line::Operation(one.clone())).collect();
                verdict.find(NAME, format!("{key}/{element}"), text, lines);
            }
        }
    }
}

fn name(
    problem: &Problem<'_>,
    element: u64,
    read: &Operation,
    reads: &[(&Operation, BTreeMap<u64, u64>)],
) -> &'static str {
    let Problem::Missing(_) = problem else { return problem.told().0 };
    let comes_back = reads
        .iter()
        .any(|(later, held)| later.invoked > read.returned && held.contains_key(&element));
    if comes_back {
        "stale: what is acknowledged is missing in a read, and comes later"
    } else {
        "lost: what is acknowledged is missing, and no later read has it"
    }
}
