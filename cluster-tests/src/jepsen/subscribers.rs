//! One subscriber at each node, which listens to the channels in use and takes down what it hears.
//!
//! Owns: the subscriptions, and the lines of what was heard and lost. Does not own: what is published (the team does), the verdict.
//! Invariant: a subscriber's number stands for one connection; whatever comes later is told by another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::book::Book;
use super::wire::{Told, Wire, words};
use crate::client::Arrival;
use crate::door::Door;
use crate::history::{Line, LossCause, Nanos};
use crate::reply::Reply;

/// How often a subscriber looks whether other channels are in use.
const GLANCE: Duration = Duration::from_millis(100);
/// How long it waits before it connects again.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts the one at the node in `slot`.
pub(super) fn start(
    slot: usize,
    book: &Arc<Book>,
    doors: watch::Receiver<Vec<Door>>,
    wanted: Vec<watch::Receiver<Vec<String>>>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (book, stop) = (Arc::clone(book), Arc::clone(stop));
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            let door = doors.borrow().iter().find(|door| door.slot == slot).cloned();
            let opened = match &door {
                Some(door) => Wire::open(door).await.ok(),
                None => None,
            };
            if let Some(wire) = opened {
                let node = u8::try_from(slot).unwrap_or(u8::MAX);
                let subscriber = book.client();
                let channels = BTreeMap::new();
                let own =
                    Subscriber { node, subscriber, book: &book, wire, channels, last: book.now() };
                own.listen(&wanted, &stop).await;
            }
            sleep(PAUSE).await;
        }
    })
}

/// What a channel is to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked(Nanos),
    Listens,
    GivenUp(Nanos),
}

struct Subscriber<'a> {
    node: u8,
    subscriber: u32,
    book: &'a Book,
    wire: Wire,
    channels: BTreeMap<String, State>,
    /// When the connection was last seen.
    last: Nanos,
}

impl Subscriber<'_> {
    async fn listen(mut self, wanted: &[watch::Receiver<Vec<String>>], stop: &AtomicBool) {
        let policy = words(&["QUORATE.SUBSCRIBER", "POLICY", "oldest"]);
        if !matches!(self.wire.ask(policy, Duration::from_secs(2)).await, Told::Reply(_)) {
            return;
        }
        let mut is_open = true;
        while is_open && !stop.load(Ordering::Relaxed) {
            let channels: Vec<String> =
                wanted.iter().flat_map(|keys| keys.borrow().clone()).collect();
            is_open = self.reconcile(&channels).await;
            // All that is there is taken before the next look.
            let mut patience = GLANCE;
            while is_open {
                match self.wire.next(patience).await {
                    Ok(Arrival::Reply(reply)) => self.take(&reply),
                    Ok(Arrival::Nothing) => break,
                    Ok(Arrival::Closed) | Err(_) => is_open = false,
                }
                patience = Duration::from_millis(1);
            }
        }
        let (invoked, at) = (self.last, self.book.now());
        let channels = std::mem::take(&mut self.channels);
        for (channel, state) in channels {
            if !matches!(state, State::Asked(_)) {
                self.unsubscribed(&channel, invoked, at);
            }
        }
    }

    async fn reconcile(&mut self, wanted: &[String]) -> bool {
        let now = self.book.now();
        let mut requests = Vec::new();
        for channel in wanted {
            if !self.channels.contains_key(channel) {
                self.channels.insert(channel.clone(), State::Asked(now));
                requests.push(("SUBSCRIBE", channel.clone()));
            }
        }
        for (channel, state) in &mut self.channels {
            if *state == State::Listens && !wanted.contains(channel) {
                *state = State::GivenUp(now);
                requests.push(("UNSUBSCRIBE", channel.clone()));
            }
        }
        for (word, channel) in requests {
            if self.wire.send(&[word.as_bytes(), channel.as_bytes()]).await.is_err() {
                return false;
            }
        }
        true
    }

    fn take(&mut self, reply: &Reply) {
        let at = self.book.now();
        self.last = at;
        let Reply::Push(items) = reply else {
            return self.book.trouble(format!("a subscriber at n{} got {reply}", self.node));
        };
        let text = |index: usize| {
            let bytes = items.get(index).and_then(Reply::bytes).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let (node, subscriber) = (self.node, self.subscriber);
        match text(0).as_str() {
            "message" => {
                let (channel, payload) = (text(1), text(2));
                let pair = payload.split_once(':');
                let pair = pair.and_then(|(one, two)| Some((one.parse().ok()?, two.parse().ok()?)));
                let Some((publisher, number)) = pair else {
                    return self.book.trouble(format!("n{node} delivers {payload} on {channel}"));
                };
                let key = channel.clone();
                let heard = Line::Heard { at, node, subscriber, channel, publisher, number };
                self.book.on_key(&key, heard);
            }
            "subscribe" => {
                let channel = text(1);
                if let Some(state) = self.channels.get_mut(&channel)
                    && let State::Asked(invoked) = *state
                {
                    *state = State::Listens;
                    let key = channel.clone();
                    let line = Line::Subscribed { invoked, at, node, subscriber, channel };
                    self.book.on_key(&key, line);
                }
            }
            "unsubscribe" => {
                let channel = text(1);
                if let Some(State::GivenUp(invoked)) = self.channels.remove(&channel) {
                    self.unsubscribed(&channel, invoked, at);
                }
            }
            "quorate.lost" => self.lost(at, &text(1), &text(3), items.get(2)),
            _ => self.book.trouble(format!("a subscriber at n{node} got {reply}")),
        }
    }

    fn lost(&self, at: Nanos, cause: &str, publisher: &str, count: Option<&Reply>) {
        let cause = match (cause, self.book.slot_of(publisher)) {
            ("slow", _) => LossCause::Slow,
            ("keyspace", _) => LossCause::Keyspace,
            (_, Some(slot)) => LossCause::Link(slot),
            (_, None) => LossCause::Links,
        };
        let count = count.and_then(Reply::integer).and_then(|count| u64::try_from(count).ok());
        let (node, subscriber) = (self.node, self.subscriber);
        self.book.aside(Line::Lost { at, node, subscriber, cause, count });
    }

    fn unsubscribed(&self, channel: &str, invoked: Nanos, at: Nanos) {
        let (node, subscriber) = (self.node, self.subscriber);
        let line =
            Line::Unsubscribed { invoked, at, node, subscriber, channel: channel.to_owned() };
        self.book.on_key(channel, line);
    }
}
