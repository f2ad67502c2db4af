//! An embedded cluster for game servers.

pub mod codec;
pub mod command;
pub mod ids;
#[cfg(test)]
mod tidy;
pub mod keyspace;
pub mod pubsub;
pub mod time;
