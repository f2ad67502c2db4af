//! The tools of this folder as one program; see `README.md`.
//!
//! Owns: the command line. Does not own: what the tools do. Invariant: exit code 0 means that everything
//! asked for was done and passed.

fn main() {}
