//! What a node gives to its own listeners alone: messages, and the news that some are missing.
//!
//! Owns which subscribers may have been meant. Does not know what is announced. Invariant: nothing of it goes to other nodes.

use bytes::Bytes;

use super::deliver::Post;
use super::{Cause, Kind, PubSub};

impl PubSub {
    /// Gives a message to the listeners of this node alone; gives how many subscriptions it reached.
    pub fn announce(&self, channel: &[u8], payload: Bytes) -> u64 {
        let post = Post { channel, payload: &payload, position: 0, frame: None };
        self.hub().state().deliver(Kind::Channel, post)
    }

    /// Lets each subscriber of this node know, as [`Cause::Keyspace`], that messages were not announced to channels that begin
    /// with one of `prefixes`, if it listens to a channel or by a pattern that may be meant: how many, or none when nobody
    /// knows. Cost: O(subscriptions of this node).
    pub fn announce_lost(&self, prefixes: &[&[u8]], count: Option<u64>) {
        let state = self.hub().state();
        let meant = state.table.who(|kind, name| prefixes.iter().any(|p| may_be(kind, name, p)));
        meant.for_each(|listener| listener.queue.lost(Cause::Keyspace, count));
    }
}

/// Tells whether a subscription may be to a channel that begins with `prefix`: by a pattern, as far as it has no signs.
fn may_be(kind: Kind, name: &[u8], prefix: &[u8]) -> bool {
    let is_sign = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    match (kind, name.iter().position(is_sign)) {
        (Kind::Sharded, _) => false,
        (Kind::Pattern, Some(signs)) => {
            let common = signs.min(prefix.len());
            name.get(..common) == prefix.get(..common)
        }
        (Kind::Pattern, None) | (Kind::Channel, _) => name.starts_with(prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::{Config, Delivery, Lost};

    #[test]
    fn only_who_may_be_meant_is_told_what_is_missing() {
        let pubsub = PubSub::local(Config::default());
        let prefixes: [&[u8]; 2] = [b"__a@", b"__b@"];
        for (kind, name, is_told) in [
            (Kind::Channel, "__a@x", true),
            (Kind::Channel, "__a@", true),
            (Kind::Channel, "__a", false),
            (Kind::Channel, "__*", false),
            (Kind::Sharded, "__a@x", false),
            (Kind::Pattern, "__a@x", true),
            (Kind::Pattern, "__a", false),
            (Kind::Pattern, "__c@*", false),
            (Kind::Pattern, "__b@[xy]*", true),
            (Kind::Pattern, "*", true),
            (Kind::Pattern, "__?@x", true),
            (Kind::Pattern, r"\__a@x", true),
            (Kind::Pattern, "_b*", false),
        ] {
            let subscriber = pubsub.subscriber();
            let _in_effect = subscriber.subscribe(kind, name.as_bytes()).unwrap();
            pubsub.announce_lost(&prefixes, Some(2));
            pubsub.announce_lost(&prefixes, Some(3));
            pubsub.announce_lost(&prefixes, None);
            let mut told = Vec::new();
            while let Some(delivery) = subscriber.try_receive().unwrap() {
                told.push(delivery);
            }
            let lost = |count| Delivery::Lost(Lost { cause: Cause::Keyspace, count });
            let expected = if is_told { vec![lost(Some(5)), lost(None)] } else { Vec::new() };
            assert_eq!(told, expected, "{kind:?} {name}");
        }
    }
}
