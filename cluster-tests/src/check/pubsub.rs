//! Did every subscriber hear what it should, once, in order, or was it told?
//!
//! Owns: messages: real, once, in order, on their channel, inside a subscription, and no silent gap. Does not own: how many are lost;
//! delivery is at most once. Source: the watch validators of etcd's robustness tests (ordered, unique, reliable), for our promise
//! that a loss is always told before the next message. Invariant: only messages that were published for sure while a
//! subscription was confirmed can be missing.

use std::collections::BTreeMap;

use super::rules::nanos;
use super::run::{Run, Workload};
use super::verdict::Verdict;
use crate::history::{Call, Happening, Line, LossCause, Nanos, Operation};

const NAME: &str = "pubsub";

/// A message that came.
struct Heard<'a> {
    at: Nanos,
    channel: &'a str,
    publisher: u32,
    number: u64,
    line: &'a Line,
}

/// One subscription of one subscriber to one channel, from confirmation to end.
struct Epoch<'a> {
    asked: Nanos,
    confirmed: Nanos,
    /// From when on messages may be missing.
    ending: Nanos,
    /// From when on none may come.
    ended: Nanos,
    line: &'a Line,
}

/// What one subscriber has seen, in its order.
#[derive(Default)]
struct Ear<'a> {
    heard: Vec<Heard<'a>>,
    lost: Vec<(Nanos, LossCause, Option<u64>)>,
    epochs: BTreeMap<&'a str, Vec<Epoch<'a>>>,
}

/// The messages of each client, by number.
type Published<'a> = BTreeMap<(u32, u64), &'a Operation>;

/// The messages to one channel, by client and in the order of their numbers.
type Channel<'a> = BTreeMap<u32, Vec<(u64, &'a Operation)>>;

/// Checks all subscribers.
pub(super) fn check(run: &Run<'_>, verdict: &mut Verdict) {
    let mut published: Published<'_> = BTreeMap::new();
    let mut channels: BTreeMap<&str, Channel<'_>> = BTreeMap::new();
    for (key, (workload, operations)) in &run.keys {
        for operation in operations.iter().filter(|_| *workload == Workload::Messages) {
            let Call::Publish { number } = operation.call else { continue };
            published.insert((operation.client, number), operation);
            let of_channel = channels.entry(*key).or_default();
            of_channel.entry(operation.client).or_default().push((number, operation));
        }
    }
    for messages in channels.values_mut().flat_map(BTreeMap::values_mut) {
        messages.sort_by_key(|(number, _)| *number);
    }
    for (subscriber, ear) in ears(run) {
        verdict.count(NAME, ear.heard.len());
        check_heard(run, subscriber, &ear, &published, verdict);
        for (channel, epochs) in &ear.epochs {
            let Some(publishers) = channels.get(channel) else { continue };
            for epoch in epochs {
                for messages in publishers.values() {
                    Gaps { run, ear: &ear, epoch, channel, messages, published: &published }
                        .check(subscriber, verdict);
                }
            }
        }
    }
}

/// Sorts what is in the history by subscriber. A subscription at a node whose process ends, ends with it.
fn ears<'a>(run: &Run<'a>) -> BTreeMap<u32, Ear<'a>> {
    let mut ears: BTreeMap<u32, Ear<'_>> = BTreeMap::new();
    for line in run.lines {
        match line {
            Line::Heard { at, subscriber, channel, publisher, number, .. } => {
                let (at, publisher, number) = (*at, *publisher, *number);
                let heard = Heard { at, channel, publisher, number, line };
                ears.entry(*subscriber).or_default().heard.push(heard);
            }
            Line::Lost { at, subscriber, cause, count, .. } => {
                ears.entry(*subscriber).or_default().lost.push((*at, *cause, *count));
            }
            Line::Subscribed { invoked, at, node, subscriber, channel } => {
                let ends = |what: &Happening| {
                    matches!(what, Happening::Killed | Happening::Left | Happening::Ended)
                };
                let ending = run
                    .processes
                    .iter()
                    .find(|(when, which, what)| when >= at && which == node && ends(what))
                    .map_or(Nanos::MAX, |(when, ..)| *when);
                let (asked, confirmed, ended) = (*invoked, *at, Nanos::MAX);
                let epoch = Epoch { asked, confirmed, ending, ended, line };
                let ear = ears.entry(*subscriber).or_default();
                ear.epochs.entry(channel).or_default().push(epoch);
            }
            Line::Unsubscribed { invoked, at, subscriber, channel, .. } => {
                let ear = ears.entry(*subscriber).or_default();
                let last =
                    ear.epochs.get_mut(channel.as_str()).and_then(|epochs| epochs.last_mut());
                if let Some(epoch) = last {
                    epoch.ending = epoch.ending.min(*invoked);
                    epoch.ended = *at;
                }
            }
            _ => {}
        }
    }
    ears
}

/// Checks the messages that came.
fn check_heard(
    run: &Run<'_>,
    subscriber: u32,
    ear: &Ear<'_>,
    published: &Published<'_>,
    verdict: &mut Verdict,
) {
    let mut last: BTreeMap<(u32, &str), &Heard<'_>> = BTreeMap::new();
    for heard in &ear.heard {
        let mut find = |text: &str, more: Option<Line>| {
            let lines = more.into_iter().chain([heard.line.clone()]).collect();
            verdict.find(NAME, format!("{}/{subscriber}", heard.channel), text, lines);
        };
        let place = if run.rules.order_across_channels { "" } else { heard.channel };
        if let Some(before) = last.insert((heard.publisher, place), heard) {
            if before.number == heard.number {
                find("repeated: the same message twice", Some(before.line.clone()));
            } else if before.number > heard.number {
                find("out of order: an older message after a newer one", Some(before.line.clone()));
            }
        }
        let is_inside = |epoch: &Epoch<'_>| epoch.asked <= heard.at && heard.at <= epoch.ended;
        let epochs = ear.epochs.get(heard.channel).map_or(&[][..], Vec::as_slice);
        if !epochs.iter().any(is_inside) {
            find("heard while not subscribed", epochs.last().map(|epoch| epoch.line.clone()));
        }
        let Some(message) = published.get(&(heard.publisher, heard.number)) else {
            find("invented: nobody has published it", None);
            continue;
        };
        let shown = Some(Line::Operation((*message).clone()));
        if message.key != heard.channel {
            find("crossed: it was published to another channel", shown);
        } else if message.is_failed() {
            find("heard although its publication surely failed", shown);
        } else if message.invoked > heard.at {
            find("heard before it was published", shown);
        }
    }
}

/// One publisher's messages to one channel, beside what a subscriber heard of them.
struct Gaps<'r, 'a> {
    run: &'r Run<'a>,
    ear: &'r Ear<'a>,
    epoch: &'r Epoch<'a>,
    channel: &'r str,
    messages: &'r [(u64, &'a Operation)],
    published: &'r Published<'a>,
}

impl Gaps<'_, '_> {
    fn check(&self, subscriber: u32, verdict: &mut Verdict) {
        let epoch = self.epoch;
        let from = epoch.confirmed;
        let due_by = epoch.ending.min(self.run.end);
        let heard: BTreeMap<u64, &Heard<'_>> = self
            .ear
            .heard
            .iter()
            .filter(|heard| heard.channel == self.channel)
            .filter(|heard| epoch.asked <= heard.at && heard.at <= epoch.ended)
            .filter(|heard| self.messages.first().is_some_and(|m| m.1.client == heard.publisher))
            .map(|heard| (heard.number, heard))
            .collect();
        let newest = heard.keys().next_back().copied();
        // While the network is bad, what nothing has overtaken may still be under way.
        let within = nanos(self.run.rules.deliver_within_ms);
        let is_calm = self.run.is_calm(due_by.saturating_sub(within), due_by);
        let mut missing: Vec<&Operation> = Vec::new();
        let mut before: Option<&Heard<'_>> = None;
        for (number, message) in self.messages {
            if let Some(next) = heard.get(number) {
                self.judge(subscriber, before, &mut missing, Some(next), verdict);
                before = Some(next);
                continue;
            }
            let is_overtaken = newest.is_some_and(|newest| newest > *number);
            let is_late = is_calm && message.returned.saturating_add(within) <= due_by;
            let is_due = message.invoked < due_by && (is_overtaken || is_late);
            if message.is_ok() && message.invoked > from && is_due {
                missing.push(message);
            }
        }
        self.judge(subscriber, before, &mut missing, None, verdict);
    }

    /// Looks whether the subscriber was told of what is missing between two messages.
    fn judge(
        &self,
        subscriber: u32,
        before: Option<&Heard<'_>>,
        missing: &mut Vec<&Operation>,
        next: Option<&Heard<'_>>,
        verdict: &mut Verdict,
    ) {
        let missing = std::mem::take(missing);
        let Some(first) = missing.first() else { return };
        let rules = self.run.rules;
        let confirmed = self.epoch.confirmed;
        if rules.untold_while_apart && !self.run.is_calm(confirmed, first.returned) {
            return;
        }
        // A loss may be told before messages that wait already: but they had been published by then.
        let from = before.map_or(self.epoch.asked, |heard| {
            let message = self.published.get(&(heard.publisher, heard.number));
            message.map_or(heard.at, |message| message.invoked)
        });
        let until = next.map_or(Nanos::MAX, |heard| heard.at);
        let covers = |cause: &LossCause| match cause {
            LossCause::Slow | LossCause::Links => true,
            LossCause::Link(node) => missing.iter().any(|message| message.node == *node),
            LossCause::Keyspace => false,
        };
        let told: Vec<Option<u64>> = self
            .ear
            .lost
            .iter()
            .filter(|(at, cause, _)| (from..=until).contains(at) && covers(cause))
            .map(|(.., count)| *count)
            .collect();
        let counted: Option<u64> = told.iter().copied().sum();
        if !told.is_empty() && counted.is_none_or(|counted| counted >= missing.len() as u64) {
            return;
        }
        let text = if told.is_empty() {
            format!("silent gap: {} messages are missing, and nothing was told", missing.len())
        } else {
            let told = counted.unwrap_or(0);
            format!("{} messages are missing, and only {told} were told", missing.len())
        };
        let subscription = [self.epoch.line.clone()].into_iter();
        let heard = [before, next].into_iter().flatten().map(|heard| heard.line.clone());
        let lines = missing.iter().map(|message| Line::Operation((*message).clone()));
        let lines = subscription.chain(heard).chain(lines).collect();
        verdict.find(NAME, format!("{}/{subscriber}", self.channel), text, lines);
    }
}
