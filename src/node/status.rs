//! What a node says of itself and of its cluster, as data for `/status`, `/readyz` and `/metrics`.
//!
//! Owns the JSON shape, which monitoring reads: fields are added, never renamed. Does not gather the facts. Invariant: ids are
//! text of 13 hexadecimal digits, as in logs, and a [`State`] other than `Ready` comes with its reason.

use std::fmt;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use crate::consensus;
use crate::ids::{Label, NodeId};

/// Everything at one glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// This node.
    pub node: NodeStatus,
    /// Its cluster.
    pub cluster: ClusterStatus,
    /// Agreement, as this node knows it.
    pub raft: RaftStatus,
    /// How committed entries come to this node if it does not vote, and whom it passes them on to.
    pub follow: FollowStatus,
    /// The nodes that vote, in the order of their ids.
    #[serde(serialize_with = "texts")]
    pub voters: Vec<NodeId>,
    /// All nodes that this one knows of, itself too, in the order of their ids.
    pub members: Vec<MemberStatus>,
    /// The lanes on which messages go to and come from each other node, in the order of their ids.
    pub lanes: Vec<LaneStatus>,
    /// Who listens to messages on this node, what waits for them and what they lost.
    pub subscribers: SubscribersStatus,
    /// How many processes have an open session in the replicated state.
    pub sessions: u64,
    /// How many keys, fields, members and shares of counters are bound to sessions.
    pub bound: u64,
    /// How many clients of the cluster wait for an element of a list.
    pub waiting: u64,
    /// What the manager of voters decided last and why; none where this node does not lead.
    pub manager: Option<ManagerStatus>,
}

/// What the manager of voters decided last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManagerStatus {
    /// What it does, and why.
    pub decision: String,
    /// When it came to that, in milliseconds since 1970 by the leader's clock.
    pub at_ms: u64,
}

/// One node about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Its id.
    #[serde(serialize_with = "text")]
    pub id: NodeId,
    /// Its name for people.
    pub name: String,
    /// The address that it tells others.
    pub address: SocketAddr,
    /// Where it is in its life.
    pub state: State,
    /// Why it cannot serve, unless it is ready.
    pub reason: Option<String>,
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not yet in a cluster: it forms one, or looks for one.
    Joining,
    /// In a cluster, and not yet up to date.
    Syncing,
    /// Up to date, with a leader: it serves.
    Ready,
    /// There is no leader: no writes, no linearizable reads.
    Halted,
    /// On its way out.
    Leaving,
}

/// The cluster that the node is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub id: Label,
    /// Grows each time that the cluster is formed anew from survivors; zero before the node is in it.
    pub epoch: u64,
    /// Which formation of that name it is; none before the node is in it.
    pub formation: Option<String>,
    /// Why it was formed anew last, if this node did it since its start.
    pub origin: Option<String>,
}

/// Agreement as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RaftStatus {
    /// What this node is in it.
    pub role: Role,
    /// Who leads, if anybody does.
    #[serde(serialize_with = "maybe_text")]
    pub leader: Option<NodeId>,
    /// The Raft term.
    pub term: u64,
    /// The index of the last entry that this node has applied.
    pub applied: u64,
    /// The index of the last entry in this node's log.
    pub last_log: u64,
    /// How many entries of its log this node has yet to apply.
    pub lag: u64,
    /// How many entries its log holds in memory.
    pub log_entries: u64,
    /// How many bytes they have.
    pub log_bytes: u64,
}

/// The way of committed entries outside the votes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FollowStatus {
    /// The node that feeds this one; none while it votes, or while it seeks one.
    #[serde(serialize_with = "maybe_text")]
    pub source: Option<NodeId>,
    /// How many committed entries, as far as the source has told, this node has yet to apply.
    pub lag_entries: u64,
    /// For how many milliseconds it has known of the first of them.
    pub lag_ms: u64,
    /// Milliseconds from the leader's stamp on an entry to its application here, by both machines' clocks, over the last 1024
    /// frames: the one in the middle.
    pub delay_median_ms: u64,
    /// The slowest of a hundred.
    pub delay_p99_ms: u64,
    /// How many chunks of snapshots, of about 1 MiB each, came from sources.
    pub snapshot_chunks: u64,
    /// How many nodes this one feeds.
    pub feeds: u64,
}

/// The two lanes of messages between this node and one other, since the lane to it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneStatus {
    /// The other node.
    #[serde(serialize_with = "text")]
    pub peer: NodeId,
    /// Whether messages go to it at once; if not they wait.
    pub up: bool,
    /// How many bytes wait for it.
    pub queued_bytes: u64,
    /// How many messages to it were dropped because too much waited.
    pub dropped: u64,
    /// How many messages were sent to it.
    pub sent: u64,
    /// How many bytes they had, with all that stands around them.
    pub sent_bytes: u64,
    /// How many messages were not sent to it because nobody there listens to their channel.
    pub withheld: u64,
    /// Of how many channels it has said so.
    pub prunes_held: u64,
    /// Of how many channels this node has said so to it.
    pub prunes_made: u64,
    /// How often this node has asked it for such channels again.
    pub grafts: u64,
    /// How often the lane to it was opened again.
    pub reconnects: u64,
    /// How many messages came from it.
    pub received: u64,
    /// How many messages from it are known to be missing.
    pub missed: u64,
    /// How many unreliable messages were sent to it; these five are in none of the numbers above.
    pub unreliable_sent: u64,
    /// How many were not, because no link to it was up or it was too slow for so many.
    pub unreliable_unsent: u64,
    /// How many came from it and were new.
    pub unreliable_received: u64,
    /// How many from it have not come.
    pub unreliable_missing: u64,
    /// How many from it came behind a newer one of their channel, and were dropped.
    pub unreliable_stale: u64,
}

/// The subscribers of one node all together: Redis clients that have subscribed, and those of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SubscribersStatus {
    /// How many there are.
    pub count: u64,
    /// How many subscriptions they have.
    pub subscriptions: u64,
    /// How many messages wait for them.
    pub queued: u64,
    /// How many bytes those have, with bookkeeping. A payload that waits for several counts for each.
    pub queued_bytes: u64,
    /// How many messages they lost since the node's start because they were too slow.
    pub lost_slow: u64,
    /// How many they were told that links have lost: one counts for each subscriber.
    pub lost_link: u64,
    /// How often they were told that links have lost messages that nobody could count.
    pub lost_uncounted: u64,
    /// How many messages were replaced by later ones, for subscriptions that want the latest only.
    pub replaced: u64,
    /// How many subscribers were cut off because they were too slow.
    pub cut: u64,
}

/// What a node is in agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It orders the writes.
    Leader,
    /// It votes.
    Follower,
    /// It follows without a vote.
    Observer,
}

impl From<consensus::Role> for Role {
    fn from(role: consensus::Role) -> Self {
        match role {
            consensus::Role::Leader => Self::Leader,
            consensus::Role::Follower => Self::Follower,
            consensus::Role::Observer => Self::Observer,
        }
    }
}

/// One node as another sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its id.
    #[serde(serialize_with = "text")]
    pub id: NodeId,
    /// Its name for people.
    pub name: String,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Whether it is believed to be alive.
    pub alive: bool,
    /// What it is in agreement; none when it is known from gossip alone.
    pub role: Option<Role>,
    /// Its open session; none when it has none.
    pub session: Option<String>,
    /// How many keys, fields, members and shares of counters are bound to that.
    pub bound: u64,
}

fn text<T: fmt::Display, S: Serializer>(id: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(id)
}

fn maybe_text<S: Serializer>(id: &Option<NodeId>, out: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => out.collect_str(id),
        None => out.serialize_none(),
    }
}

fn texts<S: Serializer>(ids: &[NodeId], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(ids.iter().map(NodeId::to_string))
}
