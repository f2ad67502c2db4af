//! The assembled node.
//!
//! Owns its configuration, its life and its status. Invariant: a node that cannot keep its promises stops.

pub mod config;
pub mod status;

pub use self::config::Config;
pub use self::status::Status;
