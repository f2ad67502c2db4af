//! Nodes that join and leave.
//!
//! Owns: which nodes come and go while the others serve. Does not own: when that begins. Invariant: nobody leaves
//! where only three are, and there are never more than two beyond those of the field; a node goes only when every vote is with a
//! live node; after `heal` exactly the nodes of the field run.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::kill::wipe;
use super::recovery::{names, recovered, running, voted};
use super::whom::Whom;
use super::{Family, Fault, Field, Harm, Mode};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};

const JOIN: Mode = "fresh nodes join";
const LEAVE: Mode = "a node leaves";
const LEADER: Mode = "the leader leaves";
const REPLACE: Mode = "a dead node is replaced";
const MODES: [Mode; 4] = [JOIN, LEAVE, LEADER, REPLACE];
/// The fewest nodes.
const LEAST: usize = 3;
/// How many nodes there may be beyond those of the field.
const MORE: usize = 2;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Membership {
    changed: bool,
}

/// What may be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Join,
    Leave,
    Replace,
}

/// Draws what is done next with `live` nodes, of whom `most` may be.
fn step(chance: &mut Chance, live: usize, most: usize) -> Option<Step> {
    let mut steps = Vec::new();
    if live < most {
        steps.push(Step::Join);
    }
    if live > LEAST {
        steps.push(Step::Leave);
    }
    // The dead one and the fresh one count both, for a while.
    if live > LEAST && live < most {
        steps.push(Step::Replace);
    }
    chance.pick(&steps)
}

/// Returns the places that may be taken: those of the field, and two more.
fn places(field: &Field) -> Vec<usize> {
    let last = field.slots.iter().max().copied().unwrap_or(0);
    field.slots.iter().copied().chain(last + 1..=last + MORE).collect()
}

/// Starts `count` nodes that have never been here.
async fn join(field: &mut Field, count: usize) -> Outcome<Vec<usize>> {
    let free = places(field).into_iter().filter(|slot| field.group.pid(*slot).is_none());
    // Those beyond the field first, so that it is one of its own nodes that will have left.
    let mut free: Vec<usize> = free.collect();
    free.reverse();
    free.truncate(count);
    for slot in &free {
        wipe(field, *slot)?;
    }
    field.group.start(&free).await?;
    voted(field).await?;
    Ok(free)
}

/// Lets the node in `slot` leave, and sees that its vote is gone.
async fn leave(field: &mut Field, slot: usize) -> Outcome {
    let id = field.group.open().into_iter().find(|door| door.slot == slot).map(|door| door.id);
    field.group.leave(&[slot]).await?;
    wipe(field, slot)?;
    voted(field).await?;
    let view = field.group.look().await;
    match (view.leader(), id) {
        (Some(leader), Some(id)) if leader.voters.contains(&id) => {
            Err(Failure::new(format!("n{slot} has left and still votes")))
        }
        _ => Ok(()),
    }
}

/// Kills the node in `slot` for good and starts another in its stead.
async fn replace(field: &mut Field, slot: usize) -> Outcome<Vec<usize>> {
    field.group.kill(slot).await?;
    let joined = join(field, 1).await?;
    // The other may have taken its very place.
    if !joined.contains(&slot) {
        wipe(field, slot)?;
    }
    Ok(joined)
}

impl Membership {
    async fn begin(&mut self, field: &mut Field, mode: Mode) -> Outcome<String> {
        self.changed = true;
        if mode == JOIN {
            let count = 1 + field.chance.below(MORE);
            return Ok(names(&join(field, count).await?));
        }
        let whom = if mode == LEADER { Whom::Leader } else { Whom::Follower };
        // Three must be left.
        let joined = if field.slots.len() <= LEAST && mode != REPLACE {
            format!(" after {} came", names(&join(field, 1).await?))
        } else {
            String::new()
        };
        let slots = whom.choose(field).await?;
        let slot = slots.first().copied().ok_or_else(|| Failure::new("no node"))?;
        if mode == REPLACE {
            let fresh = replace(field, slot).await?;
            return Ok(format!("n{slot} by {}", names(&fresh)));
        }
        leave(field, slot).await?;
        Ok(format!("n{slot}{joined}"))
    }

    async fn go_on(field: &mut Field) -> Outcome {
        let all = places(field);
        let live = running(field, &all);
        match step(&mut field.chance, live.len(), all.len()) {
            None => Ok(()),
            Some(Step::Join) => join(field, 1).await.map(drop),
            Some(Step::Leave) => match field.chance.pick(&live) {
                Some(slot) => leave(field, slot).await,
                None => Ok(()),
            },
            Some(Step::Replace) => match field.chance.pick(&live) {
                Some(slot) => replace(field, slot).await.map(drop),
                None => Ok(()),
            },
        }
    }

    /// Brings back exactly the nodes of the field.
    pub(super) async fn undo(&mut self, field: &mut Field) -> Outcome {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let live = running(field, &places(field));
        let away: Vec<usize> =
            field.slots.iter().copied().filter(|slot| !live.contains(slot)).collect();
        for slot in &away {
            wipe(field, *slot)?;
        }
        if !away.is_empty() {
            field.group.start(&away).await?;
            voted(field).await?;
        }
        for slot in live {
            if !field.slots.contains(&slot) {
                leave(field, slot).await?;
            }
        }
        Ok(())
    }
}

impl Harm for Membership {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.to_vec()
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let mode = field.turn(Family::Membership, &MODES);
        match self.begin(field, mode).await {
            Ok(told) => Fault::installed(Family::Membership, mode, told),
            Err(failure) => Fault::indeterminate(Family::Membership, mode, failure.to_string()),
        }
    }

    async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        loop {
            let calm = field.chance.between(Duration::from_millis(300), Duration::from_secs(3));
            sleep(calm.min(until.saturating_duration_since(Instant::now()))).await;
            if Instant::now() >= until {
                return Ok(());
            }
            self.changed = true;
            Self::go_on(field).await?;
        }
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        self.undo(field).await?;
        recovered(field).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stay_between_three_and_two_more() {
        for nodes in 3..=7 {
            let (mut chance, mut live, mut seen) = (Chance::new(Some(5)), nodes, Vec::new());
            for _ in 0..5_000 {
                match step(&mut chance, live, nodes + MORE) {
                    Some(Step::Join) => live += 1,
                    Some(Step::Leave) => live -= 1,
                    Some(Step::Replace) => assert!(live > LEAST && live < nodes + MORE),
                    None => {}
                }
                assert!((LEAST..=nodes + MORE).contains(&live), "{live} of {nodes}");
                seen.push(live);
            }
            assert!(seen.contains(&LEAST) && seen.contains(&(nodes + MORE)), "{nodes}");
        }
    }
}
