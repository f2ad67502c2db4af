//! State-machine safety: all nodes apply the same entries in the same order without a gap, with the same outcome.
//!
//! Source: Raft paper, figure 3 and section 5.4.3. The outcome of an entry is its replies, the clock and the revision. Does not look at
//! the state itself; see `state_hash`. Invariant: each application is compared with the first one of its index.

use quorate::consensus::witness::Seen;
use quorate::ids::NodeId;

use super::Found;
use super::eyes::Sighting;
use super::facts::{Facts, Record};

/// Remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Rule;

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "state-machine safety"
    }

    fn before(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let (Some(known), Seen::Applied(applied)) = (facts.nodes.get(&node), &sighting.seen) else {
            return;
        };
        let mark = applied.logged.mark;
        let next = known.applied.map_or(0, |applied| applied.index + 1);
        if mark.index != next {
            found.push(format!("it applied {mark}, and {next} was next"));
        }
        let Some((_, ledger)) = facts.member(node) else { return };
        let record = Record::of(applied);
        if let Some(first) = ledger.entries.get(&mark.index).filter(|first| **first != record) {
            found.push(format!("it applied {record:?}, and elsewhere that was {first:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, applied, entry, mark};

    fn story() -> Story {
        let mut story = Story::three();
        for host in 1..=3 {
            story.write(host, &[entry(0, 1, 1), entry(1, 1, 1)]);
        }
        for host in 1..=3 {
            assert_eq!(story.commit(host, mark(1, 1, 1)), [""; 0]);
        }
        assert_eq!(story.apply(1, applied(0, 1, 1)), [""; 0]);
        story
    }

    #[test]
    fn another_outcome_is_found() {
        let mut story = story();
        let mut other = applied(0, 1, 1);
        other.deed.as_mut().unwrap().replies += 1;
        assert_eq!(story.apply(2, applied(0, 1, 1)), [""; 0]);
        assert_eq!(story.apply(3, other), ["state-machine safety"]);
    }

    #[test]
    fn a_gap_and_a_second_time_are_found() {
        let mut story = story();
        assert_eq!(story.apply(2, applied(1, 1, 1)), ["state-machine safety"]);
        assert_eq!(story.apply(1, applied(0, 1, 1)), ["state-machine safety", "monotone"]);
    }
}
