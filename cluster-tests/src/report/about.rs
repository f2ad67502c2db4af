//! What is told of a run beside its history.
//!
//! Owns: the verdict, findings and figures as a report shows them. Does not own: how they came about. Invariant: a run that nobody
//! has judged is never shown as one that has passed.

use crate::check::Verdict;
use crate::history::Line;

/// What a report is told.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The title of the page.
    pub title: String,
    /// The command that repeats the run, as far as it can be repeated.
    pub command: String,
    /// What was judged.
    pub judgement: Judgement,
    /// Broken promises.
    pub findings: Vec<Shown>,
    /// Other lines of the verdict: what each checker has looked at, what could not be decided.
    pub remarks: Vec<String>,
    /// Names and values.
    pub figures: Vec<(String, String)>,
}

impl About {
    /// Adds what was found, as text whose first line says what it is.
    pub fn found(&mut self, text: &str) {
        let mut lines = text.lines();
        let text = lines.next().unwrap_or_default().to_owned();
        let words = lines.map(str::to_owned).collect();
        self.findings.push(Shown { text, lines: Vec::new(), words });
    }

    /// Takes over what the checkers say.
    #[must_use]
    pub fn judged(mut self, verdict: &Verdict) -> Self {
        self.judgement = match (verdict.is_broken(), verdict.passed()) {
            (true, _) => Judgement::Broken,
            (false, true) => Judgement::Passed,
            (false, false) => Judgement::Unknown,
        };
        self.findings.extend(verdict.findings.iter().map(|finding| Shown {
            text: format!("{}: {}: {}", finding.checker, finding.key, finding.text),
            lines: finding.lines.clone(),
            words: Vec::new(),
        }));
        self.remarks.extend(verdict.undecided.iter().map(|text| format!("undecided: {text}")));
        self.remarks.extend(verdict.counts.iter().map(|(checker, count)| {
            let (operations, parts, findings) = (count.operations, count.parts, count.findings);
            format!("{checker}: {operations} operations in {parts} parts, {findings} findings")
        }));
        self
    }
}

/// What was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Judgement {
    /// Nobody has.
    #[default]
    None,
    /// Every promise was kept.
    Passed,
    /// One was broken.
    Broken,
    /// It could not be decided, which counts as failed.
    Unknown,
}

/// A broken promise.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// What was found.
    pub text: String,
    /// The lines of the history that show it.
    pub lines: Vec<Line>,
    /// More words, each on a line of its own.
    pub words: Vec<String>,
}
