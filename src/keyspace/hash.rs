//! What hash commands do.
//!
//! Owns the hash half of `apply` and `read`; what the commands are stands in `command/hash.rs`.

use bytes::Bytes;

use super::access::{Change, Missing, Reader, Writer};
use super::value::Hash;
use crate::command::{Error, HashCommand, Reply};

impl Reader<'_> {
    pub(super) fn hash(&self, command: &HashCommand) -> Result<Reply, Error> {
        match command {
            HashCommand::Get { key, field } => {
                let hash = self.collection::<Hash>(key)?;
                Ok(Reply::bulk_or_nil(hash.and_then(|hash| hash.get(field)).cloned()))
            }
            HashCommand::Set { .. } => unreachable!("a write does not reach the reader"),
        }
    }
}

impl Writer<'_> {
    pub(super) fn hash(&mut self, command: &HashCommand) -> Result<Reply, Error> {
        match command {
            HashCommand::Set { key, pairs, reply_ok } => self.hash_set(key, pairs, *reply_ok),
            HashCommand::Get { .. } => self.reader().hash(command),
        }
    }

    fn hash_set(
        &mut self,
        key: &Bytes,
        pairs: &[(Bytes, Bytes)],
        reply_ok: bool,
    ) -> Result<Reply, Error> {
        let added = self.edit(key, Missing::Create, |hash: &mut Hash| {
            let mut added = 0;
            for (field, value) in pairs {
                added += usize::from(hash.insert(field.clone(), value.clone()).is_none());
            }
            Ok((added, Change::Changed))
        })?;
        Ok(if reply_ok { Reply::Ok } else { Reply::count(added.unwrap_or(0)) })
    }
}
