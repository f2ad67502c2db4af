//! The connection that commands go over, made anew when it is broken.
//!
//! Owns when a connection is made and given up. Does not try commands again. Invariant: commands that are sent one after the other
//! are done in that order, as long as the connection lives.

use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::{Asked, Error};
use super::config::RedisConfig;
use super::value::{Outcome, command, transaction};

/// After how long without a reply a connection is asked for a sign of life before it carries what must not be done twice.
const FRESH: Duration = Duration::from_millis(500);

/// Longer than any caller waits: the time-out of a command that waits is the server's.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One connection. Clones share it.
#[derive(Clone)]
pub(super) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Wire {
    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }

    async fn send(&mut self, asked: &Asked) -> Outcome {
        if !asked.is_transaction {
            let words = asked.commands.first().map_or(&[][..], Vec::as_slice);
            return Outcome::new(self.ask(&command(words)).await);
        }
        let pipeline = transaction(&asked.commands);
        // MULTI and each command are answered before EXEC is.
        let before = asked.commands.len().saturating_add(1);
        let sent = match self {
            Self::One(connection) => connection.req_packed_commands(&pipeline, before, 1).await,
            Self::Cluster(connection) => connection.req_packed_commands(&pipeline, before, 1).await,
        };
        Outcome::new(sent.map(|values| values.into_iter().next().unwrap_or_default()))
    }

    /// Sends commands in their order and gives what became of each.
    pub(super) async fn send_all(mut self, asked: &[&Asked]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(asked.len());
        // A cluster's parts go to different servers: one after the other.
        let together = |one: &&Asked, other: &&Asked| {
            !matches!(self, Self::Cluster(_)) && !one.is_transaction && !other.is_transaction
        };
        let runs: Vec<&[&Asked]> = asked.chunk_by(together).collect();
        for run in runs {
            match run {
                [one] => outcomes.push(self.send(one).await),
                many => outcomes.extend(self.send_together(many).await),
            }
        }
        outcomes
    }

    /// Sends single commands in one go.
    async fn send_together(&mut self, many: &[&Asked]) -> Vec<Outcome> {
        let mut pipeline = Pipeline::with_capacity(many.len());
        for asked in many {
            let words = asked.commands.first().map_or(&[][..], Vec::as_slice);
            pipeline.add_command(command(words));
        }
        let sent = match self {
            Self::One(connection) => connection.req_packed_commands(&pipeline, 0, many.len()).await,
            Self::Cluster(connection) => {
                connection.req_packed_commands(&pipeline, 0, many.len()).await
            }
        };
        match sent {
            Ok(values) => values.into_iter().map(|value| Outcome::new(Ok(value))).collect(),
            Err(error) => many.iter().map(|_| Outcome::new(Err(error.clone()))).collect(),
        }
    }
}

/// The connection as it is now.
struct Current {
    wire: Wire,
    number: u64,
    replied: Instant,
}

/// Makes connections, and keeps one.
pub(super) struct Link {
    client: Client,
    cluster: Option<ClusterClient>,
    connect_timeout: Duration,
    reply_timeout: Duration,
    current: Mutex<(u64, Option<Current>)>,
}

impl Link {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, Error> {
        let client = config.clients()?.into_iter().next();
        let text = || "servers: none".to_owned();
        Ok(Self {
            client: client.ok_or_else(|| Error::Setting { text: text() })?,
            cluster: config.cluster()?,
            connect_timeout: config.connect_timeout,
            reply_timeout: config.reply_timeout,
            current: Mutex::default(),
        })
    }

    /// Gives the connection with its number, made anew if there is none. Before what must not be done twice, one that has long been
    /// silent is asked for a sign of life first.
    pub(super) async fn wire(&self, must_live: bool) -> Result<(u64, Wire), RedisError> {
        let mut guard = self.current.lock().await;
        let (next, current) = &mut *guard;
        if let Some(here) = current
            && (!must_live || here.replied.elapsed() < FRESH || is_alive(&mut here.wire).await)
        {
            return Ok((here.number, here.wire.clone()));
        }
        *current = None;
        let wire = self.connect(self.reply_timeout).await?;
        *next = next.saturating_add(1);
        let here = Current { wire: wire.clone(), number: *next, replied: Instant::now() };
        *current = Some(here);
        Ok((*next, wire))
    }

    /// Notes that a connection has replied.
    pub(super) async fn replied(&self, number: u64) {
        if let Some(here) = self.current.lock().await.1.as_mut().filter(|c| c.number == number) {
            here.replied = Instant::now();
        }
    }

    /// Gives up a connection.
    pub(super) async fn broken(&self, number: u64) {
        let current = &mut self.current.lock().await.1;
        if current.as_ref().is_some_and(|here| here.number == number) {
            *current = None;
        }
    }

    /// Makes a connection of its own for a command that waits; it ends when it is dropped.
    pub(super) async fn own(&self) -> Result<Wire, RedisError> {
        self.connect(NEVER).await
    }

    async fn connect(&self, reply_timeout: Duration) -> Result<Wire, RedisError> {
        if let Some(cluster) = &self.cluster {
            let config = ClusterConfig::new()
                .set_connection_timeout(self.connect_timeout)
                .set_response_timeout(reply_timeout);
            let connection = cluster.get_async_connection_with_config(config).await?;
            return Ok(Wire::Cluster(connection));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(reply_timeout));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Wire::One(connection))
    }
}

async fn is_alive(wire: &mut Wire) -> bool {
    wire.ask(&command(&[Bytes::from_static(b"PING")])).await.is_ok()
}
