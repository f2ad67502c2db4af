//! What a node knows to be committed, and what it has applied, only grows while its process lives in one formation.
//!
//! Source: Raft paper, figure 2 ("increases monotonically"). After a restart a node applies again what it has; see `durability` for
//! what must be there. Invariant: compared with the facts before.

use quorate::consensus::witness::{Mark, Seen};
use quorate::ids::NodeId;

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// Remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Rule;

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "monotone"
    }

    fn before(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        let Some(known) = facts.nodes.get(&node) else { return };
        let mut compare = |what: &str, before: Option<Mark>, now: Mark, may_stay: bool| {
            let goes_back = before.filter(|before| {
                before.index > now.index || (before.index == now.index && !may_stay)
            });
            if let Some(before) = goes_back {
                found.push(format!("{what} went from {before} to {now}"));
            }
        };
        match &sighting.seen {
            Seen::Committed(upto) => compare("committed", known.committed, *upto, true),
            Seen::Applied(applied) => {
                compare("applied", known.applied, applied.logged.mark, false);
            }
            Seen::Purged(upto) => compare("purged", known.base, *upto, true),
            Seen::Installed(installed) if !known.is_between => {
                if let Some(last) = installed.last {
                    compare("applied by a snapshot", known.applied, last, true);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, entry, mark};

    #[test]
    fn a_commit_that_goes_back_is_found() {
        let mut story = Story::three();
        for host in 1..=3 {
            story.write(host, &[entry(1, 1, 1), entry(2, 1, 1)]);
        }
        assert_eq!(story.commit(1, mark(2, 1, 1)), [""; 0]);
        assert_eq!(story.commit(2, mark(1, 1, 1)), [""; 0]);
        assert_eq!(story.commit(1, mark(1, 1, 1)), ["monotone"]);
    }
}
