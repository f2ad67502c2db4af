//! COMMAND: what commands there are.
//!
//! Owns how a row of the table is told, and which words of a request are keys. Does not own the table. Invariant: a command
//! that is told of is one that runs. Source: <https://redis.io/commands/command>, Redis 7.2.

use bytes::Bytes;

use super::super::connection::Connection;
use super::{Row, help, is, word};
use crate::command::Error;
use crate::command::glob;
use crate::command::table::{self, Spec};
use crate::resp::Encoder;

pub(super) const ROWS: &[Row] = &[
    Row::now("command", 0, command),
    Row::now("command|count", 0, count),
    Row::now("command|info", 0, info),
    Row::now("command|docs", 0, docs),
    Row::now("command|list", 0, list),
    Row::now("command|getkeys", 0, keys),
    Row::now("command|help", 0, command_help),
];

fn command(connection: &mut Connection, _: &[Bytes]) {
    write_specs(connection, &table::all().map(Some).collect::<Vec<_>>());
}

fn count(connection: &mut Connection, _: &[Bytes]) {
    let count = table::all().count();
    connection.reply().integer(i64::try_from(count).unwrap_or(i64::MAX));
}

fn info(connection: &mut Connection, words: &[Bytes]) {
    let specs: Vec<Option<&Spec>> = match words.get(2..).unwrap_or_default() {
        [] => table::all().map(Some).collect(),
        names => names.iter().map(|name| table::find(name)).collect(),
    };
    write_specs(connection, &specs);
}

fn write_specs(connection: &mut Connection, specs: &[Option<&Spec>]) {
    let mut reply = connection.reply();
    reply.array(specs.len());
    for spec in specs {
        match spec {
            Some(spec) => write_spec(&mut reply, spec),
            None => reply.nil(),
        }
    }
}

fn write_spec(reply: &mut Encoder<'_>, spec: &Spec) {
    let flags: Vec<&str> = spec.flags.split(' ').filter(|flag| !flag.is_empty()).collect();
    let (first, last, step) = spec.keys;
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(i64::from(spec.arity));
    reply.set(flags.len());
    for flag in flags {
        reply.status(flag);
    }
    for position in [first, last, step] {
        reply.integer(i64::from(position));
    }
    reply.set(1);
    reply.status(&format!("@{}", spec.group));
    // Tips and key specifications are not kept.
    reply.array(0);
    reply.array(0);
    let subcommands: Vec<&Spec> = match spec.name.contains('|') {
        true => Vec::new(),
        false => table::subcommands(spec.name).collect(),
    };
    reply.array(subcommands.len());
    for subcommand in subcommands {
        write_spec(reply, subcommand);
    }
}

fn docs(connection: &mut Connection, words: &[Bytes]) {
    let specs: Vec<&Spec> = match words.get(2..).unwrap_or_default() {
        [] => table::all().collect(),
        names => names.iter().filter_map(|name| table::find(name)).collect(),
    };
    let mut reply = connection.reply();
    reply.map(specs.len());
    for spec in specs {
        reply.bulk(spec.name.as_bytes());
        reply.map(3);
        for (name, value) in [("summary", spec.summary), ("since", "1.0.0"), ("group", spec.group)]
        {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

/// ```text
/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]
/// ```
fn list(connection: &mut Connection, words: &[Bytes]) {
    let filter: Box<dyn Fn(&Spec) -> bool> = match words.get(2..).unwrap_or_default() {
        [] => Box::new(|_| true),
        [by, kind, _] if is(by, "filterby") && is(kind, "module") => Box::new(|_| false),
        [by, kind, category] if is(by, "filterby") && is(kind, "aclcat") => {
            let category = String::from_utf8_lossy(category).to_ascii_lowercase();
            Box::new(move |spec| spec.group == category)
        }
        [by, kind, pattern] if is(by, "filterby") && is(kind, "pattern") => {
            let pattern = pattern.to_ascii_lowercase();
            Box::new(move |spec| glob::matches(&pattern, spec.name.as_bytes()))
        }
        _ => return connection.error(&Error::Syntax.to_string()),
    };
    let names: Vec<&str> = table::all().filter(|spec| filter(spec)).map(|spec| spec.name).collect();
    let mut reply = connection.reply();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
}

fn keys(connection: &mut Connection, words: &[Bytes]) {
    let request = words.get(2..).unwrap_or_default();
    let Some(spec) = table::find(word(request, 0)) else {
        return connection.error("ERR Invalid command specified");
    };
    if spec.keys.0 == 0 && !spec.has("movablekeys") {
        return connection.error("ERR The command has no key arguments");
    }
    if !spec.accepts(request.len()) {
        return connection.error("ERR Invalid number of arguments specified for command");
    }
    let keys = table::keys_of(request);
    if keys.is_empty() {
        return connection.error("ERR Invalid arguments specified for command");
    }
    let mut reply = connection.reply();
    reply.array(keys.len());
    for key in keys {
        reply.bulk(&key);
    }
}

fn command_help(connection: &mut Connection, _: &[Bytes]) {
    help(
        connection,
        &[
            "(no subcommand)",
            "    All commands with what INFO tells of them.",
            "COUNT, LIST [FILTERBY <filter>], INFO [<name> ...], DOCS [<name> ...], GETKEYS <request>",
            "    How many there are, their names, facts, texts; the keys of a request.",
        ],
    );
}
