//! Clients that wait for an element of a list (`BLPOP` and its kin), over the whole cluster.
//!
//! Owns who waits for which keys, in which order they came, and which lists have become worth a look. What a wait takes
//! when it is served stands in `list.rs`. Invariant: a wait stands in the queue of each of its keys, and nowhere else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::ListCommand;
use crate::ids::{SessionId, WaitId};

/// A key of one database.
pub(crate) type Place = (u8, Bytes);

/// One waiting client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wait {
    pub(crate) database: u8,
    pub(crate) keys: Vec<Bytes>,
    pub(crate) command: ListCommand,
}

/// All waiting clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waits {
    next: u64,
    waits: BTreeMap<WaitId, Wait>,
    queues: BTreeMap<Place, VecDeque<WaitId>>,
    /// Lists that were pushed to within the current entry, in order.
    #[serde(skip)]
    ready: VecDeque<Place>,
}

impl Waits {
    /// Puts a client at the end of the queue of each of its keys.
    pub(crate) fn add(&mut self, session: SessionId, wait: Wait) -> WaitId {
        self.next = self.next.saturating_add(1);
        let id = WaitId { session, number: self.next };
        for key in wait.keys.iter().collect::<BTreeSet<_>>() {
            self.queues.entry((wait.database, key.clone())).or_default().push_back(id);
        }
        self.waits.insert(id, wait);
        id
    }

    /// Takes a client out of all its queues; gives what it waited for if it was still waiting.
    pub(crate) fn remove(&mut self, id: WaitId) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        for key in &wait.keys {
            let place = (wait.database, key.clone());
            if let Some(queue) = self.queues.get_mut(&place) {
                queue.retain(|other| *other != id);
                if queue.is_empty() {
                    self.queues.remove(&place);
                }
            }
        }
        Some(wait)
    }

    /// Takes all clients of a session out.
    pub(crate) fn remove_session(&mut self, session: SessionId) {
        let ids: Vec<_> = self.waits.keys().filter(|id| id.session == session).copied().collect();
        for id in ids {
            self.remove(id);
        }
    }

    /// Notes that a list has elements, if anybody waits for it.
    pub(crate) fn mark_ready(&mut self, database: u8, key: &Bytes) {
        if self.waits.is_empty() {
            return;
        }
        let place = (database, key.clone());
        if self.queues.contains_key(&place) && !self.ready.contains(&place) {
            self.ready.push_back(place);
        }
    }

    /// Notes that any list of a database may have come to have elements.
    pub(crate) fn mark_database_ready(&mut self, database: u8) {
        let places = self.queues.keys().filter(|place| place.0 == database);
        let places = places.filter(|place| !self.ready.contains(place));
        self.ready.extend(places.cloned().collect::<Vec<_>>());
    }

    /// The next list worth a look.
    pub(crate) fn next_ready(&mut self) -> Option<Place> {
        self.ready.pop_front()
    }

    /// Who waits first for a list.
    pub(crate) fn first(&self, place: &Place) -> Option<(WaitId, &Wait)> {
        let id = *self.queues.get(place)?.front()?;
        Some((id, self.waits.get(&id)?))
    }

    /// Tells whether a client still waits.
    pub(crate) fn contains(&self, id: WaitId) -> bool {
        self.waits.contains_key(&id)
    }

    /// How many clients wait.
    pub(crate) fn len(&self) -> usize {
        self.waits.len()
    }
}
