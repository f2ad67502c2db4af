//! The driver over the cluster: rows that go with their process, found in the memory of this node.
//!
//! Owns which commands a driver's calls are. Does not start a node or let it leave. Invariant: every row that this writes is
//! bound to the node's session, so that it is gone in one step when the process is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::cache::Cache;
use super::{Conditions, Driver, Error, ROOMS_KEY, Row, Sort};
use crate::command::{Command, HashCommand, KeyCommand, Operation, Reply, Request};
use crate::node::{Consistency, Node};

/// A driver over a [`Node`]. Cheap to clone; all clones share what they have read.
///
/// Reads are linearizable and answered from this node's memory: they cost a share of one question to the leader, and no row
/// goes over a wire. A row that is written through this goes with this process, and comes back by itself if the process was only
/// silent.
#[derive(Clone)]
pub struct ClusterDriver {
    node: Node,
    cache: Arc<Mutex<Cache>>,
}

impl fmt::Debug for ClusterDriver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClusterDriver").field("node", &self.node.id()).finish_non_exhaustive()
    }
}

impl ClusterDriver {
    /// Makes a driver over a node, which may be still on its way into its cluster.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, cache: Arc::default() }
    }

    async fn read(&self, command: HashCommand) -> Result<Reply, Error> {
        let request = Request::One(Operation::new(0, Command::Hash(command)));
        let mut replies = self.node.read(&[request], Consistency::Linearizable).await?;
        taken(replies.pop())
    }

    /// Writes what goes with this process.
    async fn write(&self, command: HashCommand) -> Result<i64, Error> {
        number(self.node.bound().command(Command::Hash(command)).await?)
    }

    /// Hands the rows as they are now to `look`.
    async fn look<R>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = &Row>) -> R + Send,
    ) -> Result<R, Error> {
        let Reply::Map(words) = self.read(HashCommand::GetAll { key: key() }).await? else {
            return Err(Error::Misplaced);
        };
        let mut words = words.into_iter().filter_map(bulk);
        let pairs = std::iter::from_fn(|| Some((words.next()?, words.next()?)));
        let mut cache = self.cache.lock();
        let seen = look(&mut cache.rows(pairs));
        cache.trim();
        Ok(seen)
    }

    async fn row(&self, room_id: &str) -> Result<Option<Row>, Error> {
        let command = HashCommand::Get { key: key(), field: field(room_id) };
        bulk(self.read(command).await?).map(Row::parse).transpose()
    }
}

#[async_trait]
impl Driver for ClusterDriver {
    async fn has(&self, room_id: &str) -> Result<bool, Error> {
        let command = HashCommand::Contains { key: key(), field: field(room_id) };
        Ok(number(self.read(command).await?)? > 0)
    }

    async fn query(&self, conditions: &Conditions, sort: &Sort) -> Result<Vec<Row>, Error> {
        let wanted = |row: &&Row| conditions.matches(row);
        let mut rows: Vec<Row> = self.look(|rows| rows.filter(wanted).cloned().collect()).await?;
        sort.sort(&mut rows);
        Ok(rows)
    }

    async fn find_one(&self, conditions: &Conditions, sort: &Sort) -> Result<Option<Row>, Error> {
        let wanted = |row: &&Row| conditions.matches(row);
        match conditions.room_id() {
            Some(room_id) => Ok(self.row(room_id).await?.filter(|row| wanted(&row))),
            None => self.look(|rows| sort.first(rows.filter(wanted).cloned())).await,
        }
    }

    async fn find_by_ids(&self, room_ids: &[String]) -> Result<BTreeMap<String, Row>, Error> {
        if room_ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let fields = room_ids.iter().map(|id| field(id)).collect();
        let Reply::Array(values) = self.read(HashCommand::GetEach { key: key(), fields }).await?
        else {
            return Err(Error::Misplaced);
        };
        let row =
            |(id, value): (&String, Reply)| Some((id.clone(), Row::parse(bulk(value)?).ok()?));
        Ok(room_ids.iter().zip(values).filter_map(row).collect())
    }

    async fn insert(&self, row: &Row) -> Result<bool, Error> {
        let (field, value) = (field(row.room_id()), row.bytes());
        let written = self.write(HashCommand::SetIfAbsent { key: key(), field, value }).await;
        match written {
            Ok(count) => Ok(count > 0),
            // Perhaps it is there, and perhaps it is this one.
            Err(error) if !error.effect_is_none() => match self.row(row.room_id()).await {
                Ok(Some(there)) => Ok(there.json() == row.json()),
                Ok(None) | Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn persist(&self, row: &Row) -> Result<bool, Error> {
        let pairs = vec![(field(row.room_id()), row.bytes())];
        self.write(HashCommand::Set { key: key(), pairs, reply_ok: false }).await?;
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
        Ok(self.persist(&row).await?.then_some(row))
    }

    async fn remove(&self, room_id: &str) -> Result<bool, Error> {
        let fields = vec![field(room_id)];
        Ok(self.write(HashCommand::Delete { key: key(), fields }).await? > 0)
    }

    async fn cleanup(&self, process_id: &str) -> Result<usize, Error> {
        let is_its = |row: &&Row| row.text("processId") == Some(process_id);
        let fields: Vec<Bytes> =
            self.look(|rows| rows.filter(is_its).map(|row| field(row.room_id())).collect()).await?;
        if fields.is_empty() {
            return Ok(0);
        }
        let count = self.write(HashCommand::Delete { key: key(), fields }).await?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    async fn clear(&self) -> Result<(), Error> {
        let command = Command::Key(KeyCommand::Delete { keys: vec![key()] });
        number(self.node.bound().command(command).await?).map(drop)
    }

    async fn boot(&self) -> Result<(), Error> {
        self.node.ready().await;
        Ok(())
    }

    async fn shutdown(&self) {}
}

const fn key() -> Bytes {
    Bytes::from_static(ROOMS_KEY.as_bytes())
}

fn field(room_id: &str) -> Bytes {
    Bytes::copy_from_slice(room_id.as_bytes())
}

fn taken(reply: Option<Reply>) -> Result<Reply, Error> {
    match reply {
        Some(Reply::Error(error)) => Err(Error::Refused(error)),
        Some(reply) => Ok(reply),
        None => Err(Error::Misplaced),
    }
}

fn number(reply: Reply) -> Result<i64, Error> {
    let Reply::Integer(number) = taken(Some(reply))? else {
        return Err(Error::Misplaced);
    };
    Ok(number)
}

fn bulk(reply: Reply) -> Option<Bytes> {
    if let Reply::Bulk(bytes) = reply { Some(bytes) } else { None }
}
