//! The door from outside: real sockets, against a node that is one keyspace and one pub/sub in memory.
//!
//! Owns the client and the node of these tests. Invariant: nothing waits by the clock; every wait has a deadline.

mod binding;
mod blocking;
mod commands;
mod handshakes;
mod limits;
mod slow;
mod subscriptions;
mod transactions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::backend::{Backend, Facts};
use super::{Config, Server};
use crate::command::entry::Binding;
use crate::command::{Error as CommandError, Operation, Reply, Request};
use crate::consensus::{Client as NodeClient, Clients};
use crate::keyspace::Flags;
use crate::keyspace::{Keyspace, Limits};
use crate::node::bind::{Bind, BindTo, Patterns};
use crate::node::{self, Interrupt};
use crate::pubsub::{
    self, Draft, Kind, PubSub, QueueLimits, RequestError, Subscriber, SubscribersReport,
};
use crate::resp::{Value, decode_value};
use crate::time::Timestamp;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that is alone.
struct FakeNode {
    keyspace: Mutex<Keyspace>,
    changed: Notify,
    pubsub: PubSub,
    /// How many requests each call of `execute` had.
    batches: Mutex<Vec<usize>>,
    waits: AtomicUsize,
    refusal: Mutex<Option<node::Error>>,
    clients: Clients,
    patterns: Patterns,
    flags: Mutex<Flags>,
    /// With what the operations were bound, in their order.
    bindings: Mutex<Vec<Binding>>,
}

impl FakeNode {
    fn new(patterns: Patterns) -> Arc<Self> {
        Arc::new(Self {
            patterns,
            clients: Clients::default(),
            flags: Mutex::default(),
            bindings: Mutex::default(),
            keyspace: Mutex::new(Keyspace::new(Limits::default())),
            changed: Notify::new(),
            pubsub: PubSub::local(pubsub::Config::default()),
            batches: Mutex::default(),
            waits: AtomicUsize::new(0),
            refusal: Mutex::new(None),
        })
    }

    fn apply(&self, request: &Request) -> Reply {
        self.keyspace.lock().apply_request(Timestamp::from_millis(1), request)
    }
}

#[async_trait]
impl Backend for FakeNode {
    async fn ready(&self) {}

    fn key_max(&self) -> usize {
        64 * 1024
    }

    fn patterns(&self) -> Patterns {
        self.patterns.clone()
    }

    fn client(&self) -> NodeClient {
        self.clients.enter()
    }

    fn notify_flags(&self) -> Flags {
        *self.flags.lock()
    }

    fn set_notify_flags(&self, flags: Flags) {
        *self.flags.lock() = flags;
    }

    async fn execute(&self, requests: Vec<Request>) -> Vec<Result<Reply, node::Error>> {
        let bindings = requests.iter().flat_map(|request| match request {
            Request::One(operation) => vec![operation.binding],
            Request::Transaction { operations, .. } => {
                operations.iter().map(|operation| operation.binding).collect()
            }
        });
        self.bindings.lock().extend(bindings);
        self.batches.lock().push(requests.len());
        if let Some(error) = self.refusal.lock().clone() {
            return vec![Err(error); requests.len()];
        }
        let replies = requests.iter().map(|request| Ok(self.apply(request))).collect();
        self.changed.notify_waiters();
        replies
    }

    async fn wait(
        &self,
        operation: Operation,
        mut interrupt: BoxFuture<'static, Interrupt>,
    ) -> Result<Reply, node::Error> {
        struct Count<'a>(&'a AtomicUsize);
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.waits.fetch_add(1, Ordering::SeqCst);
        let _count = Count(&self.waits);
        let request = Request::One(operation);
        loop {
            let changed = self.changed.notified();
            let reply = self.apply(&request);
            if !matches!(reply, Reply::Nil | Reply::NilArray) {
                self.changed.notify_waiters();
                return Ok(reply);
            }
            tokio::select! {
                () = changed => {}
                how = &mut interrupt => return Ok(match how {
                    Interrupt::Timeout => Reply::NilArray,
                    Interrupt::Error => {
                        CommandError::text("UNBLOCKED client unblocked via CLIENT UNBLOCK").into()
                    }
                }),
            }
        }
    }

    async fn revision(&self) -> Result<u64, node::Error> {
        Ok(self.keyspace.lock().revision())
    }

    fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: Bytes,
    ) -> Result<BoxFuture<'static, u64>, pubsub::Error> {
        Ok(Box::pin(self.pubsub.publish(kind, channel, payload, true)?))
    }

    fn publish_all(&self, drafts: &[Draft]) -> Vec<Result<BoxFuture<'static, u64>, pubsub::Error>> {
        let counts = self.pubsub.publish_all(drafts, true);
        counts.into_iter().map(|count| Ok(Box::pin(count?) as BoxFuture<'static, u64>)).collect()
    }

    async fn request(
        &self,
        channel: Bytes,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RequestError> {
        self.pubsub.request(&channel, payload, timeout).await
    }

    fn subscriber(&self, limits: QueueLimits) -> Subscriber {
        self.pubsub.subscriber_with(limits)
    }

    fn subscribers(&self) -> SubscribersReport {
        self.pubsub.subscribers_report()
    }

    async fn channels(&self, kind: Kind, pattern: Option<Bytes>) -> Vec<Bytes> {
        self.pubsub.channels(kind, pattern).await
    }

    async fn subscriber_counts(&self, kind: Kind, channels: Vec<Bytes>) -> Vec<u64> {
        self.pubsub.subscriber_counts(kind, channels).await
    }

    async fn pattern_count(&self) -> u64 {
        self.pubsub.pattern_count().await
    }

    fn facts(&self) -> Facts {
        Facts { node_id: "00000000000a1".to_owned(), voters: 1, applied: 5, ..Facts::default() }
    }
}

/// A door on a free port.
struct Door {
    server: Server,
    node: Arc<FakeNode>,
}

impl Door {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::open_with_patterns(&[], change).await
    }

    async fn open_with_patterns(rules: &[Bind], change: impl FnOnce(&mut Config)) -> Self {
        let node = FakeNode::new(Patterns::new(rules));
        let mut config =
            Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
        change(&mut config);
        let backend: Arc<dyn Backend> = Arc::clone(&node) as _;
        let server = Server::bind_backend(backend, config).await.unwrap();
        Self { server, node }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        Client { stream, input: BytesMut::new() }
    }
}

/// A client that speaks in text.
struct Client {
    stream: TcpStream,
    input: BytesMut,
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    /// Sends each line as a request, its words split at spaces; all in one write.
    async fn request(&mut self, lines: &str) {
        let mut bytes = Vec::new();
        for line in lines.split('\n') {
            let words: Vec<&str> = line.split(' ').collect();
            bytes.extend(format!("*{}\r\n", words.len()).bytes());
            for word in words {
                bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
            }
        }
        self.send(bytes).await;
    }

    /// The next reply or push; nothing at the end of the connection.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(value) = decode_value(&mut self.input).unwrap() {
                return Some(value);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            match read.expect("a reply in time") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// The next reply or push as text; `closed` at the end.
    async fn next_text(&mut self) -> String {
        self.next().await.map_or_else(|| "closed".to_owned(), |value| text(&value))
    }

    #[track_caller]
    fn check<'a>(
        &'a mut self,
        request: &'a str,
        replies: &'a [&'a str],
    ) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            self.request(request).await;
            for expected in replies {
                let found = self.next_text().await;
                assert_eq!(found, *expected, "{request}, at {place}");
            }
        }
    }

    /// Tells that nothing arrives that was not asked for: the next thing to come is the answer to this question.
    #[track_caller]
    fn check_quiet(&mut self) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        async move {
            self.request("PING quiet").await;
            let found = self.next_text().await;
            assert!(found == "'quiet'" || found == "['pong' 'quiet']", "{found}, at {place}");
        }
    }
}

/// A value as text: `'bulk'`, `+status`, `-error`, `:1`, `nil`, `[array]`, `{map}`, `~[set]`, `>[push]`.
fn text(value: &Value) -> String {
    let shown = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let all = |items: &[Value]| items.iter().map(text).collect::<Vec<_>>().join(" ");
    match value {
        Value::Status(line) => format!("+{}", shown(line)),
        Value::Error(line) => format!("-{}", shown(line)),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(bytes) => format!("'{}'", shown(bytes)),
        Value::Nil => "nil".to_owned(),
        Value::Array(items) => format!("[{}]", all(items)),
        Value::Set(items) => format!("~[{}]", all(items)),
        Value::Push(items) => format!(">[{}]", all(items)),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}={}", text(key), text(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
        Value::Verbatim { text, .. } => format!("txt:{}", shown(text)),
        Value::Double(number) => format!(",{number}"),
        Value::Boolean(flag) => format!("#{flag}"),
        Value::BigNumber(digits) => format!("({}", shown(digits)),
    }
}

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} does not come about"));
}
