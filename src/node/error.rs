//! Why a node does not start, and why a request is not answered.
//!
//! Owns the texts that a client or an operator is told. Invariant: the text of a request's error begins with its code
//! word, as Redis' errors do.

use crate::{consensus, host, membership, pubsub, storage, transport};

/// Why a request was not answered. The text is what a client is told, code word first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Surely not done: no leader took it within its deadline. Retry.
    #[error("TRYAGAIN no leader within the deadline; the command surely had no effect")]
    TryAgain,
    /// May have been done: its deadline passed, or its session ended, while it was under way.
    #[error("UNKNOWN no outcome within the deadline; the command may have had its effect")]
    Unknown,
    /// The majority of the voters cannot be reached. Only messages and local reads go on.
    #[error("CLUSTERDOWN {alive} of {voters} voters alive, no majority; the command had no effect")]
    ClusterDown {
        /// How many voters gossip believes to be alive.
        alive: usize,
        /// How many there are.
        voters: usize,
    },
    /// Surely not done: too large for one log entry.
    #[error(
        "ERR request of {size} bytes exceeds the limit of {limit} bytes; raise transport.frame_max to allow it"
    )]
    TooLarge {
        /// How large it is.
        size: usize,
        /// The most there may be.
        limit: usize,
    },
    /// Surely not done: the node is leaving or has stopped. Go to another.
    #[error("CLUSTERDOWN this node has stopped")]
    Stopped,
}

/// Why a node does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key of the configuration, or a file that it names. Somebody must change it.
    #[error("{0}")]
    Config(#[from] super::config::Error),
    /// The cluster port or the credentials cannot be used. Somebody must change them.
    #[error("{0}")]
    Transport(#[from] transport::Error),
    /// Gossip cannot go on.
    #[error("{0}")]
    Membership(#[from] membership::Error),
    /// Consensus cannot go on.
    #[error("{0}")]
    Consensus(#[from] consensus::Error),
    /// The lock of this process cannot be taken. Somebody must change its folder, or stop the process that holds it.
    #[error("{0}")]
    Host(#[from] host::Error),
    /// Pub/sub refuses its settings.
    #[error("{0}")]
    PubSub(#[from] pubsub::Error),
    /// The data folder cannot be used: it is in use, damaged, or the system refuses.
    #[error("{0}")]
    Storage(#[from] storage::Error),
    /// The backup that the cluster was to begin with. Somebody must name another.
    #[error("cannot restore: {0}")]
    Restore(#[from] consensus::BackupError),
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

impl StartError {
    /// Tells whether somebody must change the configuration before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Config(_) | Self::Transport(_) | Self::Host(_) | Self::Restore(_) => true,
            Self::Storage(error) => error.is_in_use(),
            Self::Membership(_) | Self::Consensus(_) | Self::PubSub(_) | Self::Random(_) => false,
        }
    }
}
