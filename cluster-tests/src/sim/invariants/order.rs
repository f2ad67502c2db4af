//! How far a node is in each respect: purged ≤ snapshot ≤ applied ≤ committed ≤ the last entry of its log.
//!
//! Source: openraft's own list (`RaftState`), Raft paper, section 7. Does not compare nodes. Invariant: held after everything that a node
//! does, from the first thing that its process has applied on.

use quorate::consensus::witness::Seen;
use quorate::ids::NodeId;

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// Remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Rule;

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "order of marks"
    }

    fn after(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let (Seen::Committed(_)
        | Seen::Applied(_)
        | Seen::Purged(_)
        | Seen::Truncated(_)
        | Seen::SnapshotBuilt(_)
        | Seen::Installed(_)) = &sighting.seen
        else {
            return;
        };
        let Some((known, _)) = facts.member(node) else { return };
        if known.applied.is_none() {
            return;
        }
        let marks = [
            ("purged", known.base),
            ("snapshot", known.snapshot),
            ("applied", known.applied),
            ("committed", known.committed),
            ("last", known.last()),
        ];
        for pair in marks.windows(2) {
            let [(lower, one), (upper, two)] = pair else { continue };
            if one.map(|mark| mark.index) > two.map(|mark| mark.index) {
                found.push(format!("{lower} {one:?} is beyond {upper} {two:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::consensus::witness::Seen;

    use super::super::story::{Story, applied, entry, mark};

    #[test]
    fn what_is_purged_without_a_snapshot_is_found() {
        let mut story = Story::three();
        for host in 1..=3 {
            story.write(host, &[entry(0, 1, 1), entry(1, 1, 1)]);
        }
        story.commit(1, mark(0, 1, 1));
        assert_eq!(story.apply(1, applied(0, 1, 1)), [""; 0]);
        assert_eq!(story.apply(1, applied(1, 1, 1)), ["order of marks"], "it is not committed");
        story.commit(1, mark(1, 1, 1));
        assert_eq!(story.say(1, Seen::SnapshotBuilt(Some(mark(0, 1, 1)))), [""; 0]);
        assert_eq!(story.say(1, Seen::Purged(mark(0, 1, 1))), [""; 0]);
        assert_eq!(story.say(1, Seen::Purged(mark(1, 1, 1))), ["order of marks"]);
    }
}
