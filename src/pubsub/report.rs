//! What the lanes have carried and lost, and what the subscribers wait for and lost, for the status.
//!
//! Owns the shape of the report. Does not count. Invariant: what was lost is in one of its numbers.

use std::net::SocketAddr;
use std::sync::Arc;

use super::hub::{Hub, State};
use super::queue::QueueReport;
use super::{Kind, UnreliableReport};
use crate::ids::NodeId;

/// The two lanes between this node and one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneReport {
    /// The peer.
    pub peer: NodeId,
    /// Where this node dials it.
    pub address: SocketAddr,
    /// Whether messages go to it at once; if not they wait.
    pub is_up: bool,
    /// How many frames wait for it.
    pub queued: u64,
    /// How many bytes they weigh.
    pub queued_bytes: u64,
    /// How many messages to it were dropped because too much waited.
    pub dropped: u64,
    /// How many messages were put on the lane's streams to it.
    pub sent: u64,
    /// How many bytes were: messages with all that stands around them.
    pub sent_bytes: u64,
    /// How many messages were not sent to it because it had said that nobody there listens to their channel.
    pub withheld: u64,
    /// How many channels it has said that of.
    pub prunes_held: u64,
    /// How many channels this node has said that of to it.
    pub prunes_made: u64,
    /// How often this node has asked it for such channels again, because somebody here began to listen.
    pub grafts: u64,
    /// How often the lane to it was opened again.
    pub reconnects: u64,
    /// How many messages came from it.
    pub received: u64,
    /// How many messages from it are known to be missing: dropped there, or lost with a broken stream.
    pub missed: u64,
    /// How unreliable messages have fared, which are in none of the numbers above.
    pub unreliable: UnreliableReport,
}

/// The subscribers of this node, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribersReport {
    /// How many there are.
    pub subscribers: u64,
    /// How many subscriptions they have.
    pub subscriptions: u64,
    /// To how many different channels.
    pub channels: u64,
    /// To how many different sharded channels.
    pub sharded: u64,
    /// By how many different patterns.
    pub patterns: u64,
    /// What waits for them now, and what was lost since the node's start, also by subscribers that are gone.
    pub queues: QueueReport,
}

impl Hub {
    /// Reports on the subscribers. Their queues are read after the lock is given back.
    pub(super) fn subscribers_report(&self) -> SubscribersReport {
        let state = self.state();
        let queues: Vec<_> = state.table.all().map(|own| Arc::clone(&own.queue)).collect();
        let names = |kind| state.table.name_count(kind) as u64;
        let mut report = SubscribersReport {
            subscribers: queues.len() as u64,
            subscriptions: state.table.count as u64,
            channels: names(Kind::Channel),
            sharded: names(Kind::Sharded),
            patterns: names(Kind::Pattern),
            queues: QueueReport { counters: self.totals.counters(), ..QueueReport::default() },
        };
        drop(state);
        for queue in queues {
            let QueueReport { queued, queued_bytes, .. } = queue.report();
            report.queues.queued += queued;
            report.queues.queued_bytes += queued_bytes;
        }
        report
    }
}

impl State {
    /// Reports on every lane, by peer.
    pub(super) fn report(&self) -> Vec<LaneReport> {
        let report = |(peer, lane): (&NodeId, &super::lane::Lane)| {
            let fill = lane.outbox.fill();
            let tally = self.interest.tally(*peer);
            let arrival = self.arrivals.get(*peer);
            LaneReport {
                peer: *peer,
                address: lane.address,
                is_up: lane.is_up,
                queued: fill.frames,
                queued_bytes: fill.bytes,
                dropped: fill.dropped,
                sent: fill.sent,
                sent_bytes: fill.sent_bytes,
                withheld: lane.withheld,
                prunes_held: tally.held,
                prunes_made: tally.made,
                grafts: tally.grafts,
                reconnects: lane.streams.saturating_sub(1),
                received: arrival.map_or(0, |arrival| arrival.received),
                missed: arrival.map_or(0, |arrival| arrival.missed),
                unreliable: UnreliableReport::of(lane),
            }
        };
        self.lanes.iter().map(report).collect()
    }
}
