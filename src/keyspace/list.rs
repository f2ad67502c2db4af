//! What list commands do.
//!
//! Owns the list half of `apply` and `read`; what the commands are stands in `command/list.rs`, what waiting ones do in
//! `blocking.rs`. Invariant: a command that would change nothing does not touch the list, so that one shared with a
//! snapshot is not copied for it.

use std::ops::Range;

use bytes::Bytes;

use super::What;
use super::access::{Change, Missing, Reader, Writer};
use super::value::List;
use crate::command::list::End;
use crate::command::{Error, ListCommand, Reply};
use crate::ids::WaitId;

impl Reader<'_> {
    pub(super) fn list(&self, command: &ListCommand) -> Result<Reply, Error> {
        match command {
            ListCommand::Length { key } => {
                Ok(Reply::count(self.collection::<List>(key)?.map_or(0, List::len)))
            }
            ListCommand::Range { key, start, stop } => {
                let elements = self.collection::<List>(key)?.into_iter().flat_map(|list| {
                    let range = range(*start, *stop, list.len());
                    list.range(range).cloned().map(Reply::Bulk)
                });
                Ok(Reply::Array(elements.collect()))
            }
            ListCommand::Index { key, index } => {
                let Some(list) = self.collection::<List>(key)? else {
                    return Ok(Reply::Nil);
                };
                let place = place(index.ok_or(Error::NotInteger)?, list.len());
                Ok(Reply::bulk_or_nil(place.and_then(|place| list.get(place)).cloned()))
            }
            ListCommand::Position { key, element, rank, count, compared_max } => {
                let Some(list) = self.collection::<List>(key)? else {
                    return Ok(count.map_or(Reply::Nil, |_| Reply::Array(Vec::new())));
                };
                let mut found = positions(list, element, *rank, *compared_max);
                Ok(match count {
                    None => found.next().map_or(Reply::Nil, Reply::count),
                    Some(0) => Reply::Array(found.map(Reply::count).collect()),
                    Some(count) => {
                        let count = usize::try_from(*count).unwrap_or(usize::MAX);
                        Reply::Array(found.take(count).map(Reply::count).collect())
                    }
                })
            }
            ListCommand::Push { .. }
            | ListCommand::Pop { .. }
            | ListCommand::PopFirst { .. }
            | ListCommand::Move { .. }
            | ListCommand::Set { .. }
            | ListCommand::Insert { .. }
            | ListCommand::Remove { .. }
            | ListCommand::Trim { .. }
            | ListCommand::Blocking(_)
            | ListCommand::EndWait { .. } => unreachable!("a write does not reach the reader"),
        }
    }
}

impl Writer<'_> {
    /// Applies a list command. A blocking one that finds nothing waits if this writer has a waiter. `served` takes a
    /// client whose wait the command itself ends (`CLIENT UNBLOCK`, a time-out).
    pub(super) fn list(
        &mut self,
        command: &ListCommand,
        served: &mut Vec<(WaitId, Reply)>,
    ) -> Result<Reply, Error> {
        match command {
            ListCommand::Push { key, elements, end, only_existing } => {
                let missing = if *only_existing { Missing::Leave } else { Missing::Create };
                self.list_push(key, elements, *end, missing)
            }
            ListCommand::Pop { key, end, count } => self.list_pop(key, *end, *count),
            ListCommand::PopFirst { keys, end, count } => {
                Ok(self.list_pop_first(keys, *end, *count)?.unwrap_or(Reply::NilArray))
            }
            ListCommand::Move { source, destination, from, to } => {
                Ok(Reply::bulk_or_nil(self.list_move(source, destination, *from, *to)?))
            }
            ListCommand::Set { key, index, element } => self.list_set(key, *index, element),
            ListCommand::Insert { key, after, pivot, element } => {
                self.list_insert(key, *after, pivot, element)
            }
            ListCommand::Remove { key, count, element } => self.list_remove(key, *count, element),
            ListCommand::Trim { key, start, stop } => self.list_trim(key, *start, *stop),
            ListCommand::Blocking(command) => self.blocking(command),
            ListCommand::EndWait { wait, unblocked } => {
                Ok(self.end_wait(*wait, *unblocked, served))
            }
            ListCommand::Length { .. }
            | ListCommand::Range { .. }
            | ListCommand::Index { .. }
            | ListCommand::Position { .. } => self.reader().list(command),
        }
    }

    fn list_push(
        &mut self,
        key: &Bytes,
        elements: &[Bytes],
        end: End,
        missing: Missing,
    ) -> Result<Reply, Error> {
        let len = self.edit(key, missing, Some(pushed(end)), |list: &mut List| {
            for element in elements {
                push(list, end, element.clone());
            }
            Ok((list.len(), Change::Changed))
        })?;
        Ok(Reply::count(len.unwrap_or(0)))
    }

    fn list_pop(&mut self, key: &Bytes, end: End, count: Option<u64>) -> Result<Reply, Error> {
        if self.reader().collection::<List>(key)?.is_none() {
            return Ok(if count.is_some() { Reply::NilArray } else { Reply::Nil });
        }
        let taken = self.list_take(key, end, count.unwrap_or(1))?;
        Ok(match count {
            None => taken.into_iter().next().unwrap_or(Reply::Nil),
            Some(_) => Reply::Array(taken),
        })
    }

    /// Takes up to `count` elements off one end.
    fn list_take(&mut self, key: &Bytes, end: End, count: u64) -> Result<Vec<Reply>, Error> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let taken = self.edit(key, Missing::Leave, Some(popped(end)), |list: &mut List| {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(list.len());
            let taken: Vec<_> = (0..count).filter_map(|_| pop(list, end)).collect();
            Ok((taken.into_iter().map(Reply::Bulk).collect(), Change::Changed))
        })?;
        Ok(taken.unwrap_or_default())
    }

    /// Takes up to `count` elements off the first list that there is; gives its key with them, or `None`.
    pub(super) fn list_pop_first(
        &mut self,
        keys: &[Bytes],
        end: End,
        count: u64,
    ) -> Result<Option<Reply>, Error> {
        for key in keys {
            if self.reader().collection::<List>(key)?.is_some() {
                let taken = Reply::Array(self.list_take(key, end, count)?);
                return Ok(Some(Reply::Array(vec![Reply::Bulk(key.clone()), taken])));
            }
        }
        Ok(None)
    }

    /// Takes one element off the first list that there is; gives its key with it, or `None`.
    pub(super) fn list_pop_one(
        &mut self,
        keys: &[Bytes],
        end: End,
    ) -> Result<Option<Reply>, Error> {
        for key in keys {
            if self.reader().collection::<List>(key)?.is_some() {
                let mut reply = vec![Reply::Bulk(key.clone())];
                reply.extend(self.list_take(key, end, 1)?);
                return Ok(Some(Reply::Array(reply)));
            }
        }
        Ok(None)
    }

    /// Moves one element; as in Redis, a missing source is found before the type of the destination is looked at.
    pub(super) fn list_move(
        &mut self,
        source: &Bytes,
        destination: &Bytes,
        from: End,
        to: End,
    ) -> Result<Option<Bytes>, Error> {
        let reader = self.reader();
        if reader.collection::<List>(source)?.is_none() {
            return Ok(None);
        }
        reader.collection::<List>(destination)?;
        let moved = self.edit(source, Missing::Leave, None, |list: &mut List| {
            let moved = pop(list, from);
            if let Some(element) = moved.clone().filter(|_| source == destination) {
                push(list, to, element);
            }
            Ok((moved, Change::Changed))
        })?;
        let moved = moved.flatten();
        if let Some(element) = moved.clone().filter(|_| source != destination) {
            self.list_push(destination, &[element], to, Missing::Create)?;
        } else {
            self.note(source, pushed(to));
        }
        self.note(source, popped(from));
        if self.reader().record(source).is_none() {
            self.note(source, What::Delete);
        }
        Ok(moved)
    }

    fn list_set(
        &mut self,
        key: &Bytes,
        index: Option<i64>,
        element: &Bytes,
    ) -> Result<Reply, Error> {
        let list = self.reader().collection::<List>(key)?.ok_or(Error::NoSuchKey)?;
        let index = index.ok_or(Error::NotInteger)?;
        let place = place(index, list.len()).ok_or(Error::IndexOutOfRange)?;
        self.edit(key, Missing::Leave, Some(What::SetElement), |list: &mut List| {
            let there = list.get_mut(place).ok_or(Error::IndexOutOfRange)?;
            there.clone_from(element);
            Ok(((), Change::Changed))
        })?;
        Ok(Reply::Ok)
    }

    fn list_insert(
        &mut self,
        key: &Bytes,
        after: bool,
        pivot: &Bytes,
        element: &Bytes,
    ) -> Result<Reply, Error> {
        let Some(list) = self.reader().collection::<List>(key)? else {
            return Ok(Reply::Integer(0));
        };
        let Some(place) = list.iter().position(|there| there == pivot) else {
            return Ok(Reply::Integer(-1));
        };
        let len = self.edit(key, Missing::Leave, Some(What::Insert), |list: &mut List| {
            list.insert(place.saturating_add(usize::from(after)).min(list.len()), element.clone());
            Ok((list.len(), Change::Changed))
        })?;
        Ok(Reply::count(len.unwrap_or(0)))
    }

    fn list_remove(&mut self, key: &Bytes, count: i64, element: &Bytes) -> Result<Reply, Error> {
        let list = self.reader().collection::<List>(key)?;
        let there = list.into_iter().flatten().filter(|there| *there == element).count();
        if there == 0 {
            return Ok(Reply::Integer(0));
        }
        let most = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let removed = if most == 0 { there } else { there.min(most) };
        // From the right, the first matches are passed over.
        let mut passed = if count < 0 { there.saturating_sub(removed) } else { 0 };
        let mut left = removed;
        self.edit(key, Missing::Leave, Some(What::RemoveElements), |list: &mut List| {
            list.retain(|there| {
                if there != element || left == 0 {
                    return true;
                }
                if passed > 0 {
                    passed -= 1;
                    return true;
                }
                left -= 1;
                false
            });
            Ok(((), Change::Changed))
        })?;
        Ok(Reply::count(removed))
    }

    fn list_trim(&mut self, key: &Bytes, start: i64, stop: i64) -> Result<Reply, Error> {
        let Some(list) = self.reader().collection::<List>(key)? else {
            return Ok(Reply::Ok);
        };
        let kept = range(start, stop, list.len());
        if kept.len() < list.len() {
            self.edit(key, Missing::Leave, Some(What::Trim), |list: &mut List| {
                list.truncate(kept.end);
                list.drain(..kept.start.min(list.len()));
                Ok(((), Change::Changed))
            })?;
        } else {
            self.note(key, What::Trim);
        }
        Ok(Reply::Ok)
    }
}

/// What elements that came in at an end are told as.
const fn pushed(end: End) -> What {
    match end {
        End::Left => What::PushLeft,
        End::Right => What::PushRight,
    }
}

/// What elements that were taken off an end are told as.
const fn popped(end: End) -> What {
    match end {
        End::Left => What::PopLeft,
        End::Right => What::PopRight,
    }
}

fn push(list: &mut List, end: End, element: Bytes) {
    match end {
        End::Left => list.push_front(element),
        End::Right => list.push_back(element),
    }
}

fn pop(list: &mut List, end: End) -> Option<Bytes> {
    match end {
        End::Left => list.pop_front(),
        End::Right => list.pop_back(),
    }
}

/// The place of an index, which may count from the right; `None` outside the list.
fn place(index: i64, len: usize) -> Option<usize> {
    let place = if index < 0 {
        len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(index).ok()?
    };
    (place < len).then_some(place)
}

/// The places from one index to another, both included, as far as they are in the list.
fn range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_left = |index: i64| {
        let places = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index < 0 { len.checked_sub(places) } else { Some(places) }
    };
    let start = from_left(start).unwrap_or(0);
    let end = from_left(stop).map_or(0, |stop| stop.saturating_add(1).min(len));
    start.min(end)..end
}

/// The places of an element, from the `rank`th match on; from the right if `rank` is negative.
fn positions<'a>(
    list: &'a List,
    element: &'a Bytes,
    rank: i64,
    compared_max: u64,
) -> impl Iterator<Item = usize> + use<'a> {
    let len = list.len();
    let compared_max = usize::try_from(compared_max).ok().filter(|most| *most > 0);
    let passed = rank.unsigned_abs().saturating_sub(1);
    (0..len)
        .map(move |step| if rank < 0 { len - 1 - step } else { step })
        .take(compared_max.unwrap_or(usize::MAX))
        .filter(move |place| list.get(*place) == Some(element))
        .skip(usize::try_from(passed).unwrap_or(usize::MAX))
}
