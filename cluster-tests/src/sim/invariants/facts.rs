//! What is known of each node and each formation from all that was seen.
//!
//! Owns the bookkeeping that the invariants share: the log of each node as it is now, how far it has come, and of each
//! formation what was applied and committed first. Judges nothing. Invariant: a node that is gone keeps its last facts, since
//! what it had acknowledged counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::consensus::witness::{Applied, Ballot, Installed, Logged, Mark, Opened, Seen};
use quorate::ids::{FormationId, NodeId};

use super::super::view::{HostView, View};
use super::eyes::Sighting;

/// Of the oldest entries of a formation, more than so many are forgotten.
const ENTRIES_MAX: usize = 400_000;

/// For so long after a process has ended something may be done for its sake.
const LATE_MAX: Duration = Duration::from_secs(5);

/// Sets of voters of which each must have a majority.
pub(super) type Quorums = Vec<BTreeSet<NodeId>>;

/// Tells whether a majority of each set is meant by `has`.
pub(super) fn is_quorum(quorums: &Quorums, has: impl Fn(NodeId) -> bool) -> bool {
    let majority =
        |set: &BTreeSet<NodeId>| set.iter().filter(|id| has(**id)).count() * 2 > set.len();
    !quorums.is_empty() && quorums.iter().all(majority)
}

/// One node, as far as it was seen.
#[derive(Clone, Debug)]
pub(super) struct NodeFacts {
    /// Where it runs or ran.
    pub(super) host: usize,
    /// Whether a process of it runs whose witness has spoken.
    pub(super) formation: FormationId,
    /// Its engine is being replaced: what it applies is the beginning of another formation.
    pub(super) is_between: bool,
    pub(super) vote: Option<Ballot>,
    pub(super) log: BTreeMap<u64, Logged>,
    /// The last entry that is gone from the beginning.
    pub(super) base: Option<Mark>,
    pub(super) snapshot: Option<Mark>,
    /// The log is durable up to this index.
    pub(super) durable: u64,
    pub(super) committed: Option<Mark>,
    /// What this process has applied last.
    pub(super) applied: Option<Mark>,
    /// Who votes from which index on.
    pub(super) voters: BTreeMap<u64, Quorums>,
}

impl NodeFacts {
    fn new(host: usize) -> Self {
        Self {
            host,
            formation: FormationId::NONE,
            is_between: false,
            vote: None,
            log: BTreeMap::new(),
            base: None,
            snapshot: None,
            durable: 0,
            committed: None,
            applied: None,
            voters: BTreeMap::new(),
        }
    }

    /// The last entry that it has, in its log or forgotten.
    pub(super) fn last(&self) -> Option<Mark> {
        let last = self.log.last_key_value().map(|(_, logged)| logged.mark);
        last.max_by_index(self.base).max_by_index(self.snapshot)
    }

    /// The entry at `index`, if it is known.
    pub(super) fn mark_at(&self, index: u64) -> Option<Mark> {
        let known = [self.base, self.snapshot, self.applied];
        let at = |mark: &Mark| mark.index == index;
        let logged = self.log.get(&index).map(|logged| logged.mark);
        logged.or_else(|| known.into_iter().flatten().find(at))
    }

    /// Tells whether it has this very entry for good, as far as it has said.
    pub(super) fn holds(&self, mark: Mark) -> bool {
        let is_behind = |upto: Option<Mark>| upto.is_some_and(|upto| upto.index >= mark.index);
        let is_logged = self.log.get(&mark.index).is_some_and(|logged| logged.mark == mark);
        (is_logged && self.durable >= mark.index)
            || (!self.log.contains_key(&mark.index)
                && (is_behind(self.base) || is_behind(self.snapshot)))
    }

    /// Who decides now, and who did before that.
    pub(super) fn quorums(&self) -> impl Iterator<Item = &Quorums> {
        self.voters.values().rev().take(2)
    }

    fn opened(&mut self, opened: &Opened) {
        let base = opened.purged;
        *self = Self {
            formation: self.formation,
            vote: opened.vote,
            committed: opened.committed,
            snapshot: opened.snapshot,
            base,
            ..Self::new(self.host)
        };
        self.append(&opened.entries);
        self.durable = self.last().map_or(0, |last| last.index);
    }

    fn append(&mut self, entries: &[Logged]) {
        for logged in entries {
            if let Some(voters) = &logged.voters {
                self.voters.insert(logged.mark.index, voters.clone());
            }
            self.log.insert(logged.mark.index, logged.clone());
        }
    }

    fn install(&mut self, installed: &Installed) {
        self.applied = installed.last;
        self.snapshot = self.snapshot.max_by_index(installed.last);
        self.committed = self.committed.max_by_index(installed.last);
        if let Some(voters) = &installed.voters {
            self.voters.insert(installed.last.map_or(0, |last| last.index), voters.clone());
        }
    }

    fn start_over(&mut self, node: NodeId, upto: Mark, vote: Ballot) {
        *self = Self {
            formation: self.formation,
            vote: Some(vote),
            base: Some(upto),
            snapshot: Some(upto),
            durable: upto.index,
            committed: Some(upto),
            applied: Some(upto),
            ..Self::new(self.host)
        };
        self.voters.insert(upto.index, vec![BTreeSet::from([node])]);
    }

    fn update(&mut self, node: NodeId, seen: &Seen) {
        match seen {
            Seen::Opened(opened) => self.opened(opened),
            Seen::Formation(formation) => {
                self.formation = *formation;
                self.is_between = false;
            }
            Seen::EngineStopped => self.is_between = true,
            Seen::Voted(vote) => self.vote = Some(*vote),
            Seen::Appended(entries) => self.append(entries),
            Seen::Durable(last) => self.durable = self.durable.max(last.index),
            Seen::Truncated(from) => {
                self.log.split_off(from);
                self.voters.split_off(from);
                self.durable = self.durable.min(from.saturating_sub(1));
            }
            Seen::Purged(upto) => {
                self.base = Some(*upto);
                self.log = self.log.split_off(&upto.index.saturating_add(1));
                self.durable = self.durable.max(upto.index);
            }
            Seen::Committed(upto) => self.committed = Some(*upto),
            Seen::StartedOver(upto, vote) => self.start_over(node, *upto, *vote),
            Seen::Cleared => *self = Self { is_between: true, ..Self::new(self.host) },
            Seen::Applied(applied) => self.applied = Some(applied.logged.mark),
            Seen::Installed(installed) => self.install(installed),
            Seen::SnapshotBuilt(last) => self.snapshot = self.snapshot.max_by_index(*last),
            Seen::State(..) => {}
        }
    }
}

/// What one entry did on the node that applied it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) mark: Mark,
    pub(super) digest: u64,
    /// Replies, clock and revision afterwards.
    pub(super) outcome: Option<(u64, u64, u64)>,
}

impl Record {
    pub(super) fn of(applied: &Applied) -> Self {
        let Logged { mark, digest, .. } = applied.logged;
        let outcome = |deed: &quorate::consensus::witness::Deed| {
            (deed.replies, deed.now.as_millis(), deed.revision.1)
        };
        Self { mark, digest, outcome: applied.deed.as_ref().map(outcome) }
    }
}

/// One formation: what its nodes agree on.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By index.
    pub(super) entries: BTreeMap<u64, Record>,
    /// The last entry that any node knew to be committed.
    pub(super) committed: Option<Mark>,
    /// The last one that was committed under each leader: term and node.
    pub(super) by_leader: BTreeMap<(u64, NodeId), Mark>,
}

impl Ledger {
    fn commit(&mut self, upto: Mark, under: Option<Ballot>) {
        if self.committed.is_some_and(|committed| committed.index >= upto.index) {
            return;
        }
        self.committed = Some(upto);
        if let Some(vote) = under {
            self.by_leader.insert((vote.term, vote.node), upto);
        }
    }
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) nodes: BTreeMap<NodeId, NodeFacts>,
    pub(super) formations: BTreeMap<FormationId, Ledger>,
    /// Which node a process is, by host and incarnation.
    processes: BTreeMap<(usize, u64), NodeId>,
    /// From when until when each node had no process that was to stay.
    absences: BTreeMap<NodeId, Vec<(Duration, Duration)>>,
    /// The time of what is being judged.
    pub(super) now: Duration,
}

impl Facts {
    /// The node that a sighting is of.
    pub(super) fn node(&self, sighting: &Sighting) -> Option<NodeId> {
        if let Seen::Opened(opened) = &sighting.seen {
            return Some(opened.node);
        }
        self.processes.get(&(sighting.host, sighting.incarnation)).copied()
    }

    /// Notes the time, and whose process has ended or leaves.
    pub(super) fn look(&mut self, view: &View<'_>) {
        let before = std::mem::replace(&mut self.now, view.now);
        let stays = |host: &&HostView<'_>| !host.is_ending;
        let there: BTreeSet<_> =
            view.hosts.iter().filter(stays).filter_map(|host| Some(host.node?.id())).collect();
        for node in self.nodes.keys().filter(|node| !there.contains(node)) {
            let absences = self.absences.entry(*node).or_default();
            match absences.last_mut() {
                Some((_, until)) if *until == before => *until = view.now,
                _ => absences.push((view.now, view.now)),
            }
        }
    }

    /// Notes that a node's process has ended.
    #[cfg(test)]
    pub(super) fn note_end(&mut self, node: NodeId) {
        self.absences.entry(node).or_default().push((self.now, self.now));
    }

    /// Tells whether what was done to a node then may have been for a process of it that was gone.
    pub(super) fn may_be_gone(&self, node: NodeId, then: Duration) -> bool {
        let is_near = |(from, until): &(Duration, Duration)| {
            *from <= then && then.saturating_sub(*until) < LATE_MAX
        };
        self.absences.get(&node).is_some_and(|absences| absences.iter().any(is_near))
    }

    /// Of a node that takes part in a formation, its facts and those of the formation.
    pub(super) fn member(&self, node: NodeId) -> Option<(&NodeFacts, &Ledger)> {
        let facts = self.nodes.get(&node)?;
        let is_in = facts.formation.is_some() && !facts.is_between;
        Some((facts, is_in.then(|| self.formations.get(&facts.formation)).flatten()?))
    }

    /// Takes a sighting in.
    pub(super) fn update(&mut self, node: NodeId, sighting: &Sighting) {
        let Sighting { host, incarnation, seen } = sighting;
        if let Seen::Opened(_) = seen {
            self.processes.insert((*host, *incarnation), node);
        }
        let facts = self.nodes.entry(node).or_insert_with(|| NodeFacts::new(*host));
        facts.host = *host;
        facts.update(node, seen);
        if !facts.formation.is_some() || facts.is_between {
            return;
        }
        let ledger = self.formations.entry(facts.formation).or_default();
        match seen {
            Seen::Committed(upto) => ledger.commit(*upto, facts.vote),
            Seen::Applied(applied) => {
                ledger
                    .entries
                    .entry(applied.logged.mark.index)
                    .or_insert_with(|| Record::of(applied));
                while ledger.entries.len() > ENTRIES_MAX {
                    ledger.entries.pop_first();
                }
            }
            _ => {}
        }
    }
}

/// The later of two places, by index.
pub(super) trait Later {
    fn max_by_index(self, other: Self) -> Self;
}

impl Later for Option<Mark> {
    fn max_by_index(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(two)) => Some(if two.index > one.index { two } else { one }),
            (one, two) => one.or(two),
        }
    }
}
