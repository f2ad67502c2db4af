//! Clients that wait for an element of a list (`BLPOP` and its kin), over the whole cluster.
//!
//! Owns who waits for which keys, in which order they came, and which lists have come to be since they were last looked
//! at. What a wait takes when it is served stands in `blocking.rs`. Invariants: a wait stands in the queue of each of its
//! keys, and nowhere else; nobody waits for a list that is there and is not ready.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::blocking::BlockingCommand;
use crate::ids::{SessionId, WaitId};

/// A key of one database.
pub(crate) type Place = (u8, Bytes);

/// One waiting client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wait {
    pub(crate) database: u8,
    pub(crate) command: BlockingCommand,
}

/// All waiting clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Waits {
    /// The last number that was given to a wait. Invariant: no wait has a greater one.
    last: u64,
    waits: BTreeMap<WaitId, Wait>,
    /// Who waits for a list, by number, so that the first comer is first. Invariant: none is empty.
    queues: BTreeMap<Place, BTreeMap<u64, WaitId>>,
    /// Lists that came to be within the current request, in order; empty between requests.
    ready: VecDeque<Place>,
    /// The same, to be found.
    is_ready: BTreeSet<Place>,
}

/// What of it stands in a snapshot; the rest follows from it.
#[derive(Serialize, Deserialize)]
struct Stored {
    last: u64,
    waits: BTreeMap<WaitId, Wait>,
}

impl From<Waits> for Stored {
    fn from(waits: Waits) -> Self {
        Self { last: waits.last, waits: waits.waits }
    }
}

impl From<Stored> for Waits {
    fn from(stored: Stored) -> Self {
        let mut waits = Self { last: stored.last, ..Self::default() };
        for (id, wait) in stored.waits {
            waits.insert(id, wait);
        }
        waits
    }
}

impl Waits {
    /// Puts a client at the end of the queue of each of its keys.
    pub(crate) fn add(&mut self, session: SessionId, wait: Wait) -> WaitId {
        self.last = self.last.saturating_add(1);
        let id = WaitId { session, number: self.last };
        self.insert(id, wait);
        id
    }

    fn insert(&mut self, id: WaitId, wait: Wait) {
        for key in wait.command.sources() {
            let place = (wait.database, key.clone());
            self.queues.entry(place).or_default().insert(id.number, id);
        }
        self.waits.insert(id, wait);
    }

    /// Takes a client out of all its queues; gives what it waited for if it was still waiting.
    pub(crate) fn remove(&mut self, id: WaitId) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        for key in wait.command.sources() {
            let place = (wait.database, key.clone());
            if let Some(queue) = self.queues.get_mut(&place) {
                queue.remove(&id.number);
                if queue.is_empty() {
                    self.queues.remove(&place);
                }
            }
        }
        Some(wait)
    }

    /// Takes all clients of a session out.
    pub(crate) fn remove_session(&mut self, session: SessionId) {
        let first = WaitId { session, number: 0 };
        let last = WaitId { session, number: u64::MAX };
        let ids: Vec<_> = self.waits.range(first..=last).map(|(id, _)| *id).collect();
        for id in ids {
            self.remove(id);
        }
    }

    /// Notes that a list has come to be, if anybody waits for it. Pushes to one that is there change nothing, as in Redis
    /// (`signalKeyAsReady` of 7.0): so lists are served in the order in which they came to be.
    pub(crate) fn mark_ready(&mut self, database: u8, key: &Bytes) {
        if self.waits.is_empty() {
            return;
        }
        let place = (database, key.clone());
        if self.queues.contains_key(&place) && self.is_ready.insert(place.clone()) {
            self.ready.push_back(place);
        }
    }

    /// Notes that any list of a database may have come to be.
    pub(crate) fn mark_database_ready(&mut self, database: u8) {
        let from = (database, Bytes::new());
        let places = self.queues.range(from..).map(|(place, _)| place);
        for place in places.take_while(|place| place.0 == database) {
            if self.is_ready.insert(place.clone()) {
                self.ready.push_back(place.clone());
            }
        }
    }

    /// The next list worth a look.
    pub(crate) fn next_ready(&mut self) -> Option<Place> {
        let place = self.ready.pop_front()?;
        self.is_ready.remove(&place);
        Some(place)
    }

    /// Who waits first for a list.
    pub(crate) fn first(&self, place: &Place) -> Option<(WaitId, &Wait)> {
        let (_, id) = self.queues.get(place)?.first_key_value()?;
        Some((*id, self.waits.get(id)?))
    }

    /// Tells whether a client still waits.
    pub(crate) fn contains(&self, id: WaitId) -> bool {
        self.waits.contains_key(&id)
    }

    /// Of each that waits, its session.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.waits.keys().map(|id| id.session)
    }

    /// How many clients wait.
    pub(crate) fn len(&self) -> usize {
        self.waits.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::command::list::End;

    fn wait(keys: &[&'static str]) -> Wait {
        let keys = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
        Wait { database: 3, command: BlockingCommand::Pop { keys, end: End::Left, timeout: None } }
    }

    #[test]
    fn waits_survive_a_snapshot_with_their_order() {
        let mut waits = Waits::default();
        let first = waits.add(SessionId(9), wait(&["a", "b", "a"]));
        let second = waits.add(SessionId(1), wait(&["b"]));
        let gone = waits.add(SessionId(1), wait(&["b"]));
        waits.remove(gone);
        let mut restored: Waits = codec::decode(&codec::encode(&waits)).unwrap();
        assert_eq!(restored, waits);
        let place = (3, Bytes::from_static(b"b"));
        assert_eq!(
            restored.first(&place).unwrap().0,
            first,
            "the first comer, whatever its session"
        );
        restored.remove_session(SessionId(9));
        assert_eq!(restored.first(&place).unwrap().0, second);
        assert!(!restored.queues.contains_key(&(3, Bytes::from_static(b"a"))));
        assert_eq!(restored.add(SessionId(1), wait(&["b"])).number, gone.number + 1);
    }
}
