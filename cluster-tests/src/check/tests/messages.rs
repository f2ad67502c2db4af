//! Tests of the checker of messages, on one history that is altered.
//!
//! Owns: that history. Does not own: the others. Invariant: unaltered it passes.
//!
//! Publishers 1 (n1) and 2 (n2) publish by turns to channels a and b, every 10 ms. Subscriber 10 hears a, 11 hears both and gives b up and takes
//! it again. At 2 s the link from n1 breaks: 10 misses messages and is told.

use super::{is_found_by, rules, verdict};
use crate::check::{Rules, check};
use crate::history::{Answer, Call, Installation, Line, LossCause, Nanos, Operation, Outcome};

const MS: Nanos = 1_000_000;

fn publish(publisher: u32, number: u64) -> Line {
    let invoked = number * 10 * MS + u64::from(publisher);
    let (client, node) = (publisher, u8::try_from(publisher).expect("small"));
    let key = if number.is_multiple_of(2) { "a" } else { "b" }.to_owned();
    let outcome = match number {
        50 => Outcome::Unknown("timeout".into()),
        51 => Outcome::Failed("refused".into()),
        _ => Outcome::Ok(Answer::None),
    };
    let (call, returned, index) = (Call::Publish { number }, invoked + MS, None);
    Line::Operation(Operation { client, node, key, call, invoked, returned, outcome, index })
}

fn heard(subscriber: u32, publisher: u32, number: u64) -> Line {
    let channel = if number.is_multiple_of(2) { "a" } else { "b" }.to_owned();
    let at = number * 10 * MS + 3 * MS + u64::from(publisher);
    Line::Heard { at, node: 3, subscriber, channel, publisher, number }
}

fn history() -> Vec<Line> {
    let subscribed = |subscriber, channel: &str, at_ms: u64| Line::Subscribed {
        invoked: (at_ms - 1) * MS,
        at: at_ms * MS,
        node: 3,
        subscriber,
        channel: channel.to_owned(),
    };
    let mut lines = vec![subscribed(10, "a", 105), subscribed(11, "a", 5), subscribed(11, "b", 5)];
    for number in 1..=500 {
        for publisher in [1, 2] {
            lines.push(publish(publisher, number));
            let is_lost = publisher == 1 && (200..=210).contains(&number) || number == 50;
            if number.is_multiple_of(2) && number > 10 && !is_lost {
                lines.push(heard(10, publisher, number));
            }
            let is_away = number % 2 == 1 && (300..=350).contains(&number);
            if !is_away && number != 51 {
                lines.push(heard(11, publisher, number));
            }
        }
        if number == 300 {
            let (invoked, at, channel) = (2_998 * MS, 3_000 * MS, "b".to_owned());
            lines.push(Line::Unsubscribed { invoked, at, node: 3, subscriber: 11, channel });
        }
        if number == 350 {
            lines.push(subscribed(11, "b", 3_505));
        }
        if number == 211 {
            let (at, cause) = (2_115 * MS, LossCause::Link(1));
            lines.push(Line::Lost { at, node: 3, subscriber: 10, cause, count: Some(11) });
        }
    }
    lines.push(Line::Note { at: 10_000 * MS, text: "the end".to_owned() });
    lines
}

fn place(history: &[Line], wanted: &Line) -> usize {
    history.iter().position(|line| line == wanted).expect("it is there")
}

fn finds(history: &[Line], text: &str) {
    let verdict = verdict(history);
    assert!(is_found_by(&verdict, "pubsub"), "{text}: {verdict}");
    let is_named = verdict.findings.iter().any(|finding| finding.text.contains(text));
    assert!(is_named, "'{text}' is among\n{verdict}");
}

#[test]
fn what_is_right_passes() {
    let verdict = verdict(&history());
    assert!(verdict.passed(), "{verdict}");
}

#[test]
fn a_silent_gap_is_found() {
    for number in [12, 100, 280, 500] {
        let mut history = history();
        history.retain(|line| *line != heard(10, 2, number));
        finds(&history, "silent gap: 1 messages");
    }
    let mut history = history();
    history.retain(|line| !matches!(line, Line::Lost { .. }));
    finds(&history, "silent gap: 6 messages");
}

#[test]
fn a_loss_on_another_link_or_told_too_late_excuses_nothing() {
    for (at, cause) in [(2_115, LossCause::Link(2)), (2_115, LossCause::Keyspace)] {
        let mut history = history();
        for line in &mut history {
            if let Line::Lost { at: told, cause: other, .. } = line {
                (*told, *other) = (at * MS, cause);
            }
        }
        finds(&history, "silent gap");
    }
    let mut late = history();
    for line in &mut late {
        if let Line::Lost { at, .. } = line {
            *at = 2_400 * MS;
        }
    }
    finds(&late, "silent gap");
}

#[test]
fn fewer_told_than_missing_is_found() {
    let mut history = history();
    for line in &mut history {
        if let Line::Lost { count, .. } = line {
            *count = Some(3);
        }
    }
    finds(&history, "only 3 were told");
}

#[test]
fn order_and_repetition_are_found() {
    let mut history = history();
    let (one, two) = (place(&history, &heard(10, 2, 30)), place(&history, &heard(10, 2, 32)));
    history.swap(one, two);
    finds(&history, "out of order");
    let mut history = super::messages::history();
    history.insert(place(&history, &heard(10, 2, 32)), heard(10, 2, 32));
    finds(&history, "repeated");
    // Over two channels of one publisher.
    let mut history = super::messages::history();
    let (one, two) = (place(&history, &heard(11, 2, 30)), place(&history, &heard(11, 2, 31)));
    history.swap(one, two);
    finds(&history, "out of order");
    let rules = Rules { order_across_channels: false, ..rules() };
    assert!(check(&history, &rules).passed());
}

#[test]
fn what_was_never_sent_there_is_found() {
    let mut history = history();
    history.insert(place(&history, &heard(10, 2, 32)), heard(10, 7, 32));
    finds(&history, "invented");
    let mut history = super::messages::history();
    let at = place(&history, &heard(11, 1, 53));
    history.insert(at, heard(11, 1, 51));
    finds(&history, "surely failed");
    let mut history = super::messages::history();
    for line in &mut history {
        if let Line::Heard { subscriber: 11, channel, number: 80, .. } = line {
            *channel = "b".to_owned();
        }
    }
    finds(&history, "crossed");
}

#[test]
fn what_comes_outside_of_a_subscription_is_found() {
    let mut history = history();
    history.insert(place(&history, &heard(11, 1, 306)), heard(11, 1, 305));
    finds(&history, "heard while not subscribed");
}

#[test]
fn who_subscribes_while_apart_may_miss_in_silence_only_if_the_rules_say_so() {
    let mut history = history();
    history.retain(|line| *line != heard(10, 2, 12));
    history.push(Line::Fault {
        at: 50 * MS,
        until: Some(200 * MS),
        family: "halves".into(),
        text: String::new(),
        outcome: Installation::Installed,
    });
    assert!(verdict(&history).is_broken());
    assert!(check(&history, &Rules { untold_while_apart: true, ..rules() }).passed());
}
