//! The power of a node's machine cut.
//!
//! Owns: who loses power, and their start after it. Does not own: when that comes. Invariant: a file system is cut off before its
//! node is killed, so that nothing which was not synced outlives it; it is mounted anew before the node is started.

use std::time::Duration;

use super::recovery::{names, recovered, start_somehow};
use super::whom::Whom;
use super::{Family, Fault, Field, Harm, Mode, ground};
use crate::disks;
use crate::failure::{Failure, Outcome};
use crate::process::wait_for;

const MODES: [(Mode, Whom); 4] = [
    ("leader without power", Whom::Leader),
    ("follower without power", Whom::Follower),
    ("minority without power", Whom::Minority),
    ("all without power", Whom::All),
];
/// How long a file system may be in use by what was just killed.
const FREE: Duration = Duration::from_secs(10);

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Power {
    dark: Vec<usize>,
}

impl Power {
    /// Mounts the disks and starts the nodes.
    pub(super) async fn undo(&mut self, field: &mut Field) -> Outcome {
        let dark = std::mem::take(&mut self.dark);
        for slot in &dark {
            let image = field.grounds.get(slot).and_then(ground::Ground::image);
            let image = image.ok_or_else(|| Failure::new(format!("n{slot} has no image")))?;
            wait_for("the file system to come back", FREE, || {
                let mounted = image.mount_again();
                async move { mounted }
            })
            .await?;
        }
        let gone: Vec<usize> =
            dark.into_iter().filter(|slot| field.group.pid(*slot).is_none()).collect();
        start_somehow(field, &gone).await
    }
}

impl Harm for Power {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.iter().map(|(mode, _)| *mode).collect()
    }

    async fn prepare(&mut self, field: &mut Field) -> Outcome {
        ground::prepare(field).await
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let mode = field.turn(Family::PowerCut, &MODES.map(|(mode, _)| mode));
        let whom =
            MODES.iter().find(|(other, _)| *other == mode).map_or(Whom::Leader, |(_, whom)| *whom);
        let slots = match whom.choose(field).await {
            Ok(slots) => slots,
            Err(failure) => return Fault::skipped(Family::PowerCut, mode, failure.to_string()),
        };
        let images: Vec<_> = slots
            .iter()
            .filter_map(|slot| field.grounds.get(slot).and_then(ground::Ground::image))
            .collect();
        if images.len() < slots.len() {
            return Fault::skipped(Family::PowerCut, mode, "a node has no image to be cut off");
        }
        let cut = disks::cut(&images);
        // A disk that is cut off takes nothing any more.
        let takes =
            images.iter().find(|it| std::fs::write(it.folder().join("alive"), b"1").is_ok());
        let takes = takes.map(|image| image.folder().display().to_string());
        self.dark.clone_from(&slots);
        let killed = field.group.kill_all(&slots).await;
        match (cut.and(killed), takes) {
            (Ok(()), None) => Fault::installed(Family::PowerCut, mode, names(&slots)),
            (Ok(()), Some(folder)) => {
                Fault::indeterminate(Family::PowerCut, mode, format!("{folder} still takes writes"))
            }
            (Err(failure), _) => Fault::indeterminate(Family::PowerCut, mode, failure.to_string()),
        }
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        self.undo(field).await?;
        recovered(field).await
    }
}
