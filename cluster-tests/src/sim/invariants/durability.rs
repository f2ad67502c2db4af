//! A node that comes back with its disk has what it had said to be durable: its vote, its log, its snapshot.
//!
//! Source: Raft paper, figure 2 ("updated on stable storage before responding"); etcd 14685 and NATS 7564, which acknowledged before the
//! sync. Does not judge nodes that keep nothing: they come back under other ids. Invariant: what was truncated or purged by the
//! node itself is not asked for.

use quorate::consensus::witness::{Opened, Seen};
use quorate::ids::NodeId;

use super::Found;
use super::eyes::Sighting;
use super::facts::{Facts, NodeFacts};

/// Remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Rule;

fn compare(before: &NodeFacts, opened: &Opened, found: &mut Found) {
    if before.vote > opened.vote {
        found.push(format!(
            "it came back with the vote {:?}, and had {:?}",
            opened.vote, before.vote
        ));
    }
    let reached = opened.snapshot.or(opened.purged).map(|mark| mark.index);
    if before.snapshot.map(|mark| mark.index) > reached {
        let (had, has) = (before.snapshot, opened.snapshot);
        found.push(format!("it came back with the snapshot {has:?}, and had {had:?}"));
    }
    let purged = opened.purged.map(|mark| mark.index);
    let durable = before.log.range(..=before.durable);
    let asked = durable.filter(|(index, _)| purged.is_none_or(|purged| **index > purged));
    let first = opened.entries.first().map_or(0, |first| first.mark.index);
    for (index, logged) in asked {
        let place = index.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let back = place.and_then(|place| opened.entries.get(place));
        if back.map(|back| (back.mark, back.digest)) != Some((logged.mark, logged.digest)) {
            found.push(format!("it came back without {}, which it had synced", logged.mark));
            return;
        }
    }
}

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn before(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Seen::Opened(opened) = &sighting.seen else { return };
        let before = facts.nodes.get(&node).filter(|before| !before.is_between);
        if let Some(before) = before {
            compare(before, opened, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::consensus::witness::Opened;

    use super::super::story::{Story, ballot, entry, node};

    fn opened(entries: u64, term: u64) -> Opened {
        Opened {
            node: node(1),
            vote: Some(ballot(term, 1, false)),
            committed: None,
            snapshot: None,
            purged: None,
            entries: (0..entries).map(|index| entry(index, 1, 1)).collect(),
        }
    }

    fn story() -> Story {
        let mut story = Story::three();
        story.vote(1, ballot(3, 1, false));
        story.write(1, &[entry(0, 1, 1), entry(1, 1, 1)]);
        story.append(1, &[entry(2, 1, 1)]);
        story
    }

    #[test]
    fn what_was_synced_must_be_there_and_the_rest_need_not() {
        assert_eq!(story().open(1, opened(2, 3)), [""; 0]);
        assert_eq!(story().open(1, opened(3, 3)), [""; 0]);
        assert_eq!(story().open(1, opened(1, 3)), ["durability"]);
    }

    #[test]
    fn a_vote_that_is_forgotten_is_found() {
        assert!(story().open(1, opened(2, 2)).contains(&"durability"));
    }
}
