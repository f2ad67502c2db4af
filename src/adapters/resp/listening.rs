//! What one connection listens to, and how: its subscriber, its counts and its choices.
//!
//! Owns what `QUORATE.SUBSCRIBER` sets and how deliveries are written. Does not deliver. Invariant: a message or a loss is
//! one whole push; on RESP2 a loss is only counted, because no client expects it there.

use super::backend::Backend;
use crate::pubsub::{
    Cause, Delivery, Error, Kind, Lost, Message, Policy, QueueLimits, QueueReport, Subscriber,
};
use crate::resp::{Encoder, Version};

/// What the connection listens to.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Opened with the first subscription.
    pub(super) subscriber: Option<Subscriber>,
    pub(super) channels: usize,
    pub(super) patterns: usize,
    pub(super) sharded: usize,
    pub(super) choices: Choices,
}

/// How the connection listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choices {
    /// With what it subscribes from now on.
    pub(super) policy: Policy,
    /// Whether losses are pushed to it, where it speaks RESP3.
    pub(super) has_losses: bool,
    /// Whether a message waits until this node has what its publisher had written.
    pub(super) is_causal: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self { policy: Policy::Disconnect, has_losses: true, is_causal: false }
    }
}

impl Listening {
    /// Opens the subscriber, unless it is open.
    pub(super) fn open(&mut self, backend: &dyn Backend, limits: QueueLimits) -> &Subscriber {
        let is_causal = self.choices.is_causal;
        self.subscriber.get_or_insert_with(|| {
            let subscriber = backend.subscriber(limits);
            subscriber.set_causal(is_causal);
            subscriber
        })
    }

    /// Changes how it listens. The policy is for what is subscribed to from now on.
    pub(super) fn choose(&mut self, choices: Choices) {
        self.choices = choices;
        if let Some(subscriber) = &self.subscriber {
            subscriber.set_causal(choices.is_causal);
        }
    }

    /// Tells whether it listens to anything.
    pub(super) const fn is_any(&self) -> bool {
        self.channels > 0 || self.patterns > 0 || self.sharded > 0
    }

    /// The number in the answer to a subscription of that kind: sharded channels are counted by themselves.
    pub(super) const fn shown(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.saturating_add(self.patterns),
            Kind::Sharded => self.sharded,
        }
    }

    /// The count of one kind.
    pub(super) const fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Sharded => &mut self.sharded,
        }
    }

    /// Tells how full its queue is, and what was lost there.
    pub(super) fn report(&self) -> QueueReport {
        self.subscriber.as_ref().map_or_else(QueueReport::default, |own| own.meter().read())
    }

    /// Waits for a message; for ever when nothing is listened to.
    pub(super) async fn receive(&self) -> Result<Delivery, Error> {
        match &self.subscriber {
            Some(subscriber) => subscriber.receive().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the subscriber is cut off because too much waits for it. What a node that stops has left to say may still
    /// be taken, so its end is not waited for here.
    pub(super) async fn cut(&self) -> Error {
        if let Some(subscriber) = &self.subscriber
            && let overflow @ Error::Overflow { .. } = subscriber.ended().await
        {
            return overflow;
        }
        std::future::pending().await
    }

    /// Writes a delivery as a push.
    pub(super) fn write(&self, delivery: &Delivery, to: &mut Encoder<'_>) {
        match delivery {
            Delivery::Message(message) => write_message(message, to),
            Delivery::Lost(lost) if self.choices.has_losses && to.version() == Version::Resp3 => {
                write_lost(lost, to);
            }
            Delivery::Lost(_) => {}
        }
    }
}

fn write_message(message: &Message, to: &mut Encoder<'_>) {
    let (name, count): (&[u8], usize) = match message.kind {
        Kind::Channel => (b"message", 3),
        Kind::Pattern => (b"pmessage", 4),
        Kind::Sharded => (b"smessage", 3),
    };
    to.push(count);
    to.bulk(name);
    if message.kind == Kind::Pattern {
        to.bulk(message.pattern.as_deref().unwrap_or_default());
    }
    to.bulk(&message.channel);
    to.bulk(&message.payload);
}

/// ```text
/// > quorate.lost  slow | link | keyspace  count or nil  id of the publisher's node or nil
/// ```
fn write_lost(lost: &Lost, to: &mut Encoder<'_>) {
    let (cause, publisher): (&[u8], _) = match lost.cause {
        Cause::Slow => (b"slow", None),
        Cause::Link { publisher } => (b"link", Some(publisher.to_string())),
        Cause::Links => (b"link", None),
        Cause::Keyspace => (b"keyspace", None),
    };
    to.push(4);
    to.bulk(b"quorate.lost");
    to.bulk(cause);
    match lost.count {
        Some(count) => to.integer(i64::try_from(count).unwrap_or(i64::MAX)),
        None => to.nil(),
    }
    match publisher {
        Some(publisher) => to.bulk(publisher.as_bytes()),
        None => to.nil(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::ids::NodeId;

    #[test]
    fn losses_are_pushes_of_four_on_resp3_only() {
        let publisher = NodeId::from_random(0xa1);
        let listening = Listening::default();
        for (cause, count, expected) in [
            (Cause::Slow, Some(3), "$4|slow|:3|_|"),
            (Cause::Link { publisher }, Some(7), "$4|link|:7|$13|00000000000a1|"),
            (Cause::Link { publisher }, None, "$4|link|_|$13|00000000000a1|"),
            (Cause::Links, None, "$4|link|_|_|"),
            (Cause::Keyspace, Some(2), "$8|keyspace|:2|_|"),
        ] {
            let delivery = Delivery::Lost(Lost { cause, count });
            let expected = format!(">4|$12|quorate.lost|{expected}").replace('|', "\r\n");
            for (version, expected) in [(Version::Resp3, &expected[..]), (Version::Resp2, "")] {
                let mut out = BytesMut::new();
                listening.write(&delivery, &mut Encoder::new(&mut out, version));
                assert_eq!(out, expected);
            }
        }
    }
}
