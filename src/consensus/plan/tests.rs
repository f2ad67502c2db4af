//! The plan held against every history that a small world can have.
//!
//! Owns a model of nodes that join, leave, die, stall and move votes. Invariant: what the model asserts about a step it
//! computes from its own truth or from the view, never from the planner's helpers for choosing.

use proptest::prelude::*;

use super::*;

const REPLACE_AFTER: Duration = Duration::from_secs(10);

fn id(number: u64) -> NodeId {
    NodeId::from_random(number)
}

fn ids(numbers: &[u64]) -> Nodes {
    numbers.iter().map(|number| id(*number)).collect()
}

/// A view in which all of `all` live, `voters` vote and the others are learners that have caught up.
fn calm(voters: &[u64], all: &[u64]) -> View {
    let standing = |number: &u64| Standing {
        session: Some(SessionId(*number)),
        is_settled: true,
        is_near: true,
        ..Standing::default()
    };
    View {
        leader: id(voters[0]),
        configs: vec![ids(voters)],
        learners: ids(all).difference(&ids(voters)).copied().collect(),
        nodes: all.iter().map(|number| (id(*number), standing(number))).collect(),
        target: 3,
        replace_after: REPLACE_AFTER,
        learners_stay: true,
    }
}

fn silence(view: &mut View, number: u64, seconds: u64) {
    view.nodes.get_mut(&id(number)).unwrap().silence = Duration::from_secs(seconds);
}

fn place(view: &mut View, places: &[(u64, &str, &str)]) {
    for (number, zone, host) in places {
        let node = view.nodes.get_mut(&id(*number)).unwrap();
        (node.zone, node.host) = ((*zone).to_owned(), (*host).to_owned());
    }
}

fn leave(view: &mut View, number: u64) {
    view.nodes.get_mut(&id(number)).unwrap().leaving = Some(Duration::ZERO);
}

#[test]
fn the_group_grows_with_the_nodes_that_live() {
    for (all, target, expected) in [
        (vec![1], 3, 1),
        (vec![1, 2], 3, 2),
        (vec![1, 2, 3], 3, 3),
        (vec![1, 2, 3, 4], 5, 3),
        (vec![1, 2, 3, 4, 5], 5, 5),
        (vec![1, 2, 3, 4, 5, 6], 3, 3),
        (vec![1, 2], 1, 1),
    ] {
        let view = View { target, ..calm(&[1], &all) };
        let step = plan(&view).step;
        if let Step::Vote(voters) = step {
            assert_eq!(voters.len(), expected, "{all:?}");
        } else {
            assert!(expected == 1 && step == Step::Rest, "{all:?}: {step:?}");
        }
    }
}

#[test]
fn a_candidate_learns_first_and_votes_once_it_is_near() {
    let mut view = calm(&[1, 2], &[1, 2, 3]);
    view.learners.clear();
    view.nodes.get_mut(&id(3)).unwrap().is_near = false;
    assert_eq!(plan(&view).step, Step::Learn(ids(&[3])));
    view.learners = ids(&[3]);
    assert_eq!(plan(&view).step, Step::Wait);
    view.nodes.get_mut(&id(3)).unwrap().is_near = true;
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 2, 3])));
}

#[test]
fn a_dead_voter_is_replaced_by_a_spare_and_kept_without_one() {
    let mut spare = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    silence(&mut spare, 3, 9);
    assert_eq!(plan(&spare).step, Step::Rest, "it may only stall");
    silence(&mut spare, 3, 11);
    assert_eq!(plan(&spare).step, Step::Vote(ids(&[1, 2, 4])));
    let mut alone = calm(&[1, 2, 3], &[1, 2, 3]);
    silence(&mut alone, 3, 11);
    assert_eq!(plan(&alone).step, Step::Rest);
}

#[test]
fn a_voter_whose_process_has_ended_is_replaced_at_once() {
    let mut view = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    view.nodes.get_mut(&id(3)).unwrap().is_proven_dead = true;
    let decision = plan(&view);
    assert_eq!(decision.step, Step::Vote(ids(&[1, 2, 4])));
    assert!(decision.reason.contains("has ended"), "{}", decision.reason);
}

#[test]
fn two_dead_of_five_are_dropped_because_three_bear_another_death() {
    let mut view = View { target: 5, ..calm(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]) };
    silence(&mut view, 5, 11);
    assert_eq!(plan(&view).step, Step::Rest, "four of five bear one more, as three would");
    silence(&mut view, 4, 11);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 2, 3])));
}

#[test]
fn a_leaver_is_replaced_and_let_go_even_with_a_dead_voter_beside_it() {
    let mut view = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    leave(&mut view, 2);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 3, 4])));
    let mut view = calm(&[1, 2, 3], &[1, 2, 3]);
    leave(&mut view, 2);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 3])));
    silence(&mut view, 3, 5);
    assert_eq!(plan(&view).step, Step::Wait, "it may be that a new leader has not heard of it yet");
    view.nodes.get_mut(&id(2)).unwrap().leaving = Some(LEAVER_WAITS);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1])));
}

#[test]
fn a_leader_that_leaves_hands_over_or_makes_an_heir_first() {
    let mut view = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    leave(&mut view, 1);
    assert_eq!(plan(&view).step, Step::HandOver(id(2)));
    let mut view = calm(&[1], &[1, 2]);
    leave(&mut view, 1);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 2])));
    let mut view = calm(&[1], &[1]);
    leave(&mut view, 1);
    assert_eq!(plan(&view).step, Step::Rest);
}

#[test]
fn a_leader_whose_vote_has_gone_to_others_hands_over() {
    let mut view = calm(&[1, 2, 3], &[1, 2, 3]);
    view.configs.push(ids(&[2, 3]));
    assert_eq!(plan(&view).step, Step::Finish);
    let mut view = calm(&[2, 3, 4], &[1, 2, 3, 4]);
    view.leader = id(1);
    view.learners_stay = false;
    view.nodes.get_mut(&id(2)).unwrap().is_near = false;
    assert_eq!(plan(&view).step, Step::HandOver(id(3)));
    silence(&mut view, 3, 2);
    assert_eq!(plan(&view).step, Step::HandOver(id(4)));
    for number in [2, 3, 4] {
        silence(&mut view, number, 2);
    }
    assert_eq!(plan(&view).step, Step::Rest);
}

#[test]
fn a_change_that_is_half_done_is_finished_first() {
    let mut view = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    view.configs.push(ids(&[1, 2, 4]));
    assert_eq!(plan(&view).step, Step::Finish);
    silence(&mut view, 2, 20);
    silence(&mut view, 4, 20);
    assert_eq!(plan(&view).step, Step::Rest, "where it leads, there is no quorum");
}

#[test]
fn votes_spread_over_zones_and_hosts_when_that_is_free() {
    let mut view = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    place(&mut view, &[(1, "", "a"), (2, "", "a"), (3, "", "b"), (4, "", "c")]);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 3, 4])));
    view.nodes.get_mut(&id(4)).unwrap().is_settled = false;
    assert_eq!(plan(&view).step, Step::Rest, "not for a node that has just come");
    let mut view = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    place(&mut view, &[(1, "x", "a"), (2, "x", "b"), (3, "y", "c"), (4, "z", "c")]);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 3, 4])));
    let mut view = calm(&[1], &[1, 2, 3, 4]);
    place(&mut view, &[(1, "", "a"), (2, "", "a"), (3, "", "b"), (4, "", "c")]);
    assert_eq!(plan(&view).step, Step::Vote(ids(&[1, 3, 4])));
}

#[test]
fn learners_that_are_there_for_nothing_are_dropped() {
    let mut view = calm(&[1, 2, 3], &[1, 2, 3, 4]);
    assert_eq!(plan(&view).step, Step::Rest);
    view.learners_stay = false;
    assert_eq!(plan(&view).step, Step::Forget(ids(&[4])));
    view.learners_stay = true;
    let node = view.nodes.get_mut(&id(4)).unwrap();
    (node.session, node.leaving) = (None, Some(Duration::ZERO));
    assert_eq!(plan(&view).step, Step::Forget(ids(&[4])));
}

/// What may happen between two plans.
#[derive(Clone, Debug)]
enum Turn {
    Join {
        zone: u8,
        host: u8,
    },
    Crash(usize),
    Recover(usize),
    Leave(usize),
    ChangeLeader(usize),
    /// Seconds pass.
    Pass(u8),
    /// A plan is made on what the leader sees; these nodes it does not hear although they live, for so many seconds. The
    /// change is carried out, lost, or left half done.
    Plan {
        deaf_to: Vec<(usize, u8)>,
        outcome: Outcome,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Lost,
    Half,
}

#[derive(Clone, Debug)]
struct Process {
    zone: u8,
    host: u8,
    /// For how many seconds it has been dead or stalled.
    dead_for: Option<u64>,
    leaving_for: Option<u64>,
    session: bool,
    is_near: bool,
}

#[derive(Debug)]
struct World {
    processes: BTreeMap<NodeId, Process>,
    configs: Vec<Nodes>,
    learners: Nodes,
    leader: NodeId,
    target: usize,
    learners_stay: bool,
}

impl World {
    fn new(target: usize, learners_stay: bool) -> Self {
        let mut world = Self {
            processes: BTreeMap::new(),
            configs: vec![ids(&[1])],
            learners: Nodes::new(),
            leader: id(1),
            target,
            learners_stay,
        };
        world.join(0, 0);
        world
    }

    fn join(&mut self, zone: u8, host: u8) {
        let new = id(self.processes.len() as u64 + 1);
        let process = Process {
            zone,
            host,
            dead_for: None,
            leaving_for: None,
            session: true,
            is_near: false,
        };
        self.processes.insert(new, process);
        if self.learners_stay && new != self.leader {
            self.learners.insert(new);
        }
    }

    fn pick(&mut self, index: usize) -> &mut Process {
        let at = index % self.processes.len();
        self.processes.values_mut().nth(at).unwrap()
    }

    fn lives(&self, id: &NodeId) -> bool {
        self.processes.get(id).is_some_and(|process| process.dead_for.is_none())
    }

    fn is_quorate(&self, voters: &Nodes) -> bool {
        voters.iter().filter(|id| self.lives(id)).count() > voters.len() / 2
    }

    /// Whether there is a leader; makes one if the last one is gone. One that has lost its vote leads on.
    fn elect(&mut self, preferred: usize) -> bool {
        if !self.configs.iter().all(|voters| self.is_quorate(voters)) {
            return false;
        }
        if !self.lives(&self.leader) {
            let last = self.configs.last().unwrap();
            let alive: Vec<_> = last.iter().copied().filter(|id| self.lives(id)).collect();
            self.leader = alive[preferred % alive.len()];
        }
        true
    }

    fn view(&self, deaf_to: &[(usize, u8)]) -> View {
        let name = |number: u8| if number == 0 { String::new() } else { number.to_string() };
        let mut nodes = BTreeMap::new();
        for (place, (id, process)) in self.processes.iter().enumerate() {
            let deaf = deaf_to.iter().find(|(index, _)| index % self.processes.len() == place);
            let deaf = deaf.filter(|_| *id != self.leader).map_or(0, |(_, seconds)| *seconds);
            let silence = process.dead_for.unwrap_or(0).max(u64::from(deaf));
            let standing = Standing {
                host: name(process.host),
                zone: name(process.zone),
                silence: Duration::from_secs(silence),
                leaving: process.leaving_for.map(Duration::from_secs),
                session: process.session.then_some(SessionId(id.as_u64())),
                is_settled: true,
                is_near: process.is_near,
                is_stranger: !process.session,
                ..Standing::default()
            };
            nodes.insert(*id, standing);
        }
        View {
            leader: self.leader,
            configs: self.configs.clone(),
            learners: self.learners.clone(),
            nodes,
            target: self.target,
            replace_after: REPLACE_AFTER,
            learners_stay: self.learners_stay,
        }
    }

    /// Asserts that the step is safe as far as the view knows.
    fn assert_safe(&self, view: &View, decision: &Decision) {
        let answers =
            |id: &NodeId| *id == view.leader || view.nodes[id].silence <= Duration::from_secs(1);
        let is_quorate =
            |voters: &Nodes| voters.iter().filter(|id| answers(id)).count() > voters.len() / 2;
        match &decision.step {
            Step::Vote(goal) => {
                let now = &view.configs[0];
                assert!(view.configs.len() == 1 && goal != now && goal.contains(&view.leader));
                assert!(is_quorate(now) && is_quorate(goal), "{now:?} {decision:?}");
                for new in goal.difference(now) {
                    assert!(view.learners.contains(new) && view.nodes[new].is_near);
                    assert!(answers(new) && view.nodes[new].leaving.is_none());
                }
                let is_leaving = now.iter().any(|id| view.nodes[id].leaving.is_some());
                if !is_leaving && now.len() <= view.target {
                    assert!(view.bears(goal) >= view.bears(now), "{now:?} {decision:?}");
                }
                assert!(goal.len() <= view.target.max(2) || is_leaving, "{now:?} {decision:?}");
            }
            Step::Finish => assert!(is_quorate(view.configs.last().unwrap())),
            Step::Learn(new) => {
                assert!(new.iter().all(|id| answers(id) && !view.learners.contains(id)));
            }
            Step::Forget(old) => assert!(old.is_subset(&view.learners)),
            Step::HandOver(heir) => {
                assert!(view.configs[0].contains(heir) && answers(heir) && *heir != view.leader);
            }
            Step::Readdress(_) | Step::Rest | Step::Wait => {}
        }
    }

    fn apply(&mut self, step: &Step, outcome: Outcome) {
        if outcome == Outcome::Lost {
            return;
        }
        match step {
            Step::Vote(goal) => {
                let is_changing = goal.union(&self.configs[0]);
                assert!(is_changing.count() > 0);
                self.configs.push(goal.clone());
                if outcome == Outcome::Done {
                    self.finish();
                }
            }
            Step::Finish => self.finish(),
            Step::Learn(new) => self.learners.extend(new),
            Step::Forget(old) => self.learners.retain(|id| !old.contains(id)),
            Step::HandOver(heir) => self.leader = *heir,
            Step::Readdress(_) | Step::Rest | Step::Wait => {}
        }
    }

    fn finish(&mut self) {
        let last = self.configs.pop().unwrap();
        let gone: Nodes = self.configs.iter().flatten().copied().collect();
        self.learners.extend(gone);
        self.learners.retain(|id| !last.contains(id));
        self.configs = vec![last];
    }

    fn pass(&mut self, seconds: u64) {
        for process in self.processes.values_mut() {
            let older = |time: &mut Option<u64>| *time = time.map(|time| time + seconds);
            older(&mut process.dead_for);
            older(&mut process.leaving_for);
            if process.dead_for > Some(2) {
                process.session = false;
            }
        }
        for id in &self.learners {
            self.processes.get_mut(id).unwrap().is_near = true;
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Join { zone, host } if self.processes.len() < 12 => self.join(zone, host),
            Turn::Join { .. } => {}
            Turn::Crash(index) => {
                self.pick(index).dead_for.get_or_insert(0);
                self.pass(1);
            }
            Turn::Recover(index) => {
                let process = self.pick(index);
                (process.dead_for, process.leaving_for) = (None, None);
                process.session = true;
            }
            Turn::Leave(index) => {
                self.pick(index).leaving_for.get_or_insert(0);
            }
            Turn::ChangeLeader(index) => {
                // While a change is half done, one that is to lose its vote by it may win.
                let all: Nodes = self.configs.iter().flatten().copied().collect();
                let alive: Vec<_> = all.into_iter().filter(|id| self.lives(id)).collect();
                if !alive.is_empty() {
                    self.leader = alive[index % alive.len()];
                }
            }
            Turn::Pass(seconds) => self.pass(u64::from(seconds)),
            Turn::Plan { deaf_to, outcome } => {
                if !self.elect(0) {
                    return;
                }
                let is_truthful = self
                    .processes
                    .values()
                    .all(|process| process.dead_for != Some(0) && process.dead_for != Some(1));
                let view = self.view(&deaf_to);
                let decision = plan(&view);
                self.assert_safe(&view, &decision);
                self.apply(&decision.step, outcome);
                if is_truthful {
                    let are_quorate = self.configs.iter().all(|voters| self.is_quorate(voters));
                    assert!(are_quorate, "{decision:?} lost the quorum of {:?}", self.configs);
                }
            }
        }
    }

    /// Lets the world stand still, and plans until there is nothing to do.
    fn settle(&mut self) {
        self.pass(20);
        let mut seen = BTreeSet::new();
        for _ in 0..60 {
            if !self.elect(0) {
                return;
            }
            let view = self.view(&[]);
            let decision = plan(&view);
            self.assert_safe(&view, &decision);
            if let Step::Vote(goal) = &decision.step {
                assert!(seen.insert(goal.clone()), "{goal:?} for the second time: {decision:?}");
            }
            if decision.step == Step::Rest {
                self.apply(&decision.step, Outcome::Done);
                assert_eq!(plan(&self.view(&[])), decision);
                return self.assert_settled(&view);
            }
            self.apply(&decision.step, Outcome::Done);
            self.pass(2);
            // A leaver that has no vote any more goes.
            let voters = self.configs.last().unwrap().clone();
            for (id, process) in &mut self.processes {
                if process.leaving_for.is_some() && !voters.contains(id) {
                    process.session = false;
                    process.dead_for.get_or_insert(20);
                }
            }
        }
        panic!("no end of plans: {:?}", plan(&self.view(&[])));
    }

    fn assert_settled(&self, view: &View) {
        let voters = &self.configs[0];
        assert!(voters.contains(&self.leader), "{} leads without a vote", self.leader);
        let stays = |id: &&NodeId| {
            let process = &self.processes[*id];
            process.dead_for.is_none() && process.leaving_for.is_none()
        };
        let live = self.processes.keys().filter(stays).count();
        if live == 0 {
            return;
        }
        let leavers = voters.iter().filter(|id| self.processes[*id].leaving_for.is_some());
        assert_eq!(leavers.filter(|id| self.lives(id)).count(), 0, "{voters:?}");
        let staying = voters.iter().filter(stays).count();
        let expected = choice::size(live, self.target);
        assert!(staying >= expected.min(live), "{staying} of {voters:?}, expected {expected}");
        if staying == voters.len() {
            assert_eq!(staying, expected);
        } else {
            // A dead one is kept only where no set of the living would bear more.
            assert!(live < self.target && view.bears(voters) >= (expected - 1) / 2, "{voters:?}");
        }
        for out in voters.iter().filter(|_| staying == voters.len()) {
            for new in self.processes.keys().filter(stays).filter(|id| !voters.contains(id)) {
                let mut swapped = voters.clone();
                swapped.remove(out);
                swapped.insert(*new);
                let is_leader = *out == self.leader;
                let is_better = choice::crowding(view, &swapped) < choice::crowding(view, voters);
                assert!(is_leader || !is_better, "{new} instead of {out} would spread votes");
            }
        }
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Done),
        1 => Just(Outcome::Lost),
        1 => Just(Outcome::Half),
    ];
    let deaf_to = prop::collection::vec((0..12usize, prop_oneof![Just(2u8), Just(12u8)]), 0..3);
    let deaf_to = prop_oneof![3 => Just(Vec::new()), 1 => deaf_to];
    let turn = prop_oneof![
        4 => (0..4u8, 0..5u8).prop_map(|(zone, host)| Turn::Join { zone, host }),
        2 => (0..12usize).prop_map(Turn::Crash),
        1 => (0..12usize).prop_map(Turn::Recover),
        1 => (0..12usize).prop_map(Turn::Leave),
        1 => (0..12usize).prop_map(Turn::ChangeLeader),
        3 => (1..15u8).prop_map(Turn::Pass),
        12 => (deaf_to, outcome).prop_map(|(deaf_to, outcome)| Turn::Plan { deaf_to, outcome }),
    ];
    prop::collection::vec(turn, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_history_makes_a_plan_lose_the_quorum_or_run_for_ever(
        target in prop_oneof![Just(1usize), Just(3), Just(5)],
        learners_stay in any::<bool>(),
        turns in turns(),
    ) {
        let mut world = World::new(target, learners_stay);
        for turn in turns {
            world.turn(turn);
        }
        world.settle();
    }
}

/// In the middle of a change, the one wins that the change takes the vote from.
#[test]
fn no_leader_is_left_without_a_vote() {
    let plan = |outcome| Turn::Plan { deaf_to: Vec::new(), outcome };
    let join = || Turn::Join { zone: 0, host: 0 };
    let mut world = World::new(3, false);
    (0..7).for_each(|_| world.turn(join()));
    for turn in [
        plan(Outcome::Done),
        Turn::Crash(3),
        plan(Outcome::Done),
        join(),
        Turn::Leave(9),
        Turn::ChangeLeader(1),
        Turn::Crash(3),
        plan(Outcome::Done),
        plan(Outcome::Half),
        Turn::ChangeLeader(0),
        plan(Outcome::Done),
    ] {
        world.turn(turn);
    }
    world.settle();
}
