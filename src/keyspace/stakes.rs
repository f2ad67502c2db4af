//! The side table of bound state: which owner has a stake in which value.
//!
//! Owns the stakes, sharded as the keys are so that a snapshot shares every shard that is not written meanwhile, and the
//! index from owners to them, which follows from the stakes. What a write does to stakes, and what goes when an owner ends,
//! stands in `bound.rs`. Invariants: the index names exactly the stakes that there are; no stake is without an owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Owner;
use super::shards::{SHARDS, shard_of};
use crate::command::entry::DATABASES;
use crate::ids::SessionId;

/// A value that can be bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) database: u8,
    pub(crate) key: Bytes,
    /// The field of a hash or the member of a set; none for a string.
    pub(crate) element: Option<Bytes>,
}

/// How owners stand to a value. The order of the variants is part of the snapshot's format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Stake {
    /// A string or a field that one owner wrote.
    Owned(Owner),
    /// A counter: how much each owner has added, and whether anything else made or moved it.
    Shares { amounts: BTreeMap<Owner, i64>, has_rest: bool },
    /// A member of a set, with all who hold it.
    Held(BTreeSet<Owner>),
}

impl Stake {
    /// All who have a part in it.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        let (one, amounts, held) = match self {
            Self::Owned(owner) => (Some(*owner), None, None),
            Self::Shares { amounts, .. } => (None, Some(amounts), None),
            Self::Held(holders) => (None, None, Some(holders)),
        };
        let amounts = amounts.into_iter().flat_map(|amounts| amounts.keys().copied());
        one.into_iter().chain(amounts).chain(held.into_iter().flatten().copied())
    }
}

/// The stakes behind one key, by element.
pub(crate) type Stakes = BTreeMap<Option<Bytes>, Stake>;

/// The stakes behind some of a database's keys.
pub(crate) type StakeShard = BTreeMap<Bytes, Arc<Stakes>>;

/// The stakes of one database: empty until the first, then [`SHARDS`] long.
pub(crate) type StakeHome = Vec<Arc<StakeShard>>;

/// All stakes.
#[derive(Debug)]
pub(crate) struct Bound {
    homes: Vec<StakeHome>,
    /// What each owner has a stake in. Invariant: no set is empty.
    owners: BTreeMap<Owner, BTreeSet<Spot>>,
}

impl Default for Bound {
    fn default() -> Self {
        let homes = (0..DATABASES).map(|_| StakeHome::default()).collect();
        Self { homes, owners: BTreeMap::new() }
    }
}

impl Bound {
    /// Tells whether nothing at all is bound.
    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The stakes by database, for a snapshot.
    pub(crate) fn homes(&self) -> &[StakeHome] {
        &self.homes
    }

    /// The stakes behind a key.
    pub(crate) fn behind(&self, database: u8, key: &[u8]) -> Option<&Stakes> {
        let shard = self.homes.get(usize::from(database))?.get(shard_of(key))?;
        shard.get(key).map(|stakes| &**stakes)
    }

    pub(crate) fn get(&self, spot: &Spot) -> Option<&Stake> {
        self.behind(spot.database, &spot.key)?.get(&spot.element)
    }

    /// Takes a stake out, with its owners.
    pub(crate) fn remove(&mut self, spot: &Spot) -> Option<Stake> {
        let stake = self.take_out(spot)?;
        for owner in stake.owners() {
            self.unlist(owner, spot);
        }
        Some(stake)
    }

    /// Puts a stake in place of whatever stood there.
    pub(crate) fn put(&mut self, spot: Spot, stake: Stake) {
        self.remove(&spot);
        for owner in stake.owners() {
            self.owners.entry(owner).or_default().insert(spot.clone());
        }
        if let Some(stakes) = self.writable(&spot) {
            stakes.insert(spot.element, stake);
        }
    }

    /// Gives one owner a part in what is there, or more of it. What `edit` makes of a stake keeps all its owners and has
    /// `owner` too; it tells whether that is new.
    pub(crate) fn join(
        &mut self,
        spot: &Spot,
        owner: Owner,
        edit: impl FnOnce(&mut Stake) -> bool,
    ) {
        let Some(stake) = self.writable(spot).and_then(|stakes| stakes.get_mut(&spot.element))
        else {
            return;
        };
        if edit(stake) {
            self.owners.entry(owner).or_default().insert(spot.clone());
        }
    }

    /// Takes one owner's part out of a stake: the whole stake if it was the last.
    pub(crate) fn leave(&mut self, spot: &Spot, owner: Owner) -> Option<Part> {
        self.unlist(owner, spot);
        let mut stake = self.take_out(spot)?;
        let (part, is_last) = match &mut stake {
            Stake::Owned(_) => (Part::Whole, true),
            Stake::Shares { amounts, has_rest } => {
                let amount = amounts.remove(&owner).unwrap_or(0);
                let is_last = amounts.is_empty();
                (Part::Share { amount, is_whole: is_last && !*has_rest }, is_last)
            }
            Stake::Held(holders) => {
                holders.remove(&owner);
                let is_last = holders.is_empty();
                (if is_last { Part::Whole } else { Part::Hold }, is_last)
            }
        };
        if !is_last && let Some(stakes) = self.writable(spot) {
            stakes.insert(spot.element.clone(), stake);
        }
        Some(part)
    }

    /// Takes all stakes behind a key out, to be forgotten or put behind another key.
    pub(crate) fn detach(&mut self, database: u8, key: &[u8]) -> Option<Arc<Stakes>> {
        if self.is_empty() {
            return None;
        }
        let shard = self.homes.get_mut(usize::from(database))?.get_mut(shard_of(key))?;
        if !shard.contains_key(key) {
            return None;
        }
        let (key, stakes) = Arc::make_mut(shard).remove_entry(key)?;
        for (element, stake) in &*stakes {
            let spot = Spot { database, key: key.clone(), element: element.clone() };
            stake.owners().for_each(|owner| self.unlist(owner, &spot));
        }
        Some(stakes)
    }

    /// Puts what was detached behind a key that has no stakes.
    pub(crate) fn attach(&mut self, database: u8, key: &Bytes, stakes: Arc<Stakes>) {
        for (element, stake) in &*stakes {
            let spot = Spot { database, key: key.clone(), element: element.clone() };
            for owner in stake.owners() {
                self.owners.entry(owner).or_default().insert(spot.clone());
            }
        }
        if let Some(shard) = self.shard(database, key) {
            shard.insert(key.clone(), stakes);
        }
    }

    /// Forgets all stakes of a database. Cost: O(stakes).
    pub(crate) fn flush(&mut self, database: u8) {
        if self.is_empty() {
            return;
        }
        if let Some(home) = self.homes.get_mut(usize::from(database)) {
            *home = StakeHome::default();
        }
        self.owners.retain(|_, spots| {
            spots.retain(|spot| spot.database != database);
            !spots.is_empty()
        });
    }

    /// Swaps the stakes of two databases. Cost: O(stakes of all).
    pub(crate) fn swap(&mut self, one: u8, other: u8) {
        if self.is_empty() {
            return;
        }
        self.homes.swap(usize::from(one), usize::from(other));
        for spots in self.owners.values_mut() {
            let moved = std::mem::take(spots).into_iter().map(|mut spot| {
                match spot.database {
                    database if database == one => spot.database = other,
                    database if database == other => spot.database = one,
                    _ => {}
                }
                spot
            });
            *spots = moved.collect();
        }
    }

    /// What an owner has a stake in.
    pub(crate) fn of(&self, owner: Owner) -> Option<&BTreeSet<Spot>> {
        self.owners.get(&owner)
    }

    /// The owners of a session in their order.
    pub(crate) fn owners_of(&self, session: SessionId) -> impl Iterator<Item = Owner> {
        let first = Owner { session, client: 0 };
        let last = Owner { session, client: u64::MAX };
        self.owners.range(first..=last).map(|(owner, _)| *owner)
    }

    /// All owners with what they have a stake in.
    pub(crate) fn owners(&self) -> &BTreeMap<Owner, BTreeSet<Spot>> {
        &self.owners
    }

    /// Takes a stake out and leaves the index as it is.
    fn take_out(&mut self, spot: &Spot) -> Option<Stake> {
        self.get(spot)?;
        let shard = self.shard(spot.database, &spot.key)?;
        let stakes = Arc::make_mut(shard.get_mut(&spot.key)?);
        let stake = stakes.remove(&spot.element);
        if stakes.is_empty() {
            shard.remove(&spot.key);
        }
        stake
    }

    fn unlist(&mut self, owner: Owner, spot: &Spot) {
        if let Some(spots) = self.owners.get_mut(&owner) {
            spots.remove(spot);
            if spots.is_empty() {
                self.owners.remove(&owner);
            }
        }
    }

    fn writable(&mut self, spot: &Spot) -> Option<&mut Stakes> {
        let shard = self.shard(spot.database, &spot.key)?;
        Some(Arc::make_mut(shard.entry(spot.key.clone()).or_default()))
    }

    fn shard(&mut self, database: u8, key: &[u8]) -> Option<&mut StakeShard> {
        let home = self.homes.get_mut(usize::from(database))?;
        if home.is_empty() {
            home.resize_with(SHARDS, Arc::default);
        }
        home.get_mut(shard_of(key)).map(Arc::make_mut)
    }
}

/// What one owner had of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: the value goes.
    Whole,
    /// A share of a counter; the counter goes if there was nothing else in it.
    Share { amount: i64, is_whole: bool },
    /// One hold of several: the value stays.
    Hold,
}
