//! The settings of consensus.
//!
//! Owns heartbeat, election, batching, snapshot and session times. The ones that must be equal on all nodes are handed
//! in from the `[cluster]` table; see [`Timing`].

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::time::duration_text;

/// Times that must be equal on all nodes. Relations: `heartbeat` < `election_min` < `election_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader reminds its followers.
    pub heartbeat: Duration,
    /// The shortest time without a leader after which a voter stands for election.
    pub election_min: Duration,
    /// The longest; also the leader's lease.
    pub election_max: Duration,
    /// How long the leader waits for a sign of life of a process before it ends its session.
    pub session_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            session_timeout: Duration::from_secs(2),
        }
    }
}

/// Who shall vote; equal on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voting {
    /// How many voters there shall be, as soon as so many nodes live: 1, 3 or 5.
    pub target: usize,
    /// How long a voter may be silent until another takes its place.
    pub replace_after: Duration,
}

impl Default for Voting {
    fn default() -> Self {
        Self { target: 3, replace_after: Duration::from_secs(10) }
    }
}

/// The settings of this node's consensus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a request waits for its outcome before its caller is told `TRYAGAIN` or `UNKNOWN`. Default 10s. Lower
    /// fails sooner during a failover (which takes about 2 × election_max); higher holds callers longer.
    #[serde(with = "duration_text")]
    pub request_timeout: Duration,
    /// The most requests in one log entry. Default 1024. Higher raises throughput under load and the delay of the last
    /// one in a batch.
    pub batch_requests_max: usize,
    /// The most bytes of requests in one log entry, unless one request alone is larger. Default 1MiB.
    pub batch_bytes_max: ByteSize,
    /// The most batches of this node that are under way at once. Default 4. More help on long links; fewer give larger
    /// batches.
    pub batches_in_flight_max: usize,
    /// The most requests that wait to be batched; callers beyond it wait for room. Default 65536.
    pub queue_max: usize,
    /// The most AppendEntries under way to one follower. Default 8. Unbounded pipelining was measured at half the
    /// throughput.
    pub appends_in_flight_max: usize,
    /// A snapshot is taken when the log has grown to this size. Default 64MiB; a quarter of it is kept for
    /// followers that lag. Lower saves memory and costs more snapshots.
    pub snapshot_log_bytes: ByteSize,
    /// How long a snapshot may stand still on its way to a follower, not a byte of it going on. Default 10s.
    #[serde(with = "duration_text")]
    pub snapshot_idle_timeout: Duration,
    /// The most observers that this node feeds. Default 16. Raised: an observer is fewer nodes away from a voter, and each costs
    /// this node its share of the network. Lowered: observers feed each other.
    pub followers_max: usize,
    /// The most observers that this node feeds while it leads and others vote beside it. Default 2. Raised: the leader's cost
    /// of a write grows. Lowered: an observer that finds no other source is turned away.
    pub followers_of_leader_max: usize,
    /// How long entries are gathered for observers under load: once 16 frames, each observer's counted, have left within this
    /// time. Default 2ms. Raised: fewer and larger frames, and observers answer their own writes that much later.
    /// Lowered: the reverse.
    #[serde(with = "duration_text")]
    pub relay_pause: Duration,
    /// How many bytes of frames for observers are kept ready, once for all of them. Default 8 MiB. Raised: more memory.
    /// Lowered: slow observers are read for from the log, which costs the processor more.
    pub relay_bytes: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            batch_requests_max: 1024,
            batch_bytes_max: ByteSize::mib(1),
            batches_in_flight_max: 4,
            queue_max: 65_536,
            appends_in_flight_max: 8,
            snapshot_log_bytes: ByteSize::mib(64),
            snapshot_idle_timeout: Duration::from_secs(10),
            followers_max: 16,
            followers_of_leader_max: 2,
            relay_pause: Duration::from_millis(2),
            relay_bytes: ByteSize::mib(8),
        }
    }
}
