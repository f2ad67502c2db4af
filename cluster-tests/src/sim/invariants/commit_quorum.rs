//! What is committed is durable on a quorum of those who vote.
//!
//! Source: Raft paper, sections 5.3 and 5.4.2; openraft 1802, where acknowledgements out of order committed without a quorum. Judges
//! whoever first says that an entry is committed. Invariant: what a node acknowledged counts though it is gone since; a
//! change of voters that comes between the count and the word is allowed for.

use quorate::consensus::witness::Seen;
use quorate::ids::NodeId;

use super::Found;
use super::eyes::Sighting;
use super::facts::{Facts, is_quorum};

/// Remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Rule;

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "committed on a quorum"
    }

    fn before(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Seen::Committed(upto) = &sighting.seen else { return };
        let Some(known) = facts.nodes.get(&node) else { return };
        if !known.formation.is_some() || known.is_between {
            return;
        }
        let ledger = facts.formations.get(&known.formation);
        if ledger.and_then(|l| l.committed).is_some_and(|committed| committed.index >= upto.index) {
            return;
        }
        let has = |voter: NodeId| {
            let voter = facts.nodes.get(&voter);
            voter.is_some_and(|v| v.formation == known.formation && v.holds(*upto))
        };
        if !known.quorums().any(|quorums| is_quorum(quorums, has)) {
            let voters: Vec<_> = known.quorums().collect();
            let all = facts.nodes.iter().filter(|(id, _)| has(**id)).map(|(id, _)| id);
            let holders: Vec<_> = all.collect();
            found.push(format!(
                "{upto} counts as committed; of voters {voters:?} {holders:?} have it"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, entry, mark};

    #[test]
    fn a_commit_that_a_minority_has_is_found() {
        let mut story = Story::three();
        story.write(1, &[entry(1, 1, 1)]);
        story.append(2, &[entry(1, 1, 1)]);
        assert_eq!(
            story.commit(1, mark(1, 1, 1)),
            ["committed on a quorum"],
            "2 has not synced it"
        );
    }

    #[test]
    fn a_commit_that_a_majority_has_is_none() {
        let mut story = Story::three();
        story.write(1, &[entry(1, 1, 1)]);
        story.write(3, &[entry(1, 1, 1)]);
        assert_eq!(story.commit(1, mark(1, 1, 1)), [""; 0]);
        assert_eq!(story.commit(3, mark(1, 1, 1)), [""; 0]);
    }
}
