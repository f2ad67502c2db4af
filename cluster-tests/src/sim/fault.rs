//! What can go wrong in a simulated cluster, and where.
//!
//! Owns the names. Does not do anything: `world` does. Invariant: each kind has a name that a scenario can use, and a family
//! under which it is counted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing to and from the targets.
    Isolate,
    /// Two halves that do not hear each other.
    Halves,
    /// A third that hears nobody else.
    MinorityThird,
    /// Each hears a majority, and no two the same one.
    MajoritiesRing,
    /// Two halves that one node in the middle hears both.
    Bridge,
    /// Datagrams go one way only.
    OneWay,
    /// Cut off and back, again and again.
    Flapping,
    /// Datagrams are lost.
    Loss,
    /// They take long.
    Delay,
    /// They arrive twice.
    Duplication,
    /// They overtake each other.
    Reordering,
    /// They arrive changed.
    Corruption,
    /// Long ones vanish.
    LongOnesVanish,
    /// The process is stopped and continued.
    Pause,
    /// The process is killed; what the system had of its writes stays.
    Kill,
    /// The machine loses its power.
    PowerCut,
    /// The machine comes back without its data.
    Wipe,
    /// The machine comes back under another address.
    Move,
    /// Syncs fail.
    SyncError,
    /// The disk fails after some more writes.
    DiskError,
    /// The disk is full.
    DiskFull,
    /// A bit on the disk of a stopped machine flips.
    BitFlip,
    /// The wall clock is off.
    Skew,
    /// The wall clock jumps to and fro.
    Strobe,
    /// The monotonic clock is fast or slow.
    Rate,
    /// The node leaves as planned, and another comes.
    Leave,
    /// Every node leaves and comes back, one after the other.
    Rolling,
    /// A node comes on a machine that had none, and goes.
    Join,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::Isolate,
        Self::Halves,
        Self::MinorityThird,
        Self::MajoritiesRing,
        Self::Bridge,
        Self::OneWay,
        Self::Flapping,
        Self::Loss,
        Self::Delay,
        Self::Duplication,
        Self::Reordering,
        Self::Corruption,
        Self::LongOnesVanish,
        Self::Pause,
        Self::Kill,
        Self::PowerCut,
        Self::Wipe,
        Self::Move,
        Self::SyncError,
        Self::DiskError,
        Self::DiskFull,
        Self::BitFlip,
        Self::Skew,
        Self::Strobe,
        Self::Rate,
        Self::Leave,
        Self::Rolling,
        Self::Join,
    ];

    /// Tells whether it has no meaning without a disk.
    #[must_use]
    pub const fn needs_disk(self) -> bool {
        matches!(
            self,
            Self::PowerCut
                | Self::Wipe
                | Self::SyncError
                | Self::DiskError
                | Self::DiskFull
                | Self::BitFlip
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).ok();
        f.write_str(name.as_ref().and_then(|name| name.as_str()).unwrap_or("?"))
    }
}

/// Whom a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The node that leads, or any if none does.
    Leader,
    /// A node that votes and does not lead.
    Follower,
    /// A node that does not vote, or any if there is none.
    Observer,
    /// Any node.
    One,
    /// This machine.
    Machine(usize),
    /// As many as the cluster can do without.
    Minority,
    /// As many as it cannot do without.
    Majority,
    /// All of them.
    All,
    /// All that vote. Chance does not draw it.
    Voters,
}

impl Target {
    /// What chance draws from, with how often each is drawn.
    pub const DRAWN: [(usize, Self); 7] = [
        (35, Self::Leader),
        (15, Self::Follower),
        (5, Self::Observer),
        (20, Self::One),
        (10, Self::Minority),
        (8, Self::Majority),
        (7, Self::All),
    ];
}
