//! The heart of pub/sub on this node: all tables behind one lock, and delivery.
//!
//! Owns the lock and what happens under it. Does not wait for anything while holding it. Invariant: a message is given to
//! its local listeners and to the lanes under the lock, so that this node has one order of messages, subscriptions and
//! their ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};

use super::arrivals::Arrivals;
use super::causal::{Gate, Positions};
use super::effect::WayBack;
use super::gather::Gather;
use super::interest::{self, Interest, Ticket};
use super::lane::{Lane, Links};
use super::queue::{Queue, Totals};
use super::requests::Requests;
use super::subscriber::Subscriber;
use super::table::{Limits, Table};
use super::wire::Answer;
use super::{Config, Policy, QueueLimits};
use crate::ids::NodeId;

/// What all handles and tasks of one node's pub/sub share.
pub(super) struct Hub {
    pub(super) config: Config,
    /// How peers are reached; none for a process that is alone.
    pub(super) links: Option<Links>,
    /// How far the replicated state has come.
    pub(super) positions: Arc<dyn Positions>,
    /// What its subscribers did not get.
    pub(super) totals: Arc<Totals>,
    state: Mutex<State>,
    stopped: watch::Sender<bool>,
}

/// One subscription, where messages are delivered.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) queue: Arc<Queue>,
    pub(super) policy: Policy,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: Table<Listener>,
    pub(super) interest: Interest,
    pub(super) lanes: BTreeMap<NodeId, Lane>,
    pub(super) arrivals: Arrivals,
    /// How each publisher whose stream is heard is answered.
    pub(super) ways_back: BTreeMap<NodeId, Arc<WayBack>>,
    /// Who waits until a subscription is in effect.
    pub(super) waiting: BTreeMap<Ticket, oneshot::Sender<()>>,
    pub(super) counts: Gather<u64>,
    pub(super) questions: Gather<Vec<Answer>>,
    /// The members that were asked for their lane, by the id of the request.
    pub(super) attaching: BTreeMap<u64, (NodeId, oneshot::Sender<()>)>,
    pub(super) requests: Requests,
    /// The last number given to a request, a lane or a stream.
    last_number: u64,
    /// Whether this node has published anything: what no lane was there for is missing to those who are linked later.
    pub(super) has_published: bool,
    pub(super) is_stopped: bool,
}

impl Hub {
    pub(super) fn new(config: Config, links: Option<Links>, positions: Arc<dyn Positions>) -> Self {
        let state = State {
            table: Table::new(Limits::of(&config)),
            interest: Interest::new(interest::Limits::of(&config)),
            lanes: BTreeMap::new(),
            arrivals: Arrivals::default(),
            ways_back: BTreeMap::new(),
            waiting: BTreeMap::new(),
            counts: Gather::default(),
            questions: Gather::default(),
            attaching: BTreeMap::new(),
            requests: Requests::new(&config),
            last_number: 0,
            has_published: false,
            is_stopped: false,
        };
        let (state, stopped) = (Mutex::new(state), watch::Sender::new(false));
        Self { config, links, positions, totals: Arc::default(), state, stopped }
    }

    /// Locks the tables. Held for a short while, never while anything is awaited.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn subscriber(self: &Arc<Self>, limits: QueueLimits) -> Subscriber {
        let gate = Gate::new(Arc::clone(&self.positions), self.config.causal_wait_max);
        let queue = Arc::new(Queue::new(limits, gate, Arc::clone(&self.totals)));
        let mut state = self.state();
        if state.is_stopped {
            queue.close();
        }
        let listener = Listener { queue: Arc::clone(&queue), policy: Policy::default() };
        let id = state.table.add(listener);
        drop(state);
        Subscriber::new(Arc::clone(self), id, queue)
    }

    /// Ends every subscriber and lets every lane send what waits in it.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.table.all().for_each(|listener| listener.queue.close());
        state.lanes.values().for_each(Lane::finish);
        state.stop_requests();
        state.waiting.clear();
        drop(state);
        self.stopped.send_replace(true);
    }

    /// Waits until this node's pub/sub is stopped.
    pub(super) async fn stopped(&self) {
        // The sender lives in this hub, so the wait ends only by what it waits for.
        let mut stopped = self.stopped.subscribe();
        let _stopped = stopped.wait_for(|is_stopped| *is_stopped).await;
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tables may be large, and their lock may be held.
        f.debug_struct("Hub").field("links", &self.links).finish_non_exhaustive()
    }
}

impl State {
    /// Gives a number that was not given before.
    pub(super) const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
