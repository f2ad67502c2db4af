//! An embedded cluster for game servers.

pub mod codec;
pub mod ids;
pub mod time;
