//! A presence over a node: what its processes share is replicated, reads come from this process' own memory.
//!
//! Owns how a call meets a cluster that has no leader for a while, and which writes go with the process. Does not know what
//! commands do. Invariant: what may have been done is done again only if it leaves the same behind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::asked::{Parsed, parse};
use super::colyseus::Calls;
use super::ears::{Ears, Upstream};
use super::patience::Patience;
use super::{Asked, Config, Error, Presence, Subscription, reading};
use crate::command::entry::Binding;
use crate::command::{Command, ListCommand, Operation, Reply, Request};
use crate::node::bind::Patterns;
use crate::node::{self, Interrupt, Node};
use crate::pubsub::{Kind, Subscription as Local};

/// The presence of a cluster, within one of its processes. Cheap to clone; all clones are the same, and many may use one node.
///
/// It can be used before the node is ready: calls wait. While there is no leader, they are tried again; see
/// [`Config::patience`].
///
/// A write that may have been done, because its process stalled or its leader died at the wrong moment, is done again if that
/// leaves the same behind (`SET`, `SETEX`, `DEL`, `EXPIRE`, `HSET`, `HDEL`, `SADD`, `SREM`), and then
/// says what the last time said: `hset` may give false for a field that it made. Others fail with [`Error::Unknown`].
#[derive(Clone, Debug)]
pub struct ClusterPresence {
    inner: Arc<Inner>,
    is_bound: bool,
}

#[derive(Debug)]
struct Inner {
    node: Node,
    patience: Duration,
    patterns: Patterns,
    key_max: usize,
    ears: Arc<Ears>,
    calls: Calls,
}

/// Brings a subscription into effect on all nodes.
#[derive(Debug)]
struct AllNodes {
    node: Node,
    patience: Duration,
}

impl Upstream for AllNodes {
    fn wanted(&self, _topic: &Bytes, local: Local) -> BoxFuture<'static, Result<(), Error>> {
        let (node, most) = (self.node.clone(), self.patience);
        async move {
            ready(&node, &mut Patience::new(most)).await?;
            local.in_effect().await;
            Ok(())
        }
        .boxed()
    }

    fn unwanted(&self, _topic: &Bytes) {}
}

/// Waits until the node is ready, as long as the patience lasts.
async fn ready(node: &Node, patience: &mut Patience) -> Result<(), Error> {
    let ready = node.ready();
    let mut ready = std::pin::pin!(ready);
    if (&mut ready).now_or_never().is_some() || patience.bound(ready).await.is_some() {
        return Ok(());
    }
    let text = "TRYAGAIN this node is not ready; the command surely had no effect".to_owned();
    Err(Error::Unavailable { text, waited: patience.spent() })
}

impl ClusterPresence {
    /// Opens a presence over a node, with the default settings.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self::open(node, &Config { bind: Vec::new(), ..Config::default() })
    }

    /// Opens a presence over a node.
    ///
    /// # Errors
    /// [`Error::Setting`] when a pattern of `bind` can only be a mistake.
    pub fn with(node: Node, config: &Config) -> Result<Self, Error> {
        let key_max = node.config().cluster.key_max;
        for bind in &config.bind {
            if let Some(wanted) = bind.mistake(key_max.as_u64()) {
                let text = format!("bind: '{}' is not {wanted}", bind.key);
                return Err(Error::Setting { text });
            }
        }
        Ok(Self::open(node, config))
    }

    fn open(node: Node, config: &Config) -> Self {
        let patience = config.patience;
        let upstream = AllNodes { node: node.clone(), patience };
        let ears = Ears::new(node.pubsub().clone(), config.subscription, Box::new(upstream));
        let patterns = Patterns::new(&config.bind);
        let key_max = node.config().cluster.key_max.as_u64();
        let key_max = usize::try_from(key_max).unwrap_or(usize::MAX);
        let calls = Calls::new(node.pubsub().clone());
        let inner = Inner { node, patience, patterns, key_max, ears, calls };
        Self { inner: Arc::new(inner), is_bound: false }
    }

    /// Gives the same presence with writes that go with this process: keys, fields, members and shares of counters are gone in
    /// one step when it has died, left, or was silent for `cluster.session_timeout`, and come back by themselves
    /// when it was only stalled. See [`Node::bound`]. Topics and subscriptions are shared with the other.
    #[must_use]
    pub fn bound(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), is_bound: true }
    }

    /// Gives the node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.inner.node
    }

    fn is_open(&self) -> Result<(), Error> {
        if self.inner.ears.is_shut() { Err(Error::ShutDown) } else { Ok(()) }
    }

    /// Whether what a command writes goes with this process, as far as this presence knows.
    pub(super) fn binds(&self, command: &Command) -> bool {
        self.is_bound || self.inner.patterns.to(command).is_some()
    }

    /// Asks the node until each has its answer or must not be asked again.
    async fn ask(&self, asked: &[Parsed], patience: &mut Patience) -> Vec<Result<Reply, Error>> {
        let mut answers: Vec<Option<Result<Reply, Error>>> = asked.iter().map(|_| None).collect();
        loop {
            let places: Vec<usize> = (0..).zip(&answers).filter_map(is_open).collect();
            let parsed = || places.iter().filter_map(|place| asked.get(*place));
            let requests: Vec<Request> = parsed().map(|parsed| parsed.request.clone()).collect();
            let replies = patience.watch(self.inner.node.execute(requests)).await;
            let is_last = replies.iter().all(Result::is_ok) || !patience.again().await;
            // Behind a write that failed, a read of the same call may have read too early.
            let mut doubt = None;
            for ((place, parsed), reply) in places.iter().zip(parsed()).zip(replies) {
                let may_repeat = match &reply {
                    Ok(_) => doubt.is_some() && !parsed.request.is_write(),
                    Err(_) => parsed.is_repeatable || is_surely_undone(&reply),
                };
                let reply = reply.map_err(|error| Error::of_node(&error, patience.spent()));
                let reply = match (&doubt, reply) {
                    (Some(doubt), Ok(_)) if may_repeat => Err(Error::clone(doubt)),
                    (_, reply) => reply.map(|reply| parsed.complete(reply)),
                };
                if let Err(error) = &reply {
                    doubt = Some(error.clone());
                }
                if let Some(slot) = answers.get_mut(*place).filter(|_| is_last || !may_repeat) {
                    *slot = Some(reply);
                }
            }
            if answers.iter().all(Option::is_some) {
                return answers.into_iter().flatten().collect();
            }
        }
    }

    async fn wait_for(&self, operation: Operation) -> Result<Reply, Error> {
        let list = if let Command::List(list) = &operation.command { Some(list) } else { None };
        let time = list.and_then(ListCommand::timeout);
        let node = &self.inner.node;
        let mut patience = Patience::new(self.inner.patience);
        ready(node, &mut patience).await?;
        let interrupt = async move {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
            Interrupt::Timeout
        };
        let interrupt = interrupt.shared();
        loop {
            let before = patience.spent();
            let reply = patience.watch(node.wait(operation.clone(), interrupt.clone())).await;
            let waited = patience.spent().saturating_sub(before);
            if waited > node.config().consensus.request_timeout.saturating_mul(2) {
                // It had its place among those who wait; what failed is to get another.
                patience = Patience::new(self.inner.patience);
            }
            match reply {
                Ok(reply) => return Ok(reply),
                reply if is_surely_undone(&reply) && patience.again().await => {}
                Err(error) => return Err(Error::of_node(&error, patience.spent())),
            }
        }
    }
}

/// The place of what has no answer yet.
fn is_open<T>((place, answer): (usize, &Option<T>)) -> Option<usize> {
    answer.is_none().then_some(place)
}

const fn is_surely_undone(reply: &Result<Reply, node::Error>) -> bool {
    matches!(reply, Err(node::Error::TryAgain | node::Error::ClusterDown { .. }))
}

#[async_trait]
impl Presence for ClusterPresence {
    async fn execute(&self, asked: Vec<Asked>) -> Vec<Result<Reply, Error>> {
        if let Err(error) = self.is_open() {
            return asked.iter().map(|_| Err(error.clone())).collect();
        }
        let mut patience = Patience::new(self.inner.patience);
        if let Err(error) = ready(&self.inner.node, &mut patience).await {
            return asked.iter().map(|_| Err(error.clone())).collect();
        }
        let parse = |asked| Parsed::new(asked, self.inner.key_max, |command| self.binds(command));
        let all: Vec<_> = asked.iter().map(parse).collect();
        let parsed: Vec<Parsed> = all.iter().filter_map(|one| one.as_ref().ok()).cloned().collect();
        let mut answers = self.ask(&parsed, &mut patience).await.into_iter();
        let answer = |one: Result<Parsed, crate::command::Error>| match one {
            Ok(_parsed) => answers.next().unwrap_or(Err(Error::ShutDown)),
            Err(error) => Ok(error.into()),
        };
        all.into_iter().map(answer).collect()
    }

    async fn wait(&self, words: Vec<Bytes>) -> Result<Reply, Error> {
        self.is_open()?;
        match parse(&words, self.inner.key_max) {
            Ok(command) => {
                let binding = if self.binds(&command) { Binding::Node } else { Binding::None };
                self.wait_for(Operation { database: 0, binding, command }).await
            }
            Err(error) => Ok(error.into()),
        }
    }

    fn listen(&self) -> Subscription {
        self.inner.ears.listen()
    }

    async fn unsubscribe(&self, topic: &str) -> Result<(), Error> {
        self.is_open()?;
        self.inner.ears.unsubscribe(topic);
        Ok(())
    }

    async fn publish(&self, topic: &str, payload: Bytes) -> Result<(), Error> {
        self.is_open()?;
        ready(&self.inner.node, &mut Patience::new(self.inner.patience)).await?;
        self.inner.calls.publish(topic.as_bytes(), payload).map_err(Error::from)
    }

    async fn channels(&self, pattern: &str) -> Result<Vec<String>, Error> {
        self.is_open()?;
        ready(&self.inner.node, &mut Patience::new(self.inner.patience)).await?;
        let pattern = Bytes::copy_from_slice(pattern.as_bytes());
        let channels = self.inner.node.channels(Kind::Channel, Some(pattern)).await;
        Ok(channels.iter().map(reading::text).collect())
    }

    fn set_max_listeners(&self, most: usize) {
        self.inner.ears.set_most(most);
    }

    async fn shutdown(&self) {
        self.inner.ears.shut();
    }
}
