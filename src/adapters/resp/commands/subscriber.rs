//! QUORATE.SUBSCRIBER: how this connection listens, beyond what Redis knows.
//!
//! Owns its words and replies. What the choices mean stands in `pubsub`. Invariant: a request that is refused changes nothing.

use bytes::Bytes;

use super::super::connection::Connection;
use super::super::listening::Choices;
use super::{Row, SUBSCRIBER, is};
use crate::command::Error;
use crate::pubsub::{Counters, Policy, QueueReport};

pub(super) const ROWS: &[Row] = &[Row::now("quorate.subscriber", SUBSCRIBER, subscriber)];

const POLICIES: [(&str, Policy); 3] = [
    ("disconnect", Policy::Disconnect),
    ("oldest", Policy::DropOldest),
    ("latest", Policy::LatestOnly),
];

/// ```text
/// QUORATE.SUBSCRIBER [POLICY disconnect | oldest | latest] [LOSSES on | off] [CAUSAL on | off]
/// ```
/// POLICY is for what the connection subscribes to from now on, the others for all that it gets from now on. Without
/// arguments it tells what is chosen, what waits and what was lost.
fn subscriber(connection: &mut Connection, words: &[Bytes]) {
    let named = words.get(1..).unwrap_or_default();
    if named.is_empty() {
        return tell(connection);
    }
    match parse(connection.listening.choices, named) {
        Some(choices) => {
            connection.listening.choose(choices);
            connection.ok();
        }
        None => connection.error(&Error::Syntax.to_string()),
    }
}

fn parse(mut choices: Choices, named: &[Bytes]) -> Option<Choices> {
    let (pairs, odd) = named.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    for [name, value] in pairs {
        if is(name, "policy") {
            choices.policy = POLICIES.iter().find(|(word, _)| is(value, word))?.1;
        } else if is(name, "losses") {
            choices.has_losses = switch(value)?;
        } else if is(name, "causal") {
            choices.is_causal = switch(value)?;
        } else {
            return None;
        }
    }
    Some(choices)
}

fn switch(word: &[u8]) -> Option<bool> {
    if is(word, "on") { Some(true) } else { is(word, "off").then_some(false) }
}

fn tell(connection: &mut Connection) {
    let Choices { policy, has_losses, is_causal } = connection.listening.choices;
    let policy = POLICIES.iter().find(|(_, known)| *known == policy).map_or("", |(word, _)| word);
    let word = |is_on: bool| if is_on { "on" } else { "off" };
    let QueueReport { queued, queued_bytes, counters } = connection.listening.report();
    let Counters { lost_slow, lost_link, lost_uncounted, replaced, .. } = counters;
    let numbers = [
        ("queued", queued),
        ("queued-bytes", queued_bytes),
        ("lost-slow", lost_slow),
        ("lost-link", lost_link),
        ("lost-uncounted", lost_uncounted),
        ("replaced", replaced),
    ];
    let mut reply = connection.reply();
    reply.map(numbers.len().saturating_add(3));
    for (name, value) in
        [("policy", policy), ("losses", word(has_losses)), ("causal", word(is_causal))]
    {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    for (name, value) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
}
