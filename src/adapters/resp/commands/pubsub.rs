//! SUBSCRIBE, PUBLISH, PUBSUB, QUORATE.REQUEST and their kin.
//!
//! Owns their replies and counts, over the whole cluster. Does not deliver: `drive.rs` writes messages between replies.
//! Invariant: a message that came before an unsubscription stands before its confirmation.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::super::connection::Connection;
use super::{Row, Run, SUBSCRIBER, help, word};
use crate::pubsub::Kind;

pub(super) const ROWS: &[Row] = &[
    Row::later("subscribe", SUBSCRIBER, |connection, words| {
        Box::pin(subscribe(connection, Kind::Channel, words))
    }),
    Row::later("psubscribe", SUBSCRIBER, |connection, words| {
        Box::pin(subscribe(connection, Kind::Pattern, words))
    }),
    Row::later("ssubscribe", SUBSCRIBER, |connection, words| {
        Box::pin(ssubscribe(connection, words))
    }),
    Row::now("unsubscribe", SUBSCRIBER, |connection, words| {
        unsubscribe(connection, Kind::Channel, words);
    }),
    Row::now("punsubscribe", SUBSCRIBER, |connection, words| {
        unsubscribe(connection, Kind::Pattern, words);
    }),
    Row::now("sunsubscribe", SUBSCRIBER, |connection, words| {
        unsubscribe(connection, Kind::Sharded, words);
    }),
    Row { name: "publish", rights: 0, run: Run::Publish(Kind::Channel) },
    Row { name: "spublish", rights: 0, run: Run::Publish(Kind::Sharded) },
    Row { name: "quorate.request", rights: 0, run: Run::Request },
    Row::later("pubsub|channels", 0, |connection, words| {
        channels(connection, Kind::Channel, words)
    }),
    Row::later("pubsub|shardchannels", 0, |connection, words| {
        channels(connection, Kind::Sharded, words)
    }),
    Row::later("pubsub|numsub", 0, |connection, words| counts(connection, Kind::Channel, words)),
    Row::later("pubsub|shardnumsub", 0, |connection, words| {
        counts(connection, Kind::Sharded, words)
    }),
    Row::later("pubsub|numpat", 0, |connection, _| Box::pin(patterns(connection))),
    Row::now("pubsub|help", 0, pubsub_help),
];

/// The words of the confirmations.
const fn names(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Channel => ("subscribe", "unsubscribe"),
        Kind::Pattern => ("psubscribe", "punsubscribe"),
        Kind::Sharded => ("ssubscribe", "sunsubscribe"),
    }
}

/// Writes one confirmation.
fn confirm(connection: &mut Connection, what: &str, kind: Kind, name: Option<&[u8]>) {
    let count = connection.listening.shown(kind);
    let mut reply = connection.reply();
    reply.push(3);
    reply.bulk(what.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.nil(),
    }
    reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
}

async fn subscribe(connection: &mut Connection, kind: Kind, words: &[Bytes]) {
    let named = words.get(1..).unwrap_or_default();
    let shared = &connection.shared;
    let policy = connection.listening.choices.policy;
    let subscriber = connection.listening.open(&*shared.backend, shared.config.queue_limits());
    // All of them at once, so that what has to be told to other nodes takes one round trip.
    let begin = |name: &Bytes| subscriber.subscribe_with(kind, name, policy);
    let begun: Vec<_> = named.iter().map(begin).collect();
    for (name, begun) in named.iter().zip(begun) {
        match begun {
            Ok(subscription) => {
                let is_new = subscription.in_effect().await;
                *connection.listening.count(kind) += usize::from(is_new);
                confirm(connection, names(kind).0, kind, Some(name));
            }
            Err(error) => connection.error(&format!("ERR {error}")),
        }
    }
}

/// Redis refuses it inside a transaction, and not the others.
async fn ssubscribe(connection: &mut Connection, words: &[Bytes]) {
    if connection.is_in_exec {
        return connection.error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
    }
    subscribe(connection, Kind::Sharded, words).await;
}

fn unsubscribe(connection: &mut Connection, kind: Kind, words: &[Bytes]) {
    let what = names(kind).1;
    let subscriber = connection.listening.subscriber.as_ref();
    let named = words.get(1..).unwrap_or_default();
    let all = match (named, subscriber) {
        ([], Some(subscriber)) => subscriber.subscriptions(kind),
        (named, _) => named.to_vec(),
    };
    if all.is_empty() {
        return confirm(connection, what, kind, None);
    }
    for name in all {
        if let Some(subscriber) = &connection.listening.subscriber
            && subscriber.unsubscribe(kind, &name)
        {
            let count = connection.listening.count(kind);
            *count = count.saturating_sub(1);
            push_before_confirmation(connection);
        }
        confirm(connection, what, kind, Some(&name));
    }
}

/// Writes what came before an unsubscription. An overflow is noticed when the next message is asked for.
fn push_before_confirmation(connection: &mut Connection) {
    let end = connection.push_all();
    if let Err(error) = end {
        tracing::debug!(%error, "resp: subscriber over while unsubscribing");
    }
}

/// Publishes and waits for the count: inside EXEC, where the next reply must follow.
pub(super) async fn publish(connection: &mut Connection, kind: Kind, words: &[Bytes]) {
    let [_, channel, payload, ..] = words else { return };
    match connection.shared.backend.publish(kind, channel, payload.clone()) {
        Ok(count) => {
            let count = count.await;
            connection.reply().integer(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Err(error) => connection.error(&format!("ERR {error}")),
    }
}

fn channels<'a>(
    connection: &'a mut Connection,
    kind: Kind,
    words: &'a [Bytes],
) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        if words.len() > 3 {
            let sub = String::from_utf8_lossy(word(words, 1)).into_owned();
            return connection.error(&format!(
                "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try PUBSUB HELP."
            ));
        }
        let found = connection.shared.backend.channels(kind, words.get(2).cloned()).await;
        let size = found.iter().map(Bytes::len).fold(0, usize::saturating_add) as u64;
        let limit = connection.shared.config.output_max;
        if size > limit.as_u64() {
            let count = found.len();
            return connection.error(&format!(
                "ERR names of {count} channels take {size} bytes, which exceeds resp.output_max of {limit}"
            ));
        }
        let mut reply = connection.reply();
        reply.array(found.len());
        for name in found {
            reply.bulk(&name);
        }
    })
}

fn counts<'a>(connection: &'a mut Connection, kind: Kind, words: &'a [Bytes]) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let asked = words.get(2..).unwrap_or_default();
        let counts = if asked.is_empty() {
            Vec::new()
        } else {
            connection.shared.backend.subscriber_counts(kind, asked.to_vec()).await
        };
        let mut reply = connection.reply();
        reply.array(asked.len().saturating_mul(2));
        for (at, name) in asked.iter().enumerate() {
            let count = counts.get(at).copied().unwrap_or_default();
            reply.bulk(name);
            reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
        }
    })
}

async fn patterns(connection: &mut Connection) {
    let count = connection.shared.backend.pattern_count().await;
    connection.reply().integer(i64::try_from(count).unwrap_or(i64::MAX));
}

fn pubsub_help(connection: &mut Connection, _: &[Bytes]) {
    help(
        connection,
        &[
            "PUBSUB <subcommand> [<arg> ...]. Subcommands are:",
            "CHANNELS [<pattern>], SHARDCHANNELS [<pattern>]",
            "    The channels with a subscriber anywhere in the cluster.",
            "NUMSUB [<channel> ...], SHARDNUMSUB [<channel> ...]",
            "    How many subscribers each has, patterns left out.",
            "NUMPAT",
            "    How many different patterns are subscribed to.",
        ],
    );
}
