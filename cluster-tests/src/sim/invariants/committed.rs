//! What is committed stays: no two nodes hold different entries for committed, and nobody truncates one.
//!
//! Source: Raft paper, section 5.4.3; openraft ac3e5a89 (a snapshot in conflict with what was committed). Does not judge who may commit.
//! Invariant: an entry that any node called committed is the one of its index for ever.

use quorate::consensus::witness::{Mark, Seen};
use quorate::ids::NodeId;

use super::Found;
use super::eyes::Sighting;
use super::facts::{Facts, Ledger};

/// Remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Rule;

/// The committed entry at an index, if it is known.
fn committed_at(ledger: &Ledger, index: u64) -> Option<Mark> {
    let last = ledger.committed.filter(|committed| committed.index == index);
    last.or_else(|| ledger.entries.get(&index).map(|record| record.mark))
}

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "committed stays"
    }

    fn before(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Some((known, ledger)) = facts.member(node) else { return };
        match &sighting.seen {
            Seen::Committed(upto) => {
                let other = committed_at(ledger, upto.index).filter(|other| other != upto);
                if let Some(other) = other {
                    found.push(format!("{upto} counts as committed, and elsewhere {other}"));
                }
            }
            Seen::Installed(installed) => {
                let Some(last) = installed.last else { return };
                let other = committed_at(ledger, last.index).filter(|other| *other != last);
                if let Some(other) = other {
                    found.push(format!("a snapshot ends with {last}, and {other} is committed"));
                }
            }
            Seen::Truncated(from) => {
                let end = ledger.committed.map_or(0, |committed| committed.index);
                let gone = known.log.range(from..).take_while(|(index, _)| **index <= end);
                let lost = gone.map(|(_, logged)| logged.mark);
                let mut lost = lost.filter(|mark| committed_at(ledger, mark.index) == Some(*mark));
                if let Some(first) = lost.next() {
                    found.push(format!("it truncated {first}, which was committed"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::consensus::witness::Seen;

    use super::super::story::{Story, entry, mark};

    fn story() -> Story {
        let mut story = Story::three();
        story.write(1, &[entry(1, 1, 1)]);
        story.write(2, &[entry(1, 1, 1), entry(2, 1, 1)]);
        assert_eq!(story.commit(1, mark(1, 1, 1)), [""; 0]);
        story
    }

    #[test]
    fn a_committed_entry_that_is_truncated_is_found() {
        let mut story = story();
        assert_eq!(story.say(2, Seen::Truncated(2)), [""; 0], "this one was not committed");
        assert_eq!(story.say(2, Seen::Truncated(1)), ["committed stays"]);
    }

    #[test]
    fn two_committed_entries_of_one_index_are_found() {
        let mut story = story();
        story.write(3, &[entry(1, 2, 3)]);
        assert_eq!(story.commit(3, mark(1, 2, 3)), ["committed stays"]);
    }
}
