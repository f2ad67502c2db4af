//! What tests may watch of a node's consensus: each vote, entry and application, told as it happens.
//!
//! Owns the shape of what is told, in words of ours, so that nobody outside this room names the engine. Decides nothing: a
//! witness sees and cannot change. Invariant: production has no witness, and then each place that would tell one costs one
//! branch.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use openraft::EntryPayload;
use openraft::entry::RaftEntry;

use super::raft::{LogEntry, LogId, StoredMembership, Vote};
use crate::codec;
use crate::command::Entry;
use crate::ids::{FormationId, NodeId, SessionId};
use crate::keyspace::{Event, Keyspace, Limits, Outcome, Restore};
use crate::time::Timestamp;

/// A place in the log: which entry, and the leader that made it. Ordered as Raft compares logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The term of the leader.
    pub term: u64,
    /// The leader.
    pub leader: NodeId,
    /// The index of the entry.
    pub index: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.term, self.leader, self.index)
    }
}

/// A vote: for whom, in which term, and whether a quorum is known to have given it. Ordered as Raft compares votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// The candidate, or the leader.
    pub node: NodeId,
    /// Whether it was elected.
    pub is_elected: bool,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_elected { "leader" } else { "candidate" };
        write!(f, "{what} {} of term {}", self.node, self.term)
    }
}

/// The sets of voters; of two, a majority of each decides. None: the entry or snapshot says nothing of voters.
pub type Voters = Option<Vec<BTreeSet<NodeId>>>;

/// An entry in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub mark: Mark,
    /// A hash of all of it.
    pub digest: u64,
    /// Who votes from here on, if this entry changes it.
    pub voters: Voters,
}

/// What a log held when it was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The node; the same one as before if it was read from a disk.
    pub node: NodeId,
    /// The vote.
    pub vote: Option<Ballot>,
    /// The last entry known to be committed.
    pub committed: Option<Mark>,
    /// The last entry in the stored snapshot.
    pub snapshot: Option<Mark>,
    /// The last entry that is gone from the beginning.
    pub purged: Option<Mark>,
    /// The rest.
    pub entries: Vec<Logged>,
}

/// An entry as it was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The entry.
    pub logged: Logged,
    /// What it did to the state; none if it was not for the state.
    pub deed: Option<Deed>,
}

/// What an entry did to the state.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The entry's payload.
    pub entry: Arc<Entry>,
    /// What came of it.
    pub event: Event,
    /// Whether keys were due when it came, which it removed first.
    pub is_due: bool,
    /// A hash of all replies, those to waiting clients included.
    pub replies: u64,
    /// The replicated clock afterwards.
    pub now: Timestamp,
    /// The revision before and afterwards.
    pub revision: (u64, u64),
}

/// A session, as a snapshot has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub session: SessionId,
    /// Its node.
    pub node: NodeId,
    /// The last serial that was applied.
    pub serial: u64,
}

/// A state that took the place of another.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The last entry in it.
    pub last: Option<Mark>,
    /// Who votes.
    pub voters: Voters,
    /// A hash of the whole state.
    pub digest: u64,
    /// The replicated clock.
    pub now: Timestamp,
    /// The revision.
    pub revision: u64,
    /// The live sessions.
    pub sessions: Vec<Kept>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The process began with what its log held.
    Opened(Box<Opened>),
    /// The node is in this formation now; [`FormationId::NONE`]: in none.
    Formation(FormationId),
    /// The engine has stopped, and another will take its place: the state may now run ahead of what is committed, as the
    /// beginning of another formation.
    EngineStopped,
    /// A vote is durable.
    Voted(Ballot),
    /// Entries are in the log, but not yet durable.
    Appended(Vec<Logged>),
    /// The log is durable up to here.
    Durable(Mark),
    /// All entries from this index on are gone.
    Truncated(u64),
    /// All entries up to here are gone.
    Purged(Mark),
    /// Everything up to here is committed, as this node knows.
    Committed(Mark),
    /// The log has begun anew behind this entry, with this vote.
    StartedOver(Mark, Ballot),
    /// The log and the position are forgotten; the state stays readable.
    Cleared,
    /// An entry was applied.
    Applied(Box<Applied>),
    /// A snapshot was put in the place of the state.
    Installed(Box<Installed>),
    /// A snapshot is built, and durable where there is a disk.
    SnapshotBuilt(Option<Mark>),
    /// The state has this hash behind this entry. What is wrong with it stands in the list.
    State(Mark, u64, Vec<String>),
}

/// How closely the state is to be looked at behind an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not at all.
    Away,
    /// Its hash. Cost: that of encoding all of it.
    Hash,
    /// Its hash, and whether a snapshot of it gives the same state. Cost: about twice as much.
    Closely,
}

/// Watches one process. It is called within whatever it is told of, locks held: it must be quick, and must not call the node.
pub trait Witness: fmt::Debug + Send + Sync {
    /// Is told what has happened.
    fn see(&self, seen: Seen);

    /// Says how closely the state is to be looked at behind the entry `index`.
    fn look(&self, index: u64) -> Look;
}

/// Where a part of this room tells its witness, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Stand(Arc<OnceLock<Arc<dyn Witness>>>);

impl Stand {
    /// Lets a witness in, once.
    pub(super) fn call(&self, witness: Arc<dyn Witness>) {
        // A second one has come too late.
        let _late = self.0.set(witness);
    }

    /// Tells it, if it is there.
    pub(super) fn tell(&self, seen: impl FnOnce() -> Seen) {
        if let Some(witness) = self.0.get() {
            witness.see(seen());
        }
    }

    pub(super) fn look(&self, index: u64) -> Look {
        self.0.get().map_or(Look::Away, |witness| witness.look(index))
    }

    pub(super) fn is_taken(&self) -> bool {
        self.0.get().is_some()
    }
}

pub(super) fn mark(id: LogId) -> Mark {
    let leader = id.committed_leader_id();
    Mark { term: leader.term, leader: leader.node_id, index: id.index() }
}

pub(super) const fn ballot(vote: &Vote) -> Ballot {
    let leader = &vote.leader_id;
    Ballot { term: leader.term, node: leader.node_id, is_elected: vote.committed }
}

pub(super) fn logged(entry: &LogEntry) -> Logged {
    let voters = match &entry.payload {
        EntryPayload::Membership(membership) => Some(membership.get_joint_config().clone()),
        EntryPayload::Blank | EntryPayload::Normal(_) => None,
    };
    Logged { mark: mark(entry.log_id()), digest: hash(&codec::encode(entry)), voters }
}

pub(super) fn deed(
    entry: &Arc<Entry>,
    outcome: &Outcome,
    (before, is_due): (u64, bool),
    keyspace: &Keyspace,
) -> Deed {
    let replied =
        if let Event::Replied { replies, .. } = &outcome.event { &**replies } else { &[] };
    let replies = hash(&codec::encode(&(replied, &outcome.served)));
    Deed {
        entry: Arc::clone(entry),
        event: outcome.event.clone(),
        is_due,
        replies,
        now: keyspace.now(),
        revision: (before, keyspace.revision()),
    }
}

pub(super) fn installed(
    last: Option<LogId>,
    membership: &StoredMembership,
    keyspace: &Keyspace,
) -> Seen {
    let configs = membership.membership().get_joint_config();
    let sessions = keyspace.sessions().iter().map(|(id, session)| Kept {
        session: *id,
        node: session.node,
        serial: session.last_serial(),
    });
    Seen::Installed(Box::new(Installed {
        last: last.map(mark),
        voters: (!configs.is_empty()).then(|| configs.clone()),
        digest: keyspace.snapshot().digest(),
        now: keyspace.now(),
        revision: keyspace.revision(),
        sessions: sessions.collect(),
    }))
}

/// What is to be known of the state before an entry: its revision, and whether the entry finds keys due.
pub(super) fn before(keyspace: &Keyspace, entry: &Entry) -> (u64, bool) {
    let is_due = keyspace.next_deadline().is_some_and(|due| due <= keyspace.now().max(entry.at));
    (keyspace.revision(), is_due)
}

/// Looks at the state behind an entry.
pub(super) fn state(last: LogId, look: Look, limits: Limits, keyspace: &Keyspace) -> Seen {
    let snapshot = keyspace.snapshot();
    let digest = snapshot.digest();
    let mut faults = Vec::new();
    if look == Look::Closely {
        let mut restore = Restore::new(limits);
        let fed = snapshot.chunks().try_for_each(|chunk| restore.feed(&chunk));
        match fed.and_then(|()| restore.finish()) {
            Ok(copy) => {
                if copy.snapshot().digest() != digest {
                    faults.push("the state differs from what its snapshot gives".to_owned());
                }
                if copy.next_deadline() != keyspace.next_deadline() {
                    faults.push("the next deadline is not the one of its snapshot".to_owned());
                }
            }
            Err(error) => faults.push(format!("a snapshot of it is refused: {error}")),
        }
        if keyspace.waits_without_session() > 0 {
            faults.push("somebody waits whose session has ended".to_owned());
        }
    }
    Seen::State(mark(last), digest, faults)
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
