//! Requests and their answers over one stream per peer and purpose.
//!
//! ```text
//! request:  number u64 | bytes                    answer:  number u64 | 0 given, 1 declined: u8 | bytes
//! ```
//!
//! Owns the numbers and the tables of who waits. Does not know what is asked. Invariant: a number is used once per stream and
//! its table dies with the stream, so that an answer reaches the caller of its request or nobody.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame::{FrameReceiver, FrameSender};
use super::stream::Opening;
use super::{Error, Inbound, Peer, Purpose, Remote, Shared};

/// The most bytes that a call adds to what it carries.
pub(super) const HEADER: usize = 9;
const GIVEN: u8 = 0;
const DECLINED: u8 = 1;
/// The most requests or answers written at once.
const BATCH_MAX: usize = 256;

type Key = (Peer, Purpose);

/// The calling ends of this node.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<BTreeMap<Key, Arc<Caller>>>);

#[cfg(test)]
impl Callers {
    /// Tells how many calls wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().values().map(|caller| caller.state.lock().waiting.len()).sum()
    }
}

/// The calling end of one stream.
#[derive(Debug)]
struct Caller {
    outbox: mpsc::Sender<u64>,
    state: Mutex<State>,
    calls: Semaphore,
    bytes: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Why the stream is over, once it is. Invariant: then `waiting` is empty and stays so.
    over: Option<Error>,
}

#[derive(Debug)]
struct Waiting {
    /// None once it is written.
    request: Option<Bytes>,
    answer_tx: oneshot::Sender<Result<Bytes, Error>>,
}

/// Calls `peer` and waits for its answer until `deadline` has passed.
pub(super) async fn call(
    shared: &Arc<Shared>,
    peer: &Peer,
    purpose: Purpose,
    request: Bytes,
    deadline: Duration,
) -> Result<Bytes, Error> {
    let limit = shared.config.frame_max.of(purpose.class);
    if request.len() > limit {
        let (size, limit) = (request.len() as u64, limit as u64);
        return Err(Error::TooLarge { class: purpose.class, size, limit });
    }
    let caller = caller(shared, (*peer, purpose));
    let most = permits(shared.config.outbox_max.as_u64());
    let size = permits(request.len() as u64).min(most);
    let mut is_sent = false;
    let answer = async {
        let _call = caller.calls.acquire().await;
        let _bytes = caller.bytes.acquire_many(size).await;
        let (number, answer) = caller.register(request)?;
        let _place = Place { caller: &caller, number, is_sent: &mut is_sent };
        // The outbox is over only when `over` is set, which has answered already.
        let _queued = caller.outbox.send(number).await;
        answer.await.unwrap_or_else(|_| Err(Error::closed("the caller's stream ended")))
    };
    match timeout(deadline, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Deadline { waited: deadline, is_sent }),
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.min(1 << 30)).unwrap_or(1 << 30)
}

/// A caller's place in the table; given up when dropped, so that a late answer finds nobody.
struct Place<'a> {
    caller: &'a Caller,
    number: u64,
    is_sent: &'a mut bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.caller.state.lock().waiting.remove(&self.number);
        *self.is_sent = left.is_none_or(|waiting| waiting.request.is_none());
    }
}

/// Gives the calling end of a stream, and starts one where there is none that lives.
fn caller(shared: &Arc<Shared>, key: Key) -> Arc<Caller> {
    let mut callers = shared.callers.0.lock();
    if let Some(caller) = callers.get(&key) {
        return Arc::clone(caller);
    }
    let config = &shared.config;
    let calls_max = config.calls_max.max(1);
    let (outbox, inbox) = mpsc::channel(calls_max);
    let caller = Arc::new(Caller {
        outbox,
        state: Mutex::new(State::default()),
        calls: Semaphore::new(calls_max),
        bytes: Semaphore::new(permits(config.outbox_max.as_u64()) as usize),
    });
    callers.insert(key, Arc::clone(&caller));
    drop(callers);
    tokio::spawn(run(Arc::clone(shared), key, Arc::clone(&caller), inbox));
    caller
}

/// Keeps one stream until it ends, then tells all who wait.
async fn run(shared: Arc<Shared>, key: Key, caller: Arc<Caller>, inbox: mpsc::Receiver<u64>) {
    let opening = Opening { purpose: key.1, is_calls: true };
    let error = match shared.open(&key.0, opening).await {
        Ok((sender, receiver, _)) => tokio::select! {
            biased;
            error = write(&caller, inbox, sender) => error,
            error = read(&caller, receiver) => error,
        },
        Err(error) => error,
    };
    // First out of the table, so that who comes now starts afresh; then tell who came before.
    shared.callers.0.lock().remove(&key);
    caller.end(error);
}

impl Caller {
    fn register(
        &self,
        request: Bytes,
    ) -> Result<(u64, oneshot::Receiver<Result<Bytes, Error>>), Error> {
        let (answer_tx, answer) = oneshot::channel();
        let mut state = self.state.lock();
        if let Some(error) = &state.over {
            return Err(unsent(error));
        }
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, Waiting { request: Some(request), answer_tx });
        Ok((number, answer))
    }

    /// Takes the request out for writing; none when its caller has gone.
    fn take(&self, number: u64) -> Option<Bytes> {
        let mut state = self.state.lock();
        let request = state.waiting.get_mut(&number)?.request.take()?;
        drop(state);
        let mut frame = BytesMut::with_capacity(HEADER + request.len());
        frame.put_u64(number);
        frame.put_slice(&request);
        Some(frame.freeze())
    }

    fn answer(&self, number: u64, answer: Result<Bytes, Error>) {
        if let Some(waiting) = self.state.lock().waiting.remove(&number) {
            // The caller may have gone this very moment.
            let _gone = waiting.answer_tx.send(answer);
        }
    }

    fn end(&self, error: Error) {
        let mut state = self.state.lock();
        let waiting = std::mem::take(&mut state.waiting);
        state.over = Some(error.clone());
        drop(state);
        for waiting in waiting.into_values() {
            let error = if waiting.request.is_some() { unsent(&error) } else { error.clone() };
            // The caller may have gone this very moment.
            let _gone = waiting.answer_tx.send(Err(error));
        }
    }
}

/// Says the same of a request that was never written.
fn unsent(error: &Error) -> Error {
    match error {
        Error::Closed { .. } | Error::NoAnswer | Error::Malformed { .. } => {
            Error::NotSent { reason: error.to_string() }
        }
        Error::Unreachable { .. }
        | Error::Refused { .. }
        | Error::NotSent { .. }
        | Error::TooLarge { .. }
        | Error::Deadline { .. }
        | Error::Fatal { .. } => error.clone(),
    }
}

/// Writes requests, all that are there in one go.
async fn write(caller: &Caller, mut inbox: mpsc::Receiver<u64>, mut sender: FrameSender) -> Error {
    let mut numbers = Vec::new();
    let mut frames = Vec::new();
    loop {
        if inbox.recv_many(&mut numbers, BATCH_MAX).await == 0 {
            return Error::closed("this node is stopping");
        }
        frames.extend(numbers.drain(..).filter_map(|number| caller.take(number)));
        if let Err(error) = sender.send_all(&mut frames).await {
            return error;
        }
    }
}

async fn read(caller: &Caller, mut receiver: FrameReceiver) -> Error {
    loop {
        let mut frame = match receiver.receive().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Error::closed("the peer ended the stream of answers"),
            Err(error) => return error,
        };
        if frame.len() < HEADER {
            return Error::Malformed { what: "answer" };
        }
        let number = frame.get_u64();
        let answer = if frame.get_u8() == GIVEN { Ok(frame) } else { Err(Error::NoAnswer) };
        caller.answer(number, answer);
    }
}

/// Answers the calls that come in on a stream, at most `concurrency_max` at once, until the stream ends.
///
/// A handler that returns nothing, returns more than the frame limit or panics, declines: its caller gets [`Error::NoAnswer`]. When the stream ends, the
/// handlers that still run are cancelled. Above `concurrency_max` the stream is not read, which in the end holds up the
/// callers.
///
/// # Errors
/// Why the stream ended, unless the peer ended it cleanly.
pub async fn serve_calls<H, F>(
    inbound: Inbound,
    concurrency_max: usize,
    handler: H,
) -> Result<(), Error>
where
    H: Fn(Remote, Bytes) -> F,
    F: Future<Output = Option<Bytes>> + Send + 'static,
{
    let Inbound { remote, mut sender, mut receiver, .. } = inbound;
    let limit = sender.limit().saturating_sub(HEADER);
    let mut running = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(done) = running.join_next() => {
                answers.push(done);
                while answers.len() < BATCH_MAX && let Some(done) = running.try_join_next() {
                    answers.push(done);
                }
                let mut frames = answers.drain(..).flatten().collect();
                sender.send_all(&mut frames).await?;
            }
            frame = receiver.receive(), if running.len() < concurrency_max.max(1) => {
                let Some(frame) = frame? else { break };
                let places = concurrency_max.saturating_sub(running.len() + 1);
                let more = receiver.receive_ready(places)?;
                for mut frame in std::iter::once(frame).chain(more) {
                    if frame.len() < size_of::<u64>() {
                        return Err(Error::Malformed { what: "call" });
                    }
                    let number = frame.get_u64();
                    running.spawn(answered(number, limit, handler(remote.clone(), frame)));
                }
            }
        }
    }
    while let Some(done) = running.join_next().await {
        if let Ok(answer) = done {
            sender.send(answer).await?;
        }
    }
    sender.finish();
    Ok(())
}

/// Runs one handler and makes its answer's frame.
async fn answered(
    number: u64,
    limit: usize,
    handling: impl Future<Output = Option<Bytes>>,
) -> Bytes {
    // A panic declines; its message went to the panic hook.
    let answer = AssertUnwindSafe(handling).catch_unwind().await.unwrap_or(None);
    let answer = answer.filter(|bytes| bytes.len() <= limit);
    let given = answer.as_ref().map_or(DECLINED, |_| GIVEN);
    let bytes = answer.unwrap_or_default();
    let mut frame = BytesMut::with_capacity(HEADER + bytes.len());
    frame.put_u64(number);
    frame.put_u8(given);
    frame.put_slice(&bytes);
    frame.freeze()
}
