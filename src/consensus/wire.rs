//! What nodes say to each other about consensus.
//!
//! Owns the calls and their answers, and the frames of forwarded batches and snapshots. Does not send them.
//! Invariant: a variant keeps its place for ever, since the place is what stands on the wire.

use std::sync::Arc;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::raft::{SnapshotMeta, Types, Vote};
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
    /// How far must I have applied to answer reads?
    ReadIndex,
    /// My session lives.
    Renew { session: SessionId },
    /// Open a session for me.
    Open { nonce: u64, node: NodeId, placement: Placement },
    /// Take me in.
    Join { node: NodeId, placement: Placement },
    /// I am about to stop.
    Leave { node: NodeId, session: Option<SessionId> },
    /// Promise to take part in my first formation and in no other.
    Promise { initiator: NodeId, formation: FormationId },
    /// That formation will not be.
    Withdraw { formation: FormationId },
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
