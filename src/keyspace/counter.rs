//! What counter commands do.
//!
//! Owns the counter half of `apply`; what the commands are stands in `command/counter.rs`. Invariant: a sum that cannot
//! be given leaves the key as it was.

use bytes::Bytes;

use super::What;
use super::access::{Change, Reader, Writer};
use super::value::Value;
use crate::command::arguments::parse_integer;
use crate::command::number::Float;
use crate::command::{CounterCommand, Error, Reply};

impl Reader<'_> {
    pub(super) fn counter(&self, command: &CounterCommand) -> Result<Reply, Error> {
        match command {
            CounterCommand::Add { .. } | CounterCommand::AddFloat { .. } => {
                unreachable!("a write does not reach the reader")
            }
        }
    }
}

impl Writer<'_> {
    pub(super) fn counter(&mut self, command: &CounterCommand) -> Result<Reply, Error> {
        match command {
            CounterCommand::Add { key, amount } => self.counter_add(key, *amount),
            CounterCommand::AddFloat { key, amount } => self.counter_add_float(key, amount),
        }
    }

    fn counter_add(&mut self, key: &Bytes, amount: i64) -> Result<Reply, Error> {
        let before = if self.is_plain() { None } else { self.reader().number(key) };
        let sum = self.counter_edit(key, What::IncrementBy, |text| {
            let held = text.map_or(Some(0), |text| parse_integer(text));
            let sum = held.ok_or(Error::NotInteger)?.checked_add(amount).ok_or(Error::Overflow)?;
            Ok((sum, Bytes::from(sum.to_string())))
        })?;
        self.bind_amount(key, None, before, amount);
        Ok(Reply::Integer(sum))
    }

    fn counter_add_float(&mut self, key: &Bytes, amount: &Bytes) -> Result<Reply, Error> {
        let sum = self.counter_edit(key, What::IncrementByFloat, |text| {
            let held = Float::parse(text.map_or(b"0", |text| &text[..]));
            let (held, amount) = held.zip(Float::parse(amount)).ok_or(Error::NotFloat)?;
            let sum = held.checked_add(amount).ok_or(Error::NotFinite)?.to_text();
            Ok((sum.clone(), sum))
        })?;
        // What one has added could not be taken back exactly.
        self.unbind_value(key, None);
        Ok(Reply::Bulk(sum))
    }

    /// Replaces the text behind a key, none if the key is missing, by what `edit` makes of it. The deadline stays.
    fn counter_edit<R>(
        &mut self,
        key: &Bytes,
        what: What,
        edit: impl Fn(Option<&Bytes>) -> Result<(R, Bytes), Error>,
    ) -> Result<R, Error> {
        let found = self.edit_value(key, |value| {
            let Value::String(text) = value else {
                return Err(Error::WrongType);
            };
            let (result, new) = edit(Some(text))?;
            *text = new;
            Ok((result, Change::Changed))
        })?;
        if let Some(result) = found {
            self.note(key, what);
            return Ok(result);
        }
        let (result, new) = edit(None)?;
        self.put(key, Value::String(new), None);
        self.note(key, what);
        Ok(result)
    }
}
