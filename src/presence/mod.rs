//! What a game server asks of a Redis: presence, and the listing of its rooms.
//!
//! Owns the traits and, for each, three implementations: one process, the cluster, a real Redis. Invariant: they answer
//! alike, so that a server changes between them by one line.

pub mod driver;
