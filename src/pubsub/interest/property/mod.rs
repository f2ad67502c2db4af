//! The promise of this room against random interleavings: three nodes, joined by streams that are delivered, cut and opened
//! again in any order.
//!
//! Owns the choice of what happens, and what must hold in the end. Does not use time or tasks. Invariant: every run is
//! the same run.

mod parts;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, RngAlgorithm, TestRng, TestRunner};

use self::parts::{Effect, Seen};
use self::world::World;
use super::*;

const NODES: usize = 3;
const SUBSCRIBERS: usize = 2;
/// What is published to.
const NAMES: [(Kind, &[u8]); 4] = [
    (Kind::Channel, b"a0"),
    (Kind::Channel, b"a1"),
    (Kind::Channel, b"b0"),
    (Kind::Sharded, b"a0"),
];
/// What is subscribed to.
const SUBSCRIPTIONS: [(Kind, &[u8]); 6] = [
    (Kind::Channel, b"a0"),
    (Kind::Channel, b"a1"),
    (Kind::Channel, b"b0"),
    (Kind::Sharded, b"a0"),
    (Kind::Pattern, b"a*"),
    (Kind::Pattern, b"*0"),
];

/// What the test does next; pairs are publisher and listener, by their places.
#[derive(Clone, Copy, Debug)]
enum Step {
    Subscribe(usize, usize, usize),
    Unsubscribe(usize, usize, usize),
    Drop(usize, usize),
    GiveUp(usize),
    Publish(usize, usize),
    /// A message for which no outbox has room.
    Overflow(usize, usize),
    Flush(usize, usize),
    Deliver(usize, usize, usize),
    Answer(usize, usize, usize),
    /// All of the three before.
    Exchange(usize, usize),
    /// The stream loses its end, both ways; nobody has noticed.
    Cut(usize, usize, usize),
    PublisherNotices(usize, usize),
    ListenerNotices(usize, usize),
    Open(usize, usize),
    /// The listener has waited too long for an acknowledgement.
    BreakOff(usize, usize),
    Unlink(usize, usize),
    Link(usize, usize),
    /// A planned leave.
    Stop(usize),
    Restart(usize),
}

/// One of so many, but half of the time a certain one: what is rare needs many steps around the same few things.
fn often(usual: usize, count: usize) -> impl Strategy<Value = usize> + Clone {
    prop_oneof![Just(usual), 0..count]
}

fn pair() -> impl Strategy<Value = (usize, usize)> {
    (often(0, NODES), often(1, NODES))
        .prop_map(|(from, to)| if from == to { (from, (to + 1) % NODES) } else { (from, to) })
}

fn step(with_faults: bool) -> BoxedStrategy<Step> {
    let what = (often(1, NODES), 0..SUBSCRIBERS, often(0, SUBSCRIPTIONS.len()));
    let message = (often(0, NODES), often(0, NAMES.len()));
    let usual = prop_oneof![
        8 => what.clone().prop_map(|(node, own, name)| Step::Subscribe(node, own, name)),
        8 => what.prop_map(|(node, own, name)| Step::Unsubscribe(node, own, name)),
        2 => (0..NODES, 0..SUBSCRIBERS).prop_map(|(node, own)| Step::Drop(node, own)),
        1 => (0..NODES).prop_map(Step::GiveUp),
        24 => message.clone().prop_map(|(node, name)| Step::Publish(node, name)),
        6 => pair().prop_map(|(from, to)| Step::Flush(from, to)),
        8 => (pair(), 1..4_usize).prop_map(|((from, to), n)| Step::Deliver(from, to, n)),
        8 => (pair(), 1..4_usize).prop_map(|((from, to), n)| Step::Answer(from, to, n)),
        24 => pair().prop_map(|(from, to)| Step::Exchange(from, to)),
        6 => pair().prop_map(|(from, to)| Step::Open(from, to)),
    ];
    let faults = prop_oneof![
        1 => message.prop_map(|(node, name)| Step::Overflow(node, name)),
        4 => (pair(), 0..4_usize).prop_map(|((from, to), n)| Step::Cut(from, to, n)),
        4 => pair().prop_map(|(from, to)| Step::PublisherNotices(from, to)),
        4 => pair().prop_map(|(from, to)| Step::ListenerNotices(from, to)),
        2 => pair().prop_map(|(from, to)| Step::BreakOff(from, to)),
        1 => pair().prop_map(|(from, to)| Step::Unlink(from, to)),
        1 => pair().prop_map(|(from, to)| Step::Link(from, to)),
        1 => (0..NODES).prop_map(Step::Stop),
        1 => (0..NODES).prop_map(Step::Restart),
    ];
    if with_faults { prop_oneof![4 => usual, 1 => faults].boxed() } else { usual.boxed() }
}

fn played(limits: Limits, with_faults: bool, cases: u32) -> Seen {
    let seen = Seen::default();
    // In long runs most debts are forgiven by some later break; short ones show what nobody tells.
    let any = |count| prop::collection::vec(step(with_faults), 1..count);
    let steps = prop_oneof![2 => any(25), 1 => any(160)];
    let config = Cases { cases, failure_persistence: None, ..Cases::default() };
    let outcome = TestRunner::new_with_rng(
        config,
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    )
    .run(&steps, |steps| {
        let mut world = World::new(limits, &seen);
        for step in steps {
            world.play(step);
            world.check_bounds();
        }
        world.settle();
        world.check_bounds();
        world.check_notes();
        prop_assert!(world.debts.is_empty(), "neither sent nor told: {:?}", world.debts);
        let pending = |effect: &Effect| matches!(effect, Effect::Pending(_));
        prop_assert!(!world.effects.values().any(pending), "waits for ever: {:?}", world.effects);
        prop_assert!(world.is_quiet());
        prop_assert!(with_faults || world.told == 0, "told of losses without any");
        Ok(())
    });
    outcome.unwrap();
    seen
}

fn limits(prunes: usize, bytes: u64) -> Limits {
    Limits { prune_after: 2, prunes, bytes }
}

#[test]
fn whoever_has_subscribed_gets_everything_or_is_told() {
    let seen = played(limits(100, 1_000), true, 2_500);
    let rare = [&seen.cut_off, &seen.acknowledged, &seen.waits, &seen.tells];
    assert!(rare.iter().all(|counter| counter.get() > 50), "{seen:?}");
    assert!(seen.stale.get() > 0, "{seen:?}");
    assert!(seen.prunes.get() > 1_000 && seen.debts.get() > 1_000, "{seen:?}");
}

#[test]
fn tables_that_are_too_small_cost_messages_but_no_promises() {
    for (prunes, bytes) in [(2, 1_000), (100, 4), (1, 2), (0, 0)] {
        let seen = played(limits(prunes, bytes), true, 300);
        assert!(prunes == 0 || seen.room.get() > 5, "{seen:?}");
    }
}

#[test]
fn without_faults_nothing_is_told_missing() {
    let seen = played(limits(100, 1_000), false, 500);
    assert_eq!(seen.tells.get(), 0);
    assert!(seen.acknowledged.get() > 100, "{seen:?}");
}

/// What random steps seldom line up: two subscribers around one cut, of whom the second comes when nothing waits any more.
#[test]
fn who_comes_behind_a_cut_graft_is_told_too() {
    let seen = Seen::default();
    let mut world = World::new(limits(100, 1_000), &seen);
    let pruned = [Step::Publish(0, 0), Step::Publish(0, 0), Step::Exchange(0, 1)];
    let cut = [Step::Subscribe(1, 0, 0), Step::Cut(0, 1, 0), Step::ListenerNotices(0, 1)];
    let withheld = [Step::Subscribe(1, 1, 0), Step::Publish(0, 0)];
    pruned.into_iter().chain(cut).chain(withheld).for_each(|step| world.play(step));
    assert_eq!((seen.prunes.get(), seen.cut_off.get(), world.debts.len()), (1, 1, 2));
    world.settle();
    assert!(world.debts.is_empty() && world.is_quiet(), "{:?}", world.debts);
}
