//! A keyspace made of the chunks of a snapshot.
//!
//! Owns the reader of the format that `snapshot.rs` describes. Invariant: chunks that are damaged, cut short, out of
//! order or made up are an error, never a panic and never a keyspace that breaks its own invariants.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use indexmap::{IndexMap, IndexSet};

use super::session::{Served, Session};
use super::shards::{hash_of, hash_on};
use super::snapshot::{FORMAT, Item, Kind, Part};
use super::stakes::{Spot, Stake};
use super::value::{Hash, List, Record, Set, Value};
use super::{Keyspace, Limits};
use crate::codec;
use crate::command::Reply;
use crate::command::arguments::parse_integer;
use crate::ids::SessionId;
use crate::time::Timestamp;

/// Chunks that are no snapshot. Give up on it and ask for another.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A chunk that cannot be decoded.
    #[error("snapshot chunk {number}: {source}")]
    Chunk {
        /// Its place, from 0.
        number: u64,
        /// What is wrong with it.
        source: codec::Error,
    },
    /// A chunk that makes no sense where it stands.
    #[error("snapshot chunk {number}: {what}")]
    Content {
        /// Its place, from 0.
        number: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The last chunk has not come yet, or one was refused.
    #[error("snapshot ends after chunk {number} without its last one")]
    Incomplete {
        /// How many came.
        number: u64,
    },
}

/// Puts a keyspace together from the chunks of a snapshot, in their order.
#[derive(Debug)]
pub struct Restore {
    keyspace: Keyspace,
    /// The database whose keys come.
    database: Option<u8>,
    open: Open,
    chunks: u64,
    items: u64,
    digest: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Started,
    Ended,
    Refused,
}

/// What the next items may belong to.
#[derive(Debug)]
enum Open {
    Nothing,
    Collection { key: Bytes, deadline: Option<Timestamp>, revision: u64, elements: Elements },
    Part { part: Part, bytes: BytesMut },
    Session { id: SessionId, session: Session, batch: Option<Batch> },
}

#[derive(Debug)]
struct Batch {
    serial: u64,
    count: u64,
    replies: Vec<Reply>,
}

#[derive(Debug)]
enum Elements {
    Integers(Vec<i64>),
    Members(IndexSet<Bytes>),
    Hash(Hash),
    List(List),
}

impl Restore {
    /// Starts with nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            keyspace: Keyspace::new(limits),
            database: None,
            open: Open::Nothing,
            chunks: 0,
            items: 0,
            digest: hash_of(b""),
            state: State::Empty,
        }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// When it is no chunk of a snapshot, or not the next one. Further chunks are then refused too.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let number = self.chunks;
        let result = codec::decode::<Vec<Item>>(chunk)
            .map_err(|source| Error::Chunk { number, source })
            .and_then(|items| {
                let count = items.len() as u64;
                items
                    .into_iter()
                    .try_for_each(|item| self.take(item))
                    .map_err(|what| Error::Content { number, what })?;
                self.items = self.items.saturating_add(count);
                Ok(())
            });
        if result.is_err() {
            self.state = State::Refused;
        }
        self.chunks = self.chunks.saturating_add(1);
        self.digest = hash_on(self.digest, chunk);
        result
    }

    /// Gives the keyspace once all chunks have come.
    ///
    /// # Errors
    /// When some are missing or one was refused.
    pub fn finish(self) -> Result<Keyspace, Error> {
        if self.state == State::Ended {
            return Ok(self.keyspace);
        }
        Err(Error::Incomplete { number: self.chunks })
    }

    fn take(&mut self, item: Item) -> Result<(), &'static str> {
        match (self.state, &item) {
            (State::Empty, Item::Start { .. }) | (State::Started, _) => {}
            (State::Empty, _) => return Err("does not begin with a start"),
            (State::Ended, _) => return Err("stands behind the end"),
            (State::Refused, _) => return Err("stands behind a chunk that was refused"),
        }
        let Some(item) = self.open.add(item)? else {
            return Ok(());
        };
        self.close()?;
        match item {
            Item::Start { format, now, revision } => {
                if self.state == State::Started {
                    return Err("starts twice");
                }
                if format != FORMAT {
                    return Err("is of another format");
                }
                (self.keyspace.now, self.keyspace.revision) = (now, revision);
                self.state = State::Started;
            }
            Item::Database { number, swapped } => {
                let home = self.keyspace.databases.get_mut(usize::from(number));
                home.ok_or("names a database that does not exist")?.swapped = swapped;
                self.database = Some(number);
            }
            Item::String { key, deadline, revision, value } => {
                self.insert(key, Record { value: Value::String(value), deadline, revision })?;
            }
            Item::Collection { key, deadline, revision, kind } => {
                self.open = Open::Collection { key, deadline, revision, elements: kind.into() };
            }
            Item::Stake { key, element, stake } => {
                let database = self.database.ok_or("holds a stake of no database")?;
                self.stake(Spot { database, key, element }, stake)?;
            }
            Item::Part(part) => self.open = Open::Part { part, bytes: BytesMut::new() },
            Item::Session { id, node, placement, nonce, last } => {
                let mut session = Session::new(node, placement, nonce);
                session.set_last_serial(last);
                self.open = Open::Session { id, session, batch: None };
            }
            Item::End { chunks, items, digest } => {
                if (chunks, items, digest) != (self.chunks, self.items, self.digest) {
                    return Err("ends another sequence of chunks");
                }
                let owners = self.keyspace.bound.owners();
                if owners.keys().any(|owner| !self.keyspace.sessions.contains_key(&owner.session)) {
                    return Err("binds something to a session that is not open");
                }
                self.state = State::Ended;
            }
            Item::Integer(_)
            | Item::Member(_)
            | Item::Field(..)
            | Item::Piece(_)
            | Item::Batch { .. }
            | Item::Reply(_)
            | Item::Served { .. } => return Err("holds a part of nothing"),
        }
        Ok(())
    }

    /// Puts what was open into the keyspace.
    fn close(&mut self) -> Result<(), &'static str> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => Ok(()),
            Open::Collection { key, deadline, revision, elements } => {
                let value = elements.into_value().ok_or("holds an empty collection")?;
                self.insert(key, Record { value, deadline, revision })
            }
            Open::Part { part, bytes } => {
                match part {
                    Part::Deletions => self.keyspace.deletions = decode(&bytes)?,
                    Part::Waits => self.keyspace.waits = decode(&bytes)?,
                }
                Ok(())
            }
            Open::Session { id, session, batch } => {
                if batch.is_some() {
                    return Err("holds a batch without all its replies");
                }
                let sessions = &mut self.keyspace.sessions;
                if sessions.values().any(|other| other.node == session.node) {
                    return Err("holds two sessions of a node");
                }
                let twin = sessions.insert(id, session);
                if twin.is_some() { Err("holds a session twice") } else { Ok(()) }
            }
        }
    }

    /// Binds a value that is there, in a way in which it can be bound.
    fn stake(&mut self, spot: Spot, stake: Stake) -> Result<(), &'static str> {
        let home = self.keyspace.databases.get(usize::from(spot.database));
        let record = home.and_then(|home| home.get(&spot.key));
        let (Some(record), None) = (record, self.keyspace.bound.get(&spot)) else {
            return Err("binds what is not there, or twice");
        };
        let text = match (&record.value, &spot.element) {
            (Value::String(text), None) => Some(text),
            (Value::Hash(hash), Some(field)) => hash.get(field),
            _ => None,
        };
        let fits = match (&stake, text) {
            (Stake::Owned(_), text) => text.is_some(),
            (Stake::Shares { amounts, .. }, Some(text)) => {
                !amounts.is_empty() && parse_integer(text).is_some()
            }
            (Stake::Held(holders), None) => {
                let is_member = matches!((&record.value, &spot.element),
                    (Value::Set(set), Some(member)) if set.contains(member));
                is_member && !holders.is_empty()
            }
            (Stake::Shares { .. }, None) | (Stake::Held(_), Some(_)) => false,
        };
        if !fits {
            return Err("binds a value as it cannot be bound");
        }
        self.keyspace.bound.put(spot, stake);
        Ok(())
    }

    fn insert(&mut self, key: Bytes, record: Record) -> Result<(), &'static str> {
        let number = self.database.ok_or("holds a key of no database")?;
        let home = self.keyspace.databases.get_mut(usize::from(number));
        let home = home.ok_or("names a database that does not exist")?;
        if home.insert(key, record).is_some() { Err("holds a key twice") } else { Ok(()) }
    }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, &'static str> {
    codec::decode(bytes).map_err(|_| "holds a part that cannot be decoded")
}

impl Open {
    /// Adds an item that belongs to what is open; gives back one that does not.
    fn add(&mut self, item: Item) -> Result<Option<Item>, &'static str> {
        const TWICE: &str = "holds an element twice or out of order";
        match (self, item) {
            (Self::Collection { elements, .. }, item) => {
                let is_new = match (elements, item) {
                    (Elements::Integers(numbers), Item::Integer(number)) => {
                        let is_new = numbers.last().is_none_or(|last| *last < number);
                        numbers.push(number);
                        is_new
                    }
                    (Elements::Members(members), Item::Member(member)) => members.insert(member),
                    (Elements::List(list), Item::Member(element)) => {
                        list.push_back(element);
                        true
                    }
                    (Elements::Hash(hash), Item::Field(field, value)) => {
                        hash.insert(field, value).is_none()
                    }
                    (_, item) => return Ok(Some(item)),
                };
                if is_new { Ok(None) } else { Err(TWICE) }
            }
            (Self::Part { bytes, .. }, Item::Piece(piece)) => {
                if bytes.len().saturating_add(piece.len()) > codec::LIMIT {
                    return Err("holds a part that is too large");
                }
                bytes.extend_from_slice(&piece);
                Ok(None)
            }
            (Self::Session { session, batch, .. }, Item::Batch { serial, count }) => {
                if batch.is_some() {
                    return Err("holds a batch without all its replies");
                }
                *batch = Some(Batch { serial, count, replies: Vec::new() });
                complete(session, batch);
                Ok(None)
            }
            (Self::Session { session, batch: None, .. }, Item::Served { wait, after, reply }) => {
                session.keep_served(Served { wait, after, reply });
                Ok(None)
            }
            (Self::Session { session, batch, .. }, Item::Reply(reply)) => {
                let open = batch.as_mut().ok_or("holds a reply of no batch")?;
                open.replies.push(reply);
                complete(session, batch);
                Ok(None)
            }
            (_, item) => Ok(Some(item)),
        }
    }
}

/// Gives a batch to its session once it has all its replies.
fn complete(session: &mut Session, batch: &mut Option<Batch>) {
    if let Some(whole) = batch.take_if(|batch| batch.replies.len() as u64 >= batch.count) {
        session.put_back(whole.serial, Arc::from(whole.replies));
    }
}

impl From<Kind> for Elements {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Integers => Self::Integers(Vec::new()),
            Kind::Members => Self::Members(IndexSet::new()),
            Kind::Hash => Self::Hash(IndexMap::new()),
            Kind::List => Self::List(VecDeque::new()),
        }
    }
}

impl Elements {
    /// The value, unless it is empty.
    fn into_value(self) -> Option<Value> {
        match self {
            Self::Integers(numbers) => {
                (!numbers.is_empty()).then(|| Value::Set(Arc::new(Set::Integers(numbers))))
            }
            Self::Members(members) => {
                (!members.is_empty()).then(|| Value::Set(Arc::new(Set::Members(members))))
            }
            Self::Hash(hash) => (!hash.is_empty()).then(|| Value::Hash(Arc::new(hash))),
            Self::List(list) => (!list.is_empty()).then(|| Value::List(Arc::new(list))),
        }
    }
}
