//! Decides what survivors do when the majority of the voters is gone. Pure.
//!
//! Owns the judgement over what is known of everybody: the locks on this host, and what the living have answered. Does not
//! ask, promise or re-form. Invariant: [`Action::Reform`] only when nobody who is not proven dead could go on in the old
//! formation: the living have all promised, and the dead cannot have moved the votes elsewhere while this node was apart.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::raft::LogId;
use crate::host::Evidence;
use crate::ids::NodeId;

/// For so long at most a survivor may have been apart from its leader when the others died. The votes cannot have moved to
/// others, and those died too, in less.
pub(super) const APART_MAX: Duration = Duration::from_secs(5);

/// What one of the others has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was not asked yet.
    Nothing,
    /// It was asked and did not answer in time, or refused.
    Silent,
    /// It has a leader with a quorum.
    Led,
    /// It has none, and its log ends here.
    Free { last: Option<LogId> },
    /// It has none, its log ends here, and it will not go on in this formation but follow the one that was named.
    Promised { last: Option<LogId> },
}

/// What is known of another node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Other {
    pub(super) evidence: Evidence,
    pub(super) told: Told,
}

/// What is known of all.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) node: NodeId,
    /// The voters; two sets while they change.
    pub(super) configurations: Vec<BTreeSet<NodeId>>,
    /// Every other voter, and every other node with an open session.
    pub(super) others: BTreeMap<NodeId, Other>,
    /// Whether there is a leader that a quorum answers.
    pub(super) is_led: bool,
    /// Whether this node has applied the opening of its own session. Before that it replays the past: its voters may be long
    /// replaced, and their deaths prove nothing.
    pub(super) is_current: bool,
    /// How long this node had been without such a leader when the others were found dead. None: it never had one.
    pub(super) apart: Option<Duration>,
    /// Where the log of this node ends.
    pub(super) last: Option<LogId>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing: all is well.
    Rest,
    /// Nothing can be done, for this reason.
    Halt(String),
    /// Ask the living what they have.
    Ask(Vec<NodeId>),
    /// Another has more, and will re-form.
    Await(NodeId),
    /// Ask the living to promise.
    Collect(Vec<NodeId>),
    /// Go on from what this node has.
    Reform,
}

impl View {
    /// Tells whether a quorum may be alive.
    pub(super) fn has_quorum(&self) -> bool {
        let alive = |id: &&NodeId| !is_dead(self, **id);
        let is_there = |set: &BTreeSet<NodeId>| set.iter().filter(alive).count() > set.len() / 2;
        self.configurations.iter().all(is_there)
    }

    /// All who vote, before or after a change that is under way.
    pub(super) fn voters(&self) -> BTreeSet<NodeId> {
        self.configurations.iter().flatten().copied().collect()
    }

    /// The voters that are proven dead.
    pub(super) fn dead(&self) -> BTreeSet<NodeId> {
        self.voters().into_iter().filter(|id| is_dead(self, *id)).collect()
    }
}

/// Decides.
pub(super) fn decide(view: &View) -> Action {
    let is_member = view.configurations.iter().flatten().next().is_some();
    let is_alone = view.configurations.iter().flatten().all(|id| *id == view.node);
    if !is_member || is_alone {
        return Action::Rest;
    }
    if view.has_quorum() {
        return if view.is_led { Action::Rest } else { Action::Halt(without_leader(view)) };
    }
    match reason_to_halt(view) {
        Some(reason) => Action::Halt(reason),
        None => among_the_living(view),
    }
}

fn is_dead(view: &View, id: NodeId) -> bool {
    view.others.get(&id).is_some_and(|other| matches!(other.evidence, Evidence::Dead { .. }))
}

fn without_leader(view: &View) -> String {
    let (voters, dead) = (view.voters().len(), view.dead().len());
    format!("no leader with a quorum of the {voters} voters is heard; {dead} are known to be dead")
}

/// Why survivors may not help themselves although a quorum is dead.
fn reason_to_halt(view: &View) -> Option<String> {
    let told = |reason: String| Some(format!("{reason}; `quorate recover` decides"));
    let voters = view.voters();
    for id in voters.iter().filter(|id| **id != view.node) {
        match view.others.get(id).map_or(Evidence::Unknown, |other| other.evidence) {
            Evidence::Unknown => {
                return told(format!(
                    "the majority is dead, and nothing proves whether voter {id} lives"
                ));
            }
            Evidence::Dead { is_durable: true } => {
                return told(format!(
                    "the majority is dead, but voter {id} keeps its data on disk: start it again"
                ));
            }
            Evidence::Dead { is_durable: false } | Evidence::Alive => {}
        }
    }
    if !view.is_current {
        return told(
            "the voters that this node knows of are dead, but it has not caught up".to_owned(),
        );
    }
    let Some(apart) = view.apart else {
        return told(
            "the majority is dead, and this node has had no leader since its start".to_owned(),
        );
    };
    // If the dead were a quorum without anybody who lives, they may have handed their votes on before they died.
    let dead = |set: &BTreeSet<NodeId>| set.iter().filter(|id| is_dead(view, **id)).count();
    let could_move = view.configurations.iter().all(|set| dead(set) > set.len() / 2);
    if could_move && apart > APART_MAX {
        return told(format!(
            "the majority is dead, and this node was apart from it for {apart:?} before, more than {APART_MAX:?}"
        ));
    }
    None
}

/// What is left to settle among those who live.
fn among_the_living(view: &View) -> Action {
    let living: Vec<_> = view.others.iter().filter(|(id, _)| !is_dead(view, **id)).collect();
    if living.iter().any(|(_, other)| other.told == Told::Led) {
        return Action::Rest;
    }
    let unasked = living.iter().filter(|(_, other)| other.told == Told::Nothing);
    let unasked: Vec<_> = unasked.map(|(id, _)| **id).collect();
    if !unasked.is_empty() {
        return Action::Ask(unasked);
    }
    if let Some((id, _)) = living.iter().find(|(_, other)| other.told == Told::Silent) {
        let reason = "lives or may live, and does not answer; `quorate recover` decides";
        return Action::Halt(format!("the majority is dead, and node {id} {reason}"));
    }
    // Whoever runs elsewhere has no proof of the deaths, and so cannot re-form.
    let here = living.iter().filter(|(_, other)| other.evidence == Evidence::Alive);
    let best = here
        .filter_map(|(id, other)| match other.told {
            Told::Free { last } | Told::Promised { last } => Some((last, Reverse(**id))),
            Told::Nothing | Told::Silent | Told::Led => None,
        })
        .max();
    if let Some((last, Reverse(id))) = best
        && (last, Reverse(id)) > (view.last, Reverse(view.node))
    {
        return Action::Await(id);
    }
    let free = living.iter().filter(|(_, other)| matches!(other.told, Told::Free { .. }));
    let free: Vec<_> = free.map(|(id, _)| **id).collect();
    if free.is_empty() { Action::Reform } else { Action::Collect(free) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::raft::Types;

    const DEAD: Evidence = Evidence::Dead { is_durable: false };

    fn node(number: u64) -> NodeId {
        NodeId::from_random(number)
    }

    fn at(index: u64) -> Option<LogId> {
        type Leader = <<Types as openraft::RaftTypeConfig>::LeaderId as openraft::vote::RaftLeaderId>::Committed;
        let leader = openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: node(9) };
        let leader: Leader = leader;
        Some(LogId::new(leader, index))
    }

    /// Node 1 looks at others; all of `1..=voters` vote.
    fn view(voters: u64, others: &[(u64, Evidence, Told)]) -> View {
        let other = |(id, evidence, told): &(u64, Evidence, Told)| {
            (node(*id), Other { evidence: *evidence, told: *told })
        };
        View {
            node: node(1),
            configurations: vec![(1..=voters).map(node).collect()],
            others: others.iter().map(other).collect(),
            is_led: false,
            is_current: true,
            apart: Some(Duration::from_millis(300)),
            last: at(10),
        }
    }

    #[track_caller]
    fn halts(view: &View, word: &str) {
        let Action::Halt(reason) = decide(view) else { panic!("{:?}", decide(view)) };
        assert!(reason.contains(word), "{reason}");
    }

    #[test]
    fn who_replays_the_past_does_not_judge_by_its_voters() {
        let mut joiner = view(1, &[(2, DEAD, Told::Nothing)]);
        joiner.configurations = vec![[node(2)].into()];
        joiner.is_current = false;
        halts(&joiner, "caught up");
        joiner.is_current = true;
        assert_eq!(decide(&joiner), Action::Reform);
    }

    #[test]
    fn who_is_alone_or_led_rests() {
        assert_eq!(decide(&view(1, &[])), Action::Rest);
        assert_eq!(decide(&view(0, &[])), Action::Rest);
        let mut led = view(3, &[(2, Evidence::Unknown, Told::Nothing), (3, DEAD, Told::Nothing)]);
        led.is_led = true;
        assert_eq!(decide(&led), Action::Rest);
        led.is_led = false;
        halts(&led, "no leader");
    }

    #[test]
    fn of_two_on_a_host_the_survivor_goes_on() {
        assert_eq!(decide(&view(2, &[(2, DEAD, Told::Nothing)])), Action::Reform);
        // Without this one the other could not go on, however long it was apart.
        let mut long = view(2, &[(2, DEAD, Told::Nothing)]);
        long.apart = Some(Duration::from_secs(3600));
        assert_eq!(decide(&long), Action::Reform);
        // Even before anybody has noticed the silence.
        let mut soon = view(2, &[(2, DEAD, Told::Nothing)]);
        soon.is_led = true;
        assert_eq!(decide(&soon), Action::Reform);
    }

    #[test]
    fn a_stopped_or_foreign_or_durable_peer_halts_the_survivor() {
        halts(&view(2, &[(2, Evidence::Alive, Told::Nothing)]), "no leader");
        halts(&view(2, &[(2, Evidence::Unknown, Told::Nothing)]), "no leader");
        halts(&view(2, &[(2, Evidence::Dead { is_durable: true }, Told::Nothing)]), "on disk");
        halts(
            &view(3, &[(2, DEAD, Told::Nothing), (3, Evidence::Unknown, Told::Nothing)]),
            "no leader",
        );
        let others = [
            (2, DEAD, Told::Nothing),
            (3, DEAD, Told::Nothing),
            (4, DEAD, Told::Nothing),
            (5, Evidence::Unknown, Told::Free { last: None }),
        ];
        halts(&view(5, &others), "nothing proves");
        let mut never = view(2, &[(2, DEAD, Told::Nothing)]);
        never.apart = None;
        halts(&never, "since its start");
    }

    #[test]
    fn of_two_survivors_of_five_the_one_with_more_goes_on() {
        let others = |told| {
            let dead = [2, 3, 4].map(|id| (id, DEAD, Told::Nothing));
            [dead[0], dead[1], dead[2], (5, Evidence::Alive, told)]
        };
        let decided = |told| decide(&view(5, &others(told)));
        assert_eq!(decided(Told::Nothing), Action::Ask(vec![node(5)]));
        assert_eq!(decided(Told::Free { last: at(11) }), Action::Await(node(5)));
        assert_eq!(decided(Told::Free { last: at(10) }), Action::Collect(vec![node(5)]));
        assert_eq!(decided(Told::Free { last: None }), Action::Collect(vec![node(5)]));
        assert_eq!(decided(Told::Promised { last: at(9) }), Action::Reform);
        assert_eq!(decided(Told::Led), Action::Rest);
        halts(&view(5, &others(Told::Silent)), "does not answer");
        // Both see the same: exactly one of two with equal logs goes on.
        let mut theirs = view(5, &[(1, Evidence::Alive, Told::Free { last: at(10) })]);
        theirs.node = node(5);
        theirs.others.extend(view(5, &others(Told::Nothing)).others);
        theirs.others.remove(&node(5));
        assert_eq!(decide(&theirs), Action::Await(node(1)));
    }

    #[test]
    fn one_that_was_apart_while_the_votes_may_have_moved_halts() {
        let mut apart = view(3, &[(2, DEAD, Told::Nothing), (3, DEAD, Told::Nothing)]);
        assert_eq!(decide(&apart), Action::Reform);
        apart.apart = Some(APART_MAX + Duration::from_millis(1));
        halts(&apart, "apart");
    }

    #[test]
    fn everybody_with_a_session_is_asked_and_a_change_of_voters_needs_both_sets() {
        let observer =
            |told| decide(&view(2, &[(2, DEAD, Told::Nothing), (7, Evidence::Unknown, told)]));
        assert_eq!(observer(Told::Nothing), Action::Ask(vec![node(7)]));
        assert!(matches!(observer(Told::Silent), Action::Halt(_)));
        // It has more, but runs elsewhere, where it could prove nothing.
        assert_eq!(observer(Told::Free { last: at(99) }), Action::Collect(vec![node(7)]));
        assert_eq!(observer(Told::Promised { last: at(99) }), Action::Reform);
        let others = [(2, DEAD, Told::Nothing), (3, Evidence::Alive, Told::Nothing)];
        let mut joint = view(1, &others);
        joint.configurations.push([1, 2, 3].map(node).into());
        halts(&joint, "no leader");
        joint.configurations.push([2].map(node).into());
        assert_eq!(decide(&joint), Action::Ask(vec![node(3)]));
    }
}
