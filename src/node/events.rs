//! What an application must know of its node, as it happens.
//!
//! Owns the events, their bounded way to whoever listens, and the task that makes them of what consensus tells. Invariant: nobody who listens slowly holds anything up; he is told how many he missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::Node;
use super::lifecycle::Phase;
use crate::consensus::Notice;
use crate::ids::{NodeId, SessionId};
use crate::keyspace::Taken;

/// How many events wait for a listener; the oldest give way.
const WAITING_MAX: usize = 1024;
/// How often the node looks who leads.
const TICK: Duration = Duration::from_millis(50);

/// Something that an application must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session of this process has ended while the process lives: it was silent for `cluster.session_timeout`. What it had
    /// bound is gone on all nodes, and others may have taken its place. Comes as soon as this node hears of it.
    SessionLost {
        /// The session.
        session: SessionId,
    },
    /// Another session is open in its place, and what the lost one had bound is back, but for what clients have bound that
    /// have ended since. Comes once for each loss, after [`Event::SessionLost`], when all of it is known.
    SessionRenewed {
        /// The session that was lost; the first one, if several were before all was back.
        old: SessionId,
        /// The one that is open now.
        new: SessionId,
        /// How many keys, fields, members and shares are back.
        restored: usize,
        /// What is not: somebody has put something else there meanwhile, which stays.
        lost: Arc<[Taken]>,
    },
    /// Another node leads, or none does for the moment. Comes within 50 ms.
    LeaderChanged {
        /// Who leads now.
        leader: Option<NodeId>,
    },
    /// There has been no sign of a leader with a majority for `cluster.session_timeout`. Writes and linearizable reads wait for
    /// one, and fail; by now the session of this process may have ended.
    Halted,
    /// There is one again. Comes after [`Event::Halted`] only.
    Resumed,
    /// The session of another process has ended, and what it had bound went with it in one step.
    BoundTaken {
        /// The session.
        session: SessionId,
        /// Its node.
        node: NodeId,
        /// How many keys, fields, members and shares went.
        count: usize,
    },
    /// Keyspace notifications were not given to the listeners of this node, who are told the same: more happened at once than
    /// can wait, or the node has taken over a whole state.
    NotificationsLost {
        /// How many; none when nobody knows.
        count: Option<u64>,
    },
    /// So many events before this one are lost, because they were not taken in time.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The events of a node from the moment when this was made.
#[derive(Debug)]
pub struct Events {
    inbox: broadcast::Receiver<Event>,
    phase: watch::Receiver<Phase>,
}

impl Events {
    /// Waits for the next event; gives none when the node leaves.
    ///
    /// # Cancel safety
    /// Safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            biased;
            event = self.inbox.recv() => match event {
                Ok(event) => Some(event),
                Err(RecvError::Lagged(count)) => Some(Event::Missed { count }),
                Err(RecvError::Closed) => None,
            },
            _ = self.phase.wait_for(|phase| *phase == Phase::Leaving) => None,
        }
    }
}

impl Node {
    /// Gives what happens from now on that an application must know. At most 1,024 events wait; a slow listener is told how
    /// many it missed.
    #[must_use]
    pub fn events(&self) -> Events {
        Events { inbox: self.0.events.subscribe(), phase: self.0.phase.subscribe() }
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody may listen.
        let _nobody = self.0.events.send(event);
    }
}

/// Makes the way to listeners.
pub(super) fn channel() -> broadcast::Sender<Event> {
    broadcast::Sender::new(WAITING_MAX)
}

/// Tells what consensus tells, and who leads. Runs until the node leaves.
pub(super) async fn run(node: Node, mut notices: mpsc::Receiver<Notice>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut leader, mut is_halted) = (None, false);
    while node.phase() < Phase::Leaving {
        tokio::select! {
            biased;
            notice = notices.recv() => match notice {
                Some(notice) => pass_on(&node, notice),
                None => return,
            },
            _ = ticks.tick() => {
                let leads = node.consensus().leader();
                if leads != leader {
                    leader = leads;
                    node.tell(Event::LeaderChanged { leader });
                }
                let is_silent = node.phase() == Phase::Ready && !node.consensus().is_in_contact();
                if is_silent != is_halted {
                    is_halted = is_silent;
                    node.tell(if is_halted { Event::Halted } else { Event::Resumed });
                }
            }
        }
    }
}

fn pass_on(node: &Node, notice: Notice) {
    match notice {
        Notice::SessionLost { session } => node.tell(Event::SessionLost { session }),
        Notice::SessionRenewed { old, new, restored, lost } => {
            node.tell(Event::SessionRenewed { old, new, restored, lost: lost.into() });
        }
        Notice::Taken { ended, is_own, taken } => {
            let count = taken.iter().map(|(_, taken)| taken.len()).sum();
            if let Some((session, of)) = ended.filter(|_| !is_own) {
                node.tell(Event::BoundTaken { session, node: of, count });
            }
        }
        Notice::Missed { count } => node.tell(Event::Missed { count }),
    }
}
