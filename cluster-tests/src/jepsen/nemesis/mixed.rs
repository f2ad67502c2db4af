//! Faults of several families, together and one after another, and times without any.
//!
//! Owns: which families hold at the same time, and the order in which they begin and end. Does not own: the faults. Invariant:
//! families coincide only where none keeps another from being seen, and where nothing can be lost by design: of those that end
//! processes or break disks there is one at a time, no data is wiped beside another fault, and what cuts the network is healed
//! before anything is started again. Under `mixed-alive` no process ends.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::recovery::recovered;
use super::{Family, Fault, Field, Harm, Mode, One};
use crate::chance::Chance;
use crate::failure::Outcome;

const CALM: Mode = "no faults for a while";
const MODES: [Mode; 3] = ["one family", "two families together", "three families together"];
/// How many families the mixes after the first ones have, each once in an order that chance gives, then again.
const SIZES: [Mode; 6] = [CALM, MODES[0], MODES[1], MODES[1], MODES[2], MODES[2]];
/// How long there are no faults at the most.
const CALM_MAX: Duration = Duration::from_secs(5);
/// How long one family of a mix holds before the next one has its turn to move.
const TURN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(2_500));

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Mixed {
    /// `mixed` or `mixed-alive`.
    family: Family,
    all: BTreeMap<Family, One>,
    on: Vec<Family>,
    /// How many mixes there were. The first ones have one family, two and three, so that a short run has seen them.
    begun: usize,
}

/// What families have in common for the rules of mixing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cut,
    Packets,
    Clock,
    Pause,
    End,
    Sync,
    Membership,
    Whole,
}

const fn kind(family: Family) -> Kind {
    match family {
        Family::IsolatedLeader
        | Family::Halves
        | Family::MinorityThird
        | Family::MajoritiesRing
        | Family::Bridge
        | Family::OneWay
        | Family::Flapping => Kind::Cut,
        Family::Packets => Kind::Packets,
        Family::Clock => Kind::Clock,
        Family::Pause => Kind::Pause,
        Family::Kill | Family::PowerCut | Family::FullDisk => Kind::End,
        Family::SyncError => Kind::Sync,
        Family::Membership => Kind::Membership,
        Family::None | Family::Mixed | Family::MixedAlive => Kind::Whole,
    }
}

/// Tells whether a family is in the mix of this name.
const fn belongs(family: Family, mix: Family) -> bool {
    match kind(family) {
        Kind::Cut | Kind::Packets | Kind::Clock | Kind::Pause => true,
        Kind::End | Kind::Sync | Kind::Membership => matches!(mix, Family::Mixed),
        Kind::Whole => false,
    }
}

/// Tells whether two families may hold at the same time.
fn may_coincide(one: Family, other: Family) -> bool {
    let (one, other) = (kind(one), kind(other));
    let fits = |one: Kind, other: Kind| match one {
        // A node that is started takes its machine's clock as it finds it, so none is started by a wrong one.
        Kind::Clock => matches!(other, Kind::Cut | Kind::Packets | Kind::Pause),
        Kind::Cut => matches!(other, Kind::Pause | Kind::End),
        // A sync that fails is seen by writes, a change of members by votes: neither comes about behind a cut or a pause.
        Kind::Packets => matches!(other, Kind::Pause | Kind::End | Kind::Sync | Kind::Membership),
        Kind::Pause => other == Kind::End,
        Kind::End | Kind::Sync | Kind::Membership | Kind::Whole => false,
    };
    one != Kind::Whole && other != Kind::Whole && (fits(one, other) || fits(other, one))
}

/// Draws up to `count` of `families` that may hold together, in the order in which they begin.
fn draw(chance: &mut Chance, families: &[Family], count: usize) -> Vec<Family> {
    let (mut left, mut drawn) = (families.to_vec(), Vec::new());
    while drawn.len() < count && !left.is_empty() {
        let family = left.swap_remove(chance.below(left.len()));
        if drawn.iter().all(|other| may_coincide(family, *other)) {
            drawn.push(family);
        }
    }
    drawn.sort_by_key(|family| place(*family));
    drawn
}

/// Faults begin in this order and end in the order of [`end`].
const fn place(family: Family) -> u8 {
    match kind(family) {
        Kind::Clock => 0,
        Kind::Sync | Kind::Membership => 1,
        Kind::Cut | Kind::Packets => 2,
        Kind::End => 3,
        // Last: only who still runs is stopped.
        Kind::Pause | Kind::Whole => 4,
    }
}

/// A node becomes ready only when it reaches a majority that runs: so the network first, then who is stopped, then starts.
const fn end(family: Family) -> u8 {
    match kind(family) {
        Kind::Cut | Kind::Packets => 0,
        Kind::Pause => 1,
        Kind::Sync | Kind::Membership | Kind::End | Kind::Whole => 2,
        Kind::Clock => 3,
    }
}

impl Mixed {
    /// Makes the mix of this name.
    pub(super) fn new(family: Family) -> Self {
        Self { family, all: BTreeMap::new(), on: Vec::new(), begun: 0 }
    }
}

impl Harm for Mixed {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        MODES.get(..2).unwrap_or(&MODES).to_vec()
    }

    async fn prepare(&mut self, field: &mut Field) -> Outcome {
        for family in Family::ALL.into_iter().filter(|it| belongs(*it, self.family)) {
            let Some(mut one) = One::new(family) else { continue };
            if let Some(why) = field.abilities.missing(family) {
                field.modes.record(&Fault::skipped(family, "every mode", why));
                continue;
            }
            one.prepare(field).await?;
            self.all.insert(family, one);
        }
        Ok(())
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let families: Vec<Family> = self.all.keys().copied().collect();
        let first = MODES.get(self.begun).copied();
        let size = first.unwrap_or_else(|| field.turn(self.family, &SIZES));
        self.begun += 1;
        let count = MODES.iter().position(|mode| *mode == size).map_or(0, |at| at + 1);
        self.on = draw(&mut field.chance, &families, count);
        let (is_alone, mut told, mut there) = (self.on.len() == 1, Vec::new(), 0);
        let may_end = is_alone && self.family == Family::Mixed;
        let nodes_come = self.on.contains(&Family::Membership);
        for family in &self.on {
            let Some(one) = self.all.get_mut(family) else { continue };
            match one {
                One::Kill(kill) => kill.spares_data = !is_alone,
                One::Clock(clock) => clock.spares_starts = !may_end,
                One::Packets(packets) => packets.nodes_come = nodes_come,
                One::Partition(_)
                | One::Flapping(_)
                | One::Pause(_)
                | One::Power(_)
                | One::Disk(_)
                | One::Sync(_)
                | One::Membership(_) => {}
            }
            let fault = one.install(field).await;
            field.modes.record(&fault);
            there += usize::from(fault.is_installed());
            told.push(fault.to_string());
        }
        let told = told.join("; ");
        match there.checked_sub(1).and_then(|at| MODES.get(at)) {
            Some(mode) => Fault::installed(self.family, mode, told),
            None if self.on.is_empty() => Fault::installed(self.family, CALM, "no faults"),
            None => Fault::indeterminate(self.family, MODES.first().unwrap_or(&CALM), told),
        }
    }

    async fn hold(&mut self, field: &mut Field, time: Duration) -> Outcome {
        let time = if self.on.is_empty() { time.min(CALM_MAX) } else { time };
        let until = Instant::now() + time;
        let mut turn = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let length =
                if self.on.len() == 1 { left } else { field.chance.between(TURN.0, TURN.1) };
            let family = self.on.get(turn % self.on.len().max(1));
            match family.and_then(|family| self.all.get_mut(family)) {
                Some(one) => one.hold(field, length.min(left)).await?,
                None => sleep(left).await,
            }
            turn += 1;
        }
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        let mut on = std::mem::take(&mut self.on);
        on.sort_by_key(|family| end(*family));
        let mut result = Ok(());
        for family in on {
            if let Some(one) = self.all.get_mut(&family) {
                let undone = one.undo(field).await;
                // All of them are ended, and the first failure is told.
                result = result.and(undone.map_err(|failure| failure.during(family)));
            }
        }
        result?;
        recovered(field).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_coincide_is_drawn_together() {
        let mut chance = Chance::new(Some(9));
        let mut seen = BTreeMap::new();
        // As it is prepared: without the mix itself.
        let families: Vec<_> =
            Family::ALL.into_iter().filter(|it| One::new(*it).is_some()).collect();
        for _ in 0..3_000 {
            let count = chance.below(4);
            let drawn = draw(&mut chance, &families, count);
            for (at, one) in drawn.iter().enumerate() {
                let others = drawn.iter().skip(at + 1);
                assert!(others.clone().all(|other| may_coincide(*one, *other)), "{drawn:?}");
                assert!(others.clone().all(|other| place(*one) <= place(*other)), "{drawn:?}");
            }
            let ends = drawn.iter().filter(|it| matches!(kind(**it), Kind::End | Kind::Sync));
            assert!(ends.count() <= 1, "{drawn:?}");
            *seen.entry(drawn.len()).or_insert(0) += 1;
            for family in drawn {
                *seen
                    .entry(100 + Family::ALL.iter().position(|it| *it == family).unwrap_or(0))
                    .or_insert(0) += 1;
            }
        }
        // Times without any, mixes of each size, and each family but the mix itself.
        assert!((0..=3).all(|size| seen.contains_key(&size)), "{seen:?}");
        assert!((100..115).all(|family| seen.contains_key(&family)), "{seen:?}");
        assert!(!seen.contains_key(&115), "a mix in a mix");
    }

    #[test]
    fn where_no_process_may_end_only_such_families_belong() {
        let of = |mix| Family::ALL.into_iter().filter(move |it| belongs(*it, mix));
        assert_eq!(of(Family::Mixed).count(), 15);
        let alive: Vec<Family> = of(Family::MixedAlive).collect();
        for ends in [Family::Kill, Family::PowerCut, Family::FullDisk, Family::SyncError] {
            assert!(!alive.contains(&ends), "{ends}");
        }
        assert!(!alive.contains(&Family::Membership), "nodes leave");
        assert_eq!(alive.len(), 10, "{alive:?}");
    }

    #[test]
    fn who_starts_again_finds_a_network() {
        assert!(end(Family::Halves) < end(Family::Kill));
        assert!(end(Family::Pause) < end(Family::PowerCut));
        assert!(end(Family::Kill) < end(Family::Clock));
        assert!(!may_coincide(Family::Kill, Family::PowerCut));
        assert!(!may_coincide(Family::Halves, Family::SyncError));
        assert!(!may_coincide(Family::Pause, Family::Membership));
        assert!(!may_coincide(Family::Clock, Family::Kill));
        assert!(may_coincide(Family::Clock, Family::Halves));
        assert!(may_coincide(Family::Kill, Family::Bridge));
    }
}
