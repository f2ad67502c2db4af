//! A node's vote only grows: whoever has voted in a term votes for nobody else in it, nor in an older one, also after a
//! restart with its disk.
//!
//! Source: Raft paper, sections 5.1 and 5.2 (`currentTerm`, `votedFor`); a term of ours is a term and a candidate, since
//! openraft orders candidates of one term by their ids. Does not judge who is elected. Invariant: a vote is compared with the last
//! one that was durable in the same formation.

use std::collections::BTreeMap;

use quorate::consensus::witness::{Ballot, Seen};
use quorate::ids::{FormationId, NodeId};

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// The greatest vote of each node in each formation.
#[derive(Debug, Default)]
pub(super) struct Rule(BTreeMap<(FormationId, NodeId), Ballot>);

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "vote"
    }

    fn after(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let (Seen::Voted(_) | Seen::Formation(_)) = &sighting.seen else { return };
        let Some((known, _)) = facts.member(node) else { return };
        let Some(vote) = known.vote else { return };
        let before = self.0.insert((known.formation, node), vote);
        if let Some(before) = before.filter(|before| *before > vote) {
            found.push(format!("it voted for {vote} after {before}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, ballot};

    #[test]
    fn a_vote_that_goes_back_is_found() {
        let mut story = Story::three();
        assert_eq!(story.vote(1, ballot(2, 2, false)), [""; 0]);
        assert_eq!(story.vote(1, ballot(2, 3, false)), [""; 0], "a greater candidate of that term");
        assert_eq!(story.vote(1, ballot(2, 2, false)), ["vote"]);
    }
}
