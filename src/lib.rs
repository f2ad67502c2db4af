//! An embedded cluster for game servers.

pub mod codec;
pub mod ids;
#[cfg(test)]
mod tidy;
pub mod time;
