//! How a command reaches the keys of its database: hides what is due, keeps deadlines and revisions right.
//!
//! Owns the rules that every type shares: a due key is absent, a collection that becomes empty goes, a change moves the
//! revision that `WATCH` compares. Invariant: no other file of this room touches `Keyspace::databases` to change a key.

use bytes::Bytes;

use super::value::{Collection, Record, Value};
use super::{Keyspace, Owner};
use crate::command::Error;
use crate::ids::SessionId;
use crate::time::Timestamp;

/// Reads the keys of one database.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) keyspace: &'a Keyspace,
    pub(crate) database: u8,
    /// The leader's clock when the read was confirmed; only for what a reply says about time, never for what is alive.
    pub(crate) at: Timestamp,
}

impl<'a> Reader<'a> {
    /// The record of a key that is alive.
    pub(crate) fn record(&self, key: &[u8]) -> Option<&'a Record> {
        self.keyspace.live(self.database, key)
    }

    /// The collection behind a key, if there is one.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub(crate) fn collection<C: Collection + 'a>(
        &self,
        key: &[u8],
    ) -> Result<Option<&'a C>, Error> {
        match self.record(key) {
            None => Ok(None),
            Some(record) => C::of(&record.value).map(Some).ok_or(Error::WrongType),
        }
    }
}

/// Whether to make a key that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Create,
    Leave,
}

/// Whether an edit changed anything; only a change moves the revision of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Changed,
    Unchanged,
}

impl Change {
    pub(crate) const fn when(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::Unchanged }
    }
}

/// Changes the keys of one database, within the application of one log entry.
pub(crate) struct Writer<'a> {
    pub(crate) keyspace: &'a mut Keyspace,
    pub(crate) database: u8,
    /// The session that submitted the operation.
    pub(crate) session: Option<SessionId>,
    /// With whose end goes what the operation writes; none if it stays.
    pub(crate) owner: Option<Owner>,
    /// The session for which a blocking command may wait; none inside a transaction.
    pub(crate) waiter: Option<SessionId>,
}

impl Writer<'_> {
    /// Reads as the state stands in the middle of this entry.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { keyspace: self.keyspace, database: self.database, at: self.keyspace.now }
    }

    /// The same, in another database.
    pub(crate) fn in_database(&mut self, database: u8) -> Writer<'_> {
        let Self { session, owner, waiter, .. } = *self;
        Writer { keyspace: self.keyspace, database, session, owner, waiter }
    }

    /// The replicated clock.
    pub(crate) const fn now(&self) -> Timestamp {
        self.keyspace.now
    }

    /// Puts a value behind a key, whatever stood there, with the given deadline; it is bound to nobody. A deadline that
    /// has passed leaves the key absent.
    pub(crate) fn put(&mut self, key: &Bytes, value: Value, deadline: Option<Timestamp>) {
        if deadline.is_some_and(|deadline| deadline <= self.keyspace.now) {
            self.remove(key);
            return;
        }
        self.keyspace.bound.detach(self.database, key);
        self.place(key, value, deadline);
    }

    /// The same for a deadline that has not passed, and who owns the value stays.
    pub(super) fn place(&mut self, key: &Bytes, value: Value, deadline: Option<Timestamp>) {
        let is_list = matches!(value, Value::List(_));
        let record = Record { value, deadline, revision: self.keyspace.revision };
        if let Some(database) = self.keyspace.databases.get_mut(usize::from(self.database)) {
            database.insert(key.clone(), record);
        }
        if is_list {
            self.keyspace.waits.mark_ready(self.database, key);
        }
    }

    /// Takes a key away; gives its record if it was alive.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Record> {
        self.keyspace.take(self.database, key).filter(|record| self.keyspace.is_live(record))
    }

    /// Gives a live key another deadline, or none. One that has passed removes the key. Tells whether the key was there.
    pub(crate) fn set_deadline(&mut self, key: &Bytes, deadline: Option<Timestamp>) -> bool {
        if self.reader().record(key).is_none() {
            return false;
        }
        if deadline.is_some_and(|deadline| deadline <= self.keyspace.now) {
            self.remove(key);
            return true;
        }
        let revision = self.keyspace.revision;
        let Some(database) = self.keyspace.databases.get_mut(usize::from(self.database)) else {
            return false;
        };
        if let Some(slot) = database.get_mut(key) {
            *slot.revision = revision;
        }
        database.set_deadline(key, deadline)
    }

    /// Edits the value of a live key in place, its deadline kept. `edit` sees the value itself, of whatever type; it is
    /// not called, and `None` is given, when there is no such key.
    ///
    /// # Errors
    /// What `edit` gives.
    pub(crate) fn edit_value<R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut Value) -> Result<(R, Change), Error>,
    ) -> Result<Option<R>, Error> {
        let (now, revision) = (self.keyspace.now, self.keyspace.revision);
        let database = self.keyspace.databases.get_mut(usize::from(self.database));
        let slot = database.and_then(|database| database.get_mut(key));
        let Some(slot) = slot.filter(|slot| slot.deadline.is_none_or(|due| due > now)) else {
            return Ok(None);
        };
        let (result, change) = edit(slot.value)?;
        if change == Change::Changed {
            *slot.revision = revision;
        }
        Ok(Some(result))
    }

    /// Edits the collection behind a key: makes it if it is missing and that is wanted, removes it if it ends up empty.
    /// Gives `None` when it is missing and was not to be made.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type, and what `edit` gives; then nothing is changed, provided
    /// `edit` changed nothing.
    pub(crate) fn edit<C: Collection, R>(
        &mut self,
        key: &Bytes,
        missing: Missing,
        edit: impl FnOnce(&mut C) -> Result<(R, Change), Error>,
    ) -> Result<Option<R>, Error> {
        let (mut emptied, mut is_list) = (false, false);
        let mut edit = Some(edit);
        let result = self.edit_value(key, |value| {
            is_list = matches!(value, Value::List(_));
            let collection = C::of_mut(value).ok_or(Error::WrongType)?;
            let edit = edit.take().expect("it is taken nowhere else before");
            let outcome = edit(collection)?;
            emptied = collection.is_empty();
            Ok(outcome)
        })?;
        if emptied {
            self.remove(key);
        } else if is_list {
            self.keyspace.waits.mark_ready(self.database, key);
        }
        if let (None, Missing::Create, Some(edit)) = (&result, missing, edit) {
            let mut collection = C::default();
            let (result, _) = edit(&mut collection)?;
            if !collection.is_empty() {
                self.put(key, collection.into_value(), None);
            }
            return Ok(Some(result));
        }
        Ok(result)
    }

    /// Refuses a value of `size` bytes if that is more than a value may have.
    ///
    /// # Errors
    /// [`Error::TooLong`], with both numbers.
    pub(crate) fn check_size(&self, size: u64) -> Result<(), Error> {
        let limit = self.keyspace.limits.value_max;
        if size > limit { Err(Error::TooLong { size, limit }) } else { Ok(()) }
    }
}
