//! Election safety: whoever leads was voted for by a quorum of those who vote, so that no two lead in one term.
//!
//! Source: Raft paper, figure 3 and section 5.2; openraft's own list, with the term and the leader's id as one. Does not judge what a
//! leader has in its log. Invariant: a vote that was durable once counts, even if its node is gone since.

use std::collections::{BTreeMap, BTreeSet};

use quorate::consensus::witness::Seen;
use quorate::ids::{FormationId, NodeId};

use super::Found;
use super::eyes::Sighting;
use super::facts::{Facts, is_quorum};

/// Votes for elections longer ago are forgotten.
const ELECTIONS_MAX: usize = 1_000;

type Election = (FormationId, u64, NodeId);

/// Who voted for whom.
#[derive(Debug, Default)]
pub(super) struct Rule(BTreeMap<Election, BTreeSet<NodeId>>);

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn after(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let vote = match &sighting.seen {
            Seen::Voted(vote) | Seen::StartedOver(_, vote) => *vote,
            _ => return,
        };
        let Some((known, _)) = facts.member(node) else { return };
        let given = self.0.entry((known.formation, vote.term, vote.node)).or_default();
        given.insert(node);
        let is_won = vote.is_elected && vote.node == node;
        let is_backed = || {
            let has = |voter| given.contains(&voter);
            known.quorums().any(|quorums| is_quorum(quorums, has))
        };
        if is_won && !is_backed() {
            let voters: Vec<_> = known.quorums().collect();
            found.push(format!("{vote} was elected by {given:?}, of voters {voters:?}"));
        }
        while self.0.len() > ELECTIONS_MAX {
            self.0.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, ballot};

    #[test]
    fn a_leader_without_a_quorum_is_found() {
        let mut story = Story::three();
        story.vote(1, ballot(5, 1, false));
        assert_eq!(story.vote(1, ballot(5, 1, true)), ["election safety"]);
    }

    #[test]
    fn a_leader_of_a_quorum_is_none() {
        let mut story = Story::three();
        story.vote(1, ballot(5, 1, false));
        story.vote(2, ballot(5, 1, false));
        assert_eq!(story.vote(1, ballot(5, 1, true)), [""; 0]);
        assert_eq!(story.vote(3, ballot(5, 1, true)), [""; 0], "a follower learns of it");
    }
}
