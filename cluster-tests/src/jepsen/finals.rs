//! The last phase: all faults are over, and every node must do everything.
//!
//! Owns: the last reads of all live keys at every node, and a last message through every node to every subscriber. Does not own: the
//! verdict on what they saw. Invariant: one operation that fails here fails the phase.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::book::{Book, operation};
use super::team::{Team, judge, perform};
use super::wire::Wire;
use super::workload::Workload;
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::history::{Call, Outcome as Known};
use crate::process::wait_for;

/// How long an operation may take here: on a machine that is busy with other runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections to a node share the reads.
const CONNECTIONS: usize = 8;
/// How long the last messages may take to every subscriber.
const HEARD_DEADLINE: Duration = Duration::from_secs(20);
/// After how long one that not everybody has heard is followed by another: a link that breaks takes along what was written to it,
/// and it breaks up to some seconds after the cut that broke it has healed. That its loss is told is judged with all else.
const HEARD_AGAIN: Duration = Duration::from_secs(1);

/// Reads every live key at every node.
///
/// # Errors
/// When one read is not answered.
pub(super) async fn read_all(book: &Arc<Book>, doors: &[Door]) -> Outcome {
    let keys: Vec<String> = book.live_keys().into_iter().collect();
    let share = keys.len().div_ceil(CONNECTIONS).max(1);
    let mut readers = JoinSet::new();
    for door in doors {
        for part in keys.chunks(share) {
            readers.spawn(read(Arc::clone(book), door.clone(), part.to_vec()));
        }
    }
    all(readers).await
}

async fn all(mut tasks: JoinSet<Outcome>) -> Outcome {
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(())
}

async fn read(book: Arc<Book>, door: Door, keys: Vec<String>) -> Outcome {
    let mut wire = wait_for("a connection", PATIENCE, || Wire::open(&door)).await?;
    let client = book.client();
    for key in keys {
        let workload = Workload::of(&key);
        if let Some((workload, call)) = workload.and_then(|own| Some((own, own.whole()?))) {
            one(&book, &mut wire, workload, client, &key, call).await?;
        }
    }
    Ok(())
}

async fn one(
    book: &Book,
    wire: &mut Wire,
    workload: Workload,
    client: u32,
    key: &str,
    call: Call,
) -> Outcome {
    let invoked = book.now();
    let told = perform(wire, client, key, &call, PATIENCE).await;
    let times = (invoked, book.now());
    let (outcome, _) = judge(book, key, &call, told);
    let failed = match &outcome {
        Known::Ok(_) => None,
        Known::Failed(text) | Known::Unknown(text) => {
            Some(Failure::new(format!("{call:?} of {key} at n{}: {text}", wire.slot)))
        }
    };
    book.operation(workload, operation(client, wire.slot, key, call, times, outcome));
    failed.map_or(Ok(()), Err)
}

/// Publishes to every channel in use through every node, until one message of each is heard by every subscriber. Subscribers
/// of nodes that were away may still be coming back, and are waited for first.
///
/// # Errors
/// When one does not hear one.
pub(super) async fn publish_all(book: &Arc<Book>, doors: &[Door], teams: &[Arc<Team>]) -> Outcome {
    let channels: Vec<String> =
        teams.iter().flat_map(|team| team.keys().borrow().clone()).collect();
    let nodes: BTreeSet<u8> =
        doors.iter().filter_map(|door| u8::try_from(door.slot).ok()).collect();
    wait_for("a subscriber at every node", HEARD_DEADLINE, || async {
        let lacks = |channel: &&String| book.subscribed(channel) != nodes;
        let lacking = channels.iter().find(lacks);
        lacking.map_or(Ok(()), |channel| {
            let there = book.subscribed(channel);
            Err(Failure::new(format!("{channel}: {there:?} of {nodes:?}")))
        })
    })
    .await?;
    let mut publishers = JoinSet::new();
    for door in doors {
        publishers.spawn(publish(Arc::clone(book), door.clone(), channels.clone(), nodes.clone()));
    }
    all(publishers).await?;
    teams.iter().for_each(|team| team.close());
    wait_for("the end of all subscriptions", HEARD_DEADLINE, || async {
        let left = channels.iter().find(|channel| !book.subscribed(channel).is_empty());
        left.map_or(Ok(()), |channel| Err(Failure::new(format!("{channel} is listened to"))))
    })
    .await
}

async fn publish(
    book: Arc<Book>,
    door: Door,
    channels: Vec<String>,
    nodes: BTreeSet<u8>,
) -> Outcome {
    let mut wire = wait_for("a connection", PATIENCE, || Wire::open(&door)).await?;
    let client = book.client();
    for channel in &channels {
        let deadline = Instant::now() + HEARD_DEADLINE;
        loop {
            let number = book.values.fresh();
            let call = Call::Publish { number };
            one(&book, &mut wire, Workload::PubSub, client, channel, call).await?;
            let heard = wait_for("a last message", HEARD_AGAIN, || async {
                let heard = book.heard(channel, client, number);
                let text = format!("{channel} through n{}: heard at {heard:?} only", door.slot);
                if heard.is_superset(&nodes) { Ok(()) } else { Err(Failure::new(text)) }
            })
            .await;
            match heard {
                Ok(()) => break,
                Err(failure) if Instant::now() > deadline => return Err(failure),
                Err(_) => {}
            }
        }
    }
    Ok(())
}
