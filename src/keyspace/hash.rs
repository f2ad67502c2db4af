//! What hash commands do.
//!
//! Owns the hash half of `apply` and `read`; what the commands are stands in `command/hash.rs`. Invariant: a command that
//! would change nothing does not touch the hash, so that one shared with a snapshot is not copied for it.

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};

use super::access::{Change, Missing, Reader, Writer};
use super::value::Hash;
use super::{What, sample, walk};
use crate::command::arguments::parse_integer;
use crate::command::bound::Exchange;
use crate::command::number::Float;
use crate::command::scan::Page;
use crate::command::{Error, HashCommand, Reply};

impl Reader<'_> {
    pub(super) fn hash(&self, command: &HashCommand) -> Result<Reply, Error> {
        match command {
            HashCommand::Get { key, field } => {
                let hash = self.collection::<Hash>(key)?;
                Ok(Reply::bulk_or_nil(hash.and_then(|hash| hash.get(field)).cloned()))
            }
            HashCommand::GetEach { key, fields } => {
                let hash = self.collection::<Hash>(key)?;
                let value = |field| hash.and_then(|hash| hash.get(field)).cloned();
                Ok(Reply::Array(fields.iter().map(value).map(Reply::bulk_or_nil).collect()))
            }
            HashCommand::GetAll { key } => {
                let pairs = self.collection::<Hash>(key)?.into_iter().flatten();
                let words = pairs.flat_map(|(field, value)| [field.clone(), value.clone()]);
                Ok(Reply::Map(words.map(Reply::Bulk).collect()))
            }
            HashCommand::Contains { key, field } => {
                let hash = self.collection::<Hash>(key)?;
                Ok(Reply::flag(hash.is_some_and(|hash| hash.contains_key(field))))
            }
            HashCommand::Length { key } => {
                Ok(Reply::count(self.collection::<Hash>(key)?.map_or(0, Hash::len)))
            }
            HashCommand::Fields { key } => {
                let fields = self.collection::<Hash>(key)?.into_iter().flat_map(Hash::keys);
                Ok(Reply::Array(fields.cloned().map(Reply::Bulk).collect()))
            }
            HashCommand::Values { key } => {
                let values = self.collection::<Hash>(key)?.into_iter().flat_map(Hash::values);
                Ok(Reply::Array(values.cloned().map(Reply::Bulk).collect()))
            }
            HashCommand::ValueLength { key, field } => {
                let hash = self.collection::<Hash>(key)?;
                Ok(Reply::count(hash.and_then(|hash| hash.get(field)).map_or(0, Bytes::len)))
            }
            HashCommand::Scan { key, page } => self.hash_scan(key, page),
            HashCommand::Random { key, count, with_values } => {
                self.hash_random(key, *count, *with_values)
            }
            HashCommand::Set { .. }
            | HashCommand::SetIfAbsent { .. }
            | HashCommand::Delete { .. }
            | HashCommand::Increment { .. }
            | HashCommand::IncrementFloat { .. } => {
                unreachable!("a write does not reach the reader")
            }
        }
    }

    fn hash_scan(&self, key: &Bytes, page: &Page) -> Result<Reply, Error> {
        let Some(hash) = self.collection::<Hash>(key)? else {
            return Ok(walk::nothing());
        };
        let is_one_page = hash.len() <= walk::ONE_PAGE_MAX;
        Ok(walk::walk(page, hash.len(), is_one_page, |place| {
            hash.get_index(place).map(|(field, value)| [field.clone(), value.clone()])
        }))
    }

    fn hash_random(
        &self,
        key: &Bytes,
        count: Option<i64>,
        with_values: bool,
    ) -> Result<Reply, Error> {
        let shape = if with_values { Reply::Pairs } else { Reply::Array };
        let Some(hash) = self.collection::<Hash>(key)? else {
            return Ok(count.map_or(Reply::Nil, |_| shape(Vec::new())));
        };
        let mut random = self.random();
        let Some(count) = count else {
            let field = hash.get_index(random.below(hash.len())).map(|(field, _)| field.clone());
            return Ok(Reply::bulk_or_nil(field));
        };
        let push = |place: usize, replies: &mut Vec<Reply>| {
            if let Some((field, value)) = hash.get_index(place) {
                replies.push(Reply::Bulk(field.clone()));
                replies.extend(with_values.then(|| Reply::Bulk(value.clone())));
            }
        };
        let wanted = count.unsigned_abs();
        if count < 0 {
            return Ok(shape(sample::repeated(&mut random, hash.len(), wanted, push)?));
        }
        let mut replies = Vec::new();
        for place in sample::distinct(&mut random, hash.len(), wanted) {
            push(place, &mut replies);
        }
        Ok(shape(replies))
    }
}

impl Writer<'_> {
    pub(super) fn hash(&mut self, command: &HashCommand) -> Result<Reply, Error> {
        match command {
            HashCommand::Set { key, pairs, reply_ok } => self.hash_set(key, pairs, *reply_ok),
            HashCommand::SetIfAbsent { key, field, value } => {
                self.hash_set_if_absent(key, field, value)
            }
            HashCommand::Delete { key, fields } => self.hash_delete(key, fields),
            HashCommand::Increment { key, field, increment } => {
                self.hash_increment(key, field, *increment)
            }
            HashCommand::IncrementFloat { key, field, increment } => {
                self.hash_increment_float(key, field, increment)
            }
            HashCommand::Get { .. }
            | HashCommand::GetEach { .. }
            | HashCommand::GetAll { .. }
            | HashCommand::Contains { .. }
            | HashCommand::Length { .. }
            | HashCommand::Fields { .. }
            | HashCommand::Values { .. }
            | HashCommand::ValueLength { .. }
            | HashCommand::Scan { .. }
            | HashCommand::Random { .. } => self.reader().hash(command),
        }
    }

    fn hash_set(
        &mut self,
        key: &Bytes,
        pairs: &[(Bytes, Bytes)],
        reply_ok: bool,
    ) -> Result<Reply, Error> {
        let added = self.hash_put(key, pairs, What::SetFields)?;
        if !self.is_plain() {
            pairs.iter().for_each(|(field, _)| self.bind_value(key, Some(field)));
        }
        Ok(if reply_ok { Reply::Ok } else { Reply::count(added) })
    }

    /// Sets fields and leaves it to the caller to whom they are bound; gives how many are new.
    fn hash_put(
        &mut self,
        key: &Bytes,
        pairs: &[(Bytes, Bytes)],
        what: What,
    ) -> Result<usize, Error> {
        let added = self.edit(key, Missing::Create, Some(what), |hash: &mut Hash| {
            let mut added = 0;
            for (field, value) in pairs {
                added += usize::from(hash.insert(field.clone(), value.clone()).is_none());
            }
            Ok((added, Change::Changed))
        })?;
        Ok(added.unwrap_or(0))
    }

    fn hash_set_if_absent(
        &mut self,
        key: &Bytes,
        field: &Bytes,
        value: &Bytes,
    ) -> Result<Reply, Error> {
        let there = self.reader().collection::<Hash>(key)?;
        if there.is_some_and(|hash| hash.contains_key(field)) {
            return Ok(Reply::Integer(0));
        }
        self.hash_set(key, &[(field.clone(), value.clone())], false)
    }

    /// Sets a field, unless it is another node's.
    pub(super) fn hash_set_own(
        &mut self,
        key: &Bytes,
        field: &Bytes,
        value: &Bytes,
    ) -> Result<Reply, Error> {
        let there = self.reader().collection::<Hash>(key)?;
        if there.is_some_and(|hash| hash.contains_key(field)) && self.is_of_another(key, field) {
            return Ok(Reply::Nil);
        }
        self.hash_set(key, &[(field.clone(), value.clone())], false)
    }

    /// Writes or removes the fields that hold what is expected, and leaves those that are written to their owners.
    pub(super) fn hash_exchange(
        &mut self,
        key: &Bytes,
        fields: &[Exchange],
    ) -> Result<Reply, Error> {
        let there = self.reader().collection::<Hash>(key)?;
        let holds = |one: &&Exchange| {
            there.and_then(|hash| hash.get(&one.field)).is_some_and(|held| *held == one.held)
        };
        let mut pairs = IndexMap::new();
        let mut gone = IndexSet::new();
        for Exchange { field, value, .. } in fields.iter().filter(holds) {
            // Each field once: what it holds afterwards is not what was expected.
            if !pairs.contains_key(field) && !gone.contains(field) {
                match value {
                    Some(value) => drop(pairs.insert(field.clone(), value.clone())),
                    None => drop(gone.insert(field.clone())),
                }
            }
        }
        let count = pairs.len().saturating_add(gone.len());
        if !pairs.is_empty() {
            let pairs: Vec<_> = pairs.into_iter().collect();
            self.hash_put(key, &pairs, What::SetFields)?;
            pairs.iter().for_each(|(field, _)| self.keep_owner(key, field));
        }
        if !gone.is_empty() {
            let gone: Vec<_> = gone.into_iter().collect();
            self.hash_delete(key, &gone)?;
        }
        Ok(Reply::count(count))
    }

    fn hash_delete(&mut self, key: &Bytes, fields: &[Bytes]) -> Result<Reply, Error> {
        let there = self.reader().collection::<Hash>(key)?;
        if !there.is_some_and(|hash| fields.iter().any(|field| hash.contains_key(field))) {
            return Ok(Reply::Integer(0));
        }
        let removed =
            self.edit(key, Missing::Leave, Some(What::DeleteFields), |hash: &mut Hash| {
                let there = |field: &&Bytes| hash.swap_remove(*field).is_some();
                Ok((fields.iter().filter(there).count(), Change::Changed))
            })?;
        fields.iter().for_each(|field| self.unbind(key, field));
        Ok(Reply::count(removed.unwrap_or(0)))
    }

    fn hash_increment(
        &mut self,
        key: &Bytes,
        field: &Bytes,
        increment: i64,
    ) -> Result<Reply, Error> {
        let hash = self.reader().collection::<Hash>(key)?;
        let old = match hash.and_then(|hash| hash.get(field)) {
            Some(text) => Some(parse_integer(text).ok_or(Error::HashNotInteger)?),
            None => None,
        };
        let sum = old.unwrap_or(0).checked_add(increment).ok_or(Error::Overflow)?;
        self.hash_put(key, &[(field.clone(), Bytes::from(sum.to_string()))], What::IncrementField)?;
        self.bind_amount(key, Some(field), old, increment);
        Ok(Reply::Integer(sum))
    }

    fn hash_increment_float(
        &mut self,
        key: &Bytes,
        field: &Bytes,
        increment: &Bytes,
    ) -> Result<Reply, Error> {
        let increment = Float::parse(increment).ok_or(Error::NotFloat)?;
        if increment.is_infinite() {
            return Err(Error::ValueNotFinite);
        }
        let hash = self.reader().collection::<Hash>(key)?;
        let sum = match hash.and_then(|hash| hash.get(field)) {
            Some(text) => {
                let old = Float::parse(text).ok_or(Error::HashNotFloat)?;
                old.checked_add(increment).ok_or(Error::NotFinite)?
            }
            None => increment,
        };
        let text = sum.to_text();
        self.hash_put(key, &[(field.clone(), text.clone())], What::IncrementFieldByFloat)?;
        self.unbind_value(key, Some(field));
        Ok(Reply::Bulk(text))
    }
}
