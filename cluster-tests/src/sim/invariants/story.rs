//! Made-up sightings, for the tests of the invariants.
//!
//! Owns a small language: three machines in one formation, and what they say. Invariant: each call gives the names of the invariants
//! that it has hurt, all of them being asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate::command::{Action, Entry};
use quorate::consensus::witness::{Applied, Ballot, Deed, Logged, Mark, Opened, Seen, Witness};
use quorate::ids::{FormationId, NodeId, Placement, SessionId};
use quorate::keyspace::Event;
use quorate::time::Timestamp;

use super::Invariants;

/// The timeout of the sessions.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn node(host: u64) -> NodeId {
    NodeId::from_random(host)
}

pub(super) fn mark(index: u64, term: u64, leader: u64) -> Mark {
    Mark { term, leader: node(leader), index }
}

pub(super) fn ballot(term: u64, candidate: u64, is_elected: bool) -> Ballot {
    Ballot { term, node: node(candidate), is_elected }
}

pub(super) fn entry(index: u64, term: u64, leader: u64) -> Logged {
    Logged { mark: mark(index, term, leader), digest: index * 31 + term, voters: None }
}

fn deed(index: u64, action: Action, event: Event, revision: (u64, u64)) -> Applied {
    let at = Timestamp::from_millis(1_000 + index);
    let entry_ = Arc::new(Entry { at, action });
    let deed = Deed { entry: entry_, event, is_due: false, replies: 5, now: at, revision };
    Applied { logged: entry(index, 1, 1), deed: Some(deed) }
}

/// An application without effect.
pub(super) fn applied(index: u64, term: u64, leader: u64) -> Applied {
    let tick = deed(index, Action::Tick, Event::Nothing, (0, 0));
    Applied { logged: entry(index, term, leader), ..tick }
}

/// The opening of the session of node 1.
pub(super) fn opens(index: u64) -> Applied {
    let placement = Placement::new("a", "10.0.0.1:1".parse().expect("an address"));
    let (node, session) = (node(1), SessionId(index));
    let action = Action::Open { nonce: 9, node, placement };
    let event = Event::Opened { session, node, nonce: 9, replaced: None };
    deed(index, action, event, (1, 1))
}

/// A batch that got replies.
pub(super) fn batch(index: u64, session: u64, serial: u64, revision: (u64, u64)) -> Applied {
    let session = SessionId(session);
    let requests: Arc<[_]> = Arc::new([]);
    let action = Action::Batch { session, serial, acknowledged: 0, requests };
    let event = Event::Replied { session, serial, replies: Arc::new([]) };
    deed(index, action, event, revision)
}

/// The end of the session of node 1, so long after the batch before it.
pub(super) fn expires(index: u64, session: u64, after: Duration) -> Applied {
    let (session, node) = (SessionId(session), node(1));
    let event = Event::Expired { session, node };
    let mut applied = deed(index, Action::Expire { session }, event, (2, 2));
    if let Some(deed) = &mut applied.deed {
        let at = deed.now.saturating_add(after);
        deed.now = at;
        deed.entry = Arc::new(Entry { at, ..Entry::clone(&deed.entry) });
    }
    applied
}

/// Three machines, 1 to 3, of which each votes and has one entry, which nobody has committed.
#[derive(Debug)]
pub(super) struct Story {
    invariants: Invariants,
    mouths: Vec<Arc<dyn Witness>>,
    starts: u64,
}

impl Story {
    pub(super) fn three() -> Self {
        let mut story =
            Self { invariants: Invariants::new(SESSION_TIMEOUT), mouths: Vec::new(), starts: 1 };
        for host in 0..=3 {
            story.mouths.push(story.invariants.eyes().open(host, 1));
        }
        for host in 1..=3 {
            let entries = Vec::new();
            let (vote, committed, snapshot, purged) = (None, None, None, None);
            let node = node(host as u64);
            let opened = Opened { node, vote, committed, snapshot, purged, entries };
            story.say(host, Seen::Opened(Box::new(opened)));
            story.say(host, Seen::Formation(FormationId::first(1)));
            let voters = Some(vec![(1..=3).map(super::story::node).collect::<BTreeSet<_>>()]);
            // The configuration comes from elsewhere, so that the log is empty.
            let installed = quorate::consensus::witness::Installed {
                last: None,
                voters,
                digest: 0,
                now: Timestamp::ZERO,
                revision: 0,
                sessions: Vec::new(),
            };
            story.say(host, Seen::Installed(Box::new(installed)));
            story.write(host, &[entry(0, 0, 1)]);
        }
        story
    }

    /// Node 1 has applied the opening of its session 0 and that one's serial 1.
    pub(super) fn with_a_session() -> Self {
        let mut story = Self::three();
        for host in 1..=3 {
            let entries: Vec<_> = (0..6).map(|index| entry(index, 1, 1)).collect();
            story.write(host, &entries);
        }
        story.commit(1, mark(5, 1, 1));
        assert_eq!(story.apply(1, opens(0)), [""; 0]);
        assert_eq!(story.apply(1, batch(1, 0, 1, (1, 2))), [""; 0]);
        story
    }

    /// A machine says something; gives which invariants that hurts.
    pub(super) fn say(&mut self, host: usize, seen: Seen) -> Vec<&'static str> {
        self.mouths[host].see(seen);
        let found = self.invariants.judge(Duration::ZERO);
        found.into_iter().map(|finding| finding.invariant).collect()
    }

    /// The process of a node has just ended.
    pub(super) fn ends(&mut self, node: NodeId) {
        self.invariants.facts.note_end(node);
    }

    /// A machine starts again.
    pub(super) fn open(&mut self, host: usize, opened: Opened) -> Vec<&'static str> {
        self.starts += 1;
        self.mouths[host] = self.invariants.eyes().open(host, self.starts);
        let mut found = self.say(host, Seen::Opened(Box::new(opened)));
        found.extend(self.say(host, Seen::Formation(FormationId::first(1))));
        found
    }

    pub(super) fn vote(&mut self, host: usize, vote: Ballot) -> Vec<&'static str> {
        self.say(host, Seen::Voted(vote))
    }

    pub(super) fn append(&mut self, host: usize, entries: &[Logged]) -> Vec<&'static str> {
        self.say(host, Seen::Appended(entries.to_vec()))
    }

    /// Appends and syncs.
    pub(super) fn write(&mut self, host: usize, entries: &[Logged]) -> Vec<&'static str> {
        let mut found = self.append(host, entries);
        let last = entries.last().expect("an entry").mark;
        found.extend(self.say(host, Seen::Durable(last)));
        found
    }

    pub(super) fn commit(&mut self, host: usize, upto: Mark) -> Vec<&'static str> {
        self.say(host, Seen::Committed(upto))
    }

    pub(super) fn apply(&mut self, host: usize, applied: Applied) -> Vec<&'static str> {
        self.say(host, Seen::Applied(Box::new(applied)))
    }
}
