//! The proof that a cluster is whole again, and small questions that several families ask of it.
//!
//! Owns: waiting until every node serves and votes are where they belong, writes that provoke a fault, process states. Does not
//! own: any fault. Invariant: nothing here changes a key that a workload uses.

use std::time::Duration;

use tokio::time::Instant;

use super::Field;
use crate::door::{Effect, attempt};
use crate::failure::{Failure, Outcome};
use crate::process::wait_for;

/// How long every node may take to serve again once a fault is over; a dead voter is replaced only after ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key of the nemesis's own writes.
const KEY: &[u8] = b"nemesis:poke";

/// Waits until a write at every open door is answered, and as many live nodes vote as belong there.
///
/// # Errors
/// When it does not come to that within a minute, or a process has ended by itself.
pub(super) async fn recovered(field: &mut Field) -> Outcome {
    for slot in field.slots.clone() {
        if field.group.pid(slot).is_none() {
            return Err(Failure::new(format!("n{slot} was not started again")));
        }
    }
    let mut result = Ok(());
    for door in field.group.open() {
        let what = format!("a write at n{}", door.slot);
        result = wait_for(&what, PATIENCE, || async {
            match attempt(&mut door.open().await?, &[b"SET", KEY, b"1"]).await {
                Effect::Done(_) => Ok(()),
                other @ (Effect::Refused(_) | Effect::Unknown(_) | Effect::Cut) => {
                    Err(Failure::new(format!("{other:?}")))
                }
            }
        })
        .await;
        if result.is_err() {
            break;
        }
    }
    // A process that has ended is the better reason.
    field.group.all_run()?;
    result?;
    voted(field).await
}

/// How many of `voters` may yet die when `live` of them live.
const fn bears(voters: usize, live: usize) -> usize {
    live.saturating_sub(voters / 2 + 1)
}

/// Tells whether a dead voter may stay: every live node votes already, and the largest odd number of them alone would bear no
/// more deaths.
const fn may_stay(voters: usize, live: usize, nodes: usize) -> bool {
    let odd = live.saturating_sub((live + 1) % 2);
    live == nodes && live > 0 && bears(voters, live) >= bears(odd, odd)
}

/// Waits until at least three, or all of fewer, live nodes vote, and no dead one that could be replaced or is in the way.
///
/// # Errors
/// When it does not come to that within a minute.
pub(super) async fn voted(field: &Field) -> Outcome {
    let least = field.slots.len().min(3);
    wait_for("votes of live nodes only", PATIENCE, || async {
        let doors = field.group.open();
        let view = field.group.look().await;
        match view.voters(&doors) {
            Some((all, live))
                if (all == live || may_stay(all, live, doors.len()))
                    && live >= least
                    && view.ready() == doors.len() =>
            {
                Ok(())
            }
            _ => Err(Failure::new(format!("{view:?}"))),
        }
    })
    .await
}

/// Makes the log grow by about `bytes` through whichever node answers, as far as one does within `patience`.
pub(super) async fn poke(field: &Field, bytes: usize, patience: Duration) {
    let value = vec![b'p'; bytes];
    let poke = async {
        for door in field.group.open() {
            if let Ok(mut client) = door.open().await
                && matches!(attempt(&mut client, &[b"SET", KEY, &value]).await, Effect::Done(_))
            {
                return;
            }
        }
    };
    // Whether it was answered does not matter: it stands in the log of whom the fault shall meet, or nobody can be met.
    drop(tokio::time::timeout(patience, poke).await);
}

/// Writes until the node in `slot` stops by itself, and returns the reason, if it does within `patience`.
///
/// # Errors
/// When it ends without a reason.
pub(super) async fn provoke(
    field: &mut Field,
    slot: usize,
    bytes: usize,
    patience: Duration,
) -> Outcome<Option<String>> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if field.group.pid(slot).is_none() {
            return Ok(None);
        }
        if let Some(why) = field.group.stopped(slot)? {
            return Ok(Some(why));
        }
        poke(field, bytes, Duration::from_millis(500)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(None)
}

/// Returns the places of those of `slots` whose nodes run.
pub(super) fn running(field: &Field, slots: &[usize]) -> Vec<usize> {
    slots.iter().copied().filter(|slot| field.group.pid(*slot).is_some()).collect()
}

/// Returns the letter of the state of the process in `slot`, as the system tells it: `T` if it is stopped.
pub(super) fn state(field: &Field, slot: usize) -> Option<char> {
    state_of(field.group.pid(slot)?)
}

/// Returns the same of the process with this number.
pub(super) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
}

/// Writes `slots` as `n1 n2`.
pub(super) fn names(slots: &[usize]) -> String {
    let names: Vec<String> = slots.iter().map(|slot| format!("n{slot}")).collect();
    names.join(" ")
}

/// Puts `items` into an order that chance gives.
pub(super) fn shuffled(field: &mut Field, items: &[usize]) -> Vec<usize> {
    let mut left = items.to_vec();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.swap_remove(field.chance.below(left.len())));
    }
    order
}

/// Starts the nodes in `slots` in a random order, at once or with pauses between them, and waits until each serves.
///
/// # Errors
/// When one does not in time.
pub(super) async fn start_somehow(field: &mut Field, slots: &[usize]) -> Outcome {
    let order = shuffled(field, slots);
    let most = field.chance.pick(&[0, 50, 500, 1500]).unwrap_or(0);
    let mut pauses = Vec::new();
    for _ in &order {
        pauses.push(field.chance.between(Duration::ZERO, Duration::from_millis(most)));
    }
    field.group.start_apart(&order, &pauses).await
}

#[cfg(test)]
mod tests {
    use super::may_stay;

    #[test]
    fn a_dead_voter_may_stay_only_where_dropping_it_gains_nothing() {
        assert!(may_stay(5, 4, 4), "three of three bear one death, as four of five do");
        assert!(!may_stay(5, 4, 5), "a live one could take its place");
        assert!(!may_stay(5, 3, 3), "three alone would bear one, these bear none");
        assert!(!may_stay(5, 0, 0));
    }
}
