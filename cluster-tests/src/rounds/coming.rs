//! Nodes that come and go while rounds are done.
//!
//! Owns: the schedule of joins, planned leaves and kills. Does not own: the rounds. Invariant: a voter is killed only when others
//! had time to vote in the place of the one before, so that what is shown is the messages and not a lost majority.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::board::Board;
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::Group;

/// The configuration that lets votes move soon.
pub(super) const CONFIG: &str = "[cluster]\nvoter_replace_after = \"3s\"\n";
/// Between two events.
const PAUSE: (Duration, Duration) = (Duration::from_millis(700), Duration::from_millis(2_500));
/// Between two kills of voters.
const VOTERS: Duration = Duration::from_secs(9);
/// By when one must have joined and one been killed.
const BOTH_DEADLINE: Duration = Duration::from_secs(60);
/// How many nodes more or fewer than at first there may be.
const MORE: usize = 2;

/// What was done to the fleet.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) joins: usize,
    pub(super) leaves: usize,
    pub(super) kills: usize,
    /// The ids of nodes that were killed or have left.
    pub(super) gone: BTreeSet<String>,
}

impl Events {
    /// Tells whether one has joined and one was killed.
    const fn has_both(&self) -> bool {
        self.joins > 0 && self.kills > 0
    }

    fn too_few(&self) -> Failure {
        let Self { joins, kills, .. } = self;
        let seconds = BOTH_DEADLINE.as_secs();
        Failure::new(format!("{joins} joined and {kills} were killed in {seconds} s"))
    }
}

/// Lets nodes come and go until the board says that all is over; they number about `nodes`. The rounds are not wanted any more when
/// one has joined, one was killed, and a pause has gone by.
///
/// # Errors
/// When that has not happened by a deadline, or a node does what it should not.
pub(super) async fn run(
    group: &mut Group,
    nodes: usize,
    board: &Board,
    mut chance: Chance,
) -> Outcome<Events> {
    let mut events = Events::default();
    let begun = Instant::now();
    let mut next_slot = nodes + 1;
    let mut next_voter = Instant::now() + VOTERS / 3;
    while !board.is_over() {
        sleep(chance.between(PAUSE.0, PAUSE.1)).await;
        group.all_run()?;
        if events.has_both() {
            board.want_no_more();
        } else if begun.elapsed() > BOTH_DEADLINE {
            return Err(events.too_few());
        }
        let live = group.slots().len();
        let view = group.look().await;
        let voters: Vec<String> =
            view.leader().map(|leader| leader.voters.clone()).unwrap_or_default();
        let doors = group.open();
        let idle: Vec<usize> =
            doors.iter().filter(|door| !voters.contains(&door.id)).map(|door| door.slot).collect();
        let voting: Vec<usize> =
            doors.iter().map(|door| door.slot).filter(|slot| !idle.contains(slot)).collect();
        let is_voter_due = Instant::now() > next_voter && live > 3 && voters.len() == 3;
        // One joins, one is killed, and then chance decides: a short run has seen both.
        let is_wanted = live <= nodes.saturating_sub(MORE) || chance.below(2) == 0;
        let grow =
            live < nodes + MORE && if events.has_both() { is_wanted } else { events.joins == 0 };
        let text = if grow {
            // Now and then two at once, who must find each other, too.
            let count = 1 + usize::from(chance.below(3) == 0);
            let slots: Vec<usize> = (next_slot..next_slot + count).collect();
            next_slot += count;
            group.start(&slots).await?;
            events.joins += count;
            format!("started {slots:?}")
        } else if live <= 3 {
            continue;
        } else {
            let of = if is_voter_due { voting } else { idle };
            let Some(slot) = chance.pick(&of) else { continue };
            events
                .gone
                .extend(doors.iter().find(|door| door.slot == slot).map(|door| door.id.clone()));
            if is_voter_due {
                next_voter = Instant::now() + VOTERS;
            }
            let role = if is_voter_due { " (a voter)" } else { "" };
            if events.kills == 0 || chance.below(3) > 0 {
                group.kill(slot).await?;
                events.kills += 1;
                format!("killed n{slot}{role}")
            } else {
                group.leave(&[slot]).await?;
                events.leaves += 1;
                format!("n{slot} left{role}")
            }
        };
        figures::note(format!(
            "{:6.1} s  {:2} live  {text}",
            begun.elapsed().as_secs_f64(),
            group.slots().len()
        ));
    }
    Ok(events)
}
