//! What nodes say to each other about consensus.
//!
//! Owns the calls and their answers, and the frames of forwarded batches and snapshots. Does not send them.
//! Invariant: a variant keeps its place for ever, since the place is what stands on the wire.

use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::raft::{LogId, SnapshotMeta, Types, Vote};
use super::sources::Urgency;
use crate::command::Request;
use crate::ids::{FormationId, NodeId, Placement, SessionId};
use crate::time::Timestamp;

/// What one node asks of another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Call {
    /// Raft's RequestVote.
    Vote(VoteRequest<Types>),
    /// Would you grant this vote?
    PreVote(VoteRequest<Types>),
    /// A heartbeat; entries go by a stream of their own.
    Append(AppendEntriesRequest<Types>),
    /// Take over as leader.
    TransferLeader(TransferLeaderRequest<Types>),
    /// How far must I have applied to answer reads? A voter tells its vote, which is as good as an acknowledgement.
    ReadIndex { node: NodeId, vote: Option<Vote> },
    /// My session lives.
    Renew { session: SessionId },
    /// Open a session for me.
    Open { nonce: u64, node: NodeId, placement: Placement },
    /// I am about to stop, and this is my session: give my vote to others first; end the session at the end.
    Leave { node: NodeId, session: Option<SessionId>, is_end: bool },
    /// Promise to take part in my first formation and in no other.
    Promise { initiator: NodeId, formation: FormationId },
    /// That formation will not be.
    Withdraw { formation: FormationId },
    /// I voted for a later term than yours before I was removed; lead in one beyond it.
    Outrun { node: NodeId, vote: Vote },
    /// The process of this session is proven dead; a durable one may come back with its data.
    Dead { session: SessionId, is_durable: bool },
    /// The majority is gone, or the leader: what do you have?
    Survey,
    /// Promise not to go on in this formation, but to follow the next.
    Yield { to: NodeId, next: FormationId },
    /// The cluster goes on under this formation, here.
    Reformed { formation: FormationId, node: NodeId, placement: Placement },
    /// What is the last vote that you gave?
    GivenVote,
}

/// What the other answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Vote(VoteResponse<Types>),
    Append(AppendEntriesResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    ReadIndex {
        index: u64,
        at: Timestamp,
    },
    /// The session that was asked for; the entry that opens it may not be applied where it was asked.
    Opened {
        session: SessionId,
    },
    /// Done; also where nothing else is to be said.
    Done,
    /// Ask the leader, if it is known.
    NotLeader {
        leader: Option<(NodeId, Placement)>,
    },
    /// Not a session that is open.
    NoSession,
    /// Not now, or not ever; the reason is for people.
    Refused {
        reason: String,
    },
    /// What a survivor has, and whether it has promised.
    Surveyed {
        last: Option<LogId>,
        is_led: bool,
        is_promised: bool,
    },
    /// None once the node has promised to follow another formation.
    GivenVote {
        vote: Option<Vote>,
    },
}

/// A batch on its way to the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Forwarded {
    pub(super) session: SessionId,
    pub(super) serial: u64,
    pub(super) acknowledged: u64,
    pub(super) requests: Arc<[Request]>,
}

/// Why the leader takes no more batches from a stream: from this serial on they are surely in no log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rejected {
    pub(super) refused_from: Option<u64>,
}

/// The first frame of a snapshot's stream; its chunks follow, then the stream ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotHeader {
    pub(super) vote: Vote,
    pub(super) meta: SnapshotMeta,
}

/// The receiver's vote once a snapshot is installed or refused.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotDone {
    pub(super) vote: Vote,
}

/// The first frame of a follower: what it has. Nothing else follows from its side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) node: NodeId,
    /// The last entry that it has applied.
    pub(super) applied: Option<LogId>,
    /// The snapshot of which it has a beginning.
    pub(super) begun: Option<Begun>,
    pub(super) urgency: Urgency,
}

/// The beginning of a snapshot. Equal states give equal chunks, so any source that has this snapshot can go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The last entry in it.
    pub(super) last: LogId,
    /// How many chunks have come.
    pub(super) chunks: u64,
}

/// What a source sends to a follower.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Supply {
    /// Committed entries.
    Entries(AppendEntriesRequest<Types>),
    /// Nothing new, or this beside it; renews no lease.
    Alive(Alive),
    /// A snapshot begins, with the chunk of this number.
    Snapshot { vote: Vote, meta: SnapshotMeta, from: u64 },
    /// Its next chunk.
    Chunk(Bytes),
    /// That was the last one.
    SnapshotEnd,
    /// Not from here; ask these.
    Refused { reason: String, others: Vec<(NodeId, Placement)> },
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alive {
    /// What it has committed and applied.
    pub(super) committed: u64,
    /// The newest vote that it knows of.
    pub(super) vote: Vote,
    /// How long ago it, or the voter at the beginning of its chain, has heard of a leader.
    pub(super) age_ms: u64,
    /// How many nodes stand between it and a voter, itself included; zero for a voter.
    pub(super) depth: u8,
}
