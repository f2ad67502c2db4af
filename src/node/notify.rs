//! Keyspace notifications: gives the listeners of this node what was noted of the entries that it has applied.
//!
//! Owns the two channels of an event and the task that publishes on them. What is an event, and its name, stands in
//! `keyspace`. Invariant: nothing of it goes to other nodes, each of which tells its own listeners.
//! Source: <https://redis.io/docs/latest/develop/use/keyspace-notifications/>, Redis 7.2.

use bytes::Bytes;

use super::{Event, Node};
use crate::consensus::Told;
use crate::keyspace::{Flags, Notification};

/// How the channels of all notifications begin.
const PREFIXES: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

impl Node {
    /// Begins to give keyspace notifications: this node has caught up.
    pub(super) fn begin_notifying(&self) {
        let mut is_notifying = self.0.is_notifying.lock();
        *is_notifying = true;
        self.consensus().notifications().set_flags(self.notify_flags());
    }

    /// Gives one notification to those who listen for it here.
    pub(super) fn announce(&self, flags: Flags, notification: &Notification) {
        for (channel, payload) in messages(flags, notification) {
            self.0.pubsub.announce(&channel, payload);
        }
    }
}

/// Gives what is noted of the entries that are applied. Runs until consensus stops.
pub(super) async fn run(node: Node) {
    let told = node.consensus().notifications().clone();
    while let Some(told) = told.next().await {
        match told {
            Told::Noted { flags, notifications } => {
                for notification in &notifications {
                    node.announce(flags, notification);
                    tokio::task::coop::consume_budget().await;
                }
            }
            Told::Lost { count } => {
                node.0.pubsub.announce_lost(&PREFIXES, count);
                node.tell(Event::NotificationsLost { count });
            }
        }
    }
}

/// Gives the messages about a change: channel and payload, none when the flags leave it out.
fn messages(flags: Flags, notification: &Notification) -> impl Iterator<Item = (Bytes, Bytes)> {
    let Notification { database, key, what } = notification;
    let is_told = notification.is_in(flags);
    let on_key = (is_told && flags.by_key()).then(|| {
        let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
        (Bytes::from(channel), Bytes::from_static(what.name().as_bytes()))
    });
    let on_event = (is_told && flags.by_event())
        .then(|| (Bytes::from(format!("__keyevent@{database}__:{}", what.name())), key.clone()));
    on_key.into_iter().chain(on_event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::What;

    fn shown(flags: &str, what: What) -> Vec<String> {
        let notification = Notification { database: 3, key: "k".into(), what };
        let flags = flags.parse().unwrap();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        messages(flags, &notification).map(|(c, p)| format!("{} {}", text(c), text(p))).collect()
    }

    #[test]
    fn an_event_is_told_on_the_channels_that_the_flags_name() {
        let both = ["__keyspace@3__:k hdel", "__keyevent@3__:hdel k"];
        assert_eq!(shown("KEA", What::DeleteFields), both);
        assert_eq!(shown("Kh", What::DeleteFields), both[..1]);
        assert_eq!(shown("Eh", What::DeleteFields), both[1..]);
        assert!(shown("h", What::DeleteFields).is_empty(), "on no channel");
        assert!(shown("KEg$s", What::DeleteFields).is_empty(), "not of that kind");
        for (flags, what, told) in [
            ("Eg", What::Delete, "del"),
            ("E$", What::IncrementBy, "incrby"),
            ("El", What::PopRight, "rpop"),
            ("Es", What::RemoveMembers, "srem"),
            ("Eh", What::IncrementField, "hincrby"),
            ("Ex", What::Expired, "expired"),
            ("En", What::New, "new"),
            ("Em", What::Miss, "keymiss"),
        ] {
            assert_eq!(shown(flags, what), [format!("__keyevent@3__:{told} k")]);
        }
        assert!(shown("EA", What::New).is_empty() && shown("EA", What::Miss).is_empty());
        assert!(shown("", What::Delete).is_empty());
    }
}
