//! What must hold of a cluster at every moment, whatever fails: one file for each invariant, with its source.
//!
//! Owns the list of invariants and how each is asked about everything that the witnesses saw, in its order. Does not know
//! faults or clients. Invariant: whatever is true of Raft and of our additions to it is held per formation, since a cluster
//! that is formed anew begins a log of its own.
#![expect(clippy::wildcard_enum_match_arm, reason = "an invariant is about some of what is seen")]

mod clock;
mod commit_quorum;
mod committed;
mod durability;
mod election;
mod eyes;
mod facts;
mod formations;
mod leader_completeness;
mod log_matching;
mod monotone;
mod order;
mod sessions;
mod silence;
mod soundness;
mod state_hash;
mod state_machine;
#[cfg(test)]
mod story;
mod vote;

use std::time::Duration;

use quorate::ids::NodeId;

pub use self::eyes::Eyes;
use self::eyes::Sighting;
use self::facts::{Facts, is_quorum};
use super::view::View;

/// More findings than this say nothing new.
const FINDINGS_MAX: usize = 50;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant that does not hold.
    pub invariant: &'static str,
    /// When it was noticed, since the run began.
    pub at: Duration,
    /// The machine on which it was noticed.
    pub host: usize,
    /// What was seen.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { invariant, at, host, text } = self;
        write!(f, "{invariant}: host {host} at {:.3} s: {text}", at.as_secs_f64())
    }
}

/// What one invariant finds wrong.
type Found = Vec<String>;

/// One invariant.
trait Rule: std::fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Judges what a node did, by what was known before.
    fn before(&mut self, _facts: &Facts, _node: NodeId, _sighting: &Sighting, _found: &mut Found) {}

    /// Judges what is known of a node after it did something.
    fn after(&mut self, _facts: &Facts, _node: NodeId, _sighting: &Sighting, _found: &mut Found) {}
}

/// All invariants, and what they have found.
#[derive(Debug)]
pub struct Invariants {
    eyes: Eyes,
    facts: Facts,
    rules: Vec<Box<dyn Rule>>,
    findings: usize,
    judged: u64,
}

impl Invariants {
    /// Gives the invariants of a cluster whose sessions end after so long a silence.
    #[must_use]
    pub fn new(session_timeout: Duration) -> Self {
        Self {
            eyes: Eyes::default(),
            facts: Facts::default(),
            rules: vec![
                Box::<vote::Rule>::default(),
                Box::<election::Rule>::default(),
                Box::<log_matching::Rule>::default(),
                Box::<leader_completeness::Rule>::default(),
                Box::<commit_quorum::Rule>::default(),
                Box::<committed::Rule>::default(),
                Box::<state_machine::Rule>::default(),
                Box::<monotone::Rule>::default(),
                Box::<order::Rule>::default(),
                Box::<durability::Rule>::default(),
                Box::<state_hash::Rule>::default(),
                Box::<soundness::Rule>::default(),
                Box::<sessions::Rule>::default(),
                Box::new(silence::Rule::new(session_timeout)),
                Box::<clock::Rule>::default(),
                Box::<formations::Rule>::default(),
            ],
            findings: 0,
            judged: 0,
        }
    }

    /// Where processes get their witnesses.
    #[must_use]
    pub fn eyes(&self) -> Eyes {
        self.eyes.clone()
    }

    /// How much was judged.
    #[must_use]
    pub const fn judged(&self) -> u64 {
        self.judged
    }

    /// Tells whether those who are meant by `has` are a majority of the voters as a node knows them in its log: while a change
    /// is half done of both sets, and of those before the change, which count again if its entry is lost.
    pub fn is_majority_left(&self, node: NodeId, has: impl Fn(NodeId) -> bool) -> bool {
        let known = self.facts.nodes.get(&node);
        known.is_none_or(|known| known.quorums().all(|quorums| is_quorum(quorums, &has)))
    }

    /// Judges all that happened since it was last called; gives what must not be. Cost: about a microsecond for each thing
    /// that happened.
    pub fn observe(&mut self, view: &View<'_>) -> Vec<Finding> {
        self.facts.look(view);
        self.judge(view.now)
    }

    fn judge(&mut self, now: Duration) -> Vec<Finding> {
        let (sightings, lost) = self.eyes.take();
        let mut findings = Vec::new();
        if lost > 0 {
            let text = format!("{lost} things were not judged");
            findings.push(Finding { invariant: "seen", at: now, host: 0, text });
        }
        for sighting in sightings {
            self.judged += 1;
            let Some(node) = self.facts.node(&sighting) else { continue };
            let mut all: Vec<(&'static str, Found)> = Vec::new();
            let mut found = Found::new();
            for rule in &mut self.rules {
                rule.before(&self.facts, node, &sighting, &mut found);
                if !found.is_empty() {
                    all.push((rule.name(), std::mem::take(&mut found)));
                }
            }
            self.facts.update(node, &sighting);
            for rule in &mut self.rules {
                rule.after(&self.facts, node, &sighting, &mut found);
                if !found.is_empty() {
                    all.push((rule.name(), std::mem::take(&mut found)));
                }
            }
            for (invariant, texts) in all {
                let host = sighting.host;
                let finding = |text| {
                    let text = format!("node {node}: {text}");
                    Finding { invariant, at: now, host, text }
                };
                findings.extend(texts.into_iter().map(finding));
            }
        }
        findings.truncate(FINDINGS_MAX.saturating_sub(self.findings));
        self.findings += findings.len();
        findings
    }
}
