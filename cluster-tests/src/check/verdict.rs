//! What follows from a history.
//!
//! Owns: findings, counts, and how they are told. Does not own: how they are found. Invariant: a run has passed only if nothing
//! was found and everything could be decided.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::Line;

/// How many findings of a checker with the same text are given in full, so that others are, too.
const SAME_TEXT_MAX: usize = 5;
/// How many lines of one finding are printed.
const LINES_TOLD_MAX: usize = 40;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which checker found it.
    pub checker: &'static str,
    /// The key or channel; what is behind a `/` is the element or field.
    pub key: String,
    /// What is wrong.
    pub text: String,
    /// The lines of the history that show it, as few as could be.
    pub lines: Vec<Line>,
}

/// What a checker has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Keys, elements, fields or subscriptions.
    pub parts: u64,
    /// Operations or messages.
    pub operations: u64,
    /// Findings, with those that are not given in full.
    pub findings: u64,
}

/// The verdict on a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What was found, at most so many of each checker as the rules say.
    pub findings: Vec<Finding>,
    /// What each checker has looked at.
    pub counts: BTreeMap<&'static str, Count>,
    /// What could not be decided, and why.
    pub undecided: Vec<String>,
    /// Whether something could not be decided. Such a run has failed, too.
    pub unknown: bool,
    pub(super) findings_max: u64,
}

impl Verdict {
    /// Tells whether every promise was kept, as far as the history shows, and all could be decided.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.unknown && self.counts.values().all(|count| count.findings == 0)
    }

    /// Tells whether a promise was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.counts.values().any(|count| count.findings > 0)
    }

    pub(super) fn count(&mut self, checker: &'static str, operations: usize) {
        let count = self.counts.entry(checker).or_default();
        count.parts += 1;
        count.operations += operations as u64;
    }

    pub(super) fn find(
        &mut self,
        checker: &'static str,
        key: impl Into<String>,
        text: impl Into<String>,
        lines: Vec<Line>,
    ) {
        self.counts.entry(checker).or_default().findings += 1;
        let (key, text) = (key.into(), text.into());
        if self.is_room_for(checker, &text) {
            self.findings.push(Finding { checker, key, text, lines });
        }
    }

    /// Tells whether another such finding would be given in full.
    pub(super) fn is_room_for(&self, checker: &'static str, text: &str) -> bool {
        let own = || self.findings.iter().filter(|finding| finding.checker == checker);
        let same = own().filter(|finding| finding.text == text).count();
        same < SAME_TEXT_MAX && (own().count() as u64) < self.findings_max
    }

    pub(super) fn give_up(&mut self, text: String) {
        self.unknown = true;
        self.undecided.push(text);
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.checker, self.key, self.text)?;
        for line in self.lines.iter().take(LINES_TOLD_MAX) {
            write!(f, "\n    {line}")?;
        }
        let more = self.lines.len().saturating_sub(LINES_TOLD_MAX);
        if more > 0 { write!(f, "\n    and {more} more") } else { Ok(()) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        for text in &self.undecided {
            writeln!(f, "undecided: {text}")?;
        }
        for (checker, Count { parts, operations, findings }) in &self.counts {
            writeln!(
                f,
                "{checker}: {operations} operations in {parts} parts, {findings} findings"
            )?;
        }
        f.write_str(match (self.is_broken(), self.unknown) {
            (true, _) => "verdict: broken",
            (false, true) => "verdict: unknown",
            (false, false) => "verdict: passed",
        })
    }
}
