//! The native half of the npm package `quorate`: converts between JavaScript and the crate, and does nothing else.
//!
//! Owns the shapes that JavaScript sees, and the order of calls that JavaScript does not await. Does not decide anything: what a
//! call means is the crate's. Invariant: JavaScript is never called but through the one port of a node, and nothing here keeps
//! its event loop alive.

mod call;
pub mod classes;
mod lane;
mod listen;
mod listing;
mod options;
mod port;
mod runtime;
mod value;
