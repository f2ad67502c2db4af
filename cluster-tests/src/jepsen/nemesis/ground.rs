//! Disks of their own for nodes: what a power cut or a full disk is done to.
//!
//! Owns: one small file system for each node, made before its first start. Does not own: the faults. Invariant: what was made
//! goes with the field, after the nodes.

use std::path::Path;

use super::{Ability, Field};
use crate::disks::{self, Image, Small};
use crate::failure::Outcome;

/// The size of each: far more than a node needs in a run, so that only a fault fills it.
const BYTES: u64 = 768 * 1024 * 1024;

/// The file system that one node keeps its state on.
#[derive(Debug)]
pub(super) enum Ground {
    /// One in a file, which can lose its power.
    Image(Image),
    /// One in memory, where this machine mounts no files.
    Small(Small),
}

impl Ground {
    /// Returns where it is mounted.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Image(image) => image.folder(),
            Self::Small(small) => small.folder(),
        }
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// When there is room left all the same.
    pub(super) fn fill(&self) -> Outcome {
        disks::fill(self.folder())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn clear(&self) -> Outcome {
        disks::clear(self.folder())
    }

    /// Returns the image, if it is one.
    pub(super) const fn image(&self) -> Option<&Image> {
        match self {
            Self::Image(image) => Some(image),
            Self::Small(_) => None,
        }
    }
}

/// Gives each node of the field a disk of its own, unless it has one. Before their first start.
///
/// # Errors
/// When the system refuses.
pub(super) async fn prepare(field: &mut Field) -> Outcome {
    let images = [Ability::Root, Ability::Loop].iter().all(|it| field.abilities.of(*it).is_ok());
    for slot in field.slots.clone() {
        if field.grounds.contains_key(&slot) {
            continue;
        }
        let ground = if images {
            Ground::Image(Image::make(BYTES).await?)
        } else {
            Ground::Small(Small::mount(&BYTES.to_string())?)
        };
        field.group.own(slot).data_folder = Some(ground.folder().join("data"));
        field.grounds.insert(slot, ground);
    }
    Ok(())
}
