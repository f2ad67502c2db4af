//! Tests of the checkers: legal histories pass, planted violations are found.
//!
//! Owns: nothing yet but its place. Does not own: histories. Invariant: none.
