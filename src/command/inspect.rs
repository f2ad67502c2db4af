//! Commands that look behind a key as data: their grammar, their row in the table, their parser.
//!
//! Owns what OBJECT and MEMORY USAGE are. What they tell stands in `keyspace/inspect.rs`. Invariant: they never write.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::Arguments;
use super::reply::Error;
use super::table::{Parse, Spec};

/// A question about what is behind a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InspectCommand {
    /// Names how Redis would keep the value: clients and tools read sizes out of it.
    ///
    /// ```text
    /// OBJECT ENCODING key
    /// ```
    ///
    /// Reply: `int`, `embstr`, `raw`, `listpack`, `quicklist`, `intset`, `hashtable`; nil without a key.
    /// Cost: O(1), or O(128) for a small collection. Source: <https://redis.io/commands/object-encoding>, Redis 7.2.
    Encoding {
        /// The key.
        key: Bytes,
    },
    /// Counts the references to the value.
    ///
    /// ```text
    /// OBJECT REFCOUNT key
    /// ```
    ///
    /// Reply: 1, or 2147483647 for a small integer as Redis shares them; nil without a key. Cost: O(1).
    /// Source: <https://redis.io/commands/object-refcount>, Redis 7.2.
    References {
        /// The key.
        key: Bytes,
    },
    /// Tells how long the key was not used. That is not recorded, because reads leave no trace in replicated data.
    ///
    /// ```text
    /// OBJECT IDLETIME key
    /// ```
    ///
    /// Reply: 0; nil without a key. Cost: O(1). Source: <https://redis.io/commands/object-idletime>, Redis 7.2.
    Idle {
        /// The key.
        key: Bytes,
    },
    /// Tells how often the key was used, which Redis knows only under a policy that does not exist here.
    ///
    /// ```text
    /// OBJECT FREQ key
    /// ```
    ///
    /// Reply: Redis' error; nil without a key. Cost: O(1).
    /// Source: <https://redis.io/commands/object-freq>, Redis 7.2.
    Frequency {
        /// The key.
        key: Bytes,
    },
    /// Estimates the memory of a key with its value.
    ///
    /// ```text
    /// MEMORY USAGE key [SAMPLES count]
    /// ```
    ///
    /// Reply: bytes; nil without a key. Cost: O(elements). The same on every node.
    /// Source: <https://redis.io/commands/memory-usage>, Redis 7.2.
    Memory {
        /// The key.
        key: Bytes,
        /// How many elements to measure; the others count as the average of these. 0 is all.
        samples: u64,
    },
    /// Explains a container of subcommands.
    ///
    /// ```text
    /// OBJECT HELP    MEMORY HELP
    /// ```
    ///
    /// Reply: an array of lines. Cost: O(1). Source: <https://redis.io/commands/object-help>, Redis 7.2.
    Help {
        /// Whether it is about MEMORY, not OBJECT.
        memory: bool,
    },
}

/// What OBJECT HELP replies, line by line.
pub const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Name how the value of <key> is kept.",
    "FREQ <key>",
    "    Always an error: how often keys are used is not recorded.",
    "IDLETIME <key>",
    "    Always 0: when keys were used last is not recorded.",
    "REFCOUNT <key>",
    "    Count the references to the value of <key>.",
    "HELP",
    "    Print this help.",
];

/// What MEMORY HELP replies, line by line.
pub const MEMORY_HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    Estimate the bytes that <key> and its value take. At most <count> elements",
    "    are measured (default: 5, 0 means all).",
    "HELP",
    "    Print this help.",
];

const fn spec(
    name: &'static str,
    arity: i8,
    group: &'static str,
    summary: &'static str,
    parse: Parse,
) -> Spec {
    Spec { name, arity, flags: "readonly", keys: (2, 2, 1), group, summary, parse: Some(parse) }
}

const fn container(name: &'static str, group: &'static str, summary: &'static str) -> Spec {
    Spec { name, arity: -2, flags: "", keys: (0, 0, 0), group, summary, parse: None }
}

const fn help(name: &'static str, group: &'static str, parse: Parse) -> Spec {
    let (flags, summary) = ("readonly loading stale", "Explains the subcommands.");
    Spec { name, arity: 2, flags, keys: (0, 0, 0), group, summary, parse: Some(parse) }
}

pub(super) const SPECS: &[Spec] = &[
    container("object", "generic", "Tells how the value of a key is kept."),
    spec("object|encoding", 3, "generic", "Names how a value is kept.", encoding),
    spec("object|refcount", 3, "generic", "Counts the references to a value.", references),
    spec("object|idletime", 3, "generic", "Tells how long a key was not used.", idle),
    spec("object|freq", 3, "generic", "Tells how often a key was used.", frequency),
    help("object|help", "generic", |_| {
        Ok(Command::Inspect(InspectCommand::Help { memory: false }))
    }),
    container("memory", "server", "Tells how much memory a key takes."),
    spec("memory|usage", -3, "server", "Estimates the memory of a key.", usage),
    help("memory|help", "server", |_| Ok(Command::Inspect(InspectCommand::Help { memory: true }))),
];

fn encoding(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Inspect(InspectCommand::Encoding { key: arguments.take()? }))
}

fn references(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Inspect(InspectCommand::References { key: arguments.take()? }))
}

fn idle(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Inspect(InspectCommand::Idle { key: arguments.take()? }))
}

fn frequency(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    Ok(Command::Inspect(InspectCommand::Frequency { key: arguments.take()? }))
}

fn usage(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    let mut samples = 5;
    while !arguments.is_empty() {
        if !arguments.keyword("samples") || arguments.is_empty() {
            return Err(Error::Syntax);
        }
        samples = u64::try_from(arguments.integer()?).map_err(|_| Error::Syntax)?;
    }
    Ok(Command::Inspect(InspectCommand::Memory { key, samples }))
}
