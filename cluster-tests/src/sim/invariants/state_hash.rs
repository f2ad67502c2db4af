//! State hash equality: at one applied index all nodes have the same state, byte for byte, sessions and clock included.
//!
//! Source: ours, checklist A6; the hash is that of the snapshot's bytes, which are canonical. Does not look inside. Invariant: also
//! a state that came as a snapshot is compared, with whoever reached that index by applying.

use std::collections::BTreeMap;

use quorate::consensus::witness::{Mark, Seen};
use quorate::ids::{FormationId, NodeId};

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// The most indexes whose hashes are remembered.
const HASHES_MAX: usize = 100_000;

/// The first hash at each index.
#[derive(Debug, Default)]
pub(super) struct Rule(BTreeMap<(FormationId, u64), (NodeId, u64)>);

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "state hash"
    }

    fn after(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Some((known, ledger)) = facts.member(node) else { return };
        let (mark, digest): (Mark, u64) = match &sighting.seen {
            Seen::State(mark, digest, _) => (*mark, *digest),
            Seen::Installed(installed) => {
                let Some(last) = installed.last else { return };
                let outcome = ledger.entries.get(&last.index).and_then(|record| record.outcome);
                let now = (installed.now.as_millis(), installed.revision);
                if let Some((_, clock, revision)) = outcome.filter(|o| (o.1, o.2) != now) {
                    found.push(format!(
                        "a snapshot at {last} has clock and revision {now:?}, not {:?}",
                        (clock, revision)
                    ));
                }
                (last, installed.digest)
            }
            _ => return,
        };
        let place = (known.formation, mark.index);
        let (first, hash) = *self.0.entry(place).or_insert((node, digest));
        if hash != digest {
            found
                .push(format!("at {mark} its state has hash {digest:x}, that of {first} {hash:x}"));
        }
        while self.0.len() > HASHES_MAX {
            self.0.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::consensus::witness::Seen;

    use super::super::story::{Story, mark};

    #[test]
    fn states_that_differ_at_one_index_are_found() {
        let mut story = Story::three();
        assert_eq!(story.say(1, Seen::State(mark(64, 1, 1), 7, Vec::new())), [""; 0]);
        assert_eq!(story.say(2, Seen::State(mark(64, 1, 1), 7, Vec::new())), [""; 0]);
        assert_eq!(story.say(3, Seen::State(mark(64, 1, 1), 8, Vec::new())), ["state hash"]);
    }
}
