//! The whole keyspace as bytes: taking a snapshot and writing it down.
//!
//! Owns the snapshot's format: a sequence of chunks, each a list of items, so that neither side ever holds a second copy
//! of everything. How a keyspace is made of it stands in `restore.rs`. Invariant: equal states give equal chunks, whatever
//! node made them, and everything that a later reply can depend on is in them.
//!
//! ```text
//! chunk    codec version, items (a list, bincode)              about 1 MiB at most, unless one item is larger
//! items    Start
//!          Database (String | Collection (Integer | Member | Field)*)* Stake*      sixteen times, keys shard by shard
//!          Part Deletions Piece*   Part Waits Piece*
//!          (Session (Batch Reply*)* Served*)*
//! last     End with the number of chunks and items before it and the digest of those chunks
//! ```

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Keyspace;
use super::deletions::Deletions;
use super::session::Sessions;
use super::shards::{Shard, hash_of, hash_on};
use super::stakes::{Stake, StakeHome, Stakes};
use super::value::{Record, Set, Value};
use super::wait::Waits;
use crate::codec;
use crate::command::Reply;
use crate::ids::{NodeId, Placement, SessionId, WaitId};
use crate::time::Timestamp;

/// The number of the format described above. A reader takes no other.
pub(super) const FORMAT: u16 = 1;

/// A chunk is closed when it has about so many bytes.
pub(super) const CHUNK_MAX: usize = 1024 * 1024;

/// A chunk is closed when it has so many items: a reader holds them all at once.
const ITEMS_MAX: usize = 16_384;

/// What is not made of small items is cut into pieces of so many bytes.
const PIECE_MAX: usize = 256 * 1024;

/// One step in building a keyspace. The order of the variants is the format; see the golden test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Item {
    /// Begins the snapshot.
    Start { format: u16, now: Timestamp, revision: u64 },
    /// Begins a database.
    Database { number: u8, swapped: u64 },
    /// A key with a string.
    String { key: Bytes, deadline: Option<Timestamp>, revision: u64, value: Bytes },
    /// A key with a collection, whose elements follow.
    Collection { key: Bytes, deadline: Option<Timestamp>, revision: u64, kind: Kind },
    /// A member of a set of integers.
    Integer(i64),
    /// A member of another set or an element of a list.
    Member(Bytes),
    /// A field of a hash with its value.
    Field(Bytes, Bytes),
    /// Begins something whose encoding follows in pieces.
    Part(Part),
    /// Some bytes of it.
    Piece(Bytes),
    /// Begins a session.
    Session { id: SessionId, node: NodeId, placement: Placement, nonce: u64, last: u64 },
    /// Begins a batch whose replies are kept; so many follow.
    Batch { serial: u64, count: u64 },
    /// One of them.
    Reply(Reply),
    /// Ends the snapshot.
    End { chunks: u64, items: u64, digest: u64 },
    /// Who owns a value of the database.
    Stake { key: Bytes, element: Option<Bytes>, stake: Stake },
    /// A wait that was served, with what its client got, kept until the session has acknowledged a serial above `after`.
    Served { wait: WaitId, after: u64, reply: Reply },
}

/// How a collection is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Integers,
    Members,
    Hash,
    List,
}

/// What is encoded as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    Deletions,
    Waits,
}

/// The state at one instant. Cheap to take: it shares every shard with the keyspace until that is written.
#[derive(Debug)]
pub struct Snapshot {
    now: Timestamp,
    revision: u64,
    databases: Vec<(u64, Vec<Arc<Shard>>, StakeHome)>,
    deletions: Deletions,
    waits: Waits,
    sessions: Sessions,
}

impl Keyspace {
    /// Takes a snapshot. Cost: O(shards + sessions + waits), no key is copied. While it lives, the first write to each
    /// shard and to each collection copies that shard's records or that collection's elements; values are shared.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let homes = self.databases.iter().zip(self.bound.homes());
        let databases =
            homes.map(|(home, stakes)| (home.swapped, home.shards().to_vec(), stakes.clone()));
        Snapshot {
            now: self.now,
            revision: self.revision,
            databases: databases.collect(),
            deletions: self.deletions.clone(),
            waits: self.waits.clone(),
            sessions: self.sessions.clone(),
        }
    }
}

impl Snapshot {
    /// Encodes the state, chunk by chunk, each about 1 MiB at most unless one element is larger.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + use<'_> {
        let mut items = self.items().peekable();
        let (mut chunks, mut count, mut digest) = (0_u64, 0_u64, hash_of(b""));
        let mut is_ended = false;
        std::iter::from_fn(move || {
            if items.peek().is_none() {
                let end = Item::End { chunks, items: count, digest };
                return (!std::mem::replace(&mut is_ended, true))
                    .then(|| codec::encode(&[end].as_slice()));
            }
            let (mut held, mut size) = (Vec::new(), 0_usize);
            while size < CHUNK_MAX
                && held.len() < ITEMS_MAX
                && let Some(item) = items.next_if(|item| {
                    held.is_empty() || size.saturating_add(item.size()) <= CHUNK_MAX
                })
            {
                size = size.saturating_add(item.size());
                held.push(item);
            }
            let chunk = codec::encode(&held);
            chunks = chunks.saturating_add(1);
            count = count.saturating_add(held.len() as u64);
            digest = hash_on(digest, &chunk);
            Some(chunk)
        })
    }

    /// A hash of all chunks: equal on nodes that applied the same entries. Cost: that of encoding everything.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.chunks().fold(hash_of(b""), |digest, chunk| hash_on(digest, &chunk))
    }

    fn items(&self) -> impl Iterator<Item = Item> + Send + use<'_> {
        let start = Item::Start { format: FORMAT, now: self.now, revision: self.revision };
        let databases =
            (0_u8..).zip(&self.databases).flat_map(|(number, (swapped, shards, stakes))| {
                let records = shards.iter().flat_map(|shard| shard.iter());
                std::iter::once(Item::Database { number, swapped: *swapped })
                    .chain(records.flat_map(|(key, record)| record_items(key, record)))
                    .chain(stakes.iter().flat_map(|shard| shard.iter()).flat_map(stake_items))
            });
        let deletions = part_items(Part::Deletions, || codec::encode(&self.deletions));
        let waits = part_items(Part::Waits, || codec::encode(&self.waits));
        std::iter::once(start)
            .chain(databases)
            .chain(deletions)
            .chain(waits)
            .chain(self.session_items())
    }

    fn session_items(&self) -> impl Iterator<Item = Item> + Send + use<'_> {
        self.sessions.iter().flat_map(|(id, session)| {
            let batches = session.kept().flat_map(|(serial, replies)| {
                let batch = Item::Batch { serial: *serial, count: replies.len() as u64 };
                std::iter::once(batch).chain(replies.iter().cloned().map(Item::Reply))
            });
            let begin = Item::Session {
                id: *id,
                node: session.node,
                placement: session.placement.clone(),
                nonce: session.nonce,
                last: session.last_serial(),
            };
            let served = session.kept_served().map(|served| Item::Served {
                wait: served.wait,
                after: served.after,
                reply: served.reply.clone(),
            });
            std::iter::once(begin).chain(batches).chain(served)
        })
    }
}

fn stake_items<'a>(
    (key, stakes): (&'a Bytes, &'a Arc<Stakes>),
) -> impl Iterator<Item = Item> + Send + use<'a> {
    stakes.iter().map(|(element, stake)| Item::Stake {
        key: key.clone(),
        element: element.clone(),
        stake: stake.clone(),
    })
}

fn record_items<'a>(
    key: &Bytes,
    record: &'a Record,
) -> impl Iterator<Item = Item> + Send + use<'a> {
    let (key, deadline, revision) = (key.clone(), record.deadline, record.revision);
    let (kind, elements): (Kind, Box<dyn Iterator<Item = Item> + Send>) = match &record.value {
        Value::String(value) => {
            let whole = Item::String { key, deadline, revision, value: value.clone() };
            return std::iter::once(whole).chain(None.into_iter().flatten());
        }
        Value::Set(set) => match &**set {
            Set::Integers(numbers) => {
                (Kind::Integers, Box::new(numbers.iter().copied().map(Item::Integer)))
            }
            Set::Members(members) => {
                (Kind::Members, Box::new(members.iter().cloned().map(Item::Member)))
            }
        },
        Value::Hash(hash) => {
            let fields =
                hash.iter().map(|(field, value)| Item::Field(field.clone(), value.clone()));
            (Kind::Hash, Box::new(fields))
        }
        Value::List(list) => (Kind::List, Box::new(list.iter().cloned().map(Item::Member))),
    };
    let begin = Item::Collection { key, deadline, revision, kind };
    std::iter::once(begin).chain(Some(elements).into_iter().flatten())
}

/// Encodes a part when it is its turn.
fn part_items(
    part: Part,
    encode: impl FnOnce() -> Bytes + Send,
) -> impl Iterator<Item = Item> + Send {
    let pieces = std::iter::once_with(encode).flat_map(|bytes| {
        let mut rest = bytes;
        std::iter::from_fn(move || {
            let piece = rest.split_to(PIECE_MAX.min(rest.len()));
            (!piece.is_empty()).then_some(Item::Piece(piece))
        })
    });
    std::iter::once(Item::Part(part)).chain(pieces)
}

impl Item {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        const SMALL: usize = 24;
        let more = match self {
            Self::String { key, value, .. } => key.len().saturating_add(value.len()),
            Self::Collection { key: bytes, .. } | Self::Member(bytes) | Self::Piece(bytes) => {
                bytes.len()
            }
            Self::Field(field, value) => field.len().saturating_add(value.len()),
            Self::Session { placement, .. } => placement.name.len(),
            Self::Reply(reply) | Self::Served { reply, .. } => reply.size(),
            Self::Stake { key, element, stake } => {
                const OWNER: usize = 16;
                let element = element.as_ref().map_or(0, Bytes::len);
                let owners = stake.owners().count().saturating_mul(OWNER);
                key.len().saturating_add(element).saturating_add(owners)
            }
            Self::Start { .. }
            | Self::Database { .. }
            | Self::Integer(_)
            | Self::Part(_)
            | Self::Batch { .. }
            | Self::End { .. } => 0,
        };
        more.saturating_add(SMALL)
    }
}
