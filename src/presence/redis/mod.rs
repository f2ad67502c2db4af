//! A presence against a Redis server, or a Redis Cluster.
//!
//! Owns how calls survive a connection that breaks. Connections are in `link` (commands) and `courier` (messages). Does not know
//! nodes. Invariant: what may have been done is done again only if it leaves the same behind.

mod config;
mod courier;
mod link;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::config::RedisConfig;
use self::courier::Courier;
use self::link::Link;
use self::value::Outcome;
use super::asked::is_repeatable;
use super::ears::Ears;
use super::patience::Patience;
use super::reading::Answer;
use super::{Asked, Error, Presence, Subscription};
use crate::command::Reply;
use crate::pubsub::{self, PubSub};

/// The presence in a Redis. Cheap to clone; all clones are the same.
///
/// It has one connection for commands and, once something is subscribed to, one for messages; both are made again when
/// they break. Then every topic is subscribed to again, and every subscription is told that messages may be missing. A call
/// that waits for an element has a connection of its own.
///
/// ```no_run
/// use quorate::presence::{Presence, RedisConfig, RedisPresence};
///
/// # async fn open() -> Result<(), quorate::presence::Error> {
/// let presence = RedisPresence::open(&RedisConfig::at("redis://127.0.0.1:6379/2"))?;
/// presence.set("greeting", "hello".into()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisPresence(Arc<Inner>);

struct Inner {
    link: Link,
    patience: Duration,
    ears: Arc<Ears>,
}

impl fmt::Debug for RedisPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPresence").finish_non_exhaustive()
    }
}

/// Whether one of them must not be done twice, so that its connection is to be known to live.
fn must_live(asked: &[&Asked]) -> bool {
    !asked.iter().all(|asked| asked.commands.iter().all(|words| is_repeatable(words)))
}

impl RedisPresence {
    /// Opens a presence; within a tokio runtime. It can be used at once: calls wait until the server is reached.
    ///
    /// # Errors
    /// [`Error::Setting`] when an address, a certificate or a database cannot be used.
    pub fn open(config: &RedisConfig) -> Result<Self, Error> {
        let pubsub = PubSub::local(pubsub::Config::default());
        let courier = Courier::start(config, pubsub.clone())?;
        let ears = Ears::new(pubsub, config.subscription, Box::new(courier));
        let inner = Inner { link: Link::new(config)?, patience: config.patience, ears };
        Ok(Self(Arc::new(inner)))
    }

    fn is_open(&self) -> Result<(), Error> {
        if self.0.ears.is_shut() { Err(Error::ShutDown) } else { Ok(()) }
    }

    /// Sends what is asked, once.
    async fn send(&self, asked: &[&Asked]) -> Vec<Outcome> {
        let (number, wire) = match self.0.link.wire(must_live(asked)).await {
            Ok(wire) => wire,
            Err(error) => {
                let text = format!("TRYAGAIN the server cannot be reached: {error}");
                return asked.iter().map(|_| Outcome::Later(text.clone())).collect();
            }
        };
        let outcomes = wire.send_all(asked).await;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unknown(_))) {
            self.0.link.broken(number).await;
        } else {
            self.0.link.replied(number).await;
        }
        outcomes
    }

    async fn ask(&self, asked: &[Asked], patience: &mut Patience) -> Vec<Result<Reply, Error>> {
        let mut answers: Vec<Option<Result<Reply, Error>>> = asked.iter().map(|_| None).collect();
        loop {
            let open = |(place, answer): (usize, &Option<_>)| answer.is_none().then_some(place);
            let places: Vec<usize> = (0..).zip(&answers).filter_map(open).collect();
            let open: Vec<&Asked> = places.iter().filter_map(|place| asked.get(*place)).collect();
            let outcomes = patience.watch(self.send(&open)).await;
            let is_done = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Replied(_)));
            let is_last = is_done || !patience.again().await;
            for ((place, asked), outcome) in places.iter().zip(open).zip(outcomes) {
                let (may_repeat, answer) = match outcome {
                    Outcome::Replied(reply) => (false, Ok(reply)),
                    Outcome::Later(text) => {
                        (true, Err(Error::Unavailable { text, waited: patience.spent() }))
                    }
                    Outcome::Unknown(text) => (!must_live(&[asked]), Err(Error::Unknown { text })),
                };
                if let Some(slot) = answers.get_mut(*place).filter(|_| is_last || !may_repeat) {
                    *slot = Some(answer);
                }
            }
            if answers.iter().all(Option::is_some) {
                return answers.into_iter().flatten().collect();
            }
        }
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn execute(&self, asked: Vec<Asked>) -> Vec<Result<Reply, Error>> {
        if let Err(error) = self.is_open() {
            return asked.iter().map(|_| Err(error.clone())).collect();
        }
        self.ask(&asked, &mut Patience::new(self.0.patience)).await
    }

    async fn wait(&self, words: Vec<Bytes>) -> Result<Reply, Error> {
        self.is_open()?;
        let mut patience = Patience::new(self.0.patience);
        let asked = Asked::one(words);
        loop {
            let outcome = match patience.watch(self.0.link.own()).await {
                Ok(wire) => wire.send_all(&[&asked]).await.pop(),
                Err(error) => {
                    Some(Outcome::Later(format!("TRYAGAIN the server cannot be reached: {error}")))
                }
            };
            match outcome {
                Some(Outcome::Replied(reply)) => return Ok(reply),
                Some(Outcome::Later(text)) => {
                    if !patience.again().await {
                        return Err(Error::Unavailable { text, waited: patience.spent() });
                    }
                }
                Some(Outcome::Unknown(text)) => return Err(Error::Unknown { text }),
                None => return Err(Error::ShutDown),
            }
        }
    }

    fn listen(&self) -> Subscription {
        self.0.ears.listen()
    }

    async fn unsubscribe(&self, topic: &str) -> Result<(), Error> {
        self.is_open()?;
        self.0.ears.unsubscribe(topic);
        Ok(())
    }

    async fn publish(&self, topic: &str, payload: Bytes) -> Result<(), Error> {
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        let reply = self.command(vec![Bytes::from_static(b"PUBLISH"), topic, payload]).await?;
        // How many received it is not asked for.
        Answer::new("PUBLISH", reply)?.number().map(drop)
    }

    async fn channels(&self, pattern: &str) -> Result<Vec<String>, Error> {
        let pattern = Bytes::copy_from_slice(pattern.as_bytes());
        let words = vec![Bytes::from_static(b"PUBSUB"), Bytes::from_static(b"CHANNELS"), pattern];
        let channels = Answer::new("PUBSUB", self.command(words).await?)?.values()?;
        let mut names: Vec<String> = channels.iter().map(super::reading::text).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn set_max_listeners(&self, most: usize) {
        self.0.ears.set_most(most);
    }

    async fn shutdown(&self) {
        self.0.ears.shut();
    }
}
