//! Where the suite runs: presences that are one and the same, and names that no other check uses.
//!
//! Owns: starting nodes in this process, and which of the presences takes the next call. Does not own: checks.
//! Invariant: the calls of a check go around the presences, so that none is answered twice in a row by the same node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate::Node;
use quorate::node::Config;
use quorate::presence::{ClusterPresence, Error, Presence, Subscription};
use quorate::transport::Secret;
use tokio::time::timeout;

use super::same;
use crate::failure::{Failure, Outcome};

/// How long a check may take, and how long it waits for a message.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The presences that a check asks.
#[derive(Debug)]
pub struct Ground {
    /// What it is, for names of tests.
    pub name: &'static str,
    presences: Vec<Arc<dyn Presence>>,
    turn: AtomicUsize,
    names: AtomicUsize,
}

impl Ground {
    /// Gathers presences that share everything.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(name: &'static str, presences: Vec<Arc<dyn Presence>>) -> Outcome<Self> {
        if presences.is_empty() {
            return Err(Failure::new("a suite without a presence"));
        }
        Ok(Self { name, presences, turn: AtomicUsize::new(0), names: AtomicUsize::new(0) })
    }

    /// Gives the presence whose turn it is.
    #[must_use]
    pub fn any(&self) -> &dyn Presence {
        self.at(self.turn.fetch_add(1, Ordering::Relaxed)).as_ref()
    }

    /// Gives one of the presences; numbers go around.
    ///
    /// # Panics
    /// Never: there is at least one.
    #[must_use]
    pub fn at(&self, number: usize) -> &Arc<dyn Presence> {
        let place = number.checked_rem(self.presences.len()).unwrap_or_default();
        self.presences.get(place).expect("there is at least one presence")
    }

    /// Gives a name that nobody has used.
    #[must_use]
    pub fn name(&self, of: &str) -> String {
        format!("{of}:{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a check within its time.
    ///
    /// # Errors
    /// With what the check says, or that it takes too long.
    pub async fn run(&self, check: super::Check) -> Outcome {
        let ran = timeout(PATIENCE, check.1(self)).await;
        ran.unwrap_or_else(|_| Err(Failure::new(format!("it takes longer than {PATIENCE:?}"))))
    }
}

/// Takes the next message of a subscription, and fails if some are missing.
///
/// # Errors
/// When none comes, some are missing, or the subscription has ended.
pub async fn payload(subscription: &Subscription) -> Outcome<(String, bytes::Bytes)> {
    let next = timeout(PATIENCE, subscription.next()).await;
    let next = next.map_err(|_| Failure::new("no message comes"))?;
    match next.map(quorate::presence::Delivery::message) {
        Some(Some(message)) => Ok((message.topic().to_owned(), message.payload)),
        other => Err(Failure::new(format!("{other:?} in place of a message"))),
    }
}

/// Nodes within this process that are one cluster.
#[derive(Debug)]
pub struct Nodes {
    /// The nodes, the first of which the others join.
    pub nodes: Vec<Node>,
}

impl Nodes {
    /// Starts `count` nodes and waits until they are ready.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(count: usize) -> Outcome<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        for _ in 0..count {
            let node = start(nodes.first()).await?;
            let ready = timeout(PATIENCE, node.ready()).await;
            ready.map_err(|_| Failure::new("a node does not get ready"))?;
            nodes.push(node);
        }
        Ok(Self { nodes })
    }

    /// Opens a presence over each node.
    #[must_use]
    pub fn presences(&self) -> Vec<Arc<dyn Presence>> {
        let open = |node: &Node| Arc::new(ClusterPresence::new(node.clone())) as Arc<dyn Presence>;
        self.nodes.iter().map(open).collect()
    }

    /// Starts another node, and does not wait for it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn join(&self) -> Outcome<Node> {
        start(self.nodes.first()).await
    }

    /// Lets all leave.
    pub async fn leave(self) {
        for node in self.nodes.into_iter().rev() {
            node.leave().await;
        }
    }
}

async fn start(seed: Option<&Node>) -> Outcome<Node> {
    let mut config = Config::default();
    config.node.listen = ([127, 0, 0, 1], 0).into();
    config.node.seeds = seed.map(|node| node.address().to_string()).into_iter().collect();
    config.cluster.secret = Some(Secret::generate([5; 32]));
    // What is counted is what is checked, also on a busy machine.
    config.pubsub.count_timeout = Duration::from_secs(5);
    Node::start(config).await.map_err(|error| Failure::new(error.to_string()))
}

/// Shuts the presences down; nothing comes behind it.
///
/// # Errors
/// When one still does what it is asked.
pub async fn shut(ground: &Ground) -> Outcome {
    for number in 0..3 {
        let presence = ground.at(number);
        let listener = presence.listen();
        presence.shutdown().await;
        presence.shutdown().await;
        same("the end", listener.next().await, None)?;
        same("a call behind the end", presence.get("k").await, Err(Error::ShutDown))?;
        same(
            "a message behind the end",
            presence.publish("t", "v".into()).await,
            Err(Error::ShutDown),
        )?;
        let late = presence.brpop(&["l"], None).await;
        same("a wait behind the end", late, Err(Error::ShutDown))?;
        let late = presence.subscribe("t").await.map(|_| ());
        same("a subscription behind the end", late, Err(Error::ShutDown))?;
    }
    Ok(())
}
