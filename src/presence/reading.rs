//! Replies as the values that a presence gives.
//!
//! Owns the step from a reply to a number, a flag, a value or many of them. Pure. Invariant: a refusal becomes
//! [`Error::Refused`] with its text, and a shape that the command never has becomes [`Error::Unexpected`].

use bytes::Bytes;

use super::Error;
use crate::command::Reply;

/// What a command replied.
#[derive(Debug)]
pub(super) struct Answer {
    command: &'static str,
    reply: Reply,
}

impl Answer {
    /// Takes the reply to `command`.
    pub(super) fn new(command: &'static str, reply: Reply) -> Result<Self, Error> {
        if let Reply::Error(error) = reply {
            return Err(error.into());
        }
        Ok(Self { command, reply })
    }

    /// A number.
    pub(super) fn number(self) -> Result<i64, Error> {
        if let Reply::Integer(number) = self.reply { Ok(number) } else { self.unexpected() }
    }

    /// How many.
    pub(super) fn count(self) -> Result<u64, Error> {
        let command = self.command;
        let number = self.number()?;
        let reply = Reply::Integer(number);
        u64::try_from(number).or_else(|_| Self { command, reply }.unexpected())
    }

    /// Whether at least one was concerned.
    pub(super) fn flag(self) -> Result<bool, Error> {
        Ok(self.number()? > 0)
    }

    /// That it is done.
    pub(super) fn done(self) -> Result<(), Error> {
        let is_done = matches!(self.reply, Reply::Ok | Reply::Status("OK"));
        if is_done { Ok(()) } else { self.unexpected() }
    }

    /// A value, if there is one.
    pub(super) fn value(self) -> Result<Option<Bytes>, Error> {
        if let Reply::Bulk(value) = self.reply {
            return Ok(Some(value));
        }
        if matches!(self.reply, Reply::Nil | Reply::NilArray) {
            Ok(None)
        } else {
            self.unexpected()
        }
    }

    fn items(self) -> Result<Vec<Reply>, Error> {
        if matches!(self.reply, Reply::Nil | Reply::NilArray) {
            return Ok(Vec::new());
        }
        if let Reply::Array(items) | Reply::Set(items) | Reply::Map(items) | Reply::Pairs(items) =
            self.reply
        {
            return Ok(items);
        }
        self.unexpected()
    }

    /// Values in their order.
    pub(super) fn values(self) -> Result<Vec<Bytes>, Error> {
        let command = self.command;
        let values = self.items()?.into_iter().map(|item| Self::new(command, item)?.value());
        values.filter_map(Result::transpose).collect()
    }

    /// Fields and their values.
    pub(super) fn pairs(self) -> Result<Vec<(String, Bytes)>, Error> {
        let values = self.values()?;
        let (pairs, _) = values.as_chunks::<2>();
        Ok(pairs.iter().map(|[field, value]| (text(field), value.clone())).collect())
    }

    /// The reply of the first command of a transaction.
    pub(super) fn first(self) -> Result<Self, Error> {
        let command = self.command;
        let first = self.items()?.into_iter().next();
        first.map_or_else(
            || Self { command, reply: Reply::Nil }.unexpected(),
            |first| Self::new(command, first),
        )
    }

    fn unexpected<T>(self) -> Result<T, Error> {
        // An excerpt: a reply may be large.
        let reply = format!("{:?}", self.reply).chars().take(200).collect();
        Err(Error::Unexpected { command: self.command.to_owned(), reply })
    }
}

/// A name as text; what is not UTF-8 there is replaced, as it is by clients of Redis that have no bytes.
pub(super) fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
