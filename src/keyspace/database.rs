//! One of the sixteen databases: keys to records.
//!
//! Owns where a record lies: in one of 1,024 shards by a fixed hash of its key, so that a snapshot shares every shard
//! that is not written meanwhile, and `SCAN` has a cursor that survives growth. Knows nothing of expiry or types.
//! Invariant: `len` is the sum of the shards' lengths; the order of iteration depends on the history of commands alone.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;

use super::value::Record;

/// How many shards a database in use has.
pub(crate) const SHARDS: usize = 1024;

type Shard = IndexMap<Bytes, Record>;

/// Keys with their records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Database {
    /// Empty until the first key is set, then [`SHARDS`] long.
    shards: Vec<Arc<Shard>>,
    len: usize,
}

impl Database {
    /// How many keys there are, those included that are due but not yet removed.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Record> {
        self.shards.get(shard_of(key))?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Record> {
        let shard = self.shards.get_mut(shard_of(key))?;
        Arc::make_mut(shard).get_mut(key)
    }

    /// Puts a record behind `key` and gives the one that stood there.
    pub(crate) fn insert(&mut self, key: Bytes, record: Record) -> Option<Record> {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, Arc::default);
        }
        let shard = self.shards.get_mut(shard_of(&key))?;
        let old = Arc::make_mut(shard).insert(key, record);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<(Bytes, Record)> {
        let shard = self.shards.get_mut(shard_of(key))?;
        if !shard.contains_key(key) {
            return None;
        }
        let removed = Arc::make_mut(shard).swap_remove_entry(key)?;
        self.len -= 1;
        Some(removed)
    }

    /// All keys, shard by shard.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Record)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// The keys of one shard, for `SCAN` (from the back: a removal moves the last key to the front, so that a
    /// backward walk never misses one) and for snapshots.
    pub(crate) fn shard(&self, number: usize) -> Option<&IndexMap<Bytes, Record>> {
        self.shards.get(number).map(|shard| &**shard)
    }
}

/// The shard of a key: FNV-1a, folded. Fixed for ever, because it orders `SCAN`, `KEYS` and snapshots.
fn shard_of(key: &[u8]) -> usize {
    let hash = hash_of(key);
    usize::try_from((hash ^ (hash >> 32)) & 0x3ff).unwrap_or(0)
}

/// FNV-1a over `bytes`, 64 bits wide.
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
