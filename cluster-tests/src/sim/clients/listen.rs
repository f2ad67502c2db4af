//! The subscriber of a simulated process, and what its node tells of itself.
//!
//! Owns one subscriber that comes and goes. Does not judge what it hears. Invariant: what it heard is in the history before it
//! listens again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate::Node;
use quorate::node::Event;
use quorate::pubsub::{Cause, Delivery, Kind, Subscriber};
use tokio::time::{Instant, timeout_at};

use super::super::setup::{Workload, odds};
use super::ground::Ground;
use crate::chance::Chance;
use crate::history::{Happening, Line, LossCause};

/// Listens until the process ends.
pub(super) async fn run(
    node: Node,
    ground: Ground,
    machine: u8,
    leaves: Arc<AtomicBool>,
    mut chance: Chance,
) {
    node.ready().await;
    while !leaves.load(Ordering::Relaxed) {
        let mut listener = Listener {
            subscriber: node.subscriber(),
            number: ground.client(),
            node: machine,
            ground: ground.clone(),
        };
        let channels = [0, 1].map(|_| ground.key(Workload::PubSub, &mut chance));
        let channels: std::collections::BTreeSet<_> = channels.into();
        for channel in &channels {
            if listener.subscribe(channel).await.is_none() {
                return;
            }
        }
        // Most stay for good.
        let stay = if odds(&mut chance, 50) { 3_600_000 } else { 500 + chance.below(6_000) as u64 };
        let until = Instant::now() + Duration::from_millis(stay);
        if listener.listen(until).await.is_none() {
            return;
        }
        for channel in &channels {
            listener.unsubscribe(channel);
        }
    }
}

struct Listener {
    subscriber: Subscriber,
    number: u32,
    node: u8,
    ground: Ground,
}

impl Listener {
    async fn subscribe(&mut self, channel: &str) -> Option<()> {
        let invoked = self.ground.moment();
        let subscription = self.subscriber.subscribe(Kind::Channel, channel.as_bytes()).ok()?;
        subscription.in_effect().await;
        self.ground.record(Line::Subscribed {
            invoked,
            at: self.ground.moment(),
            node: self.node,
            subscriber: self.number,
            channel: channel.to_owned(),
        });
        Some(())
    }

    /// Takes down what comes; none when nothing will come any more.
    async fn listen(&mut self, until: Instant) -> Option<()> {
        loop {
            match timeout_at(until, self.subscriber.receive()).await {
                Ok(Ok(delivery)) => self.take(delivery),
                Ok(Err(_)) => return None,
                Err(_) => return Some(()),
            }
        }
    }

    fn unsubscribe(&mut self, channel: &str) {
        let invoked = self.ground.moment();
        let _was_subscribed = self.subscriber.unsubscribe(Kind::Channel, channel.as_bytes());
        while let Ok(Some(delivery)) = self.subscriber.try_receive() {
            self.take(delivery);
        }
        self.ground.record(Line::Unsubscribed {
            invoked,
            at: self.ground.moment(),
            node: self.node,
            subscriber: self.number,
            channel: channel.to_owned(),
        });
    }

    fn take(&self, delivery: Delivery) {
        let (at, node, subscriber) = (self.ground.moment(), self.node, self.number);
        match delivery {
            Delivery::Message(message) => {
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                let channel = String::from_utf8_lossy(&message.channel).into_owned();
                let mut words = text.split(' ').map(|word| word.parse::<u64>().ok());
                let (publisher, number) = (words.next().flatten(), words.next().flatten());
                let publisher = publisher.and_then(|number| u32::try_from(number).ok());
                if let (Some(publisher), Some(number)) = (publisher, number) {
                    self.ground.record(Line::Heard {
                        at,
                        node,
                        subscriber,
                        channel,
                        publisher,
                        number,
                    });
                } else {
                    self.ground.find(format!("a message on {channel} that nobody sent: {text}"));
                }
            }
            Delivery::Lost(lost) => {
                let cause = match lost.cause {
                    Cause::Slow => LossCause::Slow,
                    Cause::Link { publisher } => {
                        self.ground.machine(publisher).map_or(LossCause::Links, LossCause::Link)
                    }
                    Cause::Links => LossCause::Links,
                    Cause::Keyspace => LossCause::Keyspace,
                };
                let count = lost.count;
                self.ground.record(Line::Lost { at, node, subscriber, cause, count });
            }
        }
    }
}

/// Takes down when the process is told that its session has ended, or is back.
pub(super) async fn tell_events(node: Node, ground: Ground, machine: u8) {
    let mut events = node.events();
    while let Some(event) = events.next().await {
        let what = match event {
            Event::SessionLost { .. } => Happening::SessionEnded,
            Event::SessionRenewed { .. } => Happening::SessionRenewed,
            Event::LeaderChanged { .. }
            | Event::Halted
            | Event::Resumed
            | Event::BoundTaken { .. }
            | Event::NotificationsLost { .. }
            | Event::Missed { .. } => continue,
        };
        ground.record(Line::Process { at: ground.moment(), node: machine, what });
    }
}
