//! A presence of one process: no network, no other process.
//!
//! Owns the task side of it: time, waiting, topics. What commands do is the keyspace's, as in a cluster. Invariant: it replies as
//! a cluster does.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::asked::{Parsed, parse};
use super::ears::{Ears, Here};
use super::local_state::{State, Waiting};
use super::{Asked, Error, Presence, Subscription, reading};
use crate::command::{Command, ListCommand, Operation, Reply};
use crate::ids::WaitId;
use crate::keyspace::Limits;
use crate::pubsub::{self, Kind, PubSub, QueueLimits};
use crate::time::Clock;

/// A presence within one process, for tests and games that need no second one. Cheap to clone; all clones are the same.
///
/// ```
/// use quorate::presence::{LocalPresence, Presence};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), quorate::presence::Error> {
/// let presence = LocalPresence::default();
/// let lobby = presence.subscribe("$lobby").await?;
/// assert!(presence.hset("rooms", "r1", "chess".into()).await?);
/// presence.publish("$lobby", "r1,0".into()).await?;
/// assert_eq!(lobby.next().await.and_then(|news| news.payload()), Some("r1,0".into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LocalPresence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    state: Mutex<State>,
    ears: Arc<Ears>,
}

/// Ends a wait that nobody waits for any more.
struct Waiter<'a>(&'a Inner, WaitId);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let Self(inner, wait) = self;
        inner.state.lock().end_wait(inner.clock.now(), *wait);
    }
}

impl LocalPresence {
    /// Makes an empty presence whose keys expire by `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let pubsub = PubSub::local(pubsub::Config::default());
        let ears = Ears::new(pubsub, QueueLimits::default(), Box::new(Here));
        let state = Mutex::new(State::new(Limits::default(), clock.now()));
        Self(Arc::new(Inner { clock, state, ears }))
    }

    fn open(&self) -> Result<(), Error> {
        if self.0.ears.is_shut() { Err(Error::ShutDown) } else { Ok(()) }
    }

    fn ask(&self, asked: &Asked) -> Result<Reply, Error> {
        self.open()?;
        Ok(match Parsed::new(asked, usize::MAX, |_| false) {
            Ok(parsed) => {
                let reply = self.0.state.lock().ask(self.0.clock.now(), parsed.request.clone());
                parsed.complete(reply)
            }
            Err(error) => error.into(),
        })
    }
}

impl Default for LocalPresence {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

#[async_trait]
impl Presence for LocalPresence {
    async fn execute(&self, asked: Vec<Asked>) -> Vec<Result<Reply, Error>> {
        asked.iter().map(|asked| self.ask(asked)).collect()
    }

    async fn wait(&self, words: Vec<Bytes>) -> Result<Reply, Error> {
        self.open()?;
        let command = match parse(&words, usize::MAX) {
            Ok(command) => command,
            Err(error) => return Ok(error.into()),
        };
        let list = if let Command::List(list) = &command { Some(list) } else { None };
        let time = list.and_then(ListCommand::timeout);
        let begun = self.0.state.lock().wait(self.0.clock.now(), Operation::new(0, command));
        let (wait, mut served) = match begun {
            Waiting::Answered(reply) => return Ok(reply),
            Waiting::Begun(wait, served) => (wait, served),
        };
        let waiter = Waiter(&self.0, wait);
        let reply = match time {
            None => (&mut served).await,
            Some(time) => match timeout(time, &mut served).await {
                Ok(reply) => reply,
                Err(_elapsed) => {
                    drop(waiter);
                    served.await
                }
            },
        };
        reply.map_err(|_| Error::ShutDown)
    }

    fn listen(&self) -> Subscription {
        self.0.ears.listen()
    }

    async fn unsubscribe(&self, topic: &str) -> Result<(), Error> {
        self.open()?;
        self.0.ears.unsubscribe(topic);
        Ok(())
    }

    async fn publish(&self, topic: &str, payload: Bytes) -> Result<(), Error> {
        self.open()?;
        let published = self.0.ears.pubsub.publish(Kind::Channel, topic.as_bytes(), payload, false);
        // How many received it is known at once, and nobody asks.
        published.map(drop).map_err(Error::from)
    }

    async fn channels(&self, pattern: &str) -> Result<Vec<String>, Error> {
        self.open()?;
        let pattern = Bytes::copy_from_slice(pattern.as_bytes());
        let channels = self.0.ears.pubsub.channels(Kind::Channel, Some(pattern)).await;
        Ok(channels.iter().map(reading::text).collect())
    }

    fn set_max_listeners(&self, most: usize) {
        self.0.ears.set_most(most);
    }

    async fn shutdown(&self) {
        self.0.ears.shut();
    }
}
