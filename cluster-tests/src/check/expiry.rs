//! Do keys live as long as they were told to, and no longer?
//!
//! Owns: keys with an end: never gone early, gone in time while nothing is wrong, never back. Does not own: the search for an order
//! over all operations of the key, which knows the same rules (`models`). Source: `DESIGN`'s rule that only the replicated
//! clock decides, so that a key is seen at most a tick too long and never too short; our own checklist, items C1 to C5.
//! Invariant: a time to live is counted from the invocation for *early*, and from the return for *late*.

use std::collections::BTreeMap;

use super::cell::{Cell, Change};
use super::rules::nanos;
use super::run::{Run, Workload};
use super::verdict::Verdict;
use crate::history::{Answer, Call, Line, Nanos, Operation};

const NAME: &str = "expiry";

/// Checks all keys with an end.
pub(super) fn check(run: &Run<'_>, verdict: &mut Verdict) {
    for (key, (workload, operations)) in &run.keys {
        if *workload == Workload::Expiry {
            verdict.count(NAME, operations.len());
            check_key(run, key, operations, verdict);
        }
    }
}

/// Tells of each read of a value whether the value should have been gone, unless it was told to stay.
pub(super) fn late_reads<'a>(
    run: &'a Run<'_>,
    operations: &'a [&Operation],
) -> impl Fn(&Operation) -> bool + 'a {
    let writes = writes(operations);
    move |read| {
        let Some(write) = value(read).flatten().and_then(|value| writes.get(&value).copied())
        else {
            return false;
        };
        is_late(run, write, read)
    }
}

fn value(read: &Operation) -> Option<Option<u64>> {
    match (&read.call, read.answer()) {
        (Call::Read, Some(Answer::Value(value))) => Some(*value),
        _ => None,
    }
}

fn writes<'a>(operations: &[&'a Operation]) -> BTreeMap<u64, &'a Operation> {
    let written = operations.iter().filter_map(|operation| match operation.call {
        Call::Write(value) | Call::WriteFor { value, .. } => Some((value, *operation)),
        _ => None,
    });
    written.collect()
}

const fn ttl(write: &Operation) -> Option<Nanos> {
    match write.call {
        Call::WriteFor { ttl_ms, .. } => Some(nanos(ttl_ms)),
        _ => None,
    }
}

fn is_late(run: &Run<'_>, write: &Operation, read: &Operation) -> bool {
    let Some(ttl) = ttl(write).filter(|_| write.is_ok()) else { return false };
    let due = write.returned.saturating_add(ttl);
    let gone = due.saturating_add(nanos(run.rules.expiry_epsilon_ms));
    read.invoked > gone && run.is_calm(due, read.returned)
}

fn check_key(run: &Run<'_>, key: &str, operations: &[&Operation], verdict: &mut Verdict) {
    let changes = operations.iter().filter_map(|operation| {
        let value = match operation.call {
            Call::Write(value) | Call::WriteFor { value, .. } => Some(value),
            Call::Delete => None,
            _ => return None,
        };
        Some(Change { operation, value })
    });
    let cell = Cell::new(changes.collect());
    let writes = writes(operations);
    let persists: Vec<&Operation> =
        operations.iter().copied().filter(|one| one.call == Call::Persist).collect();
    let reads: Vec<(&Operation, Option<u64>)> =
        operations.iter().filter_map(|one| Some((*one, value(one)?))).collect();
    let mut find = |text: &str, shown: &[&Operation]| {
        let lines = shown.iter().map(|one| Line::Operation((*one).clone())).collect();
        verdict.find(NAME, key, text, lines);
    };
    for (read, value) in &reads {
        let span = (read.invoked, read.returned);
        match value {
            Some(value) => {
                if let Err(problem) = cell.check(span, Some(*value)) {
                    let (text, mut shown) = problem.told();
                    shown.push(read);
                    find(text, &shown);
                } else if let Some(write) = writes.get(value)
                    && is_late(run, write, read)
                    && !persists.iter().any(|persist| may_keep(persist, write, read))
                {
                    find("late: seen after its time to live", &[write, read]);
                }
            }
            None => {
                if let Some(write) = missing(run, &cell, &persists, read) {
                    find("early: gone before its time to live", &[write, read]);
                }
            }
        }
    }
    for (gone, back) in resurrections(&writes, &reads) {
        find("came back: seen after a read that did not have it any more", &[gone, back]);
    }
}

fn may_keep(persist: &Operation, write: &Operation, read: &Operation) -> bool {
    !persist.is_failed()
        && persist.answer() != Some(&Answer::Yes(false))
        && persist.effective_by() >= write.invoked
        && persist.invoked <= read.returned
}

/// Gives a write that should be seen by a read of nothing, if all that may be there would still be.
fn missing<'a>(
    run: &Run<'_>,
    cell: &Cell<'a>,
    persists: &[&Operation],
    read: &Operation,
) -> Option<&'a Operation> {
    let span = (read.invoked, read.returned);
    let epsilon = nanos(run.rules.expiry_epsilon_ms);
    let (newest, possible) = cell.possible(span);
    let newest = newest?.operation;
    let lives = |write: &Operation| match (&write.call, ttl(write)) {
        (Call::Write(_), _) => true,
        (_, Some(ttl)) => {
            let alive_until = write.invoked.saturating_add(ttl).saturating_sub(epsilon);
            let is_kept = persists.iter().any(|persist| {
                persist.answer() == Some(&Answer::Yes(true))
                    && write.is_ok()
                    && write.returned < persist.invoked
                    && persist.returned < read.invoked
            });
            read.returned < alive_until || is_kept
        }
        _ => false,
    };
    // A persist speaks of the value of its time only: with other writes around it nobody knows of which.
    let all: Vec<Change<'_>> = possible.collect();
    let is_one = all.len() == 1;
    let all_live = all.iter().all(|change| {
        change.value.is_some()
            && lives(change.operation)
            && (is_one || read.returned < alive_alone(change.operation, epsilon))
    });
    all_live.then_some(newest)
}

fn alive_alone(write: &Operation, epsilon: Nanos) -> Nanos {
    ttl(write).map_or(Nanos::MAX, |ttl| write.invoked.saturating_add(ttl).saturating_sub(epsilon))
}

/// Gives pairs of reads: the first does not have a value that was in effect before it, the second, later one has.
fn resurrections<'a>(
    writes: &BTreeMap<u64, &'a Operation>,
    reads: &[(&'a Operation, Option<u64>)],
) -> Vec<(&'a Operation, &'a Operation)> {
    // From when on each value was surely in effect.
    let mut known: BTreeMap<u64, Nanos> =
        writes.iter().map(|(value, write)| (*value, write.effective_by())).collect();
    for (read, value) in reads {
        if let Some(known) = value.and_then(|value| known.get_mut(&value)) {
            *known = read.returned.min(*known);
        }
    }
    let mut found = Vec::new();
    for (value, known) in known.into_iter().filter(|(_, known)| *known < Nanos::MAX) {
        let gone = reads
            .iter()
            .filter(|(read, other)| read.invoked > known && *other != Some(value))
            .min_by_key(|(read, _)| read.returned);
        let Some((gone, _)) = gone else { continue };
        let back = reads
            .iter()
            .find(|(read, other)| *other == Some(value) && read.invoked > gone.returned);
        found.extend(back.map(|(back, _)| (*gone, *back)));
    }
    found
}
