//! The interest table by hand: each rule in its plainest case.
//!
//! Owns the examples. Does not play faults at random. Invariant: every action that a rule gives is seen here once.

use super::*;
use crate::pubsub::table::{Limits as TableLimits, Table};

const LIMITS: Limits = Limits { prune_after: 3, prunes: 100, bytes: 1_000 };

fn peer(number: u64) -> NodeId {
    NodeId::from_random(number)
}

fn name(channel: &'static str) -> Name {
    (Kind::Channel, Bytes::from_static(channel.as_bytes()))
}

fn subscriber() -> SubscriberId {
    Table::<()>::new(TableLimits { name: 1, per_subscriber: 1, all: 1 }).add(())
}

/// A listener that hears these publishers.
fn listener(limits: Limits, publishers: &[u64]) -> Interest {
    let mut interest = Interest::new(limits);
    for publisher in publishers {
        assert_eq!(interest.handle(Event::Opened(peer(*publisher))), []);
    }
    interest
}

fn unwanted(interest: &mut Interest, publisher: u64, channel: &str) -> Vec<Action> {
    let (kind, publisher) = (Kind::Channel, peer(publisher));
    interest.handle(Event::Unwanted { publisher, kind, channel: channel.as_bytes() })
}

/// Has the listener prune a channel.
fn prune(interest: &mut Interest, publisher: u64, channel: &'static str) {
    assert_eq!(unwanted(interest, publisher, channel), []);
    assert_eq!(unwanted(interest, publisher, channel), []);
    let prune = Action::Prune { publisher: peer(publisher), name: name(channel) };
    assert_eq!(unwanted(interest, publisher, channel), [prune]);
}

fn subscribe(interest: &mut Interest, kind: Kind, text: &str) -> Vec<Action> {
    interest.handle(Event::Subscribed { subscriber: subscriber(), kind, name: text.as_bytes() })
}

#[test]
fn publisher_withholds_what_is_pruned_until_it_is_grafted() {
    let mut interest = Interest::new(LIMITS);
    let (one, other) = (peer(1), peer(2));
    assert!(interest.pruners(Kind::Channel, b"c").is_empty());
    for peer in [other, one] {
        let event = Event::Pruned { peer, names: vec![name("c"), name("d")] };
        assert_eq!(interest.handle(event), []);
    }
    assert_eq!(interest.pruners(Kind::Channel, b"c"), [one, other]);
    assert_eq!(interest.pruners(Kind::Pattern, b"c"), [one, other]);
    assert!(interest.pruners(Kind::Sharded, b"c").is_empty());
    assert_eq!(interest.tally(one).held, 2);
    let names = [name("c"), name("never pruned")];
    let acknowledged = interest.handle(Event::GraftAsked { peer: one, id: 7, names: &names });
    assert_eq!(acknowledged, [Action::Acknowledge { peer: one, id: 7 }]);
    assert_eq!(interest.pruners(Kind::Channel, b"c"), [other]);
    assert_eq!(interest.handle(Event::Unpruned(other)), []);
    assert!(interest.pruners(Kind::Channel, b"c").is_empty());
    assert_eq!(interest.pruners(Kind::Channel, b"d"), [one]);
    interest.held.check(LIMITS);
}

#[test]
fn publisher_without_room_forgets_what_is_not_used() {
    let limits = Limits { prunes: 3, ..LIMITS };
    let mut interest = Interest::new(limits);
    for channel in ["a", "b", "c"] {
        interest.handle(Event::Pruned { peer: peer(1), names: vec![name(channel)] });
    }
    interest.handle(Event::Pruned { peer: peer(1), names: vec![name("d")] });
    assert_eq!(interest.tally(peer(1)).held, 3);
    // Looking a channel up means that something was published to it.
    for round in ["e", "f", "g", "h", "i"] {
        assert_eq!(interest.pruners(Kind::Channel, b"d"), [peer(1)], "{round}");
        interest.handle(Event::Pruned { peer: peer(1), names: vec![name(round)] });
        interest.held.check(limits);
    }
}

#[test]
fn nothing_pruned_is_nothing_to_wait_for() {
    let mut interest = listener(LIMITS, &[1, 2]);
    assert_eq!(subscribe(&mut interest, Kind::Channel, "c"), []);
    prune(&mut interest, 1, "d");
    assert_eq!(subscribe(&mut interest, Kind::Channel, "c"), []);
    assert_eq!(subscribe(&mut interest, Kind::Sharded, "d"), []);
    assert_eq!(subscribe(&mut interest, Kind::Pattern, "c*"), []);
}

#[test]
fn subscription_waits_for_every_publisher_that_was_told_not_to_send() {
    let mut interest = listener(LIMITS, &[1, 2, 3]);
    prune(&mut interest, 1, "c");
    prune(&mut interest, 2, "c");
    let graft = |number, id| Action::Graft { publisher: peer(number), id, names: vec![name("c")] };
    let first = Ticket(3);
    let wait = [graft(1, 1), graft(2, 2), Action::Wait(first)];
    assert_eq!(subscribe(&mut interest, Kind::Channel, "c"), wait);
    // Another one waits for the same grafts, and what comes meanwhile is not pruned again.
    let second = Ticket(4);
    assert_eq!(subscribe(&mut interest, Kind::Pattern, "?"), [Action::Wait(second)]);
    (0..1_000).for_each(|_| assert_eq!(unwanted(&mut interest, 1, "c"), []));
    let acknowledge = |number, id| Event::Acknowledged { publisher: peer(number), id };
    assert_eq!(interest.handle(acknowledge(1, 1)), []);
    let wrong = Action::Refuse { publisher: peer(1), id: 2 };
    assert_eq!(interest.handle(acknowledge(1, 2)), [wrong]);
    interest.handle(Event::GivenUp(second));
    assert_eq!(interest.handle(acknowledge(2, 2)), [Action::Resolved(first)]);
    assert!(interest.noted.is_quiet());
    let wrong = Action::Refuse { publisher: peer(2), id: 2 };
    assert_eq!(interest.handle(acknowledge(2, 2)), [wrong]);
    assert_eq!(interest.tally(peer(1)), Tally { held: 0, made: 0, grafts: 1 });
}

#[test]
fn publisher_that_has_forgotten_is_told_again_after_many_more() {
    let mut interest = listener(LIMITS, &[1]);
    prune(&mut interest, 1, "c");
    let again = (0..10_000).filter(|_| !unwanted(&mut interest, 1, "c").is_empty()).count();
    assert_eq!(again, 10_003 / (3 * 64));
}

#[test]
fn broken_stream_resolves_and_is_told_at_once_and_when_there_is_a_newer_one() {
    let mut interest = listener(LIMITS, &[1]);
    prune(&mut interest, 1, "c");
    subscribe(&mut interest, Kind::Channel, "c");
    let (publisher, subscriber) = (peer(1), subscriber());
    let tell = Action::Tell { subscriber, publisher };
    let closed = interest.handle(Event::Closed { publisher, is_clean: false });
    assert_eq!(closed, [Action::Resolved(Ticket(2)), tell.clone()]);
    // Whoever comes meanwhile is not held up.
    let told = subscribe(&mut interest, Kind::Channel, "c");
    assert_eq!(told, std::slice::from_ref(&tell));
    assert_eq!(unwanted(&mut interest, 1, "e"), []);
    assert_eq!(interest.handle(Event::Opened(publisher)), [tell]);
    assert_eq!(subscribe(&mut interest, Kind::Channel, "c"), []);
    assert!(interest.noted.is_quiet());
}

#[test]
fn newer_stream_and_clean_end_lose_nothing() {
    for event in [Event::Opened(peer(1)), Event::Closed { publisher: peer(1), is_clean: true }] {
        let mut interest = listener(LIMITS, &[1]);
        prune(&mut interest, 1, "c");
        subscribe(&mut interest, Kind::Channel, "c");
        assert_eq!(interest.handle(event), [Action::Resolved(Ticket(2))]);
        assert_eq!(subscribe(&mut interest, Kind::Channel, "c"), []);
        interest.noted.check(LIMITS);
    }
}

#[test]
fn gone_subscribers_and_publishers_leave_nothing_behind() {
    let mut interest = listener(LIMITS, &[1]);
    prune(&mut interest, 1, "c");
    subscribe(&mut interest, Kind::Channel, "c");
    interest.handle(Event::Dropped(subscriber()));
    let closed = interest.handle(Event::Closed { publisher: peer(1), is_clean: false });
    assert_eq!(closed, [Action::Resolved(Ticket(2))]);
    interest.handle(Event::Forgotten(peer(1)));
    assert_eq!(interest.tally(peer(1)), Tally::default());
    assert!(interest.noted.is_quiet());
    interest.noted.check(LIMITS);
}

#[test]
fn large_patterns_graft_in_pieces() {
    let limits = Limits { prunes: 100, bytes: u64::MAX, ..LIMITS };
    let mut interest = listener(limits, &[1]);
    for number in 0..40_u8 {
        let channel = vec![number; 64 * 1024];
        let event = Event::Unwanted { publisher: peer(1), kind: Kind::Channel, channel: &channel };
        (0..3).for_each(|_| drop(interest.handle(event.clone())));
    }
    let actions = subscribe(&mut interest, Kind::Pattern, "*");
    let size = |action: &Action| {
        if let Action::Graft { names, .. } = action { names.len() } else { 0 }
    };
    let asked: Vec<usize> = actions.iter().map(size).collect();
    assert!(asked.len() > 3 && asked.iter().all(|count| *count <= 5), "{asked:?}");
    assert_eq!(asked.iter().sum::<usize>(), 40);
}
