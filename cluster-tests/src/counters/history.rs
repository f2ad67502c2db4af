//! What the clients saw, and whether counters can have behaved so.
//!
//! Owns: the steps of all clients with their times, and the judgement. Pure. Does not own: how the steps come about. Counters
//! need no search: an increment's reply tells its place in the one order of increments. Invariant: a step of which
//! nobody knows whether it happened may have happened at any time after it began, or never.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, Outcome};

/// The counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counter {
    /// A key, by INCR.
    Key,
    /// A field of a hash, by HINCRBY.
    Field,
}

impl Counter {
    pub(super) const ALL: [Self; 2] = [Self::Key, Self::Field];

    pub(super) const fn increment(self) -> &'static [&'static [u8]] {
        match self {
            Self::Key => &[b"INCR", b"counter"],
            Self::Field => &[b"HINCRBY", b"counters", b"field", b"1"],
        }
    }

    pub(super) const fn read(self) -> &'static [&'static [u8]] {
        match self {
            Self::Key => &[b"GET", b"counter"],
            Self::Field => &[b"HGET", b"counters", b"field"],
        }
    }
}

/// What the counters hold at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Final {
    key: u64,
    field: u64,
}

impl Final {
    pub(super) const fn of_mut(&mut self, counter: Counter) -> &mut u64 {
        match counter {
            Counter::Key => &mut self.key,
            Counter::Field => &mut self.field,
        }
    }

    pub(super) const fn of(self, counter: Counter) -> u64 {
        match counter {
            Counter::Key => self.key,
            Counter::Field => self.field,
        }
    }
}

/// What a client asked for and what it knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saw {
    /// An increment with this reply.
    Incremented(u64),
    /// A read with this reply.
    Read(u64),
    /// An increment that surely did not happen.
    Refused,
    /// An increment that may have happened.
    Unknown,
}

/// One request of a client. The steps of a client are in its order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) client: usize,
    pub(super) counter: Counter,
    pub(super) begin: Duration,
    pub(super) end: Duration,
    pub(super) saw: Saw,
}

/// All steps of all clients.
#[derive(Debug, Default)]
pub(super) struct History(pub(super) Vec<Step>);

/// How much there was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    reads: u64,
    finals: Option<(u64, u64)>,
    slowest: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, refused, unknown, reads, finals, slowest } = self;
        write!(
            f,
            "{acknowledged} increments acknowledged, {refused} refused, {unknown} unknown, {reads} reads"
        )?;
        if let Some((key, field)) = finals {
            write!(f, "; final values {key} + {field} = {}", key + field)?;
        }
        write!(f, "; each reply once and in order; slowest reply {} ms", slowest.as_millis())
    }
}

impl History {
    /// Judges the steps, and what the counters hold at the end if that is known.
    ///
    /// # Errors
    /// With the first contradiction.
    pub(super) fn judge(&self, finals: Option<Final>) -> Outcome<Verdict> {
        let mut verdict = Verdict::default();
        for counter in Counter::ALL {
            let steps: Vec<Step> =
                self.0.iter().filter(|step| step.counter == counter).copied().collect();
            let judged = judge_one(&steps, finals.map(|finals| finals.of(counter)), &mut verdict);
            judged.map_err(|failure| failure.during(format!("counter {counter:?}")))?;
        }
        verdict.finals = finals.map(|finals| (finals.key, finals.field));
        verdict.slowest =
            self.0.iter().map(|step| step.end.saturating_sub(step.begin)).max().unwrap_or_default();
        Ok(verdict)
    }
}

fn judge_one(steps: &[Step], last: Option<u64>, verdict: &mut Verdict) -> Outcome {
    let (mut acknowledged, mut unknown) = (0, 0);
    let mut by_reply = BTreeMap::new();
    let mut by_client: BTreeMap<usize, u64> = BTreeMap::new();
    for step in steps {
        let Step { client, saw, .. } = *step;
        match saw {
            Saw::Refused => verdict.refused += 1,
            Saw::Unknown => unknown += 1,
            Saw::Incremented(count) => {
                acknowledged += 1;
                if let Some(other) = by_reply.insert(count, client) {
                    let text = format!("clients {other} and {client} were both told {count}");
                    return Err(Failure::new(text));
                }
                if let Some(before) =
                    by_client.insert(client, count).filter(|before| *before >= count)
                {
                    return Err(Failure::new(format!(
                        "client {client} was told {before}, then {count}"
                    )));
                }
            }
            Saw::Read(_) => verdict.reads += 1,
        }
    }
    verdict.acknowledged += acknowledged;
    verdict.unknown += unknown;
    let highest = by_reply.last_key_value().map_or(0, |(count, _)| *count);
    if highest > acknowledged + unknown {
        let text = format!("{highest} was told, but only {acknowledged} + {unknown} were tried");
        return Err(Failure::new(text));
    }
    if let Some(last) = last
        && !(acknowledged.max(highest)..=acknowledged + unknown).contains(&last)
    {
        let text =
            format!("{last} at the end, with {acknowledged} acknowledged and {unknown} unknown");
        return Err(Failure::new(text));
    }
    judge_times(steps)
}

/// Checks the order in time: what was told before a step began, the step must have counted.
fn judge_times(steps: &[Step]) -> Outcome {
    let mut ends: Vec<(Duration, u64)> = Vec::new();
    let mut begins: Vec<&Step> = Vec::new();
    for step in steps {
        if let Saw::Incremented(count) | Saw::Read(count) = step.saw {
            ends.push((step.end, count));
            begins.push(step);
        }
    }
    ends.sort_unstable();
    begins.sort_by_key(|step| step.begin);
    let (mut ended, mut known) = (ends.into_iter().peekable(), 0);
    for step in begins {
        while let Some((_, count)) = ended.next_if(|(end, _)| *end < step.begin) {
            known = known.max(count);
        }
        let is_late = match step.saw {
            Saw::Incremented(count) => count <= known,
            Saw::Read(count) => count < known,
            Saw::Refused | Saw::Unknown => false,
        };
        if is_late {
            let text = format!("{step:?} began when {known} had been told already");
            return Err(Failure::new(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(client: usize, begin: u64, end: u64, saw: Saw) -> Step {
        let at = Duration::from_millis;
        Step { client, counter: Counter::Key, begin: at(begin), end: at(end), saw }
    }

    fn judge(steps: &[Step], last: u64) -> Outcome<Verdict> {
        History(steps.to_vec()).judge(Some(Final { key: last, field: 0 }))
    }

    #[test]
    fn what_a_counter_does_is_accepted() {
        let steps = [
            step(1, 0, 5, Saw::Incremented(2)),
            step(2, 1, 6, Saw::Incremented(1)),
            step(2, 7, 8, Saw::Unknown),
            step(1, 7, 9, Saw::Refused),
            step(1, 9, 10, Saw::Read(2)),
            step(2, 10, 11, Saw::Incremented(4)),
        ];
        let verdict = judge(&steps, 4).unwrap();
        assert_eq!((verdict.acknowledged, verdict.unknown, verdict.reads), (3, 1, 1));
        assert!(judge(&steps[..4], 2).is_ok() && judge(&steps[..4], 3).is_ok());
    }

    #[test]
    fn what_no_counter_does_is_found() {
        let increments = |counts: &[(usize, u64)]| -> Vec<Step> {
            let steps = counts.iter().zip(0..);
            steps
                .map(|((client, n), at)| step(*client, 0, 100 + at, Saw::Incremented(*n)))
                .collect()
        };
        for (steps, last, word) in [
            (increments(&[(1, 1), (2, 2)]), 1, "at the end"),
            (increments(&[(1, 1), (2, 2)]), 3, "at the end"),
            (increments(&[(1, 1), (2, 1)]), 2, "both told"),
            (increments(&[(1, 2), (1, 1)]), 2, "then"),
            (increments(&[(1, 3)]), 3, "only"),
        ] {
            let failure = judge(&steps, last).unwrap_err().to_string();
            assert!(failure.contains(word), "{failure}");
        }
    }

    #[test]
    fn what_comes_too_late_is_found() {
        let first = step(1, 0, 5, Saw::Incremented(2));
        for (second, is_good) in [
            (step(2, 6, 7, Saw::Read(1)), false),
            (step(2, 4, 7, Saw::Read(1)), true),
            (step(2, 6, 7, Saw::Incremented(1)), false),
            (step(2, 4, 7, Saw::Incremented(1)), true),
            (step(2, 6, 7, Saw::Read(2)), true),
        ] {
            let judged = History(vec![first, second, step(3, 0, 9, Saw::Unknown)]).judge(None);
            assert_eq!(judged.is_ok(), is_good, "{second:?}: {judged:?}");
        }
    }
}
