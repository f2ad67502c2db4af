//! What key commands do.
//!
//! Owns the key half of `apply` and `read`; what the commands are stands in `command/key.rs`. Invariant: a key that goes
//! to another name or database takes its deadline and its owners along.

use bytes::Bytes;

use super::What;
use super::access::{Reader, Writer};
use crate::command::{Error, KeyCommand, Reply};

impl Reader<'_> {
    pub(super) fn key(&self, command: &KeyCommand) -> Result<Reply, Error> {
        match command {
            KeyCommand::Exists { keys } => {
                Ok(Reply::count(keys.iter().filter(|key| self.record(key).is_some()).count()))
            }
            KeyCommand::Type { key } => {
                let record = self.record(key);
                Ok(Reply::Status(record.map_or("none", |record| record.value.type_name())))
            }
            KeyCommand::Delete { .. }
            | KeyCommand::Rename { .. }
            | KeyCommand::Copy { .. }
            | KeyCommand::Move { .. } => unreachable!("a write does not reach the reader"),
        }
    }
}

impl Writer<'_> {
    pub(super) fn key(&mut self, command: &KeyCommand) -> Result<Reply, Error> {
        match command {
            KeyCommand::Delete { keys } => {
                Ok(Reply::count(keys.iter().filter(|key| self.delete(key)).count()))
            }
            KeyCommand::Rename { from, to, only_new } => self.key_rename(from, to, *only_new),
            KeyCommand::Copy { from, to, database, replace } => {
                self.key_copy(from, to, database.unwrap_or(self.database), *replace)
            }
            KeyCommand::Move { key, database } => self.key_move(key, *database),
            KeyCommand::Exists { .. } | KeyCommand::Type { .. } => self.reader().key(command),
        }
    }

    fn key_rename(&mut self, from: &Bytes, to: &Bytes, only_new: bool) -> Result<Reply, Error> {
        if self.reader().record(from).is_none() {
            return Err(Error::NoSuchKey);
        }
        if only_new && self.reader().record(to).is_some() {
            return Ok(Reply::flag(false));
        }
        let stakes =
            if from == to { None } else { self.keyspace.bound.detach(self.database, from) };
        if from != to
            && let Some(record) = self.remove(from)
        {
            self.note_replaced(to);
            self.put(to, record.value, record.deadline);
            self.attach(to, stakes);
            self.note(from, What::RenameFrom);
            self.note(to, What::RenameTo);
        }
        Ok(if only_new { Reply::flag(true) } else { Reply::Ok })
    }

    fn key_copy(
        &mut self,
        from: &Bytes,
        to: &Bytes,
        database: u8,
        replace: bool,
    ) -> Result<Reply, Error> {
        if from == to && database == self.database {
            return Err(same_object());
        }
        let Some(record) = self.reader().record(from).cloned() else {
            return Ok(Reply::flag(false));
        };
        let mut target = self.in_database(database);
        if !replace && target.reader().record(to).is_some() {
            return Ok(Reply::flag(false));
        }
        target.note_replaced(to);
        target.put(to, record.value, record.deadline);
        target.bind_all(to);
        target.note(to, What::CopyTo);
        Ok(Reply::flag(true))
    }

    fn key_move(&mut self, key: &Bytes, database: u8) -> Result<Reply, Error> {
        if database == self.database {
            return Err(same_object());
        }
        if self.in_database(database).reader().record(key).is_some() {
            return Ok(Reply::flag(false));
        }
        let stakes = self.keyspace.bound.detach(self.database, key);
        let Some(record) = self.remove(key) else {
            return Ok(Reply::flag(false));
        };
        let mut target = self.in_database(database);
        target.put(key, record.value, record.deadline);
        target.attach(key, stakes);
        self.note(key, What::MoveFrom);
        self.in_database(database).note(key, What::MoveTo);
        Ok(Reply::flag(true))
    }

    /// A key that is about to be replaced by another counts as new.
    fn note_replaced(&mut self, key: &Bytes) {
        let is_wanted = self.keyspace.notifications.wants(What::New);
        if is_wanted && self.reader().record(key).is_some() {
            self.note(key, What::New);
        }
    }
}

const fn same_object() -> Error {
    Error::text("ERR source and destination objects are the same")
}
