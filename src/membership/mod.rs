//! Who is here: the nodes that gossip knows of, alive or not, and the few facts each tells about itself.
//!
//! Owns the engine `chitchat`. Does not decide anything by what it sees, and carries nothing that churns. Invariant: a view is
//! a belief, never a proof: no voter is removed and no session ends by it alone.

mod config;
mod facts;
mod gossip;
mod seeds;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

pub use self::config::Config;
pub use self::facts::{Facts, Member, State, UnknownState, View};
pub use self::gossip::Wire;
use self::gossip::{Gossip, Inbox};
use self::seeds::Seeds;
use crate::ids::{FormationId, Label, NodeId};

/// The most bytes of a fact's name.
const KEY_MAX: usize = 64;
/// The most bytes of a fact's text.
const VALUE_MAX: usize = 1_024;
/// The most facts of a node.
const FACTS_MAX: usize = 64;
/// How often host names are resolved while this node is alone.
const RESOLVE_ALONE: Duration = Duration::from_secs(2);
/// How many rounds of gossip a leaver waits, so that the others know.
const LEAVE_ROUNDS: u32 = 3;

/// What can go wrong with membership.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be. Stop the node.
    #[error("membership: {what}")]
    Config {
        /// Which, with its number.
        what: String,
    },
    /// A seed is neither `ip:port` nor `host:port`. Stop the node.
    #[error("seed '{seed}' is not HOST:PORT")]
    Seed {
        /// The seed.
        seed: String,
    },
    /// A fact is too large, or there are too many. Give up on it.
    #[error("{what} of {size} exceeds the limit of {limit}")]
    TooLarge {
        /// What exceeds it.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A message is none of gossip. Drop the stream that it came from.
    #[error("malformed gossip message of {size} bytes")]
    Malformed {
        /// How long it is.
        size: usize,
    },
    /// The gossip has ended on its own. Stop the node: it no longer sees or is seen.
    #[error("gossip stopped: {reason}")]
    Stopped {
        /// What the engine said.
        reason: String,
    },
}

/// Who gossips.
#[derive(Clone, Debug)]
pub struct Own {
    /// The cluster's name; messages of another are refused.
    pub cluster: Label,
    /// This process start.
    pub node: NodeId,
    /// Grows with each start of the same node id.
    pub generation: u64,
    /// The address that this node advertises.
    pub address: SocketAddr,
}

/// This node's part in the gossip. It ends when this is dropped.
#[derive(Debug)]
pub struct Membership {
    id: NodeId,
    gossip_interval: Duration,
    inbox: Inbox,
    engine: Engine,
    view: watch::Receiver<Arc<View>>,
    look: Arc<Notify>,
    tasks: Vec<AbortHandle>,
}

/// The engine's handle, which knows no `Debug`.
#[derive(Clone)]
struct Engine(Arc<ChitchatHandle>);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Membership {
    /// Starts to gossip. `seeds` are `host:port` or `ip:port`. What comes in from others goes to
    /// [`Membership::receive`].
    ///
    /// # Errors
    /// When a setting, a seed or a fact cannot be.
    pub async fn start(
        config: Config,
        own: Own,
        wire: Wire,
        seeds: Vec<String>,
        facts: Facts,
    ) -> Result<Self, Error> {
        config.check()?;
        let pairs = facts.pairs();
        check_count(pairs.len())?;
        pairs.iter().try_for_each(|(key, value)| check_fact(key, value))?;
        let seeds = Seeds::read(&seeds, own.address)?;
        let id = own.node;
        let engine_config = engine_config(&config, &own, &seeds);
        let (gossip, inbox) = Gossip::new(wire);
        let engine = chitchat::spawn_chitchat(engine_config, pairs, &gossip)
            .await
            .map_err(|e| Error::Stopped { reason: e.to_string() })?;
        let engine = Engine(Arc::new(engine));
        let first = BTreeMap::from([(id, Member { id, facts, alive: true })]);
        let (view_tx, view) = watch::channel(Arc::new(first));
        let look = Arc::new(Notify::new());
        let viewing = view::keep(engine.0.chitchat(), view_tx, Arc::clone(&look));
        let mut tasks = vec![tokio::spawn(viewing).abort_handle()];
        if !seeds.names.is_empty() {
            let contacting =
                contact(engine.clone(), seeds, own.address, view.clone(), config.resolve_interval);
            tasks.push(tokio::spawn(contacting).abort_handle());
        }
        let gossip_interval = config.gossip_interval;
        Ok(Self { id, gossip_interval, inbox, engine, view, look, tasks })
    }

    /// Gives the nodes as this one sees them now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Gives the view and each change of it.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Tells the others one fact about this node. Facts are few and small and seldom change.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the fact is not small, or there are too many.
    pub async fn set_fact(&self, key: &str, value: &str) -> Result<(), Error> {
        check_fact(key, value)?;
        let engine = self.engine.0.chitchat();
        let mut engine = engine.lock().await;
        let own = engine.self_node_state();
        if !own.contains_key(key) {
            check_count(own.num_key_values() + 1)?;
        }
        drop(engine);
        self.put(key, value).await;
        Ok(())
    }

    async fn put(&self, key: &str, value: &str) {
        let engine = self.engine.0.chitchat();
        engine.lock().await.self_node_state().set(key, value);
        self.look.notify_one();
    }

    /// Tells the others where this node is in its life.
    pub async fn set_state(&self, state: State) {
        self.put(facts::STATE, &state.to_string()).await;
    }

    /// Tells the others which formation this node belongs to.
    pub async fn set_formation(&self, formation: FormationId) {
        self.put(facts::FORMATION, &formation.to_string()).await;
    }

    /// Tells the others what this node is to the Raft group.
    ///
    /// # Errors
    /// As [`Membership::set_fact`].
    pub async fn set_role(&self, role: &str) -> Result<(), Error> {
        self.set_fact(facts::ROLE, role).await
    }

    /// Takes in a message of the node that advertises `from`. Does not wait.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no message of gossip.
    pub fn receive(&self, from: SocketAddr, message: &[u8]) -> Result<(), Error> {
        self.inbox.put(from, message)
    }

    /// Tells the others that this node is about to go, and gives them the time to hear it.
    pub async fn leave(&self) {
        self.set_state(State::Leaving).await;
        tokio::time::sleep(self.gossip_interval.saturating_mul(LEAVE_ROUNDS)).await;
    }

    /// Ends the gossip, once the node is gone.
    pub fn stop(&self) {
        self.engine.0.abort();
        self.tasks.iter().for_each(AbortHandle::abort);
    }

    /// Waits until the gossip ends on its own, which it never should, and tells why.
    pub async fn stopped(&self) -> Error {
        let reason = match self.engine.0.termination_watcher().await {
            Ok(()) => "it was shut down".to_owned(),
            Err(error) => error.to_string(),
        };
        Error::Stopped { reason }
    }

    /// Gives this node's id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }
}

fn engine_config(config: &Config, own: &Own, seeds: &Seeds) -> ChitchatConfig {
    ChitchatConfig {
        chitchat_id: ChitchatId::new(own.node.to_string(), own.generation, own.address),
        cluster_id: own.cluster.to_string(),
        gossip_interval: config.gossip_interval,
        listen_addr: own.address,
        seed_nodes: seeds.addresses.iter().map(ToString::to_string).collect(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: config.phi_threshold,
            sampling_window_size: 1_000,
            max_interval: config.gossip_interval.saturating_mul(10),
            initial_interval: config.gossip_interval,
            dead_node_grace_period: config.dead_grace,
        },
        marked_for_deletion_grace_period: config.dead_grace,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

/// Resolves the host names among the seeds now and then, and gossips with those behind them who are not here yet.
async fn contact(
    engine: Engine,
    seeds: Seeds,
    own: SocketAddr,
    view: watch::Receiver<Arc<View>>,
    interval: Duration,
) {
    loop {
        let mut absent = seeds.resolve().await;
        absent.remove(&own);
        let here: BTreeSet<_> = {
            let view = view.borrow();
            view.values().filter(|member| member.alive).map(|member| member.facts.address).collect()
        };
        for address in absent.difference(&here) {
            if engine.0.gossip(*address).is_err() {
                return;
            }
        }
        let is_alone = here.len() < 2;
        tokio::time::sleep(if is_alone { RESOLVE_ALONE.min(interval) } else { interval }).await;
    }
}

fn check_count(count: usize) -> Result<(), Error> {
    if count > FACTS_MAX {
        return Err(Error::TooLarge { what: "number of facts", size: count, limit: FACTS_MAX });
    }
    Ok(())
}

fn check_fact(key: &str, value: &str) -> Result<(), Error> {
    let check = |what, size, limit| {
        if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
    };
    check("name of a fact", key.len(), KEY_MAX)?;
    check("text of a fact", value.len(), VALUE_MAX)
}
