//! How a cluster comes to be, and how a node comes into one that is.
//!
//! Owns the promise: a node takes part in one formation only, so that of several nodes that would form a cluster at once
//! only one can get everybody it needs. Invariant: a node whose log is not empty has a formation and never changes it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Error;
use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::ids::{FormationId, NodeId, Placement};

/// How long a promise to an initiator that has gone silent is kept.
const PROMISE_MAX: Duration = Duration::from_secs(10);
/// How long one call of a formation may take.
const CALL_MAX: Duration = Duration::from_secs(2);

/// What a first formation waits for, and how many of those vote; the others follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// How many nodes must be there.
    pub nodes: usize,
    /// How many of them vote.
    pub voters: usize,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    initiator: NodeId,
    formation: FormationId,
    at: Instant,
}

/// What this node has promised.
#[derive(Debug, Default)]
pub(super) struct Formation(Mutex<Option<Promise>>);

impl Formation {
    /// Promises to take part in one formation, unless another has the promise or there is a cluster already.
    pub(super) fn promise(
        &self,
        shared: &Shared,
        initiator: NodeId,
        formation: FormationId,
    ) -> Answer {
        let mut promise = self.0.lock();
        let is_free = promise.is_none_or(|held| {
            held.formation == formation
                || (held.at.elapsed() > PROMISE_MAX && shared.log.size().0 == 0)
        });
        if !is_free || shared.is_formed() && !shared.links.is_formation(formation) {
            return Answer::Refused { reason: "promised to another formation".to_owned() };
        }
        *promise = Some(Promise { initiator, formation, at: Instant::now() });
        shared.links.set_formation(formation);
        Answer::Done
    }

    /// Gives a promise back, unless the formation has reached this node's log.
    pub(super) fn withdraw(&self, shared: &Shared, formation: FormationId) -> Answer {
        let mut promise = self.0.lock();
        let is_held = promise.is_some_and(|held| held.formation == formation);
        if is_held && shared.log.size().0 == 0 {
            *promise = None;
            shared.links.set_formation(FormationId::NONE);
        }
        Answer::Done
    }

    /// Forgets the promise: the formation it was given for is over.
    pub(super) fn forget(&self) {
        *self.0.lock() = None;
    }

    /// Whom the promise was given to, while it holds.
    fn holder(&self) -> Option<NodeId> {
        self.0.lock().filter(|held| held.at.elapsed() <= PROMISE_MAX).map(|held| held.initiator)
    }
}

/// Forms a cluster of this node alone.
pub(super) async fn form_alone(shared: &Shared) -> Result<(), Error> {
    if shared.is_formed() {
        return Ok(());
    }
    let formation = FormationId::first(shared.draw());
    let members = BTreeMap::from([(shared.node, shared.placement.clone())]);
    initialize(shared, formation, members).await
}

async fn initialize(
    shared: &Shared,
    formation: FormationId,
    members: BTreeMap<NodeId, Placement>,
) -> Result<(), Error> {
    shared.links.set_formation(formation);
    let count = members.len();
    shared.raft().initialize(members).await.map_err(|error| Error::Fatal(error.to_string()))?;
    tracing::info!(%formation, voters = count, "formed a cluster");
    Ok(())
}

/// Another node that is alive, as gossip tells.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub node: NodeId,
    /// Where it is reached.
    pub placement: Placement,
    /// The formation it is in, if it is in one.
    pub formation: Option<FormationId>,
    /// Whether it waits, as this one may, for enough others to form the first cluster. Who does not, joins later.
    pub is_forming: bool,
}

/// One step towards being in a cluster, to be taken every few hundred milliseconds until [`Shared::is_member`].
pub(super) async fn step(shared: &Shared, others: &[Candidate], expect: Option<Expect>) {
    meet(shared, others);
    if shared.is_member() {
        return;
    }
    // Nodes of an older epoch may not have noticed yet that the cluster went on; there is no way back to them.
    let own = shared.links.formation();
    let formed = others.iter().filter_map(|other| Some((other, other.formation?)));
    let formed = formed.filter(|(_, formation)| !own.follows(*formation));
    let formed = formed.max_by_key(|(_, formation)| (*formation == own, formation.epoch));
    if let Some((member, formation)) = formed {
        join(shared, member, formation);
        meet(shared, others);
        return;
    }
    let Some(expect) = expect.filter(|_| own.epoch <= 1) else {
        return;
    };
    let waiting: BTreeMap<_, _> = others
        .iter()
        .filter(|other| other.is_forming)
        .map(|other| (other.node, other.placement.clone()))
        .chain([(shared.node, shared.placement.clone())])
        .collect();
    let is_first = waiting.keys().next() == Some(&shared.node);
    let is_free = shared.formation.holder().is_none_or(|holder| holder == shared.node);
    if waiting.len() >= expect.nodes && is_first && is_free && !shared.is_formed() {
        let members = waiting.into_iter().take(expect.nodes.max(1)).collect();
        initiate(shared, members, expect.voters.max(1)).await;
    }
}

/// Asks everybody for his promise, and forms the cluster if all give it.
async fn initiate(shared: &Shared, members: BTreeMap<NodeId, Placement>, voters: usize) {
    let formation = FormationId::first(shared.draw());
    let own = shared.formation.promise(shared, shared.node, formation);
    if !matches!(own, Answer::Done) {
        return;
    }
    let initiator = shared.node;
    let others = || members.iter().filter(|(id, _)| **id != shared.node);
    let ask = |(id, placement): (&NodeId, &Placement)| {
        let peer = shared.links.peer(*id, placement);
        async move {
            let call = Call::Promise { initiator, formation };
            matches!(shared.links.call_unformed(&peer, &call, CALL_MAX).await, Ok(Answer::Done))
        }
    };
    let promised = join_all(others().map(ask)).await;
    if promised.iter().all(|promised| *promised) {
        let voters = members.into_iter().take(voters).collect();
        if let Err(error) = initialize(shared, formation, voters).await {
            tracing::error!(%error, "could not form a cluster");
        }
        return;
    }
    tracing::info!(%formation, "not everybody promised; trying again");
    let withdraw = |(id, placement): (&NodeId, &Placement)| {
        let peer = shared.links.peer(*id, placement);
        async move {
            let call = Call::Withdraw { formation };
            shared.links.call_unformed(&peer, &call, CALL_MAX).await.is_ok()
        }
    };
    join_all(others().map(withdraw)).await;
    shared.formation.withdraw(shared, formation);
}

/// Takes the formation of a cluster that there is, so that this node follows it; see `follow`.
fn join(shared: &Shared, member: &Candidate, formation: FormationId) {
    let address = member.placement.address;
    if shared.is_formed() && !shared.links.is_formation(formation) {
        let own = shared.links.formation();
        tracing::error!(%own, other = %formation, %address, "met another cluster of the same name; staying apart");
        return;
    }
    shared.links.set_formation(formation);
}

/// Lets `follow` know who else is in this node's formation.
fn meet(shared: &Shared, others: &[Candidate]) {
    let own = shared.links.formation();
    let same = others.iter().filter(|other| own.is_some() && other.formation == Some(own));
    shared.follow.meet(same.map(|other| (other.node, other.placement.clone())));
}
