//! CONFIG: the few parameters of Redis that clients ask for.
//!
//! Owns their names and what they read as. Changes nothing but the keyspace notifications of this node, until it stops: the
//! configuration is a file. Invariant: SET confirms only what holds then, so that a client never believes something that
//! is not so.

use bytes::Bytes;

use super::super::connection::Connection;
use super::super::server::Shared;
use super::{Row, help};
use crate::command::Error;
use crate::command::entry::DATABASES;
use crate::command::glob;
use crate::keyspace::Flags;
use crate::pubsub::QueueLimits;

pub(super) const ROWS: &[Row] = &[
    Row::now("config|get", 0, get),
    Row::now("config|set", 0, set),
    Row::now("config|resetstat", 0, reset_stats),
    Row::now("config|help", 0, config_help),
];

/// A parameter: its name, and what it is.
type Parameter = (&'static str, fn(&Shared) -> String);

/// The one parameter that SET changes.
const NOTIFY: &str = "notify-keyspace-events";

const PARAMETERS: &[Parameter] = &[
    ("appendfsync", |_| "no".to_owned()),
    ("appendonly", |_| "no".to_owned()),
    ("bind", |shared| shared.address.ip().to_string()),
    ("client-output-buffer-limit", output_limits),
    ("cluster-enabled", |_| "no".to_owned()),
    ("databases", |_| DATABASES.to_string()),
    ("maxclients", |shared| shared.config.clients_max.to_string()),
    ("maxmemory", |_| "0".to_owned()),
    ("maxmemory-policy", |_| "noeviction".to_owned()),
    (NOTIFY, |shared| shared.backend.notify_flags().to_string()),
    ("port", |shared| shared.address.port().to_string()),
    ("proto-max-bulk-len", |shared| shared.config.bulk_max.as_u64().to_string()),
    ("replica-read-only", |_| "yes".to_owned()),
    ("save", |_| String::new()),
    ("slave-read-only", |_| "yes".to_owned()),
    ("timeout", |shared| shared.config.timeout_idle.as_secs().to_string()),
];

/// Limits by class of clients: hard bytes, soft bytes, seconds above soft; 0 is none. There are no replicas.
fn output_limits(shared: &Shared) -> String {
    let QueueLimits { hard, soft, soft_time } = shared.config.queue_limits();
    format!(
        "normal {} 0 0 slave 0 0 0 pubsub {} {} {}",
        shared.config.output_max.as_u64(),
        hard.as_u64(),
        soft.as_u64(),
        soft_time.as_secs()
    )
}

fn get(connection: &mut Connection, words: &[Bytes]) {
    let patterns: Vec<Vec<u8>> =
        words.iter().skip(2).map(|pattern| pattern.to_ascii_lowercase()).collect();
    let found: Vec<(&str, String)> = PARAMETERS
        .iter()
        .filter(|(name, _)| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes())))
        .map(|(name, read)| (*name, read(&connection.shared)))
        .collect();
    let mut reply = connection.reply();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

fn set(connection: &mut Connection, words: &[Bytes]) {
    let (pairs, odd) = words.get(2..).unwrap_or_default().as_chunks::<2>();
    if !odd.is_empty() {
        return connection.error(&Error::WrongArity("config|set".to_owned()).to_string());
    }
    let mut flags = None;
    for [name, value] in pairs {
        let shown = String::from_utf8_lossy(name);
        let name = shown.to_ascii_lowercase();
        let Some((_, read)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
            return connection.error(&format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"
            ));
        };
        if name == NOTIFY {
            match String::from_utf8_lossy(value).parse::<Flags>() {
                Ok(parsed) => flags = Some(parsed),
                Err(error) => {
                    return connection.error(&format!(
                        "ERR CONFIG SET failed (possibly related to argument '{shown}') - {error}"
                    ));
                }
            }
        } else if read(&connection.shared).as_bytes() != &value[..] {
            return connection.error(&format!(
                "ERR CONFIG SET failed (possibly related to argument '{shown}') - can't set immutable config"
            ));
        }
    }
    if let Some(flags) = flags {
        connection.shared.backend.set_notify_flags(flags);
    }
    connection.ok();
}

fn reset_stats(connection: &mut Connection, _: &[Bytes]) {
    connection.shared.stats.reset();
    connection.ok();
}

fn config_help(connection: &mut Connection, _: &[Bytes]) {
    help(
        connection,
        &[
            "CONFIG <subcommand> [<arg> ...]. Subcommands are:",
            "GET <pattern> [<pattern> ...]",
            "    The parameters that match, with their values.",
            "SET <parameter> <value> [...]",
            "    Changes notify-keyspace-events on this node, and confirms what is so already; anything else is set in the configuration file.",
            "RESETSTAT",
            "    Sets the counters of INFO to zero.",
        ],
    );
}
