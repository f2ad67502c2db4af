//! The driver over a Redis, as the published one for Node.js: both can share its rows.
//!
//! Owns which commands a driver's calls are there. Does not connect: a presence does. Invariant: nothing is kept here, so that
//! whatever another program writes is seen.
//! Source: `@colyseus/redis-driver` 0.18.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Conditions, Driver, Error, ROOMS_KEY, Row, Sort};
use crate::command::Reply;
use crate::presence::{self, Presence};

/// How many rows one command removes.
const TOGETHER_MAX: usize = 500;

/// A driver over the commands of a presence: with a `RedisPresence`, rows in a Redis that processes with Colyseus' own
/// driver can share. Cheap to clone.
///
/// Each question but for one room takes all rows over the connection. Rows stay until they are removed, whatever becomes of
/// their process, and [`update`](Driver::update) may overwrite what another process changes at the same time.
#[derive(Clone, Debug)]
pub struct RedisDriver {
    presence: Arc<dyn Presence>,
}

impl RedisDriver {
    /// Makes a driver that asks by a presence.
    #[must_use]
    pub fn new(presence: impl Presence) -> Self {
        Self { presence: Arc::new(presence) }
    }

    /// Gives all rows that can be read.
    async fn rows(&self, conditions: &Conditions) -> Result<Vec<Row>, Error> {
        let pairs = self.presence.hgetall(ROOMS_KEY).await?;
        // Not every text must be read to know that it is not meant.
        let name = conditions.name_as_written();
        let name = name.as_deref().map(memchr::memmem::Finder::new);
        let may_be = |json: &Bytes| name.as_ref().is_none_or(|name| name.find(json).is_some());
        let texts = pairs.into_iter().map(|(_, json)| json).filter(may_be);
        let rows = texts.filter_map(|json| Row::parse(json).ok());
        Ok(rows.filter(|row| conditions.matches(row)).collect())
    }

    async fn row(&self, room_id: &str) -> Result<Option<Row>, Error> {
        self.presence.hget(ROOMS_KEY, room_id).await?.map(Row::parse).transpose()
    }

    /// Asks a command on the rows.
    async fn ask(&self, name: &str, words: impl Iterator<Item = Bytes>) -> Result<Reply, Error> {
        let head = [name, ROOMS_KEY].map(|word| Bytes::copy_from_slice(word.as_bytes()));
        let reply = self.presence.command(head.into_iter().chain(words).collect()).await?;
        if let Reply::Error(error) = reply {
            return Err(presence::Error::from(error).into());
        }
        Ok(reply)
    }

    async fn count(&self, name: &str, words: impl Iterator<Item = Bytes>) -> Result<i64, Error> {
        let reply = self.ask(name, words).await?;
        if let Reply::Integer(count) = reply { Ok(count) } else { Err(unexpected(name, &reply)) }
    }
}

#[async_trait]
impl Driver for RedisDriver {
    async fn has(&self, room_id: &str) -> Result<bool, Error> {
        Ok(self.count("HEXISTS", [word(room_id)].into_iter()).await? > 0)
    }

    async fn query(&self, conditions: &Conditions, sort: &Sort) -> Result<Vec<Row>, Error> {
        let mut rows = self.rows(conditions).await?;
        sort.sort(&mut rows);
        Ok(rows)
    }

    async fn find_one(&self, conditions: &Conditions, sort: &Sort) -> Result<Option<Row>, Error> {
        if let Some(room_id) = conditions.room_id() {
            return Ok(self.row(room_id).await?.filter(|row| conditions.matches(row)));
        }
        let rows = self.rows(conditions).await?;
        Ok(sort.first(rows.iter()).cloned())
    }

    async fn find_by_ids(&self, room_ids: &[String]) -> Result<BTreeMap<String, Row>, Error> {
        let mut found = BTreeMap::new();
        for some in room_ids.chunks(TOGETHER_MAX) {
            let reply = self.ask("HMGET", some.iter().map(|id| word(id))).await?;
            let Reply::Array(values) = reply else {
                return Err(unexpected("HMGET", &reply));
            };
            for (id, value) in some.iter().zip(values) {
                if let Reply::Bulk(json) = value
                    && let Ok(row) = Row::parse(json)
                {
                    found.insert(id.clone(), row);
                }
            }
        }
        Ok(found)
    }

    async fn insert(&self, row: &Row) -> Result<bool, Error> {
        let words = [word(row.room_id()), row.bytes()].into_iter();
        match self.count("HSETNX", words).await {
            Ok(count) => Ok(count > 0),
            Err(error) if error.effect_is_none() => Err(error),
            // It may be there, and it may be this one.
            Err(error) => match self.row(row.room_id()).await {
                Ok(Some(there)) => Ok(there == *row),
                Ok(None) | Err(_) => Err(error),
            },
        }
    }

    async fn persist(&self, row: &Row) -> Result<bool, Error> {
        self.presence.hset(ROOMS_KEY, row.room_id(), row.bytes()).await?;
        Ok(true)
    }

    async fn update(
        &self,
        room_id: &str,
        set: &Map<String, Value>,
        increment: &Map<String, Value>,
    ) -> Result<Option<Row>, Error> {
        let Some(row) = self.row(room_id).await? else {
            return Ok(None);
        };
        let row = row.changed(set, increment)?;
        self.persist(&row).await?;
        Ok(Some(row))
    }

    async fn remove(&self, room_id: &str) -> Result<bool, Error> {
        Ok(self.presence.hdel(ROOMS_KEY, room_id).await?)
    }

    async fn cleanup(&self, process_id: &str) -> Result<usize, Error> {
        let rows = self.rows(&Conditions::none().and("processId", process_id)).await?;
        let mut removed = 0usize;
        for some in rows.chunks(TOGETHER_MAX) {
            let count = self.count("HDEL", some.iter().map(|row| word(row.room_id()))).await?;
            removed = removed.saturating_add(usize::try_from(count).unwrap_or(0));
        }
        Ok(removed)
    }

    async fn clear(&self) -> Result<(), Error> {
        self.presence.del(ROOMS_KEY).await?;
        Ok(())
    }

    async fn boot(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn shutdown(&self) {
        self.presence.shutdown().await;
    }
}

fn word(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn unexpected(command: &str, reply: &Reply) -> Error {
    let (command, reply) = (command.to_owned(), format!("{reply:?}"));
    presence::Error::Unexpected { command, reply }.into()
}
