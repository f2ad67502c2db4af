//! The presence of game servers: what their processes share, how they talk, and the listing of their rooms.
//!
//! Owns [`Presence`], its subscriptions, the [`driver`] of matchmaking, and their implementations: in one process, over a
//! [`Node`](crate::node::Node), and against a Redis server. Does not know how state is replicated. Invariant: the
//! implementations give the same replies, so that changing one for another is one line; Redis decides what is right.

mod asked;
mod cluster;
pub mod colyseus;
mod config;
mod contract;
pub mod driver;
mod ears;
mod error;
mod local;
mod local_state;
mod patience;
mod queue;
mod reading;
#[cfg(feature = "redis")]
mod redis;
mod subscription;
#[cfg(test)]
mod tests;

pub use self::asked::Asked;
pub use self::cluster::ClusterPresence;
pub use self::config::Config;
pub use self::contract::Presence;
pub use self::error::Error;
pub use self::local::LocalPresence;
pub use self::queue::Queue;
#[cfg(feature = "redis")]
pub use self::redis::{RedisConfig, RedisPresence};
pub use self::subscription::{Delivery, Message, Subscription};
