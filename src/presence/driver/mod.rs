//! Matchmaking: where the rooms of a game are listed, and found.
//!
//! Owns what a driver is, and the rows that it keeps: a hash `roomcaches` from room to JSON text, as Colyseus lays it out in
//! Redis. Does not know rooms or clients. Invariant: of two processes that insert the same room, exactly one is told that
//! the room is its own.

mod cache;
mod cluster;
mod error;
mod filter;
mod local;
mod order;
mod redis;
mod row;

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub use self::cluster::ClusterDriver;
pub use self::error::Error;
pub use self::filter::{Conditions, Order, Sort};
pub use self::local::LocalDriver;
pub use self::redis::RedisDriver;
pub use self::row::{Listing, Row};

/// The hash from room to row, in Redis and in the cluster alike.
/// Source: `@colyseus/redis-driver` 0.14 to 0.18.
pub const ROOMS_KEY: &str = "roomcaches";

/// Where the rooms of all processes are listed: the driver of a matchmaker, as Colyseus 0.18 has it.
///
/// Three implementations, between which a server changes by one line: [`LocalDriver`], [`ClusterDriver`], and, against a real
/// Redis, [`RedisDriver`].
#[async_trait]
pub trait Driver: Debug + Send + Sync {
    /// Tells whether a room is listed.
    ///
    /// # Errors
    /// When it is not known.
    async fn has(&self, room_id: &str) -> Result<bool, Error>;

    /// Gives all rows that meet the conditions, sorted.
    ///
    /// # Errors
    /// When they are not known.
    async fn query(&self, conditions: &Conditions, sort: &Sort) -> Result<Vec<Row>, Error>;

    /// Gives the first of the rows that meet the conditions. With the condition `roomId`, one row is looked at.
    ///
    /// # Errors
    /// When it is not known.
    async fn find_one(&self, conditions: &Conditions, sort: &Sort) -> Result<Option<Row>, Error>;

    /// Gives the rows of rooms, by room; those that are not listed are left out.
    ///
    /// # Errors
    /// When they are not known.
    async fn find_by_ids(&self, room_ids: &[String]) -> Result<BTreeMap<String, Row>, Error>;

    /// Lists a room, unless there is one of that id; tells whether it did. Of several callers, wherever they are, one is told yes.
    ///
    /// # Errors
    /// When it is not known whether the room is listed now.
    async fn insert(&self, row: &Row) -> Result<bool, Error>;

    /// Lists a room, or writes its row anew; tells whether it did.
    ///
    /// # Errors
    /// When it is not known whether it did.
    async fn persist(&self, row: &Row) -> Result<bool, Error>;

    /// Sets fields of a listed room, and adds to others; gives the row as it is now, none if the room is not listed.
    ///
    /// # Errors
    /// When it is not known what the row is now.
    async fn update(
        &self,
        room_id: &str,
        set: &Map<String, Value>,
        increment: &Map<String, Value>,
    ) -> Result<Option<Row>, Error>;

    /// Takes a room off the list; tells whether it was there.
    ///
    /// # Errors
    /// When it is not known whether it is there still.
    async fn remove(&self, room_id: &str) -> Result<bool, Error>;

    /// Takes all rooms of one process off the list, and no others; gives how many.
    ///
    /// # Errors
    /// When it is not known which are there still.
    async fn cleanup(&self, process_id: &str) -> Result<usize, Error>;

    /// Takes all rooms off the list. For tests.
    ///
    /// # Errors
    /// When it is not known which are there still.
    async fn clear(&self) -> Result<(), Error>;

    /// Waits until the driver can be used.
    ///
    /// # Errors
    /// When it cannot be.
    async fn boot(&self) -> Result<(), Error>;

    /// Waits until the writes under way are done, and ends what the driver itself uses: the presence of a [`RedisDriver`]. The
    /// node of a [`ClusterDriver`] goes on: who started it lets it leave.
    async fn shutdown(&self);
}
