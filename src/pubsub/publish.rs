//! Publishing: to this node's listeners and onto the lanes at once, and the count afterwards.
//!
//! Owns the one place where a message enters. Does not write to streams. Invariant: what one caller publishes is delivered and
//! queued in the order of its calls, whether or not it waits for the counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::deliver::Post;
use super::gather::Gathered;
use super::hub::{Hub, State};
use super::outbox::Outbox;
use super::{Draft, Error, Kind, Reach, wire};
use crate::ids::NodeId;

/// How many counts may be waited for at once; a publisher beyond it gets the count of its own node only.
const COUNTS_MAX: usize = 65_536;

/// How many messages are published under one lock.
const BATCH_MAX: usize = 64;

/// The count of a message, when it is known.
#[derive(Debug)]
pub(super) enum Count {
    /// Nobody else is to be asked.
    Known(Reach),
    /// Peers were asked.
    Asked(Asked),
}

/// A count under way. Dropped, it is not waited for any more.
#[derive(Debug)]
pub(super) struct Asked {
    hub: Arc<Hub>,
    id: u64,
    sum: oneshot::Receiver<Gathered<u64>>,
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
    pub(super) async fn known(self) -> Reach {
        let mut asked = match self {
            Self::Known(reach) => return reach,
            Self::Asked(asked) => asked,
        };
        let late = match tokio::time::timeout_at(asked.deadline, &mut asked.sum).await {
            Ok(Ok(gathered)) => return gathered.into(),
            Ok(Err(_)) | Err(_) => asked.hub.state().give_up_count(asked.id),
        };
        // Between the deadline and the lock it may have come after all.
        let late = late.map(|count| Reach { count, is_whole: false });
        let came = || asked.sum.try_recv().ok().map(Reach::from);
        late.or_else(came).unwrap_or(Reach { count: 0, is_whole: false })
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

    /// Puts a message on the lane of every peer that has not pruned its channel. Gives its frame, if anybody needed it, who
    /// will count it, and whether these are all who may have listeners.
    fn forward(
        &mut self,
        kind: Kind,
        channel: &[u8],
        want_count: bool,
        encode: impl Fn() -> Bytes,
        push: impl Fn(&Outbox, Bytes) -> bool,
    ) -> (Option<Bytes>, BTreeSet<NodeId>, bool) {
        let Self { interest, lanes, has_published, .. } = self;
        *has_published = true;
        // In the order of the lanes, and no others are there.
        let mut pruners = interest.pruners(kind, channel);
        let mut frame = None;
        let (mut asked, mut is_whole) = (BTreeSet::new(), true);
        for (peer, lane) in lanes {
            if let [first, rest @ ..] = pruners
                && first == peer
            {
                pruners = rest;
                lane.withheld += 1;
                continue;
            }
            let frame = frame.get_or_insert_with(&encode);
            let is_queued = push(&lane.outbox, frame.clone());
            if want_count && is_queued && lane.is_up && !lane.is_silent {
                asked.insert(*peer);
            } else {
                is_whole = false;
            }
        }
        (frame, asked, is_whole)
    }
}

fn post<'a>(draft: &'a Draft, forwarded: &'a Forwarded, position: u64) -> Post<'a> {
    let Draft { channel, payload, .. } = draft;
    Post { channel, payload, position, frame: forwarded.frame.as_ref() }
}

/// What became of a message on its way to the peers.
struct Forwarded {
    id: u64,
    /// None when no peer wants it.
    frame: Option<Bytes>,
    asked: BTreeSet<NodeId>,
    is_whole: bool,
}

impl State {
    /// Delivers what was not refused to the listeners of this node, one channel's run after the other.
    fn deliver_drafts(
        &mut self,
        drafts: &[Draft],
        forwarded: &[Result<Forwarded, Error>],
        position: u64,
        reached: &mut [u64],
    ) {
        let accepted = drafts.iter().zip(forwarded).zip(reached);
        let mut accepted: Vec<(&Draft, &Forwarded, &mut u64)> = accepted
            .filter_map(|((draft, forwarded), reached)| {
                Some((draft, forwarded.as_ref().ok()?, reached))
            })
            .collect();
        let goes_on = |(one, ..): &(&Draft, _, _), (next, ..): &(&Draft, _, _)| {
            (one.kind, &one.channel) == (next.kind, &next.channel)
        };
        for run in accepted.chunk_by_mut(goes_on) {
            let Some((Draft { kind, .. }, ..)) = run.first() else { continue };
            let posts: Vec<Post<'_>> =
                run.iter().map(|(draft, forwarded, _)| post(draft, forwarded, position)).collect();
            let mut counts = vec![0; run.len()];
            self.deliver_run(*kind, &posts, &mut counts);
            run.iter_mut().zip(counts).for_each(|((.., reached), count)| **reached = count);
        }
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
        let push = Outbox::push_message;
        let (frame, asked, is_whole) = state.forward(kind, channel, want_count, encode, push);
        let post = Post { channel, payload: &payload, position, frame: frame.as_ref() };
        let reached = state.deliver(kind, post);
        Ok(self.count(&mut state, id, Reach { count: reached, is_whole }, asked))
    }

    /// Publishes messages in their order, as [`Hub::publish`] each of them, with fewer steps: lanes and local listeners are
    /// woken for many of them at once.
    pub(super) fn publish_all(
        self: &Arc<Self>,
        drafts: &[Draft],
        want_count: bool,
    ) -> Vec<Result<Count, Error>> {
        let mut counts = Vec::with_capacity(drafts.len());
        for some in drafts.chunks(BATCH_MAX) {
            self.publish_some(some, want_count, &mut counts);
        }
        counts
    }

    fn publish_some(
        self: &Arc<Self>,
        drafts: &[Draft],
        want_count: bool,
        counts: &mut Vec<Result<Count, Error>>,
    ) {
        let mut state = self.state();
        let position = self.positions.written();
        let want_count = want_count && state.counts.len() < COUNTS_MAX;
        let mut forwarded = Vec::with_capacity(drafts.len());
        for Draft { kind, channel, payload } in drafts {
            let mut check = self.check(channel, payload);
            if state.is_stopped {
                check = Err(Error::Closed);
            }
            forwarded.push(check.map(|()| {
                let id = if want_count { state.counts.next_id() } else { 0 };
                let encode = || wire::message(*kind, id, position, channel, payload);
                let push = Outbox::hold_message;
                let (frame, asked, is_whole) =
                    state.forward(*kind, channel, want_count, encode, push);
                Forwarded { id, frame, asked, is_whole }
            }));
        }
        state.lanes.values().for_each(|lane| lane.outbox.wake());
        let mut reached = vec![0; drafts.len()];
        state.deliver_drafts(drafts, &forwarded, position, &mut reached);
        counts.extend(forwarded.into_iter().zip(reached).map(|(forwarded, reached)| {
            forwarded.map(|Forwarded { id, asked, is_whole, .. }| {
                self.count(&mut state, id, Reach { count: reached, is_whole }, asked)
            })
        }));
    }

    /// Begins to wait for the counts of those who were asked.
    fn count(
        self: &Arc<Self>,
        state: &mut State,
        id: u64,
        reached: Reach,
        asked: BTreeSet<NodeId>,
    ) -> Count {
        if asked.is_empty() {
            return Count::Known(reached);
        }
        let sum = state.counts.begin(id, reached.into(), asked);
        let deadline = Instant::now() + self.config.count_timeout;
        Count::Asked(Asked { hub: Arc::clone(self), id, sum, deadline })
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
