//! The tests that need more than one process.

fn main() {}
