//! Calls in the order in which they were made, for callers that do not await one before they make the next.
//!
//! Owns the one queue of an embedding program, such as a Node.js process whose calls return promises. Does not know what is
//! asked. Invariant: what was submitted first takes effect first, and whatever is submitted is answered once.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Asked, Error, Presence};
use crate::command::Reply;

/// The most calls that go to the presence together.
const TOGETHER_MAX: usize = 1024;

/// The most bytes of them, unless one alone is larger: they shall fit one log entry.
const TOGETHER_BYTES_MAX: usize = 512 * 1024;

type Done<T> = oneshot::Sender<Result<T, Error>>;

/// What is done when its turn comes.
type Act = Box<dyn FnOnce(&Arc<dyn Presence>) + Send>;

enum Job {
    Ask(Asked, Done<Reply>),
    Publish(String, Bytes, Done<()>),
    Turn(Act, Done<()>),
}

impl Job {
    fn refuse(self, error: Error) {
        // Who does not wait any more needs no answer.
        match self {
            Self::Ask(_, done) => drop(done.send(Err(error))),
            Self::Publish(_, _, done) | Self::Turn(_, done) => drop(done.send(Err(error))),
        }
    }
}

/// A presence that may not be there yet.
type Coming = Option<Result<Arc<dyn Presence>, Error>>;

/// Calls in the order in which they were made: each takes its place when it is made and not when its future is polled, and works
/// before the presence is there. Calls that wait together go to the presence together, so that under load many
/// share a log entry. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Queue {
    outbox: mpsc::Sender<Job>,
    presence: watch::Receiver<Coming>,
    most: usize,
}

impl Queue {
    /// Makes a queue of at most `most` calls before a presence that `starting` will give, and the work that serves it, which is
    /// to be spawned. It ends when all clones of the queue are dropped. When starting fails, every call fails so.
    pub fn new(
        most: usize,
        starting: impl Future<Output = Result<Arc<dyn Presence>, Error>> + Send + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (outbox, inbox) = mpsc::channel(most);
        let (here, presence) = watch::channel(None);
        let work = async move {
            let started = starting.await;
            here.send_replace(Some(started.clone()));
            serve(started, inbox).await;
        };
        (Self { outbox, presence, most }, work)
    }

    /// Asks a command. It has its place in the order when this returns; the future gives the reply and may be dropped.
    pub fn submit(&self, asked: Asked) -> BoxFuture<'static, Result<Reply, Error>> {
        let (done, reply) = oneshot::channel();
        self.push(Job::Ask(asked, done));
        answer(reply)
    }

    /// Publishes, behind the effect of everything that was submitted before.
    pub fn publish(&self, topic: String, payload: Bytes) -> BoxFuture<'static, Result<(), Error>> {
        let (done, published) = oneshot::channel();
        self.push(Job::Publish(topic, payload, done));
        answer(published)
    }

    /// Does something with the presence when everything that was submitted before has been answered; it must not wait. With
    /// an empty `act`, the future tells when that is so.
    pub fn turn(
        &self,
        act: impl FnOnce(&Arc<dyn Presence>) + Send + 'static,
    ) -> BoxFuture<'static, Result<(), Error>> {
        let (done, ended) = oneshot::channel();
        self.push(Job::Turn(Box::new(act), done));
        answer(ended)
    }

    /// Asks a command that waits, as [`Presence::wait`]: outside the order, as on a connection of its own.
    pub fn wait(&self, words: Vec<Bytes>) -> BoxFuture<'static, Result<Reply, Error>> {
        let presence = self.presence();
        async move { presence.await?.wait(words).await }.boxed()
    }

    /// Waits for the presence.
    pub fn presence(&self) -> BoxFuture<'static, Result<Arc<dyn Presence>, Error>> {
        let mut presence = self.presence.clone();
        async move {
            let here = presence.wait_for(Option::is_some).await.map_err(|_| Error::ShutDown)?;
            here.clone().unwrap_or(Err(Error::ShutDown))
        }
        .boxed()
    }

    fn push(&self, job: Job) {
        match self.outbox.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(job)) => {
                job.refuse(Error::QueueFull { waiting: self.most });
            }
            Err(mpsc::error::TrySendError::Closed(job)) => job.refuse(Error::ShutDown),
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("most", &self.most).finish_non_exhaustive()
    }
}

fn answer<T: Send + 'static>(
    reply: oneshot::Receiver<Result<T, Error>>,
) -> BoxFuture<'static, Result<T, Error>> {
    reply.map(|reply| reply.unwrap_or(Err(Error::ShutDown))).boxed()
}

async fn serve(started: Result<Arc<dyn Presence>, Error>, mut inbox: mpsc::Receiver<Job>) {
    let mut held = None;
    loop {
        let job = match held.take() {
            Some(job) => job,
            None => match inbox.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let presence = match &started {
            Ok(presence) => presence,
            Err(error) => {
                job.refuse(error.clone());
                continue;
            }
        };
        match job {
            Job::Ask(asked, done) => {
                held = ask_together(presence, &mut inbox, (asked, done)).await;
            }
            Job::Publish(topic, payload, done) => {
                // Who does not wait any more needs no answer, here and below.
                let _gone = done.send(presence.publish(&topic, payload).await);
            }
            Job::Turn(act, done) => {
                act(presence);
                let _gone = done.send(Ok(()));
            }
        }
    }
}

/// Asks a command and those that wait behind it; gives what is next in the order and no command.
async fn ask_together(
    presence: &Arc<dyn Presence>,
    inbox: &mut mpsc::Receiver<Job>,
    (first, done): (Asked, Done<Reply>),
) -> Option<Job> {
    let mut bytes = first.size();
    let (mut all, mut waiting) = (vec![first], vec![done]);
    let mut held = None;
    while all.len() < TOGETHER_MAX {
        match inbox.try_recv() {
            Ok(Job::Ask(asked, done))
                if bytes.saturating_add(asked.size()) <= TOGETHER_BYTES_MAX =>
            {
                bytes = bytes.saturating_add(asked.size());
                all.push(asked);
                waiting.push(done);
            }
            Ok(job) => {
                held = Some(job);
                break;
            }
            Err(_empty_or_closed) => break,
        }
    }
    let replies = presence.execute(all).await;
    for (done, reply) in waiting.into_iter().zip(replies) {
        let _gone = done.send(reply);
    }
    held
}
