//! PING, HELLO, AUTH, SELECT and what else concerns the connection itself.
//!
//! Owns their replies. CLIENT stands in `client.rs`. Invariant: a HELLO or AUTH that fails changes nothing but a name that
//! was set before the failure, as in Redis.

use bytes::Bytes;

use super::super::binding::choice;
use super::super::connection::Connection;
use super::super::server::REDIS_VERSION;
use super::super::transaction::selected;
use super::{ALWAYS, Row, SUBSCRIBER, UNQUEUED, is, word};
use crate::command::Error;
use crate::command::arguments::parse_integer;
use crate::resp::Version;

pub(super) const ROWS: &[Row] = &[
    Row::now("ping", SUBSCRIBER, ping),
    Row::now("echo", 0, echo),
    Row::now("hello", ALWAYS, hello),
    Row::now("auth", ALWAYS, auth),
    Row::now("select", 0, select),
    Row::now("quorate.bind", 0, bind),
    Row::now("quit", ALWAYS | SUBSCRIBER | UNQUEUED, quit),
    Row::now("reset", ALWAYS | SUBSCRIBER | UNQUEUED, reset),
    Row::now("readonly", 0, no_cluster),
    Row::now("readwrite", 0, no_cluster),
    Row::now("cluster", 0, no_cluster),
];

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

fn ping(connection: &mut Connection, words: &[Bytes]) {
    if words.len() > 2 {
        return connection.error(&Error::WrongArity("ping".to_owned()).to_string());
    }
    let is_subscriber = connection.is_subscriber_only();
    let mut reply = connection.reply();
    match words.get(1) {
        _ if is_subscriber => {
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(word(words, 1));
        }
        Some(text) => reply.bulk(text),
        None => reply.status("PONG"),
    }
}

fn echo(connection: &mut Connection, words: &[Bytes]) {
    connection.reply().bulk(word(words, 1));
}

/// ```text
/// HELLO [2 | 3 [AUTH user password] [SETNAME name]]
/// ```
/// Source: <https://redis.io/commands/hello>, Redis 7.2.
fn hello(connection: &mut Connection, words: &[Bytes]) {
    match apply_hello(connection, words) {
        Ok(()) => greet(connection),
        Err(text) => connection.error(&text),
    }
}

fn apply_hello(connection: &mut Connection, words: &[Bytes]) -> Result<(), String> {
    let version = match words.get(1).map(|word| parse_integer(word)) {
        None => connection.version,
        Some(Some(2)) => Version::Resp2,
        Some(Some(3)) => Version::Resp3,
        Some(Some(_)) => return Err("NOPROTO unsupported protocol version".to_owned()),
        Some(None) => {
            return Err("ERR Protocol version is not an integer or out of range".to_owned());
        }
    };
    let mut rest = words.get(2..).unwrap_or_default();
    while let Some((option, after)) = rest.split_first() {
        rest = match after {
            [user, password, after @ ..] if is(option, "auth") => {
                authenticate(connection, user, password)?;
                after
            }
            [name, after @ ..] if is(option, "setname") => {
                set_name(connection, name)?;
                after
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(format!("ERR Syntax error in HELLO option '{option}'"));
            }
        };
    }
    if !connection.is_authenticated {
        return Err(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
                .to_owned(),
        );
    }
    connection.version = version;
    Ok(())
}

fn greet(connection: &mut Connection) {
    let id = i64::try_from(connection.card.id).unwrap_or(i64::MAX);
    let mut reply = connection.reply();
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if reply.version() == Version::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(id);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}

fn auth(connection: &mut Connection, words: &[Bytes]) {
    let result = match words {
        [_, password] if connection.shared.password.is_some() => {
            authenticate(connection, b"default", password)
        }
        [_, _] => Err("ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                       configuration is correct?"
            .to_owned()),
        [_, user, password] => authenticate(connection, user, password),
        _ => Err(Error::Syntax.to_string()),
    };
    match result {
        Ok(()) => connection.ok(),
        Err(text) => connection.error(&text),
    }
}

/// Lets the client in. The user `default` takes any password when none is configured, as in Redis.
fn authenticate(connection: &mut Connection, user: &[u8], password: &[u8]) -> Result<(), String> {
    let own = connection.shared.password.as_ref();
    if user != b"default" || own.is_some_and(|own| !own.matches(password)) {
        return Err(WRONG_PASSWORD.to_owned());
    }
    connection.is_authenticated = true;
    Ok(())
}

/// Names the connection; an empty name takes its name away.
pub(super) fn set_name(connection: &Connection, name: &[u8]) -> Result<(), String> {
    let name = printable(name).ok_or_else(|| {
        "ERR Client names cannot contain spaces, newlines or special characters.".to_owned()
    })?;
    connection.card.change(|facts| facts.name = name);
    Ok(())
}

/// The text, if it is of visible ASCII characters only and of a length to show.
pub(super) fn printable(text: &[u8]) -> Option<String> {
    const SHOWN_MAX: usize = 1024;
    let is_fine = text.len() <= SHOWN_MAX && text.iter().all(u8::is_ascii_graphic);
    is_fine.then(|| String::from_utf8_lossy(text).into_owned())
}

fn select(connection: &mut Connection, words: &[Bytes]) {
    if parse_integer(word(words, 1)).is_none() {
        return connection.error(&Error::NotInteger.to_string());
    }
    match selected(words) {
        Some(database) => {
            connection.database = database;
            connection.ok();
        }
        None => connection.error(&Error::DatabaseOutOfRange.to_string()),
    }
}

/// ```text
/// QUORATE.BIND <ON | OFF> [CONNECTION | NODE]
/// ```
/// What the connection writes from now on goes when it ends, or with NODE when the node ends; OFF leaves it to the
/// configuration. What is written already stays as it is.
fn bind(connection: &mut Connection, words: &[Bytes]) {
    match choice(words) {
        Ok(chosen) => {
            connection.binder.chosen = chosen;
            connection.ok();
        }
        Err(error) => connection.error(&error.to_string()),
    }
}

fn quit(connection: &mut Connection, _: &[Bytes]) {
    connection.is_closing = true;
    connection.ok();
}

fn reset(connection: &mut Connection, _: &[Bytes]) {
    connection.reset();
    connection.reply().status("RESET");
}

fn no_cluster(connection: &mut Connection, _: &[Bytes]) {
    connection.error("ERR This instance has cluster support disabled");
}
