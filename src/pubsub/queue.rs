//! The bounded queue between publishers and one subscriber.
//!
//! Owns the backlog's bytes and the verdict that it is too large. Does not know what is subscribed to. Invariant: what waits
//! here never exceeds the hard limit by more than the one message that broke it, and that one is dropped at once.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::causal::{Gate, Verdict, Wait};
use super::{Cause, Delivery, Error, Lost, Message, QueueLimits};

/// What waits for a subscriber.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    /// Lets the head of a causal queue wait for the state.
    pub(super) gate: Gate,
    backlog: Mutex<Backlog>,
    arrival: Notify,
}

/// A message in the queue.
#[derive(Debug)]
struct Waiting {
    message: Message,
    /// Until when it may wait for the state of this node; none when that has it already. A message that replaces an older one
    /// keeps the earlier of both, so that the wait stays bounded.
    due: Option<Instant>,
}

/// What can be taken from the queue now.
enum Next {
    Delivery(Delivery),
    /// The head waits for the state, and what is behind it for the head.
    Behind(Wait),
    Empty,
}

#[derive(Debug, Default)]
struct Backlog {
    messages: VecDeque<Waiting>,
    bytes: u64,
    /// What is missing and was not told yet.
    lost: BTreeMap<Cause, Option<u64>>,
    /// Since when the backlog has been above the soft limit without a break.
    is_soft_since: Option<Instant>,
    /// Set once, when no more will come.
    end: Option<Error>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits to be received.
    Queued,
    /// It was one too many: the queue is over, and its owner is to be dropped from the tables.
    Overflowed,
    /// The queue was over before.
    Ended,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits, gate: Gate) -> Self {
        Self { limits, gate, backlog: Mutex::default(), arrival: Notify::new() }
    }

    /// Appends a message, or ends the queue when that makes it too large.
    pub(super) fn push(&self, message: Message) -> Pushed {
        let due = self.gate.due(message.position);
        let mut backlog = self.backlog.lock();
        if backlog.end.is_some() {
            return Pushed::Ended;
        }
        backlog.bytes = backlog.bytes.saturating_add(cost(&message));
        backlog.messages.push_back(Waiting { message, due });
        let verdict = self.judge(&mut backlog);
        if let Some(limit) = verdict {
            let messages = backlog.messages.len() as u64;
            let end = Error::Overflow { messages, bytes: backlog.bytes, limit };
            *backlog = Backlog { end: Some(end), ..Backlog::default() };
        }
        drop(backlog);
        if verdict.is_some() {
            self.arrival.notify_waiters();
        }
        self.arrival.notify_one();
        if verdict.is_some() { Pushed::Overflowed } else { Pushed::Queued }
    }

    /// Notes that messages are missing; none when nobody knows how many. What was not told yet by the same cause is told
    /// together.
    #[cfg_attr(not(test), expect(dead_code, reason = "links tell it soon"))]
    pub(super) fn lost(&self, cause: Cause, count: Option<u64>) {
        let mut backlog = self.backlog.lock();
        if backlog.end.is_some() {
            return;
        }
        let pending = backlog.lost.entry(cause).or_insert(Some(0));
        *pending = pending.zip(count).map(|(sum, more)| sum.saturating_add(more));
        drop(backlog);
        self.arrival.notify_one();
    }

    /// Gives the limit that is exceeded, if one is.
    fn judge(&self, backlog: &mut Backlog) -> Option<u64> {
        let (hard, soft) = (self.limits.hard.as_u64(), self.limits.soft.as_u64());
        if backlog.bytes > hard {
            return Some(hard);
        }
        if backlog.bytes <= soft {
            backlog.is_soft_since = None;
            return None;
        }
        let now = Instant::now();
        let since = *backlog.is_soft_since.get_or_insert(now);
        (now.duration_since(since) > self.limits.soft_time).then_some(soft)
    }

    /// Takes the oldest message, if there is one and it need not wait.
    pub(super) fn try_receive(&self) -> Result<Option<Delivery>, Error> {
        Ok(match self.next()? {
            Next::Delivery(delivery) => Some(delivery),
            Next::Behind(_) | Next::Empty => None,
        })
    }

    fn next(&self) -> Result<Next, Error> {
        let mut backlog = self.backlog.lock();
        if let Some((cause, count)) = backlog.lost.pop_first() {
            return Ok(Next::Delivery(Delivery::Lost(Lost { cause, count })));
        }
        let Some(head) = backlog.messages.front() else {
            return backlog.end.clone().map_or(Ok(Next::Empty), Err);
        };
        let is_ahead = match self.gate.judge(head.message.position, head.due) {
            Verdict::Go => false,
            Verdict::GoAhead => true,
            // The state of a node that has stopped does not go on.
            Verdict::Wait(_) if backlog.end.is_some() => true,
            Verdict::Wait(wait) => return Ok(Next::Behind(wait)),
        };
        let Some(Waiting { mut message, .. }) = backlog.messages.pop_front() else {
            return Ok(Next::Empty);
        };
        message.is_ahead = is_ahead;
        backlog.bytes = backlog.bytes.saturating_sub(cost(&message));
        if backlog.bytes <= self.limits.soft.as_u64() {
            backlog.is_soft_since = None;
        }
        Ok(Next::Delivery(Delivery::Message(message)))
    }

    /// Takes the oldest message, and waits for one if need be.
    pub(super) async fn receive(&self) -> Result<Delivery, Error> {
        loop {
            match self.next()? {
                Next::Delivery(delivery) => return Ok(delivery),
                Next::Behind(wait) => tokio::select! {
                    biased;
                    () = self.gate.wait(wait) => {}
                    () = self.arrival.notified() => {}
                },
                Next::Empty => self.arrival.notified().await,
            }
        }
    }

    /// Has a causal queue begin, or end, to let messages wait for the state.
    pub(super) fn set_causal(&self, is_causal: bool) {
        self.gate.set_causal(is_causal);
        self.arrival.notify_one();
    }

    /// Lets what waits be received, and then nothing more.
    pub(super) fn close(&self) {
        self.backlog.lock().end.get_or_insert(Error::Closed);
        self.arrival.notify_waiters();
        self.arrival.notify_one();
    }
}

/// Gives what a message weighs against the limits.
fn cost(message: &Message) -> u64 {
    let pattern = message.pattern.as_ref().map_or(0, |pattern| pattern.len());
    let size = message.channel.len() + message.payload.len() + pattern + size_of::<Message>();
    size as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use bytesize::ByteSize;

    use super::*;
    use crate::pubsub::Kind;
    use crate::pubsub::causal::Stateless;

    fn message(size: usize) -> Message {
        let (channel, payload) = (Bytes::from_static(b"c"), Bytes::from(vec![0; size]));
        let (pattern, position, is_ahead) = (None, 0, false);
        Message { kind: Kind::Channel, pattern, channel, payload, position, is_ahead }
    }

    fn queue(hard: u64, soft: u64) -> Queue {
        let (hard, soft) = (ByteSize::b(hard), ByteSize::b(soft));
        let limits = QueueLimits { hard, soft, soft_time: Duration::from_secs(60) };
        Queue::new(limits, Gate::new(Arc::new(Stateless), Duration::ZERO))
    }

    #[test]
    fn hard_limit_ends_the_queue_and_says_what_was_lost() {
        let queue = queue(2_000, 2_000);
        assert_eq!(queue.push(message(800)), Pushed::Queued);
        assert_eq!(queue.push(message(800)), Pushed::Queued);
        assert_eq!(queue.push(message(800)), Pushed::Overflowed);
        assert_eq!(queue.push(message(1)), Pushed::Ended);
        let Err(Error::Overflow { messages: 3, bytes, limit: 2_000 }) = queue.try_receive() else {
            panic!("the overflow must be told");
        };
        assert!(bytes > 2_400, "{bytes}");
        assert_eq!(queue.backlog.lock().messages.capacity(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn soft_limit_is_forgiven_when_the_backlog_shrinks_in_time() {
        let queue = queue(1_000_000, 1_000);
        queue.push(message(1_000));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(queue.push(message(1)), Pushed::Queued);
        assert!(queue.try_receive().unwrap().is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(queue.push(message(1_000)), Pushed::Queued);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(queue.push(message(1)), Pushed::Overflowed);
        assert!(matches!(queue.try_receive(), Err(Error::Overflow { limit: 1_000, .. })));
    }

    #[test]
    fn losses_of_one_cause_are_told_together() {
        let queue = queue(1_000, 1_000);
        let cause = Cause::Link { publisher: crate::ids::NodeId::from_random(1) };
        queue.lost(cause, Some(2));
        queue.lost(cause, Some(3));
        let told = Delivery::Lost(Lost { cause, count: Some(5) });
        assert_eq!(queue.try_receive(), Ok(Some(told)));
        queue.lost(cause, Some(2));
        queue.lost(cause, None);
        let told = Delivery::Lost(Lost { cause, count: None });
        assert_eq!(queue.try_receive(), Ok(Some(told)));
        assert_eq!(queue.try_receive(), Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_lets_the_backlog_be_received_first() {
        let queue = queue(1_000, 1_000);
        queue.push(message(1));
        queue.close();
        assert_eq!(queue.receive().await, Ok(Delivery::Message(message(1))));
        assert_eq!(queue.receive().await, Err(Error::Closed));
    }
}
