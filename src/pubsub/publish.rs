//! Publishing: to this node's listeners and onto the lanes at once, and the count afterwards.
//!
//! Owns the one place where a message enters. Does not write to streams. Invariant: what one caller publishes is delivered and
//! queued in the order of its calls, whether or not it waits for the counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::hub::{Hub, Payload, State};
use super::{Error, Kind, wire};
use crate::ids::NodeId;

/// How many counts may be waited for at once; a publisher beyond it gets the count of its own node only.
const COUNTS_MAX: usize = 65_536;

/// The count of a message, when it is known.
#[derive(Debug)]
pub(super) enum Count {
    /// Nobody else is to be asked.
    Known(u64),
    /// Peers were asked.
    Asked(Asked),
}

/// A count under way. Dropped, it is not waited for any more.
#[derive(Debug)]
pub(super) struct Asked {
    hub: Arc<Hub>,
    id: u64,
    sum: oneshot::Receiver<u64>,
    deadline: Instant,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // None when it has ended already.
        let _given_up = self.hub.state().counts.give_up(self.id);
    }
}

impl Count {
    /// Waits for the count, no longer than the deadline.
    pub(super) async fn known(self) -> u64 {
        let mut asked = match self {
            Self::Known(count) => return count,
            Self::Asked(asked) => asked,
        };
        let late = match tokio::time::timeout_at(asked.deadline, &mut asked.sum).await {
            Ok(Ok(sum)) => return sum,
            Ok(Err(_)) | Err(_) => asked.hub.state().give_up_count(asked.id),
        };
        // Between the deadline and the lock it may have come after all.
        late.or_else(|| asked.sum.try_recv().ok()).unwrap_or(0)
    }
}

impl State {
    /// Ends a count with what has come so far. Who was silent is not waited for again until it answers something.
    fn give_up_count(&mut self, id: u64) -> Option<u64> {
        let (sum, silent) = self.counts.give_up(id)?;
        for peer in silent {
            if let Some(lane) = self.lanes.get_mut(&peer) {
                lane.is_silent = true;
            }
        }
        Some(sum)
    }

    /// Puts a message on the lane of every peer that has not pruned its channel. Gives its frame, if anybody needed it, and
    /// who will count it.
    fn forward(
        &mut self,
        kind: Kind,
        channel: &[u8],
        want_count: bool,
        encode: impl Fn() -> Bytes,
    ) -> (Option<Bytes>, BTreeSet<NodeId>) {
        let Self { interest, lanes, .. } = self;
        // In the order of the lanes, and no others are there.
        let mut pruners = interest.pruners(kind, channel);
        let mut frame = None;
        let mut asked = BTreeSet::new();
        for (peer, lane) in lanes {
            if let [first, rest @ ..] = pruners
                && first == peer
            {
                pruners = rest;
                lane.withheld += 1;
                continue;
            }
            let frame = frame.get_or_insert_with(&encode);
            let is_queued = lane.outbox.push_message(frame.clone());
            if want_count && is_queued && lane.is_up && !lane.is_silent {
                asked.insert(*peer);
            }
        }
        (frame, asked)
    }
}

impl Hub {
    /// Publishes a message.
    pub(super) fn publish(
        self: &Arc<Self>,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
        want_count: bool,
    ) -> Result<Count, Error> {
        self.check(channel, &payload)?;
        let mut state = self.state();
        if state.is_stopped {
            return Err(Error::Closed);
        }
        // Read under the lock, so that positions only grow along a lane.
        let position = self.positions.written();
        let want_count = want_count && state.counts.len() < COUNTS_MAX;
        let id = if want_count { state.counts.next_id() } else { 0 };
        let encode = || wire::message(kind, id, position, channel, &payload);
        let (frame, asked) = state.forward(kind, channel, want_count, encode);
        let payload = match frame {
            Some(frame) => Payload::Own(wire::payload_of(&frame, channel)),
            None => Payload::Borrowed(payload),
        };
        let reached = state.deliver(kind, channel, &payload, position);
        if asked.is_empty() {
            return Ok(Count::Known(reached));
        }
        let sum = state.counts.begin(id, reached, asked);
        drop(state);
        let deadline = Instant::now() + self.config.count_timeout;
        Ok(Count::Asked(Asked { hub: Arc::clone(self), id, sum, deadline }))
    }

    /// Refuses a message that is too large.
    pub(super) fn check(&self, channel: &[u8], payload: &[u8]) -> Result<(), Error> {
        let (size, limit) = (channel.len() as u64, self.config.name_limit());
        if size > limit {
            return Err(Error::NameTooLong { size, limit });
        }
        let size = size.saturating_add(payload.len() as u64);
        let limit = self.config.message_max.as_u64();
        if size > limit { Err(Error::MessageTooLarge { size, limit }) } else { Ok(()) }
    }
}
