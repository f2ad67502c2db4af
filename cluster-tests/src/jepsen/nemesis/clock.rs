//! Wall clocks that jump, swing, or run at another rate.
//!
//! Owns: the clock of each node by `libfaketime`, and the proof by the node's own TIME that it moved. Does not own: when that
//! comes. Invariant: after `heal` each node's clock is the machine's again. Bumped and swinging clocks leave the timers alone; a
//! rate changes those too, and is another start of the node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use quorate::time::Clock as WallClock;
use tokio::time::{Instant, sleep};

use super::recovery::{names, recovered, start_somehow};
use super::whom::Whom;
use super::{Ability, Family, Fault, Field, Harm, Mode};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::process::wait_for;

const FAST: Mode = "fast clock on a follower";
const SLOW: Mode = "slow clock on a follower";
const MODES: [Mode; 6] = [
    "leader's clock bumped",
    "follower's clock bumped",
    "leader's clock swings",
    "follower's clock swings",
    FAST,
    SLOW,
];
/// How long a moved clock may take to be seen.
const SEEN: Duration = Duration::from_secs(3);
/// How exact TIME is read, beside the time that the question takes.
const EXACT: i64 = 2;
const DAY: i64 = 24 * 3_600_000;

/// What is on.
#[derive(Debug, Clone, PartialEq)]
enum On {
    /// These nodes are shifted.
    Bump(Vec<usize>),
    /// This node's clock goes there and back by so many milliseconds, this often.
    Swing { slot: usize, by: i64, every: Duration },
    /// This node's clocks run at another rate.
    Rate(usize),
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Clock {
    on: Option<On>,
    /// Set where other faults are on at the same time: then no node is started with another rate.
    pub(super) spares_starts: bool,
}

/// Draws by how many milliseconds a clock jumps: ±11 ms to ±288 s, each power of 1.5 alike, or a day.
fn jump(chance: &mut Chance) -> i64 {
    let power = 6 + i32::try_from(chance.below(27)).unwrap_or(0);
    let size = 1.5_f64.powi(power);
    #[expect(clippy::cast_possible_truncation, reason = "at most 1.5^31, which is 288 s")]
    let size = if power == 32 { DAY } else { size as i64 };
    if chance.below(2) == 0 { size } else { -size }
}

/// Writes milliseconds as the seconds that `libfaketime` reads.
fn seconds(millis: i64) -> String {
    let sign = if millis < 0 { '-' } else { '+' };
    let size = millis.unsigned_abs();
    format!("{sign}{}.{:03}", size / 1_000, size % 1_000)
}

fn file(field: &Field, slot: usize) -> PathBuf {
    field.group.folder().join(format!("n{slot}.clock"))
}

/// Shifts the clock of the node in `slot` to this many milliseconds beside the machine's.
fn shift(field: &Field, slot: usize, millis: i64) -> Outcome {
    let (file, next) = (file(field, slot), field.group.folder().join(format!("n{slot}.next")));
    // Renamed into place, so that nobody reads half of it.
    std::fs::write(&next, seconds(millis) + "\n")?;
    Ok(std::fs::rename(next, file)?)
}

/// The environment of a node whose wall clock follows its file.
fn steered(field: &Field, slot: usize) -> Outcome<BTreeMap<String, String>> {
    let library = field.abilities.of(Ability::Faketime).map_err(Failure::new)?.to_owned();
    let file = file(field, slot).display().to_string();
    let pairs = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", file),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("FAKETIME_DISABLE_SHM", "1".into()),
    ];
    Ok(pairs.map(|(name, value)| (name.to_owned(), value)).into())
}

fn now() -> i64 {
    i64::try_from(WallClock::system().now().as_millis()).unwrap_or(i64::MAX)
}

/// Reads how far the clock of the node in `slot` is beside this one, at least and at most, in milliseconds.
async fn offset(field: &Field, slot: usize) -> Outcome<(i64, i64)> {
    let doors = field.group.open();
    let door = doors.iter().find(|door| door.slot == slot);
    let mut client =
        door.ok_or_else(|| Failure::new(format!("n{slot} has no door")))?.open().await?;
    let asked = now();
    let reply = client.call(&[b"TIME"]).await?;
    let told = now();
    let number = |at: usize| {
        let text = reply.elements()?.get(at)?.bytes()?;
        std::str::from_utf8(text).ok()?.parse::<i64>().ok()
    };
    let (Some(whole), Some(micros)) = (number(0), number(1)) else {
        return Err(Failure::new(format!("TIME answers {reply}")));
    };
    let time = whole * 1_000 + micros / 1_000;
    Ok((time - told - EXACT, time - asked + EXACT))
}

/// Waits until the clock of the node in `slot` is seen `millis` beside this one.
async fn seen(field: &Field, slot: usize, millis: i64) -> Outcome {
    wait_for("the clock to be seen", SEEN, || async {
        let (least, most) = offset(field, slot).await?;
        // Too slow an answer cannot tell a moved clock from one that is not.
        let is_clear = millis == 0 || most - least < millis.abs();
        if is_clear && (least..=most).contains(&millis) {
            return Ok(());
        }
        Err(Failure::new(format!("n{slot} is between {least} and {most} ms off, not {millis}")))
    })
    .await
}

/// Waits until the clock of the node in `slot` is seen to run at about `percent` of this one's rate.
async fn seen_rate(field: &Field, slot: usize, percent: i64) -> Outcome {
    let (begun, first) = (now(), offset(field, slot).await?.0);
    sleep(Duration::from_secs(2)).await;
    let (ended, last) = (now(), offset(field, slot).await?.0);
    let is = (last - first) * 100 / (ended - begun).max(1) + 100;
    if (is - percent).abs() <= 12 {
        return Ok(());
    }
    Err(Failure::new(format!("n{slot} runs at {is} % of this clock, not at {percent} %")))
}

/// Lets the node in `slot` leave and starts it again with this environment.
async fn start_with(
    field: &mut Field,
    slot: usize,
    environment: BTreeMap<String, String>,
) -> Outcome {
    if field.group.pid(slot).is_some() {
        field.group.leave(&[slot]).await?;
    }
    field.group.own(slot).environment = environment;
    start_somehow(field, &[slot]).await
}

impl Clock {
    async fn bump(field: &mut Field, slots: &[usize]) -> Outcome<String> {
        let mut told = Vec::new();
        for slot in slots {
            let by = jump(&mut field.chance);
            shift(field, *slot, by)?;
            told.push((*slot, by));
        }
        for (slot, by) in &told {
            seen(field, *slot, *by).await?;
        }
        let words: Vec<String> =
            told.iter().map(|(slot, by)| format!("n{slot} by {} s", seconds(*by))).collect();
        Ok(words.join(", "))
    }

    async fn swing(field: &Field, slot: usize, by: i64, every: Duration) -> Outcome<String> {
        shift(field, slot, by)?;
        seen(field, slot, by).await?;
        Ok(format!("n{slot} by {} s every {} ms", seconds(by), every.as_millis()))
    }

    /// Starts a follower with another rate. It is a follower since a leader's deadlines go by its timers, at whatever rate they
    /// run: what it lets expire early nobody could tell.
    async fn rate(field: &mut Field, slot: usize, percent: i64) -> Outcome<String> {
        let mut environment = steered(field, slot)?;
        environment.remove("FAKETIME_TIMESTAMP_FILE");
        environment.remove("FAKETIME_DONT_FAKE_MONOTONIC");
        let rate = format!("+0 x{}.{:02}", percent / 100, percent % 100);
        environment.insert("FAKETIME".into(), rate);
        start_with(field, slot, environment).await?;
        seen_rate(field, slot, percent).await?;
        recovered(field).await?;
        Ok(format!("n{slot} at {percent} %"))
    }

    /// Sets every clock right.
    pub(super) async fn undo(&mut self, field: &mut Field) -> Outcome {
        match self.on.take() {
            None => Ok(()),
            Some(On::Rate(slot)) => {
                shift(field, slot, 0)?;
                let environment = steered(field, slot)?;
                start_with(field, slot, environment).await?;
                seen(field, slot, 0).await
            }
            Some(On::Bump(slots)) => {
                slots.iter().try_for_each(|slot| shift(field, *slot, 0))?;
                for slot in slots.iter().filter(|slot| field.group.pid(**slot).is_some()) {
                    seen(field, *slot, 0).await?;
                }
                Ok(())
            }
            Some(On::Swing { slot, .. }) => {
                shift(field, slot, 0)?;
                if field.group.pid(slot).is_some() { seen(field, slot, 0).await } else { Ok(()) }
            }
        }
    }

    async fn begin(&mut self, field: &mut Field, mode: Mode, slots: Vec<usize>) -> Outcome<String> {
        let Some(slot) = slots.first().copied() else { return Err(Failure::new("no node")) };
        if mode == FAST || mode == SLOW {
            self.on = Some(On::Rate(slot));
            return Self::rate(field, slot, if mode == FAST { 150 } else { 70 }).await;
        }
        if mode.ends_with("swings") {
            let by = jump(&mut field.chance);
            let every = field.chance.between(Duration::from_millis(4), Duration::from_secs(1));
            self.on = Some(On::Swing { slot, by, every });
            return Self::swing(field, slot, by, every).await;
        }
        self.on = Some(On::Bump(slots.clone()));
        Self::bump(field, &slots).await
    }
}

impl Harm for Clock {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.to_vec()
    }

    async fn prepare(&mut self, field: &mut Field) -> Outcome {
        for slot in field.slots.clone() {
            shift(field, slot, 0)?;
            field.group.own(slot).environment = steered(field, slot)?;
        }
        Ok(())
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let last = if self.spares_starts { MODES.len() - 2 } else { MODES.len() };
        let mut mode = field.turn(Family::Clock, MODES.get(..last).unwrap_or(&MODES));
        while self.spares_starts && (mode == FAST || mode == SLOW) {
            mode = field.turn(Family::Clock, MODES.get(..last).unwrap_or(&MODES));
        }
        let whom = if mode.starts_with("leader") { Whom::Leader } else { Whom::Follower };
        let mut slots = match whom.choose(field).await {
            Ok(slots) => slots,
            Err(failure) => return Fault::skipped(Family::Clock, mode, failure.to_string()),
        };
        // Every other time somebody else's clock is wrong too, and differently.
        if mode.ends_with("bumped") && field.chance.below(2) == 0 {
            let other = field.draw(1, &slots);
            slots.extend(super::recovery::running(field, &other));
        }
        match self.begin(field, mode, slots.clone()).await {
            Ok(told) => Fault::installed(Family::Clock, mode, told),
            Err(failure) => {
                Fault::indeterminate(Family::Clock, mode, format!("{}: {failure}", names(&slots)))
            }
        }
    }

    async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        if let Some(On::Swing { slot, by, every }) = self.on.clone() {
            let mut is_off = true;
            while Instant::now() + every < until {
                sleep(every).await;
                is_off = !is_off;
                shift(field, slot, if is_off { by } else { 0 })?;
            }
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
        Ok(())
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
    fn jumps_reach_from_milliseconds_to_a_day_both_ways() {
        let mut chance = Chance::new(Some(1));
        let drawn: Vec<i64> = (0..2_000).map(|_| jump(&mut chance)).collect();
        assert!(drawn.iter().all(|by| (11..=288_000).contains(&by.abs()) || by.abs() == DAY));
        for wanted in [11, -11, 287_626, -287_626, DAY, -DAY] {
            assert!(drawn.contains(&wanted), "{wanted}");
        }
    }

    #[test]
    fn milliseconds_are_written_as_seconds() {
        assert_eq!(seconds(0), "+0.000");
        assert_eq!(seconds(-11), "-0.011");
        assert_eq!(seconds(287_626), "+287.626");
        assert_eq!(seconds(-DAY), "-86400.000");
    }
}
