//! Who is here: the nodes that gossip knows of, alive or not, and the few facts each tells about itself.
//!
//! Owns the engine `chitchat`. Does not decide anything by what it sees. Invariant: a view is a belief, never a proof.
