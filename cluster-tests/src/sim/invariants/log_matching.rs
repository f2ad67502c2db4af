//! Log matching: two logs that have an entry of one index and one leader are the same up to there.
//!
//! Source: Raft paper, figure 3 and section 5.3. Does not judge what is committed. Invariant: an entry is compared with the first
//! one of its index and leader, and so is the entry before it; by induction that is all of the log.

use std::collections::BTreeMap;

use quorate::consensus::witness::{Logged, Mark, Seen};
use quorate::ids::{FormationId, NodeId};

use super::Found;
use super::eyes::Sighting;
use super::facts::{Facts, NodeFacts};

/// Of the oldest entries, more than so many are forgotten.
const ENTRIES_MAX: usize = 400_000;

#[derive(Debug)]
struct First {
    digest: u64,
    /// The entry before it, where that was known.
    before: Option<Mark>,
}

/// Each entry as it was first seen, by formation, index, term and leader.
#[derive(Debug, Default)]
pub(super) struct Rule(BTreeMap<(FormationId, u64, u64, NodeId), First>);

impl Rule {
    fn check(&mut self, known: &NodeFacts, logged: &Logged, found: &mut Found) {
        let Logged { mark, digest, .. } = logged;
        let before = mark.index.checked_sub(1).and_then(|before| known.mark_at(before));
        if mark.index > 0 && before.is_none() {
            found.push(format!("its log has {mark} and not the entry before it"));
        }
        let place = (known.formation, mark.index, mark.term, mark.leader);
        let first = self.0.entry(place).or_insert(First { digest: *digest, before });
        if first.digest != *digest {
            found.push(format!("the entry {mark} differs from another of this name"));
        }
        match (first.before, before) {
            (Some(one), Some(two)) if one != two => {
                found.push(format!("{mark} stands behind {two}, and elsewhere behind {one}"));
            }
            _ => first.before = first.before.or(before),
        }
        while self.0.len() > ENTRIES_MAX {
            self.0.pop_first();
        }
    }
}

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn after(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Some((known, _)) = facts.member(node) else { return };
        match &sighting.seen {
            Seen::Appended(entries) => {
                entries.iter().for_each(|logged| self.check(known, logged, found));
            }
            Seen::Formation(_) => {
                known.log.values().for_each(|logged| self.check(known, logged, found));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, entry, mark};

    #[test]
    fn entries_of_one_name_that_differ_are_found() {
        let mut story = Story::three();
        assert_eq!(story.append(1, &[entry(1, 1, 1)]), [""; 0]);
        assert_eq!(story.append(2, &[entry(1, 1, 1)]), [""; 0]);
        let mut other = entry(1, 1, 1);
        other.digest += 1;
        assert_eq!(story.append(3, &[other]), ["log matching"]);
    }

    #[test]
    fn an_entry_behind_another_one_or_none_is_found() {
        let mut story = Story::three();
        story.append(1, &[entry(1, 1, 1), entry(2, 2, 2)]);
        assert_eq!(mark(2, 2, 2), entry(2, 2, 2).mark);
        story.append(2, &[entry(1, 3, 1)]);
        assert_eq!(story.append(2, &[entry(2, 2, 2)]), ["log matching"]);
        assert_eq!(story.append(3, &[entry(2, 2, 2)]), ["log matching"]);
    }
}
