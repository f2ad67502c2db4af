//! The commands that the door answers by itself, by name.
//!
//! Owns the table from a name to its rights and what runs; its arity and what it is for stand in `command/door.rs`.
//! Does not decide whether it may run now: `admit.rs` does. Invariant: every door command of `command::table` has one row
//! here, and every row is a command there or a subcommand of one.

mod catalogue;
mod client;
mod client_others;
mod connection;
mod info;
mod pubsub;
mod server;
mod settings;
mod subscriber;
mod transaction;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::connection::Connection;
use crate::pubsub::Kind;

/// May run before authentication.
pub(super) const ALWAYS: u8 = 1;
/// May run on a subscribed RESP2 connection.
pub(super) const SUBSCRIBER: u8 = 2;
/// Runs at once inside MULTI.
pub(super) const UNQUEUED: u8 = 4;

/// One command or subcommand.
pub(super) struct Row {
    /// The name in lower case; `client|id` for a subcommand.
    pub(super) name: &'static str,
    rights: u8,
    pub(super) run: Run,
}

/// What a command does when it runs.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// Answers at once.
    Now(fn(&mut Connection, &[Bytes])),
    /// Has to ask the node.
    Later(for<'a> fn(&'a mut Connection, &'a [Bytes]) -> BoxFuture<'a, ()>),
    /// Publishes by that kind.
    Publish(Kind),
    /// Sends a request to a responder, and blocks until its reply.
    Request,
}

impl Row {
    const fn now(name: &'static str, rights: u8, run: fn(&mut Connection, &[Bytes])) -> Self {
        Self { name, rights, run: Run::Now(run) }
    }

    const fn later(
        name: &'static str,
        rights: u8,
        run: for<'a> fn(&'a mut Connection, &'a [Bytes]) -> BoxFuture<'a, ()>,
    ) -> Self {
        Self { name, rights, run: Run::Later(run) }
    }

    /// Tells whether it has one of those rights.
    pub(super) const fn has(&self, right: u8) -> bool {
        self.rights & right != 0
    }

    /// Runs it and writes its reply. What is published is awaited here: only EXEC gets here with it.
    pub(super) async fn run(&self, connection: &mut Connection, words: &[Bytes]) {
        match self.run {
            Run::Now(run) => run(connection, words),
            Run::Later(run) => run(connection, words).await,
            Run::Publish(kind) => pubsub::publish(connection, kind, words).await,
            Run::Request => connection.error("ERR a request cannot wait inside a transaction"),
        }
    }
}

const GROUPS: [&[Row]; 10] = [
    connection::ROWS,
    client::ROWS,
    client_others::ROWS,
    server::ROWS,
    info::ROWS,
    settings::ROWS,
    catalogue::ROWS,
    pubsub::ROWS,
    subscriber::ROWS,
    transaction::ROWS,
];

fn rows() -> &'static BTreeMap<&'static str, &'static Row> {
    static ROWS: OnceLock<BTreeMap<&'static str, &'static Row>> = OnceLock::new();
    ROWS.get_or_init(|| GROUPS.into_iter().flatten().map(|row| (row.name, row)).collect())
}

/// Finds a command or subcommand by its name in the table of commands. All of CLUSTER is one row.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    let name = if name.starts_with("cluster|") { "cluster" } else { name };
    rows().get(name).copied()
}

/// The word at `at`; empty when there is none.
fn word(words: &[Bytes], at: usize) -> &[u8] {
    words.get(at).map_or(&[], |word| word)
}

/// Tells whether `word` is `keyword`, whatever its case.
const fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

/// Answers HELP: one line each.
fn help(connection: &mut Connection, lines: &[&str]) {
    let mut reply = connection.reply();
    reply.array(lines.len());
    for line in lines {
        reply.status(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn the_table_of_commands_and_this_one_agree() {
        for spec in table::all() {
            let subcommands: Vec<_> = table::subcommands(spec.name).collect();
            let is_container = !subcommands.is_empty() && spec.name != "command";
            let rows = subcommands.into_iter().chain((!is_container).then_some(spec));
            for spec in rows.filter(|spec| spec.parse.is_none()) {
                assert!(find(spec.name).is_some(), "no row for {}", spec.name);
            }
        }
        assert_eq!(rows().len(), GROUPS.iter().map(|group| group.len()).sum::<usize>());
        for row in rows().values() {
            assert!(table::find(row.name.as_bytes()).is_some(), "{} is in no table", row.name);
        }
    }
}
