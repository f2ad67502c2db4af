//! What of a presence is Colyseus' own: which keys go with a process, and remote calls that fail at once when nobody can
//! answer them any more.
//!
//! Colyseus publishes `[method, requestId, arguments]` to `p:<process>` or `$<room>`, listens to `ipc:<requestId>` for
//! `[0, result]` or `[1, error]`, and gives up after two seconds. Owns the calls of this process that are under way, and the
//! error in place of those two seconds. Does not own the calls themselves. Invariant: an error is given only when every peer that
//! there is has said that nobody listens to the target: never for a process that is slow or stalls.
//! Source: `@colyseus/core` 0.16 to 0.18, `IPC.ts`.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use tokio::time::{Instant, MissedTickBehavior};

use crate::node::bind::{Bind, BindTo};
use crate::pubsub::{Error, Kind, PubSub, Reach};

/// What a caller is told: the error that Colyseus itself makes of a call that was not answered, so that all goes on from there.
const NOBODY: &[u8] = br#"[1,"ipc_timeout"]"#;

/// How often it is asked whether somebody still listens to the targets of calls that are not answered yet.
const AGAIN: Duration = Duration::from_millis(100);

/// How many calls are remembered; of more, the oldest are left to the caller's own time-out.
const OPEN_MAX: usize = 4096;

/// How many targets are asked about at once.
const ASKED_MAX: usize = 512;

/// For how long a call is remembered. Colyseus gives up after two seconds, unless it is told to wait longer.
const OPEN_FOR: Duration = Duration::from_secs(60);

/// In which keys a process of Colyseus writes what is true only while it lives.
const LIVING: [&str; 4] = ["roomcaches", "roomcount", "colyseus:nodes", "colyseus:user-rooms:*"];

/// Gives the keys whose writes are to go with a process of Colyseus, for [`Config::bind`](super::Config::bind): the listings of its
/// rooms, its load, its address (0.16), and the rooms of its clients (0.18).
#[must_use]
pub fn bind() -> Vec<Bind> {
    LIVING.map(|key| Bind { key: key.to_owned(), to: BindTo::Node }).into()
}

/// The calls of one process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Calls {
    pubsub: PubSub,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    open: VecDeque<Call>,
    is_watching: bool,
}

/// A call that somebody may answer still.
#[derive(Debug)]
struct Call {
    target: Bytes,
    reply: Bytes,
    since: Instant,
}

impl fmt::Debug for Calls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Calls").field("open", &self.state.lock().open.len()).finish()
    }
}

impl Calls {
    /// Makes the calls of a process over its pub/sub.
    #[must_use]
    pub fn new(pubsub: PubSub) -> Self {
        Self { pubsub, state: Arc::default() }
    }

    /// Publishes. If it is a call, whoever waits for the reply on this node is told as soon as nobody can give one.
    ///
    /// Cost: for a call, a count of its listeners, which comes with the answers of the peers; for anything else, none. A call
    /// that is not answered in time costs a question to each peer ten times a second, all calls together.
    ///
    /// # Errors
    /// As [`PubSub::publish`].
    ///
    /// # Panics
    /// Outside a tokio runtime, when it is a call.
    pub fn publish(&self, topic: &[u8], payload: Bytes) -> Result<(), Error> {
        let reply = reply_topic(topic, &payload)
            .filter(|reply| self.pubsub.is_heard_here(Kind::Channel, reply));
        let Some(reply) = reply else {
            return self.pubsub.publish(Kind::Channel, topic, payload, false).map(drop);
        };
        let target = Bytes::copy_from_slice(topic);
        let reach = self.pubsub.publish_reaching(Kind::Channel, topic, payload)?;
        let (calls, since) = (self.clone(), Instant::now());
        tokio::spawn(async move {
            let reach: Reach = reach.await;
            if reach.is_nobody() {
                calls.fail(&reply);
            } else {
                calls.remember(Call { target, reply, since });
            }
        });
        Ok(())
    }

    /// Gives the error to whoever waits for a reply on this node.
    fn fail(&self, reply: &[u8]) {
        self.pubsub.announce(reply, Bytes::from_static(NOBODY));
    }

    fn remember(&self, call: Call) {
        let mut state = self.state.lock();
        if state.open.len() >= OPEN_MAX {
            state.open.pop_front();
        }
        state.open.push_back(call);
        if !std::mem::replace(&mut state.is_watching, true) {
            tokio::spawn(self.clone().watch());
        }
    }

    /// Asks again about the targets of calls that are not answered, until there are none.
    async fn watch(self) {
        let mut ticks = tokio::time::interval_at(Instant::now() + AGAIN, AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(targets) = self.targets() else {
                return;
            };
            let reaches = self.pubsub.listeners(Kind::Channel, targets.clone()).await;
            let asked = targets.into_iter().zip(reaches);
            let lost: BTreeSet<Bytes> =
                asked.filter(|(_, reach)| reach.is_nobody()).map(|(target, _)| target).collect();
            for reply in self.take(&lost) {
                self.fail(&reply);
            }
        }
    }

    /// Forgets the calls that nobody waits for any more, and gives the targets of the others; none when there are none.
    fn targets(&self) -> Option<Vec<Bytes>> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let is_open = |call: &Call| {
            now.saturating_duration_since(call.since) < OPEN_FOR
                && self.pubsub.is_heard_here(Kind::Channel, &call.reply)
        };
        state.open.retain(is_open);
        if state.open.is_empty() {
            state.is_watching = false;
            return None;
        }
        let targets: BTreeSet<&Bytes> = state.open.iter().map(|call| &call.target).collect();
        Some(targets.into_iter().take(ASKED_MAX).cloned().collect())
    }

    /// Takes the calls to these targets out; gives where their replies would come.
    fn take(&self, targets: &BTreeSet<Bytes>) -> Vec<Bytes> {
        if targets.is_empty() {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let open = std::mem::take(&mut state.open).into_iter();
        let (lost, left): (VecDeque<Call>, VecDeque<Call>) =
            open.partition(|call| targets.contains(&call.target));
        state.open = left;
        lost.into_iter().map(|call| call.reply).collect()
    }
}

/// Where the reply to a call comes; none for what is no call.
fn reply_topic(topic: &[u8], payload: &[u8]) -> Option<Bytes> {
    if !(topic.starts_with(b"p:") || topic.starts_with(b"$")) || payload.first() != Some(&b'[') {
        return None;
    }
    let Request { id } = serde_json::from_slice(payload).ok()?;
    Some(Bytes::from(format!("ipc:{id}")))
}

/// `[method, requestId, arguments]`; the method is a text, or null to create a room.
struct Request {
    id: String,
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_seq(RequestVisitor)
    }
}

struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = Request;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a method, a request id and arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Request, A::Error> {
        let missing = |count| serde::de::Error::invalid_length(count, &self);
        let _method: Option<String> = items.next_element()?.ok_or_else(|| missing(0))?;
        let id = items.next_element()?.ok_or_else(|| missing(1))?;
        let _arguments: IgnoredAny = items.next_element()?.ok_or_else(|| missing(2))?;
        Ok(Request { id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::{Config, Subscriber};

    fn call(topic: &str, payload: &str) -> Option<String> {
        let reply = reply_topic(topic.as_bytes(), payload.as_bytes())?;
        Some(String::from_utf8(reply.to_vec()).unwrap())
    }

    #[test]
    fn a_call_is_told_from_other_messages() {
        let id = Some("ipc:aB3".to_owned());
        assert_eq!(call("p:x", r#"["healthcheck","aB3",null]"#), id);
        assert_eq!(call("p:x", r#"[null,"aB3",["game",{"a":[1]},null]]"#), id);
        assert_eq!(call("$room", r#" ["_reserveSeat","aB3",[]]"#), None, "never written so");
        assert_eq!(call("$room", r#"["_reserveSeat","aB3",[]]"#), id);
        for (topic, payload) in [
            ("$lobby", r#""room,0""#),
            ("ipc:aB3", r#"["a","aB3",null]"#),
            ("$room", r#"["a","aB3"]"#),
            ("$room", r#"["a","aB3",1,2]"#),
            ("$room", r#"["a",5,null]"#),
            ("$room", r#"[5,"aB3",null]"#),
            ("$room", r#"["a","aB3",null"#),
            ("$room", ""),
        ] {
            assert_eq!(call(topic, payload), None, "{topic} {payload}");
        }
    }

    fn listens(pubsub: &PubSub, channel: &str) -> Subscriber {
        let subscriber = pubsub.subscriber();
        assert!(subscriber.subscribe(Kind::Channel, channel.as_bytes()).unwrap().is_new());
        subscriber
    }

    async fn next(subscriber: &Subscriber) -> Bytes {
        let delivery = tokio::time::timeout(Duration::from_secs(5), subscriber.receive()).await;
        delivery.expect("in time").unwrap().message().unwrap().payload
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_takes_fails_at_once() {
        let pubsub = PubSub::local(Config::default());
        let calls = Calls::new(pubsub.clone());
        let caller = listens(&pubsub, "ipc:1");
        let begun = Instant::now();
        calls.publish(b"$gone", Bytes::from_static(br#"["m","1",[]]"#)).unwrap();
        assert_eq!(next(&caller).await, NOBODY);
        assert!(begun.elapsed() < Duration::from_millis(10));
        assert_eq!(calls.state.lock().open.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_somebody_took_fails_once_nobody_listens_any_more() {
        let pubsub = PubSub::local(Config::default());
        let calls = Calls::new(pubsub.clone());
        let (room, caller, other) =
            (listens(&pubsub, "$room"), listens(&pubsub, "ipc:1"), listens(&pubsub, "ipc:2"));
        for id in ["1", "2"] {
            let payload = format!(r#"["m","{id}",[]]"#);
            calls.publish(b"$room", Bytes::from(payload)).unwrap();
        }
        next(&room).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(caller.try_receive(), Ok(None), "slow is not gone");
        assert_eq!(calls.state.lock().open.len(), 2);
        // The one was answered, and does not wait any more.
        drop(other);
        drop(room);
        assert_eq!(next(&caller).await, NOBODY);
        drop(caller);
        tokio::time::sleep(AGAIN * 2).await;
        let state = calls.state.lock();
        assert!(state.open.is_empty() && !state.is_watching, "{state:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_calls_are_remembered() {
        let pubsub = PubSub::local(Config::default());
        let calls = Calls::new(pubsub.clone());
        let (_room, _caller) = (listens(&pubsub, "$room"), listens(&pubsub, "ipc:1"));
        for _ in 0..OPEN_MAX + 10 {
            calls.publish(b"$room", Bytes::from_static(br#"["m","1",[]]"#)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(calls.state.lock().open.len(), OPEN_MAX);
    }
}
