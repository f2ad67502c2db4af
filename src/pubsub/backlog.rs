//! Messages in the order in which they came, some of which may be dropped or replaced. Pure.
//!
//! Owns that order and the sums of bytes. Knows no limit. Invariants: `strict` and `loose` are each in the order of arrival,
//! and what is taken next is the older of their fronts; `latest` names exactly the waiting messages that the next one of
//! the same subscription and channel replaces; a place that such a message has left is empty, and of empty places
//! there are at most as many as messages, and a few.
//!
//! ```text
//! push_strict ──► strict ─┐
//!                         ├─► pop        drop_oldest takes from the front of loose
//! push_loose ───► loose ──┘
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::time::Instant;

use super::{Kind, Message};

/// How many empty places are left alone however few messages there are.
const GAPS_MIN: usize = 32;
/// An empty queue with room for more than this gives its memory back.
const ROOM_MAX: usize = 256;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    strict: VecDeque<Entry>,
    loose: VecDeque<Place>,
    /// The number of the first place of `loose`; those behind it are numbered on.
    first_place: u64,
    gaps: usize,
    latest: IndexMap<Key, u64>,
    /// How many entries were pushed.
    arrivals: u64,
    /// The bytes of `strict`, with bookkeeping.
    pub(super) strict_bytes: u64,
    /// The bytes of all, with bookkeeping.
    pub(super) bytes: u64,
    /// How many messages were published that wait here or are stood for by one that does.
    pub(super) published: u64,
}

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Message,
    /// Until when it may wait for the state of this node; none when that has it already. A message that replaces an older one
    /// keeps the earlier of both, so that the wait stays bounded.
    pub(super) due: Option<Instant>,
}

impl Waiting {
    /// Gives what it weighs against the limits.
    pub(super) fn cost(&self) -> u64 {
        let Message { pattern, channel, payload, .. } = &self.message;
        let pattern = pattern.as_ref().map_or(0, |pattern| pattern.len());
        (channel.len() + payload.len() + pattern + size_of::<Place>()) as u64
    }

    /// Gives how many published messages it stands for, itself included.
    const fn published(&self) -> u64 {
        self.message.replaced.saturating_add(1)
    }
}

#[derive(Debug)]
struct Entry {
    arrival: u64,
    waiting: Waiting,
}

/// A place in `loose`; empty when its message was replaced.
#[derive(Debug, Default)]
struct Place {
    entry: Option<Entry>,
    /// Whether `latest` names it.
    is_latest: bool,
}

/// A subscription and a channel that it brings messages of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    pattern: Option<Bytes>,
    channel: Bytes,
}

impl Key {
    fn of(message: &Message) -> Self {
        let Message { kind, pattern, channel, .. } = message;
        Self { kind: *kind, pattern: pattern.clone(), channel: channel.clone() }
    }
}

impl Backlog {
    /// Appends a message that is never dropped.
    pub(super) fn push_strict(&mut self, waiting: Waiting) {
        let entry = self.enter(waiting);
        self.strict_bytes = self.strict_bytes.saturating_add(entry.waiting.cost());
        self.strict.push_back(entry);
    }

    /// Appends a message that may be dropped, and if `is_latest`, may be replaced.
    pub(super) fn push_loose(&mut self, waiting: Waiting, is_latest: bool) {
        let entry = self.enter(waiting);
        if is_latest {
            let number = self.first_place + self.loose.len() as u64;
            self.latest.insert(Key::of(&entry.waiting.message), number);
        }
        self.loose.push_back(Place { entry: Some(entry), is_latest });
    }

    fn enter(&mut self, waiting: Waiting) -> Entry {
        self.arrivals += 1;
        self.bytes = self.bytes.saturating_add(waiting.cost());
        self.published = self.published.saturating_add(waiting.published());
        Entry { arrival: self.arrivals, waiting }
    }

    /// Takes out the message that waits of the same subscription and channel, if one does, and has `newer` stand for it.
    pub(super) fn replace(&mut self, newer: &mut Waiting) -> bool {
        if self.latest.is_empty() {
            return false;
        }
        let Some(number) = self.latest.swap_remove(&Key::of(&newer.message)) else { return false };
        let at = usize::try_from(number - self.first_place).ok();
        let place = at.and_then(|at| self.loose.get_mut(at)).map(std::mem::take);
        let entry = place.and_then(|place| place.entry).expect("what is indexed waits");
        let older = entry.waiting;
        self.leave(&older);
        newer.message.replaced = older.published();
        newer.due = newer.due.map(|due| older.due.map_or(due, |older| older.min(due)));
        self.gaps += 1;
        if self.gaps > GAPS_MIN + self.loose.len() / 2 {
            self.close_gaps();
        }
        true
    }

    /// Moves the messages together. Takes as many steps as there were replacements since the last time, and a few.
    fn close_gaps(&mut self) {
        self.loose.retain(|place| place.entry.is_some());
        self.gaps = 0;
        self.latest.clear();
        for (number, place) in (self.first_place..).zip(&self.loose) {
            if let Some(entry) = place.entry.as_ref().filter(|_| place.is_latest) {
                self.latest.insert(Key::of(&entry.waiting.message), number);
            }
        }
    }

    /// Drops the oldest message that may be dropped, and gives for how many it stood.
    pub(super) fn drop_oldest(&mut self) -> Option<u64> {
        self.loose_front()?;
        self.pop_loose().map(|dropped| dropped.published())
    }

    /// Tells whether the oldest message may be dropped; none when nothing waits.
    fn is_loose_next(&mut self) -> Option<bool> {
        let loose = self.loose_front();
        let strict = self.strict.front().map(|entry| entry.arrival);
        match (strict, loose) {
            (None, None) => None,
            (Some(strict), Some(loose)) => Some(loose < strict),
            (strict, _) => Some(strict.is_none()),
        }
    }

    /// Shows the oldest message.
    pub(super) fn front(&mut self) -> Option<&Waiting> {
        let entry = match self.is_loose_next()? {
            true => self.loose.front()?.entry.as_ref(),
            false => self.strict.front(),
        };
        entry.map(|entry| &entry.waiting)
    }

    /// Takes the oldest message.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let waiting = match self.is_loose_next()? {
            true => self.pop_loose(),
            false => self.pop_strict(),
        };
        self.shrink();
        waiting.map(|waiting| waiting.message)
    }

    fn pop_strict(&mut self) -> Option<Waiting> {
        let Entry { waiting, .. } = self.strict.pop_front()?;
        self.strict_bytes = self.strict_bytes.saturating_sub(waiting.cost());
        self.leave(&waiting);
        Some(waiting)
    }

    /// Takes the first place of `loose`, which holds a message: see [`Backlog::loose_front`].
    fn pop_loose(&mut self) -> Option<Waiting> {
        let Place { entry, is_latest } = self.loose.pop_front()?;
        self.first_place += 1;
        let Entry { waiting, .. } = entry?;
        if is_latest {
            self.latest.swap_remove(&Key::of(&waiting.message));
        }
        self.leave(&waiting);
        Some(waiting)
    }

    /// Brings the oldest message of `loose` to its front, and gives when it came.
    fn loose_front(&mut self) -> Option<u64> {
        loop {
            match self.loose.front()? {
                Place { entry: Some(entry), .. } => return Some(entry.arrival),
                Place { entry: None, .. } => {
                    self.loose.pop_front();
                    self.first_place += 1;
                    self.gaps = self.gaps.saturating_sub(1);
                }
            }
        }
    }

    fn leave(&mut self, waiting: &Waiting) {
        self.bytes = self.bytes.saturating_sub(waiting.cost());
        self.published = self.published.saturating_sub(waiting.published());
    }

    fn shrink(&mut self) {
        if self.strict.is_empty() && self.strict.capacity() > ROOM_MAX {
            self.strict = VecDeque::new();
        }
        if self.loose.is_empty() && self.loose.capacity() > ROOM_MAX {
            self.loose = VecDeque::new();
            self.latest = IndexMap::new();
        }
    }

    /// Tells whether messages wait, and none of them may be dropped.
    pub(super) fn is_strict(&self) -> bool {
        self.loose.is_empty() && !self.strict.is_empty()
    }

    /// Gives how many messages wait.
    pub(super) fn len(&self) -> usize {
        (self.strict.len() + self.loose.len()).saturating_sub(self.gaps)
    }

    /// Gives how many places there are, the empty ones too.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.strict.len() + self.loose.len()
    }
}
