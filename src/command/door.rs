//! The rows of the commands that a door answers by itself: connection, server, pub/sub, transactions.
//!
//! Owns only what the table says of them. What they do stands in the door (`adapters/resp`).

use super::table::Spec;

const fn row(
    name: &'static str,
    arity: i8,
    flags: &'static str,
    group: &'static str,
    summary: &'static str,
) -> Spec {
    Spec { name, arity, flags, keys: (0, 0, 0), group, summary, parse: None }
}

pub(super) const SPECS: &[Spec] =
    &[row("ping", -1, "fast", "connection", "Answers PONG, or the given message.")];
