//! CLIENT about the connection itself: names, replies, tracking.
//!
//! Owns their replies. What concerns other connections stands in `client_others.rs`. Invariant: what this server does not
//! have (tracking, maintenance notifications) is refused, never confirmed.

use bytes::Bytes;

use super::super::connection::{Connection, Silence};
use super::connection::{printable, set_name};
use super::{Row, help, is, word};
use crate::command::Error;

pub(super) const ROWS: &[Row] = &[
    Row::now("client|id", 0, id),
    Row::now("client|getname", 0, name),
    Row::now("client|setname", 0, rename),
    Row::now("client|setinfo", 0, set_library),
    Row::now("client|no-evict", 0, exempt_from_eviction),
    Row::now("client|no-touch", 0, no_touch),
    Row::now("client|reply", 0, silence),
    Row::now("client|tracking", 0, tracking),
    Row::now("client|caching", 0, caching),
    Row::now("client|trackinginfo", 0, tracking_facts),
    Row::now("client|getredir", 0, redirection),
    Row::now("client|help", 0, client_help),
];

fn id(connection: &mut Connection, _: &[Bytes]) {
    let id = i64::try_from(connection.card.id).unwrap_or(i64::MAX);
    connection.reply().integer(id);
}

fn name(connection: &mut Connection, _: &[Bytes]) {
    let name = connection.card.facts().name;
    let mut reply = connection.reply();
    if name.is_empty() { reply.nil() } else { reply.bulk(name.as_bytes()) }
}

fn rename(connection: &mut Connection, words: &[Bytes]) {
    match set_name(connection, word(words, 2)) {
        Ok(()) => connection.ok(),
        Err(text) => connection.error(&text),
    }
}

/// ```text
/// CLIENT SETINFO LIB-NAME | LIB-VER text
/// ```
/// Source: <https://redis.io/commands/client-setinfo>, Redis 7.2.
fn set_library(connection: &mut Connection, words: &[Bytes]) {
    let attribute = word(words, 2);
    let is_name = is(attribute, "lib-name");
    if !is_name && !is(attribute, "lib-ver") {
        let shown = String::from_utf8_lossy(attribute);
        return connection.error(&format!("ERR Unrecognized option '{shown}'"));
    }
    let Some(text) = printable(word(words, 3)) else {
        let shown = String::from_utf8_lossy(attribute);
        return connection
            .error(&format!("ERR {shown} cannot contain spaces, newlines or special characters."));
    };
    connection.card.change(|facts| {
        *(if is_name { &mut facts.library_name } else { &mut facts.library_version }) = text;
    });
    connection.ok();
}

/// Reads ON or OFF.
fn switch(text: &[u8]) -> Option<bool> {
    if is(text, "on") { Some(true) } else { is(text, "off").then_some(false) }
}

fn exempt_from_eviction(connection: &mut Connection, words: &[Bytes]) {
    match switch(word(words, 2)) {
        Some(is_on) => {
            connection.card.change(|facts| facts.is_exempt_from_eviction = is_on);
            connection.ok();
        }
        None => connection.error(&Error::Syntax.to_string()),
    }
}

/// Reads here never change what a key is worth, so there is nothing to switch.
fn no_touch(connection: &mut Connection, words: &[Bytes]) {
    match switch(word(words, 2)) {
        Some(_) => connection.ok(),
        None => connection.error(&Error::Syntax.to_string()),
    }
}

fn silence(connection: &mut Connection, words: &[Bytes]) {
    let how = word(words, 2);
    if is(how, "on") {
        connection.silence = Silence::None;
        connection.ok();
    } else if is(how, "off") {
        connection.silence = Silence::All;
    } else if is(how, "skip") {
        if connection.silence == Silence::None {
            connection.silence = Silence::Next;
        }
    } else {
        connection.error(&Error::Syntax.to_string());
    }
}

fn tracking(connection: &mut Connection, words: &[Bytes]) {
    match switch(word(words, 2)) {
        Some(false) => connection.ok(),
        Some(true) => connection.error("ERR client-side caching is not supported by this server"),
        None => connection.error(&Error::Syntax.to_string()),
    }
}

fn caching(connection: &mut Connection, _: &[Bytes]) {
    connection.error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    );
}

fn tracking_facts(connection: &mut Connection, _: &[Bytes]) {
    let mut reply = connection.reply();
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
}

fn redirection(connection: &mut Connection, _: &[Bytes]) {
    connection.reply().integer(-1);
}

fn client_help(connection: &mut Connection, _: &[Bytes]) {
    help(
        connection,
        &[
            "CLIENT <subcommand> [<arg> ...]. Subcommands are:",
            "GETNAME, SETNAME <name>, SETINFO <LIB-NAME|LIB-VER> <text>, ID, INFO",
            "    About this connection.",
            "LIST [TYPE <type> | ID <id> ...], KILL <address> | <filter> ..., UNBLOCK <id> [TIMEOUT|ERROR]",
            "    About other connections.",
            "REPLY <ON|OFF|SKIP>, NO-EVICT <ON|OFF>, NO-TOUCH <ON|OFF>, TRACKING OFF",
            "    How this connection is served.",
        ],
    );
}
