//! The `quorate` program: one node, or a whole cluster on this machine, from the command line.

fn main() {}
