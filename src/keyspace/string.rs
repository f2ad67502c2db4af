//! What string commands do.
//!
//! Owns the string half of `apply` and `read`; what the commands are stands in `command/string.rs`. Invariant: no value
//! that it stores is longer than the limit.

use bytes::{Bytes, BytesMut};

use super::What;
use super::access::{Change, Reader, Writer};
use super::value::Value;
use crate::command::string::{Condition, Lifetime};
use crate::command::{Error, Reply, StringCommand};

impl Reader<'_> {
    pub(super) fn string(&self, command: &StringCommand) -> Result<Reply, Error> {
        match command {
            StringCommand::Get { key } => Ok(Reply::bulk_or_nil(self.text(key)?.cloned())),
            StringCommand::GetMany { keys } => {
                let value = |key: &Bytes| self.text(key).ok().flatten().cloned();
                Ok(Reply::Array(keys.iter().map(value).map(Reply::bulk_or_nil).collect()))
            }
            StringCommand::Length { key } => {
                Ok(Reply::count(self.text(key)?.map_or(0, Bytes::len)))
            }
            StringCommand::GetRange { key, start, end } => {
                let value = self.text(key)?.cloned().unwrap_or_default();
                Ok(Reply::Bulk(part(&value, *start, *end)))
            }
            StringCommand::Set { .. }
            | StringCommand::SetNew { .. }
            | StringCommand::Take { .. }
            | StringCommand::GetAndExpire { .. }
            | StringCommand::SetMany { .. }
            | StringCommand::SetManyNew { .. }
            | StringCommand::Append { .. }
            | StringCommand::SetRange { .. } => {
                unreachable!("a write does not reach the reader")
            }
        }
    }

    /// The string behind a key, if there is one.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub(super) fn text(&self, key: &[u8]) -> Result<Option<&Bytes>, Error> {
        match self.record(key).map(|record| &record.value) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Set(_) | Value::Hash(_) | Value::List(_)) => Err(Error::WrongType),
        }
    }
}

impl Writer<'_> {
    pub(super) fn string(&mut self, command: &StringCommand) -> Result<Reply, Error> {
        match command {
            StringCommand::Set { key, value, condition, lifetime, reply_old } => {
                self.string_set(key, value, *condition, *lifetime, *reply_old)
            }
            StringCommand::SetNew { key, value } => {
                self.string_set_many_new(std::slice::from_ref(&(key.clone(), value.clone())))
            }
            StringCommand::Take { key } => {
                let value = self.reader().text(key)?.cloned();
                self.delete(key);
                Ok(Reply::bulk_or_nil(value))
            }
            StringCommand::GetAndExpire { key, expiry } => {
                let value = self.reader().text(key)?.cloned();
                self.set_deadline(key, expiry.map(|expiry| expiry.deadline(self.now())));
                Ok(Reply::bulk_or_nil(value))
            }
            StringCommand::SetMany { pairs } => {
                self.check_pairs(pairs)?;
                self.put_pairs(pairs);
                Ok(Reply::Ok)
            }
            StringCommand::SetManyNew { pairs } => self.string_set_many_new(pairs),
            StringCommand::Append { key, value } => self.string_append(key, value),
            StringCommand::SetRange { key, offset, value } => {
                self.string_set_range(key, *offset, value)
            }
            StringCommand::Get { .. }
            | StringCommand::GetMany { .. }
            | StringCommand::Length { .. }
            | StringCommand::GetRange { .. } => self.reader().string(command),
        }
    }

    fn string_set(
        &mut self,
        key: &Bytes,
        value: &Bytes,
        condition: Condition,
        lifetime: Lifetime,
        reply_old: bool,
    ) -> Result<Reply, Error> {
        self.check_size(value.len() as u64)?;
        let old = match reply_old {
            true => self.reader().text(key)?.cloned(),
            false => None,
        };
        let held = match condition {
            Condition::Always => true,
            Condition::Missing => self.reader().record(key).is_none(),
            Condition::Present => self.reader().record(key).is_some(),
        };
        if held {
            let deadline = match lifetime {
                Lifetime::Endless => None,
                Lifetime::Keep => self.reader().record(key).and_then(|record| record.deadline),
                Lifetime::Until(expiry) => Some(expiry.deadline(self.now())),
            };
            // Then it is there for no moment here, and for one in Redis.
            let is_due = deadline.is_some_and(|deadline| deadline <= self.now());
            if is_due && self.reader().record(key).is_none() {
                self.remove(key);
                self.note(key, What::New);
            }
            self.put_text(key, value.clone(), deadline);
            self.note(key, What::Set);
            if matches!(lifetime, Lifetime::Until(_)) {
                self.note(key, What::Expire);
            }
            if is_due {
                self.note(key, What::Expired);
            }
        }
        Ok(match (reply_old, held) {
            (true, _) => Reply::bulk_or_nil(old),
            (false, true) => Reply::Ok,
            (false, false) => Reply::Nil,
        })
    }

    fn string_set_many_new(&mut self, pairs: &[(Bytes, Bytes)]) -> Result<Reply, Error> {
        self.check_pairs(pairs)?;
        let reader = self.reader();
        let is_new = pairs.iter().all(|(key, _)| reader.record(key).is_none());
        if is_new {
            self.put_pairs(pairs);
        }
        Ok(Reply::flag(is_new))
    }

    fn check_pairs(&self, pairs: &[(Bytes, Bytes)]) -> Result<(), Error> {
        pairs.iter().try_for_each(|(_, value)| self.check_size(value.len() as u64))
    }

    fn put_pairs(&mut self, pairs: &[(Bytes, Bytes)]) {
        for (key, value) in pairs {
            self.put_text(key, value.clone(), None);
            self.note(key, What::Set);
        }
    }

    fn string_append(&mut self, key: &Bytes, value: &Bytes) -> Result<Reply, Error> {
        let length = self.reader().text(key)?.map_or(0, Bytes::len);
        let length = length.saturating_add(value.len());
        self.check_size(length as u64)?;
        self.string_edit(key, What::Append, |text| {
            if text.is_empty() {
                *text = value.clone();
            } else if !value.is_empty() {
                let mut longer = writable(text, length);
                longer.extend_from_slice(value);
                *text = longer.freeze();
            }
        })?;
        Ok(Reply::count(length))
    }

    fn string_set_range(
        &mut self,
        key: &Bytes,
        offset: u64,
        value: &Bytes,
    ) -> Result<Reply, Error> {
        let length = self.reader().text(key)?.map_or(0, Bytes::len);
        if value.is_empty() {
            return Ok(Reply::count(length));
        }
        let size = offset.saturating_add(value.len() as u64);
        self.check_size(size)?;
        let too_long = || Error::TooLong { size, limit: usize::MAX as u64 };
        let end = usize::try_from(size).map_err(|_| too_long())?;
        let start = end.saturating_sub(value.len());
        let length = length.max(end);
        self.string_edit(key, What::SetRange, |text| {
            let mut changed = writable(text, length);
            changed.resize(length, 0);
            if let Some(place) = changed.get_mut(start..end) {
                place.copy_from_slice(value);
            }
            *text = changed.freeze();
        })?;
        Ok(Reply::count(length))
    }

    /// Edits the string behind a key, an empty one if the key is missing. The deadline stays.
    fn string_edit(
        &mut self,
        key: &Bytes,
        what: What,
        edit: impl Fn(&mut Bytes),
    ) -> Result<(), Error> {
        let found = self.edit_value(key, |value| match value {
            Value::String(text) => {
                edit(text);
                Ok(((), Change::Changed))
            }
            Value::Set(_) | Value::Hash(_) | Value::List(_) => Err(Error::WrongType),
        })?;
        if found.is_none() {
            let mut text = Bytes::new();
            edit(&mut text);
            self.put(key, Value::String(text), None);
        }
        self.note(key, what);
        self.bind_value(key, None);
        Ok(())
    }
}

/// The bytes of a value, to be changed and with room for `length`: its own if nobody else holds them, else a copy.
fn writable(text: &mut Bytes, length: usize) -> BytesMut {
    std::mem::take(text).try_into_mut().unwrap_or_else(|shared| {
        let mut copy = BytesMut::with_capacity(length);
        copy.extend_from_slice(&shared);
        copy
    })
}

/// Part of a value, both ends included, negative ones counted from its end. Source: Redis 7.2, `getrangeCommand`.
fn part(value: &Bytes, start: i64, end: i64) -> Bytes {
    if start < 0 && end < 0 && start > end {
        return Bytes::new();
    }
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_start =
        |place: i64| if place < 0 { place.saturating_add(length).max(0) } else { place };
    let (start, end) = (from_start(start), from_start(end).min(length.saturating_sub(1)));
    if start > end || length == 0 {
        return Bytes::new();
    }
    let start = usize::try_from(start).unwrap_or(0);
    let end = usize::try_from(end.saturating_add(1)).unwrap_or(0);
    value.slice(start..end)
}
