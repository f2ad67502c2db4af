//! The Redis door: any Redis client, at any node.
//!
//! Owns the listener, the connections, their order, limits and passwords, and the commands that need no replicated data.
//! Does not parse the protocol (`resp`) and does not know what a command on the keyspace does (`command`, `keyspace`).
//! Invariant: whatever a client sends is bounded, answered in its order, and looks like one standalone Redis 7.2.

mod admit;
mod backend;
mod batch;
mod binding;
mod blocking;
mod commands;
mod config;
mod connection;
mod drive;
mod listening;
mod registry;
mod reply;
mod server;
mod stats;
#[cfg(test)]
mod tests;
mod transaction;
mod wire;

pub use self::config::{Config, Password};
pub use self::server::{Error, Server};
