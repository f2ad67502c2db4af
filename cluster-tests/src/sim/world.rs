//! A cluster on simulated machines, and the true time.
//!
//! Owns the machines, the order in which they take their steps, and which of them are to run. Does not decide what goes wrong
//! (`nemesis`) nor how (`chaos`). Invariant: the same setup gives the same datagrams at the same times, in every process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use quorate::host::MemoryHost;
use quorate::ids::NodeId;
use quorate::node::Status;
use quorate::node::status::{Role, State};
use quorate::storage::Survival;
use quorate::transport::MemoryNetwork;

use super::chaos::Active;
use super::clients;
use super::clients::ground::Ground;
use super::host::{EPOCH, Host, STEP};
use super::invariants::Invariants;
use super::setup::Setup;
use super::told;
use super::view::View;
use crate::chance::Chance;
use crate::history::{Happening, Line};

/// How often the world looks after its machines.
const CARE: Duration = Duration::from_millis(10);
/// For how long the machines have been on when a run begins.
const BOOTED: Duration = Duration::from_secs(1_000_000);
/// How often it notes who leads.
const WATCH: Duration = Duration::from_millis(50);
/// How many of the last events are kept.
const EVENTS_MAX: usize = 200;
/// How many findings are kept; a broken run would repeat itself.
const FINDINGS_MAX: usize = 20;

/// What is known of a machine beside its process.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// The node that runs there, or whose data lie there.
    pub(super) id: Option<NodeId>,
    /// How often it was given another address.
    pub(super) moves: u16,
    /// When its next process starts.
    pub(super) start_at: Option<Duration>,
    /// Whether a bit of its disk was flipped: it may refuse to start, or to go on.
    pub(super) is_suspect: bool,
    /// Whether its disk was made to fail since its process began.
    pub(super) has_disk_fault: bool,
    /// When it was told to leave.
    pub(super) leaves_since: Option<Duration>,
    /// Whether a node is to run there again when its process has ended.
    pub(super) is_wanted: bool,
}

/// A cluster on simulated machines.
#[derive(Debug)]
pub struct World {
    /// What was decided beforehand.
    pub setup: Setup,
    /// The true time since the run began.
    pub now: Duration,
    /// What the clients share.
    pub ground: Ground,
    /// Between the machines.
    pub network: MemoryNetwork,
    pub(super) hosts: Vec<Host>,
    pub(super) seats: Vec<Seat>,
    pub(super) active: Vec<Active>,
    pub(super) chance: Chance,
    /// How often each kind of fault was there, and how often it could not be.
    pub(super) installed: BTreeMap<String, u64>,
    pub(super) skipped: BTreeMap<String, u64>,
    locks: Vec<MemoryHost>,
    invariants: Invariants,
    /// The last things that happened.
    events: VecDeque<String>,
    is_verbose: bool,
    findings: Vec<String>,
    /// Every leader seen, by term.
    leaders: BTreeMap<u64, BTreeSet<usize>>,
}

impl World {
    /// Makes the machines; their nodes start within the first moments.
    #[must_use]
    pub fn new(setup: Setup, ground: Ground, is_verbose: bool) -> Self {
        let mut root = Chance::new(Some(setup.seed ^ 0x5eed));
        let network = MemoryNetwork::stepped(root.next());
        network.set_default(setup.wire.link());
        let one = MemoryHost::default();
        let machines = setup.machines();
        let locks = |_| if setup.is_one_machine { one.clone() } else { MemoryHost::default() };
        let locks = (0..machines).map(locks).collect();
        let host = |number| Host::new(number, Setup::address(number, 0), setup.is_durable);
        let hosts = (0..machines).map(host).collect();
        let seats = (0..machines).map(|number| {
            let is_wanted = number < setup.nodes;
            let delay = Duration::from_millis(root.below(300) as u64);
            Seat { start_at: is_wanted.then_some(delay), is_wanted, ..Seat::default() }
        });
        let world = Self {
            seats: seats.collect(),
            now: Duration::ZERO,
            ground,
            network,
            hosts,
            active: Vec::new(),
            chance: root.branch(),
            installed: BTreeMap::new(),
            skipped: BTreeMap::new(),
            locks,
            invariants: Invariants::new(Duration::from_millis(setup.times.session)),
            events: VecDeque::new(),
            is_verbose,
            findings: Vec::new(),
            leaders: BTreeMap::new(),
            setup,
        };
        world.set_clocks();
        world
    }

    /// Goes one step on.
    pub fn step(&mut self) {
        self.now += STEP;
        self.set_clocks();
        self.ground.set_now(self.now);
        self.network.advance_to(self.now);
        for host in &mut self.hosts {
            told::turn(self.now, host.number);
            host.step();
        }
        let view = View { now: self.now, hosts: self.hosts.iter().map(Host::view).collect() };
        for finding in self.invariants.observe(&view) {
            self.find(finding.to_string());
        }
        if self.is_at(CARE) {
            self.care();
            self.tend_faults();
        }
        if self.is_at(WATCH) {
            self.watch_leaders();
        }
    }

    /// Sets what libraries read that ask the system for the time and not a process of the simulation.
    fn set_clocks(&self) {
        seeded::set_clocks(Duration::from_millis(EPOCH) + self.now, BOOTED + self.now);
    }

    /// Goes on until `until`, or as soon as `done` says so, asked every so often; tells whether it did.
    pub fn run_until(&mut self, until: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while self.now < until {
            self.step();
            if self.is_at(CARE) && done(self) {
                return true;
            }
        }
        false
    }

    fn is_at(&self, every: Duration) -> bool {
        self.now.as_millis().is_multiple_of(every.as_millis())
    }

    /// What an observer sees now.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { now: self.now, hosts: self.hosts.iter().map(Host::view).collect() }
    }

    /// What the nodes say, by machine.
    #[must_use]
    pub fn statuses(&self) -> Vec<(usize, Status)> {
        let nodes = self.hosts.iter().filter_map(|host| Some((host.number, host.status()?)));
        nodes.collect()
    }

    /// The machine of the leader with the highest term, if there is one.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let leaders = self.statuses().into_iter().filter(|(_, s)| s.raft.role == Role::Leader);
        leaders.max_by_key(|(_, status)| status.raft.term).map(|(number, _)| number)
    }

    /// Notes an event for people.
    pub fn note(&mut self, text: impl Into<String>) {
        let line = format!("{:>9.3} {}", self.now.as_secs_f64(), text.into());
        if self.is_verbose {
            crate::figures::note(&line);
        }
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(line);
    }

    /// Notes something that must not be.
    pub fn find(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.note(format!("FOUND: {text}"));
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("at {:.3} s: {text}", self.now.as_secs_f64()));
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// The last events.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        self.events.iter().cloned().collect()
    }

    /// How much the invariants have judged.
    #[must_use]
    pub const fn judged(&self) -> u64 {
        self.invariants.judged()
    }

    /// How many terms had a leader.
    #[must_use]
    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    pub(super) fn record_process(&self, number: usize, what: Happening) {
        let node = u8::try_from(number).unwrap_or(u8::MAX);
        self.ground.record(Line::Process { at: self.ground.moment(), node, what });
    }

    /// Sees to machines whose nodes have ended, have left, or are to start.
    fn care(&mut self) {
        for finding in self.ground.take_findings() {
            self.find(finding);
        }
        for number in 0..self.hosts.len() {
            if let Some(why) = self.hosts[number].failure() {
                self.take_away_stopped(number, &why);
            }
            if self.hosts[number].has_left() {
                self.note(format!("n{number} has left"));
                self.hosts[number].kill(&self.network, Survival::Everything);
                self.seats[number].leaves_since = None;
                self.forget_unless_durable(number);
            }
            if self.seats[number].leaves_since.is_some_and(|since| self.now > since + LEAVE_MAX) {
                self.find(format!("n{number} has not left within {LEAVE_MAX:?}"));
                self.kill(number, Survival::Everything, self.now);
            }
            let seat = &self.seats[number];
            let is_due = seat.start_at.is_some_and(|at| at <= self.now);
            if is_due && !self.hosts[number].is_alive() {
                self.start(number);
            }
        }
    }

    /// A node in memory is gone with its process.
    fn forget_unless_durable(&mut self, number: usize) {
        if !self.setup.is_durable {
            self.seats[number].id = None;
        }
    }

    fn take_away_stopped(&mut self, number: usize, why: &str) {
        let seat = &self.seats[number];
        if seat.has_disk_fault || seat.is_suspect {
            self.note(format!("n{number} has stopped: {why}"));
        } else {
            self.find(format!("n{number} has stopped by itself: {why}"));
        }
        self.record_process(number, Happening::Ended);
        let pause = Duration::from_millis(200 + self.chance.below(1_500) as u64);
        self.kill(number, Survival::Everything, self.now + pause);
        if self.seats[number].is_suspect {
            self.wipe(number);
        }
    }

    /// Ends the process of a machine; the next one starts at `start_at` if one is wanted.
    pub(super) fn kill(&mut self, number: usize, survival: Survival, start_at: Duration) {
        if self.hosts[number].is_alive() {
            self.record_process(number, Happening::Killed);
        }
        self.hosts[number].kill(&self.network, survival);
        self.forget_unless_durable(number);
        let seat = &mut self.seats[number];
        seat.leaves_since = None;
        seat.start_at = seat.is_wanted.then_some(start_at);
    }

    /// Gives a machine without a process an empty disk.
    pub(super) fn wipe(&mut self, number: usize) {
        self.hosts[number].wipe();
        self.seats[number].id = None;
        self.seats[number].is_suspect = false;
        self.note(format!("n{number} has an empty disk"));
    }

    fn start(&mut self, number: usize) {
        let address = Setup::address(number, self.seats[number].moves);
        self.hosts[number].address = address;
        let seeds = self.hosts.iter().map(|host| host.address.to_string()).collect();
        let config = self.setup.config(number, address, seeds);
        let rng_seed = self.chance.bytes();
        let locks = &self.locks[number];
        let eyes = self.invariants.eyes();
        let host = &mut self.hosts[number];
        let started = host.start(&self.network, locks, config, self.now, rng_seed, &eyes);
        let is_disk_spoilt = self.is_disk_spoilt(number);
        let seat = &mut self.seats[number];
        seat.start_at = None;
        seat.has_disk_fault = is_disk_spoilt;
        if let Err(why) = started {
            if is_disk_spoilt {
                self.note(format!("n{number} cannot start: {why}"));
            } else if seat.is_suspect {
                self.note(format!("n{number} refuses to start: {why}"));
                self.wipe(number);
            } else {
                self.find(format!("n{number} does not start: {why}"));
            }
            self.seats[number].start_at = Some(self.now + Duration::from_millis(500));
            return;
        }
        let host = &self.hosts[number];
        let id = host.node().map(quorate::Node::id);
        if let Some(id) = id {
            self.ground.introduce(id, u8::try_from(number).unwrap_or(u8::MAX));
            self.note(format!("n{number} starts as {id} at {address}"));
        }
        self.seats[number].id = id;
        self.record_process(number, Happening::Started);
        clients::start(&self.hosts[number], &self.setup, &self.ground, &mut self.chance);
    }

    fn watch_leaders(&mut self) {
        for (number, status) in self.statuses() {
            let term = status.raft.term;
            if status.raft.role != Role::Leader {
                continue;
            }
            if self.leaders.entry(term).or_default().insert(number) {
                self.note(format!("n{number} leads in term {term}"));
                let node = u8::try_from(number).ok();
                self.ground.record(Line::Leader { at: self.ground.moment(), node, term });
            }
        }
    }

    /// Tells whether all machines that are to run have a node that serves.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_up = |number: usize| {
            let status = self.hosts[number].status();
            status.is_some_and(|status| status.node.state == State::Ready)
        };
        (0..self.hosts.len()).all(|number| !self.seats[number].is_wanted || is_up(number))
    }

    /// Tells whether the nodes on these machines may be lost for good, all of them, and no voter's majority with them; nor that of
    /// the voters there will be if a leader that has not heard of it yet has them vote, too.
    pub(super) fn may_lose(&self, numbers: &[usize]) -> bool {
        let kept = |number: &usize| {
            let seat = &self.seats[*number];
            // One that leaves may be gone before the others have let it go, and a guest that has does not come back as who it was.
            let stays = seat.is_wanted && seat.leaves_since.is_none();
            !numbers.contains(number) && !seat.is_suspect && stays
        };
        let kept = (0..self.seats.len()).filter(kept).filter_map(|n| self.seats[n].id);
        let kept: BTreeSet<NodeId> = kept.collect();
        let views: Vec<_> = self.statuses().into_iter().map(|(n, s)| (n, s.voters)).collect();
        let target = usize::from(self.setup.voters_target);
        let lost: Vec<NodeId> = numbers.iter().filter_map(|n| self.seats[*n].id).collect();
        let is_safe = |(number, voters): &(usize, Vec<NodeId>)| {
            let left = voters.iter().filter(|voter| kept.contains(voter)).count();
            let has = |voter| kept.contains(&voter);
            let id = self.seats[*number].id;
            let others = lost.iter().filter(|id| !voters.contains(id)).count();
            let most = (voters.len() + others).min(target.max(voters.len()));
            left > most / 2 && id.is_none_or(|id| self.invariants.is_majority_left(id, has))
        };
        let known: Vec<_> = views.into_iter().filter(|(_, voters)| !voters.is_empty()).collect();
        !known.is_empty() && known.iter().all(is_safe)
    }
}

/// How long a planned leave may take: the product says about 3 s.
const LEAVE_MAX: Duration = Duration::from_secs(8);
