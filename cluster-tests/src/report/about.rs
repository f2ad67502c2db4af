//! What is told of a run beside its history.
//!
//! Owns: the verdict, findings and figures as a report shows them. Does not own: how they came about. Invariant: a run that nobody
//! has judged is never shown as one that has passed.

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
}
