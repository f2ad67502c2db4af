//! What a report shows of a history, line by line.
//!
//! Owns: which lines matter for which picture. Does not own: drawing, judging. Invariant: operations and messages are only counted,
//! so that a history of millions needs no more memory than one of thousands; all else is kept.

use std::collections::{BTreeMap, BTreeSet};

use super::bins::{Bins, seconds};
use crate::history::{Call, Happening, Head, Installation, Line, Nanos, Outcome};

/// A fault, once.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) from: f64,
    /// None while nobody has seen its end.
    pub(super) until: Option<f64>,
    pub(super) family: String,
    pub(super) text: String,
    pub(super) outcome: Installation,
}

/// What a process held, at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) at: f64,
    pub(super) resident: u64,
    pub(super) processor_ms: u64,
    pub(super) log: Option<u64>,
    pub(super) data: Option<u64>,
}

/// Everything that a report is made of.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) head: Option<Head>,
    pub(super) bins: Bins,
    /// By the kind of call and outcome.
    pub(super) calls: BTreeMap<&'static str, [u64; 3]>,
    /// How often each reason was given, by outcome and text; at most so many texts.
    pub(super) reasons: BTreeMap<(&'static str, String), u64>,
    pub(super) faults: Vec<Fault>,
    open: BTreeMap<(Nanos, String), usize>,
    pub(super) happenings: Vec<(f64, u8, Happening)>,
    pub(super) leaders: Vec<(f64, Option<u8>, u64)>,
    pub(super) held: BTreeMap<u8, Vec<Held>>,
    pub(super) notes: Vec<(f64, String)>,
    pub(super) nodes: BTreeSet<u8>,
    pub(super) heard: u64,
    pub(super) losses: u64,
    pub(super) overflow: u64,
    /// The latest second that a line speaks of.
    pub(super) end: f64,
}

const REASONS_MAX: usize = 30;

impl Collected {
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut collected = Self::default();
        lines.iter().for_each(|line| collected.add(line));
        collected
    }

    pub(super) fn add(&mut self, line: &Line) {
        self.end = self.end.max(seconds(line.at()));
        match line {
            Line::Head(head) => {
                self.nodes.extend(1..=head.nodes);
                self.head = Some(head.clone());
            }
            Line::Operation(operation) => {
                self.bins.add(operation);
                let counts = self.calls.entry(name(&operation.call)).or_default();
                let (place, outcome, reason) = match &operation.outcome {
                    Outcome::Ok(_) => (0, "ok", None),
                    Outcome::Failed(text) => (1, "failed", Some(text)),
                    Outcome::Unknown(text) => (2, "unknown", Some(text)),
                };
                if let Some(count) = counts.get_mut(place) {
                    *count += 1;
                }
                if let Some(reason) = reason {
                    self.reason(outcome, reason);
                }
            }
            Line::Heard { .. } => self.heard += 1,
            Line::Lost { .. } => self.losses += 1,
            Line::Subscribed { .. } | Line::Unsubscribed { .. } => {}
            Line::Fault { at, until, family, text, outcome } => {
                self.fault(*at, *until, family, text, *outcome);
            }
            Line::Process { at, node, what } => {
                self.nodes.insert(*node);
                self.happenings.push((seconds(*at), *node, *what));
            }
            Line::Leader { at, node, term } => {
                self.nodes.extend(node);
                self.leaders.push((seconds(*at), *node, *term));
            }
            Line::Sample { at, node, resident, processor_ms, log, data } => {
                let (resident, processor_ms, log, data) = (*resident, *processor_ms, *log, *data);
                let held = Held { at: seconds(*at), resident, processor_ms, log, data };
                self.held.entry(*node).or_default().push(held);
            }
            Line::Note { at, text } => self.notes.push((seconds(*at), text.clone())),
            Line::Overflow { lines } => self.overflow += lines,
        }
    }

    fn reason(&mut self, outcome: &'static str, text: &str) {
        // Numbers differ from case to case; what is left is the kind of reason.
        let text: String = text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        let is_full = self.reasons.len() >= REASONS_MAX;
        let key = (outcome, text);
        let key = if is_full && !self.reasons.contains_key(&key) {
            (outcome, "other reasons".to_owned())
        } else {
            key
        };
        *self.reasons.entry(key).or_default() += 1;
    }

    fn fault(
        &mut self,
        at: Nanos,
        until: Option<Nanos>,
        family: &str,
        text: &str,
        outcome: Installation,
    ) {
        let key = (at, family.to_owned());
        let known = self.open.get(&key).and_then(|place| self.faults.get_mut(*place));
        let until = until.map(seconds);
        if let Some(fault) = known.filter(|fault| until.is_some() && fault.until.is_none()) {
            fault.until = until;
            fault.outcome = outcome;
            if !fault.text.contains(text) {
                fault.text = format!("{}; {text}", fault.text);
            }
            return;
        }
        self.open.insert(key, self.faults.len());
        let (from, family, text) = (seconds(at), family.to_owned(), text.to_owned());
        self.faults.push(Fault { from, until, family, text, outcome });
    }

    /// Gives the families of faults in the order of their first appearance.
    pub(super) fn families(&self) -> Vec<&str> {
        let mut families = Vec::new();
        for fault in &self.faults {
            if !families.contains(&fault.family.as_str()) {
                families.push(fault.family.as_str());
            }
        }
        families
    }

    /// Puts everything that has a time in its order, as drawing needs it; recorders of several threads may mix it up.
    pub(super) fn sort(&mut self) {
        self.happenings.sort_by(|one, other| one.0.total_cmp(&other.0));
        self.leaders.sort_by(|one, other| one.0.total_cmp(&other.0));
        self.notes.sort_by(|one, other| one.0.total_cmp(&other.0));
        for held in self.held.values_mut() {
            held.sort_by(|one, other| one.at.total_cmp(&other.at));
        }
    }
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Read => "read",
        Call::Write(_) => "write",
        Call::Cas { .. } => "compare and set",
        Call::Delete => "delete",
        Call::Add(_) => "add",
        Call::Remove(_) => "remove",
        Call::Contains(_) => "contains",
        Call::Members => "members",
        Call::FieldSet { .. } => "set field",
        Call::FieldGet(_) => "get field",
        Call::FieldDelete(_) => "delete field",
        Call::Fields => "all fields",
        Call::Increment(_) => "increment",
        Call::Count => "count",
        Call::Append(_) => "append",
        Call::Range => "range",
        Call::WriteFor { .. } => "write for a time",
        Call::Persist => "persist",
        Call::Bind { .. } => "bind",
        Call::BoundFields => "bound fields",
        Call::Publish { .. } => "publish",
    }
}
