//! What a run comes to.
//!
//! Owns: the sum of all judgements, the reasons to reject a run, the exit code and the last lines. Does not own: the judgement of
//! histories (`check`). Invariant: code 0 stands for a run whose required faults happened, whose history is whole, and in which
//! no checker found anything or gave up.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::workload::Workload;
use crate::check::{self, Rules, Verdict};
use crate::history::Line;

/// How many findings are kept with their text.
const FINDINGS_MAX: usize = 50;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Everything was as it should be.
    Valid,
    /// This machine cannot do what the family needs.
    LeftOut,
    /// Something did not happen that should have, so that the run shows nothing.
    Rejected,
    /// A checker gave up.
    Unknown,
    /// A promise was broken.
    Invalid,
}

impl End {
    /// Its word in the result line.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::LeftOut => "left out",
            Self::Rejected => "REJECTED",
            Self::Unknown => "unknown",
            Self::Invalid => "INVALID",
        }
    }

    /// Its exit code; 2 is wrong usage.
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::LeftOut => 3,
            Self::Rejected => 4,
            Self::Unknown => 5,
        })
    }
}

/// Judges the lines of one key.
pub(super) fn of_key(_workload: Workload, lines: &[Line]) -> Verdict {
    // Processes behind a Redis door tell nobody that they had lost their session.
    check::check(lines, &Rules { sessions_are_told: false, ..Rules::default() })
}

/// All judgements of a run.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// How many keys were judged.
    pub(super) keys: u64,
    /// How many operations or messages each checker has looked at.
    pub(super) checked: BTreeMap<String, u64>,
    /// What is wrong or could not be decided.
    pub(super) findings: Vec<String>,
    /// How many findings there are.
    pub(super) found: u64,
    /// Whether a checker gave up.
    pub(super) is_unknown: bool,
}

impl Sum {
    /// Adds the judgement of one key.
    pub(super) fn add(&mut self, verdict: Verdict) {
        self.keys += 1;
        let undecided = verdict.undecided.iter().map(|text| format!("undecided: {text}"));
        let findings = verdict.findings.iter().map(ToString::to_string).chain(undecided);
        let room = FINDINGS_MAX.saturating_sub(self.findings.len());
        self.findings.extend(findings.take(room));
        self.is_unknown |= verdict.unknown;
        for (checker, count) in verdict.counts {
            self.found += count.findings;
            *self.checked.entry(checker.to_owned()).or_default() += count.operations;
        }
    }

    /// Says what was checked.
    pub(super) fn checkers(&self) -> String {
        let each = self.checked.iter().map(|(checker, count)| format!("{checker} {count}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::{Book, operation};
    use super::*;
    use crate::history::{Answer, Call, Outcome as Known};

    fn judged(read: Option<u64>) -> Sum {
        let book = Book::new();
        let steps = [
            (1, Call::Write(7), (10, 20), Answer::None),
            (2, Call::Read, (30, 40), Answer::Value(read)),
        ];
        for (client, call, times, answer) in steps {
            let done = operation(client, 1, "register-1", call, times, Known::Ok(answer));
            book.operation(Workload::Register, done);
        }
        let mut sum = Sum::default();
        sum.add(of_key(Workload::Register, &book.take(Workload::Register, "register-1")));
        assert!(book.live_keys().is_empty());
        sum
    }

    #[test]
    fn a_stale_read_is_found_and_a_right_one_is_not() {
        let sum = judged(Some(7));
        assert_eq!((sum.keys, sum.found, sum.is_unknown), (1, 0, false));
        assert!(judged(None).found > 0);
    }

    #[test]
    fn of_several_ends_the_worst_counts() {
        assert!(End::Invalid > End::Unknown && End::Unknown > End::Rejected);
        assert!(End::Rejected > End::LeftOut && End::LeftOut > End::Valid);
    }
}
