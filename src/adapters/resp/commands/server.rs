//! TIME, ROLE, WAIT, LASTSAVE, and the small containers that clients ask once: MODULE, ACL, LATENCY.
//!
//! Owns their replies, which are those of a standalone server without modules, users or replicas. Invariant: none of them
//! waits for the cluster.

use bytes::Bytes;

use super::super::connection::Connection;
use super::{Row, help, word};
use crate::command::Error;
use crate::command::arguments::parse_integer;
use crate::command::table;

pub(super) const ROWS: &[Row] = &[
    Row::now("time", 0, time),
    Row::now("role", 0, role),
    Row::now("wait", 0, wait),
    Row::now("lastsave", 0, last_save),
    Row::now("module|list", 0, empty_array),
    Row::now("acl|whoami", 0, whoami),
    Row::now("acl|cat", 0, categories),
    Row::now("acl|users", 0, users),
    Row::now("latency|latest", 0, empty_array),
    Row::now("latency|help", 0, latency_help),
];

fn empty_array(connection: &mut Connection, _: &[Bytes]) {
    connection.reply().array(0);
}

fn time(connection: &mut Connection, _: &[Bytes]) {
    let millis = connection.shared.clock.now().as_millis();
    let mut reply = connection.reply();
    reply.array(2);
    reply.bulk((millis / 1_000).to_string().as_bytes());
    reply.bulk((millis % 1_000 * 1_000).to_string().as_bytes());
}

/// Every node takes any command, so every node is a master; its offset is what it has applied.
fn role(connection: &mut Connection, _: &[Bytes]) {
    let applied = connection.shared.backend.facts().applied;
    let mut reply = connection.reply();
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(i64::try_from(applied).unwrap_or(i64::MAX));
    reply.array(0);
}

/// Gives on how many other nodes every write that was answered stands: as many as make a majority of the voters with one.
/// There is nothing to wait for.
fn wait(connection: &mut Connection, words: &[Bytes]) {
    if parse_integer(word(words, 1)).is_none() {
        return connection.error(&Error::NotInteger.to_string());
    }
    match parse_integer(word(words, 2)) {
        None => return connection.error("ERR timeout is not an integer or out of range"),
        Some(..0) => return connection.error("ERR timeout is negative"),
        Some(_) => {}
    }
    let others = connection.shared.backend.facts().voters / 2;
    connection.reply().integer(i64::try_from(others).unwrap_or(i64::MAX));
}

fn last_save(connection: &mut Connection, _: &[Bytes]) {
    let seconds = connection.shared.clock.now().as_millis() / 1_000;
    connection.reply().integer(i64::try_from(seconds).unwrap_or(i64::MAX));
}

fn whoami(connection: &mut Connection, _: &[Bytes]) {
    connection.reply().bulk(b"default");
}

fn users(connection: &mut Connection, _: &[Bytes]) {
    let mut reply = connection.reply();
    reply.array(1);
    reply.bulk(b"default");
}

/// The groups of the table stand for Redis' categories, as far as they have the same name.
fn categories(connection: &mut Connection, words: &[Bytes]) {
    let mut groups: Vec<&str> = table::all().map(|spec| spec.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let names: Vec<&str> = match words {
        [_, _] => groups,
        [_, _, category] => {
            let category = String::from_utf8_lossy(category).to_ascii_lowercase();
            if !groups.contains(&category.as_str()) {
                let shown = String::from_utf8_lossy(word(words, 2));
                return connection.error(&format!("ERR Unknown category '{shown}'"));
            }
            table::all().filter(|spec| spec.group == category).map(|spec| spec.name).collect()
        }
        _ => return connection.error(&Error::WrongArity("acl|cat".to_owned()).to_string()),
    };
    let mut reply = connection.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
}

fn latency_help(connection: &mut Connection, _: &[Bytes]) {
    let lines = [
        "LATENCY <subcommand>. Subcommands are:",
        "LATEST",
        "    No events are recorded here, so there is none.",
    ];
    help(connection, &lines);
}
