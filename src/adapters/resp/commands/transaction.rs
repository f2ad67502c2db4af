//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Owns what they answer. Queueing stands in `admit.rs`, the split of a queue in `transaction.rs`. Invariant: all commands
//! on the keyspace of one EXEC take effect in one step, before the door's own commands among them run, and every reply
//! stands in the place of its command.

use bytes::Bytes;

use super::super::connection::Connection;
use super::super::reply;
use super::super::transaction::{Slot, Transaction};
use super::{Row, UNQUEUED};
use crate::command::{Reply, Watched};
use crate::node;

pub(super) const ROWS: &[Row] = &[
    Row::now("multi", UNQUEUED, multi),
    Row::later("exec", UNQUEUED, |connection, _| Box::pin(exec(connection))),
    Row::now("discard", UNQUEUED, discard),
    Row::later("watch", UNQUEUED, |connection, words| Box::pin(watch(connection, words))),
    Row::now("unwatch", 0, unwatch),
];

/// How many keys one connection may watch.
const WATCHED_MAX: usize = 65_536;

fn multi(connection: &mut Connection, _: &[Bytes]) {
    if connection.transaction.is_some() {
        return connection.error("ERR MULTI calls can not be nested");
    }
    connection.transaction = Some(Transaction::default());
    connection.ok();
}

fn discard(connection: &mut Connection, _: &[Bytes]) {
    if connection.transaction.take().is_none() {
        return connection.error("ERR DISCARD without MULTI");
    }
    connection.watched.clear();
    connection.ok();
}

fn unwatch(connection: &mut Connection, _: &[Bytes]) {
    connection.watched.clear();
    connection.ok();
}

async fn watch(connection: &mut Connection, words: &[Bytes]) {
    if connection.transaction.is_some() {
        return connection.error("ERR WATCH inside MULTI is not allowed");
    }
    let keys = words.get(1..).unwrap_or_default();
    let count = connection.watched.len().saturating_add(keys.len());
    if count > WATCHED_MAX {
        return connection
            .error(&format!("ERR {count} watched keys exceed limit of {WATCHED_MAX}"));
    }
    let revision = match connection.shared.backend.revision().await {
        Ok(revision) => revision,
        Err(error) => return connection.node_error(&error),
    };
    let database = connection.database;
    for key in keys {
        let key = key.clone();
        connection.watched.push(Watched { database, key, revision });
    }
    connection.ok();
}

async fn exec(connection: &mut Connection) {
    let Some(transaction) = connection.transaction.take() else {
        return connection.error("ERR EXEC without MULTI");
    };
    let watched = std::mem::take(&mut connection.watched);
    if transaction.is_refused() {
        return connection.error("EXECABORT Transaction discarded because of previous errors.");
    }
    let (slots, request) = transaction.split(watched, connection.database, &connection.binder);
    let mut replies = Vec::new().into_iter();
    if let Some(request) = request {
        let answer = connection.shared.backend.execute(vec![request]).await.pop();
        match answer.unwrap_or(Err(node::Error::Stopped)) {
            Ok(Reply::Array(items)) => replies = items.into_iter(),
            // A watched key has changed, or the transaction was refused whole.
            Ok(other) => return reply::write(&other, &mut connection.reply()),
            Err(error) => return connection.node_error(&error),
        }
    }
    // Pushes wait until the door has written the array or left it out.
    connection.reply().array(slots.len());
    connection.is_in_exec = true;
    for slot in slots {
        match slot {
            Slot::Node => {
                let reply = replies.next().unwrap_or(Reply::Nil);
                reply::write(&reply, &mut connection.reply());
            }
            Slot::Refused(error) => connection.error(&error.to_string()),
            Slot::Door(row, words) => row.run(connection, &words).await,
        }
    }
}
