//! The assembled node.
//!
//! Owns its configuration, its life and its status. Invariant: a node that cannot keep its promises stops.

pub mod config;

pub use self::config::Config;
