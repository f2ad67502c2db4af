//! The native half of the npm package `quorate`: converts between JavaScript and the crate, and does nothing else.
//!
//! Owns the shapes that JavaScript sees. Does not decide anything: what a call means is the crate's.
