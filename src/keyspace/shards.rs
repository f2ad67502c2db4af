//! One of the sixteen databases: keys to records, and when they are due.
//!
//! Owns where a record lies: in one of 1,024 shards by a fixed hash of its key, so that a snapshot shares every shard
//! that is not written meanwhile, and `SCAN` has a cursor that survives growth. Knows nothing of clocks or types.
//! Invariants: `len` is the sum of the shards' lengths; `deadlines` has exactly the records with one; the order of
//! iteration depends on the history of commands alone; a key that is overwritten keeps its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;

use super::value::{Record, Value};
use crate::time::Timestamp;

/// How many shards a database in use has.
pub(crate) const SHARDS: usize = 1024;

/// Some of a database's keys with their records.
pub(crate) type Shard = IndexMap<Bytes, Record>;

/// Keys with their records.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Empty until the first key is set, then [`SHARDS`] long.
    shards: Vec<Arc<Shard>>,
    len: usize,
    /// Every key that has a deadline, the earliest first.
    deadlines: BTreeSet<(Timestamp, Bytes)>,
    /// The keyspace's revision when all keys changed at once (`SWAPDB`); counts for each of them.
    pub(crate) swapped: u64,
}

/// What may be edited in place of a record.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) value: &'a mut Value,
    pub(crate) revision: &'a mut u64,
    pub(crate) deadline: Option<Timestamp>,
}

impl Database {
    /// How many keys there are, those included that are due but not yet removed.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Record> {
        self.shards.get(shard_of(key))?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<Slot<'_>> {
        let record = self.writable(key)?.get_mut(key)?;
        let Record { value, deadline, revision } = record;
        Some(Slot { value, revision, deadline: *deadline })
    }

    /// Puts a record behind `key` and gives the one that stood there.
    pub(crate) fn insert(&mut self, key: Bytes, record: Record) -> Option<Record> {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, Arc::default);
        }
        let shard = Arc::make_mut(self.shards.get_mut(shard_of(&key))?);
        let deadline = record.deadline;
        let timed = deadline.map(|deadline| (deadline, key.clone()));
        let Some(place) = shard.get_index_of(&key) else {
            shard.insert(key, record);
            self.len += 1;
            self.deadlines.extend(timed);
            return None;
        };
        let (_, stands) = shard.get_index_mut(place)?;
        let old = std::mem::replace(stands, record);
        if old.deadline != deadline {
            if let Some(old) = old.deadline {
                self.deadlines.remove(&(old, key));
            }
            self.deadlines.extend(timed);
        }
        Some(old)
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<(Bytes, Record)> {
        let (key, record) = self.writable(key)?.swap_remove_entry(key)?;
        self.len -= 1;
        if let Some(deadline) = record.deadline {
            self.deadlines.remove(&(deadline, key.clone()));
        }
        Some((key, record))
    }

    /// Gives a key another deadline, or none. Tells whether the key was there.
    pub(crate) fn set_deadline(&mut self, key: &Bytes, deadline: Option<Timestamp>) -> bool {
        let Some(record) = self.writable(key).and_then(|shard| shard.get_mut(key)) else {
            return false;
        };
        if let Some(old) = std::mem::replace(&mut record.deadline, deadline) {
            self.deadlines.remove(&(old, key.clone()));
        }
        self.deadlines.extend(deadline.map(|deadline| (deadline, key.clone())));
        true
    }

    /// The key that is due first, and when.
    pub(crate) fn first_due(&self) -> Option<&(Timestamp, Bytes)> {
        self.deadlines.first()
    }

    /// How many keys are due at `now`.
    pub(crate) fn due(&self, now: Timestamp) -> usize {
        self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now).count()
    }

    /// All keys, shard by shard.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Record)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// The shards, for `SCAN` (which walks each from the back: a removal moves the last key to the front, so that a
    /// backward walk never misses one) and for snapshots.
    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// The shard of a key, to be written. One that is shared with a snapshot is copied only if the key is in it.
    fn writable(&mut self, key: &[u8]) -> Option<&mut Shard> {
        let shard = self.shards.get_mut(shard_of(key))?;
        if Arc::get_mut(shard).is_none() && !shard.contains_key(key) {
            return None;
        }
        Some(Arc::make_mut(shard))
    }
}

/// The shard of a key: FNV-1a, folded. Fixed for ever, because it orders `SCAN`, `KEYS` and snapshots.
pub(crate) fn shard_of(key: &[u8]) -> usize {
    let hash = hash_of(key);
    usize::try_from((hash ^ (hash >> 32)) & 0x3ff).unwrap_or(0)
}

/// FNV-1a over `bytes`, 64 bits wide.
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    hash_on(0xcbf2_9ce4_8422_2325, bytes)
}

/// Goes on with a hash of [`hash_of`] over more bytes.
pub(crate) fn hash_on(hash: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
