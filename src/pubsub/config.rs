//! The settings of pub/sub on this node.
//!
//! Owns their defaults. Does not check relations between rooms. Invariant: each limit is enforced where its key says, with an
//! error or a counter that names it.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// How this node publishes and listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most bytes that a channel's name and a payload may have together. Default 16 MiB. Raised: one message takes
    /// more memory on every node, and the transport's `frame_max.publish` must hold it and some more. Lowered: larger
    /// messages are refused with both numbers.
    pub message_max: ByteSize,
    /// The most bytes of a channel's name or of a pattern. Default 8 KiB; more than 512 KiB counts as 512 KiB. Raised: a
    /// client can claim more memory by subscribing, and more time: a pattern made to be slow takes some milliseconds with
    /// each channel of 8 KiB, and four times that for twice the length. Lowered: longer names are refused with both numbers.
    pub name_max: ByteSize,
    /// How many channels and patterns one subscriber may listen to. Default 65,536. Raised: one client can claim more
    /// memory. Lowered: more of them are refused with both numbers.
    pub subscriptions_per_subscriber_max: usize,
    /// How many subscriptions all subscribers of this node may have together; and how many responders it may have. Default
    /// 1,048,576. Raised: more memory. Lowered: more of them are refused with both numbers.
    pub subscriptions_max: usize,
    /// How far a subscriber of this node may fall behind when its door says nothing else.
    pub subscriber: QueueLimits,
    /// How many bytes may wait for one peer. Default 32 MiB. Raised: a slow or unreachable peer holds more memory here
    /// and loses later. Lowered: it loses earlier. What is lost is counted in the lane's report.
    pub outbox_max: ByteSize,
    /// How many requests of this node may wait for replies at once. Default 65,536. Raised: more memory when responders are
    /// slow. Lowered: more of them are refused with both numbers.
    pub requests_max: usize,
    /// How many bytes these may have together. Default 64 MiB; a single one is never too large. Raised and lowered: as
    /// `requests_max`.
    pub requests_bytes_max: ByteSize,
    /// How many requests one responder may have that it has not replied to. Default 4,096. Raised: a slow responder holds
    /// more memory, and its requests wait longer. Lowered: more of them are refused as busy, with both numbers.
    pub responder_requests_max: usize,
    /// How many bytes these may have together. Default 32 MiB; a single one is never too large. Raised and lowered: as
    /// `responder_requests_max`.
    pub responder_bytes_max: ByteSize,
    /// After how many messages from one node to a channel that nobody here listens to, that node is told to send it no more.
    /// Default 8; 0 for never. Raised: more is sent in vain. Lowered: channels used a few times are pruned too, which costs
    /// a message each, and a round trip when somebody subscribes to them.
    pub prune_after: u32,
    /// How many channels, counted once for each other node, this node notes as not to be sent to it, and as many that
    /// others have told it not to send. Default 65,536. Raised: up to about 200 bytes and the name for each, twice, and longer
    /// pauses when a link comes back. Lowered: what has no room is sent in vain.
    pub prunes_max: usize,
    /// How many bytes the names of these may have, in either role. Default 16 MiB. Raised and lowered: as `prunes_max`.
    pub prunes_bytes_max: ByteSize,
    /// How long another node may take to acknowledge that it sends a channel again that it was told not to send, before the
    /// link to it is taken for broken; at most twice as long. Default 5 s. Raised: a node that hangs holds up subscribers
    /// longer. Lowered: a slow network breaks links, and messages are lost.
    #[serde(with = "crate::time::duration_text")]
    pub graft_timeout: Duration,
    /// How long a publisher or a question waits for the peers' counts. Default 50 ms. Raised: a peer that has just died
    /// holds up publishers longer. Lowered: a busy peer's receivers are missing from the count.
    #[serde(with = "crate::time::duration_text")]
    pub count_timeout: Duration,
    /// How long a message to a causal subscriber waits for this node's state, from its arrival. Default 1 s. Raised: messages
    /// come later from a node whose state is behind. Lowered: more of them come before the state, and are marked so.
    #[serde(with = "crate::time::duration_text")]
    pub causal_wait_max: Duration,
    /// How long a joining node waits until a member's lane to it is up. Default 5 s. Raised: a member that hangs holds up
    /// the start longer. Lowered: a slow network fails the start.
    #[serde(with = "crate::time::duration_text")]
    pub attach_timeout: Duration,
    /// How long after a lane broke it is dialled again, at first; each failure doubles it. Default 20 ms. Raised: more is
    /// queued meanwhile. Lowered: more dials to a peer that is gone.
    #[serde(with = "crate::time::duration_text")]
    pub redial_min: Duration,
    /// The longest pause between two dials. Default 1 s. Raised: a healed link is noticed later. Lowered: more dials to a
    /// peer that is gone.
    #[serde(with = "crate::time::duration_text")]
    pub redial_max: Duration,
}

/// What a name may have at most, so that lists of names fit frames whatever the configuration says.
const NAME_MAX_MAX: u64 = 512 * 1024;

impl Config {
    /// Gives the most bytes of a name.
    pub(super) fn name_limit(&self) -> u64 {
        self.name_max.as_u64().min(NAME_MAX_MAX)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_max: ByteSize::mib(16),
            name_max: ByteSize::kib(8),
            subscriptions_per_subscriber_max: 65_536,
            subscriptions_max: 1_048_576,
            subscriber: QueueLimits::default(),
            outbox_max: ByteSize::mib(32),
            requests_max: 65_536,
            requests_bytes_max: ByteSize::mib(64),
            responder_requests_max: 4_096,
            responder_bytes_max: ByteSize::mib(32),
            prune_after: 8,
            prunes_max: 65_536,
            prunes_bytes_max: ByteSize::mib(16),
            graft_timeout: Duration::from_secs(5),
            count_timeout: Duration::from_millis(50),
            causal_wait_max: Duration::from_secs(1),
            attach_timeout: Duration::from_secs(5),
            redial_min: Duration::from_millis(20),
            redial_max: Duration::from_secs(1),
        }
    }
}

/// What becomes of a subscription's messages when its subscriber does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// None is dropped: the subscriber ends with [`Error::Overflow`](super::Error::Overflow) at its limits, as a Redis
    /// client is disconnected.
    #[default]
    Disconnect,
    /// The oldest are dropped, so that what waits never exceeds the hard limit, and are told as
    /// [`Cause::Slow`](super::Cause::Slow). The subscriber stays, however slow it is.
    #[serde(rename = "oldest")]
    DropOldest,
    /// A message takes the place of the one to the same channel that still waits, and stands where the newest stands:
    /// [`Message::replaced`](super::Message::replaced) tells for how many it does. At the hard limit as
    /// [`Policy::DropOldest`].
    #[serde(rename = "latest")]
    LatestOnly,
}

/// How far a subscriber may fall behind before it is cut off. Source: Redis, `client-output-buffer-limit pubsub 32mb 8mb
/// 60`. A message counts with its channel, its payload and about 150 bytes of bookkeeping. All subscribers of a node together
/// may hold as much as their number times `hard`; a payload that waits for many of them is held once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueLimits {
    /// What may wait at most. Above it, messages of subscriptions that may lose some are dropped, oldest first; without
    /// such, the subscriber is cut off at once: see [`Policy`]. Default 32 MiB. Raised: a slow client holds more memory.
    /// Lowered: a burst cuts off clients that would have caught up.
    pub hard: ByteSize,
    /// At more than this for longer than `soft_time` it is cut off; what may be dropped does not count. Default 8 MiB; not
    /// below `hard` switches it off.
    /// Raised: a client that stays behind holds more memory. Lowered: it is cut off at a smaller backlog.
    pub soft: ByteSize,
    /// See `soft`. Default 60 s. Raised: a client may stay behind longer. Lowered: it has less time to catch up.
    #[serde(with = "crate::time::duration_text")]
    pub soft_time: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { hard: ByteSize::mib(32), soft: ByteSize::mib(8), soft_time: Duration::from_secs(60) }
    }
}
