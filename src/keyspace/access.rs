//! How a command reaches the keys of its database: hides what is due, keeps deadlines and revisions right.
//!
//! Owns the rules that every type shares: a due key is absent, a collection that becomes empty goes, a change moves the
//! revision that `WATCH` compares. Invariant: no other file of this room touches `Keyspace::databases` to change a key.

use std::cell::RefCell;

use bytes::Bytes;

use super::value::{Collection, Record, Value};
use super::{Keyspace, Owner, What};
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
    /// Where keys are noted that a command looked for and that were not there, if they are.
    pub(crate) misses: Option<&'a RefCell<Vec<Bytes>>>,
}

impl<'a> Reader<'a> {
    /// The record of a key that is alive.
    pub(crate) fn record(&self, key: &[u8]) -> Option<&'a Record> {
        let record = self.peek(key);
        if record.is_none()
            && let Some(misses) = self.misses
        {
            misses.borrow_mut().push(Bytes::copy_from_slice(key));
        }
        record
    }

    /// The same, for commands that look behind a key and do not count as reads of it.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<&'a Record> {
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
        let Self { ref keyspace, database, .. } = *self;
        Reader { keyspace, database, at: keyspace.now, misses: None }
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

    /// Notes what happened to a key of this database.
    #[inline]
    pub(crate) fn note(&mut self, key: &Bytes, what: What) {
        self.keyspace.notifications.note(self.database, key, what);
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
        let Some(database) = self.keyspace.databases.get_mut(usize::from(self.database)) else {
            return;
        };
        let old = database.insert(key.clone(), record);
        if old.as_ref().is_some_and(|old| !self.keyspace.is_live(old)) {
            self.note(key, What::Expired);
            self.note(key, What::New);
        } else if old.is_none() {
            self.note(key, What::New);
        }
        if is_list {
            self.keyspace.waits.mark_ready(self.database, key);
        }
    }

    /// Takes a key away; gives its record if it was alive.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Record> {
        self.keyspace.take(self.database, key).filter(|record| self.keyspace.is_live(record))
    }

    /// Removes a key on demand. Tells whether it was alive.
    pub(crate) fn delete(&mut self, key: &Bytes) -> bool {
        let was_there = self.remove(key).is_some();
        if was_there {
            self.note(key, What::Delete);
        }
        was_there
    }

    /// Gives a live key another deadline, or none. One that has passed removes the key. Tells whether the key was there.
    pub(crate) fn set_deadline(&mut self, key: &Bytes, deadline: Option<Timestamp>) -> bool {
        let Some(record) = self.reader().record(key) else {
            return false;
        };
        if deadline.is_some_and(|deadline| deadline <= self.keyspace.now) {
            return self.delete(key);
        }
        match (record.deadline, deadline) {
            (_, Some(_)) => self.note(key, What::Expire),
            (Some(_), None) => self.note(key, What::Persist),
            (None, None) => {}
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
    /// Gives `None` when it is missing and was not to be made. A change is noted as `what`, and the end of the key too;
    /// without it, the caller notes both.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type, and what `edit` gives; then nothing is changed, provided
    /// `edit` changed nothing.
    pub(crate) fn edit<C: Collection, R>(
        &mut self,
        key: &Bytes,
        missing: Missing,
        what: Option<What>,
        edit: impl FnOnce(&mut C) -> Result<(R, Change), Error>,
    ) -> Result<Option<R>, Error> {
        let (mut emptied, mut changed) = (false, Change::Unchanged);
        let mut edit = Some(edit);
        let result = self.edit_value(key, |value| {
            let collection = C::of_mut(value).ok_or(Error::WrongType)?;
            let edit = edit.take().expect("it is taken nowhere else before");
            let outcome = edit(collection)?;
            (emptied, changed) = (collection.is_empty(), outcome.1);
            Ok(outcome)
        })?;
        if let Some(what) = what.filter(|_| changed == Change::Changed) {
            self.note(key, what);
        }
        if emptied {
            self.remove(key);
            if what.is_some() {
                self.note(key, What::Delete);
            }
        }
        if let (None, Missing::Create, Some(edit)) = (&result, missing, edit) {
            let mut collection = C::default();
            let (result, _) = edit(&mut collection)?;
            if !collection.is_empty() {
                self.put(key, collection.into_value(), None);
                what.into_iter().for_each(|what| self.note(key, what));
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
