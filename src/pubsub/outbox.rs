//! What waits for one stream: messages with their numbers, and control frames between them.
//!
//! Owns the bound and the numbering. Does not send. Invariant: every message that was pushed has a number, whether it was
//! kept or dropped, so that its receiver can tell how many are missing.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::wire::{self, Control};

/// The most bytes that are written in one go, but for a single frame that is larger.
const BATCH_MAX: usize = 256 * 1024;
/// What a frame weighs beside its bytes.
const OVERHEAD: u64 = size_of::<Parcel>() as u64;
/// How much more than the limit may wait of what must not be missing.
const URGENT_MAX: u64 = 64 * 1024;
/// What a frame takes on a stream beside its bytes.
const PREFIX: u64 = 4;

/// A bounded queue of frames for one stream after another.
#[derive(Debug)]
pub(super) struct Outbox {
    limit: u64,
    waiting: Mutex<Waiting>,
    arrival: Notify,
    end: watch::Sender<End>,
}

/// Whether the outbox still takes frames, and what is to become of those in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Open,
    /// No more frames; those that wait are still to be sent.
    Finished,
    /// Nothing more is to be sent.
    Discarded,
}

#[derive(Debug, Default)]
struct Waiting {
    parcels: VecDeque<Parcel>,
    bytes: u64,
    /// How many messages were pushed: the number of the next one.
    next: u64,
    /// The number after the last message that the receiver knows of, by having been sent it or told of its loss.
    told: u64,
    dropped: u64,
    /// Whether messages came that nobody was woken for.
    is_held: bool,
    /// How many messages, and how many bytes with everything, were taken to be written.
    sent: u64,
    sent_bytes: u64,
}

#[derive(Debug)]
struct Parcel {
    /// For messages.
    number: Option<u64>,
    frame: Bytes,
}

impl Parcel {
    const fn cost(&self) -> u64 {
        OVERHEAD + self.frame.len() as u64
    }
}

/// How full an outbox is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) bytes: u64,
    pub(super) frames: u64,
    pub(super) dropped: u64,
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
}

impl Outbox {
    pub(super) fn new(limit: u64) -> Self {
        Self::beginning_with(0, limit)
    }

    /// One whose first message has this number; who hears it from the beginning misses those before.
    pub(super) fn beginning_with(number: u64, limit: u64) -> Self {
        Self {
            limit,
            waiting: Mutex::new(Waiting { next: number, told: number, ..Waiting::default() }),
            arrival: Notify::new(),
            end: watch::Sender::new(End::Open),
        }
    }

    /// Numbers a message and appends it; gives false when it was dropped instead.
    pub(super) fn push_message(&self, frame: Bytes) -> bool {
        let is_kept = self.hold_message(frame);
        self.wake();
        is_kept
    }

    /// As [`Outbox::push_message`], but nobody is woken for it before [`Outbox::wake`].
    pub(super) fn hold_message(&self, frame: Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        let is_kept = self.push(&mut waiting, self.limit, Parcel { number: Some(number), frame });
        waiting.dropped += u64::from(!is_kept);
        // Also for a dropped one: when nothing else waits, its number is told alone.
        waiting.is_held = true;
        is_kept
    }

    /// Wakes who takes, if messages came since it was woken for the last time.
    pub(super) fn wake(&self) {
        if std::mem::take(&mut self.waiting.lock().is_held) {
            self.arrival.notify_one();
        }
    }

    /// Appends a control frame; gives false when it was dropped instead.
    pub(super) fn push_control(&self, control: &Control) -> bool {
        self.push_within(self.limit, wire::control(control))
    }

    /// Appends a control frame that must not be missing, for which there is some room beyond the limit.
    pub(super) fn push_urgent(&self, control: &Control) -> bool {
        self.push_within(self.limit.saturating_add(URGENT_MAX), wire::control(control))
    }

    /// Appends any frame but a message's; gives false when it was dropped instead.
    pub(super) fn push_frame(&self, frame: Bytes) -> bool {
        self.push_within(self.limit, frame)
    }

    fn push_within(&self, limit: u64, frame: Bytes) -> bool {
        let parcel = Parcel { number: None, frame };
        let is_kept = self.push(&mut self.waiting.lock(), limit, parcel);
        if is_kept {
            self.arrival.notify_one();
        }
        is_kept
    }

    fn push(&self, waiting: &mut Waiting, limit: u64, parcel: Parcel) -> bool {
        let bytes = waiting.bytes.saturating_add(parcel.cost());
        if bytes > limit || *self.end.borrow() != End::Open {
            return false;
        }
        waiting.bytes = bytes;
        waiting.parcels.push_back(parcel);
        true
    }

    /// Gives the number of the first message that will be taken, to be told to a new receiver.
    pub(super) fn first(&self) -> u64 {
        let mut waiting = self.waiting.lock();
        let first = waiting.parcels.iter().find_map(|parcel| parcel.number);
        waiting.told = first.unwrap_or(waiting.next);
        waiting.told
    }

    /// Waits for frames and takes as many as go into one write, each run of messages behind its number. Gives none when the
    /// outbox has ended and is empty.
    ///
    /// # Cancel safety
    /// Safe: frames are taken only when they are returned.
    pub(super) async fn take(&self) -> Option<Vec<Bytes>> {
        loop {
            let frames = self.try_take();
            if !frames.is_empty() {
                return Some(frames);
            }
            if *self.end.borrow() != End::Open {
                return None;
            }
            self.arrival.notified().await;
        }
    }

    fn try_take(&self) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut size = 0;
        let mut expected = None;
        let mut waiting = self.waiting.lock();
        while let Some(parcel) = waiting.parcels.front() {
            if size > 0 && size + parcel.frame.len() > BATCH_MAX {
                break;
            }
            let Some(parcel) = waiting.parcels.pop_front() else { break };
            waiting.bytes = waiting.bytes.saturating_sub(parcel.cost());
            if let Some(number) = parcel.number {
                waiting.sent += 1;
                if expected != Some(number) {
                    frames.push(wire::control(&Control::Run { first: number }));
                }
                expected = Some(number + 1);
                waiting.told = number + 1;
            }
            size += parcel.frame.len();
            frames.push(parcel.frame);
        }
        if waiting.parcels.is_empty() && waiting.told < waiting.next {
            // The last ones were dropped.
            waiting.told = waiting.next;
            frames.push(wire::control(&Control::Run { first: waiting.next }));
        }
        let written = frames.iter().map(|frame| frame.len() as u64 + PREFIX);
        waiting.sent_bytes = written.fold(waiting.sent_bytes, u64::saturating_add);
        frames
    }

    /// Takes no more frames; those that wait can still be taken.
    pub(super) fn finish(&self) {
        self.end.send_modify(|end| *end = (*end).max(End::Finished));
        self.arrival.notify_one();
    }

    /// Takes no more frames and forgets those that wait.
    pub(super) fn discard(&self) {
        self.end.send_replace(End::Discarded);
        let mut waiting = self.waiting.lock();
        waiting.parcels = VecDeque::new();
        waiting.told = waiting.next;
        waiting.bytes = 0;
        drop(waiting);
        self.arrival.notify_one();
    }

    /// Tells whether it takes frames.
    pub(super) fn is_open(&self) -> bool {
        *self.end.borrow() == End::Open
    }

    /// Tells whether nothing more is to be sent.
    pub(super) fn is_discarded(&self) -> bool {
        *self.end.borrow() == End::Discarded
    }

    /// Waits until it takes no more frames.
    pub(super) async fn ended(&self) {
        // The sender lives in this outbox, so the wait ends only by what it waits for.
        let mut end = self.end.subscribe();
        let _ended = end.wait_for(|end| *end != End::Open).await;
    }

    /// Waits until nothing more is to be sent.
    pub(super) async fn discarded(&self) {
        // As above.
        let mut end = self.end.subscribe();
        let _ended = end.wait_for(|end| *end == End::Discarded).await;
    }

    /// Gives how many bytes may wait in it.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Tells how full it is.
    pub(super) fn fill(&self) -> Fill {
        let waiting = self.waiting.lock();
        let frames = waiting.parcels.len() as u64;
        let Waiting { bytes, dropped, sent, sent_bytes, .. } = *waiting;
        Fill { bytes, frames, dropped, sent, sent_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::wire::{Frame, decode};

    fn payload(size: usize) -> Bytes {
        wire::message(crate::pubsub::Kind::Channel, 0, 0, b"c", &vec![0; size])
    }

    fn runs(frames: Vec<Bytes>) -> Vec<Option<u64>> {
        let first = |frame: Bytes| match decode(frame).unwrap() {
            Frame::Control(Control::Run { first }) => Some(first),
            Frame::Control(_) | Frame::Message(_) | Frame::Request(_) | Frame::Reply(_) => None,
        };
        frames.into_iter().map(first).collect()
    }

    #[tokio::test]
    async fn dropped_messages_leave_a_gap_in_the_numbers() {
        let outbox = Outbox::new(1_000);
        assert!(outbox.push_message(payload(300)));
        assert!(outbox.push_message(payload(300)));
        assert!(!outbox.push_message(payload(600)));
        assert!(outbox.push_message(payload(10)));
        assert_eq!(outbox.fill().dropped, 1);
        assert_eq!(outbox.first(), 0);
        let frames = outbox.take().await.unwrap();
        assert_eq!(runs(frames), [Some(0), None, None, Some(3), None]);
        assert_eq!(outbox.first(), 4);
        assert_eq!(outbox.fill().bytes, 0);
    }

    #[tokio::test]
    async fn batches_are_bounded_and_each_begins_with_its_number() {
        let outbox = Outbox::new(10_000_000);
        (0..3).for_each(|_| assert!(outbox.push_message(payload(200_000))));
        outbox.push_control(&Control::Attached { id: 1 });
        for number in 0..2 {
            assert_eq!(runs(outbox.take().await.unwrap()), [Some(number), None]);
        }
        assert_eq!(runs(outbox.take().await.unwrap()), [Some(2), None, None]);
    }

    #[tokio::test]
    async fn finished_outbox_is_emptied_and_a_discarded_one_is_empty() {
        let outbox = Outbox::new(10_000);
        outbox.push_message(payload(1));
        outbox.finish();
        assert!(!outbox.push_message(payload(1)));
        outbox.ended().await;
        assert!(outbox.take().await.is_some());
        assert!(outbox.take().await.is_none());
        let outbox = Outbox::new(10_000);
        outbox.push_message(payload(1));
        outbox.discard();
        outbox.discarded().await;
        assert!(outbox.take().await.is_none());
    }
}
