//! A partition that comes and goes.
//!
//! Owns: how often it does, and what is cut. Does not own: the shapes of partitions. Invariant: the first cut is seen to be there
//! before the fault counts, and at the end all is seen to be whole.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::partition::{cuts, names, shapes};
use super::{Family, Fault, Field, Harm, Installed, Mode};
use crate::failure::{Failure, Outcome};
use crate::network::{Cut, isolate};

/// How long the network stays cut, and how long whole.
const TURN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1500));

const LEADER: Mode = "flapping leader";
const HALVES: Mode = "flapping halves";
const LINK: Mode = "flapping link";
const MODES: &[Mode] = &[LEADER, HALVES, LINK];

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    cuts: BTreeSet<Cut>,
}

impl Harm for Flapping {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.to_vec()
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        self.cuts.clear();
        let mode = field.turn(Family::Flapping, MODES);
        let leader = match field.leader().await {
            Ok(leader) => leader,
            Err(failure) => return Fault::skipped(Family::Flapping, mode, failure.to_string()),
        };
        let order = field.draw(field.slots.len(), &[]);
        let (cuts, what) = match mode {
            LEADER => (isolate(leader, &order), format!("n{leader}, which leads, on and off")),
            HALVES => {
                let count = field.minority().max(1);
                let (here, there) = order.split_at(count.min(order.len()));
                let text = format!("{} | {} on and off", names(here), names(there));
                (shapes::split(&order, count), text)
            }
            _ => {
                let other = field.draw(1, &[leader]);
                let text = format!("n{leader} | {} on and off", names(&other));
                (isolate(leader, &other), text)
            }
        };
        let installed = cuts::install(field, &cuts, &what).await;
        if !matches!(installed, Installed::Skipped(_)) {
            self.cuts = cuts;
        }
        Fault { family: Family::Flapping, mode, installed }
    }

    async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        let mut is_cut = true;
        loop {
            let turn = field.chance.between(TURN.0, TURN.1);
            sleep(turn.min(until - Instant::now())).await;
            if Instant::now() >= until || self.cuts.is_empty() {
                return Ok(());
            }
            is_cut = !is_cut;
            let network = field.group.network().ok_or_else(|| Failure::new("no network"))?;
            network.cut(if is_cut { &self.cuts } else { const { &BTreeSet::new() } })?;
        }
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        self.cuts.clear();
        cuts::heal(field).await
    }
}
