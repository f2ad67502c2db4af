//! The bounded queue between publishers and one subscriber.
//!
//! Owns the limits and what becomes of a message that exceeds them. Does not know what is subscribed to. Invariants: what waits
//! here never exceeds the hard limit; a message that entered is received, told as lost, counted as replaced by a later
//! one, or ended the queue, and exactly one of these; pushing waits for nobody and takes O(1) steps, amortised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::backlog::{Backlog, Waiting};
use super::causal::{Gate, Verdict, Wait};
use super::losses::Losses;
use super::{Cause, Delivery, Error, Message, Policy, QueueLimits};

/// What waits for a subscriber.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    /// Lets the head of a causal queue wait for the state.
    pub(super) gate: Gate,
    inner: Mutex<Inner>,
    /// Something has arrived, or the queue has ended.
    arrival: Notify,
    /// The queue has ended, or may end by the clock from now on.
    ending: Notify,
    totals: Arc<Totals>,
}

/// A receiver that waits. Dropped, it does not.
struct Sleeper<'a>(&'a Queue);

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let Self(queue) = self;
        let mut inner = queue.inner.lock();
        inner.sleepers = inner.sleepers.saturating_sub(1);
    }
}

/// What can be taken from the queue now.
enum Next {
    Delivery(Delivery),
    /// The head waits for the state, and what is behind it for the head.
    Behind(Wait),
    Empty,
}

#[derive(Debug, Default)]
struct Inner {
    backlog: Backlog,
    losses: Losses,
    counters: Counters,
    /// Since when what may not be dropped has been above the soft limit without a break.
    soft_since: Option<Instant>,
    /// Set once, when no more will come.
    end: Option<Error>,
    /// What waited when the queue overflowed: freed by its owner and not by a publisher.
    remains: Option<Box<Backlog>>,
    /// How many receivers have found nothing to take and wait for an arrival.
    sleepers: usize,
}

/// What subscribers did not get, of one or of all that a node has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages dropped because the subscriber was too slow.
    pub lost_slow: u64,
    /// Messages that were lost on the way from their publishers, and keyspace notifications that this node did not give, as
    /// far as they could be counted. One counts for each subscriber that is told of it.
    pub lost_link: u64,
    /// How often messages were lost that nobody could count.
    pub lost_uncounted: u64,
    /// Messages that a later one has replaced: see [`Policy::LatestOnly`].
    pub replaced: u64,
    /// Subscribers that were ended because they were too slow.
    pub overflows: u64,
}

/// The counters of all subscribers that a node has had.
#[derive(Debug, Default)]
pub(super) struct Totals {
    lost_slow: AtomicU64,
    lost_link: AtomicU64,
    lost_uncounted: AtomicU64,
    replaced: AtomicU64,
    overflows: AtomicU64,
}

impl Totals {
    pub(super) fn counters(&self) -> Counters {
        Counters {
            lost_slow: self.lost_slow.load(Ordering::Relaxed),
            lost_link: self.lost_link.load(Ordering::Relaxed),
            lost_uncounted: self.lost_uncounted.load(Ordering::Relaxed),
            replaced: self.replaced.load(Ordering::Relaxed),
            overflows: self.overflows.load(Ordering::Relaxed),
        }
    }
}

/// Adds to a subscriber's own counter and to the node's.
fn count(own: &mut u64, all: &AtomicU64, more: u64) {
    *own = own.saturating_add(more);
    all.fetch_add(more, Ordering::Relaxed);
}

/// How full one subscriber's queue is, and what was lost there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueReport {
    /// How many messages wait.
    pub queued: u64,
    /// What they weigh.
    pub queued_bytes: u64,
    /// What was lost since it was opened.
    pub counters: Counters,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits to be received.
    Queued,
    /// There was no room for it, though nothing else could be dropped: it is lost, and will be told.
    Dropped,
    /// It was one too many: the queue is over, and its owner is to be dropped from the tables.
    Overflowed,
    /// The queue was over before.
    Ended,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits, gate: Gate, totals: Arc<Totals>) -> Self {
        let (inner, arrival, ending) = (Mutex::default(), Notify::new(), Notify::new());
        Self { limits, gate, inner, arrival, ending, totals }
    }

    /// Appends a message as [`Queue::push_all`] does.
    #[cfg(test)]
    pub(super) fn push(&self, policy: Policy, message: Message) -> Pushed {
        let mut pushed = Pushed::Ended;
        self.push_all(policy, [message].into_iter(), |what| pushed = what);
        pushed
    }

    /// Appends messages, makes room for them as the policies of those that wait and of their own say, and tells of each what
    /// became of it. Their receiver is woken once.
    pub(super) fn push_all(
        &self,
        policy: Policy,
        messages: impl Iterator<Item = Message>,
        mut tell: impl FnMut(Pushed),
    ) {
        let mut inner = self.inner.lock();
        // Who receives was told of those that wait already, and these change nothing about them.
        let is_told = policy == Policy::Disconnect && inner.backlog.is_strict();
        for message in messages {
            let waiting = Waiting { due: self.gate.due(message.position), message };
            tell(match policy {
                _ if inner.end.is_some() => Pushed::Ended,
                Policy::Disconnect => self.push_strict(&mut inner, waiting),
                Policy::DropOldest => self.push_loose(&mut inner, waiting, false),
                Policy::LatestOnly => self.push_loose(&mut inner, waiting, true),
            });
        }
        drop(inner);
        if !is_told {
            self.arrival.notify_one();
        }
    }

    fn push_strict(&self, inner: &mut Inner, waiting: Waiting) -> Pushed {
        self.make_room(inner, waiting.cost());
        inner.backlog.push_strict(waiting);
        let was_soft = inner.soft_since.is_some();
        if let Some(limit) = self.judge(inner) {
            self.overflow(inner, limit);
            return Pushed::Overflowed;
        }
        if !was_soft && inner.soft_since.is_some() {
            self.ending.notify_one();
        }
        Pushed::Queued
    }

    fn push_loose(&self, inner: &mut Inner, mut waiting: Waiting, is_latest: bool) -> Pushed {
        let size = waiting.cost();
        if inner.backlog.strict_bytes.saturating_add(size) > self.limits.hard.as_u64() {
            self.lose(inner, Cause::Slow, Some(1));
            return Pushed::Dropped;
        }
        if is_latest && inner.backlog.replace(&mut waiting) {
            count(&mut inner.counters.replaced, &self.totals.replaced, 1);
        }
        self.make_room(inner, size);
        inner.backlog.push_loose(waiting, is_latest);
        Pushed::Queued
    }

    /// Drops the oldest messages that may be dropped until `size` more bytes fit, as far as it goes.
    fn make_room(&self, inner: &mut Inner, size: u64) {
        let hard = self.limits.hard.as_u64();
        let mut lost: u64 = 0;
        while inner.backlog.bytes.saturating_add(size) > hard {
            let Some(dropped) = inner.backlog.drop_oldest() else { break };
            lost = lost.saturating_add(dropped);
        }
        self.lose(inner, Cause::Slow, Some(lost));
    }

    fn lose(&self, inner: &mut Inner, cause: Cause, lost: Option<u64>) {
        let (own, all) = (&mut inner.counters, &self.totals);
        match (cause, lost) {
            (_, Some(0)) => return,
            (Cause::Slow, Some(lost)) => count(&mut own.lost_slow, &all.lost_slow, lost),
            (Cause::Link { .. } | Cause::Links | Cause::Keyspace, Some(lost)) => {
                count(&mut own.lost_link, &all.lost_link, lost);
            }
            (_, None) => count(&mut own.lost_uncounted, &all.lost_uncounted, 1),
        }
        inner.losses.add(cause, lost);
    }

    /// Lets the subscriber know, before its next message, that messages are missing: how many, or none when nobody knows.
    pub(super) fn lost(&self, cause: Cause, lost: Option<u64>) {
        let mut inner = self.inner.lock();
        if inner.end.is_none() {
            self.lose(&mut inner, cause, lost);
        }
        drop(inner);
        self.arrival.notify_one();
    }

    /// Gives the limit that is exceeded, if one is.
    fn judge(&self, inner: &mut Inner) -> Option<u64> {
        let (hard, soft) = (self.limits.hard.as_u64(), self.limits.soft.as_u64());
        if inner.backlog.bytes > hard {
            return Some(hard);
        }
        if inner.backlog.strict_bytes <= soft {
            inner.soft_since = None;
            return None;
        }
        let now = Instant::now();
        let since = *inner.soft_since.get_or_insert(now);
        (now.duration_since(since) > self.limits.soft_time).then_some(soft)
    }

    /// Ends the queue, with all that waits in it.
    fn overflow(&self, inner: &mut Inner, limit: u64) {
        let backlog = std::mem::take(&mut inner.backlog);
        let (messages, bytes) = (backlog.published, backlog.bytes);
        inner.remains = Some(Box::new(backlog));
        inner.end = Some(Error::Overflow { messages, bytes, limit });
        inner.soft_since = None;
        count(&mut inner.counters.lost_slow, &self.totals.lost_slow, messages);
        count(&mut inner.counters.overflows, &self.totals.overflows, 1);
        self.notify_end();
    }

    fn notify_end(&self) {
        self.arrival.notify_waiters();
        self.arrival.notify_one();
        self.ending.notify_waiters();
        self.ending.notify_one();
    }

    /// Takes what is to be told next, if there is something and it need not wait: losses before messages.
    pub(super) fn try_receive(&self) -> Result<Option<Delivery>, Error> {
        Ok(match self.next(false)? {
            Next::Delivery(delivery) => Some(delivery),
            Next::Behind(_) | Next::Empty => None,
        })
    }

    /// Takes what is to be told next and all that waits behind it, until it weighs `bytes_max`; gives how much it took.
    pub(super) fn try_receive_many(
        &self,
        to: &mut Vec<Delivery>,
        bytes_max: u64,
    ) -> Result<usize, Error> {
        let mut inner = self.inner.lock();
        let (before, bytes) = (to.len(), inner.backlog.bytes);
        let end = loop {
            match self.next_of(&mut inner) {
                Ok(Next::Delivery(delivery)) => to.push(delivery),
                Ok(Next::Behind(_) | Next::Empty) => break None,
                Err(end) => break Some(end),
            }
            if bytes.saturating_sub(inner.backlog.bytes) >= bytes_max {
                break None;
            }
        };
        let taken = to.len().saturating_sub(before);
        match end {
            Some(end) if taken == 0 => {
                let remains = inner.remains.take();
                drop(inner);
                drop(remains);
                Err(end)
            }
            Some(_) | None => {
                self.pass_on(&inner);
                Ok(taken)
            }
        }
    }

    /// As [`Queue::try_receive`]; a receiver that `sleeps` when there is nothing counts as a sleeper from then on.
    fn next(&self, sleeps: bool) -> Result<Next, Error> {
        let mut inner = self.inner.lock();
        let next = self.next_of(&mut inner);
        let remains = match &next {
            Ok(Next::Delivery(_)) => {
                self.pass_on(&inner);
                None
            }
            Ok(Next::Behind(_) | Next::Empty) => {
                inner.sleepers += usize::from(sleeps);
                None
            }
            Err(_) => inner.remains.take(),
        };
        drop(inner);
        drop(remains);
        next
    }

    /// Wakes another receiver for what is left: only the first arrival has woken one.
    fn pass_on(&self, inner: &Inner) {
        if inner.sleepers > 0 && inner.backlog.len() > 0 {
            self.arrival.notify_one();
        }
    }

    fn next_of(&self, inner: &mut Inner) -> Result<Next, Error> {
        if let Some(lost) = inner.losses.take() {
            return Ok(Next::Delivery(Delivery::Lost(lost)));
        }
        let Some(head) = inner.backlog.front() else {
            return inner.end.clone().map_or(Ok(Next::Empty), Err);
        };
        let is_ahead = match self.gate.judge(head.message.position, head.due) {
            Verdict::Go => false,
            Verdict::GoAhead => true,
            // The state of a node that has stopped does not go on.
            Verdict::Wait(_) if inner.end.is_some() => true,
            Verdict::Wait(wait) => return Ok(Next::Behind(wait)),
        };
        let Some(mut message) = inner.backlog.pop() else { return Ok(Next::Empty) };
        message.is_ahead = is_ahead;
        if inner.backlog.strict_bytes <= self.limits.soft.as_u64() {
            inner.soft_since = None;
        }
        Ok(Next::Delivery(Delivery::Message(message)))
    }

    /// Takes what is to be told next, and waits for it if need be.
    pub(super) async fn receive(&self) -> Result<Delivery, Error> {
        loop {
            let next = self.next(true)?;
            let wait = match next {
                Next::Delivery(delivery) => return Ok(delivery),
                Next::Behind(wait) => Some(wait),
                Next::Empty => None,
            };
            let _asleep = Sleeper(self);
            match wait {
                Some(wait) => tokio::select! {
                    biased;
                    () = self.gate.wait(wait) => {}
                    () = self.arrival.notified() => {}
                },
                None => self.arrival.notified().await,
            }
        }
    }

    /// Has a causal queue begin, or end, to let messages wait for the state.
    pub(super) fn set_causal(&self, is_causal: bool) {
        self.gate.set_causal(is_causal);
        self.arrival.notify_one();
    }

    /// Waits until no more will come, and says why. Takes nothing; what waits may still be there.
    pub(super) async fn ended(&self) -> Error {
        loop {
            let deadline = {
                let mut inner = self.inner.lock();
                if inner.end.is_none() && inner.soft_since.is_some() {
                    let limit = self.judge(&mut inner);
                    limit.into_iter().for_each(|limit| self.overflow(&mut inner, limit));
                }
                if let Some(end) = &inner.end {
                    return end.clone();
                }
                let since = inner.soft_since;
                since.and_then(|since| since.checked_add(self.limits.soft_time))
            };
            tokio::select! {
                () = self.ending.notified() => {}
                () = passed(deadline) => {}
            }
        }
    }

    /// Lets what waits be received, and then nothing more.
    pub(super) fn close(&self) {
        self.inner.lock().end.get_or_insert(Error::Closed);
        self.notify_end();
    }

    /// Tells how full it is.
    pub(super) fn report(&self) -> QueueReport {
        let inner = self.inner.lock();
        let (queued, queued_bytes) = (inner.backlog.len() as u64, inner.backlog.bytes);
        QueueReport { queued, queued_bytes, counters: inner.counters }
    }

    /// Gives how many places the backlog takes, the empty ones too.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.inner.lock().backlog.places()
    }
}

/// Waits until a deadline has passed; for ever without one. Timers count in milliseconds, so it waits one more.
async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline + std::time::Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}
