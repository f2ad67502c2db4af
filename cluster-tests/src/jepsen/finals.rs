//! The last phase: all faults are over, and every node must do everything.
//!
//! Owns: the last reads of all live keys at every node, and a last message through every node to every subscriber. Does not own: the
//! verdict on what they saw. Invariant: one operation that fails here fails the phase.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

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
/// How long the last messages may take to every subscriber.
const HEARD_DEADLINE: Duration = Duration::from_secs(20);

/// Reads every live key at every node.
///
/// # Errors
/// When one read is not answered.
pub(super) async fn read_all(book: &Book, doors: &[Door]) -> Outcome {
    for door in doors {
        let opened = || Wire::open(door);
        let mut wire = wait_for("a connection", PATIENCE, opened).await?;
        let client = book.client();
        for key in book.live_keys() {
            let Some((workload, call)) =
                Workload::of(&key).and_then(|workload| Some((workload, workload.whole()?)))
            else {
                continue;
            };
            one(book, &mut wire, workload, client, &key, call).await?;
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

/// Publishes to every channel in use through every node, and waits until every subscriber has heard it. Subscribers of nodes
/// that were away may still be coming back, so that it is published again until all are there.
///
/// # Errors
/// When one does not hear it.
pub(super) async fn publish_all(book: &Book, doors: &[Door], team: &Team) -> Outcome {
    let channels = team.keys().borrow().clone();
    let nodes: BTreeSet<u8> =
        doors.iter().filter_map(|door| u8::try_from(door.slot).ok()).collect();
    wait_for("a subscriber at every node", HEARD_DEADLINE, || async {
        for channel in &channels {
            let there = book.subscribed(channel);
            if there != nodes {
                return Err(Failure::new(format!("{channel}: {there:?} of {nodes:?}")));
            }
        }
        Ok(())
    })
    .await?;
    for door in doors {
        let mut wire = Wire::open(door).await?;
        let client = book.client();
        for channel in &channels {
            let number = book.values.fresh();
            let call = Call::Publish { number };
            one(book, &mut wire, Workload::PubSub, client, channel, call).await?;
            let deadline = Instant::now() + HEARD_DEADLINE;
            loop {
                let heard = book.heard(channel, client, number);
                if heard.is_superset(&nodes) {
                    break;
                }
                if Instant::now() > deadline {
                    let text = format!("{channel} through n{}: heard at {heard:?} only", door.slot);
                    return Err(Failure::new(text));
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
    team.close();
    wait_for("the end of all subscriptions", HEARD_DEADLINE, || async {
        let left = channels.iter().find(|channel| !book.subscribed(channel).is_empty());
        left.map_or(Ok(()), |channel| Err(Failure::new(format!("{channel} is listened to"))))
    })
    .await
}
