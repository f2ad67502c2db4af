//! Clients that increment two counters at one node each, whatever happens to it.
//!
//! Owns: the requests and the record of what came back. Does not own: the judgement. Invariant: a client asks for one
//! thing at a time; after an outcome that nobody knows it goes on with a new connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::history::{Counter, History, Saw, Step};
use crate::chance::Chance;
use crate::client::Client;
use crate::door::{Door, Effect, attempt};
use crate::failure::{Failure, Outcome};
use crate::process::Group;
use crate::reply::Reply;

/// The longest pause between two requests, so that the log of a long run stays small.
const PAUSE_MAX: Duration = Duration::from_millis(12);
/// One of so many requests is a read.
const READ_EVERY: usize = 5;

/// Clients under way.
#[derive(Debug)]
pub(super) struct Clients {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Step>>>,
}

impl Clients {
    pub(super) fn start(each: usize, group: &Group, begun: Instant, chance: &mut Chance) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for slot in group.slots() {
            for _ in 0..each {
                let one = One {
                    id: tasks.len(),
                    slot,
                    doors: group.doors(),
                    begun,
                    chance: chance.branch(),
                };
                tasks.push(tokio::spawn(one.run(Arc::clone(&stop))));
            }
        }
        Self { stop, tasks }
    }

    pub(super) async fn finish(self) -> Outcome<History> {
        self.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        for task in self.tasks {
            let steps = task.await;
            history
                .0
                .extend(steps.map_err(|error| Failure::new(format!("a client broke: {error}")))?);
        }
        Ok(history)
    }
}

struct One {
    id: usize,
    slot: usize,
    doors: watch::Receiver<Vec<Door>>,
    begun: Instant,
    chance: Chance,
}

impl One {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Vec<Step> {
        let (mut steps, mut client) = (Vec::new(), None);
        while !stop.load(Ordering::Relaxed) {
            let pause = self.chance.between(Duration::ZERO, PAUSE_MAX);
            sleep(pause).await;
            client = match client {
                None => self.connect().await,
                Some(open) => self.step(open, &mut steps).await,
            };
        }
        steps
    }

    async fn connect(&self) -> Option<Client> {
        let door = self.doors.borrow().iter().find(|door| door.slot == self.slot).cloned();
        door?.open().await.ok()
    }

    /// Asks for one thing; gives the connection back if it can be used further.
    async fn step(&mut self, mut client: Client, steps: &mut Vec<Step>) -> Option<Client> {
        let counter = if self.chance.below(2) == 0 { Counter::Key } else { Counter::Field };
        let is_read = self.chance.below(READ_EVERY) == 0;
        let arguments = if is_read { counter.read() } else { counter.increment() };
        let begin = self.begun.elapsed();
        let effect = attempt(&mut client, arguments).await;
        let end = self.begun.elapsed();
        let (saw, goes_on) = match (effect, is_read) {
            (Effect::Done(reply), true) => (number(&reply).map(Saw::Read), true),
            // A reply that is no number proves nothing of the increment.
            (Effect::Done(reply), false) => {
                (Some(number(&reply).map_or(Saw::Unknown, Saw::Incremented)), true)
            }
            (Effect::Refused(_), false) => (Some(Saw::Refused), true),
            (Effect::Refused(_), true) => (None, true),
            // A read that fails has no effect and tells nothing.
            (Effect::Unknown(_) | Effect::Cut, true) => (None, false),
            (Effect::Unknown(_) | Effect::Cut, false) => (Some(Saw::Unknown), false),
        };
        steps.extend(saw.map(|saw| Step { client: self.id, counter, begin, end, saw }));
        goes_on.then_some(client)
    }
}

fn number(reply: &Reply) -> Option<u64> {
    if matches!(reply, Reply::NilBulk | Reply::Null) {
        return Some(0);
    }
    let text = |bytes| std::str::from_utf8(bytes).ok()?.parse().ok();
    reply.bytes().map_or_else(|| u64::try_from(reply.integer()?).ok(), text)
}
