//! Is what a process has bound there while its session lives, gone with it in one step, and never back by itself?
//!
//! Owns: keys with bound fields: whole or gone, there while the process lives, gone in time, not back. Does not own: sessions; the
//! history tells when a process ended or heard that its session had. Source: our own rules for sessions and bound state, checklist
//! items D1 to D7. Invariant: a field counts as bound only from its acknowledgement on, and only until somebody else may have
//! replaced or removed it.
//!
//! A *life* is one process of a node, from its start to its end. What is bound through a node belongs to the life in which it
//! was asked for; when that ends its session does, so that nothing of it can come back. While a process lives, its session
//! may end and be renewed: from when it was told until it was told again, its fields may be there one by one. What it puts back is
//! what it had bound, wherever there is nothing: also where others had put something after its session had ended, which went
//! before it was renewed. A process that ends meanwhile may have put back, as with any request under way; then that session ends, too.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::nanos;
use super::run::{Run, Workload};
use super::verdict::Verdict;
use crate::history::{Answer, Call, Happening, Line, Nanos, Operation};

const NAME: &str = "bound";

/// One process of a node.
#[derive(Debug)]
struct Life {
    node: u8,
    begins: Nanos,
    ends: Nanos,
    /// When it was told that its session had ended, and when that it has one again.
    losses: Vec<(Nanos, Nanos)>,
}

/// Checks all keys with bound fields.
pub(super) fn check(run: &Run<'_>, verdict: &mut Verdict) {
    let is_bound = |workload: &Workload| *workload == Workload::Bound;
    if !run.keys.values().any(|(workload, _)| is_bound(workload)) {
        return;
    }
    let lives = lives(run);
    check_sessions(run, &lives, verdict);
    for (key, (_, operations)) in run.keys.iter().filter(|(_, (workload, _))| is_bound(workload)) {
        verdict.count(NAME, operations.len());
        Key::new(run, key, &lives, operations).check(verdict);
    }
}

fn lives(run: &Run<'_>) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut current: BTreeMap<u8, Life> = BTreeMap::new();
    for (at, node, what) in &run.processes {
        let (at, node) = (*at, *node);
        let fresh = |begins| Life { node, begins, ends: Nanos::MAX, losses: Vec::new() };
        match what {
            Happening::Started => lives.extend(
                current
                    .insert(node, fresh(at))
                    .map(|life| Life { ends: life.ends.min(at), ..life }),
            ),
            Happening::Killed | Happening::Left | Happening::Ended => {
                let life = current.remove(&node).unwrap_or_else(|| fresh(0));
                lives.push(Life { ends: at, ..life });
            }
            Happening::SessionEnded => {
                let life = current.entry(node).or_insert_with(|| fresh(0));
                life.losses.push((at, Nanos::MAX));
            }
            Happening::SessionRenewed => {
                let life = current.entry(node).or_insert_with(|| fresh(0));
                if let Some(open) = life.losses.iter_mut().find(|loss| loss.1 == Nanos::MAX) {
                    open.1 = at;
                }
            }
            Happening::Paused | Happening::Continued => {}
        }
    }
    lives.extend(current.into_values());
    let known: BTreeSet<u8> = lives.iter().map(|life| life.node).collect();
    let nodes: BTreeSet<u8> = run
        .keys
        .values()
        .flat_map(|(_, operations)| operations.iter().map(|operation| operation.node))
        .collect();
    let silent = nodes.difference(&known);
    lives.extend(silent.map(|node| Life {
        node: *node,
        begins: 0,
        ends: Nanos::MAX,
        losses: Vec::new(),
    }));
    lives
}

/// No session ends while its process lives and nothing is wrong.
fn check_sessions(run: &Run<'_>, lives: &[Life], verdict: &mut Verdict) {
    for life in lives.iter().filter(|_| run.rules.sessions_survive_calm) {
        for (told, _) in &life.losses {
            let since = told.saturating_sub(nanos(run.rules.bound_gone_within_ms));
            if run.is_calm(since, *told) {
                let line =
                    Line::Process { at: *told, node: life.node, what: Happening::SessionEnded };
                let text = "a session ended while its process lived and nothing was wrong";
                verdict.find(NAME, format!("n{}", life.node), text, vec![line]);
            }
        }
    }
}

impl Life {
    /// Tells whether its session may have been lost, and not be back with all that was bound, at a read.
    fn may_be_lost(&self, run: &Run<'_>, bound: &Operation, read: &Operation) -> bool {
        let is_told = self
            .losses
            .iter()
            .any(|(told, renewed)| *told >= bound.invoked && *renewed >= read.invoked);
        // A process that is killed, or a run that ends, takes the news with it if nothing has been right since.
        let end = self.ends.min(run.end);
        let is_silent = !run.rules.sessions_are_told && !run.is_calm(bound.invoked, read.returned);
        is_told || is_silent || run.disturbed_at(read.returned).is_some_and(|until| until >= end)
    }

    /// Tells whether what it put back may come, or have come, behind a read, though it has ended.
    fn may_still_put_back(&self, run: &Run<'_>, read: &Operation) -> bool {
        let within = nanos(run.rules.bound_gone_within_ms);
        let is_over = read.invoked > self.ends.saturating_add(within)
            && run.is_calm(read.invoked - within, read.returned);
        let was_lost = self.losses.iter().any(|(_, renewed)| *renewed == Nanos::MAX);
        was_lost && !is_over
    }

    /// Tells whether its fields may be there one by one at a read.
    fn is_being_restored(&self, run: &Run<'_>, read: &Operation) -> bool {
        let slack = nanos(run.rules.expiry_epsilon_ms);
        self.losses.iter().any(|(told, renewed)| {
            read.returned >= told.saturating_sub(slack) && read.invoked <= *renewed
        })
    }
}

/// One key.
struct Key<'r, 'a> {
    run: &'r Run<'a>,
    key: &'r str,
    lives: &'r [Life],
    /// The binds of each value, with their life.
    binds: BTreeMap<u64, (&'a Operation, usize)>,
    /// All that changes a field, by field.
    changes: BTreeMap<u32, Vec<&'a Operation>>,
    reads: Vec<(&'a Operation, BTreeMap<u32, u64>)>,
}

/// What a read shows of one life.
#[derive(Default)]
struct Sight<'a> {
    seen: Vec<&'a Operation>,
    missing: Vec<&'a Operation>,
}

impl<'r, 'a> Key<'r, 'a> {
    fn new(
        run: &'r Run<'a>,
        key: &'r str,
        lives: &'r [Life],
        operations: &[&'a Operation],
    ) -> Self {
        let mut binds = BTreeMap::new();
        let mut changes: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
        let mut reads = Vec::new();
        for operation in operations {
            match (&operation.call, operation.answer()) {
                (Call::Bind { field, value }, _) => {
                    let life = lives.iter().position(|life| {
                        life.node == operation.node
                            && (life.begins..=life.ends).contains(&operation.invoked)
                    });
                    // Asked of a node that was not there: it belongs to the process that came next.
                    let next = || {
                        lives.iter().position(|life| {
                            life.node == operation.node && life.begins >= operation.invoked
                        })
                    };
                    binds.extend(life.or_else(next).map(|life| (*value, (*operation, life))));
                    changes.entry(*field).or_default().push(operation);
                }
                (Call::FieldSet { field, .. } | Call::FieldDelete(field), _) => {
                    changes.entry(*field).or_default().push(operation);
                }
                (Call::BoundFields, Some(Answer::Pairs(pairs))) => {
                    reads.push((*operation, pairs.iter().copied().collect()));
                }
                _ => {}
            }
        }
        Self { run, key, lives, binds, changes, reads }
    }

    fn check(&self, verdict: &mut Verdict) {
        // For each life the earliest read that shows that its session has ended for good.
        let mut gone: BTreeMap<usize, &Operation> = BTreeMap::new();
        let mut by_end: Vec<usize> = (0..self.reads.len()).collect();
        by_end.sort_by_key(|place| self.reads[*place].0.returned);
        let sights: Vec<BTreeMap<usize, Sight<'a>>> =
            self.reads.iter().map(|(read, held)| self.look(read, held, verdict)).collect();
        for place in by_end {
            let read = self.reads[place].0;
            for (life, sight) in &sights[place] {
                let its = &self.lives[*life];
                let has_ended = read.invoked > its.ends && !its.may_still_put_back(self.run, read);
                if has_ended && !sight.missing.is_empty() {
                    gone.entry(*life).or_insert(read);
                }
            }
        }
        for ((read, _), sights) in self.reads.iter().zip(&sights) {
            for (life, sight) in sights {
                let before = gone.get(life).filter(|gone| gone.returned < read.invoked);
                self.judge(*life, sight, read, before.copied(), verdict);
            }
        }
    }

    /// Sorts what a read shows, and what it should show, by lives.
    fn look(
        &self,
        read: &'a Operation,
        held: &BTreeMap<u32, u64>,
        verdict: &mut Verdict,
    ) -> BTreeMap<usize, Sight<'a>> {
        let mut sights: BTreeMap<usize, Sight<'a>> = BTreeMap::new();
        for (field, value) in held {
            match self.binds.get(value) {
                Some((bind, life)) if is_of(bind, *field) && !bind.is_failed() => {
                    sights.entry(*life).or_default().seen.push(bind);
                    let newer = self.replaced(*field, bind, read);
                    let newer = newer.filter(|_| !self.may_be_restored(*field, bind, *life, read));
                    if let Some(newer) = newer {
                        self.find(
                            "stale: it was replaced before the read",
                            &[bind, newer, read],
                            verdict,
                        );
                    } else if bind.invoked > read.returned {
                        self.find("read before it was bound", &[bind, read], verdict);
                    }
                }
                None if self.is_written(*field, *value) => {}
                _ => self.find("read what nobody has bound", &[read], verdict),
            }
        }
        for (bind, life) in self.binds.values() {
            let Call::Bind { field, .. } = bind.call else { continue };
            if bind.is_ok()
                && bind.returned < read.invoked
                && self.is_last(field, bind, *life, read)
            {
                let is_there = held.get(&field).and_then(|value| self.binds.get(value));
                if is_there.is_none_or(|(_, other)| other != life) {
                    sights.entry(*life).or_default().missing.push(bind);
                }
            }
        }
        sights
    }

    fn judge(
        &self,
        number: usize,
        sight: &Sight<'a>,
        read: &'a Operation,
        gone: Option<&'a Operation>,
        verdict: &mut Verdict,
    ) {
        let life = &self.lives[number];
        match (sight.seen.first(), sight.missing.first()) {
            (Some(seen), Some(missing)) if !life.is_being_restored(self.run, read) => {
                self.find(
                    "half gone: one is there, the other is not",
                    &[seen, missing, read],
                    verdict,
                );
            }
            (None, Some(missing)) => {
                let lives = life.ends > read.returned;
                if lives && !life.may_be_lost(self.run, missing, read) {
                    self.find("missing while its process lives", &[missing, read], verdict);
                }
            }
            _ => {}
        }
        let Some(seen) = sight.seen.first() else { return };
        if let Some(gone) = gone {
            self.find("came back after it was gone", &[seen, gone, read], verdict);
        }
        let within = nanos(self.run.rules.bound_gone_within_ms);
        let due = life.ends.saturating_add(within);
        // The end of the process is itself a disturbance, which must have settled for as long.
        if read.invoked > due && self.run.is_calm(read.invoked - within, read.returned) {
            self.find("still there too long after its process ended", &[seen, read], verdict);
        }
    }

    /// Gives a later acknowledged change of the field that had surely replaced `bind` before the read.
    fn replaced(&self, field: u32, bind: &Operation, read: &Operation) -> Option<&'a Operation> {
        let changes = self.changes.get(&field)?;
        changes.iter().copied().find(|other| {
            other.is_ok()
                && bind.effective_by() < other.invoked
                && other.returned < read.invoked
                // What another life had bound may have gone; but so has what it replaced.
                && !is_same(other, bind)
        })
    }

    /// Tells whether `bind`, which others have replaced, may be there again at a read: they did so when its session may have
    /// been lost, and nothing of theirs was left when it was renewed.
    fn may_be_restored(&self, field: u32, bind: &Operation, life: usize, read: &Operation) -> bool {
        let changes = self.changes.get(&field).map_or(&[][..], Vec::as_slice);
        let is_followed = |last: &Operation| {
            changes.iter().any(|other| {
                other.is_ok()
                    && last.effective_by() < other.invoked
                    && other.returned < read.invoked
                    && !is_same(other, last)
            })
        };
        let may_be_gone = |last: &Operation| match last.call {
            Call::FieldDelete(_) => true,
            Call::Bind { value, .. } => self.binds.get(&value).is_some_and(|(_, other)| {
                let its = &self.lives[*other];
                *other != life
                    && (its.ends < read.returned || its.may_be_lost(self.run, last, read))
            }),
            _ => false,
        };
        let bound_by = &self.lives[life];
        changes.iter().any(|last| {
            !is_same(last, bind)
                && !last.is_failed()
                && (bind.invoked..read.returned).contains(&last.invoked)
                && !is_followed(last)
                && may_be_gone(last)
                && bound_by.ends > last.invoked
                && !self.run.is_calm(bind.invoked, last.invoked)
                && bound_by.may_be_lost(self.run, bind, last)
        })
    }

    /// Tells whether nobody but the same life may have changed the field since.
    fn is_last(&self, field: u32, bind: &Operation, life: usize, read: &Operation) -> bool {
        let others = self.changes.get(&field).map_or(&[][..], Vec::as_slice);
        !others.iter().any(|other| {
            let is_own = match other.call {
                Call::Bind { value, .. } => {
                    self.binds.get(&value).is_some_and(|(_, its)| *its == life)
                }
                _ => false,
            };
            !is_own
                && !other.is_failed()
                && other.effective_by() >= bind.invoked
                && other.invoked <= read.returned
        })
    }

    fn is_written(&self, field: u32, value: u64) -> bool {
        let changes = self.changes.get(&field).map_or(&[][..], Vec::as_slice);
        changes.iter().any(|one| one.call == Call::FieldSet { field, value })
    }

    fn find(&self, text: &str, shown: &[&Operation], verdict: &mut Verdict) {
        let mut lines: Vec<Line> =
            shown.iter().map(|one| Line::Operation((*one).clone())).collect();
        let nodes: BTreeSet<u8> = shown
            .iter()
            .filter(|one| matches!(one.call, Call::Bind { .. }))
            .map(|one| one.node)
            .collect();
        let about =
            |line: &&Line| matches!(line, Line::Process { node, .. } if nodes.contains(node));
        lines.extend(self.run.lines.iter().filter(about).cloned());
        verdict.find(NAME, self.key, text, lines);
    }
}

fn is_of(bind: &Operation, field: u32) -> bool {
    matches!(bind.call, Call::Bind { field: own, .. } if own == field)
}

fn is_same(one: &Operation, other: &Operation) -> bool {
    std::ptr::eq(one, other)
}
