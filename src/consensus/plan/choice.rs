//! Which nodes should vote: how many, and on which zones and hosts.
//!
//! Owns the size of the group and the measure of its spread. Invariant: a goal keeps as many of the present voters as its
//! size allows, and a swap for the sake of spread makes the measure strictly smaller, so that it comes to an end.

use std::cmp::Reverse;

use super::{Life, Nodes, View};
use crate::ids::NodeId;

/// How many voters there should be when `live` nodes can vote: the target, or the largest odd number below; two while
/// there are just two, so that neither's death loses what was acknowledged.
pub(super) const fn size(live: usize, target: usize) -> usize {
    let most = if live < target { live } else { target };
    if most <= 2 { most } else { most - (most + 1) % 2 }
}

/// Who should vote, when votes can move to `candidates`; the present voters when no other set is better.
pub(super) fn goal(view: &View, now: &Nodes, candidates: &Nodes) -> Nodes {
    let is_leaving = now.iter().any(|id| view.is_leaving(*id));
    let goal = without(view, now, candidates, Life::Silent);
    if view.has_quorum(&goal) || !is_leaving {
        return goal;
    }
    // One that is silent cannot vote for a leaver to go.
    let goal = without(view, now, candidates, Life::Answers);
    if view.has_quorum(&goal) { goal } else { now.clone() }
}

/// As [`goal`], with no voter that is deader than `at_most`.
fn without(view: &View, now: &Nodes, candidates: &Nodes, at_most: Life) -> Nodes {
    let is_staying = |id: &NodeId| view.life(*id) <= at_most && !view.is_leaving(*id);
    let staying: Nodes = now.iter().copied().filter(is_staying).collect();
    let size = size(staying.len() + candidates.len(), view.target);
    let goal = choose(view, &staying, candidates, size);
    let has_dead = now.iter().any(|id| view.life(*id) == Life::Dead);
    let is_leaving = now.iter().any(|id| view.is_leaving(*id));
    // A dead voter that nobody replaces still makes the others a majority of more: dropping it must gain something.
    let is_gain = size == view.target || view.bears(&goal) > view.bears(now);
    if goal.is_empty() || has_dead && !is_leaving && !is_gain { now.clone() } else { goal }
}

/// Makes a set of `size` from those that vote and those that could.
fn choose(view: &View, staying: &Nodes, candidates: &Nodes, size: usize) -> Nodes {
    let mut chosen = staying.clone();
    while chosen.len() > size {
        let worst = chosen.iter().copied().filter(|id| *id != view.leader).max_by_key(|id| {
            let others = excluding(&chosen, *id);
            (view.life(*id), shares(view, *id, &others), view.session(*id), *id)
        });
        match worst {
            Some(worst) => chosen.remove(&worst),
            None => break,
        };
    }
    while chosen.len() < size {
        match next(view, &chosen, candidates) {
            Some(best) => chosen.insert(best),
            None => break,
        };
    }
    chosen
}

/// The candidate that adds most to `chosen`: on a zone and host of its own, up to date, longest there.
pub(super) fn next(view: &View, chosen: &Nodes, candidates: &Nodes) -> Option<NodeId> {
    let free = candidates.difference(chosen).copied();
    free.min_by_key(|id| {
        let is_learner = view.learners.contains(id);
        (shares(view, *id, chosen), !is_learner, !view.is_near(*id), view.session(*id), *id)
    })
}

/// The present voters with one of them swapped for a candidate, if their votes then stand on more zones or hosts. Only while
/// all is calm.
pub(super) fn better(view: &View, now: &Nodes, candidates: &Nodes) -> Option<Nodes> {
    let is_calm = |id: &NodeId| view.life(*id) == Life::Answers && !view.is_leaving(*id);
    let is_settled = |id: &NodeId| view.nodes.get(id).is_some_and(|node| node.is_settled);
    let crowding_now = crowding(view, now);
    if crowding_now == (0, 0) || !now.iter().all(is_calm) {
        return None;
    }
    let settled: Vec<_> = candidates.iter().copied().filter(is_settled).collect();
    let movable: Vec<_> = now.iter().copied().filter(|id| *id != view.leader).collect();
    let swaps = movable.iter().flat_map(|out| settled.iter().map(move |new| (*out, *new)));
    let swap = |(out, new): (NodeId, NodeId)| {
        let mut voters = excluding(now, out);
        voters.insert(new);
        let is_learner = view.learners.contains(&new);
        let key = (crowding(view, &voters), !is_learner, view.session(new), new);
        (key, Reverse(view.session(out)), out, voters)
    };
    let (key, _, _, voters) = swaps.map(swap).min()?;
    (key.0 < crowding_now).then_some(voters)
}

fn excluding(nodes: &Nodes, id: NodeId) -> Nodes {
    nodes.iter().copied().filter(|other| *other != id).collect()
}

/// With how many of `others` a node shares its zone, and its host.
fn shares(view: &View, id: NodeId, others: &Nodes) -> (usize, usize) {
    let Some(node) = view.nodes.get(&id) else {
        return (0, 0);
    };
    let known = others.iter().filter(|other| **other != id).filter_map(|id| view.nodes.get(id));
    known.fold((0, 0), |(zones, hosts), other| {
        let is_same_zone = other.zone == node.zone;
        let same_zone = usize::from(is_same_zone && !node.zone.is_empty());
        let same_host =
            usize::from(is_same_zone && other.host == node.host && !node.host.is_empty());
        (zones + same_zone, hosts + same_host)
    })
}

/// How many pairs of voters share a zone, and a host. Smaller is better, zones first.
pub(super) fn crowding(view: &View, voters: &Nodes) -> (usize, usize) {
    voters
        .iter()
        .map(|id| shares(view, *id, voters))
        .fold((0, 0), |sum, (zones, hosts)| (sum.0 + zones, sum.1 + hosts))
}
