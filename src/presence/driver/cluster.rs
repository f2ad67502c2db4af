//! The driver over the cluster: rows that go with their process, found in the memory of this node.
//!
//! Owns which commands a driver's calls are, and which of them may be given twice. Does not start a node or let it leave.
//! Invariant: every row that this writes is bound to the node's session, so that it is gone in one step when the process is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::cache::Cache;
use super::order::Order;
use super::{Conditions, Driver, Error, ROOMS_KEY, Row, Sort};
use crate::command::bound::Exchange;
use crate::command::{BoundCommand, Command, HashCommand, KeyCommand, Operation, Reply, Request};
use crate::node::{self, Consistency, Node};
use crate::presence::patience::Patience;
use crate::presence::{self, Config};

/// How often a change is tried anew because others changed the same room.
const TRIES: usize = 16;

/// How many bytes of rows are removed by one command.
const TOGETHER_MAX: usize = 512 * 1024;

/// A driver over a [`Node`]. Cheap to clone; all clones are the same, and it can be used before the node is ready: calls wait.
///
/// Reads are linearizable and answered from this node's memory: they cost a share of one question to the leader, and no row
/// goes over a wire. A row that is written through this goes with this process, and comes back by itself if the process was only
/// silent. What another process lists stays its own: [`persist`](Driver::persist) of such a row changes what the row says and
/// not with whom it goes, and gives false, without effect, for a room that another process lists as its own.
///
/// The calls for one room take effect in the order in which their futures are polled first, and a read sees all writes that
/// began before it. While there is no leader, calls are tried again for [`Config::patience`].
#[derive(Clone)]
pub struct ClusterDriver {
    node: Node,
    patience: Duration,
    cache: Arc<Mutex<Cache>>,
    order: Arc<Order>,
}

impl fmt::Debug for ClusterDriver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClusterDriver").field("node", &self.node.id()).finish_non_exhaustive()
    }
}

/// Whether a write that may have been done leaves the same behind when it is done again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Same,
    Other,
}

impl ClusterDriver {
    /// Makes a driver over a node, with the default settings.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self::with(node, &Config::default())
    }

    /// Makes a driver over a node. Of the settings, `patience` is looked at.
    #[must_use]
    pub fn with(node: Node, config: &Config) -> Self {
        let patience = config.patience;
        Self { node, patience, cache: Arc::default(), order: Arc::default() }
    }

    /// Asks until there is an answer, or it must not be asked again.
    async fn ask<R, W: Future<Output = Result<R, node::Error>> + Send>(
        &self,
        again: Again,
        mut ask: impl FnMut() -> W + Send,
    ) -> Result<R, presence::Error> {
        let mut patience = Patience::new(self.patience);
        patience.bound(self.node.ready()).await;
        loop {
            let error = match patience.watch(ask()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_repeat = match error {
                node::Error::TryAgain | node::Error::ClusterDown { .. } => true,
                node::Error::Unknown => again == Again::Same,
                node::Error::TooLarge { .. } | node::Error::Stopped => false,
            };
            if !may_repeat || !patience.again().await {
                return Err(presence::Error::of_node(&error, patience.spent()));
            }
        }
    }

    async fn read(&self, command: HashCommand) -> Result<Reply, Error> {
        self.order.settled().await;
        self.read_now(command).await
    }

    async fn read_now(&self, command: HashCommand) -> Result<Reply, Error> {
        let request = [Request::One(Operation::new(0, command.into()))];
        let read = || self.node.read(&request, Consistency::Linearizable);
        taken(self.ask(Again::Same, read).await?.pop())
    }

    /// Writes what goes with this process.
    async fn write(&self, again: Again, command: impl Into<Command>) -> Result<Reply, Error> {
        let (bound, command) = (self.node.bound(), command.into());
        let write = || {
            let (bound, command) = (bound.clone(), command.clone());
            async move { bound.command(command).await }
        };
        taken(Some(self.ask(again, write).await?))
    }

    /// Hands the rows as they are now to `look`.
    async fn look<R>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = &Row>) -> R + Send,
    ) -> Result<R, Error> {
        let reply = self.read(HashCommand::GetAll { key: key() }).await?;
        let Reply::Map(words) = reply else {
            return Err(unexpected(&reply));
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
        bulk(self.read_now(command).await?).map(Row::parse).transpose()
    }

    /// Writes a row that is this process' own; tells whether it is.
    async fn set(&self, row: &Row) -> Result<bool, Error> {
        let (field, value) = (field(row.room_id()), row.bytes());
        let command = BoundCommand::SetField { key: key(), field, value };
        let reply = self.write(Again::Same, command).await?;
        if reply == Reply::Nil { Ok(false) } else { number(&reply).map(|_| true) }
    }

    /// Puts another text in place of a row, which stays with its process; tells whether the row was still the same.
    async fn exchange(&self, old: &Row, new: &Row) -> Result<bool, Error> {
        let (field, held, value) = (field(old.room_id()), old.bytes(), Some(new.bytes()));
        let fields = vec![Exchange { field, held, value }];
        let command = BoundCommand::Exchange { key: key(), fields };
        Ok(number(&self.write(Again::Other, command).await?)? > 0)
    }

    /// Writes a row on behalf of the process that it says it belongs to.
    async fn persist_of_another(&self, row: &Row) -> Result<bool, Error> {
        for _ in 0..TRIES {
            match self.row(row.room_id()).await? {
                Some(there) if there.text("processId") != row.text("processId") => {
                    return Ok(false);
                }
                Some(there) if self.exchange(&there, row).await? => return Ok(true),
                Some(_) => {}
                // Its process has ended meanwhile.
                None if self.set(row).await? => return Ok(true),
                None => {}
            }
        }
        Err(Error::Contended { room_id: row.room_id().to_owned(), tries: TRIES })
    }

    /// Removes rows that are still the same; gives how many.
    async fn remove_all(&self, rows: &[Row]) -> Result<usize, Error> {
        let (mut removed, mut rest) = (0usize, rows);
        while !rest.is_empty() {
            let mut bytes = 0usize;
            let fits = |row: &&Row| {
                bytes = bytes.saturating_add(row.json().len());
                bytes <= TOGETHER_MAX
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (some, more) = rest.split_at(count.min(rest.len()));
            let gone = |row: &Row| {
                let (field, held) = (field(row.room_id()), row.bytes());
                Exchange { field, held, value: None }
            };
            let fields = some.iter().map(gone).collect();
            let command = BoundCommand::Exchange { key: key(), fields };
            let count = number(&self.write(Again::Same, command).await?)?;
            removed = removed.saturating_add(usize::try_from(count).unwrap_or(0));
            rest = more;
        }
        Ok(removed)
    }
}

#[async_trait]
impl Driver for ClusterDriver {
    async fn has(&self, room_id: &str) -> Result<bool, Error> {
        let command = HashCommand::Contains { key: key(), field: field(room_id) };
        Ok(number(&self.read(command).await?)? > 0)
    }

    async fn query(&self, conditions: &Conditions, sort: &Sort) -> Result<Vec<Row>, Error> {
        let wanted = |row: &&Row| conditions.matches(row);
        let mut rows: Vec<Row> = self.look(|rows| rows.filter(wanted).cloned().collect()).await?;
        sort.sort(&mut rows);
        Ok(rows)
    }

    async fn find_one(&self, conditions: &Conditions, sort: &Sort) -> Result<Option<Row>, Error> {
        let wanted = |row: &&Row| conditions.matches(row);
        if let Some(room_id) = conditions.room_id() {
            self.order.settled().await;
            return Ok(self.row(room_id).await?.filter(|row| wanted(&row)));
        }
        let found: Option<Row> = self.look(|rows| sort.first(rows.filter(wanted)).cloned()).await?;
        Ok(found)
    }

    async fn find_by_ids(&self, room_ids: &[String]) -> Result<BTreeMap<String, Row>, Error> {
        if room_ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let fields = room_ids.iter().map(|id| field(id)).collect();
        let reply = self.read(HashCommand::GetEach { key: key(), fields }).await?;
        let Reply::Array(values) = reply else {
            return Err(unexpected(&reply));
        };
        let row =
            |(id, value): (&String, Reply)| Some((id.clone(), Row::parse(bulk(value)?).ok()?));
        Ok(room_ids.iter().zip(values).filter_map(row).collect())
    }

    async fn insert(&self, row: &Row) -> Result<bool, Error> {
        let turn = self.order.begin(row.room_id());
        turn.is_first().await;
        let (field, value) = (field(row.room_id()), row.bytes());
        let command = HashCommand::SetIfAbsent { key: key(), field, value };
        for _ in 0..TRIES {
            let error = match self.write(Again::Other, command.clone()).await {
                Ok(reply) => return Ok(number(&reply)? > 0),
                Err(error) if error.effect_is_none() => return Err(error),
                Err(error) => error,
            };
            // It may be there, and it may be this one; what was only silent is put back before anything else is read.
            match self.row(row.room_id()).await {
                Ok(Some(there)) => return Ok(there == *row),
                Ok(None) => {}
                Err(_) => return Err(error),
            }
        }
        Err(Error::Contended { room_id: row.room_id().to_owned(), tries: TRIES })
    }

    async fn persist(&self, row: &Row) -> Result<bool, Error> {
        let turn = self.order.begin(row.room_id());
        turn.is_first().await;
        if self.set(row).await? { Ok(true) } else { self.persist_of_another(row).await }
    }

    async fn update(
        &self,
        room_id: &str,
        set: &Map<String, Value>,
        increment: &Map<String, Value>,
    ) -> Result<Option<Row>, Error> {
        let turn = self.order.begin(room_id);
        turn.is_first().await;
        for _ in 0..TRIES {
            let Some(old) = self.row(room_id).await? else {
                return Ok(None);
            };
            let new = old.changed(set, increment)?;
            if self.exchange(&old, &new).await? {
                return Ok(Some(new));
            }
        }
        Err(Error::Contended { room_id: room_id.to_owned(), tries: TRIES })
    }

    async fn remove(&self, room_id: &str) -> Result<bool, Error> {
        let turn = self.order.begin(room_id);
        turn.is_first().await;
        let command = HashCommand::Delete { key: key(), fields: vec![field(room_id)] };
        Ok(number(&self.write(Again::Same, command).await?)? > 0)
    }

    async fn cleanup(&self, process_id: &str) -> Result<usize, Error> {
        let is_its = |row: &&Row| row.text("processId") == Some(process_id);
        let mut removed = 0usize;
        for _ in 0..TRIES {
            let rows: Vec<Row> = self.look(|rows| rows.filter(is_its).cloned().collect()).await?;
            let _turn = self.order.begin("");
            let some = self.remove_all(&rows).await?;
            removed = removed.saturating_add(some);
            // What was changed meanwhile is looked at again.
            if some >= rows.len() {
                break;
            }
        }
        Ok(removed)
    }

    async fn clear(&self) -> Result<(), Error> {
        self.order.settled().await;
        let _turn = self.order.begin("");
        let command = KeyCommand::Delete { keys: vec![key()] };
        number(&self.write(Again::Same, command).await?).map(drop)
    }

    async fn boot(&self) -> Result<(), Error> {
        self.node.ready().await;
        Ok(())
    }

    async fn shutdown(&self) {
        self.order.settled().await;
    }
}

const fn key() -> Bytes {
    Bytes::from_static(ROOMS_KEY.as_bytes())
}

fn field(room_id: &str) -> Bytes {
    Bytes::copy_from_slice(room_id.as_bytes())
}

fn taken(reply: Option<Reply>) -> Result<Reply, Error> {
    match reply {
        Some(Reply::Error(error)) => Err(Error::Asked(error.into())),
        Some(reply) => Ok(reply),
        None => Err(Error::Asked(presence::Error::ShutDown)),
    }
}

fn number(reply: &Reply) -> Result<i64, Error> {
    if let Reply::Integer(number) = reply { Ok(*number) } else { Err(unexpected(reply)) }
}

fn bulk(reply: Reply) -> Option<Bytes> {
    if let Reply::Bulk(bytes) = reply { Some(bytes) } else { None }
}

fn unexpected(reply: &Reply) -> Error {
    let (command, reply) = (format!("a command on {ROOMS_KEY}"), format!("{reply:?}"));
    Error::Asked(presence::Error::Unexpected { command, reply })
}
