//! Sessions: a serial is applied once, a repeated one gets its first replies, and who has no session has no effect.
//!
//! Source: Raft dissertation, section 6.3; ours, checklist A4 and D3. Compares each application with a small model of its own: who has a
//! session, and the last serial of each. Invariant: the model follows from the entries alone, or from the snapshot that took
//! their place.

use std::collections::{BTreeMap, VecDeque};

use quorate::command::Action;
use quorate::consensus::witness::{Deed, Installed, Mark, Seen};
use quorate::ids::{NodeId, SessionId};
use quorate::keyspace::Event;

use super::Found;
use super::eyes::Sighting;
use super::facts::Facts;

/// So many serials of a session are remembered with their replies.
const REMEMBERED: usize = 64;

#[derive(Debug)]
struct Session {
    node: NodeId,
    /// Unknown where it came with a snapshot.
    nonce: Option<u64>,
    last: u64,
    replies: VecDeque<(u64, u64)>,
}

/// The sessions as one process must have them.
#[derive(Debug, Default)]
struct Model(BTreeMap<SessionId, Session>);

/// The model of each node.
#[derive(Debug, Default)]
pub(super) struct Rule(BTreeMap<NodeId, Model>);

impl Model {
    fn of(installed: &Installed) -> Self {
        let session = |kept: &quorate::consensus::witness::Kept| {
            let (node, last) = (kept.node, kept.serial);
            (kept.session, Session { node, nonce: None, last, replies: VecDeque::new() })
        };
        Self(installed.sessions.iter().map(session).collect())
    }

    /// Applies an entry; tells what is wrong with what the node made of it.
    fn apply(&mut self, mark: Mark, deed: &Deed) -> Option<String> {
        match &deed.entry.action {
            Action::Open { nonce, node, .. } => self.open(mark, *node, *nonce, &deed.event),
            Action::Batch { session, serial, .. } => self.batch(*session, *serial, deed),
            Action::Expire { session } => {
                let node = self.0.remove(session).map(|ended| ended.node);
                let expected =
                    node.map_or(Event::Nothing, |node| Event::Expired { session: *session, node });
                (deed.event != expected)
                    .then(|| format!("ending {session} was {:?}, not {expected:?}", deed.event))
            }
            Action::Tick => {
                (deed.event != Event::Nothing).then(|| format!("a tick was {:?}", deed.event))
            }
        }
    }

    fn open(&mut self, mark: Mark, node: NodeId, nonce: u64, event: &Event) -> Option<String> {
        let Event::Opened { session, node: told, replaced, .. } = event else {
            return Some(format!("opening a session was {event:?}"));
        };
        let twin = self.0.iter().find(|(_, open)| open.node == node);
        let twin = twin.map(|(id, open)| (*id, open.nonce));
        let fresh = SessionId(mark.index);
        let is_right = match twin {
            None => *session == fresh && replaced.is_none(),
            Some((id, Some(known))) if known == nonce => *session == id && replaced.is_none(),
            Some((id, Some(_))) => *session == fresh && *replaced == Some(id),
            Some((id, None)) if *session == id => replaced.is_none(),
            Some((id, None)) => *session == fresh && *replaced == Some(id),
        };
        if let Some(replaced) = replaced {
            self.0.remove(replaced);
        }
        let opened = Session { node, nonce: Some(nonce), last: 0, replies: VecDeque::new() };
        self.0.entry(*session).or_insert(opened).nonce = Some(nonce);
        (!is_right || *told != node)
            .then(|| format!("node {node} opened {session} for {replaced:?}, and had {twin:?}"))
    }

    fn batch(&mut self, session: SessionId, serial: u64, deed: &Deed) -> Option<String> {
        let event = &deed.event;
        let is_untouched = deed.is_due || deed.revision.0 == deed.revision.1;
        let touched = |what: &str| {
            (!is_untouched).then(|| format!("{session}/{serial} had an effect, though {what}"))
        };
        let Some(open) = self.0.get_mut(&session) else {
            return match event {
                Event::NoSession { .. } => touched("the session is not open"),
                _ => Some(format!("{session}/{serial} was {event:?}; the session is not open")),
            };
        };
        let next = open.last.saturating_add(1);
        if serial > next {
            return match event {
                Event::Gap { .. } => touched("one before it is missing"),
                _ => Some(format!("{session}/{serial} was {event:?}, and {next} was next")),
            };
        }
        if serial == next {
            open.last = serial;
            open.replies.push_back((serial, deed.replies));
            if open.replies.len() > REMEMBERED {
                open.replies.pop_front();
            }
            let is_replied = matches!(event, Event::Replied { .. });
            return (!is_replied).then(|| format!("{session}/{serial} was {event:?}, and is new"));
        }
        let first = open.replies.iter().find(|(known, _)| *known == serial);
        match event {
            Event::Replied { .. } if first.is_some_and(|(_, first)| *first != deed.replies) => {
                Some(format!("{session}/{serial} came again and got other replies"))
            }
            Event::Replied { .. } | Event::Stale { .. } => touched("it was applied before"),
            _ => Some(format!("{session}/{serial} came again and was {event:?}")),
        }
    }
}

impl super::Rule for Rule {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn before(&mut self, _facts: &Facts, node: NodeId, sighting: &Sighting, found: &mut Found) {
        match &sighting.seen {
            Seen::Opened(_) => _ = self.0.insert(node, Model::default()),
            Seen::Installed(installed) => _ = self.0.insert(node, Model::of(installed)),
            Seen::Applied(applied) => {
                let Some(deed) = &applied.deed else { return };
                let mark = applied.logged.mark;
                let wrong = self.0.entry(node).or_default().apply(mark, deed);
                found.extend(wrong.map(|wrong| format!("at {mark} {wrong}")));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, batch};

    #[test]
    fn a_serial_with_an_effect_twice_is_found() {
        let mut story = Story::with_a_session();
        assert_eq!(story.apply(1, batch(2, 0, 1, (2, 2))), [""; 0]);
        assert_eq!(story.apply(1, batch(3, 0, 1, (2, 3))), ["sessions"]);
    }

    #[test]
    fn other_replies_to_a_repeated_serial_are_found() {
        let mut story = Story::with_a_session();
        let mut again = batch(2, 0, 1, (2, 2));
        again.deed.as_mut().unwrap().replies += 1;
        assert_eq!(story.apply(1, again), ["sessions"]);
    }

    #[test]
    fn a_batch_of_a_session_that_is_not_open_is_found() {
        let mut story = Story::with_a_session();
        assert_eq!(story.apply(1, batch(2, 7, 1, (2, 3))), ["sessions"]);
    }

    #[test]
    fn a_serial_that_comes_too_early_is_found() {
        let mut story = Story::with_a_session();
        assert_eq!(story.apply(1, batch(2, 0, 3, (2, 3))), ["sessions"]);
    }
}
