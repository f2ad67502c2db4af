//! Many requests, one at a time or several at once, and how long each took.
//!
//! Owns: who is asked in which way, the workers, the figures. Does not own: processes. Invariant: a request that fails or is
//! replied to wrongly ends the measure as a failure; it is never left out of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use quorate::node::Node;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::name;
use super::pair::Asker;
use crate::failure::{Failure, Outcome};
use crate::figures::quantile;

/// How long one request may take before the measure fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// How requests are made.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// By the primitive.
    Native(Node),
    /// By subscribing, publishing and unsubscribing.
    Pair(Arc<Asker>, Arc<AtomicU64>),
}

impl Way {
    async fn ask(&self, channel: &str, payload: &[u8]) -> Outcome<Vec<u8>> {
        match self {
            Self::Native(node) => {
                let payload = payload.to_vec().into();
                let reply = node.request(channel.as_bytes(), payload, PATIENCE).await;
                reply.map(|reply| reply.to_vec()).map_err(|error| Failure::new(error.to_string()))
            }
            Self::Pair(asker, ids) => {
                let id = ids.fetch_add(1, Ordering::Relaxed);
                let asked = timeout(PATIENCE, asker.ask(id, channel.as_bytes(), payload)).await;
                asked.map_err(|_| Failure::new(format!("no reply within {PATIENCE:?}")))?
            }
        }
    }
}

/// What is to be asked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) prefix: String,
    /// Whether each request goes to a channel of its own.
    pub(super) is_fresh: bool,
    pub(super) count: usize,
    pub(super) at_once: usize,
    /// How many bytes each request has.
    pub(super) size: usize,
}

/// Asks, and returns how long each request took.
pub(super) async fn measure(way: &Way, plan: &Plan) -> Outcome<Vec<Duration>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..plan.at_once {
        let (way, plan, next) = (way.clone(), plan.clone(), Arc::clone(&next));
        workers.spawn(async move { work(&way, &plan, &next).await });
    }
    let mut times = Vec::new();
    while let Some(worked) = workers.join_next().await {
        times.extend(worked.map_err(|error| Failure::new(error.to_string()))??);
    }
    Ok(times)
}

async fn work(way: &Way, plan: &Plan, next: &AtomicUsize) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.count {
            return Ok(times);
        }
        let channel = name(&plan.prefix, if plan.is_fresh { number } else { 0 });
        let payload = format!("{number:0size$}", size = plan.size).into_bytes();
        let begun = Instant::now();
        let reply =
            way.ask(&channel, &payload).await.map_err(|failure| failure.during(&channel))?;
        times.push(begun.elapsed());
        if reply != payload {
            return Err(Failure::new(format!("{channel}: another reply than what was asked")));
        }
    }
}

/// The median and the 99th of 100, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: u128,
    pub(super) late: u128,
}

impl Spread {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share| quantile(&times, share).unwrap_or_default().as_micros();
        Self { median: at(0.5), late: at(0.99) }
    }
}
