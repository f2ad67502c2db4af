//! The families of faults by their names.
//!
//! Owns: the list, its texts, and what each family needs of the machine. Does not own: what they do. Invariant: every
//! family is in [`Family::ALL`], but `none`, and `mixed-alive`, which `mixed` contains; its text reads back as itself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Ability;
use crate::failure::Failure;

/// One family of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// No faults at all: the comparison.
    None,
    /// The leader alone on its side.
    IsolatedLeader,
    /// Two sides that chance draws.
    Halves,
    /// A third of the nodes, a minority, on one side.
    MinorityThird,
    /// Every node hears a majority, no two of them the same.
    MajoritiesRing,
    /// Two sides, and one node that hears both.
    Bridge,
    /// Cuts in one direction only.
    OneWay,
    /// A partition that comes and goes several times a second.
    Flapping,
    /// Loss, delay, duplication, corruption, reordering, an MTU hole, a slow link.
    Packets,
    /// Processes stopped and continued.
    Pause,
    /// Processes killed and started again.
    Kill,
    /// The wall clock bumped, strobed, running at another rate.
    Clock,
    /// The machine's power cut: what was not synced is gone.
    PowerCut,
    /// No space left on a node's disk.
    FullDisk,
    /// Syncs that fail.
    SyncError,
    /// Nodes that join and leave.
    Membership,
    /// Faults of all families, one after another and together.
    Mixed,
    /// The same without those that end processes, so that each shows what it keeps over a long time.
    MixedAlive,
}

impl Family {
    /// All but [`Family::None`] and [`Family::MixedAlive`].
    pub const ALL: [Self; 16] = [
        Self::IsolatedLeader,
        Self::Halves,
        Self::MinorityThird,
        Self::MajoritiesRing,
        Self::Bridge,
        Self::OneWay,
        Self::Flapping,
        Self::Packets,
        Self::Pause,
        Self::Kill,
        Self::Clock,
        Self::PowerCut,
        Self::FullDisk,
        Self::SyncError,
        Self::Membership,
        Self::Mixed,
    ];

    /// Returns its name, as the command line and the histories have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::IsolatedLeader => "isolated-leader",
            Self::Halves => "halves",
            Self::MinorityThird => "minority-third",
            Self::MajoritiesRing => "majorities-ring",
            Self::Bridge => "bridge",
            Self::OneWay => "one-way",
            Self::Flapping => "flapping",
            Self::Packets => "packets",
            Self::Pause => "pause",
            Self::Kill => "kill",
            Self::Clock => "clock",
            Self::PowerCut => "power-cut",
            Self::FullDisk => "full-disk",
            Self::SyncError => "sync-error",
            Self::Membership => "membership",
            Self::Mixed => "mixed",
            Self::MixedAlive => "mixed-alive",
        }
    }

    /// Returns what it cannot do without. A mix leaves out what the machine cannot do, and says so.
    #[must_use]
    pub const fn needs(self) -> &'static [Ability] {
        match self {
            Self::IsolatedLeader
            | Self::Halves
            | Self::MinorityThird
            | Self::MajoritiesRing
            | Self::Bridge
            | Self::OneWay
            | Self::Flapping => &[Ability::Network],
            Self::Packets => &[Ability::Network, Ability::Tun],
            Self::Clock => &[Ability::Faketime],
            Self::PowerCut => &[Ability::Root, Ability::Loop],
            Self::SyncError => &[Ability::Strace],
            // A small tmpfs, for which a mount namespace is enough.
            Self::FullDisk => &[Ability::Network],
            Self::None
            | Self::Pause
            | Self::Kill
            | Self::Membership
            | Self::Mixed
            | Self::MixedAlive => &[],
        }
    }

    /// Returns how long a fault of it lasts, at least and at most: a mix holds until several of its families have moved.
    #[must_use]
    pub const fn lasts(self) -> (Duration, Duration) {
        let is_mix = matches!(self, Self::Mixed | Self::MixedAlive);
        let (least, most) = if is_mix { (20, 40) } else { (2, 6) };
        (Duration::from_secs(least), Duration::from_secs(most))
    }

    /// Tells whether its nodes must keep their state on disk for the faults to mean anything.
    #[must_use]
    pub const fn needs_disk(self) -> bool {
        matches!(self, Self::Kill | Self::PowerCut | Self::FullDisk | Self::SyncError | Self::Mixed)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let all = || Self::ALL.iter().chain(&[Self::MixedAlive, Self::None]);
        all().find(|family| family.name() == text).copied().ok_or_else(|| {
            let names: Vec<&str> = all().map(|family| family.name()).collect();
            Failure::new(format!("no family '{text}'; there are {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_themselves() {
        for family in Family::ALL.into_iter().chain([Family::MixedAlive, Family::None]) {
            assert_eq!(family.name().parse(), Ok(family));
        }
        assert!("".parse::<Family>().is_err());
    }
}
