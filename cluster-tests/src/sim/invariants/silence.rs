//! Silence: a leader ends a session only when it has heard nothing of it for the timeout, whatever gossip believes.
//!
//! Source: ours, checklist D2 and D6. A leader hears of a session at least where it takes a batch of it; both entries bear its time. Does not
//! judge the sessions of nodes whose process has just ended or leaves, which are ended at once. Invariant: what one leader stamps in one
//! term goes with its own clock, so that the timeout lies between the two stamps.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::command::Action;
use quorate::consensus::witness::{Deed, Mark, Seen};
use quorate::ids::{NodeId, SessionId};
use quorate::keyspace::Event;
use quorate::time::Timestamp;

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// Of the entries of the oldest terms, more than so many are forgotten, and are not judged.
const ENTRIES_MAX: usize = 100_000;

/// When a leader has last taken a batch of a session, by its own time.
#[derive(Clone, Copy, Debug)]
struct Heard {
    term: u64,
    leader: NodeId,
    at: Timestamp,
}

/// What the leaders had heard, as each process has applied it.
#[derive(Debug)]
pub(super) struct Rule {
    /// How long a session is silent at least when it is ended: the timeout, less what clocks may be adjusted by.
    least: Duration,
    heard: BTreeMap<NodeId, BTreeMap<SessionId, Heard>>,
    /// When an entry was first in any log: at its leader, when it was proposed.
    proposed: BTreeMap<Mark, Duration>,
}

impl Rule {
    pub(super) fn new(session_timeout: Duration) -> Self {
        Self {
            least: session_timeout.mul_f64(0.9),
            heard: BTreeMap::new(),
            proposed: BTreeMap::new(),
        }
    }

    fn judge(&mut self, facts: &Facts, node: NodeId, mark: Mark, deed: &Deed) -> Option<String> {
        let heard = self.heard.entry(node).or_default();
        let Mark { term, leader, .. } = mark;
        let at = deed.entry.at;
        match (&deed.entry.action, &deed.event) {
            (Action::Batch { session, .. }, Event::Replied { .. }) => {
                heard.insert(*session, Heard { term, leader, at });
                None
            }
            (Action::Expire { session }, Event::Expired { node: owner, .. }) => {
                let last = heard.remove(session)?;
                let silent = at.since(last.at);
                let is_same = (last.term, last.leader) == (term, leader);
                let is_gone = |then: &Duration| facts.may_be_gone(*owner, *then);
                let is_excused = self.proposed.get(&mark).is_none_or(is_gone);
                let is_early = is_same && silent < self.least && !is_excused;
                is_early.then(|| {
                    format!("at {mark} {session} of {owner} ended {silent:?} after its leader had taken a batch of it")
                })
            }
            _ => None,
        }
    }
}

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "silence"
    }

    fn before(&mut self, facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        match &sighting.seen {
            Seen::Opened(_) | Seen::Installed(_) | Seen::StartedOver(..) | Seen::Cleared => {
                self.heard.remove(&node);
            }
            Seen::Appended(entries) => {
                for logged in entries {
                    self.proposed.entry(logged.mark).or_insert(facts.now);
                }
                while self.proposed.len() > ENTRIES_MAX {
                    self.proposed.pop_first();
                }
            }
            Seen::Applied(applied) => {
                let Some(deed) = &applied.deed else { return };
                found.extend(self.judge(facts, node, applied.logged.mark, deed));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{SESSION_TIMEOUT, Story, expires, node};

    #[test]
    fn a_session_that_ends_though_it_was_heard_of_is_found() {
        assert_eq!(
            Story::with_a_session().apply(1, expires(2, 0, SESSION_TIMEOUT / 2)),
            ["silence"]
        );
    }

    #[test]
    fn a_session_that_was_silent_ends() {
        assert_eq!(Story::with_a_session().apply(1, expires(2, 0, SESSION_TIMEOUT * 2)), [""; 0]);
    }

    #[test]
    fn a_session_whose_process_is_gone_ends_at_once() {
        let mut story = Story::with_a_session();
        story.ends(node(1));
        assert_eq!(story.apply(1, expires(2, 0, SESSION_TIMEOUT / 2)), [""; 0]);
    }
}
