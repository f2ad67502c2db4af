//! What openraft is told about our types.
//!
//! Owns the type configuration: ids, the payload of a log entry, what is known of a member. Invariant: a payload is
//! cheap to clone, because each follower's stream and the apply task read it again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{Action, Entry};
use crate::ids::{NodeId, Placement};

/// Our types, for openraft. By hand, because its macro refuses another `Responder`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Proposal;
    type R = ();
    type NodeId = NodeId;
    type Node = Placement;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Proposal, NodeId, Placement>;
    type Entry =
        openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type LogEntry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type Membership = openraft::Membership<NodeId, Placement>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
/// Tells of who leads and who takes part.
pub(crate) type ServerMetrics = openraft::type_config::alias::WatchReceiverOf<
    Types,
    openraft::metrics::RaftServerMetrics<Types>,
>;
pub(crate) type Raft = openraft::Raft<Types, super::machine::Machine>;

/// The payload of a log entry, shared by all who hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proposal(pub(crate) Arc<Entry>);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.action {
            Action::Open { node, .. } => write!(f, "open session of {node}"),
            Action::Batch { session, serial, requests, .. } => {
                write!(f, "batch {session}/{serial} of {}", requests.len())
            }
            Action::Expire { session } => write!(f, "expire {session}"),
            Action::Tick => f.write_str("tick"),
        }
    }
}
