//! The calls of one JavaScript object, in the order in which they were made, awaited or not.
//!
//! Owns that order, and the wait for a node that starts. Does not know what calls do. Invariants: a read sees every write of the lane before it and none behind it; writes take effect in their
//! order; calls of the driver begin in their order, and the driver keeps it; a message leaves behind the writes before it, unless these take longer than
//! [`MESSAGE_WAIT`]. What waits goes together, so that it is one entry of the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quorate::Node;
use quorate::presence::driver::ClusterDriver;
use quorate::presence::{self, ClusterPresence};
use quorate::pubsub::Subscriber;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::call::{self, Call, Class};
use crate::listen::{self, Ear};
use crate::port::Port;
use crate::value::{Failure, Value};

/// The most calls of a lane that wait to be begun.
pub(crate) const WAITING_MAX: usize = 65_536;
/// The most that are under way, or are taken from those that wait.
const UNDER_WAY_MAX: usize = 1024;
/// The most that go together, and the most bytes of them unless one alone is larger.
const TOGETHER_MAX: usize = 1024;
const TOGETHER_BYTES_MAX: usize = 512 * 1024;
/// How long a message waits for the writes before it: longer than a change of leader, shorter than anybody waits for a reply.
/// Without a majority messages go on all the same.
const MESSAGE_WAIT: Duration = Duration::from_secs(1);
/// How long a call waits for its node to be ready.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Where a node is in its life, as its lanes see it.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// It is not there yet.
    Starting,
    /// It is there, and not yet in sync.
    Joining(Node),
    Ready(Node),
    Failed(Failure),
}

/// A call of JavaScript, with the number of its promise.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: u32,
    pub(crate) call: Call,
    pub(crate) since: Instant,
}

/// What was done together, with what each came to.
struct Ended {
    class: Class,
    all: Vec<Job>,
    values: Vec<Value>,
}

struct Lane {
    node: Node,
    presence: ClusterPresence,
    driver: ClusterDriver,
    port: Arc<Port>,
    subscriber: Arc<Subscriber>,
    held: VecDeque<Job>,
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// How many of them are of these kinds; the rest may take as long as it likes.
    reads: usize,
    writes: usize,
    messages: usize,
}

/// Runs a lane until nobody can call it any more and all that was asked has ended.
pub(crate) async fn run(
    ear: Ear,
    mut stage: watch::Receiver<Stage>,
    mut inbox: mpsc::Receiver<Job>,
) {
    let mut held = VecDeque::new();
    let port = Arc::clone(&ear.port);
    let Some(node) = ready(&mut stage, &mut inbox, &mut held, &port).await else { return };
    // What the processes of Colyseus write of themselves is of use only as long as they live.
    let config = presence::Config { bind: presence::colyseus::bind(), ..Default::default() };
    let presence = match ClusterPresence::with(node.clone(), &config) {
        Ok(presence) => presence,
        Err(error) => {
            return refuse(&Failure::new("CONFIG", error.to_string()), held, &mut inbox, &port)
                .await;
        }
    };
    let driver = ClusterDriver::new(node.clone());
    let subscriber = Arc::new(node.subscriber());
    let listening = tokio::spawn(listen::deliver(ear, Arc::clone(&subscriber)));
    let (reads, writes, messages) = (0, 0, 0);
    let under_way = FuturesUnordered::new();
    let mut lane =
        Lane { node, presence, driver, port, subscriber, held, under_way, reads, writes, messages };
    let mut is_open = true;
    loop {
        let patience = lane.begin();
        if !is_open && lane.held.is_empty() && lane.under_way.is_empty() {
            break;
        }
        let has_room = is_open && lane.held.len() < UNDER_WAY_MAX;
        tokio::select! {
            Some(ended) = lane.under_way.next(), if !lane.under_way.is_empty() => lane.end(ended),
            job = inbox.recv(), if has_room => match job {
                Some(job) => {
                    lane.held.push_back(job);
                    // All that has come meanwhile, so that it can go together.
                    while lane.held.len() < UNDER_WAY_MAX && let Ok(job) = inbox.try_recv() {
                        lane.held.push_back(job);
                    }
                }
                None => is_open = false,
            },
            () = until(patience) => {}
        }
    }
    listening.abort();
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits until the node is ready, no longer for each call than [`READY_WAIT`]. Gives none when it never will be, or when
/// nobody waits any more.
async fn ready(
    stage: &mut watch::Receiver<Stage>,
    inbox: &mut mpsc::Receiver<Job>,
    held: &mut VecDeque<Job>,
    port: &Port,
) -> Option<Node> {
    loop {
        let now = stage.borrow_and_update().clone();
        match now {
            Stage::Ready(node) => return Some(node),
            Stage::Failed(failure) => {
                refuse(&failure, std::mem::take(held), inbox, port).await;
                return None;
            }
            Stage::Starting | Stage::Joining(_) => {}
        }
        let deadline = held.front().and_then(|job| job.since.checked_add(READY_WAIT));
        tokio::select! {
            changed = stage.changed() => {
                changed.ok()?;
            }
            job = inbox.recv(), if held.len() < WAITING_MAX => match job {
                Some(job) => held.push_back(job),
                None if held.is_empty() => return None,
                None => {
                    // Only what waits is left.
                    stage.changed().await.ok()?;
                }
            },
            () = until(deadline) => {
                let text = format!("TRYAGAIN the node was not ready within {READY_WAIT:?}");
                if let Some(job) = held.pop_front() {
                    port.answer(job.number, Value::Error(Failure::coded(text)));
                }
            }
        }
    }
}

/// Fails every call, until nobody can make one any more.
async fn refuse(
    failure: &Failure,
    held: VecDeque<Job>,
    inbox: &mut mpsc::Receiver<Job>,
    port: &Port,
) {
    let fail = |job: Job| port.answer(job.number, Value::Error(failure.clone()));
    held.into_iter().for_each(fail);
    while let Some(job) = inbox.recv().await {
        fail(job);
    }
}

impl Lane {
    /// Begins what may be begun. Gives when a message waits no longer for the writes before it.
    fn begin(&mut self) -> Option<Instant> {
        while let Some(next) = self.held.front() {
            let class = next.call.class();
            let busy = self.reads + self.writes + self.messages;
            let may = match class {
                Class::Read => self.writes == 0,
                Class::Write => self.reads + self.writes == 0,
                Class::Message if self.writes > 0 => {
                    let patience = next.since.checked_add(MESSAGE_WAIT)?;
                    if patience > Instant::now() {
                        return Some(patience);
                    }
                    true
                }
                Class::Message | Class::Driver | Class::Free => true,
                Class::Flush => busy == 0,
            };
            if !may || busy >= UNDER_WAY_MAX {
                return None;
            }
            if let Some(job) = self.held.pop_front() {
                self.start(class, job);
            }
        }
        None
    }

    fn start(&mut self, class: Class, first: Job) {
        let (class, all, doing) = match self.at_once(&first.call) {
            Now::Done(value) => return self.port.answer(first.number, value),
            Now::Doing(doing) => (class, vec![first], doing.map(|value| vec![value]).boxed()),
            Now::Together => {
                let (class, all) = self.gather(class, first);
                let calls = all.iter().map(|job| job.call.clone()).collect();
                let doing = call::together(self.node.clone(), self.presence.clone(), calls);
                (class, all, doing.boxed())
            }
        };
        match class {
            Class::Read => self.reads += 1,
            Class::Write => self.writes += 1,
            Class::Message | Class::Driver => self.messages += 1,
            Class::Free | Class::Flush => {}
        }
        let ended = doing.map(move |values| Ended { class, all, values });
        self.under_way.push(ended.boxed());
    }

    /// Takes what waits behind a call and can go with it, and tells whether any of it writes.
    fn gather(&mut self, class: Class, first: Job) -> (Class, Vec<Job>) {
        let may_write = self.reads + self.writes == 0;
        let mut is_write = class == Class::Write;
        let mut bytes = first.call.together().unwrap_or_default();
        let mut all = vec![first];
        let mut fits = |next: &mut Job| {
            let call = &next.call;
            let may_go = call.class() == Class::Read || call.class() == Class::Write && may_write;
            let size = call.together().filter(|_| may_go);
            bytes = bytes.saturating_add(size.unwrap_or_default());
            size.is_some() && bytes <= TOGETHER_BYTES_MAX
        };
        while all.len() < TOGETHER_MAX
            && let Some(next) = self.held.pop_front_if(&mut fits)
        {
            is_write |= next.call.class() == Class::Write;
            all.push(next);
        }
        (if is_write { Class::Write } else { Class::Read }, all)
    }

    /// Does what is done at once, or tells how the rest is done.
    fn at_once(&self, call: &Call) -> Now {
        let node = self.node.clone();
        match call.clone() {
            call if call.together().is_some() => Now::Together,
            Call::Command { command, manner, .. } => {
                Now::Doing(call::command(node, command, manner).boxed())
            }
            Call::Transaction { commands, manner } => {
                Now::Doing(call::transaction(node, commands, manner).boxed())
            }
            Call::Wait { words } => Now::Doing(call::wait(self.presence.clone(), words).boxed()),
            Call::Driver(listing) => Now::Doing(listing.ask(self.driver.clone()).boxed()),
            Call::Publish { channel, payload, is_counted } => {
                Now::of(listen::publish(&node, &self.presence, &channel, payload, is_counted))
            }
            Call::Subscribe { kind, name } => {
                Now::of(listen::subscribe(&self.subscriber, kind, &name))
            }
            Call::Unsubscribe { kind, name } => {
                Now::Done(Value::Boolean(self.subscriber.unsubscribe(kind, &name)))
            }
            Call::Channels { pattern } => Now::Doing(call::channels(node, pattern).boxed()),
            Call::Request { channel, payload, timeout, as_buffers } => {
                Now::Doing(call::request(node, channel, payload, timeout, as_buffers).boxed())
            }
            Call::Presence { .. } | Call::Flush => Now::Done(Value::Null),
        }
    }

    fn end(&mut self, ended: Ended) {
        let Ended { class, all, values } = ended;
        match class {
            Class::Read => self.reads -= 1,
            Class::Write => self.writes -= 1,
            Class::Message | Class::Driver => self.messages -= 1,
            Class::Free | Class::Flush => {}
        }
        for (job, value) in all.into_iter().zip(values) {
            self.port.answer(job.number, value);
        }
    }
}

/// What becomes of a call whose turn it is.
enum Now {
    /// It has ended.
    Done(Value),
    /// It is under way.
    Doing(BoxFuture<'static, Value>),
    /// It goes together with what waits behind it.
    Together,
}

impl Now {
    fn of(done: Result<Value, BoxFuture<'static, Value>>) -> Self {
        match done {
            Ok(value) => Self::Done(value),
            Err(doing) => Self::Doing(doing),
        }
    }
}
