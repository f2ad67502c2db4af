//! The listener's role: what this node has pruned at which publisher, and the grafts under way.
//!
//! Owns the notes and who waits for them. Does not know what publishers withhold. Invariant: a note goes only when its
//! publisher surely withholds that channel no more: with the acknowledgement of a graft, a newer stream, or its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use super::{Action, Limits, Name, Ticket};
use crate::command::glob;
use crate::ids::NodeId;
use crate::pubsub::table::SubscriberId;
use crate::pubsub::{Kind, wire};

/// After how many times as many unwanted messages a publisher that goes on is told again: it has forgotten.
const AGAIN: u32 = 64;
/// The share of the notes that makes room when there is none.
const ROOM_SHARE: usize = 64;

/// What is pruned where.
#[derive(Debug, Default)]
pub(super) struct Noted {
    channels: BTreeMap<Bytes, Vec<Note>>,
    sharded: BTreeMap<Bytes, Vec<Note>>,
    /// Invariant: how many notes there are.
    notes: usize,
    /// Invariant: the sum of the names' lengths, each once.
    bytes: u64,
    publishers: BTreeMap<NodeId, Publisher>,
    /// The grafts that were not acknowledged, by their ids. Invariant: every name in one has a note that says so.
    grafts: BTreeMap<u64, Graft>,
    /// How many grafts each ticket waits for.
    tickets: BTreeMap<Ticket, usize>,
    /// The last number given to a graft or a ticket.
    last_number: u64,
    /// Where making room goes on.
    hand: Option<Name>,
}

/// That one publisher was told not to send a channel.
#[derive(Clone, Copy, Debug)]
struct Note {
    publisher: NodeId,
    /// The graft of it that is under way.
    graft: Option<u64>,
}

#[derive(Debug, Default)]
struct Publisher {
    is_open: bool,
    /// How many notes there are about it.
    notes: u64,
    /// How many grafts it was asked for.
    grafts: u64,
    /// Who subscribed to something it may withhold, or waited for it, while its stream was broken.
    owed: BTreeSet<SubscriberId>,
}

#[derive(Debug)]
struct Graft {
    publisher: NodeId,
    names: Vec<Name>,
    tickets: Vec<Ticket>,
    subscribers: BTreeSet<SubscriberId>,
}

impl Noted {
    const fn space(&self, kind: Kind) -> &BTreeMap<Bytes, Vec<Note>> {
        match kind {
            Kind::Channel | Kind::Pattern => &self.channels,
            Kind::Sharded => &self.sharded,
        }
    }

    const fn space_mut(&mut self, kind: Kind) -> &mut BTreeMap<Bytes, Vec<Note>> {
        match kind {
            Kind::Channel | Kind::Pattern => &mut self.channels,
            Kind::Sharded => &mut self.sharded,
        }
    }

    const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// A newer stream withholds nothing; what was withheld on a broken one before it, nobody knows.
    pub(super) fn opened(&mut self, publisher: NodeId) -> Vec<Action> {
        self.forget_notes(publisher);
        let mut actions = Vec::new();
        for id in self.grafts_of(publisher) {
            self.settle(id, &mut actions);
        }
        let entry = self.publishers.entry(publisher).or_default();
        entry.is_open = true;
        let owed = std::mem::take(&mut entry.owed);
        actions.extend(owed.into_iter().map(|subscriber| Action::Tell { subscriber, publisher }));
        actions
    }

    pub(super) fn closed(&mut self, publisher: NodeId, is_clean: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        if is_clean {
            self.forget_notes(publisher);
            self.publishers.remove(&publisher);
        }
        for id in self.grafts_of(publisher) {
            let Some(graft) = self.settle(id, &mut actions) else { continue };
            let Some(entry) = self.publishers.get_mut(&publisher) else { continue };
            for subscriber in graft.subscribers {
                if entry.owed.insert(subscriber) {
                    actions.push(Action::Tell { subscriber, publisher });
                }
            }
            graft.names.iter().for_each(|name| self.mark(publisher, name, None));
        }
        if let Some(entry) = self.publishers.get_mut(&publisher) {
            entry.is_open = false;
        }
        actions
    }

    pub(super) fn forgotten(&mut self, publisher: NodeId) {
        if self.publishers.get(&publisher).is_some_and(|entry| !entry.is_open) {
            self.forget_notes(publisher);
            self.publishers.remove(&publisher);
        }
    }

    pub(super) fn acknowledged(&mut self, publisher: NodeId, id: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.grafts.get(&id).is_none_or(|graft| graft.publisher != publisher) {
            return vec![Action::Refuse { publisher, id }];
        }
        if let Some(graft) = self.settle(id, &mut actions) {
            graft.names.iter().for_each(|name| self.forget_note(publisher, name));
        }
        actions
    }

    /// Notes that a publisher is told not to send a channel, after `times` as many unwanted messages as it takes.
    pub(super) fn unwanted(
        &mut self,
        limits: Limits,
        publisher: NodeId,
        (kind, channel): (Kind, &[u8]),
        times: u32,
    ) -> Vec<Action> {
        if !self.publishers.get(&publisher).is_some_and(|entry| entry.is_open) {
            return Vec::new();
        }
        let notes = self.space(kind).get(channel);
        let note = notes.and_then(|notes| notes.iter().find(|note| note.publisher == publisher));
        let prune = || {
            let name = (kind, Bytes::copy_from_slice(channel));
            vec![Action::Prune { publisher, name }]
        };
        match note {
            Some(Note { graft: None, .. }) if times.is_multiple_of(AGAIN) => return prune(),
            Some(_) => return Vec::new(),
            None => {}
        }
        let more = if notes.is_some() { 0 } else { channel.len() as u64 };
        if self.notes >= limits.prunes || self.bytes.saturating_add(more) > limits.bytes {
            return self.make_room();
        }
        let actions = prune();
        let notes = self.space_mut(kind).entry(Bytes::copy_from_slice(channel)).or_default();
        notes.push(Note { publisher, graft: None });
        self.notes += 1;
        self.bytes += more;
        if let Some(entry) = self.publishers.get_mut(&publisher) {
            entry.notes += 1;
        }
        actions
    }

    /// Grafts some channels that nobody waits for, unless that is under way.
    fn make_room(&mut self) -> Vec<Action> {
        if self
            .grafts
            .values()
            .any(|graft| graft.tickets.is_empty() && graft.subscribers.is_empty())
        {
            return Vec::new();
        }
        let names = self.channels.len() + self.sharded.len();
        let share = self.notes.div_ceil(ROOM_SHARE).min(names);
        let from = self.hand.take();
        let mut chosen: BTreeMap<NodeId, Vec<Name>> = BTreeMap::new();
        let mut last = None;
        for (name, notes) in self.after(from).take(share) {
            for note in notes {
                let is_open =
                    self.publishers.get(&note.publisher).is_some_and(|entry| entry.is_open);
                if is_open && note.graft.is_none() {
                    chosen.entry(note.publisher).or_default().push(name.clone());
                }
            }
            last = Some(name);
        }
        self.hand = last;
        let mut actions = Vec::new();
        for (publisher, names) in chosen {
            self.graft(publisher, names, None, &mut actions);
        }
        actions
    }

    /// Gives the notes in the order of their names, those behind `from` first.
    fn after(&self, from: Option<Name>) -> impl Iterator<Item = (Name, &Vec<Note>)> {
        let (kind, channel) = from.unwrap_or((Kind::Channel, Bytes::new()));
        let is_sharded = kind == Kind::Sharded;
        let range = (Bound::Excluded(channel), Bound::Unbounded);
        let named = |kind| move |(name, notes): (&Bytes, _)| ((kind, name.clone()), notes);
        let channels = || self.channels.iter().map(named(Kind::Channel));
        let sharded = || self.sharded.iter().map(named(Kind::Sharded));
        let rest = self.space(kind).range(range).map(named(kind));
        let others = (!is_sharded).then(sharded).into_iter().flatten();
        rest.chain(others).chain(channels()).chain(is_sharded.then(sharded).into_iter().flatten())
    }

    /// Grafts what is noted of a new subscription.
    pub(super) fn subscribed(
        &mut self,
        subscriber: SubscriberId,
        kind: Kind,
        name: &[u8],
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.notes == 0 {
            return actions;
        }
        let mut wanted: BTreeMap<NodeId, Vec<Name>> = BTreeMap::new();
        let mut waits: BTreeSet<u64> = BTreeSet::new();
        let mut broken: BTreeSet<NodeId> = BTreeSet::new();
        for (name, note) in self.matching(kind, name) {
            match note.graft {
                Some(id) => {
                    waits.insert(id);
                }
                None if self.publishers.get(&note.publisher).is_some_and(|entry| entry.is_open) => {
                    wanted.entry(note.publisher).or_default().push(name);
                }
                None => {
                    broken.insert(note.publisher);
                }
            }
        }
        for publisher in broken {
            if let Some(entry) = self.publishers.get_mut(&publisher) {
                entry.owed.insert(subscriber);
                actions.push(Action::Tell { subscriber, publisher });
            }
        }
        for (publisher, names) in wanted {
            waits.extend(self.graft(publisher, names, Some(subscriber), &mut actions));
        }
        if waits.is_empty() {
            return actions;
        }
        let ticket = Ticket(self.next_number());
        self.tickets.insert(ticket, waits.len());
        for id in waits {
            if let Some(graft) = self.grafts.get_mut(&id) {
                graft.tickets.push(ticket);
                graft.subscribers.insert(subscriber);
            }
        }
        actions.push(Action::Wait(ticket));
        actions
    }

    /// Gives the notes that a subscription is concerned by.
    fn matching(&self, kind: Kind, name: &[u8]) -> Vec<(Name, Note)> {
        let with = |kind: Kind, channel: &Bytes, notes: &[Note]| {
            let named = notes.iter().map(|note| ((kind, channel.clone()), *note));
            named.collect::<Vec<_>>()
        };
        if kind != Kind::Pattern {
            let found = self.space(kind).get_key_value(name);
            return found.map_or_else(Vec::new, |(channel, notes)| with(kind, channel, notes));
        }
        let literals = glob::literals(name);
        let beginning = literals.first().filter(|first| first.start == 0).cloned();
        let beginning = beginning.and_then(|range| name.get(range)).unwrap_or_default();
        let from = (Bound::Included(beginning), Bound::Unbounded);
        let near = self.channels.range::<[u8], _>(from);
        near.take_while(|(channel, _)| channel.starts_with(beginning))
            .filter(|(channel, _)| glob::matches(name, channel))
            .flat_map(|(channel, notes)| with(Kind::Channel, channel, notes))
            .collect()
    }

    /// Begins to graft at one publisher, in pieces that fit frames; gives their ids.
    fn graft(
        &mut self,
        publisher: NodeId,
        names: Vec<Name>,
        subscriber: Option<SubscriberId>,
        actions: &mut Vec<Action>,
    ) -> Vec<u64> {
        let mut ids = Vec::new();
        for names in wire::pieces(names, |(_, channel)| channel.len()) {
            let id = self.next_number();
            names.iter().for_each(|name| self.mark(publisher, name, Some(id)));
            actions.push(Action::Graft { publisher, id, names: names.clone() });
            let subscribers = subscriber.into_iter().collect();
            self.grafts.insert(id, Graft { publisher, names, tickets: Vec::new(), subscribers });
            ids.push(id);
        }
        if let Some(entry) = self.publishers.get_mut(&publisher) {
            entry.grafts += ids.len() as u64;
        }
        ids
    }

    /// Takes a graft out, and resolves the tickets that waited for it alone.
    fn settle(&mut self, id: u64, actions: &mut Vec<Action>) -> Option<Graft> {
        let graft = self.grafts.remove(&id)?;
        for ticket in &graft.tickets {
            let Some(left) = self.tickets.get_mut(ticket) else { continue };
            *left -= 1;
            if *left == 0 {
                self.tickets.remove(ticket);
                actions.push(Action::Resolved(*ticket));
            }
        }
        Some(graft)
    }

    pub(super) fn given_up(&mut self, ticket: Ticket) {
        if self.tickets.remove(&ticket).is_some() {
            self.grafts.values_mut().for_each(|graft| graft.tickets.retain(|own| *own != ticket));
        }
    }

    pub(super) fn dropped(&mut self, subscriber: SubscriberId) {
        self.grafts.values_mut().for_each(|graft| {
            graft.subscribers.remove(&subscriber);
        });
        self.publishers.values_mut().for_each(|entry| {
            entry.owed.remove(&subscriber);
        });
    }

    fn grafts_of(&self, publisher: NodeId) -> Vec<u64> {
        let own = self.grafts.iter().filter(|(_, graft)| graft.publisher == publisher);
        own.map(|(id, _)| *id).collect()
    }

    pub(super) fn oldest_graft(&self, publisher: NodeId) -> Option<u64> {
        self.grafts.iter().find(|(_, graft)| graft.publisher == publisher).map(|(id, _)| *id)
    }

    /// Says in a note which graft of it is under way.
    fn mark(&mut self, publisher: NodeId, (kind, channel): &Name, graft: Option<u64>) {
        let notes = self.space_mut(*kind).get_mut(channel).into_iter().flatten();
        notes.filter(|note| note.publisher == publisher).for_each(|note| note.graft = graft);
    }

    fn forget_note(&mut self, publisher: NodeId, (kind, channel): &Name) {
        let space = self.space_mut(*kind);
        let Some(notes) = space.get_mut(channel) else { return };
        let Some(place) = notes.iter().position(|note| note.publisher == publisher) else { return };
        notes.swap_remove(place);
        if notes.is_empty() {
            space.remove(channel);
            self.bytes -= channel.len() as u64;
        }
        self.notes -= 1;
        if let Some(entry) = self.publishers.get_mut(&publisher) {
            entry.notes -= 1;
        }
    }

    fn forget_notes(&mut self, publisher: NodeId) {
        let Some(entry) = self.publishers.get_mut(&publisher).filter(|entry| entry.notes > 0)
        else {
            return;
        };
        entry.notes = 0;
        let (count, bytes) = (&mut self.notes, &mut self.bytes);
        for space in [&mut self.channels, &mut self.sharded] {
            space.retain(|channel, notes| {
                let before = notes.len();
                notes.retain(|note| note.publisher != publisher);
                *count -= before - notes.len();
                if notes.is_empty() {
                    *bytes -= channel.len() as u64;
                }
                !notes.is_empty()
            });
        }
    }

    /// Tells whether a publisher may withhold a channel.
    #[cfg(test)]
    pub(super) fn has(&self, publisher: NodeId, kind: Kind, channel: &[u8]) -> bool {
        let notes = self.space(kind).get(channel);
        notes.is_some_and(|notes| notes.iter().any(|note| note.publisher == publisher))
    }

    /// Tells whether nothing is under way.
    #[cfg(test)]
    pub(super) fn is_quiet(&self) -> bool {
        let is_owed = self.publishers.values().any(|entry| !entry.owed.is_empty());
        self.grafts.is_empty() && self.tickets.is_empty() && !is_owed
    }

    /// Checks the sums against what they stand for, and the bound.
    #[cfg(test)]
    pub(super) fn check(&self, limits: Limits) {
        let spaces = || self.channels.iter().chain(&self.sharded);
        let notes: usize = spaces().map(|(_, notes)| notes.len()).sum();
        let bytes: u64 = spaces().map(|(channel, _)| channel.len() as u64).sum();
        let counted: u64 = self.publishers.values().map(|entry| entry.notes).sum();
        assert_eq!((notes, bytes, notes as u64), (self.notes, self.bytes, counted));
        assert!(notes <= limits.prunes && bytes <= limits.bytes, "{notes} {bytes}");
        assert!(spaces().all(|(_, notes)| !notes.is_empty()));
        for (id, graft) in &self.grafts {
            for (kind, channel) in &graft.names {
                let notes = self.space(*kind).get(channel).into_iter().flatten();
                let mut own = notes.filter(|note| note.publisher == graft.publisher);
                assert!(own.all(|note| note.graft == Some(*id)), "{graft:?}");
            }
        }
    }

    /// Gives how many channels are pruned at a publisher, and how many grafts it was asked for.
    pub(super) fn tally(&self, publisher: NodeId) -> (u64, u64) {
        self.publishers.get(&publisher).map_or((0, 0), |entry| (entry.notes, entry.grafts))
    }
}
