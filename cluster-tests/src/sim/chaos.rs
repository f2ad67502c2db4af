//! How each kind of fault is done to a simulated cluster, and undone.
//!
//! Owns what is wrong at the moment. Does not choose it: `nemesis` and scenarios do. Invariant: what a fault may lose is within
//! what the cluster promises to bear: nodes without their data are never so many that a majority of the voters is gone.

use std::time::Duration;

use quorate::node::status::Role;
use quorate::storage::{Disk, Survival};
use quorate::transport::Link;

use super::fault::{Kind, Target};
use super::setup::odds;
use super::world::World;
use crate::history::{Happening, Installation, Line, Nanos};

/// What a fault does as long as it is there.
#[derive(Clone, Debug)]
enum Effect {
    /// Nothing goes from the first to the second.
    Cuts(Vec<(usize, usize)>),
    /// The same, on and off.
    Flaps(Vec<(usize, usize)>, Duration),
    /// Datagrams from the first to the second fare so.
    Links(Vec<(usize, usize)>, Link),
    /// These are stopped.
    Paused(Vec<usize>),
    /// The wall clock of this one is off, or jumps to and fro.
    Skewed(usize, i64, Option<Duration>),
    /// The monotonic clock of this one is fast or slow.
    Rate(usize),
    /// The disk of this one does not do what it should.
    Disk(usize),
    /// These leave and come back, one after the other.
    Rolling(Vec<usize>),
    /// A node is on this machine for a time.
    Guest(usize),
    /// Nothing that lasts.
    Done,
}

/// A fault that is there.
#[derive(Clone, Debug)]
pub(super) struct Active {
    kind: Kind,
    since: Nanos,
    until: Duration,
    text: String,
    effect: Effect,
}

impl World {
    /// Has a fault happen for `length`; tells whether it could.
    pub fn inject(&mut self, kind: Kind, target: Target, length: Duration) -> bool {
        let targets = self.targets(target);
        let done =
            if targets.is_empty() { None } else { self.attempt(kind, target, &targets, length) };
        let since = self.ground.moment();
        let Some((text, effect)) = done else {
            *self.skipped.entry(kind.to_string()).or_default() += 1;
            return false;
        };
        *self.installed.entry(kind.to_string()).or_default() += 1;
        self.note(format!("{kind}: {text}, for {length:?}"));
        self.ground.record(Line::Fault {
            at: since,
            until: None,
            family: kind.to_string(),
            text: text.clone(),
            outcome: Installation::Installed,
        });
        self.active.push(Active { kind, since, until: self.now + length, text, effect });
        self.apply_network();
        true
    }

    /// Tells whether the disk of a machine is made to fail now.
    pub(super) fn is_disk_spoilt(&self, number: usize) -> bool {
        let spoils = |active: &Active| matches!(active.effect, Effect::Disk(of) if of == number);
        self.active.iter().any(spoils)
    }

    /// How many faults are there.
    #[must_use]
    pub fn faults_now(&self) -> usize {
        self.active.len()
    }

    /// Ends all faults, and has every machine that is to run start soon.
    pub fn heal_all(&mut self) {
        for active in std::mem::take(&mut self.active) {
            self.heal(active);
        }
        self.apply_network();
        for number in 0..self.hosts.len() {
            let soon = self.now + Duration::from_millis(self.chance.below(200) as u64);
            let seat = &mut self.seats[number];
            if seat.start_at.is_some() {
                seat.start_at = Some(soon);
            }
            self.hosts[number].pause(false);
            self.hosts[number].rate = 1000;
            self.hosts[number].set_skew(0);
        }
        self.note("all faults have ended");
    }

    /// Ends what is over, and goes on with what changes.
    pub(super) fn tend_faults(&mut self) {
        let mut is_network_changed = false;
        for active in std::mem::take(&mut self.active) {
            let is_over = match &active.effect {
                Effect::Rolling(left) => left.is_empty() || self.now > active.until,
                _ => self.now >= active.until,
            };
            if is_over {
                self.heal(active);
                is_network_changed = true;
            } else {
                self.active.push(active);
            }
        }
        let flaps = |active: &Active| match &active.effect {
            Effect::Flaps(_, period) => Some(*period),
            _ => None,
        };
        let turns = |period: Duration| self.now.as_millis().is_multiple_of(period.as_millis());
        is_network_changed |= self.active.iter().filter_map(flaps).any(turns);
        if is_network_changed {
            self.apply_network();
        }
        self.strobe();
        self.roll();
    }

    fn strobe(&self) {
        for active in &self.active {
            if let Effect::Skewed(number, by, Some(period)) = active.effect {
                let is_off = (self.now.as_millis() / period.as_millis()).is_multiple_of(2);
                self.hosts[number].set_skew(if is_off { by } else { 0 });
            }
        }
    }

    /// Has the next node of a rolling restart leave once all are there.
    fn roll(&mut self) {
        let rolls = |active: &Active| matches!(active.effect, Effect::Rolling(_));
        let Some(place) = self.active.iter().position(rolls) else { return };
        if self.seats.iter().any(|seat| seat.leaves_since.is_some()) || !self.is_whole() {
            return;
        }
        let Some(Active { effect: Effect::Rolling(left), .. }) = self.active.get_mut(place) else {
            return;
        };
        if let Some(next) = left.pop()
            && !self.leave(next, Duration::from_millis(300))
        {
            self.note(format!("n{next} is left out of the rolling restart"));
        }
    }

    /// Has a node leave, and another come after it.
    fn leave(&mut self, number: usize, pause: Duration) -> bool {
        let host = &self.hosts[number];
        let can = host.is_alive() && !host.is_paused() && self.seats[number].leaves_since.is_none();
        if !can || !self.may_lose(&[number]) {
            return false;
        }
        self.begin_leave(number, pause);
        true
    }

    /// Has several leave at the same time, which loses nothing where others stay and can take over.
    fn leave_together(&mut self, numbers: &[usize], pause: Duration) -> Option<(String, Effect)> {
        if !self.is_whole() || numbers.len() == self.seats.len() {
            return None;
        }
        numbers.iter().for_each(|number| self.begin_leave(*number, pause));
        Some((named(numbers), Effect::Done))
    }

    fn begin_leave(&mut self, number: usize, pause: Duration) {
        self.hosts[number].leave();
        self.record_process(number, Happening::Left);
        self.note(format!("n{number} leaves"));
        let seat = &mut self.seats[number];
        seat.leaves_since = Some(self.now);
        seat.start_at = seat.is_wanted.then_some(self.now + pause);
    }

    fn heal(&mut self, active: Active) {
        let Active { kind, since, text, effect, .. } = active;
        match effect {
            Effect::Paused(numbers) => {
                for number in numbers {
                    if self.hosts[number].is_paused() {
                        self.hosts[number].pause(false);
                        self.record_process(number, Happening::Continued);
                    }
                }
            }
            Effect::Skewed(number, ..) => self.hosts[number].set_skew(0),
            Effect::Rate(number) => self.hosts[number].rate = 1000,
            Effect::Disk(number) => {
                if let Some(disk) = self.hosts[number].disk() {
                    disk.fail_syncs(false);
                    disk.set_capacity(u64::MAX);
                    disk.fail_after(u64::MAX);
                }
            }
            Effect::Guest(number) => {
                self.seats[number].is_wanted = false;
                if !self.leave(number, Duration::ZERO) && self.may_lose(&[number]) {
                    self.kill(number, Survival::Everything, self.now);
                    self.seats[number].id = None;
                }
                // One that may not go stays.
                self.seats[number].is_wanted =
                    self.seats[number].leaves_since.is_none() && self.hosts[number].is_alive();
            }
            Effect::Cuts(_) | Effect::Flaps(..) | Effect::Links(..) | Effect::Rolling(_) => {}
            Effect::Done => return,
        }
        self.note(format!("{kind} has ended: {text}"));
        let (outcome, until) = (Installation::Installed, Some(self.ground.moment()));
        let family = kind.to_string();
        self.ground.record(Line::Fault { at: since, until, family, text, outcome });
    }

    /// Brings the network in line with the faults that are there.
    fn apply_network(&self) {
        self.network.heal();
        self.network.reset_links();
        let address = |number: usize| self.hosts[number].address;
        for active in &self.active {
            match &active.effect {
                Effect::Cuts(cuts) => {
                    cuts.iter().for_each(|(a, b)| self.network.cut(address(*a), address(*b)));
                }
                Effect::Flaps(cuts, period)
                    if (self.now.as_millis() / period.as_millis()).is_multiple_of(2) =>
                {
                    cuts.iter().for_each(|(a, b)| self.network.cut(address(*a), address(*b)));
                }
                Effect::Links(pairs, link) => {
                    for (a, b) in pairs {
                        self.network.set_link(address(*a), address(*b), *link);
                    }
                }
                _ => {}
            }
        }
    }

    /// The machines that a target means now, those with a process only.
    fn targets(&mut self, target: Target) -> Vec<usize> {
        let alive = |number: &usize| {
            self.hosts[*number].is_alive() && self.seats[*number].leaves_since.is_none()
        };
        let alive: Vec<usize> = (0..self.hosts.len()).filter(alive).collect();
        let leader = self.leader().filter(|number| alive.contains(number));
        let with = |role: Role| -> Vec<usize> {
            let statuses = self.statuses().into_iter();
            let fitting =
                statuses.filter(|(number, s)| s.raft.role == role && Some(*number) != leader);
            fitting.map(|(number, _)| number).filter(|number| alive.contains(number)).collect()
        };
        let some = match target {
            Target::Leader => leader.map(|leader| vec![leader]),
            Target::Follower => Some(with(Role::Follower)).filter(|found| !found.is_empty()),
            Target::Observer => Some(with(Role::Observer)).filter(|found| !found.is_empty()),
            Target::Voters => return self.voters(),
            Target::Machine(number) => {
                return if number < self.hosts.len() { vec![number] } else { vec![] };
            }
            Target::One | Target::Minority | Target::Majority | Target::All => None,
        };
        let from = some.unwrap_or_else(|| alive.clone());
        let count = match target {
            Target::Leader
            | Target::Follower
            | Target::Observer
            | Target::One
            | Target::Machine(_)
            | Target::Voters => 1,
            Target::Minority => alive.len().saturating_sub(1) / 2,
            Target::Majority => alive.len() / 2 + 1,
            Target::All => alive.len(),
        };
        self.shuffled(from).into_iter().take(count.max(1)).collect()
    }

    /// The machines of those who vote, as far as the leader knows.
    fn voters(&self) -> Vec<usize> {
        let statuses = self.statuses();
        let leader = self.leader();
        let of_leader = statuses.iter().find(|(number, _)| Some(*number) == leader);
        let voters = of_leader.map_or(&[][..], |(_, status)| &status.voters);
        let votes = |number: &usize| self.seats[*number].id.is_some_and(|id| voters.contains(&id));
        (0..self.seats.len()).filter(votes).collect()
    }

    fn shuffled(&mut self, mut numbers: Vec<usize>) -> Vec<usize> {
        for place in (1..numbers.len()).rev() {
            numbers.swap(place, self.chance.below(place + 1));
        }
        numbers
    }

    fn attempt(
        &mut self,
        kind: Kind,
        target: Target,
        targets: &[usize],
        length: Duration,
    ) -> Option<(String, Effect)> {
        let one = *targets.first()?;
        match kind {
            Kind::Isolate
            | Kind::Halves
            | Kind::MinorityThird
            | Kind::MajoritiesRing
            | Kind::Bridge
            | Kind::OneWay
            | Kind::Flapping => self.cut(kind, targets),
            Kind::Loss
            | Kind::Delay
            | Kind::Duplication
            | Kind::Reordering
            | Kind::Corruption
            | Kind::LongOnesVanish => self.hamper(kind, targets),
            Kind::Pause => {
                let awake = |number: &&usize| !self.hosts[**number].is_paused();
                let numbers: Vec<usize> = targets.iter().filter(awake).copied().collect();
                for number in &numbers {
                    self.hosts[*number].pause(true);
                    self.record_process(*number, Happening::Paused);
                }
                (!numbers.is_empty()).then(|| (named(&numbers), Effect::Paused(numbers)))
            }
            Kind::Kill | Kind::PowerCut | Kind::Wipe | Kind::Move => {
                self.end_processes(kind, targets, length)
            }
            Kind::SyncError | Kind::DiskError | Kind::DiskFull => self.spoil_disk(kind, one),
            Kind::BitFlip => self.flip(one, length),
            Kind::Skew | Kind::Strobe => self.skew(kind, one),
            Kind::Rate => {
                let rate = self.chance.pick(&[500, 800, 1_250, 1_500, 2_000]).unwrap_or(1_500);
                self.hosts[one].rate = rate;
                Some((format!("n{one} at {rate} thousandths"), Effect::Rate(one)))
            }
            Kind::Leave if target == Target::Voters => self.leave_together(targets, length),
            Kind::Leave => self.leave(one, length).then(|| (named(&[one]), Effect::Done)),
            Kind::Rolling => {
                let rolls = |active: &Active| matches!(active.effect, Effect::Rolling(_));
                let all = (0..self.setup.nodes).collect();
                let order = self.shuffled(all);
                let is_free = !self.active.iter().any(rolls);
                is_free.then(|| (named(&order), Effect::Rolling(order)))
            }
            Kind::Join => {
                let is_free = |number: &usize| {
                    !self.seats[*number].is_wanted && !self.hosts[*number].is_alive()
                };
                let guest = (0..self.hosts.len()).find(is_free)?;
                self.seats[guest].is_wanted = true;
                self.seats[guest].start_at = Some(self.now);
                if self.setup.is_durable {
                    // What it kept from the last time is of a node that has left.
                    self.wipe(guest);
                }
                Some((named(&[guest]), Effect::Guest(guest)))
            }
        }
    }

    fn cut(&mut self, kind: Kind, targets: &[usize]) -> Option<(String, Effect)> {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        let order = self.shuffled(all.clone());
        let (half, third) = (order.len() / 2, (order.len() / 3).max(1));
        let inside = match kind {
            Kind::Halves | Kind::Bridge => order.get(..half)?.to_vec(),
            Kind::MinorityThird => order.get(..third)?.to_vec(),
            _ => targets.to_vec(),
        };
        let middle = order.last().copied().filter(|_| kind == Kind::Bridge);
        let is_outgoing = odds(&mut self.chance, 50);
        let place = |number: usize| order.iter().position(|n| *n == number).unwrap_or(0);
        let is_cut = |from: usize, to: usize| match kind {
            Kind::MajoritiesRing => {
                let apart = place(from).abs_diff(place(to));
                apart.min(order.len() - apart) > order.len() / 4
            }
            Kind::OneWay => {
                inside.contains(if is_outgoing { &from } else { &to })
                    && !inside.contains(if is_outgoing { &to } else { &from })
            }
            _ => {
                inside.contains(&from) != inside.contains(&to)
                    && Some(from) != middle
                    && Some(to) != middle
            }
        };
        let pairs = all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to)));
        let cuts: Vec<_> = pairs.filter(|(from, to)| from != to && is_cut(*from, *to)).collect();
        if cuts.is_empty() {
            return None;
        }
        let direction = if is_outgoing { "out of" } else { "in to" };
        let text = match kind {
            Kind::OneWay => format!("{direction} {}", named(&inside)),
            Kind::MajoritiesRing => format!("in the order {}", named(&order)),
            _ => format!("{} apart", named(&inside)),
        };
        if kind == Kind::Flapping {
            let period = self.chance.pick(&[50, 200, 700, 1_500]).unwrap_or(200);
            return Some((text, Effect::Flaps(cuts, Duration::from_millis(period))));
        }
        Some((text, Effect::Cuts(cuts)))
    }

    fn hamper(&mut self, kind: Kind, targets: &[usize]) -> Option<(String, Effect)> {
        let mut link = self.setup.wire.link();
        let millis = Duration::from_millis;
        match kind {
            Kind::Loss => link.loss = self.chance.pick(&[0.02, 0.1, 0.2, 0.5])?,
            Kind::Delay => {
                link.delay = millis(self.chance.pick(&[10, 50, 150, 400])?);
                link.jitter = millis(self.chance.pick(&[0, 20, 100])?);
            }
            Kind::Duplication => link.duplication = self.chance.pick(&[0.05, 0.3, 1.0])?,
            Kind::Reordering => link.jitter = millis(self.chance.pick(&[10, 40, 100])?),
            Kind::Corruption => link.corruption = self.chance.pick(&[0.01, 0.1, 0.3])?,
            _ => link.size_max = self.chance.pick(&[600, 1_200, 1_300])?,
        }
        let is_everywhere = odds(&mut self.chance, 40);
        let is_both_ways = odds(&mut self.chance, 60);
        let all = 0..self.hosts.len();
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        let meets = |(from, to): &(usize, usize)| {
            from != to
                && (is_everywhere || targets.contains(from) || is_both_ways && targets.contains(to))
        };
        let pairs: Vec<_> = pairs.filter(meets).collect();
        let what = match kind {
            Kind::Loss => format!("{} of 1", link.loss),
            Kind::Delay | Kind::Reordering => {
                format!("{:?} to {:?}", link.delay, link.delay + link.jitter)
            }
            Kind::Duplication => format!("{} of 1", link.duplication),
            Kind::Corruption => format!("{} of 1", link.corruption),
            _ => format!("longer than {} bytes", link.size_max),
        };
        let place = match (is_everywhere, is_both_ways) {
            (true, _) => "everywhere".to_owned(),
            (false, true) => format!("from and to {}", named(targets)),
            (false, false) => format!("from {}", named(targets)),
        };
        Some((format!("{what} {place}"), Effect::Links(pairs, link)))
    }

    fn end_processes(
        &mut self,
        kind: Kind,
        targets: &[usize],
        length: Duration,
    ) -> Option<(String, Effect)> {
        let loses = kind == Kind::Wipe || !self.setup.is_durable;
        let mut chosen: Vec<usize> = Vec::new();
        for number in targets {
            chosen.push(*number);
            if loses && !self.may_lose(&chosen) {
                chosen.pop();
            }
        }
        for number in &chosen {
            let survival = match kind {
                Kind::PowerCut => match self.chance.below(4) {
                    0 => Survival::Nothing,
                    1 => Survival::Prefix(self.chance.below(4_096) as u64),
                    _ => Survival::Sectors(self.chance.next()),
                },
                _ => Survival::Everything,
            };
            // Not all of them come back at the same moment.
            let late = Duration::from_millis(self.chance.below(300) as u64);
            self.kill(*number, survival, self.now + length + late);
            if kind == Kind::Wipe {
                self.wipe(*number);
            }
            if kind == Kind::Move {
                self.seats[*number].moves += 1;
            }
        }
        (!chosen.is_empty()).then(|| (named(&chosen), Effect::Done))
    }

    fn skew(&mut self, kind: Kind, number: usize) -> Option<(String, Effect)> {
        let by = self.chance.pick(&[50, 500, 5_000, 288_000, 86_400_000])?;
        let by = if odds(&mut self.chance, 50) { by } else { -by };
        let period = Duration::from_millis(10 * (1 + self.chance.below(20) as u64));
        self.hosts[number].set_skew(by);
        let period = (kind == Kind::Strobe).then_some(period);
        Some((format!("n{number} by {by} ms"), Effect::Skewed(number, by, period)))
    }

    fn spoil_disk(&mut self, kind: Kind, number: usize) -> Option<(String, Effect)> {
        let left = self.chance.below(60) as u64;
        let disk = self.hosts[number].disk()?;
        match kind {
            Kind::SyncError => disk.fail_syncs(true),
            Kind::DiskError => disk.fail_after(left),
            _ => disk.set_capacity(left * 1024),
        }
        self.seats[number].has_disk_fault = true;
        Some((named(&[number]), Effect::Disk(number)))
    }

    fn flip(&mut self, number: usize, length: Duration) -> Option<(String, Effect)> {
        if !self.may_lose(&[number]) {
            return None;
        }
        self.kill(number, Survival::Everything, self.now + length);
        let disk = self.hosts[number].disk()?.clone();
        let name = self
            .chance
            .pick(&disk.list().ok()?.iter().map(String::as_str).collect::<Vec<_>>())?
            .to_owned();
        let size = disk.contents(&name)?.len();
        let (offset, bit) = (self.chance.below(size), self.chance.below(8));
        let is_flipped = disk.flip_bit(&name, offset as u64, u8::try_from(bit).unwrap_or(0));
        self.seats[number].is_suspect = true;
        let text = format!("n{number}, bit {bit} of byte {offset} of {name}");
        is_flipped.then_some((text, Effect::Done))
    }
}

fn named(numbers: &[usize]) -> String {
    let names: Vec<String> = numbers.iter().map(|number| format!("n{number}")).collect();
    names.join(" ")
}
