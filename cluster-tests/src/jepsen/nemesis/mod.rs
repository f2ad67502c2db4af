//! Does harm to a cluster of real processes, and undoes it.
//!
//! Owns: the families of faults, what one of them may touch, and whether a fault was really there. Does not own: when faults
//! come and how long they stay, the load, the verdict on the data. Invariant: a fault counts as installed only after it was
//! seen to be there; whatever is not known to be there is indeterminate, and counts for nothing.

mod abilities;
mod clock;
mod disk;
mod family;
mod flapping;
mod ground;
mod kill;
mod membership;
mod mixed;
mod modes;
mod packets;
mod partition;
mod pause;
mod power;
mod recovery;
mod sync;
mod whom;

use std::collections::BTreeMap;
use std::time::Duration;

pub use abilities::{Abilities, Ability, faketime};
pub use family::Family;
pub use modes::{Count, Fault, Installed, Mode, Modes};

use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::process::{Group, wait_for};

/// How long the cluster may take to say who leads before a fault that needs a leader is left out.
const LEADER_DEADLINE: Duration = Duration::from_secs(10);

/// What a nemesis may touch.
#[derive(Debug)]
pub struct Field {
    /// The nodes, and through them the network.
    pub group: Group,
    /// The places of the nodes that belong there when no fault is on.
    pub slots: Vec<usize>,
    /// All chance of the faults.
    pub chance: Chance,
    /// What this machine can do.
    pub abilities: Abilities,
    /// What has happened so far.
    pub modes: Modes,
    /// The modes of each family that have not had their turn.
    turns: BTreeMap<Family, Vec<Mode>>,
    /// Disks of their own, where a family has asked for them. They go after the nodes.
    grounds: BTreeMap<usize, ground::Ground>,
}

impl Field {
    /// Makes one, with the books empty.
    #[must_use]
    pub fn new(group: Group, slots: Vec<usize>, chance: Chance, abilities: Abilities) -> Self {
        let (modes, turns, grounds) = Default::default();
        Self { group, slots, chance, abilities, modes, turns, grounds }
    }

    /// Draws one of `modes`: each once in an order that chance gives, then all again.
    pub fn turn(&mut self, family: Family, modes: &[Mode]) -> Mode {
        let left = self.turns.entry(family).or_default();
        if left.is_empty() {
            left.extend(modes);
        }
        let at = self.chance.below(left.len());
        if left.is_empty() { "none" } else { left.swap_remove(at) }
    }

    /// Returns the place of the node that leads, by the latest term of those that answer.
    ///
    /// # Errors
    /// When nobody says so within ten seconds.
    pub async fn leader(&self) -> Outcome<usize> {
        wait_for("a leader", LEADER_DEADLINE, || async {
            let view = self.group.look().await;
            view.leader().map(|leader| leader.slot).ok_or_else(|| Failure::new("nobody leads"))
        })
        .await
    }

    /// Returns how many nodes can be lost without losing the majority: all nodes vote as far as this count goes.
    #[must_use]
    pub fn minority(&self) -> usize {
        self.slots.len().saturating_sub(1) / 2
    }

    /// Draws `count` different places, none of them in `except`.
    pub fn draw(&mut self, count: usize, except: &[usize]) -> Vec<usize> {
        let mut left: Vec<usize> =
            self.slots.iter().copied().filter(|slot| !except.contains(slot)).collect();
        let mut drawn = Vec::new();
        while drawn.len() < count && !left.is_empty() {
            drawn.push(left.swap_remove(self.chance.below(left.len())));
        }
        drawn
    }
}

/// What each family does. One value lives for a whole run.
trait Harm {
    /// What must have been installed at least once in a run with this many nodes; the nemesis sees to it that it comes to each
    /// of them before it comes to any a third time.
    fn required(&self, nodes: usize) -> Vec<Mode>;

    /// Called once, before the first node is started.
    async fn prepare(&mut self, _field: &mut Field) -> Outcome {
        Ok(())
    }

    /// Begins a fault.
    async fn install(&mut self, field: &mut Field) -> Fault;

    /// Lets it last; a fault that goes on and off, or that moves, does so in here.
    async fn hold(&mut self, _field: &mut Field, time: Duration) -> Outcome {
        tokio::time::sleep(time).await;
        Ok(())
    }

    /// Ends it, and sees that it is over. Called after each [`Harm::install`], whatever came of that.
    async fn heal(&mut self, field: &mut Field) -> Outcome;
}

/// The one that does it.
#[derive(Debug)]
pub struct Nemesis {
    family: Family,
    harm: Doer,
}

#[derive(Debug)]
enum Doer {
    None,
    One(One),
    Mixed(Box<mixed::Mixed>),
}

/// What one family does.
#[derive(Debug)]
enum One {
    Partition(partition::Partition),
    Flapping(flapping::Flapping),
    Packets(packets::Packets),
    Pause(pause::Pause),
    Kill(kill::Kill),
    Clock(clock::Clock),
    Power(power::Power),
    Disk(disk::Disk),
    Sync(sync::Sync),
    Membership(membership::Membership),
}

/// Calls `$call` on what the family does.
macro_rules! each {
    ($one:expr, $inner:ident => $call:expr) => {
        match $one {
            One::Partition($inner) => $call,
            One::Flapping($inner) => $call,
            One::Packets($inner) => $call,
            One::Pause($inner) => $call,
            One::Kill($inner) => $call,
            One::Clock($inner) => $call,
            One::Power($inner) => $call,
            One::Disk($inner) => $call,
            One::Sync($inner) => $call,
            One::Membership($inner) => $call,
        }
    };
}

impl One {
    fn new(family: Family) -> Option<Self> {
        Some(match family {
            Family::IsolatedLeader
            | Family::Halves
            | Family::MinorityThird
            | Family::MajoritiesRing
            | Family::Bridge
            | Family::OneWay => Self::Partition(partition::Partition::new(family)),
            Family::Flapping => Self::Flapping(flapping::Flapping::default()),
            Family::Packets => Self::Packets(packets::Packets::default()),
            Family::Pause => Self::Pause(pause::Pause::default()),
            Family::Kill => Self::Kill(kill::Kill::default()),
            Family::Clock => Self::Clock(clock::Clock::default()),
            Family::PowerCut => Self::Power(power::Power::default()),
            Family::FullDisk => Self::Disk(disk::Disk::default()),
            Family::SyncError => Self::Sync(sync::Sync::default()),
            Family::Membership => Self::Membership(membership::Membership::default()),
            Family::None | Family::Mixed | Family::MixedAlive => return None,
        })
    }

    /// Ends the fault where others may still be on; whether the cluster is whole is not asked.
    async fn undo(&mut self, field: &mut Field) -> Outcome {
        match self {
            Self::Partition(it) => it.heal(field).await,
            Self::Flapping(it) => it.heal(field).await,
            Self::Packets(it) => it.heal(field).await,
            Self::Pause(it) => it.undo(field).await,
            Self::Kill(it) => it.undo(field).await,
            Self::Clock(it) => it.undo(field).await,
            Self::Power(it) => it.undo(field).await,
            Self::Disk(it) => it.undo(field).await,
            Self::Sync(it) => it.undo(field).await,
            Self::Membership(it) => it.undo(field).await,
        }
    }
}

impl Harm for One {
    fn required(&self, nodes: usize) -> Vec<Mode> {
        each!(self, it => it.required(nodes))
    }

    async fn prepare(&mut self, field: &mut Field) -> Outcome {
        each!(self, it => it.prepare(field).await)
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        each!(self, it => it.install(field).await)
    }

    async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        each!(self, it => it.hold(field, time).await)
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        each!(self, it => it.heal(field).await)
    }
}

impl Nemesis {
    /// Makes the one for `family`.
    #[must_use]
    pub fn new(family: Family) -> Self {
        let harm = match (family, One::new(family)) {
            (_, Some(one)) => Doer::One(one),
            (Family::Mixed | Family::MixedAlive, None) => {
                Doer::Mixed(Box::new(mixed::Mixed::new(family)))
            }
            (_, None) => Doer::None,
        };
        Self { family, harm }
    }

    /// Returns its family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Returns what a run with this many nodes must have seen installed; [`Modes::missing`] compares.
    #[must_use]
    pub fn required(&self, nodes: usize) -> Vec<Mode> {
        match &self.harm {
            Doer::None => Vec::new(),
            Doer::One(one) => one.required(nodes),
            Doer::Mixed(mixed) => mixed.required(nodes),
        }
    }

    /// Makes ready what the faults need. Call it once, before the first node is started.
    ///
    /// # Errors
    /// When the system refuses what the abilities have promised.
    pub async fn prepare(&mut self, field: &mut Field) -> Outcome {
        match &mut self.harm {
            Doer::None => Ok(()),
            Doer::One(one) => one.prepare(field).await,
            Doer::Mixed(mixed) => mixed.prepare(field).await,
        }
    }

    /// Begins a fault, and writes what came of it into the field's books.
    pub async fn install(&mut self, field: &mut Field) -> Fault {
        let fault = match &mut self.harm {
            Doer::None => Fault::skipped(Family::None, "none", "no faults are wanted"),
            Doer::One(one) => one.install(field).await,
            Doer::Mixed(mixed) => mixed.install(field).await,
        };
        field.modes.record(&fault);
        fault
    }

    /// Lets the fault last for `time`.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        match &mut self.harm {
            Doer::None => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Doer::One(one) => one.hold(field, time).await,
            Doer::Mixed(mixed) => mixed.hold(field, time).await,
        }
    }

    /// Ends the fault. Call it after every [`Nemesis::install`], whatever came of that.
    ///
    /// # Errors
    /// When the fault is not seen to be over: the run has failed, not the cluster.
    pub async fn heal(&mut self, field: &mut Field) -> Outcome {
        match &mut self.harm {
            Doer::None => Ok(()),
            Doer::One(one) => one.heal(field).await,
            Doer::Mixed(mixed) => mixed.heal(field).await,
        }
    }
}
