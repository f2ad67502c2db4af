//! What commands on one set do, and SMOVE.
//!
//! Owns the set half of `apply` and `read`; what the commands are stands in `command/set.rs`. Invariant: a command that
//! would change nothing does not touch the set, so that one shared with a snapshot is not copied for it.

use bytes::Bytes;

use super::access::{Change, Missing, Reader, Writer};
use super::value::{Collection, Set};
use super::{What, sample, walk};
use crate::command::scan::Page;
use crate::command::{Error, Reply, SetCommand};

impl Reader<'_> {
    pub(super) fn set(&self, command: &SetCommand) -> Result<Reply, Error> {
        match command {
            SetCommand::Members { key } => {
                let set = self.collection::<Set>(key)?;
                Ok(Reply::Set(set.into_iter().flat_map(Set::iter).map(Reply::Bulk).collect()))
            }
            SetCommand::Contains { key, member } => Ok(Reply::flag(self.has_member(key, member)?)),
            SetCommand::ContainsEach { key, members } => {
                let set = self.collection::<Set>(key)?;
                let has = |member: &Bytes| set.is_some_and(|set| set.contains(member));
                Ok(Reply::Array(members.iter().map(has).map(Reply::flag).collect()))
            }
            SetCommand::Length { key } => {
                Ok(Reply::count(self.collection::<Set>(key)?.map_or(0, Set::len)))
            }
            SetCommand::Random { key, count } => self.set_random(key, *count),
            SetCommand::Scan { key, page } => self.set_scan(key, page),
            SetCommand::Algebra(command) => self.set_algebra(command),
            SetCommand::Add { .. }
            | SetCommand::Remove { .. }
            | SetCommand::Pop { .. }
            | SetCommand::Move { .. } => unreachable!("a write does not reach the reader"),
        }
    }

    fn has_member(&self, key: &[u8], member: &[u8]) -> Result<bool, Error> {
        Ok(self.collection::<Set>(key)?.is_some_and(|set| set.contains(member)))
    }

    fn set_random(&self, key: &Bytes, count: Option<i64>) -> Result<Reply, Error> {
        let Some(set) = self.collection::<Set>(key)? else {
            return Ok(count.map_or(Reply::Nil, |_| Reply::Array(Vec::new())));
        };
        let mut random = self.random();
        let Some(count) = count else {
            return Ok(Reply::bulk_or_nil(set.at(random.below(set.len()))));
        };
        let wanted = count.unsigned_abs();
        let members = if count < 0 {
            sample::repeated(&mut random, set.len(), wanted, |place, replies| {
                replies.extend(set.at(place).map(Reply::Bulk));
            })?
        } else {
            let places = sample::distinct(&mut random, set.len(), wanted);
            places.into_iter().filter_map(|place| set.at(place)).map(Reply::Bulk).collect()
        };
        Ok(Reply::Array(members))
    }

    fn set_scan(&self, key: &Bytes, page: &Page) -> Result<Reply, Error> {
        let Some(set) = self.collection::<Set>(key)? else {
            return Ok(walk::nothing());
        };
        let is_one_page = matches!(set, Set::Integers(_)) || set.len() <= walk::ONE_PAGE_MAX;
        Ok(walk::walk(page, set.len(), is_one_page, |place| set.at(place).map(|member| [member])))
    }
}

impl Writer<'_> {
    pub(super) fn set(&mut self, command: &SetCommand) -> Result<Reply, Error> {
        match command {
            SetCommand::Add { key, members } => self.set_add(key, members),
            SetCommand::Remove { key, members } => self.set_remove(key, members),
            SetCommand::Pop { key, count: None } => self.set_pop_one(key),
            SetCommand::Pop { key, count: Some(count) } => self.set_pop(key, *count),
            SetCommand::Move { source, destination, member } => {
                self.set_move(source, destination, member)
            }
            SetCommand::Algebra(command) => self.set_algebra(command),
            SetCommand::Members { .. }
            | SetCommand::Contains { .. }
            | SetCommand::ContainsEach { .. }
            | SetCommand::Length { .. }
            | SetCommand::Random { .. }
            | SetCommand::Scan { .. } => self.reader().set(command),
        }
    }

    fn set_add(&mut self, key: &Bytes, members: &[Bytes]) -> Result<Reply, Error> {
        let there = self.reader().collection::<Set>(key)?;
        if !self.is_plain() {
            return self.set_add_bound(key, members);
        }
        if there.is_some_and(|set| members.iter().all(|member| set.contains(member))) {
            return Ok(Reply::Integer(0));
        }
        let added = self.edit(key, Missing::Create, Some(What::AddMembers), |set: &mut Set| {
            let added = members.iter().filter(|member| set.insert(member)).count();
            Ok((added, Change::when(added > 0)))
        })?;
        Ok(Reply::count(added.unwrap_or(0)))
    }

    /// The same, member by member, because each may be new, held by others or there with nobody's end.
    fn set_add_bound(&mut self, key: &Bytes, members: &[Bytes]) -> Result<Reply, Error> {
        let mut added = 0_usize;
        for member in members {
            let is_new = !self.reader().has_member(key, member)?;
            if is_new {
                self.edit(key, Missing::Create, None, |set: &mut Set| {
                    Ok(((), Change::when(set.insert(member))))
                })?;
            }
            self.bind_member(key, member, is_new);
            added = added.saturating_add(usize::from(is_new));
        }
        if added > 0 {
            self.note(key, What::AddMembers);
        }
        Ok(Reply::count(added))
    }

    fn set_remove(&mut self, key: &Bytes, members: &[Bytes]) -> Result<Reply, Error> {
        let there = self.reader().collection::<Set>(key)?;
        if !there.is_some_and(|set| members.iter().any(|member| set.contains(member))) {
            return Ok(Reply::Integer(0));
        }
        let removed =
            self.edit(key, Missing::Leave, Some(What::RemoveMembers), |set: &mut Set| {
                let removed = members.iter().filter(|member| set.remove(member)).count();
                Ok((removed, Change::when(removed > 0)))
            })?;
        members.iter().for_each(|member| self.unbind(key, member));
        Ok(Reply::count(removed.unwrap_or(0)))
    }

    fn set_pop_one(&mut self, key: &Bytes) -> Result<Reply, Error> {
        let mut random = self.random();
        let popped = self.edit(key, Missing::Leave, Some(What::PopMembers), |set: &mut Set| {
            let member = set.take_at(random.below(set.len()));
            let change = Change::when(member.is_some());
            Ok((member, change))
        })?;
        let popped = popped.flatten();
        popped.iter().for_each(|member| self.unbind(key, member));
        Ok(Reply::bulk_or_nil(popped))
    }

    fn set_pop(&mut self, key: &Bytes, count: u64) -> Result<Reply, Error> {
        let Some(set) = self.reader().collection::<Set>(key)? else {
            return Ok(Reply::Set(Vec::new()));
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count == 0 {
            return Ok(Reply::Set(Vec::new()));
        }
        if count >= set.len() {
            let all = set.iter().map(Reply::Bulk).collect();
            self.note(key, What::PopMembers);
            self.delete(key);
            return Ok(Reply::Set(all));
        }
        let mut random = self.random();
        let popped = self.edit(key, Missing::Leave, Some(What::PopMembers), |set: &mut Set| {
            let take = |_| set.take_at(random.below(set.len()));
            Ok(((0..count).filter_map(take).collect::<Vec<_>>(), Change::Changed))
        })?;
        let popped = popped.unwrap_or_default();
        popped.iter().for_each(|member| self.unbind(key, member));
        Ok(Reply::Set(popped.into_iter().map(Reply::Bulk).collect()))
    }

    /// As in Redis, a missing source is found before the type of the destination is looked at.
    fn set_move(
        &mut self,
        source: &Bytes,
        destination: &Bytes,
        member: &Bytes,
    ) -> Result<Reply, Error> {
        let reader = self.reader();
        let Some(from) = reader.collection::<Set>(source)? else {
            return Ok(Reply::Integer(0));
        };
        reader.collection::<Set>(destination)?;
        if !from.contains(member) {
            return Ok(Reply::Integer(0));
        }
        if source != destination {
            self.set_remove(source, std::slice::from_ref(member))?;
            self.set_add(destination, std::slice::from_ref(member))?;
        }
        Ok(Reply::Integer(1))
    }

    /// Puts a set behind a key, or removes the key if it has no members; replies how many there are.
    pub(super) fn set_store(&mut self, key: &Bytes, set: Set, what: What) -> Reply {
        let count = Reply::count(set.len());
        if set.is_empty() {
            self.delete(key);
        } else {
            self.put(key, set.into_value(), None);
            self.note(key, what);
            self.bind_all(key);
        }
        count
    }
}
