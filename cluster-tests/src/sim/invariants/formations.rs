//! A cluster is one: all nodes are of one lineage, and of one epoch no two formations are begun.
//!
//! Source: ours, checklist F5 and the rule in `ids/formation.rs`. Holds where all machines are told of each other and no operator forms the
//! cluster anew on two sides. Invariant: a formation counts from the first entry that is committed in it.

use std::collections::BTreeMap;

use quorate::consensus::witness::Seen;
use quorate::ids::{FormationId, NodeId};

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// The first formation of each epoch.
#[derive(Debug, Default)]
pub(super) struct Rule(BTreeMap<u64, FormationId>);

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "one cluster"
    }

    fn after(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Seen::Committed(_) = &sighting.seen else { return };
        let Some((known, _)) = facts.member(node) else { return };
        let own = known.formation;
        let first = *self.0.entry(own.epoch).or_insert(own);
        if first != own {
            found.push(format!("formation {own} goes on beside {first}"));
            self.0.insert(own.epoch, own);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::consensus::witness::Seen;
    use quorate::ids::FormationId;

    use super::super::story::{Story, entry, mark};

    #[test]
    fn two_clusters_are_found() {
        let mut story = Story::three();
        story.say(3, Seen::Formation(FormationId::first(99)));
        story.say(3, Seen::Appended(vec![entry(0, 1, 3)]));
        for host in 1..=2 {
            story.write(host, &[entry(0, 1, 1)]);
        }
        assert_eq!(story.commit(1, mark(0, 1, 1)), [""; 0]);
        assert!(story.commit(3, mark(0, 1, 3)).contains(&"one cluster"));
    }
}
