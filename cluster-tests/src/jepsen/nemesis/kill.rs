//! Processes killed and started again.
//!
//! Owns: who is killed, the order of their starts, whose data is wiped. Does not own: when that comes. Invariant: nothing is lost by
//! design: more than a minority is killed only where the nodes keep their state on disk, and data is wiped of one node only, while
//! all others have theirs; the next fault waits until that node has been replaced.

use super::recovery::{names, recovered, start_somehow};
use super::whom::Whom;
use super::{Family, Fault, Field, Harm, Mode};
use crate::failure::Outcome;

const WIPED: Mode = "killed and wiped";
const MODES: [(Mode, Whom); 6] = [
    ("leader killed", Whom::Leader),
    ("follower killed", Whom::Follower),
    ("minority killed", Whom::Minority),
    ("majority killed", Whom::Majority),
    ("all killed", Whom::All),
    (WIPED, Whom::Follower),
];

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Kill {
    dead: Vec<usize>,
    wipes: bool,
    /// Set where other faults are on at the same time: then no data is wiped.
    pub(super) spares_data: bool,
}

impl Kill {
    /// Starts everybody who was killed.
    pub(super) async fn undo(&mut self, field: &mut Field) -> Outcome {
        let dead = std::mem::take(&mut self.dead);
        if std::mem::take(&mut self.wipes) {
            for slot in &dead {
                wipe(field, *slot)?;
            }
        }
        start_somehow(field, &dead).await
    }
}

/// Takes away what the node in `slot`, which does not run, has on disk.
///
/// # Errors
/// When the system refuses.
pub(super) fn wipe(field: &Field, slot: usize) -> Outcome {
    let folder = field.group.data_folder(slot);
    if folder.exists() { Ok(std::fs::remove_dir_all(folder)?) } else { Ok(()) }
}

impl Harm for Kill {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.iter().map(|(mode, _)| *mode).collect()
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let modes = MODES.map(|(mode, _)| mode);
        let last = if self.spares_data { modes.len() - 1 } else { modes.len() };
        let mut mode = field.turn(Family::Kill, modes.get(..last).unwrap_or(&modes));
        while self.spares_data && mode == WIPED {
            mode = field.turn(Family::Kill, modes.get(..last).unwrap_or(&modes));
        }
        let whom =
            MODES.iter().find(|(other, _)| *other == mode).map_or(Whom::Leader, |(_, whom)| *whom);
        let slots = match whom.choose(field).await {
            Ok(slots) => slots,
            Err(failure) => return Fault::skipped(Family::Kill, mode, failure.to_string()),
        };
        if slots.len() > field.minority() && !field.group.is_durable() {
            return Fault::skipped(Family::Kill, mode, "the nodes keep nothing on disk");
        }
        match field.group.kill_all(&slots).await {
            Ok(()) => {
                self.wipes = mode == WIPED;
                self.dead.clone_from(&slots);
                Fault::installed(Family::Kill, mode, names(&slots))
            }
            Err(failure) => {
                self.dead = slots.into_iter().filter(|it| field.group.pid(*it).is_none()).collect();
                Fault::indeterminate(Family::Kill, mode, failure.to_string())
            }
        }
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        self.undo(field).await?;
        recovered(field).await
    }
}
