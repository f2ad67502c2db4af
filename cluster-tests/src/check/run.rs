//! A history, sorted for those who judge it.
//!
//! Owns: which operations belong to which key and workload, and when there were faults. Does not own: verdicts. Invariant: a time
//! counts as calm only if no fault and no change of a process is near.

use std::collections::BTreeMap;

use super::rules::{Rules, nanos};
use super::verdict::Verdict;
use crate::history::{Call, Happening, Installation, Line, Nanos, Operation};

/// What clients do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    Register,
    Set,
    Hash,
    Counter,
    List,
    Expiry,
    Bound,
    Messages,
}

impl Workload {
    /// Gives the workload that a call belongs to, and how surely: `Delete` and the like are in several.
    const fn of(call: &Call) -> (Self, bool) {
        match call {
            Call::Read | Call::Write(_) | Call::Delete => (Self::Register, false),
            Call::Cas { .. } => (Self::Register, true),
            Call::Add(_) | Call::Remove(_) | Call::Contains(_) | Call::Members => (Self::Set, true),
            Call::FieldDelete(_) => (Self::Hash, false),
            Call::FieldSet { .. } | Call::FieldGet(_) | Call::Fields => (Self::Hash, true),
            Call::Increment(_) | Call::Count => (Self::Counter, true),
            Call::Append(_) | Call::Range => (Self::List, true),
            Call::WriteFor { .. } | Call::Persist => (Self::Expiry, true),
            Call::Bind { .. } | Call::BoundFields => (Self::Bound, true),
            Call::Publish { .. } => (Self::Messages, true),
        }
    }

    /// Gives the workload of a key, or none if its calls do not go together.
    fn of_all(operations: &[&Operation]) -> Option<Self> {
        let all = || operations.iter().map(|operation| Self::of(&operation.call));
        let weakest = all().map(|(workload, _)| workload).min()?;
        let sure = all().find(|(_, is_sure)| *is_sure).map_or(weakest, |(workload, _)| workload);
        let fits = |(workload, is_sure): (Self, bool)| {
            workload == sure
                || !is_sure
                    && matches!(
                        (workload, sure),
                        (Self::Register, Self::Expiry) | (Self::Hash, Self::Bound)
                    )
        };
        all().all(fits).then_some(sure)
    }
}

/// A sorted history.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) rules: &'a Rules,
    pub(super) lines: &'a [Line],
    /// The operations of each key by the time of their invocation.
    pub(super) keys: BTreeMap<&'a str, (Workload, Vec<&'a Operation>)>,
    /// What happened to processes, by time.
    pub(super) processes: Vec<(Nanos, u8, Happening)>,
    /// The latest time of any line.
    pub(super) end: Nanos,
    disturbed: Vec<(Nanos, Nanos)>,
}

impl<'a> Run<'a> {
    pub(super) fn new(lines: &'a [Line], rules: &'a Rules, verdict: &mut Verdict) -> Self {
        let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        let mut processes = Vec::new();
        for line in lines {
            match line {
                Line::Operation(operation) => {
                    by_key.entry(&operation.key).or_default().push(operation);
                }
                Line::Process { at, node, what } => processes.push((*at, *node, *what)),
                Line::Overflow { lines } => {
                    verdict.give_up(format!("{lines} lines of the history were not kept"));
                }
                _ => {}
            }
        }
        processes.sort_by_key(|(at, ..)| *at);
        let mut keys = BTreeMap::new();
        for (key, mut operations) in by_key {
            operations.sort_by_key(|operation| (operation.invoked, operation.returned));
            match Workload::of_all(&operations) {
                Some(workload) => drop(keys.insert(key, (workload, operations))),
                None => verdict.give_up(format!("{key}: calls of several workloads on one key")),
            }
        }
        let end = lines.iter().map(Line::at).max().unwrap_or(0);
        let disturbed = disturbed(lines, &processes, nanos(rules.settle_ms));
        Self { rules, lines, keys, processes, end, disturbed }
    }

    /// Gives until when something was wrong, if something was at `time`.
    pub(super) fn disturbed_at(&self, time: Nanos) -> Option<Nanos> {
        let next = self.disturbed.partition_point(|(_, end)| *end < time);
        self.disturbed.get(next).filter(|(begin, _)| *begin <= time).map(|(_, end)| *end)
    }

    /// Tells whether nothing was wrong from `from` to `to`.
    pub(super) fn is_calm(&self, from: Nanos, to: Nanos) -> bool {
        let next = self.disturbed.partition_point(|(_, end)| *end < from);
        self.disturbed.get(next).is_none_or(|(begin, _)| *begin > to)
    }
}

/// Gives the times of faults, with the time after each in which it may have effects, merged and sorted.
fn disturbed(
    lines: &[Line],
    processes: &[(Nanos, u8, Happening)],
    settle: Nanos,
) -> Vec<(Nanos, Nanos)> {
    let mut faults: BTreeMap<(Nanos, &str), Option<Nanos>> = BTreeMap::new();
    let mut times = Vec::new();
    let mut leaderless = None;
    for line in lines {
        match line {
            Line::Fault { at, until, family, outcome, .. } if *outcome != Installation::Skipped => {
                let known = faults.entry((*at, family)).or_default();
                *known = known.or(*until);
            }
            Line::Leader { at, node: None, .. } => leaderless = leaderless.or(Some(*at)),
            Line::Leader { at, node: Some(_), .. } => {
                times.extend(leaderless.take().map(|since| (since, *at)));
            }
            _ => {}
        }
    }
    times.extend(faults.into_iter().map(|((at, _), until)| (at, until.unwrap_or(Nanos::MAX))));
    times.extend(leaderless.map(|since| (since, Nanos::MAX)));
    let mut paused: BTreeMap<u8, Nanos> = BTreeMap::new();
    for (at, node, what) in processes {
        match what {
            Happening::Paused => drop(paused.entry(*node).or_insert(*at)),
            Happening::Started
            | Happening::Killed
            | Happening::Continued
            | Happening::Left
            | Happening::Ended => times.push((paused.remove(node).unwrap_or(*at), *at)),
            Happening::SessionEnded | Happening::SessionRenewed => {}
        }
    }
    times.extend(paused.into_values().map(|since| (since, Nanos::MAX)));
    times.sort_unstable();
    let mut merged: Vec<(Nanos, Nanos)> = Vec::new();
    for (begin, end) in times {
        let end = end.saturating_add(settle);
        match merged.last_mut() {
            Some((_, last)) if begin <= *last => *last = end.max(*last),
            _ => merged.push((begin, end)),
        }
    }
    merged
}
