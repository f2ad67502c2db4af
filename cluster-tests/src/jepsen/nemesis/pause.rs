//! Processes stopped and continued.
//!
//! Owns: who is stopped, and for how long: from less than an election timeout to several session timeouts. Does not own: when
//! that comes. Invariant: whoever was stopped is continued by `heal`, however it ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::recovery::{names, recovered, state};
use super::whom::Whom;
use super::{Family, Fault, Field, Harm, Mode};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::process::{Signal, wait_for};

const MODES: [(Mode, Whom); 5] = [
    ("leader paused", Whom::Leader),
    ("follower paused", Whom::Follower),
    ("minority paused", Whom::Minority),
    ("majority paused", Whom::Majority),
    ("all paused", Whom::All),
];
/// How long a signal may take to be seen.
const SEEN: Duration = Duration::from_secs(2);
/// Lengths in milliseconds, beside the election timeout (200 to 400 ms) and the session timeout (2 s): below both, around the
/// first, between them, above both.
const LENGTHS: [(u64, u64); 4] = [(20, 180), (200, 900), (1_000, 1_900), (2_500, 9_000)];

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Pause {
    stopped: Vec<usize>,
}

/// Draws how long a pause lasts, and how long the time until the next one.
fn lengths(chance: &mut Chance) -> (Duration, Duration) {
    let (least, most) = chance.pick(&LENGTHS).unwrap_or((20, 180));
    let length = chance.between(Duration::from_millis(least), Duration::from_millis(most));
    (length, chance.between(Duration::from_millis(10), Duration::from_millis(1_500)))
}

/// Tells by the state of a process whether it stands still; one that has ended, and whose end nobody has asked for yet, never will.
fn stands_still(state: Option<char>) -> Outcome<bool> {
    match state {
        Some('T') => Ok(true),
        Some('Z') => Ok(false),
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

impl Pause {
    /// Stops the chosen ones, sees that each stands still, and returns who does. Another fault, a full disk say, may end one at that moment;
    /// whether one did is asked when all is healed.
    async fn stop(&mut self, field: &mut Field, slots: &[usize]) -> Outcome<Vec<usize>> {
        for slot in slots {
            self.stopped.push(*slot);
            field.group.signal(*slot, Signal::Stop)?;
        }
        let mut still = Vec::new();
        for slot in slots {
            let stands = wait_for("the process to stop", SEEN, || {
                let stands = stands_still(state(field, *slot));
                async move { stands }
            });
            if stands.await.map_err(|failure| failure.during(format!("n{slot}")))? {
                still.push(*slot);
            }
        }
        Ok(still)
    }

    /// Continues everybody who was stopped and still lives.
    pub(super) async fn undo(&mut self, field: &mut Field) -> Outcome {
        let mut result = Ok(());
        for slot in std::mem::take(&mut self.stopped) {
            // One that another fault has ended meanwhile is not continued.
            if field.group.pid(slot).is_none() {
                continue;
            }
            result = field.group.signal(slot, Signal::Cont).and(result);
            let seen = wait_for("the process to go on", SEEN, || {
                let state = state(field, slot);
                async move { if state == Some('T') { Err(Failure::new("stopped")) } else { Ok(()) } }
            });
            result = seen.await.map_err(|failure| failure.during(format!("n{slot}"))).and(result);
        }
        result
    }
}

impl Harm for Pause {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.iter().map(|(mode, _)| *mode).collect()
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let mode = field.turn(Family::Pause, &MODES.map(|(mode, _)| mode));
        let whom =
            MODES.iter().find(|(other, _)| *other == mode).map_or(Whom::All, |(_, whom)| *whom);
        let slots = match whom.choose(field).await {
            Ok(slots) => slots,
            Err(failure) => return Fault::skipped(Family::Pause, mode, failure.to_string()),
        };
        match self.stop(field, &slots).await {
            Ok(still) if still.is_empty() => {
                Fault::skipped(Family::Pause, mode, format!("{} ended before", names(&slots)))
            }
            Ok(still) => Fault::installed(Family::Pause, mode, names(&still)),
            Err(failure) => Fault::indeterminate(Family::Pause, mode, failure.to_string()),
        }
    }

    async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        let slots = self.stopped.clone();
        loop {
            let (length, calm) = lengths(&mut field.chance);
            sleep(length.min(until.saturating_duration_since(Instant::now()))).await;
            self.undo(field).await?;
            sleep(calm.min(until.saturating_duration_since(Instant::now()))).await;
            if Instant::now() >= until {
                return Ok(());
            }
            let live = super::recovery::running(field, &slots);
            self.stop(field, &live).await?;
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
    use crate::jepsen::nemesis::recovery::state_of;
    use crate::process::Process;

    #[tokio::test]
    async fn a_process_that_ends_by_itself_is_not_waited_for_to_stand_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let start = |name: &str, program: &str, arguments: &[&str]| {
            let mut command = std::process::Command::new(program);
            command.args(arguments);
            Process::start(name, command, folder.path()).expect("it starts")
        };
        let ended = start("ended", "true", &[]);
        let mut lives = start("lives", "sleep", &["60"]);
        lives.signal(Signal::Stop).expect("it is there");
        for (process, stands) in [(&ended, false), (&lives, true)] {
            let seen = wait_for("it to stop or to end", SEEN, || async {
                stands_still(state_of(process.pid()))
            });
            assert_eq!(seen.await.expect("either comes"), stands, "{}", process.pid());
        }
    }

    #[test]
    fn pauses_are_below_and_above_each_timeout() {
        let mut chance = Chance::new(Some(3));
        let drawn: Vec<u128> = (0..200).map(|_| lengths(&mut chance).0.as_millis()).collect();
        for (least, most) in [(20, 199), (200, 400), (401, 1_999), (2_001, 4_000), (4_001, 9_000)] {
            assert!(drawn.iter().any(|length| (least..=most).contains(length)), "{least}..{most}");
        }
    }
}
