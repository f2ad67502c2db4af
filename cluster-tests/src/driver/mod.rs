//! Matchmaking drivers: one suite for all of them, what only the cluster promises, and how long questions take.
//!
//! Owns: the drivers that are compared, and where their rows are. Does not own: checks (`suite`, `clustered`) and measurements
//! (`bench`). Invariant: the calls of a check go around the drivers, so that no two in a row are of the same process.

pub mod bench;
pub mod clustered;
pub mod suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate::Node;
use quorate::node::Config;
use quorate::presence::driver::{
    ClusterDriver, Driver, Error, Listing, LocalDriver, RedisDriver, Row,
};
use quorate::presence::{LocalPresence, RedisConfig, RedisPresence};
use quorate::transport::Secret;
use tokio::time::timeout;

use crate::failure::{Failure, Outcome};
use crate::process::RedisServer;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Drivers of several processes, with one list of rooms.
#[derive(Debug)]
pub struct Ground {
    /// What it is, for names of tests.
    pub name: &'static str,
    drivers: Vec<Arc<dyn Driver>>,
    turn: AtomicUsize,
}

impl Ground {
    /// One process.
    #[must_use]
    pub fn local() -> Self {
        Self::of("local", vec![Arc::new(LocalDriver::default())])
    }

    /// The commands of the driver for Redis, without a Redis.
    #[must_use]
    pub fn commands() -> Self {
        Self::of("commands", vec![Arc::new(RedisDriver::new(LocalPresence::default()))])
    }

    /// A driver over each node.
    #[must_use]
    pub fn cluster(nodes: &[Node]) -> Self {
        let driver = |node: &Node| Arc::new(ClusterDriver::new(node.clone())) as Arc<dyn Driver>;
        Self::of("cluster", nodes.iter().map(driver).collect())
    }

    /// Three connections to a Redis.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn redis(server: &RedisServer) -> Outcome<Self> {
        let mut drivers: Vec<Arc<dyn Driver>> = Vec::new();
        for _ in 0..3 {
            let config = RedisConfig::at(format!("redis://{}", server.address));
            let presence = RedisPresence::open(&config);
            let presence = presence.map_err(|error| Failure::new(error.to_string()))?;
            drivers.push(Arc::new(RedisDriver::new(presence)));
        }
        Ok(Self::of("redis", drivers))
    }

    fn of(name: &'static str, drivers: Vec<Arc<dyn Driver>>) -> Self {
        Self { name, drivers, turn: AtomicUsize::new(0) }
    }

    /// The driver whose turn it is.
    #[must_use]
    pub fn any(&self) -> &dyn Driver {
        self.at(self.turn.fetch_add(1, Ordering::Relaxed)).as_ref()
    }

    /// One of the drivers; numbers go around.
    ///
    /// # Panics
    /// Never: there is at least one.
    #[must_use]
    pub fn at(&self, number: usize) -> &Arc<dyn Driver> {
        let place = number.checked_rem(self.drivers.len()).unwrap_or_default();
        self.drivers.get(place).expect("there is at least one driver")
    }
}

/// Starts nodes of one cluster within this process, and waits until they are ready.
///
/// # Errors
/// When one does not start.
pub async fn nodes(count: usize) -> Outcome<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..count {
        let mut config = Config::default();
        config.node.listen = ([127, 0, 0, 1], 0).into();
        config.node.seeds =
            nodes.first().map(|node| node.address().to_string()).into_iter().collect();
        config.cluster.secret = Some(Secret::generate([9; 32]));
        // What is counted is what is checked, also on a busy machine.
        config.pubsub.count_timeout = Duration::from_secs(5);
        let node = Node::start(config).await.map_err(|error| Failure::new(error.to_string()))?;
        within("a node that gets ready", node.ready()).await?;
        nodes.push(node);
    }
    Ok(nodes)
}

/// A listing with what most checks look at.
#[must_use]
pub fn listing(room: &str, process: &str) -> Listing {
    Listing {
        room_id: room.to_owned(),
        process_id: process.to_owned(),
        name: "game".to_owned(),
        created_at: "2026-11-22T00:00:00.000Z".to_owned(),
        ..Listing::default()
    }
}

/// The same as a row.
///
/// # Panics
/// Never: a listing with a room can be written.
#[must_use]
pub fn row(room: &str, process: &str) -> Row {
    Row::try_from(&listing(room, process)).expect("it has a room")
}

/// Fails unless two values are the same.
///
/// # Errors
/// With both.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: {found:?}, and not {expected:?}")))
}

/// Says what a driver was asked when it failed.
///
/// # Errors
/// That failure.
pub fn done<T>(what: &str, result: Result<T, Error>) -> Outcome<T> {
    result.map_err(|error| Failure::new(format!("{what}: {error}")))
}

/// Waits for what must not take long.
///
/// # Errors
/// When it does.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> Outcome<T> {
    let done = timeout(PATIENCE, work).await;
    done.map_err(|_| Failure::new(format!("{what} takes longer than {PATIENCE:?}")))
}
