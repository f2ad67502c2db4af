//! Expiry: the replicated clock is the latest stamp in the log so far, so that it never goes back and only the log expires keys.
//!
//! Source: ours, checklist C3 and C4. Whether a key is seen behind its deadline is judged from the clients' histories. Does not judge the
//! stamps. Invariant: the clock behind an entry follows from the clock before it and the entry alone.

use std::collections::BTreeMap;

use quorate::consensus::witness::Seen;
use quorate::ids::NodeId;
use quorate::time::Timestamp;

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// The replicated clock of each process, where it is known.
#[derive(Debug, Default)]
pub(super) struct Rule(BTreeMap<NodeId, Timestamp>);

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "replicated clock"
    }

    fn before(&mut self, _facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        match &sighting.seen {
            Seen::Opened(_) => _ = self.0.insert(node, Timestamp::ZERO),
            Seen::Installed(installed) => _ = self.0.insert(node, installed.now),
            Seen::Applied(applied) => {
                let Some(deed) = &applied.deed else { return };
                let before = self.0.insert(node, deed.now).unwrap_or(Timestamp::ZERO);
                let expected = before.max(deed.entry.at);
                if deed.now != expected {
                    let mark = applied.logged.mark;
                    let now = deed.now;
                    found.push(format!("behind {mark} the clock is {now:?}, not {expected:?}"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::time::Timestamp;

    use super::super::story::{Story, applied, entry, mark};

    #[test]
    fn a_clock_that_does_not_follow_the_log_is_found() {
        let mut story = Story::three();
        for host in 1..=3 {
            story.write(host, &[entry(0, 1, 1), entry(1, 1, 1)]);
        }
        story.commit(1, mark(1, 1, 1));
        assert_eq!(story.apply(1, applied(0, 1, 1)), [""; 0]);
        let mut ahead = applied(1, 1, 1);
        ahead.deed.as_mut().unwrap().now = Timestamp::from_millis(999_999);
        assert_eq!(story.apply(1, ahead), ["replicated clock"]);
    }
}
