//! What happens to bytes on a bad disk.
//!
//! Owns: the kinds of damage and the files that they are done to. Does not own: what a node must make of it. Knows nothing of
//! the format: the end of a file is its last byte that is not zero, because files are made larger ahead of time.
//! Invariant: damage changes the bytes, or there is nothing to damage.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::failure::Outcome;

/// A kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// One bit is flipped some bytes before the end of what was written: in the last record, or the one before.
    FlipBeforeEnd(usize),
    /// One bit is flipped in the middle of what was written.
    FlipInside,
    /// The file ends some bytes before the end of what was written.
    Truncate(usize),
    /// The last 512-byte sector with content reads as zeros.
    ZeroSector,
    /// The file is empty.
    Empty,
}

/// Every kind that is tried on each file.
pub(super) const KINDS: [Damage; 8] = [
    Damage::FlipBeforeEnd(1),
    Damage::FlipBeforeEnd(10),
    Damage::FlipBeforeEnd(100),
    Damage::FlipInside,
    Damage::Truncate(1),
    Damage::Truncate(60),
    Damage::ZeroSector,
    Damage::Empty,
];

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FlipBeforeEnd(back) => write!(f, "a bit flipped {back} bytes before the end"),
            Self::FlipInside => f.write_str("a bit flipped in the middle"),
            Self::Truncate(bytes) => write!(f, "cut {bytes} bytes before the end"),
            Self::ZeroSector => f.write_str("the last sector zeroed"),
            Self::Empty => f.write_str("emptied"),
        }
    }
}

impl Damage {
    /// Does it to `bytes`; tells whether that changed anything.
    #[must_use]
    pub(super) fn strike(self, bytes: &mut Vec<u8>) -> bool {
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return false };
        let end = last + 1;
        match self {
            Self::FlipBeforeEnd(back) => end.checked_sub(back).is_some_and(|at| flip(bytes, at)),
            Self::FlipInside => flip(bytes, end / 2),
            Self::Truncate(count) => {
                let length = end.checked_sub(count);
                length.inspect(|length| bytes.truncate(*length)).is_some()
            }
            Self::ZeroSector => {
                let sector = last / 512 * 512;
                if let Some(bytes) = bytes.get_mut(sector..end) {
                    bytes.fill(0);
                }
                true
            }
            Self::Empty => {
                bytes.clear();
                true
            }
        }
    }
}

fn flip(bytes: &mut [u8], at: usize) -> bool {
    bytes.get_mut(at).map(|byte| *byte ^= 0x10).is_some()
}

/// Lists the files below `folder` that hold something, in the order of their paths.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.metadata()?.len() > 0 {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(damage: Damage, bytes: &[u8]) -> (bool, Vec<u8>) {
        let mut bytes = bytes.to_vec();
        (damage.strike(&mut bytes), bytes)
    }

    #[test]
    fn the_end_is_before_the_zeros() {
        let mut long = vec![7; 600];
        long.extend([0; 400]);
        let (_, flipped) = struck(Damage::FlipBeforeEnd(1), &long);
        assert_eq!((flipped[598], flipped[599], flipped[600]), (7, 7 ^ 0x10, 0));
        assert_eq!(struck(Damage::FlipInside, &long).1[300], 7 ^ 0x10);
        assert_eq!(struck(Damage::Truncate(60), &long).1.len(), 540);
        let (_, zeroed) = struck(Damage::ZeroSector, &long);
        assert_eq!((zeroed[511], zeroed[512], zeroed.len()), (7, 0, 1000));
        assert!(struck(Damage::Empty, &long).1.is_empty());
    }

    #[test]
    fn what_is_too_short_is_left_alone() {
        for kind in KINDS {
            assert_eq!(struck(kind, &[0, 0]), (false, vec![0, 0]), "{kind}");
        }
        assert_eq!(struck(Damage::FlipBeforeEnd(10), &[1; 5]), (false, vec![1; 5]));
        assert_eq!(struck(Damage::Truncate(60), &[1; 5]), (false, vec![1; 5]));
    }
}
