//! A node inside this program, with a subscriber of Rust that never calls `receive`.
//!
//! Owns: that node, its readers, its slow one. Does not own: the load, which comes from a process. Invariant: the slow one and some
//! readers share one node, so that whatever it holds up would show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate::Node;
use quorate::pubsub::{Cause, Delivery, Error, Kind, Policy, Subscriber};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::load::{Load, number_of, watch};
use super::{CHANNEL, Line, Turn, judge, judge_memory};
use crate::bound::embed;
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::FORM_DEADLINE;
use crate::whole::Whole;

/// How long a message may take when one is due.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many subscribers of this node read.
const READERS: usize = 2;

/// Measures both policies.
pub(super) async fn run(line: &Line) -> Outcome {
    let cluster = line.cluster().await?;
    let seeds: Vec<_> = cluster.nodes.iter().map(|node| node.cluster).collect();
    let mut config = embed::config(&seeds, &cluster.folder.path().join("secret"));
    config.pubsub.subscriber.hard = format!("{} MiB", line.hard)
        .parse()
        .map_err(|error| Failure::new(format!("--hard: {error}")))?;
    let node = Node::start(config).await.map_err(|error| Failure::new(error.to_string()))?;
    let ready = timeout(FORM_DEADLINE, node.ready()).await;
    ready.map_err(|_| Failure::new("the node inside this program did not become ready"))?;
    let load = Load::start(&cluster, line).await?;
    let readers = Readers::start(&node, &load.counter()).await?;
    load.warm(line.time()).await?;
    let mut result = Ok(());
    for policy in [Policy::Disconnect, Policy::DropOldest] {
        let done = turns(line, &node, &load, policy).await;
        result = result.and(done);
    }
    let read = readers.end().await;
    let ended = load.end("inside a program").await;
    node.leave().await;
    result.and(read).and(ended)
}

async fn turns(line: &Line, node: &Node, load: &Load, policy: Policy) -> Outcome {
    let name = match policy {
        Policy::Disconnect => "inside a program, policy disconnect",
        Policy::DropOldest | Policy::LatestOnly => "inside a program, policy oldest",
    };
    let memory = watch(std::process::id())?;
    let (mut turns, mut cut, mut received, mut lost) = (Vec::new(), Vec::new(), 0, 0);
    let mut before = load.rate(line.time()).await?;
    for number in 1..=line.rounds {
        let subscriber = subscriber(node, policy).await?;
        // The number of the first message does not matter: only gaps after it do.
        let mut whole = Whole::new(u64::MAX - 1);
        while whole.last().is_none() {
            take(&mut whole, receive(&subscriber).await?)?;
        }
        let with = load.rate(line.time()).await?;
        let sent = load.sent();
        match end(&subscriber, whole, sent).await? {
            End::Overflow { messages } => cut.push(messages),
            End::Read(whole) => {
                if let Some(text) = whole.broken.first() {
                    return Err(Failure::new(format!("{name}, turn {number}: {text}")));
                }
                received += whole.received;
                lost += whole.told;
            }
        }
        drop(subscriber);
        let after = load.rate(line.time()).await?;
        let turn = Turn { before, with, after };
        figures::note(format!("{name}, turn {number}: {turn}"));
        turns.push(turn);
        before = after;
    }
    let memory = memory.end().await?;
    match policy {
        Policy::Disconnect => figures::figure(format!(
            "slow, {name}: {} of {} were ended, and told that {} to {} messages are lost",
            cut.len(),
            line.rounds,
            cut.iter().min().copied().unwrap_or_default(),
            cut.iter().max().copied().unwrap_or_default()
        )),
        Policy::DropOldest | Policy::LatestOnly => figures::figure(format!(
            "slow, {name}: when they received again, {received} messages came and {lost} were told as lost; each gap in the \
             numbers was told exactly"
        )),
    }
    judge_memory(name, memory, line.growth_max())?;
    judge(name, &turns, line.ratio_min)?;
    if cut.is_empty() && lost == 0 {
        return Err(Failure::new(format!("{name}: nothing was lost; give more --time")));
    }
    Ok(())
}

async fn subscriber(node: &Node, policy: Policy) -> Outcome<Subscriber> {
    let subscriber = node.subscriber();
    let subscription = subscriber.subscribe_with(Kind::Channel, CHANNEL, policy);
    subscription.map_err(|error| Failure::new(error.to_string()))?.in_effect().await;
    Ok(subscriber)
}

/// How a slow one ends when it receives at last.
enum End {
    /// It was ended before, and so many messages were lost.
    Overflow { messages: u64 },
    /// It has received up to what was published when it woke.
    Read(Whole),
}

async fn end(subscriber: &Subscriber, mut whole: Whole, sent: u64) -> Outcome<End> {
    while whole.last() < Some(sent) {
        let received = timeout(DEADLINE, subscriber.receive()).await;
        match received.map_err(|_| Failure::new("awake, it receives nothing"))? {
            Ok(delivery) => take(&mut whole, delivery)?,
            Err(Error::Overflow { messages, .. }) => return Ok(End::Overflow { messages }),
            Err(error) => return Err(Failure::new(error.to_string())),
        }
    }
    Ok(End::Read(whole))
}

async fn receive(subscriber: &Subscriber) -> Outcome<Delivery> {
    let received = timeout(DEADLINE, subscriber.receive()).await;
    let received = received.map_err(|_| Failure::new("it receives nothing"))?;
    received.map_err(|error| Failure::new(error.to_string()))
}

fn take(whole: &mut Whole, delivery: Delivery) -> Outcome {
    match delivery {
        Delivery::Message(message) => whole.received(number_of(&message.payload)?),
        Delivery::Lost(lost) => match (lost.cause, lost.count) {
            (Cause::Slow, Some(count)) => whole.lost(count),
            other => whole.broken.push(format!("{other:?}")),
        },
    }
    Ok(())
}

/// Those that read, at the node of the slow one.
struct Readers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Outcome<Whole>>>,
}

impl Readers {
    async fn start(node: &Node, counter: &Arc<AtomicU64>) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..READERS {
            let subscriber = subscriber(node, Policy::Disconnect).await?;
            tasks.push(tokio::spawn(read(subscriber, Arc::clone(&stop), Arc::clone(counter))));
        }
        Ok(Self { stop, tasks })
    }

    async fn end(self) -> Outcome {
        self.stop.store(true, Ordering::Release);
        let mut count = 0;
        for task in self.tasks {
            let whole = task.await.map_err(|error| Failure::new(error.to_string()))??;
            if let Some(text) = whole.broken.first() {
                return Err(Failure::new(format!("a reader inside a program: {text}")));
            }
            count += whole.received;
        }
        figures::note(format!("inside a program: {count} messages were received, none is missing"));
        Ok(())
    }
}

async fn read(
    subscriber: Subscriber,
    stop: Arc<AtomicBool>,
    counter: Arc<AtomicU64>,
) -> Outcome<Whole> {
    let mut whole = Whole::new(u64::MAX - 1);
    while !stop.load(Ordering::Acquire) {
        take(&mut whole, receive(&subscriber).await?)?;
        counter.fetch_add(1, Ordering::Relaxed);
    }
    Ok(whole)
}
