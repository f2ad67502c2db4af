//! One subscription as its owner holds it: a queue of messages, in order, and the news that some are missing.
//!
//! Owns nothing but its ends: who listens to what stands in `ears`, the queue in `pubsub`. Invariant: what is missing is told
//! before the next message; dropped, it listens to nothing any more.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Error;
use super::ears::{Ear, Ears};
use crate::pubsub;

/// Listens to one topic or to several, with a bounded queue of its own: at its limit the oldest messages are dropped, and the
/// owner is told how many. Dropped, it listens to nothing any more.
#[derive(Debug)]
#[must_use = "it listens only as long as it is held"]
pub struct Subscription {
    ears: Arc<Ears>,
    ear: Arc<Ear>,
}

/// A message, as a subscriber gets it. Cheap to clone: all subscribers of a process share its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Invariant: UTF-8, since only text was subscribed to.
    topic: Bytes,
    /// What was published.
    pub payload: Bytes,
}

impl Message {
    /// Gives the topic it was published to.
    #[must_use]
    pub fn topic(&self) -> &str {
        std::str::from_utf8(&self.topic).unwrap_or_default()
    }
}

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// Messages are missing, because a connection broke or this subscriber was too slow. They may belong before, between
    /// or behind those that wait already, and to topics of others.
    Lost {
        /// How many, if anybody knows.
        count: Option<u64>,
    },
}

impl Delivery {
    /// Gives the message, if it is one.
    #[must_use]
    pub fn message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Lost { .. } => None,
        }
    }

    /// Gives the payload of the message, if it is one.
    #[must_use]
    pub fn payload(self) -> Option<Bytes> {
        self.message().map(|message| message.payload)
    }
}

impl From<pubsub::Delivery> for Delivery {
    fn from(delivery: pubsub::Delivery) -> Self {
        match delivery {
            pubsub::Delivery::Message(pubsub::Message { channel, payload, .. }) => {
                Self::Message(Message { topic: channel, payload })
            }
            pubsub::Delivery::Lost(lost) => Self::Lost { count: lost.count },
        }
    }
}

impl Subscription {
    pub(super) const fn new(ears: Arc<Ears>, ear: Arc<Ear>) -> Self {
        Self { ears, ear }
    }

    /// Makes it end with its last topic.
    pub(super) fn of_one_topic(self) -> Self {
        self.ear.end_when_unsubscribed();
        self
    }

    /// Listens to another topic too. What this process publishes from now on is delivered; once the future has resolved, what
    /// any process publishes is. The future may be dropped: the topic stays added. Adding a topic again changes nothing.
    ///
    /// # Errors
    /// [`Error::Messages`] at a limit, [`Error::Unavailable`] when it did not come into effect for long, and
    /// [`Error::ShutDown`].
    pub fn add(&self, topic: &str) -> BoxFuture<'static, Result<(), Error>> {
        self.ears.add(&self.ear, topic)
    }

    /// Listens to a topic no more; gives false when it did not. What came before can still be taken.
    pub fn remove(&self, topic: &str) -> bool {
        self.ears.remove(&self.ear, topic)
    }

    /// Gives the topics, in no certain order.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.ear.topics().iter().map(super::reading::text).collect()
    }

    /// Waits for the next message, or for the news that some are missing; `None` once it has ended: its presence was shut
    /// down, its node has stopped, or [`Presence::unsubscribe`](super::Presence::unsubscribe) took its only topic.
    ///
    /// # Cancel safety
    /// Safe: a message is taken only when it is returned.
    pub async fn next(&self) -> Option<Delivery> {
        self.ear.next().await
    }

    /// Takes the next message, or the news that some are missing, if it is there.
    #[must_use]
    pub fn try_next(&self) -> Option<Delivery> {
        self.ear.try_next()
    }

    /// Waits as [`Subscription::next`] and takes what else is there, until it weighs about `bytes_max`. Empty once it has ended.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next_batch(&self, bytes_max: u64) -> Vec<Delivery> {
        match self.ear.next().await {
            Some(first) => self.ear.take_more(first, bytes_max),
            None => Vec::new(),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.ears.forget(&self.ear);
    }
}
