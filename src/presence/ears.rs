//! Who listens to what, over all subscriptions of one presence.
//!
//! Owns the table of topics and listeners, and how subscriptions end. Does not carry messages: each listener has its queue in
//! `pubsub`. Invariant: the side that messages come from is told of the first listener of a topic and of the last one gone,
//! in the order in which that happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Delivery, Error, Subscription};
use crate::pubsub::{Kind, Policy, PubSub, QueueLimits, Subscriber, Subscription as Local};

/// Where messages come from.
pub(super) trait Upstream: std::fmt::Debug + Send + Sync {
    /// A topic has one listener more. The future resolves when every later publish is delivered to it. Must not wait before.
    fn wanted(&self, topic: &Bytes, local: Local) -> BoxFuture<'static, Result<(), Error>>;

    /// A topic has no listener any more.
    fn unwanted(&self, topic: &Bytes);
}

/// Messages come from this process alone.
#[derive(Debug)]
pub(super) struct Here;

impl Upstream for Here {
    fn wanted(&self, _topic: &Bytes, _local: Local) -> BoxFuture<'static, Result<(), Error>> {
        ready(Ok(())).boxed()
    }

    fn unwanted(&self, _topic: &Bytes) {}
}

/// One subscription's queue.
#[derive(Debug)]
pub(super) struct Ear {
    id: u64,
    subscriber: Subscriber,
    ends_when_unsubscribed: AtomicBool,
    /// No more messages will come.
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// Invariant: no topic is without a listener.
    topics: BTreeMap<Bytes, BTreeMap<u64, Weak<Ear>>>,
    ears: BTreeMap<u64, Weak<Ear>>,
    /// How many listeners a topic may have before a warning; 0 for any number.
    most: usize,
    is_shut: bool,
}

/// All subscriptions of one presence.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) pubsub: PubSub,
    limits: QueueLimits,
    upstream: Box<dyn Upstream>,
    table: Mutex<Table>,
}

impl Ears {
    pub(super) fn new(
        pubsub: PubSub,
        limits: QueueLimits,
        upstream: Box<dyn Upstream>,
    ) -> Arc<Self> {
        Arc::new(Self { pubsub, limits, upstream, table: Mutex::default() })
    }

    /// Tells whether it was shut.
    pub(super) fn is_shut(&self) -> bool {
        self.table.lock().is_shut
    }

    pub(super) fn set_most(&self, most: usize) {
        self.table.lock().most = most;
    }

    /// Opens a subscription to nothing yet.
    pub(super) fn listen(self: &Arc<Self>) -> Subscription {
        let subscriber = self.pubsub.subscriber_with(self.limits);
        let mut table = self.table.lock();
        let id = table.next;
        table.next = id.wrapping_add(1);
        let ends_when_unsubscribed = AtomicBool::new(false);
        let ended = watch::Sender::new(table.is_shut);
        let ear = Arc::new(Ear { id, subscriber, ends_when_unsubscribed, ended });
        table.ears.insert(id, Arc::downgrade(&ear));
        drop(table);
        Subscription::new(Arc::clone(self), ear)
    }

    pub(super) fn add(&self, ear: &Arc<Ear>, topic: &str) -> BoxFuture<'static, Result<(), Error>> {
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        let mut table = self.table.lock();
        if table.is_shut {
            return ready(Err(Error::ShutDown)).boxed();
        }
        let local = ear.subscriber.subscribe_with(Kind::Channel, &topic, Policy::DropOldest);
        let local = match local {
            Ok(local) => local,
            Err(error) => return ready(Err(error.into())).boxed(),
        };
        let most = table.most;
        let listeners = table.topics.entry(topic.clone()).or_default();
        listeners.insert(ear.id, Arc::downgrade(ear));
        if most > 0 && listeners.len() == most.saturating_add(1) {
            let topic = String::from_utf8_lossy(&topic);
            tracing::warn!(%topic, most, "presence: more subscriptions than set_max_listeners allows; is there a leak?");
        }
        self.upstream.wanted(&topic, local)
    }

    pub(super) fn remove(&self, ear: &Ear, topic: &str) -> bool {
        let mut table = self.table.lock();
        let was_there = ear.subscriber.unsubscribe(Kind::Channel, topic.as_bytes());
        self.take_out(&mut table, ear, topic.as_bytes());
        was_there
    }

    /// Forgets a subscription that is dropped.
    pub(super) fn forget(&self, ear: &Ear) {
        let mut table = self.table.lock();
        table.ears.remove(&ear.id);
        for topic in ear.topics() {
            // The rest of its name in the tables goes with the subscriber.
            let _was_there = ear.subscriber.unsubscribe(Kind::Channel, &topic);
            self.take_out(&mut table, ear, &topic);
        }
    }

    /// Ends what listens to `topic`.
    pub(super) fn unsubscribe(&self, topic: &str) {
        let mut table = self.table.lock();
        let Some((topic, listeners)) = table.topics.remove_entry(topic.as_bytes()) else {
            return;
        };
        for ear in listeners.values().filter_map(Weak::upgrade) {
            let _was_there = ear.subscriber.unsubscribe(Kind::Channel, &topic);
            if ear.ends_when_unsubscribed.load(Ordering::Relaxed) {
                ear.ended.send_replace(true);
            }
        }
        self.upstream.unwanted(&topic);
    }

    /// Ends everything, for ever.
    pub(super) fn shut(&self) {
        let mut table = self.table.lock();
        table.is_shut = true;
        for ear in table.ears.values().filter_map(Weak::upgrade) {
            for topic in ear.topics() {
                let _was_there = ear.subscriber.unsubscribe(Kind::Channel, &topic);
            }
            ear.ended.send_replace(true);
        }
        for topic in std::mem::take(&mut table.topics).into_keys() {
            self.upstream.unwanted(&topic);
        }
    }

    fn take_out(&self, table: &mut Table, ear: &Ear, topic: &[u8]) {
        let Some(listeners) = table.topics.get_mut(topic) else {
            return;
        };
        listeners.remove(&ear.id);
        if listeners.is_empty()
            && let Some((topic, _)) = table.topics.remove_entry(topic)
        {
            self.upstream.unwanted(&topic);
        }
    }
}

impl Ear {
    pub(super) fn end_when_unsubscribed(&self) {
        self.ends_when_unsubscribed.store(true, Ordering::Relaxed);
    }

    pub(super) fn topics(&self) -> Vec<Bytes> {
        self.subscriber.subscriptions(Kind::Channel)
    }

    pub(super) fn try_next(&self) -> Option<Delivery> {
        // When the node has stopped, nothing is there any more.
        self.subscriber.try_receive().ok().flatten().map(Delivery::from)
    }

    pub(super) async fn next(&self) -> Option<Delivery> {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(next) = self.try_next() {
                return Some(next);
            }
            if *ended.borrow_and_update() {
                return None;
            }
            tokio::select! {
                received = self.subscriber.receive() => return received.ok().map(Delivery::from),
                // What came before the end is taken first.
                _ended = ended.changed() => {}
            }
        }
    }

    pub(super) fn take_more(&self, first: Delivery, bytes_max: u64) -> Vec<Delivery> {
        let mut more = Vec::new();
        // When the node has stopped, nothing is there any more.
        let _ended = self.subscriber.try_receive_many(&mut more, bytes_max);
        std::iter::once(first).chain(more.into_iter().map(Delivery::from)).collect()
    }
}
