//! Who shall vote: what the leader should do next, from what it sees now.
//!
//! Owns the decision and its reason; the manager gathers the view and carries the step out. Pure: no clock, no engine, no
//! randomness. Invariants: no step leads through or into a configuration of voters whose quorum does not answer, as far
//! as the view knows; a plan on its own result has nothing to do.

mod choice;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::{NodeId, SessionId};

/// A node that was silent for longer does not count when a quorum is needed.
const ANSWERS: Duration = Duration::from_secs(1);
/// How long a leaver waits for one that takes its vote, if there is one.
const LEAVER_WAITS: Duration = Duration::from_secs(1);

type Nodes = BTreeSet<NodeId>;

/// A node as the leader sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// The host it runs on; empty if unknown.
    pub(super) host: String,
    /// The zone of the host; empty if unknown.
    pub(super) zone: String,
    /// How long it has given this leader no sign of life.
    pub(super) silence: Duration,
    /// Whether its process is known to have ended.
    pub(super) is_proven_dead: bool,
    /// How long ago it said that it leaves, if it did.
    pub(super) leaving: Option<Duration>,
    /// Its open session.
    pub(super) session: Option<SessionId>,
    /// Whether it has been there for so long that moving a vote to it is worth while.
    pub(super) is_settled: bool,
    /// Whether its log is close to the end of the leader's.
    pub(super) is_near: bool,
    /// Whether it had its chance to catch up and did not.
    pub(super) is_slow: bool,
    /// Whether it has been without a session for so long that none will come.
    pub(super) is_stranger: bool,
    /// Whether it is reached elsewhere than the group knows.
    pub(super) is_moved: bool,
}

/// What the leader sees.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The leader, which is this node.
    pub(super) leader: NodeId,
    /// Who votes; more than one set while a change is half done, the last one being where it leads.
    pub(super) configs: Vec<Nodes>,
    /// Who takes part in the group without a vote.
    pub(super) learners: Nodes,
    /// Everybody of whom anything is known, voters and learners included.
    pub(super) nodes: BTreeMap<NodeId, Standing>,
    /// How many voters there shall be.
    pub(super) target: usize,
    /// How long a voter may be silent until another takes its place.
    pub(super) replace_after: Duration,
    /// Whether a node that lives may stay a learner for ever.
    pub(super) learners_stay: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Nothing yet; something is expected soon.
    Wait,
    /// Bring the change that is half done to its end.
    Finish,
    /// Note where a node is reached now.
    Readdress(NodeId),
    /// Take nodes into the group without a vote, so that they catch up.
    Learn(Nodes),
    /// Let exactly these vote.
    Vote(Nodes),
    /// Drop nodes without a vote from the group.
    Forget(Nodes),
    /// Let another lead, because the leader leaves.
    HandOver(NodeId),
}

/// A step and why it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) step: Step,
    pub(super) reason: String,
}

fn decide(step: Step, reason: impl Into<String>) -> Decision {
    Decision { step, reason: reason.into() }
}

/// What is known of the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Answers,
    Silent,
    Dead,
}

/// Decides what is to be done next.
pub(super) fn plan(view: &View) -> Decision {
    let (Some(now), Some(last)) = (view.configs.first(), view.configs.last()) else {
        return decide(Step::Rest, "there is no group yet");
    };
    if !view.has_quorum(last) || view.configs.len() == 1 && !view.has_quorum(now) {
        let (answer, all) = (view.count(last, Life::Answers), last.len());
        return decide(Step::Rest, format!("{answer} of {all} voters answer, which is no quorum"));
    }
    if view.configs.len() > 1 {
        return decide(Step::Finish, "a change of voters was left half done");
    }
    if !now.contains(&view.leader) {
        return step_down(view, now);
    }
    if let Some(moved) = view.moved(now) {
        return decide(Step::Readdress(moved), format!("{moved} is reached at another address"));
    }
    if view.is_leaving(view.leader) { hand_over(view, now) } else { settle(view, now) }
}

/// What a leader does whose vote has gone to others while it led: the engine lets one go on that is a learner now.
fn step_down(view: &View, now: &Nodes) -> Decision {
    match heir(view, now.iter().copied()) {
        Some(heir) => decide(Step::HandOver(heir), format!("the leader has no vote, {heir} has")),
        None => decide(Step::Rest, "the leader has no vote, and nobody who has one answers"),
    }
}

/// Who of some voters is to lead: one that answers, and is up to date.
fn heir(view: &View, voters: impl Iterator<Item = NodeId>) -> Option<NodeId> {
    let heirs = voters.filter(|id| *id != view.leader && view.life(*id) == Life::Answers);
    heirs.min_by_key(|id| {
        let heir = view.nodes.get(id);
        (heir.is_none_or(|heir| !heir.is_near), heir.map(|heir| heir.silence), *id)
    })
}

/// What a leader does that leaves: it lets another voter lead, and makes one if it votes alone.
fn hand_over(view: &View, now: &Nodes) -> Decision {
    let staying = now.iter().copied().filter(|id| !view.is_leaving(*id));
    if let Some(heir) = heir(view, staying) {
        return decide(Step::HandOver(heir), format!("the leader leaves, {heir} is up to date"));
    }
    let Some(heir) = choice::next(view, now, &view.candidates()) else {
        return decide(Step::Rest, "the leader leaves, and nobody is there to take over");
    };
    let mut goal = now.clone();
    goal.insert(heir);
    take_in(view, now, goal, &format!("the leader leaves, {heir} is to take over"))
}

/// What a leader does that stays.
fn settle(view: &View, now: &Nodes) -> Decision {
    let candidates = view.candidates();
    let goal = choice::goal(view, now, &candidates);
    let arriving: Nodes = goal.difference(now).copied().collect();
    let is_patient = now.iter().all(|id| view.leaving_for(*id) < Some(LEAVER_WAITS));
    if goal != *now {
        let reason = reason(view, now, &goal);
        let is_silent = |id: &NodeId| view.life(*id) == Life::Silent && !view.is_leaving(*id);
        if is_patient && now.difference(&goal).any(is_silent) {
            // A leader that is new has yet to hear from the others.
            return decide(Step::Wait, format!("{reason}, unless that one answers soon"));
        }
        let is_ready = arriving.iter().all(|id| view.is_near(*id));
        let are_learners = arriving.is_subset(&view.learners);
        if is_ready || !are_learners {
            return take_in(view, now, goal, &reason);
        }
        // Those that are ready need not wait for those that are not, unless a leaver can still be replaced.
        let near = candidates.iter().copied().filter(|id| view.is_near(*id)).collect();
        let possible = choice::goal(view, now, &near);
        if possible == *now || is_patient && possible.len() < now.len() {
            return decide(Step::Wait, format!("{reason}, once it has caught up"));
        }
        let reason = self::reason(view, now, &possible);
        return take_in(view, now, possible, &reason);
    }
    let better = choice::better(view, now, &candidates);
    let wanted = better.as_ref().unwrap_or(now);
    let idle: Nodes =
        view.learners.iter().copied().filter(|id| view.is_idle(*id, wanted)).collect();
    if let Some(goal) = better {
        return take_in(view, now, goal, "votes stand on more zones or hosts that way");
    }
    if !idle.is_empty() {
        let reason = format!("{} needed as a learner no longer", names(&idle));
        return decide(Step::Forget(idle), reason);
    }
    let (answer, all) = (view.count(now, Life::Answers), now.len());
    decide(Step::Rest, format!("{answer} of {all} voters answer; nothing to better"))
}

/// The next step towards `goal`: learners first, then, when all of them are near, the vote.
fn take_in(view: &View, now: &Nodes, goal: Nodes, reason: &str) -> Decision {
    let arriving: Nodes = goal.difference(now).copied().collect();
    let unlearned: Nodes = arriving.difference(&view.learners).copied().collect();
    if !unlearned.is_empty() {
        return decide(Step::Learn(unlearned), reason);
    }
    if !arriving.iter().all(|id| view.is_near(*id)) {
        return decide(Step::Wait, format!("{reason}, once it has caught up"));
    }
    if !view.has_quorum(&goal) {
        return decide(Step::Rest, format!("{reason}, but too few of them answer"));
    }
    decide(Step::Vote(goal), reason)
}

fn names(nodes: &Nodes) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

/// Says for people why the voters `now` are to become `goal`.
fn reason(view: &View, now: &Nodes, goal: &Nodes) -> String {
    let mut parts = Vec::new();
    for gone in now.difference(goal) {
        let silence = view.nodes.get(gone).map_or(0, |node| node.silence.as_millis());
        parts.push(if view.is_leaving(*gone) {
            format!("{gone} leaves")
        } else if view.nodes.get(gone).is_some_and(|node| node.is_proven_dead) {
            format!("the process of {gone} has ended")
        } else if view.life(*gone) == Life::Answers {
            format!("{gone} is one voter too many")
        } else {
            format!("{gone} was silent for {silence} ms")
        });
    }
    let arriving: Nodes = goal.difference(now).copied().collect();
    if !arriving.is_empty() {
        parts.push(format!("{} to vote", names(&arriving)));
    }
    let (before, after) = (now.len(), goal.len());
    format!("{} ({before} voters to {after})", parts.join("; "))
}

impl View {
    fn life(&self, id: NodeId) -> Life {
        if id == self.leader {
            return Life::Answers;
        }
        match self.nodes.get(&id) {
            Some(node) if node.is_proven_dead || node.silence > self.replace_after => Life::Dead,
            Some(node) if node.silence <= ANSWERS => Life::Answers,
            Some(_) | None => Life::Silent,
        }
    }

    fn leaving_for(&self, id: NodeId) -> Option<Duration> {
        self.nodes.get(&id).and_then(|node| node.leaving)
    }

    fn is_leaving(&self, id: NodeId) -> bool {
        self.leaving_for(id).is_some()
    }

    fn is_near(&self, id: NodeId) -> bool {
        id == self.leader || self.nodes.get(&id).is_some_and(|node| node.is_near)
    }

    fn session(&self, id: NodeId) -> Option<SessionId> {
        self.nodes.get(&id).and_then(|node| node.session)
    }

    fn count(&self, nodes: &Nodes, at_most: Life) -> usize {
        nodes.iter().filter(|id| self.life(**id) <= at_most).count()
    }

    fn has_quorum(&self, voters: &Nodes) -> bool {
        self.count(voters, Life::Answers) > voters.len() / 2
    }

    /// How many of these voters may die from now on, one after the other, with a quorum left.
    fn bears(&self, voters: &Nodes) -> usize {
        self.count(voters, Life::Silent).saturating_sub(voters.len() / 2 + 1)
    }

    /// Who could be given a vote.
    fn candidates(&self) -> Nodes {
        let voters = self.configs.last();
        let may = |(id, node): &(&NodeId, &Standing)| {
            voters.is_none_or(|voters| !voters.contains(id))
                && self.life(**id) == Life::Answers
                && node.session.is_some()
                && node.leaving.is_none()
                && !node.is_slow
        };
        self.nodes.iter().filter(may).map(|(id, _)| *id).collect()
    }

    fn moved(&self, voters: &Nodes) -> Option<NodeId> {
        let is_moved = |id: &&NodeId| {
            **id != self.leader && self.nodes.get(id).is_some_and(|node| node.is_moved)
        };
        voters.iter().chain(&self.learners).find(is_moved).copied()
    }

    /// Whether a learner is there for nothing.
    fn is_idle(&self, id: NodeId, wanted: &Nodes) -> bool {
        let Some(node) = self.nodes.get(&id).filter(|_| !wanted.contains(&id)) else {
            return false;
        };
        let is_gone = node.is_stranger || node.leaving.is_some() || self.life(id) == Life::Dead;
        match node.session {
            // One that is silent for a moment may be wanted the moment after.
            Some(_) => {
                let is_there = self.life(id) == Life::Answers && node.leaving.is_none();
                !self.learners_stay && is_there
            }
            None => is_gone,
        }
    }
}
