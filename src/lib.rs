//! An embedded cluster for game servers.

pub mod adapters;
pub mod codec;
pub mod command;
pub mod consensus;
pub mod ids;
pub mod keyspace;
pub mod membership;
pub mod node;
pub mod pubsub;
pub mod resp;
pub mod storage;
#[cfg(test)]
mod tidy;
pub mod time;
pub mod transport;
