//! Leader completeness: what was committed under a leader is in the log of every later one.
//!
//! Source: Raft paper, figure 3 and section 5.4. Judges a leader when it is elected. Invariant: together with log matching it is
//! enough to look at the last entry that was committed under any leader before it.

use quorate::consensus::witness::Seen;
use quorate::ids::NodeId;

use super::Found;
use super::eyes::Sighting;
use super::facts::{Facts, Later as _};

/// Remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Rule;

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn after(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Seen::Voted(vote) = &sighting.seen else { return };
        if !vote.is_elected || vote.node != node {
            return;
        }
        let Some((known, ledger)) = facts.member(node) else { return };
        let earlier = ledger.by_leader.range(..(vote.term, vote.node));
        let committed = earlier.fold(None, |last, (_, mark)| last.max_by_index(Some(*mark)));
        let Some(committed) = committed else { return };
        let is_forgotten = known.base.max_by_index(known.snapshot);
        let is_covered = is_forgotten.is_some_and(|upto| upto.index >= committed.index);
        if known.mark_at(committed.index) != Some(committed) && !is_covered {
            let last = known.last();
            found.push(format!(
                "{vote} lacks {committed}, which was committed; it ends at {last:?}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, ballot, entry, mark};

    /// Node 1 leads in term 1 and has committed its entry with node 2.
    fn story() -> Story {
        let mut story = Story::three();
        for host in 1..=3 {
            story.vote(host, ballot(1, 1, false));
        }
        story.vote(1, ballot(1, 1, true));
        story.write(1, &[entry(1, 1, 1)]);
        story.write(2, &[entry(1, 1, 1)]);
        assert_eq!(story.commit(1, mark(1, 1, 1)), [""; 0]);
        story
    }

    #[test]
    fn a_leader_without_a_committed_entry_is_found() {
        let mut story = story();
        story.vote(3, ballot(2, 3, false));
        story.vote(2, ballot(2, 3, false));
        assert_eq!(story.vote(3, ballot(2, 3, true)), ["leader completeness"]);
    }

    #[test]
    fn a_leader_that_has_it_is_none() {
        let mut story = story();
        story.vote(3, ballot(2, 2, false));
        story.vote(2, ballot(2, 2, false));
        assert_eq!(story.vote(2, ballot(2, 2, true)), [""; 0]);
    }
}
