//! Messages to listeners: on this node, and by one ordered lane to every other node. Not through Raft.
//!
//! Invariant: when `subscribe` has returned, every later publish on any linked node is delivered here.

pub mod message;

pub use self::message::{Kind, Message};
