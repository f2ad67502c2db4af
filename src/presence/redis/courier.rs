//! The connection that messages come by, made anew when it is broken, with all its topics.
//!
//! Owns which topics are subscribed to at the server. Does not hand messages to listeners: `pubsub` does, within this process.
//! Invariant: after a connection broke, every topic is subscribed to again, and every listener is told that messages may be
//! missing, before any that come by the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisError};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::super::Error;
use super::super::ears::Upstream;
use super::super::patience::Patience;
use super::config::RedisConfig;
use crate::pubsub::{PubSub, Subscription as Local};

/// How long the pause between two tries to connect is, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How many topics one SUBSCRIBE has.
const TOGETHER_MAX: usize = 500;

/// The topics that somebody listens to, each with whether the server knows.
#[derive(Debug, Default)]
struct Topics {
    wanted: Mutex<BTreeMap<Bytes, watch::Sender<bool>>>,
    changed: Notify,
    ended: Notify,
}

/// Brings subscriptions to the server. Dropped, it ends the connection.
#[derive(Debug)]
pub(super) struct Courier {
    topics: Arc<Topics>,
    patience: Duration,
}

impl Courier {
    /// Starts the connection, which is made as soon as there is a topic.
    pub(super) fn start(config: &RedisConfig, pubsub: PubSub) -> Result<Self, Error> {
        let topics = Arc::new(Topics::default());
        let task = Task {
            clients: config.clients()?,
            topics: Arc::clone(&topics),
            pubsub,
            connect_timeout: config.connect_timeout,
            silence_max: config.reply_timeout,
        };
        tokio::spawn(task.run());
        Ok(Self { topics, patience: config.patience })
    }
}

impl Upstream for Courier {
    fn wanted(&self, topic: &Bytes, _local: Local) -> BoxFuture<'static, Result<(), Error>> {
        let mut wanted = self.topics.wanted.lock();
        let known = wanted.entry(topic.clone()).or_insert_with(|| watch::Sender::new(false));
        let mut known = known.subscribe();
        drop(wanted);
        if *known.borrow_and_update() {
            return ready(Ok(())).boxed();
        }
        self.topics.changed.notify_one();
        let most = self.patience;
        async move {
            let mut patience = Patience::new(most);
            match patience.bound(known.wait_for(|known| *known)).await {
                // When nobody wants it any more, nothing is missed.
                Some(_known_or_gone) => Ok(()),
                None => {
                    let text = "TRYAGAIN the server does not confirm the subscription".to_owned();
                    Err(Error::Unavailable { text, waited: patience.spent() })
                }
            }
        }
        .boxed()
    }

    fn unwanted(&self, topic: &Bytes) {
        self.topics.wanted.lock().remove(topic);
        self.topics.changed.notify_one();
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.topics.ended.notify_one();
    }
}

struct Task {
    clients: Vec<Client>,
    topics: Arc<Topics>,
    pubsub: PubSub,
    connect_timeout: Duration,
    silence_max: Duration,
}

impl Task {
    async fn run(self) {
        let topics = Arc::clone(&self.topics);
        tokio::select! {
            () = topics.ended.notified() => {}
            () = self.carry_on() => {}
        }
    }

    async fn carry_on(&self) {
        let (mut pause, mut turn) = (PAUSE.0, 0_usize);
        loop {
            while self.topics.wanted.lock().is_empty() {
                self.topics.changed.notified().await;
            }
            let mut had_topics = false;
            let client = self.clients.get(turn.checked_rem(self.clients.len()).unwrap_or_default());
            let Some(client) = client else {
                return;
            };
            let error = match timeout(self.connect_timeout, client.get_async_pubsub()).await {
                Ok(Ok(connection)) => {
                    let (sink, stream) = connection.split();
                    self.serve(sink, stream, &mut had_topics).await.err()
                }
                Ok(Err(error)) => Some(error),
                Err(_elapsed) => None,
            };
            if had_topics {
                let error = error.map_or_else(|| "it is closed".to_owned(), |e| e.to_string());
                tracing::warn!(
                    error,
                    "presence: lost the connection for messages; some may be missing"
                );
                self.lose();
                pause = PAUSE.0;
            }
            turn = turn.wrapping_add(1);
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE.1);
        }
    }

    /// Takes messages until the connection breaks. `had_topics` tells whether anything was subscribed to.
    async fn serve(
        &self,
        mut sink: PubSubSink,
        mut stream: PubSubStream,
        had_topics: &mut bool,
    ) -> Result<(), RedisError> {
        let mut subscribed = BTreeSet::new();
        loop {
            let reconciled = self.reconcile(&mut sink, &mut subscribed);
            match timeout(self.silence_max, reconciled).await {
                Ok(reconciled) => reconciled?,
                Err(_silence) => return Ok(()),
            }
            *had_topics |= !subscribed.is_empty();
            tokio::select! {
                message = timeout(self.silence_max, stream.next()) => match message {
                    Ok(Some(message)) => self.hand_over(&message),
                    Ok(None) => return Ok(()),
                    // Nobody has said anything for long: is it there at all?
                    Err(_silence) => match timeout(self.silence_max, sink.ping::<redis::Value>()).await {
                        Ok(pong) => drop(pong?),
                        Err(_silence) => return Ok(()),
                    },
                },
                () = self.topics.changed.notified() => {}
            }
            while let Some(Some(message)) = stream.next().now_or_never() {
                self.hand_over(&message);
            }
        }
    }

    fn hand_over(&self, message: &redis::Msg) {
        let payload = Bytes::copy_from_slice(message.get_payload_bytes());
        self.pubsub.announce(message.get_channel_name().as_bytes(), payload);
    }

    /// Brings the server's topics up to what is wanted, and says which it knows.
    async fn reconcile(
        &self,
        sink: &mut PubSubSink,
        subscribed: &mut BTreeSet<Bytes>,
    ) -> Result<(), RedisError> {
        let (new, old) = {
            let wanted = self.topics.wanted.lock();
            let new = wanted.keys().filter(|topic| !subscribed.contains(*topic));
            let old = subscribed.iter().filter(|topic| !wanted.contains_key(*topic));
            (new.cloned().collect::<Vec<_>>(), old.cloned().collect::<Vec<_>>())
        };
        for some in old.chunks(TOGETHER_MAX) {
            sink.unsubscribe(names(some)).await?;
            some.iter().for_each(|topic| drop(subscribed.take(topic)));
        }
        for some in new.chunks(TOGETHER_MAX) {
            sink.subscribe(names(some)).await?;
            subscribed.extend(some.iter().cloned());
        }
        let wanted = self.topics.wanted.lock();
        // Also one that was given up and asked for again before the server heard of it.
        for (_, known) in wanted.iter().filter(|(topic, _)| subscribed.contains(*topic)) {
            known.send_if_modified(|known| !std::mem::replace(known, true));
        }
        Ok(())
    }

    /// The server knows no topic any more.
    fn lose(&self) {
        for known in self.topics.wanted.lock().values() {
            known.send_replace(false);
        }
        self.pubsub.announce_lost(&[b""], None);
    }
}

fn names(topics: &[Bytes]) -> Vec<&[u8]> {
    topics.iter().map(|topic| &topic[..]).collect()
}
