//! Real processes under faults, and the verdict on what their clients saw.
//!
//! Owns: nothing of its own; see the rooms below. Invariant: a fault that did not happen never counts as passed.

pub mod nemesis;
