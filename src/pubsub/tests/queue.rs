//! Tests of a subscriber's queue: its rules one by one, and against a model that is too simple to be wrong.
//!
//! Owns the model. Invariant: the model keeps every message that was ever pushed.

use std::collections::VecDeque;
use std::sync::Arc;

use bytesize::ByteSize;
use proptest::prelude::*;

use super::super::backlog::Waiting;
use super::super::causal::{Gate, Stateless};
use super::super::queue::{Pushed, Queue, Totals};
use super::*;

fn sized(channel: &'static str, size: usize) -> Message {
    let (channel, payload) = (Bytes::from_static(channel.as_bytes()), Bytes::from(vec![0; size]));
    let (pattern, position, is_ahead, replaced) = (None, 0, false, 0);
    Message { kind: Kind::Channel, pattern, channel, payload, position, is_ahead, replaced }
}

fn cost(message: &Message) -> u64 {
    Waiting { message: message.clone(), due: None }.cost()
}

/// A message that says which one it is.
fn numbered(channel: &'static str, number: u64, size: usize) -> Message {
    Message { position: number, ..sized(channel, size) }
}

fn queue(hard: u64, soft: u64) -> Queue {
    let (hard, soft) = (ByteSize::b(hard), ByteSize::b(soft));
    let limits = QueueLimits { hard, soft, soft_time: Duration::from_secs(60) };
    let gate = Gate::new(Arc::new(Stateless), Duration::ZERO);
    Queue::new(limits, gate, Arc::new(Totals::default()))
}

/// Everything that can be received now, short: `c1` is message 1 to channel c, `c4+2` stands for two older ones too,
/// `slow 3` and `link ?` are losses.
fn drained(queue: &Queue) -> String {
    let mut told = Vec::new();
    loop {
        match queue.try_receive() {
            Ok(None) => return told.join(" "),
            Ok(Some(delivery)) => told.push(short(&delivery)),
            Err(error) => {
                told.push(error.to_string());
                return told.join(" ");
            }
        }
    }
}

fn short(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Message(message) => {
            let channel = String::from_utf8_lossy(&message.channel);
            let replaced =
                if message.replaced > 0 { format!("+{}", message.replaced) } else { String::new() };
            format!("{channel}{}{replaced}", message.position)
        }
        Delivery::Lost(Lost { cause, count }) => {
            let cause = if *cause == Cause::Slow { "slow" } else { "link" };
            format!("{cause} {}", count.map_or("?".to_owned(), |count| count.to_string()))
        }
    }
}

#[test]
fn hard_limit_ends_the_queue_and_says_what_was_lost() {
    let queue = queue(2_000, 2_000);
    assert_eq!(queue.push(Policy::Disconnect, sized("c", 700)), Pushed::Queued);
    assert_eq!(queue.push(Policy::Disconnect, sized("c", 700)), Pushed::Queued);
    queue.lost(Cause::Links, None);
    assert_eq!(queue.push(Policy::Disconnect, sized("c", 700)), Pushed::Overflowed);
    assert_eq!(queue.push(Policy::Disconnect, sized("c", 1)), Pushed::Ended);
    queue.lost(Cause::Slow, Some(1));
    assert_eq!(short(&queue.try_receive().unwrap().unwrap()), "link ?");
    let Err(Error::Overflow { messages: 3, bytes, limit: 2_000 }) = queue.try_receive() else {
        panic!("the overflow must be told");
    };
    assert!(bytes > 2_100, "{bytes}");
    let counters = queue.report().counters;
    assert_eq!((counters.lost_slow, counters.overflows, counters.lost_uncounted), (3, 1, 1));
}

#[tokio::test]
async fn every_sleeping_receiver_is_woken_while_messages_are_left() {
    let queue = Arc::new(queue(1_000_000, 1_000_000));
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let own = Arc::clone(&queue);
            tokio::spawn(async move { short(&own.receive().await.unwrap()) })
        })
        .collect();
    tokio::task::yield_now().await;
    for number in 1..=3 {
        queue.push(Policy::Disconnect, numbered("c", number, 1));
    }
    let mut told = Vec::new();
    for receiver in receivers {
        told.push(timeout(Duration::from_secs(5), receiver).await.unwrap().unwrap());
    }
    told.sort_unstable();
    assert_eq!(told, ["c1", "c2", "c3"]);
}

#[test]
fn many_are_taken_at_once_in_order_and_up_to_a_weight() {
    let queue = queue(1_000_000, 1_000_000);
    for number in 1..=5 {
        queue.push(Policy::Disconnect, numbered("c", number, 100));
    }
    queue.lost(Cause::Links, Some(7));
    let mut taken = Vec::new();
    let weight = 2 * cost(&numbered("c", 1, 100));
    assert_eq!(queue.try_receive_many(&mut taken, weight), Ok(3));
    assert_eq!(queue.try_receive_many(&mut taken, 1), Ok(1));
    queue.close();
    assert_eq!(queue.try_receive_many(&mut taken, u64::MAX), Ok(2));
    assert_eq!(queue.try_receive_many(&mut taken, u64::MAX), Err(Error::Closed));
    let told: Vec<String> = taken.iter().map(short).collect();
    assert_eq!(told, ["link 7", "c1", "c2", "c3", "c4", "c5"]);
}

#[tokio::test(start_paused = true)]
async fn soft_limit_is_forgiven_when_the_backlog_shrinks_in_time() {
    let queue = queue(1_000_000, 1_000);
    queue.push(Policy::Disconnect, sized("c", 1_000));
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(queue.push(Policy::Disconnect, sized("c", 1)), Pushed::Queued);
    assert!(queue.try_receive().unwrap().is_some());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(queue.push(Policy::Disconnect, sized("c", 1_000)), Pushed::Queued);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(queue.push(Policy::Disconnect, sized("c", 1)), Pushed::Overflowed);
    assert!(matches!(queue.try_receive(), Err(Error::Overflow { limit: 1_000, .. })));
}

#[tokio::test(start_paused = true)]
async fn soft_limit_ends_a_queue_that_nobody_touches_while_its_end_is_awaited() {
    let queue = Arc::new(queue(1_000_000, 1_000));
    let own = Arc::clone(&queue);
    let ended = tokio::spawn(async move { own.ended().await });
    tokio::task::yield_now().await;
    queue.push(Policy::Disconnect, sized("c", 1_000));
    let began = Instant::now();
    let end = timeout(Duration::from_secs(120), ended).await.unwrap().unwrap();
    assert!(matches!(end, Error::Overflow { messages: 1, limit: 1_000, .. }), "{end}");
    assert!(began.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn closing_lets_the_backlog_be_received_first() {
    let queue = queue(1_000, 1_000);
    queue.push(Policy::Disconnect, sized("c", 1));
    queue.close();
    assert_eq!(queue.receive().await, Ok(Delivery::Message(sized("c", 1))));
    assert_eq!(queue.receive().await, Err(Error::Closed));
    assert_eq!(queue.ended().await, Error::Closed);
}

#[test]
fn oldest_are_dropped_and_told_before_the_next_message() {
    let room = cost(&sized("c", 100));
    let queue = queue(3 * room, 0);
    for number in 1..=5 {
        assert_eq!(queue.push(Policy::DropOldest, numbered("c", number, 100)), Pushed::Queued);
    }
    assert_eq!(drained(&queue), "slow 2 c3 c4 c5");
    let large = numbered("c", 6, 1_000);
    queue.push(Policy::DropOldest, numbered("c", 7, 100));
    assert_eq!(queue.push(Policy::DropOldest, large), Pushed::Dropped);
    assert_eq!(drained(&queue), "slow 1 c7");
    assert_eq!(queue.report().counters.lost_slow, 3);
}

#[test]
fn latest_stands_at_the_end_and_tells_for_how_many() {
    let queue = queue(100_000, 0);
    for (number, channel) in (1..).zip(["a", "b", "a", "c", "a", "b"]) {
        queue.push(Policy::LatestOnly, numbered(channel, number, 10));
    }
    assert_eq!(queue.report().queued, 3);
    assert_eq!(drained(&queue), "c4 a5+2 b6+1");
    queue.push(Policy::LatestOnly, numbered("a", 7, 10));
    assert_eq!(drained(&queue), "a7");
    let pattern = Some(Bytes::from_static(b"a*"));
    let by_pattern = Message { kind: Kind::Pattern, pattern, ..numbered("a", 8, 10) };
    queue.push(Policy::LatestOnly, by_pattern);
    queue.push(Policy::LatestOnly, numbered("a", 9, 10));
    assert_eq!(drained(&queue), "a8 a9");
    assert_eq!(
        queue.report(),
        QueueReport {
            counters: Counters { replaced: 3, ..Counters::default() },
            ..QueueReport::default()
        }
    );
}

#[test]
fn a_replaced_message_counts_with_the_one_that_is_dropped_for_it() {
    let room = cost(&sized("a", 100));
    let queue = queue(2 * room, 0);
    for (number, channel) in (1..).zip(["a", "a", "b", "c"]) {
        queue.push(Policy::LatestOnly, numbered(channel, number, 100));
    }
    assert_eq!(drained(&queue), "slow 2 b3 c4");
}

#[test]
fn what_may_be_dropped_makes_room_for_what_may_not() {
    let room = cost(&sized("a", 100));
    let queue = queue(3 * room, 3 * room);
    queue.push(Policy::DropOldest, numbered("a", 1, 100));
    queue.push(Policy::Disconnect, numbered("b", 2, 100));
    queue.push(Policy::LatestOnly, numbered("c", 3, 100));
    queue.push(Policy::Disconnect, numbered("b", 4, 100));
    assert_eq!(queue.push(Policy::Disconnect, numbered("b", 5, 100)), Pushed::Queued);
    assert_eq!(queue.push(Policy::DropOldest, numbered("a", 6, 100)), Pushed::Dropped);
    assert_eq!(queue.push(Policy::LatestOnly, numbered("c", 7, 100)), Pushed::Dropped);
    let first = queue.try_receive().unwrap().unwrap();
    assert_eq!(short(&first), "slow 4");
    assert_eq!(queue.push(Policy::Disconnect, numbered("b", 8, 100)), Pushed::Overflowed);
}

#[test]
fn losses_of_links_are_told_each_with_its_publisher() {
    let queue = queue(1_000, 0);
    queue.push(Policy::Disconnect, numbered("a", 1, 1));
    let link = |number| Cause::Link { publisher: id(number) };
    queue.lost(link(1), Some(3));
    queue.lost(link(1), Some(4));
    queue.lost(link(1), None);
    queue.lost(link(2), Some(0));
    assert_eq!(drained(&queue), "link 7 link ? a1");
    let counters = queue.report().counters;
    assert_eq!((counters.lost_link, counters.lost_uncounted), (7, 1));
}

#[test]
fn many_replacements_leave_few_empty_places() {
    let queue = queue(1_000_000, 0);
    queue.push(Policy::DropOldest, numbered("first", 0, 1));
    for (number, channel) in (0..10_000).zip(["a", "b", "c"].into_iter().cycle()) {
        queue.push(Policy::LatestOnly, numbered(channel, number, 1));
        assert!(queue.places() <= 100, "{} places", queue.places());
    }
    assert_eq!(drained(&queue), "first0 b9997+3332 c9998+3332 a9999+3333");
}

#[derive(Clone, Debug)]
enum Step {
    Push { policy: Policy, channel: &'static str, size: usize },
    Lost { publisher: u8, count: Option<u64> },
    Receive(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let policy = prop_oneof![
        1 => Just(Policy::Disconnect),
        4 => Just(Policy::DropOldest),
        4 => Just(Policy::LatestOnly),
    ];
    let channel = prop_oneof![Just("a"), Just("b"), Just("c")];
    let push = (policy, channel, 0..400_usize).prop_map(|(policy, channel, size)| Step::Push {
        policy,
        channel,
        size,
    });
    prop_oneof![
        8 => push,
        1 => (0..4_u8, prop::option::of(0..5_u64)).prop_map(|(publisher, count)| Step::Lost { publisher, count }),
        2 => (0..6_usize).prop_map(Step::Receive),
    ]
}

const HARD: u64 = 2_500;

/// All that waits, in one list that is searched from end to end.
#[derive(Default)]
struct Model {
    waiting: VecDeque<(Policy, Message)>,
    lost_slow: u64,
    lost_link: u64,
    is_over: bool,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.waiting.iter().map(|(_, message)| cost(message)).sum()
    }

    fn push(&mut self, policy: Policy, mut message: Message) {
        let strict = self.waiting.iter().filter(|(policy, _)| *policy == Policy::Disconnect);
        let strict: u64 = strict.map(|(_, message)| cost(message)).sum();
        if policy != Policy::Disconnect && strict + cost(&message) > HARD {
            self.lost_slow += 1;
            return;
        }
        let is_same = |(of, waiting): &(Policy, Message)| {
            policy == Policy::LatestOnly && *of == policy && waiting.channel == message.channel
        };
        if let Some(at) = self.waiting.iter().position(is_same) {
            message.replaced = self.waiting.remove(at).unwrap().1.replaced + 1;
        }
        while self.bytes() + cost(&message) > HARD {
            let droppable = self.waiting.iter().position(|(of, _)| *of != Policy::Disconnect);
            let Some(at) = droppable else { break };
            self.lost_slow += self.waiting.remove(at).unwrap().1.replaced + 1;
        }
        self.waiting.push_back((policy, message));
        self.is_over = self.bytes() > HARD;
    }
}

/// Plays steps on the queue and on the model, until the queue is over or empty.
fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let queue = queue(HARD, HARD);
    let mut model = Model::default();
    let (mut pushed, mut told, mut last) = (0, 0, 0);
    for step in steps {
        match step {
            Step::Push { policy, channel, size } => {
                pushed += 1;
                let message = numbered(channel, pushed, size);
                model.push(policy, message.clone());
                let is_over = queue.push(policy, message) == Pushed::Overflowed;
                prop_assert_eq!(is_over, model.is_over);
            }
            Step::Lost { publisher, count } => {
                queue.lost(Cause::Link { publisher: id(publisher) }, count);
                model.lost_link += count.unwrap_or(0);
            }
            Step::Receive(count) => {
                for _ in 0..count {
                    told += receive(&queue, &mut model, &mut last)?.unwrap_or(0);
                }
            }
        }
        if model.is_over {
            break;
        }
        let report = queue.report();
        prop_assert!(report.queued_bytes <= HARD);
        prop_assert_eq!(report.queued_bytes, model.bytes());
        prop_assert_eq!(report.queued, model.waiting.len() as u64);
        prop_assert!(queue.places() <= 2 * model.waiting.len() + 70);
    }
    while let Some(more) = receive(&queue, &mut model, &mut last)? {
        told += more;
    }
    prop_assert_eq!(pushed, told);
    Ok(())
}

/// Receives once; gives of how many messages that has told, none when there was nothing.
fn receive(queue: &Queue, model: &mut Model, last: &mut u64) -> Result<Option<u64>, TestCaseError> {
    let delivery = match queue.try_receive() {
        Ok(Some(delivery)) => delivery,
        Ok(None) => {
            prop_assert!(model.waiting.is_empty());
            prop_assert_eq!((model.lost_slow, model.lost_link), (0, 0));
            return Ok(None);
        }
        Err(Error::Overflow { messages, .. }) if model.is_over => {
            // It stays over, and is counted once.
            model.is_over = false;
            prop_assert_eq!((model.lost_slow, model.lost_link), (0, 0));
            let waiting = model.waiting.drain(..);
            prop_assert_eq!(
                messages,
                waiting.map(|(_, message)| message.replaced + 1).sum::<u64>()
            );
            return Ok(Some(messages));
        }
        Err(_) => return Ok(None),
    };
    match delivery {
        Delivery::Lost(Lost { cause: Cause::Slow, count }) => {
            prop_assert_eq!(count, Some(model.lost_slow));
            Ok(Some(std::mem::take(&mut model.lost_slow)))
        }
        Delivery::Lost(Lost { count, .. }) => {
            model.lost_link -= count.unwrap_or(0);
            Ok(Some(0))
        }
        Delivery::Message(message) => {
            prop_assert_eq!((model.lost_slow, model.lost_link), (0, 0));
            prop_assert!(message.position > *last);
            *last = message.position;
            let expected = model.waiting.pop_front().map(|(_, message)| message);
            prop_assert_eq!(Some(&message), expected.as_ref());
            Ok(Some(1 + message.replaced))
        }
    }
}

proptest! {
    #[test]
    fn everything_pushed_is_received_replaced_or_told(steps in prop::collection::vec(step(), 0..120)) {
        play(steps)?;
    }

    #[test]
    fn gaps_are_exactly_what_is_told(sizes in prop::collection::vec((0..400_usize, any::<bool>()), 0..120)) {
        let queue = queue(HARD, 0);
        let (mut next, mut lost) = (1, 0);
        for (number, (size, receives)) in (1..).zip(sizes) {
            queue.push(Policy::DropOldest, numbered("c", number, size));
            while receives && let Some(delivery) = queue.try_receive().unwrap() {
                match delivery {
                    Delivery::Lost(Lost { count, .. }) => lost += count.unwrap(),
                    Delivery::Message(message) => {
                        prop_assert_eq!(message.position, next + lost);
                        (next, lost) = (message.position + 1, 0);
                    }
                }
            }
        }
    }
}
