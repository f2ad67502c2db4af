//! No space left on a node's disk.
//!
//! Owns: filling it, and making room. Does not own: when that comes. Invariant: a node that stops has said that its disk is full,
//! or the run fails; one that goes on is left alone; it is started again only after there is room.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::recovery::{provoke, recovered, start_somehow};
use super::whom::Whom;
use super::{Family, Fault, Field, Harm, Mode, ground};
use crate::failure::{Failure, Outcome};

const MODES: [(Mode, Whom); 2] =
    [("leader's disk full", Whom::Leader), ("follower's disk full", Whom::Follower)];
/// Counted in the books when a node stops, so that a report can tell it from one that went on.
const STOPPED: Mode = "a full disk stops a node, which says so";
/// The size of the writes that make a log ask for room.
const WRITE: usize = 256 * 1024;
/// What the system says of a full disk.
const FULL: &str = "No space left on device";

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Disk {
    full: Option<usize>,
    stopped: bool,
}

impl Disk {
    /// Makes room, and starts the node if it has stopped.
    pub(super) async fn undo(&mut self, field: &mut Field) -> Outcome {
        let Some(slot) = self.full.take() else { return Ok(()) };
        if let Some(ground) = field.grounds.get(&slot) {
            ground.clear()?;
        }
        if !self.stopped && field.group.pid(slot).is_some() {
            self.look(field, slot)?;
        }
        if std::mem::take(&mut self.stopped) { start_somehow(field, &[slot]).await } else { Ok(()) }
    }

    /// Notices that the node has stopped, which it must have done for the right reason.
    fn look(&mut self, field: &mut Field, slot: usize) -> Outcome {
        let why = field.group.stopped(slot)?;
        why.map_or(Ok(()), |why| self.judge(field, slot, &why))
    }

    fn judge(&mut self, field: &mut Field, slot: usize, why: &str) -> Outcome {
        self.stopped = true;
        if why.contains(FULL) {
            field.modes.record(&Fault::installed(Family::FullDisk, STOPPED, why));
            return Ok(());
        }
        Err(Failure::new(format!("n{slot} stopped on a full disk and says only: {why}")))
    }
}

impl Harm for Disk {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.iter().map(|(mode, _)| *mode).chain([STOPPED]).collect()
    }

    async fn prepare(&mut self, field: &mut Field) -> Outcome {
        ground::prepare(field).await
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let mode = field.turn(Family::FullDisk, &MODES.map(|(mode, _)| mode));
        let whom =
            MODES.iter().find(|(other, _)| *other == mode).map_or(Whom::Leader, |(_, whom)| *whom);
        let chosen = whom.choose(field).await;
        let slot = match chosen.map(|slots| slots.first().copied()) {
            Ok(Some(slot)) => slot,
            Ok(None) => return Fault::skipped(Family::FullDisk, mode, "no node"),
            Err(failure) => return Fault::skipped(Family::FullDisk, mode, failure.to_string()),
        };
        let Some(ground) = field.grounds.get(&slot) else {
            return Fault::skipped(
                Family::FullDisk,
                mode,
                format!("n{slot} has no disk of its own"),
            );
        };
        self.full = Some(slot);
        match ground.fill() {
            Ok(()) => Fault::installed(Family::FullDisk, mode, format!("n{slot}")),
            Err(failure) => Fault::indeterminate(Family::FullDisk, mode, failure.to_string()),
        }
    }

    async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        if let Some(slot) = self.full.filter(|_| !self.stopped)
            && let Some(why) = provoke(field, slot, WRITE, time).await?
        {
            self.judge(field, slot, &why)?;
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
        Ok(())
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        self.undo(field).await?;
        recovered(field).await
    }
}
