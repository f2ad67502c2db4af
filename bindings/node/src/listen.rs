//! Messages: what a lane publishes and subscribes to, and what comes in, on its way to the port.
//!
//! Owns the tasks that listen. Invariants: messages of one lane reach JavaScript in the order in which they came, over all its
//! channels; a JavaScript that is busy makes them wait in the node's bounded queue, where the oldest give way and are counted.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use quorate::Node;
use quorate::node::Event;
use quorate::presence::{ClusterPresence, Presence as _};
use quorate::pubsub::{Cause, Delivery, Error, Kind, Policy, Request, Responder, Subscriber};
use tokio::task::unconstrained;

use crate::call;
use crate::port::{Item, Kind as ItemKind, Port};
use crate::value::{Failure, Value};

/// How many bytes of messages are taken from a queue at once.
const TAKEN_MAX: u64 = 1024 * 1024;

type Doing = BoxFuture<'static, Value>;

/// Publishes. The message is on its way when this returns: the node of a lane that does anything is ready. What is not counted
/// goes the way of a presence, which answers a remote call of Colyseus at once when nobody else can.
pub(crate) fn publish(
    node: &Node,
    presence: &ClusterPresence,
    channel: &[u8],
    payload: Bytes,
    is_counted: bool,
) -> Result<Value, Doing> {
    if let (Ok(topic), false) = (str::from_utf8(channel), is_counted) {
        let (presence, topic) = (presence.clone(), topic.to_owned());
        // Without the budget of a task, which would put off some messages behind those that follow.
        let mut doing = unconstrained(async move {
            match presence.publish(&topic, payload).await {
                Ok(()) => Value::Null,
                Err(error) => call::presence_failed(&error),
            }
        })
        .boxed();
        return (&mut doing).now_or_never().ok_or(doing);
    }
    match node.publish(Kind::Channel, channel, payload) {
        Ok(count) if is_counted => {
            let number = |count| Value::Number(i64::try_from(count).unwrap_or(i64::MAX));
            Err(count.map(number).boxed())
        }
        Ok(_) => Ok(Value::Null),
        Err(error) => Ok(failed(&error)),
    }
}

/// Subscribes. In effect on this node when this returns, and on all nodes when what it gives is awaited.
pub(crate) fn subscribe(subscriber: &Subscriber, kind: Kind, name: &[u8]) -> Result<Value, Doing> {
    match subscriber.subscribe_with(kind, name, Policy::DropOldest) {
        Ok(subscription) => Err(subscription.in_effect().map(Value::Boolean).boxed()),
        Err(error) => Ok(failed(&error)),
    }
}

/// Why something was not published or subscribed to, as JavaScript is told.
pub(crate) fn failed(error: &Error) -> Value {
    let code = match error {
        Error::Closed => "STOPPED",
        Error::MessageTooLarge { .. }
        | Error::DatagramTooLarge { .. }
        | Error::NameTooLong { .. } => "TOOLARGE",
        Error::SubscriberFull { .. } | Error::TableFull { .. } => "FULL",
        Error::Overflow { .. } | Error::NotAttached { .. } => "ERR",
    };
    Value::Error(Failure::new(code, error.to_string()))
}

/// Where the messages to a lane go, and whether as buffers or as strings.
pub(crate) struct Ear {
    pub(crate) lane: u32,
    pub(crate) as_buffers: bool,
    pub(crate) port: Arc<Port>,
}

/// Gives JavaScript what comes to the subscriber of a lane, until the node has stopped.
pub(crate) async fn deliver(ear: Ear, subscriber: Arc<Subscriber>) {
    let Ear { lane, as_buffers, port } = ear;
    let mut taken = Vec::new();
    while let Ok(first) = subscriber.receive().await {
        taken.push(first);
        // An end comes out of the next receive.
        let _more = subscriber.try_receive_many(&mut taken, TAKEN_MAX);
        port.put(taken.drain(..).map(|delivery| item(lane, as_buffers, delivery)));
        port.room().await;
    }
}

fn item(lane: u32, as_buffers: bool, delivery: Delivery) -> Item {
    match delivery {
        Delivery::Message(message) => {
            let pattern = message.pattern.map_or(Value::Null, Value::Text);
            let payload = Value::bulk(message.payload, as_buffers);
            let value = Value::Array(vec![Value::Text(message.channel), payload, pattern]);
            Item { kind: ItemKind::Message, to: lane, value }
        }
        Delivery::Lost(lost) => {
            let count = lost.count.map_or(Value::Null, count);
            let cause = match lost.cause {
                Cause::Slow => "slow",
                Cause::Link { .. } | Cause::Links => "link",
                Cause::Keyspace => "keyspace",
            };
            let value = Value::Array(vec![Value::text(cause), count]);
            Item { kind: ItemKind::Lost, to: lane, value }
        }
    }
}

fn count(count: u64) -> Value {
    Value::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Tells JavaScript what happens to its node.
pub(crate) async fn tell(node: Node, port: Arc<Port>) {
    let mut events = node.events();
    let mut failed = pin!(node.stopped());
    let put = |value| port.put([Item { kind: ItemKind::Event, to: 0, value }]);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => put(event_value(&event)),
                None => return,
            },
            why = &mut failed => {
                put(stopped(why, true));
                return;
            }
        }
        port.room().await;
    }
}

/// The event that a node cannot go on, or could not start.
pub(crate) fn stopped(why: String, was_started: bool) -> Value {
    Value::Array(vec![Value::text("stopped"), Value::text(why), Value::Boolean(was_started)])
}

fn event_value(event: &Event) -> Value {
    let text = |text: &dyn std::fmt::Display| Value::text(text.to_string());
    let (name, details) = match event {
        Event::SessionLost { session } => ("sessionLost", vec![text(session)]),
        Event::SessionRenewed { old, new, restored, lost } => (
            "sessionRenewed",
            vec![text(old), text(new), Value::number(*restored), Value::number(lost.len())],
        ),
        Event::LeaderChanged { leader } => {
            let leader = leader.as_ref().map_or(Value::Null, |leader| text(leader));
            ("leaderChanged", vec![leader])
        }
        Event::Halted => ("halted", Vec::new()),
        Event::Resumed => ("resumed", Vec::new()),
        Event::BoundTaken { session, node, count } => {
            ("boundTaken", vec![text(session), text(node), Value::number(*count)])
        }
        Event::NotificationsLost { count: lost } => {
            ("notificationsLost", vec![lost.map_or(Value::Null, count)])
        }
        Event::Missed { count: missed } => ("missed", vec![count(*missed)]),
    };
    let mut all = vec![Value::text(name)];
    all.extend(details);
    Value::Array(all)
}

/// The requests that JavaScript has been given and has not answered.
#[derive(Default)]
pub(crate) struct Asked {
    /// The next number, and those that wait.
    open: Mutex<(u32, BTreeMap<u32, Request>)>,
}

impl Asked {
    fn enter(&self, request: Request) -> u32 {
        let mut open = self.open.lock();
        let number = open.0;
        open.0 = open.0.wrapping_add(1);
        open.1.insert(number, request);
        number
    }

    /// Takes one out to be replied to; dropped, it is declined.
    pub(crate) fn take(&self, number: u32) -> Option<Request> {
        self.open.lock().1.remove(&number)
    }
}

/// Gives JavaScript the requests to a channel, until the node has stopped.
pub(crate) async fn respond(number: u32, responder: Responder, asked: Arc<Asked>, port: Arc<Port>) {
    while let Some(request) = responder.next().await {
        let payload = Value::Bytes(request.payload().clone());
        let asked = Value::Number(i64::from(asked.enter(request)));
        let value = Value::Array(vec![asked, payload]);
        port.put([Item { kind: ItemKind::Request, to: number, value }]);
        port.room().await;
    }
}
