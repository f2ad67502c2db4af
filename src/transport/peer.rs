//! Who is at each end of a link, and what a stream between them is for.
//!
//! Owns the plain values that name nodes, classes and purposes. Does not open anything.
//! Invariant: a [`Class`] keeps its number on the wire for ever.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{FormationId, GroupId, Label, NodeId};

/// Who this node is, as it says in its hello.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's name. Nodes of another name are refused.
    pub cluster: Label,
    /// This process start.
    pub node: NodeId,
    /// The node's name for people.
    pub name: String,
    /// Where others reach this node, if that is not the address of its socket.
    pub advertise: Option<SocketAddr>,
    /// The settings that must be equal on all nodes, as key and value. A peer with another value is refused, and both
    /// sides say which key and which values.
    pub settings: Vec<(String, String)>,
}

/// A node to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its id; none for a seed whose id is not known yet. A node of another id is refused.
    pub id: Option<NodeId>,
    /// The address that it advertises.
    pub address: SocketAddr,
}

/// The node at the other end of a link, as its hello told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its id.
    pub id: NodeId,
    /// Its name for people.
    pub name: String,
    /// The address that it advertises.
    pub address: SocketAddr,
}

impl Remote {
    /// Gives what it takes to open a stream back to it.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        Peer { id: Some(self.id), address: self.address }
    }
}

/// What kind of frames a stream carries; decides their size limit and which go first when a link is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Membership.
    Gossip,
    /// Votes, read indices, formation, renewals: small and urgent.
    Control,
    /// Log entries.
    Append,
    /// Snapshots: large and patient.
    Snapshot,
    /// Commands for the leader.
    Forward,
    /// Published messages.
    Publish,
    /// Committed entries and snapshots for nodes outside the Raft group.
    Follow,
}

impl Class {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Gossip,
        Self::Control,
        Self::Append,
        Self::Snapshot,
        Self::Forward,
        Self::Publish,
        Self::Follow,
    ];

    /// Gives the QUIC stream priority: of the data that waits here, the higher goes first.
    pub(super) const fn priority(self) -> i32 {
        match self {
            Self::Control | Self::Append => 10,
            Self::Gossip => 8,
            Self::Forward => 5,
            Self::Follow => 3,
            Self::Publish => 0,
            Self::Snapshot => -5,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gossip => "gossip",
            Self::Control => "control",
            Self::Append => "append",
            Self::Snapshot => "snapshot",
            Self::Forward => "forward",
            Self::Publish => "publish",
            Self::Follow => "follow",
        })
    }
}

/// What a stream is for; its first frame says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Purpose {
    /// The kind of its frames.
    pub class: Class,
    /// The Raft group it belongs to.
    pub group: GroupId,
    /// The formation of the cluster it belongs to; zero where that does not matter.
    pub formation: FormationId,
}
