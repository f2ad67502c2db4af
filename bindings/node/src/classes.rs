//! The classes that JavaScript holds: a node, and the lanes of its calls.
//!
//! Owns their methods, which return at once: what they come to is told through the port under the number that the caller gives.
//! Invariant: nothing here waits, on whichever thread JavaScript runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use napi::bindgen_prelude::{Array, Buffer, Either, Function};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use parking_lot::Mutex;
use quorate::pubsub::Kind;
use quorate::{Node, rendezvous};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::call::{Call, Limits, Manner};
use crate::lane::{self, Job, Stage};
use crate::listen::{self, Asked, Ear};
use crate::listing::Listing;
use crate::options::{self, Way};
use crate::port::{Item, Kind as ItemKind, Port};
use crate::runtime::runtime;
use crate::value::{self, Failure, Value};

/// A string or bytes.
type Word = Either<String, Buffer>;

fn bytes(word: Word) -> Bytes {
    match word {
        Either::A(text) => Bytes::from(text),
        Either::B(buffer) => Bytes::copy_from_slice(&buffer),
    }
}

fn kind(is_pattern: bool) -> Kind {
    if is_pattern { Kind::Pattern } else { Kind::Channel }
}

fn thrown(failure: &Failure) -> Error {
    Error::new(Status::InvalidArg, format!("{} {}", failure.code, failure.text))
}

fn started<T>(built: std::io::Result<T>) -> Result<T> {
    built.map_err(|error| Error::new(Status::GenericFailure, error.to_string()))
}

/// A node of this process.
#[napi]
pub struct NativeNode {
    port: Arc<Port>,
    limits: Limits,
    stage: watch::Receiver<Stage>,
    asked: Arc<Asked>,
    responders: Mutex<BTreeMap<u32, AbortHandle>>,
}

impl std::fmt::Debug for NativeNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeNode").finish_non_exhaustive()
    }
}

#[napi]
impl NativeNode {
    /// Begins to start a node with options as JSON. Calls `wake` whenever there is something to take.
    ///
    /// # Errors
    /// When an option is unknown or wrong.
    #[napi(constructor)]
    pub fn new(options: String, wake: Function<'_, (), ()>) -> Result<Self> {
        let (config, way) = options::read(&options).map_err(|failure| thrown(&failure))?;
        let limits = Limits::of(&config);
        let port = Arc::new(Port::new(&wake)?);
        let (tell, stage) = watch::channel(Stage::Starting);
        started(runtime())?.spawn(start(config, way, tell, Arc::clone(&port)));
        let (asked, responders) = (Arc::default(), Mutex::default());
        Ok(Self { port, limits, stage, asked, responders })
    }

    /// Takes all that waits: kind, number and value in turn.
    ///
    /// # Errors
    /// When JavaScript cannot make the values.
    #[napi]
    pub fn take<'env>(&self, env: &'env Env) -> Result<Array<'env>> {
        value::array(env, self.port.take())
    }

    /// Opens a lane, which is told of messages under `number`, as buffers or as strings.
    ///
    /// # Errors
    /// When there are no threads for it.
    #[napi]
    pub fn lane(&self, number: u32, as_buffers: bool) -> Result<NativeLane> {
        let (outbox, inbox) = mpsc::channel(lane::WAITING_MAX);
        let (port, stage) = (Arc::clone(&self.port), self.stage.clone());
        let ear = Ear { lane: number, as_buffers, port: Arc::clone(&port) };
        started(runtime())?.spawn(lane::run(ear, stage, inbox));
        Ok(NativeLane { outbox, port, limits: self.limits })
    }

    /// Waits until the node is ready.
    ///
    /// # Errors
    /// When there are no threads for it.
    #[napi]
    pub fn ready(&self, call: u32) -> Result<()> {
        self.with_node(call, async |node| {
            node.ready().await;
            Value::Null
        })
    }

    /// Hands over, ends the session and leaves the cluster.
    ///
    /// # Errors
    /// When there are no threads for it.
    #[napi]
    pub fn leave(&self, call: u32) -> Result<()> {
        self.with_node(call, async |node| {
            node.leave().await;
            Value::Null
        })
    }

    /// Gives the status as JSON.
    ///
    /// # Errors
    /// When there are no threads for it.
    #[napi]
    pub fn status(&self, call: u32) -> Result<()> {
        self.with_node(call, async |node| {
            // A status is a tree of plain values, which JSON takes all.
            Value::text(serde_json::to_string(&node.status()).unwrap_or_default())
        })
    }

    /// Responds to requests to a channel; they are told under `number`.
    ///
    /// # Errors
    /// When there are no threads for it.
    #[napi]
    pub fn respond(&self, call: u32, channel: Word, number: u32) -> Result<()> {
        let channel = bytes(channel);
        let (asked, port) = (Arc::clone(&self.asked), Arc::clone(&self.port));
        // The task that listens ends with this one's handle, which `end_respond` aborts.
        let (opened, responder) = tokio::sync::oneshot::channel();
        let listening = started(runtime())?.spawn(async move {
            if let Ok(responder) = responder.await {
                listen::respond(number, responder, asked, port).await;
            }
        });
        self.responders.lock().insert(number, listening.abort_handle());
        self.with_node(call, async move |node| match node.respond(&channel) {
            Ok(responder) => {
                // It was ended before it began.
                let _ended = opened.send(responder);
                Value::Null
            }
            Err(error) => listen::failed(&error),
        })
    }

    /// Responds no more.
    #[napi]
    pub fn end_respond(&self, number: u32) {
        if let Some(listening) = self.responders.lock().remove(&number) {
            listening.abort();
        }
    }

    /// Replies to a request, or declines to. Gives whether it waited for a reply.
    #[napi]
    pub fn reply(&self, request: u32, payload: Option<Word>) -> bool {
        match (self.asked.take(request), payload) {
            // Who asked is told of a reply that is too large.
            (Some(request), Some(payload)) => request.reply(bytes(payload)).is_ok(),
            (Some(_declined), None) => true,
            (None, _) => false,
        }
    }

    /// Does something with the node once it is there, and tells what it comes to.
    fn with_node<Does: Future<Output = Value> + Send + 'static>(
        &self,
        call: u32,
        does: impl FnOnce(Node) -> Does + Send + 'static,
    ) -> Result<()> {
        let (port, mut stage) = (Arc::clone(&self.port), self.stage.clone());
        started(runtime())?.spawn(async move {
            let there = stage.wait_for(|stage| !matches!(stage, Stage::Starting)).await;
            let there = there.map(|stage| stage.clone());
            let value = match there {
                Ok(Stage::Joining(node) | Stage::Ready(node)) => does(node).await,
                Ok(Stage::Failed(failure)) => Value::Error(failure),
                Ok(Stage::Starting) | Err(_) => {
                    Value::Error(Failure::new("STOPPED", "this node has stopped"))
                }
            };
            port.answer(call, value);
        });
        Ok(())
    }
}

/// Starts a node and tells when it is ready, or why it never will be.
async fn start(config: quorate::Config, way: Way, stage: watch::Sender<Stage>, port: Arc<Port>) {
    let node = match way {
        Way::Configured => {
            Node::start(config).await.map_err(|error| (error.is_configuration(), error.to_string()))
        }
        Way::Together => {
            let name = config.cluster.id.clone();
            rendezvous::start(name.as_str(), config)
                .await
                .map_err(|error| (error.is_configuration(), error.to_string()))
        }
    };
    let reached = match node {
        Ok(node) => {
            tokio::spawn(listen::tell(node.clone(), Arc::clone(&port)));
            stage.send_replace(Stage::Joining(node.clone()));
            node.ready().await;
            Stage::Ready(node)
        }
        Err((is_configuration, text)) => {
            let value = listen::stopped(text.clone(), false);
            port.put([Item { kind: ItemKind::Event, to: 0, value }]);
            Stage::Failed(Failure::new(if is_configuration { "CONFIG" } else { "START" }, text))
        }
    };
    stage.send_replace(reached);
    // Who asks later is told, too.
    stage.closed().await;
}

/// The calls of one object of JavaScript, in order.
#[napi]
pub struct NativeLane {
    outbox: mpsc::Sender<Job>,
    port: Arc<Port>,
    limits: Limits,
}

impl std::fmt::Debug for NativeLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeLane").finish_non_exhaustive()
    }
}

#[napi]
impl NativeLane {
    /// Does a command, its name first.
    #[napi]
    pub fn command(&self, call: u32, words: Vec<Word>, manner: u32) {
        let words: Vec<Bytes> = words.into_iter().map(bytes).collect();
        self.ask(call, Call::command(words, self.limits, Manner(manner)));
    }

    /// Does several commands in one step.
    #[napi]
    pub fn transaction(&self, call: u32, commands: Vec<Vec<Word>>, manner: u32) {
        let words = |words: Vec<Word>| words.into_iter().map(bytes).collect();
        let commands = commands.into_iter().map(words).collect();
        self.ask(call, Call::transaction(commands, self.limits, Manner(manner)));
    }

    /// Asks something of the driver.
    #[napi]
    pub fn driver(&self, call: u32, name: String, words: Vec<String>) {
        match Listing::read(&name, words) {
            Some(listing) => self.ask(call, Call::Driver(listing)),
            None => {
                let text = format!("ERR a driver has no '{name}'");
                self.port.answer(call, Value::Error(Failure::coded(text)));
            }
        }
    }

    /// Publishes a message.
    #[napi]
    pub fn publish(&self, call: u32, channel: Word, payload: Word, is_counted: bool) {
        let (channel, payload) = (bytes(channel), bytes(payload));
        self.ask(call, Call::Publish { channel, payload, is_counted });
    }

    /// Subscribes to a channel or pattern.
    #[napi]
    pub fn subscribe(&self, call: u32, name: Word, is_pattern: bool) {
        self.ask(call, Call::Subscribe { kind: kind(is_pattern), name: bytes(name) });
    }

    /// Unsubscribes from it.
    #[napi]
    pub fn unsubscribe(&self, call: u32, name: Word, is_pattern: bool) {
        self.ask(call, Call::Unsubscribe { kind: kind(is_pattern), name: bytes(name) });
    }

    /// Gives the channels with a subscriber anywhere that match a pattern.
    #[napi]
    pub fn channels(&self, call: u32, pattern: Word) {
        self.ask(call, Call::Channels { pattern: bytes(pattern) });
    }

    /// Asks whoever responds to a channel.
    #[napi]
    pub fn request(&self, call: u32, channel: Word, payload: Word, timeout_ms: u32, manner: u32) {
        let (channel, payload) = (bytes(channel), bytes(payload));
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        let as_buffers = Manner(manner).as_buffers();
        self.ask(call, Call::Request { channel, payload, timeout, as_buffers });
    }

    /// Waits until all calls before it have ended.
    #[napi]
    pub fn flush(&self, call: u32) {
        self.ask(call, Call::Flush);
    }

    fn ask(&self, number: u32, call: Call) {
        let job = Job { number, call, since: Instant::now() };
        if self.outbox.try_send(job).is_err() {
            let text = format!(
                "TRYAGAIN {} calls wait already, or this node has stopped; it had no effect",
                lane::WAITING_MAX
            );
            self.port.answer(number, Value::Error(Failure::coded(text)));
        }
    }
}
