//! CLIENT about other connections: LIST, INFO, KILL, UNBLOCK.
//!
//! Owns their filters and replies. Does not end a connection itself: it asks the connection's task to. Invariant: a client
//! that kills itself still gets the reply.

use std::sync::Arc;

use bytes::Bytes;

use super::super::connection::Connection;
use super::super::registry::Card;
use super::{Row, is, word};
use crate::command::Error;
use crate::command::arguments::parse_integer;
use crate::node::Interrupt;

pub(super) const ROWS: &[Row] = &[
    Row::now("client|list", 0, list),
    Row::now("client|info", 0, info),
    Row::now("client|kill", 0, kill),
    Row::now("client|unblock", 0, unblock),
];

/// ```text
/// CLIENT LIST [TYPE normal | master | replica | slave | pubsub] [ID id …]
/// ```
fn list(connection: &mut Connection, words: &[Bytes]) {
    connection.show();
    let registry = Arc::clone(&connection.shared.registry);
    let cards = match words.get(2..).unwrap_or_default() {
        [] => Ok(registry.all()),
        [option, kind] if is(option, "type") => is_of_type(kind)
            .map(|test| registry.all().into_iter().filter(|card| test(card)).collect()),
        [option, ids @ ..] if is(option, "id") && !ids.is_empty() => ids
            .iter()
            .map(|id| id_of(id).ok_or_else(|| "ERR Invalid client ID".to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map(|ids| ids.into_iter().filter_map(|id| registry.find(id)).collect()),
        _ => Err(Error::Syntax.to_string()),
    };
    match cards {
        Ok(cards) => {
            let lines: String = cards.iter().map(|card| card.line() + "\n").collect();
            connection.reply().verbatim(lines.as_bytes());
        }
        Err(text) => connection.error(&text),
    }
}

fn info(connection: &mut Connection, _: &[Bytes]) {
    connection.show();
    let line = connection.card.line() + "\n";
    connection.reply().verbatim(line.as_bytes());
}

fn id_of(text: &[u8]) -> Option<u64> {
    parse_integer(text).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0)
}

/// Gives the test for a type of clients. There are no replicas and no masters here.
fn is_of_type(name: &[u8]) -> Result<fn(&Card) -> bool, String> {
    if is(name, "normal") {
        Ok(|card| !card.facts().is_subscribed())
    } else if is(name, "pubsub") {
        Ok(|card| card.facts().is_subscribed())
    } else if is(name, "master") || is(name, "replica") || is(name, "slave") {
        Ok(|_| false)
    } else {
        Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name)))
    }
}

/// What CLIENT KILL asks of a connection; all that is set must hold.
struct Filter {
    id: Option<u64>,
    address: Option<String>,
    local_address: Option<String>,
    kind: Option<fn(&Card) -> bool>,
    is_user_known: bool,
    skips_me: bool,
}

impl Filter {
    /// ```text
    /// [ID id] [TYPE type] [USER name] [ADDR ip:port] [LADDR ip:port] [SKIPME yes | no]
    /// ```
    fn parse(mut options: &[Bytes]) -> Result<Self, String> {
        let mut filter = Self {
            id: None,
            address: None,
            local_address: None,
            kind: None,
            is_user_known: true,
            skips_me: true,
        };
        while let [option, value, rest @ ..] = options {
            let text = || Some(String::from_utf8_lossy(value).into_owned());
            if is(option, "id") {
                let wrong = || "ERR client-id should be greater than 0".to_owned();
                filter.id = Some(id_of(value).ok_or_else(wrong)?);
            } else if is(option, "type") {
                filter.kind = Some(is_of_type(value)?);
            } else if is(option, "addr") {
                filter.address = text();
            } else if is(option, "laddr") {
                filter.local_address = text();
            } else if is(option, "user") {
                filter.is_user_known = &value[..] == b"default";
            } else if is(option, "skipme") && (is(value, "yes") || is(value, "no")) {
                filter.skips_me = is(value, "yes");
            } else {
                return Err(Error::Syntax.to_string());
            }
            options = rest;
        }
        if options.is_empty() { Ok(filter) } else { Err(Error::Syntax.to_string()) }
    }

    fn matches(&self, card: &Card) -> bool {
        self.is_user_known
            && self.id.is_none_or(|id| id == card.id)
            && self.address.as_ref().is_none_or(|text| *text == card.address.to_string())
            && self
                .local_address
                .as_ref()
                .is_none_or(|text| *text == card.local_address.to_string())
            && self.kind.is_none_or(|test| test(card))
    }
}

fn kill(connection: &mut Connection, words: &[Bytes]) {
    let all = connection.shared.registry.all();
    if let [_, _, address] = words {
        let address = String::from_utf8_lossy(address);
        let found = all.iter().find(|card| card.address.to_string() == *address);
        return match found {
            Some(card) => {
                end(connection, card);
                connection.ok();
            }
            None => connection.error("ERR No such client"),
        };
    }
    let filter = match Filter::parse(words.get(2..).unwrap_or_default()) {
        Ok(filter) => filter,
        Err(text) => return connection.error(&text),
    };
    let mut count = 0;
    for card in all.iter().filter(|card| filter.matches(card)) {
        if !(filter.skips_me && card.id == connection.card.id) {
            end(connection, card);
            count += 1;
        }
    }
    connection.reply().integer(count);
}

fn end(connection: &mut Connection, card: &Card) {
    if card.id == connection.card.id { connection.is_closing = true } else { card.kill() }
}

/// ```text
/// CLIENT UNBLOCK id [TIMEOUT | ERROR]
/// ```
fn unblock(connection: &mut Connection, words: &[Bytes]) {
    let how = word(words, 3);
    let how = if words.len() > 4 {
        None
    } else if how.is_empty() || is(how, "timeout") {
        Some(Interrupt::Timeout)
    } else {
        is(how, "error").then_some(Interrupt::Error)
    };
    let Some(how) = how else {
        return connection.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    };
    let Some(id) = parse_integer(word(words, 2)) else {
        return connection.error(&Error::NotInteger.to_string());
    };
    let card = u64::try_from(id).ok().and_then(|id| connection.shared.registry.find(id));
    let was_blocked = card.is_some_and(|card| card.unblock(how));
    connection.reply().integer(i64::from(was_blocked));
}
