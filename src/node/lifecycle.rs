//! The life of a node: joining, in sync, leaving; and what ends it.
//!
//! Owns the order of these steps. Invariant: a node is ready only after its session is open and messages from every node
//! whose session is older reach it, so that a subscription made here misses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Config, Node};
use crate::consensus::{Backup, Candidate, Expect, Recovered, Refusal, SessionPeer, SessionPeers};
use crate::ids::{Placement, SessionId};
use crate::membership::{Member, State};

/// How often a node that is in no cluster looks for one.
const STEP: Duration = Duration::from_millis(100);

type Task = JoinHandle<()>;

/// Where a node is in its life; later phases are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Joining,
    Syncing,
    Ready,
    Leaving,
}

impl Node {
    pub(super) fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    fn enter(&self, phase: Phase) {
        self.0.phase.send_if_modified(|now| {
            let moves = *now < phase;
            if moves {
                *now = phase;
            }
            moves
        });
    }

    /// Ends the node because it cannot keep its promises.
    pub(super) fn fail(&self, why: &str) {
        if self.phase() == Phase::Leaving {
            return;
        }
        tracing::error!(why, "this node cannot go on");
        self.0.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            if is_first {
                *failure = Some(why.to_owned());
            }
            is_first
        });
    }

    /// Gives the lead and the vote of this node to others, while it goes on to serve: the first part of [`Node::leave`], to be
    /// done before the doors are closed. Takes about 1.5 s at most.
    pub async fn hand_over(&self) {
        self.enter(Phase::Leaving);
        self.0.consensus.hand_over().await;
    }

    /// Leaves the cluster on purpose: hands over, ends the session, says goodbye, and stops. Takes about 3 s at most.
    pub async fn leave(&self) {
        self.enter(Phase::Leaving);
        tokio::join!(self.0.membership.leave(), self.0.consensus.leave());
        self.0.pubsub.stop().await;
        self.0.consensus.stop().await;
        self.0.membership.stop();
        self.0.transport.close("leaving").await;
    }

    /// Forms the cluster anew of this node alone, under the next epoch: for an operator who knows that the majority is gone for
    /// good. What it had acknowledged and this node has not heard of is lost.
    ///
    /// # Errors
    /// When there is a leader with a quorum, or nothing to go on from.
    pub async fn recover(&self) -> Result<Recovered, Refusal> {
        self.0.consensus.recover().await
    }

    /// The other nodes that gossip believes to be alive.
    fn candidates(&self) -> Vec<Candidate> {
        let view = self.0.membership.view();
        let is_there = |member: &&Member| {
            member.alive && member.id != self.0.id && member.facts.state != State::Leaving
        };
        let candidate = |member: &Member| Candidate {
            node: member.id,
            placement: Placement {
                name: member.facts.name.clone(),
                address: member.facts.address,
                host: member.facts.host.clone(),
                zone: member.facts.zone.clone(),
            },
            formation: member.facts.formation,
            is_forming: matches!(member.facts.state, State::Forming { .. }),
        };
        view.values().filter(is_there).map(candidate).collect()
    }
}

/// What a node tells about itself before it is in a cluster.
pub(super) fn first_state(config: &Config) -> State {
    match config.cluster.bootstrap_expect {
        0 | 1 => State::Joining,
        expect => State::Forming { expect: u32::from(expect) },
    }
}

/// Takes the node from its start to ready, and keeps its links in step with the sessions. Runs until the node leaves.
pub(super) async fn run(node: Node, backup: Option<Backup>) {
    let cluster = &node.0.config.cluster;
    let expect = (cluster.bootstrap_expect > 1).then(|| Expect {
        nodes: usize::from(cluster.bootstrap_expect),
        voters: usize::from(cluster.voters_target),
    });
    let formed = match backup {
        Some(backup) => node.0.consensus.form_from(backup).await,
        None if node.0.config.node.seeds.is_empty() && expect.is_none() => {
            node.0.consensus.form_alone().await
        }
        None => Ok(()),
    };
    if let Err(error) = formed {
        return node.fail(&error.to_string());
    }
    tokio::join!(
        keep_links(node.clone()),
        seek_cluster(&node, expect),
        tell_addresses(&node),
        tell_deaths(&node)
    );
}

/// Tells pub/sub which processes of this host have died, for which it need not wait until their sessions end.
async fn tell_deaths(node: &Node) {
    let mut deaths = node.0.consensus.dead();
    let mut told = BTreeSet::new();
    while node.phase() < Phase::Leaving {
        let dead = deaths.borrow_and_update().clone();
        dead.difference(&told).for_each(|peer| node.0.pubsub.died(*peer));
        told = dead;
        if deaths.changed().await.is_err() {
            return;
        }
    }
}

/// Tells consensus where nodes are reached, as gossip has it.
async fn tell_addresses(node: &Node) {
    let mut views = node.0.membership.changes();
    while node.phase() < Phase::Leaving {
        let view = views.borrow_and_update().clone();
        let addresses = view.values().map(|member| (member.id, member.facts.address)).collect();
        node.0.consensus.set_addresses(addresses);
        if views.changed().await.is_err() {
            return;
        }
    }
}

/// Joins or forms a cluster, and again should the cluster have dropped this node.
async fn seek_cluster(node: &Node, expect: Option<Expect>) {
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut announced = None;
    while node.phase() < Phase::Leaving {
        steps.tick().await;
        node.0.consensus.step_towards_cluster(&node.candidates(), expect).await;
        let formation = node.0.consensus.formation();
        if formation.is_some() {
            node.enter(Phase::Syncing);
        }
        if let Some(formation) = formation.filter(|_| formation != announced) {
            announced = Some(formation);
            node.0.membership.set_formation(formation).await;
        }
    }
}

/// Links this node to every other whose session is open, and makes it ready once the first links are up both ways.
async fn keep_links(node: Node) {
    let mut sessions = node.0.consensus.sessions();
    let mut linked: BTreeMap<SessionId, SessionPeer> = BTreeMap::new();
    let mut is_attaching = false;
    let mut last_own = None;
    loop {
        let open = sessions.borrow_and_update().clone();
        // What comes from a disk may still hold the session of the process before this one.
        let own = node.0.consensus.session().filter(|own| open.contains_key(own));
        relink(&node, &linked, &open);
        linked = open;
        if own.is_some() {
            let was = std::mem::replace(&mut last_own, own);
            if was.is_some() && was != own {
                // This node was out of the cluster: others may have come, published and left meanwhile.
                node.0.pubsub.was_apart();
            }
        }
        if let Some(own) = own
            && !is_attaching
        {
            is_attaching = true;
            // Beside this loop, which goes on to unlink those whose session ends meanwhile.
            tokio::spawn(become_ready(node.clone(), own, linked.clone()));
        }
        if node.phase() == Phase::Leaving || sessions.changed().await.is_err() {
            return;
        }
    }
}

async fn become_ready(node: Node, own: SessionId, sessions: SessionPeers) {
    attach_all(&node, own, &sessions).await;
    node.begin_notifying();
    node.enter(Phase::Ready);
    node.0.membership.set_state(State::Ready).await;
    tracing::info!(node = %node.0.id, "in sync with the cluster");
}

fn relink(node: &Node, before: &SessionPeers, now: &SessionPeers) {
    // A node that comes back with its id may come back under another address.
    let is_in = |peers: &SessionPeers, peer: &SessionPeer| {
        let mut others = peers.values();
        others.any(|o| o.node == peer.node && o.placement.address == peer.placement.address)
    };
    for peer in before.values().filter(|peer| !is_in(now, peer)) {
        node.0.pubsub.unlink(peer.node);
    }
    for peer in now.values().filter(|peer| peer.node != node.0.id && !is_in(before, peer)) {
        node.0.pubsub.link(peer.node, peer.placement.address);
    }
}

/// Waits until each node whose session is older has its lane to this one up. A node whose session is younger sees to it
/// itself. One that cannot be reached is as good as dead: its session will end.
async fn attach_all(node: &Node, own: SessionId, sessions: &SessionPeers) {
    let older = sessions.iter().filter(|(id, peer)| **id < own && peer.node != node.0.id);
    let attach = |(_, peer): (&SessionId, &SessionPeer)| {
        let (id, address) = (peer.node, peer.placement.address);
        async move {
            if let Err(error) = node.0.pubsub.attach(id, address).await {
                tracing::warn!(%address, %error, "no messages from a node yet");
            }
        }
    };
    join_all(older.map(attach)).await;
}

/// Ends the node when gossip, consensus or a task of its own has ended by itself.
pub(super) async fn watch_failures(
    node: Node,
    (accepting, living, telling, notifying): (Task, Task, Task, Task),
) {
    let why = tokio::select! {
        error = node.0.membership.stopped() => error.to_string(),
        error = node.0.consensus.failed() => error.to_string(),
        _ = accepting => "the transport has ended".to_owned(),
        _ = living => "the task that keeps this node in its cluster has ended".to_owned(),
        _ = telling => "the task that tells events has ended".to_owned(),
        _ = notifying => "the task that gives keyspace notifications has ended".to_owned(),
    };
    node.fail(&why);
}
