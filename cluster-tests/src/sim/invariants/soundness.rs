//! The state is sound: a snapshot of it gives the same state, and what is bound or waits belongs to a live session.
//!
//! Source: ours, checklist A7 and D3. What is asked stands in the product, where the state is known: it refuses a snapshot that binds
//! something to a session that is not open, to what is not there, or holds two sessions of a node. Invariant: the witness looks
//! every few hundred entries.

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
        "soundness"
    }

    fn after(&mut self, _facts: &Facts, _node: NodeId, sighting: &Sighting, found: &mut Found) {
        if let Seen::State(mark, _, faults) = &sighting.seen {
            found.extend(faults.iter().map(|fault| format!("at {mark} {fault}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::consensus::witness::Seen;

    use super::super::story::{Story, mark};

    #[test]
    fn what_the_state_confesses_is_found() {
        let mut story = Story::three();
        assert_eq!(story.say(1, Seen::State(mark(9, 1, 1), 7, Vec::new())), [""; 0]);
        let fault = vec!["somebody waits whose session has ended".to_owned()];
        assert_eq!(story.say(1, Seen::State(mark(9, 1, 1), 7, fault)), ["soundness"]);
    }
}
