//! Bound state: what a write binds, and what goes when its owner ends.
//!
//! Owns the rules. A string or a field has the one owner who wrote it last; a member of a set stays while anyone holds it;
//! a counter remembers how much of it is whose. What nobody bound, or an unbound write replaced, stays. The table behind it is
//! in `stakes.rs`. Invariant: a stake names only what is there, so whoever removes or replaces a value removes its stakes
//! ([`Keyspace::take`] and [`Writer::put`] do for a whole key).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::access::{Change, Missing, Reader, Writer};
use super::stakes::{Part, Spot, Stake, Stakes};
use super::value::{Hash, Set, Value};
use super::{Effects, Keyspace, Left, Owner, Taken, TakenWhat};
use crate::command::arguments::parse_integer;
use crate::command::{BoundCommand, Error, Reply};
use crate::ids::SessionId;
use crate::time::Timestamp;

impl Keyspace {
    /// All that is bound to a session and its clients, owner by owner in their order: what would go if it ended now.
    #[must_use]
    pub fn bound_by(&self, session: SessionId) -> Vec<(Owner, Vec<Taken>)> {
        let owners = self.bound.owners_of(session);
        let owned = owners.map(|owner| {
            let spots = self.bound.of(owner).into_iter().flatten();
            (owner, spots.filter_map(|spot| self.told(owner, spot)).collect::<Vec<_>>())
        });
        owned.filter(|(_, taken)| !taken.is_empty()).collect()
    }

    /// How much each session has bound; sessions with nothing are left out. Cost: O(owners).
    #[must_use]
    pub fn bound_counts(&self) -> BTreeMap<SessionId, usize> {
        let mut counts = BTreeMap::new();
        for (owner, spots) in self.bound.owners() {
            let count: &mut usize = counts.entry(owner.session).or_default();
            *count = count.saturating_add(spots.len());
        }
        counts
    }

    /// Removes all that is bound to a session and its clients, as one change.
    pub(super) fn release_session(&mut self, session: SessionId, effects: &mut Effects) {
        let owners: Vec<_> = self.bound.owners_of(session).collect();
        if !owners.is_empty() {
            self.revision = self.revision.saturating_add(1);
        }
        let first = effects.taken.len();
        for owner in owners {
            self.release(owner, effects);
        }
        self.note_taken(effects, first);
    }

    /// Notes what happened to keys when what stands in `effects` from `first` on was taken.
    fn note_taken(&mut self, effects: &Effects, first: usize) {
        let owners = effects.taken.get(first..).unwrap_or_default();
        self.notifications.note_taken(owners.iter().flat_map(|(_, taken)| taken));
    }

    /// Removes all that is bound to one owner; gives how much it was.
    fn release(&mut self, owner: Owner, effects: &mut Effects) -> usize {
        let spots: Vec<_> = self.bound.of(owner).into_iter().flatten().cloned().collect();
        let mut taken = Vec::with_capacity(spots.len());
        for spot in spots {
            let told = self.told(owner, &spot);
            let Some(part) = self.bound.leave(&spot, owner) else {
                continue;
            };
            let left = self.writer(spot.database).take_part(&spot, part);
            taken.extend(told.map(|told| Taken { left, ..told }));
        }
        let count = taken.len();
        if count > 0 {
            effects.taken.push((owner, taken));
        }
        count
    }

    /// A writer for what no client asks: nothing that it writes is bound, and nobody waits.
    pub(super) const fn writer(&mut self, database: u8) -> Writer<'_> {
        Writer { keyspace: self, database, session: None, owner: None, waiter: None }
    }

    /// One owner's part of a value as it is told, unless its key is due.
    fn told(&self, owner: Owner, spot: &Spot) -> Option<Taken> {
        let Spot { database, key, element } = spot;
        let record = self.live(*database, key)?;
        let what = match (self.bound.get(spot)?, &record.value, element.clone()) {
            (Stake::Owned(_), Value::String(value), None) => {
                TakenWhat::Key { value: value.clone(), deadline: record.deadline }
            }
            (Stake::Owned(_), Value::Hash(hash), Some(field)) => {
                TakenWhat::Field { value: hash.get(&field)?.clone(), field }
            }
            (Stake::Held(_), _, Some(member)) => TakenWhat::Member { member },
            (Stake::Shares { amounts, .. }, _, field) => {
                let amount = *amounts.get(&owner)?;
                match field {
                    None => TakenWhat::Share { amount },
                    Some(field) => TakenWhat::FieldShare { field, amount },
                }
            }
            _ => return None,
        };
        Some(Taken { database: *database, key: key.clone(), what, left: Left::All })
    }
}

impl Writer<'_> {
    pub(super) fn bound(
        &mut self,
        command: &BoundCommand,
        effects: &mut Effects,
    ) -> Result<Reply, Error> {
        match command {
            BoundCommand::Release { client } => {
                let owner = self.session.map(|session| Owner { session, client: *client });
                let first = effects.taken.len();
                let count = owner.map_or(0, |owner| self.keyspace.release(owner, effects));
                self.keyspace.note_taken(effects, first);
                Ok(Reply::count(count))
            }
            BoundCommand::SetField { key, field, value } => self.hash_set_own(key, field, value),
            BoundCommand::Exchange { key, fields } => self.hash_exchange(key, fields),
        }
    }

    /// Tells whether a write need not think of stakes: it binds nothing and nothing is bound.
    pub(super) fn is_plain(&self) -> bool {
        self.owner.is_none() && self.keyspace.bound.is_empty()
    }

    pub(super) fn spot(&self, key: &Bytes, element: Option<&Bytes>) -> Spot {
        Spot { database: self.database, key: key.clone(), element: element.cloned() }
    }

    /// The string or the field has just been written: it is the writer's now, or nobody's.
    pub(super) fn bind_value(&mut self, key: &Bytes, field: Option<&Bytes>) {
        if self.is_plain() {
            return;
        }
        let spot = self.spot(key, field);
        let owner = self.owner.filter(|_| self.reader().record(key).is_some());
        match owner.map(Stake::Owned) {
            Some(stake) if self.keyspace.bound.get(&spot) == Some(&stake) => {}
            Some(stake) => self.keyspace.bound.put(spot, stake),
            None => {
                self.keyspace.bound.remove(&spot);
            }
        }
    }

    /// Puts a string behind a key, whatever stood there: it is the writer's now, or nobody's.
    pub(super) fn put_text(&mut self, key: &Bytes, text: Bytes, deadline: Option<Timestamp>) {
        let stakes = self.owner.and_then(|_| self.keyspace.bound.behind(self.database, key));
        let stake = stakes.and_then(|stakes| stakes.get(&None));
        let is_mine = stake.is_some() && stake == self.owner.map(Stake::Owned).as_ref();
        if is_mine && deadline.is_none_or(|deadline| deadline > self.now()) {
            self.place(key, Value::String(text), deadline);
            return;
        }
        self.put(key, Value::String(text), deadline);
        if self.owner.is_some() {
            self.bind_value(key, None);
        }
    }

    /// Tells whether a field that is there is bound to another session, which lives: of another node.
    pub(super) fn is_of_another(&self, key: &Bytes, field: &Bytes) -> bool {
        match self.keyspace.bound.get(&self.spot(key, Some(field))) {
            Some(Stake::Owned(owner)) => Some(owner.session) != self.session,
            Some(Stake::Shares { .. } | Stake::Held(_)) | None => false,
        }
    }

    /// The field has just been written on behalf of its owner: it stays bound as a value is.
    pub(super) fn keep_owner(&mut self, key: &Bytes, field: &Bytes) {
        let spot = self.spot(key, Some(field));
        if !matches!(self.keyspace.bound.get(&spot), None | Some(Stake::Owned(_))) {
            self.keyspace.bound.remove(&spot);
        }
    }

    /// The field or member has just been removed.
    pub(super) fn unbind(&mut self, key: &Bytes, element: &Bytes) {
        if !self.keyspace.bound.is_empty() {
            let spot = self.spot(key, Some(element));
            self.keyspace.bound.remove(&spot);
        }
    }

    /// The value has just been written in a way that cannot be bound.
    pub(super) fn unbind_value(&mut self, key: &Bytes, field: Option<&Bytes>) {
        if !self.keyspace.bound.is_empty() {
            let spot = self.spot(key, field);
            self.keyspace.bound.remove(&spot);
        }
    }

    /// The counter has just been moved by `amount` from `before`, or made if that is none.
    pub(super) fn bind_amount(
        &mut self,
        key: &Bytes,
        field: Option<&Bytes>,
        before: Option<i64>,
        amount: i64,
    ) {
        if self.is_plain() {
            return;
        }
        let spot = self.spot(key, field);
        let bound = &mut self.keyspace.bound;
        // Who owns a number as a value has a share of all of it as soon as others add to it.
        let (amounts, has_rest) = match (bound.get(&spot), self.owner) {
            (Some(Stake::Owned(one)), Some(owner)) if *one == owner => return,
            (Some(Stake::Shares { .. }), Some(owner)) => {
                return bound.join(&spot, owner, |stake| {
                    let Stake::Shares { amounts, .. } = stake else {
                        return false;
                    };
                    let before = amounts.get(&owner).copied();
                    amounts.insert(owner, before.unwrap_or(0).saturating_add(amount));
                    before.is_none()
                });
            }
            (Some(Stake::Owned(one)), owner) => {
                let others = [(*one, before.unwrap_or(0))];
                let own = owner.map(|owner| (owner, amount));
                (others.into_iter().chain(own).collect(), owner.is_none())
            }
            (Some(Stake::Shares { amounts, has_rest: false }), None) => (amounts.clone(), true),
            (Some(Stake::Shares { .. } | Stake::Held(_)) | None, None) => return,
            (Some(Stake::Held(_)) | None, Some(owner)) => {
                (BTreeMap::from([(owner, amount)]), before.is_some())
            }
        };
        bound.put(spot, Stake::Shares { amounts, has_rest });
    }

    /// The member has just been added, or was there already: the writer holds it too, or it stays.
    pub(super) fn bind_member(&mut self, key: &Bytes, member: &Bytes, is_new: bool) {
        if self.is_plain() {
            return;
        }
        let spot = self.spot(key, Some(member));
        let bound = &mut self.keyspace.bound;
        match (bound.get(&spot), self.owner) {
            (Some(_), None) => {
                bound.remove(&spot);
            }
            (Some(Stake::Held(holders)), Some(owner)) => {
                if !holders.contains(&owner) {
                    bound.join(&spot, owner, |stake| match stake {
                        Stake::Held(holders) => holders.insert(owner),
                        Stake::Owned(_) | Stake::Shares { .. } => false,
                    });
                }
            }
            (None, Some(owner)) if is_new => {
                bound.put(spot, Stake::Held(BTreeSet::from([owner])));
            }
            // It is there with nobody's end.
            (None, Some(_)) | (Some(Stake::Owned(_) | Stake::Shares { .. }) | None, _) => {}
        }
    }

    /// The whole key has just been put: all that can be bound of it is the writer's.
    pub(super) fn bind_all(&mut self, key: &Bytes) {
        if self.owner.is_none() {
            return;
        }
        match self.reader().record(key).map(|record| record.value.clone()) {
            Some(Value::String(_)) => self.bind_value(key, None),
            Some(Value::Hash(hash)) => {
                hash.keys().for_each(|field| self.bind_value(key, Some(field)));
            }
            Some(Value::Set(set)) => {
                set.iter().for_each(|member| self.bind_member(key, &member, true));
            }
            Some(Value::List(_)) | None => {}
        }
    }

    /// The key has come from elsewhere with its owners.
    pub(super) fn attach(&mut self, key: &Bytes, stakes: Option<Arc<Stakes>>) {
        if let Some(stakes) = stakes {
            self.keyspace.bound.attach(self.database, key, stakes);
        }
    }

    /// Takes one owner's part out of a value; the stake has left the table already.
    fn take_part(&mut self, spot: &Spot, part: Part) -> Left {
        match part {
            Part::Hold => Left::All,
            Part::Whole | Part::Share { is_whole: true, .. } => self.take_whole(spot),
            Part::Share { amount, is_whole: false } => self.take_share(spot, amount),
        }
    }

    fn take_whole(&mut self, spot: &Spot) -> Left {
        let Some(element) = &spot.element else {
            self.remove(&spot.key);
            return Left::Nothing;
        };
        let is_hash = matches!(self.reader().collection::<Hash>(&spot.key), Ok(Some(_)));
        let removed = if is_hash {
            self.edit(&spot.key, Missing::Leave, None, |hash: &mut Hash| {
                Ok(((), Change::when(hash.swap_remove(element).is_some())))
            })
        } else {
            self.edit(&spot.key, Missing::Leave, None, |set: &mut Set| {
                Ok(((), Change::when(set.remove(element))))
            })
        };
        debug_assert!(removed.is_ok(), "a stake names a field or a member");
        if self.reader().record(&spot.key).is_some() { Left::Others } else { Left::Nothing }
    }

    fn take_share(&mut self, spot: &Spot, amount: i64) -> Left {
        let less = |text: &Bytes| {
            let number = parse_integer(text).ok_or(Error::NotInteger)?;
            Ok::<_, Error>(Bytes::from(number.saturating_sub(amount).to_string()))
        };
        let changed = match &spot.element {
            None => self.edit_value(&spot.key, |value| {
                if let Value::String(text) = value {
                    *text = less(text)?;
                }
                Ok(((), Change::Changed))
            }),
            Some(field) => self.edit(&spot.key, Missing::Leave, None, |hash: &mut Hash| {
                if let Some(text) = hash.get_mut(field) {
                    *text = less(text)?;
                }
                Ok(((), Change::Changed))
            }),
        };
        debug_assert!(changed.is_ok(), "a counter with shares holds a number");
        Left::Less
    }
}

impl Reader<'_> {
    /// The number that a text holds, for the stakes of a counter that is about to be moved.
    pub(super) fn number(&self, key: &[u8]) -> Option<i64> {
        parse_integer(self.text(key).ok()??)
    }
}
