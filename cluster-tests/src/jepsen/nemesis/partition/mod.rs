//! Partitions: who is on which side, and what the leader's part in it is.
//!
//! Owns: the modes of the families that cut the network and leave it so. Does not own: the shapes (`shapes`), the proof that cuts are
//! there (`cuts`). Invariant: a mode that says where the leader is counts only if the same node led before and after the cut.

pub(super) mod cuts;
pub(super) mod shapes;

use std::collections::BTreeSet;

use super::{Family, Fault, Field, Harm, Installed, Mode};
use crate::failure::Outcome;
use crate::network::{Cut, deaf, isolate, mute};

const LEADER_ALONE: Mode = "leader alone";
const LEADER_IN_MINORITY: Mode = "leader in minority";
const LEADER_IN_MAJORITY: Mode = "leader in majority";
const LEADER_IN_THIRD: Mode = "leader in the third";
const LEADER_OUTSIDE_THIRD: Mode = "leader outside the third";
const RING: Mode = "ring of majorities";
const LEADER_IS_BRIDGE: Mode = "leader is the bridge";
const LEADER_ON_A_SIDE: Mode = "leader on a side";
const DEAF_LEADER: Mode = "deaf leader";
const MUTE_LEADER: Mode = "mute leader";
const ONE_WAY: Mode = "random one-way cuts";

/// One family of partitions.
#[derive(Debug)]
pub(super) struct Partition {
    family: Family,
}

impl Partition {
    pub(super) const fn new(family: Family) -> Self {
        Self { family }
    }

    const fn modes(&self) -> &'static [Mode] {
        match self.family {
            Family::IsolatedLeader => &[LEADER_ALONE],
            Family::Halves => &[LEADER_IN_MINORITY, LEADER_IN_MAJORITY],
            Family::MinorityThird => &[LEADER_IN_THIRD, LEADER_OUTSIDE_THIRD],
            Family::MajoritiesRing => &[RING],
            Family::Bridge => &[LEADER_IS_BRIDGE, LEADER_ON_A_SIDE],
            Family::OneWay => &[DEAF_LEADER, MUTE_LEADER, ONE_WAY],
            Family::None
            | Family::Flapping
            | Family::Packets
            | Family::Pause
            | Family::Kill
            | Family::Clock
            | Family::PowerCut
            | Family::FullDisk
            | Family::SyncError
            | Family::Membership
            | Family::Mixed
            | Family::MixedAlive => &[],
        }
    }
}

/// Draws the cuts of `mode`, and says in words what they are.
fn cuts_of(mode: Mode, leader: usize, field: &mut Field) -> (BTreeSet<Cut>, String) {
    let slots = field.slots.clone();
    let others = field.draw(slots.len(), &[leader]);
    let (first, last) = ([&[leader], &others[..]].concat(), [&others[..], &[leader]].concat());
    let third = (slots.len().saturating_sub(1) / 3).max(1);
    let sides = |order: &[usize], count: usize| {
        let (here, there) = order.split_at(count.min(order.len()));
        (shapes::split(order, count), format!("{} | {}", names(here), names(there)))
    };
    match mode {
        LEADER_IN_MINORITY => sides(&first, field.minority().max(1)),
        LEADER_IN_MAJORITY => sides(&last, field.minority().max(1)),
        LEADER_IN_THIRD => sides(&first, third),
        LEADER_OUTSIDE_THIRD => sides(&last, third),
        RING => {
            let order = field.draw(slots.len(), &[]);
            let form =
                if order.len() <= 3 { "one link cut, the first hears all" } else { "circle" };
            (shapes::ring(&order), format!("{form}: {}", names(&order)))
        }
        LEADER_IS_BRIDGE | LEADER_ON_A_SIDE => {
            let order = if mode == LEADER_IS_BRIDGE { first } else { last };
            let (over, sides) = order.split_at(1.min(order.len()));
            let (here, there) = sides.split_at(sides.len() / 2);
            let text = format!("{} | {} over {}", names(here), names(there), names(over));
            (shapes::bridge(&order), text)
        }
        DEAF_LEADER => (deaf(leader, &slots), format!("n{leader} hears nobody")),
        MUTE_LEADER => (mute(leader, &slots), format!("nobody hears n{leader}")),
        ONE_WAY => {
            let cuts = shapes::one_way(&slots, &mut field.chance);
            let text: Vec<String> =
                cuts.iter().map(|(from, to)| format!("n{from}\u{219b}n{to}")).collect();
            (cuts, text.join(" "))
        }
        _ => (isolate(leader, &slots), format!("n{leader} | {}", names(&others))),
    }
}

/// Writes places as the nodes' names.
pub(super) fn names(slots: &[usize]) -> String {
    let names: Vec<String> = slots.iter().map(|slot| format!("n{slot}")).collect();
    names.join(" ")
}

impl Harm for Partition {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        self.modes().to_vec()
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let mode = field.turn(self.family, self.modes());
        let fault = |installed| Fault { family: self.family, mode, installed };
        let leader = match field.leader().await {
            Ok(leader) => leader,
            Err(failure) => return fault(Installed::Skipped(failure.to_string())),
        };
        let (cuts, text) = cuts_of(mode, leader, field);
        let text = format!("{text}, n{leader} leads");
        let installed = cuts::install(field, &cuts, &text).await;
        let depends = ![RING, ONE_WAY].contains(&mode);
        if depends && matches!(installed, Installed::Installed(_)) {
            // Its word counts until another one leads in a later term, which takes longer than looking.
            let led = field.group.look().await;
            let is_same = led.glimpses.iter().any(|one| one.slot == leader && one.role == "leader");
            let lost = || Installed::Indeterminate(format!("{text}: n{leader} leads no longer"));
            return fault(if is_same { installed } else { lost() });
        }
        fault(installed)
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        cuts::heal(field).await
    }
}
