//! Doors: what lets programs that are not ours use a node.
//!
//! Owns nothing itself. Each door knows the node below it and no other door. Invariant: whatever comes through a door
//! is bounded before it reaches the node.

pub mod http;
pub mod resp;
