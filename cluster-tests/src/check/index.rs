//! Does the log order explain every answer that named its place in the log?
//!
//! Owns: operations with a log index: times against indexes, values against indexes. Does not own: operations without one, and the
//! black-box checks, which ignore indexes so that wrong ones are found, too. Source: openraft's oracle by log id, etcd's by
//! revision; our own rules (i) to (iii). Invariant: a value is refused only if a write that surely came between replaced it.

use std::collections::BTreeMap;

use super::run::{Run, Workload};
use super::verdict::Verdict;
use crate::history::{Answer, Call, Line, Nanos, Operation, Outcome};

const NAME: &str = "index";

/// Checks all operations that have an index.
pub(super) fn check(run: &Run<'_>, verdict: &mut Verdict) {
    let operations = || run.keys.values().flat_map(|(_, operations)| operations.iter().copied());
    let mut indexed: Vec<(&Operation, u64)> =
        operations().filter(|one| one.is_ok()).filter_map(|one| Some((one, one.index?))).collect();
    if indexed.is_empty() {
        return;
    }
    verdict.count(NAME, indexed.len());
    indexed.sort_by_key(|(operation, _)| operation.invoked);
    check_times(&indexed, verdict);
    if !run.rules.entries_hold_many {
        check_unique(&indexed, verdict);
    }
    for (key, (workload, operations)) in &run.keys {
        if matches!(workload, Workload::Register | Workload::Hash | Workload::Set) {
            check_values(key, operations, verdict);
        }
    }
}

fn show(operations: &[&Operation]) -> Vec<Line> {
    operations.iter().map(|one| Line::Operation((*one).clone())).collect()
}

/// What begins after something was answered at an index has that index behind it.
fn check_times(by_begin: &[(&Operation, u64)], verdict: &mut Verdict) {
    let mut by_end = by_begin.to_vec();
    by_end.sort_by_key(|(operation, _)| operation.returned);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(&Operation, u64)> = None;
    for (operation, index) in by_begin {
        while let Some(next) = ended.next_if(|(other, _)| other.returned < operation.invoked) {
            highest = highest.filter(|(_, most)| *most >= next.1).or(Some(next));
        }
        let Some((earlier, most)) = highest else { continue };
        let is_read = operation.call.is_read();
        if *index < most || !is_read && *index == most {
            let what = if is_read { "a read at" } else { "a write at" };
            let text = format!("{what} index {index} began after index {most} was answered");
            verdict.find(NAME, &operation.key, text, show(&[earlier, operation]));
        }
    }
}

/// Where an entry holds one write, no two writes have the same index.
fn check_unique(indexed: &[(&Operation, u64)], verdict: &mut Verdict) {
    let mut by_index: BTreeMap<u64, &Operation> = BTreeMap::new();
    for (operation, index) in indexed.iter().filter(|(one, _)| !one.call.is_read()) {
        if let Some(other) = by_index.insert(*index, operation) {
            let text = format!("two writes at index {index}");
            verdict.find(NAME, &operation.key, text, show(&[other, operation]));
        }
    }
}

/// One place of a key: its writes with their indexes, and those of which nobody knows.
#[derive(Default)]
struct Place<'a> {
    /// By index: what it may be after that entry; several if the entry holds several.
    known: BTreeMap<u64, Vec<(&'a Operation, Option<u64>)>>,
    unknown: Vec<(&'a Operation, Option<u64>)>,
}

/// Gives the place that a write changes, and to what; nothing for one that surely changed nothing.
fn change(operation: &Operation) -> Option<(Option<u64>, Option<u64>)> {
    if operation.answer() == Some(&Answer::Yes(false)) && matches!(operation.call, Call::Cas { .. })
    {
        return None;
    }
    match operation.call {
        Call::Write(value) | Call::Cas { to: value, .. } => Some((None, Some(value))),
        Call::Delete => Some((None, None)),
        Call::Add(element) => Some((Some(element), Some(1))),
        Call::Remove(element) => Some((Some(element), None)),
        Call::FieldSet { field, value } => Some((Some(field.into()), Some(value))),
        Call::FieldDelete(field) => Some((Some(field.into()), None)),
        _ => None,
    }
}

/// Gives what a read has shown of single places.
fn shown(operation: &Operation) -> Option<(Option<u64>, Option<u64>)> {
    match (&operation.call, operation.answer()?) {
        (Call::Read, Answer::Value(value)) => Some((None, *value)),
        (Call::Contains(element), Answer::Yes(is)) => Some((Some(*element), is.then_some(1))),
        (Call::FieldGet(field), Answer::Value(value)) => Some((Some(u64::from(*field)), *value)),
        _ => None,
    }
}

fn check_values(key: &str, operations: &[&Operation], verdict: &mut Verdict) {
    let mut places: BTreeMap<Option<u64>, Place<'_>> = BTreeMap::new();
    for operation in operations {
        let Some((place, value)) = change(operation) else { continue };
        let place = places.entry(place).or_default();
        match (&operation.outcome, operation.index) {
            (Outcome::Ok(_), Some(index)) => {
                place.known.entry(index).or_default().push((operation, value));
            }
            (Outcome::Ok(_) | Outcome::Unknown(_), _) => place.unknown.push((operation, value)),
            (Outcome::Failed(_), _) => {}
        }
    }
    let empty = Place::default();
    for read in operations {
        let (Some(index), Some((place, value))) = (read.index, shown(read)) else { continue };
        let place = places.get(&place).unwrap_or(&empty);
        let newest = place.known.range(..=index).next_back();
        let newest = newest.map_or(&[][..], |(_, writes)| writes.as_slice());
        let fits = newest.iter().any(|(_, written)| *written == value)
            || newest.is_empty() && value.is_none()
            || place.unknown.iter().any(|(write, written)| may_be(write, *written, value, read));
        if !fits {
            let lines: Vec<&Operation> = newest.iter().map(|one| one.0).chain([*read]).collect();
            let text = format!("a read at index {index} is not the newest write up to it");
            verdict.find(NAME, key, text, show(&lines));
        }
    }
}

fn may_be(write: &Operation, written: Option<u64>, value: Option<u64>, read: &Operation) -> bool {
    let begun: Nanos = write.invoked;
    written == value && begun <= read.returned
}
