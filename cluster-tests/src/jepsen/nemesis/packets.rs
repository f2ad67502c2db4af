//! Bad links: loss, delay, duplication, corruption, reordering, an MTU hole, slowness.
//!
//! Owns: which links are bad and how. Does not own: the switch that makes them so. Invariant: a fault counts only after
//! the switch has counted packets that met with it on just these links, and is over only when every node hears every other
//! one over the bridge again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use super::partition::cuts;
use super::{Family, Fault, Field, Harm, Installed, Mode};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::network::{Cut, Link, Network, Tally, isolate};

const LOSS: Mode = "loss";
const DELAY: Mode = "delay and jitter";
const DUPLICATE: Mode = "duplication";
const CORRUPT: Mode = "corruption";
const REORDER: Mode = "reordering";
const HOLE_HIGH: Mode = "MTU hole above 1300 bytes";
const HOLE_LOW: Mode = "MTU hole above 600 bytes";
const SLOW: Mode = "slow link";
const MODES: &[Mode] = &[LOSS, DELAY, DUPLICATE, CORRUPT, REORDER, HOLE_HIGH, HOLE_LOW, SLOW];

/// The test's own packets that must meet with the fault: so many, and so long.
const PROBES: (usize, usize) = (40, 1400);
/// How often it is looked whether they have.
const LOOKS: usize = 100;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// Whether nodes come meanwhile, to whom there must be new connections, and which need the whole state and all that is written
    /// while it is on its way.
    pub(super) nodes_come: bool,
}

/// Draws how bad a link is.
fn link(mode: Mode, field: &mut Field, nodes_come: bool) -> (Link, String) {
    let chance = &mut field.chance;
    let mut share = |from: u32, to: u32| {
        from + u32::try_from(chance.below((to - from) as usize + 1)).unwrap_or_default()
    };
    let mut link = Link::default();
    let text = match mode {
        LOSS => {
            link.loss = share(200, 300);
            format!("{} in 1000 lost", link.loss)
        }
        DELAY => {
            (link.delay, link.jitter) = (Duration::from_millis(50), Duration::from_millis(30));
            "20 to 80 ms later".into()
        }
        DUPLICATE => {
            link.duplicate = share(150, 300);
            format!("{} in 1000 twice", link.duplicate)
        }
        CORRUPT => {
            link.corrupt = share(20, 200);
            format!("{} in 1000 with flipped bits", link.corrupt)
        }
        REORDER => {
            link.reorder = share(150, 300);
            format!("{} in 1000 overtaken", link.reorder)
        }
        // QUIC's first packets pass this hole, and what path discovery has found does not.
        HOLE_HIGH => {
            link.hole = Some(1300);
            "nothing above 1300 bytes".into()
        }
        // No new connection comes about; those that stand lose all but small packets.
        HOLE_LOW => {
            link.hole = Some(600);
            "nothing above 600 bytes".into()
        }
        _ => {
            let rate = 1000 * if nodes_come { share(400, 800) } else { share(60, 250) };
            link.rate = Some(rate);
            format!("{} kB/s", rate / 1000)
        }
    };
    (link, text)
}

/// How many packets have met with `mode`.
fn met(mode: Mode, tally: &Tally) -> u64 {
    match mode {
        LOSS => tally.lost,
        DELAY => tally.delayed,
        DUPLICATE => tally.duplicated,
        CORRUPT => tally.corrupted,
        REORDER => tally.reordered,
        SLOW => tally.queued + tally.overflowed,
        _ => tally.too_long,
    }
}

/// Draws which links are bad: one, all of one node, or all.
fn pairs(field: &mut Field, leader: usize) -> (BTreeSet<Cut>, String) {
    let slots = field.slots.clone();
    // Half of the time it is the leader's.
    let other = field.draw(1, &[leader]).first().copied().filter(|_| field.chance.below(2) == 0);
    let one = other.unwrap_or(leader);
    match field.chance.below(3) {
        0 => {
            let there = field.draw(1, &[one]);
            (isolate(one, &there), format!("n{one} and {}", super::partition::names(&there)))
        }
        1 => (isolate(one, &slots), format!("all links of n{one}")),
        _ => {
            let all = slots.iter().flat_map(|one| isolate(*one, &slots)).collect();
            (all, "all links".into())
        }
    }
}

/// Makes the links bad, and waits until packets have met with it.
async fn install(
    network: &Network,
    mode: Mode,
    links: BTreeMap<Cut, Link>,
    chance: &mut Chance,
) -> Outcome<u64> {
    let switch = network.switch(chance)?;
    let pairs = links.keys().copied().collect();
    switch.set(links);
    let before = met(mode, &switch.tally());
    network.detour(true)?;
    network.probes().send(&pairs, PROBES.0, PROBES.1);
    for _ in 0..LOOKS {
        sleep(Duration::from_millis(20)).await;
        let count = met(mode, &switch.tally()) - before;
        if count > 0 {
            return Ok(count);
        }
    }
    Err(Failure::new(format!("no packet met with it: {:?}", switch.tally())))
}

impl Harm for Packets {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.to_vec()
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let mode = match field.turn(Family::Packets, MODES) {
            HOLE_LOW if self.nodes_come => HOLE_HIGH,
            mode => mode,
        };
        let fault = |installed| Fault { family: Family::Packets, mode, installed };
        // Chance decides where nobody leads.
        let leader = field.leader().await.ok();
        let leader = leader.or_else(|| field.draw(1, &[]).first().copied()).unwrap_or_default();
        let (pairs, place) = pairs(field, leader);
        let (link, text) = link(mode, field, self.nodes_come);
        let Some(network) = field.group.network() else {
            return fault(Installed::Skipped("the nodes have no network of their own".into()));
        };
        let links = pairs.into_iter().map(|pair| (pair, link)).collect();
        let what = format!("{place}: {text}");
        fault(match install(network, mode, links, &mut field.chance).await {
            Ok(_) => Installed::Installed(what),
            Err(failure) => Installed::Indeterminate(format!("{what}: {failure}")),
        })
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        if let Some(network) = field.group.network() {
            network.switch(&mut field.chance)?.set(BTreeMap::new());
            network.detour(false)?;
        }
        cuts::heal(field).await
    }
}
