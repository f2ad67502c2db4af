//! Do counters count every acknowledged increment once?
//!
//! Owns: bounds of each read and reply, and their growth. Does not own: the search for an order. Source: the counter checker of
//! Jepsen (each read lies between what was acknowledged before it and what was attempted by its end), with replies in addition.
//! Invariant: without unknown increments the bounds of a read that nothing overlaps are one number.

use std::collections::BTreeMap;

use super::run::{Run, Workload};
use super::verdict::Verdict;
use crate::history::{Answer, Call, Line, Nanos, Operation};

const NAME: &str = "counter";

/// Checks all counters.
pub(super) fn check(run: &Run<'_>, verdict: &mut Verdict) {
    for (key, (workload, operations)) in &run.keys {
        if *workload == Workload::Counter {
            verdict.count(NAME, operations.len());
            check_bounds(key, operations, verdict);
            check_growth(key, operations, verdict);
        }
    }
}

/// Sums of what was added up to a time.
struct Sums(Vec<(Nanos, i128)>);

impl Sums {
    fn new(mut parts: Vec<(Nanos, i128)>) -> Self {
        parts.sort_unstable();
        let mut sum = 0;
        for (_, part) in &mut parts {
            sum += *part;
            *part = sum;
        }
        Self(parts)
    }

    fn before(&self, time: Nanos) -> i128 {
        let end = self.0.partition_point(|(at, _)| *at < time);
        end.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

fn answered(operation: &Operation) -> Option<i128> {
    match (&operation.call, operation.answer()) {
        (Call::Count | Call::Increment(_), Some(Answer::Number(number))) => Some((*number).into()),
        _ => None,
    }
}

fn added(operation: &Operation) -> Option<i128> {
    match operation.call {
        Call::Increment(by) if !operation.is_failed() => Some(by.into()),
        _ => None,
    }
}

fn check_bounds(key: &str, operations: &[&Operation], verdict: &mut Verdict) {
    let sums = |time: fn(&Operation) -> Nanos, part: fn(i128) -> i128, is_sure: bool| {
        let counted = operations.iter().filter(|operation| !is_sure || operation.is_ok());
        Sums::new(counted.filter_map(|o| Some((time(o), part(added(o)?)))).collect())
    };
    let begun: fn(&Operation) -> Nanos = |operation| operation.invoked;
    let ended: fn(&Operation) -> Nanos = |operation| operation.returned;
    let up: fn(i128) -> i128 = |by| by.max(0);
    let down: fn(i128) -> i128 = |by| by.min(0);
    let (begun_up, begun_down) = (sums(begun, up, false), sums(begun, down, false));
    let (ended_up, ended_down) = (sums(ended, up, true), sums(ended, down, true));
    for operation in operations {
        let Some(number) = answered(operation) else { continue };
        let (from, to) = (operation.invoked, operation.returned.saturating_add(1));
        // What an increment adds itself is in its reply for sure.
        let own = added(operation).unwrap_or(0);
        let least = ended_up.before(from) + begun_down.before(to) - own.min(0) + own;
        let most = begun_up.before(to) - own.max(0) + ended_down.before(from) + own;
        if number < least || number > most {
            let text =
                format!("{number}, where at least {least} was certain and at most {most} possible");
            verdict.find(NAME, key, text, vec![Line::Operation((*operation).clone())]);
        }
    }
}

/// Where every increment adds, each reply is new and greater than all that was told before it began.
fn check_growth(key: &str, operations: &[&Operation], verdict: &mut Verdict) {
    if operations.iter().any(|operation| matches!(operation.call, Call::Increment(..=0))) {
        return;
    }
    let show = |both: [&Operation; 2]| both.map(|one| Line::Operation(one.clone())).to_vec();
    let mut replies: BTreeMap<i128, &Operation> = BTreeMap::new();
    let mut by_end: Vec<(&Operation, i128)> =
        operations.iter().filter_map(|one| Some((*one, answered(one)?))).collect();
    let by_begin = by_end.clone();
    by_end.sort_by_key(|(operation, _)| operation.returned);
    let mut ended = by_end.into_iter().peekable();
    let mut told: Option<(&Operation, i128)> = None;
    for (operation, number) in by_begin {
        while let Some(next) = ended.next_if(|(other, _)| other.returned < operation.invoked) {
            told = told.filter(|(_, most)| *most >= next.1).or(Some(next));
        }
        let is_increment = matches!(operation.call, Call::Increment(_));
        if is_increment && let Some(other) = replies.insert(number, operation) {
            let text = format!("two increments got {number}");
            verdict.find(NAME, key, text, show([other, operation]));
        }
        if let Some((earlier, most)) = told
            && (number < most || is_increment && number == most)
        {
            let text = format!("{number} after {most} was told");
            verdict.find(NAME, key, text, show([earlier, operation]));
        }
    }
}
