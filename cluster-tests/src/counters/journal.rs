//! Reads the log that a node has left on its disk, and counts what it did.
//!
//! Owns the replay through the keyspace, and the proof that each serial changed the counters once. Does not own: the
//! nodes, which must have ended. Invariant: a change of a counter is counted from the state before and after the entry, and
//! compared to what the entry asks for, so that neither side vouches for itself.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate::command::{Action, Command, Entry, Operation, Reply, Request};
use quorate::consensus::Store;
use quorate::ids::{NodeId, SessionId};
use quorate::keyspace::{Keyspace, Limits};
use quorate::storage::RealDisk;

use super::history::{Counter, Final};
use crate::failure::{Failure, Outcome};

/// What a log has shown.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Where it begins: 0 when nothing is missing.
    pub(super) first: u64,
    entries: usize,
    sessions: usize,
    serials: usize,
    repeated: usize,
    /// What the counters hold at its end.
    pub(super) last: Final,
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, entries, sessions, serials, repeated, .. } = self;
        write!(
            f,
            "{entries} entries from index {first} on, {sessions} sessions, {serials} serials, "
        )?;
        write!(f, "{repeated} of them in the log more than once, none applied twice")
    }
}

/// Replays what lies in `folder`.
///
/// # Errors
/// When it cannot be read, or a serial changed a counter twice, or otherwise than it asks for.
pub(super) fn read(folder: &Path) -> Outcome<Journal> {
    let strange = |error: quorate::storage::Error| Failure::new(error.to_string());
    let disk = RealDisk::open(folder).map_err(strange)?;
    let store = Store::open(Arc::new(disk), NodeId::from_random(1)).map_err(strange)?;
    let (first, keyspace) = store.snapshot(Limits::default()).map_err(strange)?;
    replay(first, keyspace, &store.entries(first))
}

fn replay(first: u64, mut keyspace: Keyspace, entries: &[(u64, Entry)]) -> Outcome<Journal> {
    let mut journal = Journal { first, entries: entries.len(), ..Journal::default() };
    let mut serials = Serials::default();
    journal.last = read_both(&keyspace)?;
    for (index, entry) in entries {
        let before = journal.last;
        keyspace.apply(*index, entry);
        journal.last = read_both(&keyspace)?;
        if let Action::Batch { session, serial, requests, .. } = &entry.action {
            let change = Change { before, after: journal.last, asked: asked(requests) };
            let noted = serials.note((*session, *serial), change);
            noted.map_err(|failure| failure.during(format!("entry {index}")))?;
        }
        journal.sessions += usize::from(matches!(entry.action, Action::Open { .. }));
    }
    (journal.serials, journal.repeated) = (serials.seen.len(), serials.repeated.len());
    Ok(journal)
}

/// What the counters were before a batch and after it, and by how much it asks for more.
#[derive(Debug, Clone, Copy)]
struct Change {
    before: Final,
    after: Final,
    asked: Final,
}

/// The serials in a log.
#[derive(Debug, Default)]
struct Serials {
    seen: BTreeSet<(SessionId, u64)>,
    repeated: BTreeSet<(SessionId, u64)>,
    applied: BTreeSet<(SessionId, u64)>,
}

impl Serials {
    fn note(&mut self, name: (SessionId, u64), change: Change) -> Outcome {
        if !self.seen.insert(name) {
            self.repeated.insert(name);
        }
        let Change { before, after, asked } = change;
        if before == after {
            return Ok(());
        }
        let (session, serial) = name;
        if !self.applied.insert(name) {
            let text = format!("serial {serial} of session {session} changed a counter again");
            return Err(Failure::new(text));
        }
        let is_right =
            |counter: Counter| before.of(counter) + asked.of(counter) == after.of(counter);
        if Counter::ALL.into_iter().all(is_right) {
            return Ok(());
        }
        Err(Failure::new(format!("{before:?} became {after:?} by a batch that asks for {asked:?}")))
    }
}

fn parse(words: &[&'static [u8]]) -> Outcome<Command> {
    let words: Vec<Bytes> = words.iter().map(|word| Bytes::from_static(word)).collect();
    Command::parse(&words).map_err(|error| Failure::new(format!("{words:?}: {error}")))
}

fn read_both(keyspace: &Keyspace) -> Outcome<Final> {
    let mut read = Final::default();
    for counter in Counter::ALL {
        let operation = Operation::new(0, parse(counter.read())?);
        let reply = keyspace.read(keyspace.now(), &operation);
        let number = if let Reply::Bulk(bytes) = &reply {
            std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok())
        } else {
            (reply == Reply::Nil).then_some(0)
        };
        *read.of_mut(counter) =
            number.ok_or_else(|| Failure::new(format!("{counter:?} holds no number")))?;
    }
    Ok(read)
}

/// By how much the requests ask to increment.
fn asked(requests: &[Request]) -> Final {
    let mut asked = Final::default();
    for counter in Counter::ALL {
        let increment = parse(counter.increment()).ok();
        let is_one = |request: &&Request| matches!(request, Request::One(operation) if Some(&operation.command) == increment.as_ref());
        *asked.of_mut(counter) = requests.iter().filter(is_one).count() as u64;
    }
    asked
}

#[cfg(test)]
mod tests {
    use quorate::ids::Placement;
    use quorate::time::Timestamp;

    use super::*;

    fn log(batches: &[(u64, u64)]) -> Vec<(u64, Entry)> {
        let at = Timestamp::from_millis(1);
        let placement = Placement::new("a", "127.0.0.1:1".parse().unwrap());
        let open = Action::Open { nonce: 1, node: NodeId::from_random(1), placement };
        let mut entries = vec![(1, Entry { at, action: open })];
        for ((serial, count), index) in batches.iter().zip(2..) {
            let increment = Operation::new(0, parse(Counter::Key.increment()).unwrap());
            let requests = (0..*count).map(|_| Request::One(increment.clone())).collect();
            let session = SessionId(1);
            let action = Action::Batch { session, serial: *serial, acknowledged: 0, requests };
            entries.push((index, Entry { at, action }));
        }
        entries
    }

    #[test]
    fn repeated_serials_are_counted_and_change_nothing() {
        let entries = log(&[(1, 2), (2, 1), (1, 2), (2, 1), (3, 1)]);
        let journal = replay(0, Keyspace::new(Limits::default()), &entries).unwrap();
        assert_eq!((journal.serials, journal.repeated, journal.sessions), (3, 2, 1));
        assert_eq!((journal.last.of(Counter::Key), journal.last.of(Counter::Field)), (4, 0));
    }

    #[test]
    fn a_serial_that_changes_a_counter_twice_or_wrongly_is_found() {
        let of = |count| {
            let mut counts = Final::default();
            *counts.of_mut(Counter::Field) = count;
            counts
        };
        let change = |before, after, asked| Change {
            before: of(before),
            after: of(after),
            asked: of(asked),
        };
        let mut serials = Serials::default();
        let (one, two) = ((SessionId(1), 1), (SessionId(1), 2));
        assert!(serials.note(one, change(0, 2, 2)).is_ok());
        assert!(serials.note(one, change(2, 2, 2)).is_ok(), "repeated without effect");
        assert!(serials.note(one, change(2, 4, 2)).unwrap_err().to_string().contains("again"));
        assert!(serials.note(two, change(2, 3, 2)).unwrap_err().to_string().contains("became"));
    }
}
