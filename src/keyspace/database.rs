//! What commands on whole databases do.
//!
//! Owns their half of `apply` and `read`, the cursor of SCAN included; what they are stands in `command/database.rs`.
//! Invariant: a key that is there during a whole walk with SCAN is given at least once, whatever comes and goes meanwhile.

use bytes::Bytes;

use super::access::{Reader, Writer};
use super::deletions::REMEMBERED;
use super::shards::{Database, SHARDS};
use super::value::Record;
use crate::command::entry::DATABASES;
use crate::command::glob::Glob;
use crate::command::{DatabaseCommand, Error, Reply};

/// How often RANDOMKEY draws again when it has drawn a key that is due.
const DRAWS_MAX: usize = 100;

impl<'a> Reader<'a> {
    pub(super) fn database(&self, command: &DatabaseCommand) -> Result<Reply, Error> {
        Ok(match command {
            DatabaseCommand::Keys { pattern } => {
                let glob = Glob::of_names(pattern);
                let matching = self.live_keys().filter(|key| glob.matches(key));
                Reply::Array(matching.cloned().map(Reply::Bulk).collect())
            }
            DatabaseCommand::Scan { page, kind } => {
                let glob = page.pattern.as_deref().map(Glob::of_names);
                let (next, keys) = self.scan(page.cursor, page.count, |key, record| {
                    let name = record.value.type_name().as_bytes();
                    glob.as_ref().is_none_or(|glob| glob.matches(key))
                        && kind.as_ref().is_none_or(|kind| kind.eq_ignore_ascii_case(name))
                });
                let next = Bytes::from(next.to_string());
                Reply::Array(vec![
                    Reply::Bulk(next),
                    Reply::Array(keys.into_iter().map(Reply::Bulk).collect()),
                ])
            }
            DatabaseCommand::Random => Reply::bulk_or_nil(self.random_key().cloned()),
            DatabaseCommand::Size => {
                let size = |home: &Database| home.len().saturating_sub(home.due(self.keyspace.now));
                Reply::count(self.home().map_or(0, size))
            }
            DatabaseCommand::Flush { .. } | DatabaseCommand::Swap { .. } => {
                unreachable!("a write does not reach the reader")
            }
        })
    }

    fn home(&self) -> Option<&'a Database> {
        self.keyspace.databases.get(usize::from(self.database))
    }

    fn live_keys(&self) -> impl Iterator<Item = &'a Bytes> {
        let records = self.home().into_iter().flat_map(Database::iter);
        records.filter(|(_, record)| self.keyspace.is_live(record)).map(|(key, _)| key)
    }

    /// One page of a walk. The cursor is a shard in its low ten bits, and above them how many of its keys are left plus
    /// one, or 0 if it has not been begun. A shard is walked from the back: keys come in at the back, and a removal
    /// moves the last key to the front of where the walk stands, or leaves it behind, where it has been given already.
    fn scan(
        &self,
        cursor: u64,
        count: u64,
        wanted: impl Fn(&Bytes, &Record) -> bool,
    ) -> (u64, Vec<Bytes>) {
        const SHARD_BITS: u32 = SHARDS.trailing_zeros();
        let shards = self.home().map_or(&[][..], Database::shards);
        let first = usize::try_from(cursor % SHARDS as u64).unwrap_or(0);
        let mut left = usize::try_from(cursor >> SHARD_BITS).unwrap_or(0).checked_sub(1);
        let mut keys = Vec::new();
        let mut looked_at = 0;
        for (number, shard) in shards.iter().enumerate().skip(first) {
            for place in (0..left.take().unwrap_or(usize::MAX).min(shard.len())).rev() {
                if looked_at == count {
                    let left = (place as u64).saturating_add(2);
                    return ((left << SHARD_BITS) | number as u64, keys);
                }
                looked_at += 1;
                let found = shard.get_index(place);
                let found = found.filter(|(_, record)| self.keyspace.is_live(record));
                keys.extend(
                    found.filter(|(key, record)| wanted(key, record)).map(|(key, _)| key.clone()),
                );
            }
        }
        (0, keys)
    }

    fn random_key(&self) -> Option<&'a Bytes> {
        let home = self.home()?;
        let mut random = self.random();
        for _ in 0..DRAWS_MAX {
            let mut rank = random.below(home.len());
            let shard = home.shards().iter().find(|shard| {
                let is_here = rank < shard.len();
                if !is_here {
                    rank -= shard.len();
                }
                is_here
            });
            let (key, record) = shard?.get_index(rank)?;
            if self.keyspace.is_live(record) {
                return Some(key);
            }
        }
        self.live_keys().next()
    }
}

impl Writer<'_> {
    pub(super) fn database(&mut self, command: &DatabaseCommand) -> Result<Reply, Error> {
        match command {
            DatabaseCommand::Flush { all } => {
                let numbers = if *all { 0..DATABASES } else { self.database..self.database + 1 };
                for number in numbers {
                    self.flush(number);
                }
                Ok(Reply::Ok)
            }
            DatabaseCommand::Swap { one, other } => {
                if one != other {
                    self.swap(*one, *other);
                }
                Ok(Reply::Ok)
            }
            DatabaseCommand::Keys { .. }
            | DatabaseCommand::Scan { .. }
            | DatabaseCommand::Random
            | DatabaseCommand::Size => self.reader().database(command),
        }
    }

    fn flush(&mut self, number: u8) {
        self.note_deletions(&[number]);
        if let Some(home) = self.keyspace.databases.get_mut(usize::from(number)) {
            *home = Database::default();
            self.keyspace.bound.flush(number);
        }
    }

    fn swap(&mut self, one: u8, other: u8) {
        // Watchers of a key see it gone from one database, and whatever took its place as changed.
        self.note_deletions(&[one, other]);
        self.keyspace.databases.swap(usize::from(one), usize::from(other));
        self.keyspace.bound.swap(one, other);
        for number in [one, other] {
            let revision = self.keyspace.revision;
            let Some(home) = self.keyspace.databases.get_mut(usize::from(number)) else {
                continue;
            };
            home.swapped = revision;
            self.keyspace.waits.mark_database_ready(number);
        }
    }

    /// Notes the deletion of all keys of the databases; of any key at all if these are too many to remember.
    fn note_deletions(&mut self, databases: &[u8]) {
        let homes = |number: &u8| self.keyspace.databases.get(usize::from(*number));
        let count: usize = databases.iter().filter_map(homes).map(Database::len).sum();
        let revision = self.keyspace.revision;
        if count > REMEMBERED {
            self.keyspace.deletions.note_all(revision);
            return;
        }
        for number in databases {
            if let Some(home) = self.keyspace.databases.get(usize::from(*number)) {
                for (key, _) in home.iter() {
                    self.keyspace.deletions.note(*number, key, revision);
                }
            }
        }
    }
}
