//! One publisher and its listeners as clients of servers, all in one place.
//!
//! Owns: their sockets, the pace, the count of what arrived. Does not own: the servers. Invariant: the publisher is never more
//! than the window ahead of the slowest listener, and a message that does not arrive in its place fails the measurement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::dialect::{Dialect, Frame, PROBE};
use super::{Pace, Shown};
use crate::failure::{Failure, Outcome};

/// How many bytes are asked of the system at once.
const READ_MAX: usize = 64 * 1024;
/// How long anything may stand still before the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the servers speak.
    pub dialect: Dialect,
    /// Where they are; the publisher goes to the first.
    pub servers: Vec<SocketAddr>,
    /// How many listeners there are in all; they go to the servers in turn.
    pub listeners: usize,
    /// The channel.
    pub channel: String,
    /// How fast.
    pub pace: Pace,
    /// For how long.
    pub time: Duration,
}

/// How far the listeners are.
#[derive(Debug)]
struct Progress {
    received: Vec<AtomicU64>,
    probed: Vec<AtomicBool>,
    answered: AtomicU64,
    moved: Notify,
}

impl Progress {
    fn least(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Acquire)).min().unwrap_or_default()
    }

    async fn until(&self, is_there: impl Fn(&Self) -> bool) -> Outcome {
        let waiting = async {
            while !is_there(self) {
                self.moved.notified().await;
            }
        };
        let late = || {
            let least = self.least();
            let most = self.received.iter().map(|count| count.load(Ordering::Acquire)).max();
            let most = most.unwrap_or_default();
            let text = format!("nothing for {PATIENCE:?}; listeners have {least} to {most}");
            Failure::new(text)
        };
        timeout(PATIENCE, waiting).await.map_err(|_| late())
    }
}

/// Measures, in a thread of its own.
///
/// # Errors
/// When a connection ends, a message is missing, or nothing moves any more.
pub async fn measure(plan: Plan) -> Outcome<Shown> {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(with_listeners(&plan))
    };
    let measured = tokio::task::spawn_blocking(work).await;
    measured.map_err(|error| Failure::new(format!("the driver broke: {error}")))?
}

async fn with_listeners(plan: &Plan) -> Outcome<Shown> {
    let count = plan.listeners;
    let progress = Arc::new(Progress {
        received: (0..count).map(|_| AtomicU64::new(0)).collect(),
        probed: (0..count).map(|_| AtomicBool::new(false)).collect(),
        answered: AtomicU64::new(0),
        moved: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    for (place, server) in plan.servers.iter().cycle().take(count).enumerate() {
        let (stream, rest) = connect(*server, plan.dialect, Some(&plan.channel)).await?;
        let frame = plan.dialect.frame(&plan.channel);
        tasks.spawn(listen(stream, rest, frame, place, Arc::clone(&progress)));
    }
    let Some(server) = plan.servers.first() else { return Err(Failure::new("no server")) };
    let (stream, _) = connect(*server, plan.dialect, None).await?;
    let (reader, mut writer) = stream.into_split();
    tasks.spawn(answers(reader, plan.dialect.answer_mark(), Arc::clone(&progress)));
    let publishing = async {
        probe(plan, &mut writer, &progress).await?;
        publish(plan, &mut writer, &progress).await
    };
    tokio::select! {
        shown = publishing => shown,
        Some(ended) = tasks.join_next() => match ended {
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(())) | Err(_) => Err(Failure::new("a listener ended")),
        },
    }
}

/// Connects, greets, and gives what has arrived behind the answer.
async fn connect(
    server: SocketAddr,
    dialect: Dialect,
    listens_to: Option<&str>,
) -> Outcome<(TcpStream, Vec<u8>)> {
    let greeting = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (greeting, end) = dialect.greeting(listens_to);
        stream.write_all(&greeting).await?;
        let mut answer = Vec::new();
        loop {
            let found = answer.windows(end.len()).position(|part| part == end);
            if let Some(at) = found {
                return Ok((stream, answer.split_off(at + end.len())));
            }
            if stream.read_buf(&mut answer).await? == 0 {
                let text = String::from_utf8_lossy(&answer).into_owned();
                return Err(Failure::new(format!("{server} hung up after {text}")));
            }
        }
    };
    let late = |_| Failure::new(format!("{server} does not answer a greeting"));
    timeout(PATIENCE, greeting).await.map_err(late)?
}

/// Counts messages, each of which must have the next number.
async fn listen(
    mut stream: TcpStream,
    mut held: Vec<u8>,
    frame: Frame,
    place: usize,
    progress: Arc<Progress>,
) -> Outcome {
    let (Some(received), Some(probed)) = (progress.received.get(place), progress.probed.get(place))
    else {
        return Err(Failure::new("no such listener"));
    };
    held.reserve(READ_MAX);
    let mut due = 0;
    loop {
        let used = frame.take(&held, |number| {
            if number == PROBE {
                probed.store(true, Ordering::Release);
            } else if number == due {
                due += 1;
            } else {
                return Err(Failure::new(format!("message {number} came when {due} was due")));
            }
            Ok(())
        })?;
        held.drain(..used);
        received.store(due, Ordering::Release);
        progress.moved.notify_one();
        held.reserve(READ_MAX);
        if stream.read_buf(&mut held).await? == 0 {
            return Err(Failure::new(format!("a listener's server hung up after {due} messages")));
        }
    }
}

/// Counts the answers to the publisher.
async fn answers(mut reader: OwnedReadHalf, mark: u8, progress: Arc<Progress>) -> Outcome {
    let mut buffer = Vec::with_capacity(READ_MAX);
    loop {
        buffer.clear();
        if reader.read_buf(&mut buffer).await? == 0 {
            return Err(Failure::new("the publisher's server hung up"));
        }
        if buffer.contains(&b'-') {
            let text = String::from_utf8_lossy(&buffer).into_owned();
            return Err(Failure::new(format!("a publish gave {text}")));
        }
        let count = buffer.iter().filter(|byte| **byte == mark).count() as u64;
        progress.answered.fetch_add(count, Ordering::AcqRel);
        progress.moved.notify_one();
    }
}

/// Publishes until every listener has got something: only then are all servers known to send here.
async fn probe(
    plan: &Plan,
    writer: &mut (impl AsyncWriteExt + Unpin),
    progress: &Progress,
) -> Outcome {
    let begun = Instant::now();
    let mut asked = 0;
    let all_probed =
        |progress: &Progress| progress.probed.iter().all(|probed| probed.load(Ordering::Acquire));
    while !all_probed(progress) {
        let mut text = Vec::new();
        plan.dialect.publish(&plan.channel, PROBE, true, &mut text);
        writer.write_all(&text).await?;
        asked += 1;
        progress.until(|progress| progress.answered.load(Ordering::Acquire) >= asked).await?;
        if !all_probed(progress) {
            // Reached or not: the next probe shows.
            let _late = timeout(PROBE_PAUSE, progress.until(all_probed)).await;
        }
        if begun.elapsed() > PATIENCE {
            let reached = progress.probed.iter().filter(|seen| seen.load(Ordering::Acquire));
            let (reached, all) = (reached.count(), plan.listeners);
            return Err(Failure::new(format!("{reached} of {all} listeners get anything")));
        }
    }
    progress.answered.store(0, Ordering::Release);
    Ok(())
}

/// Publishes for the time given, and waits until everything has arrived.
async fn publish(
    plan: &Plan,
    writer: &mut (impl AsyncWriteExt + Unpin),
    progress: &Progress,
) -> Outcome<Shown> {
    let Pace { window, step, is_answered, .. } = plan.pace;
    let begun = Instant::now();
    let (mut sent, mut text) = (0, Vec::new());
    while begun.elapsed() < plan.time {
        let enough = (sent + step).saturating_sub(window);
        if progress.least() < enough {
            progress.until(|progress| progress.least() >= enough).await?;
        }
        text.clear();
        for number in sent..sent + step {
            plan.dialect.publish(&plan.channel, number, is_answered, &mut text);
        }
        writer.write_all(&text).await?;
        sent += step;
        if is_answered {
            progress.until(|progress| progress.answered.load(Ordering::Acquire) >= sent).await?;
        } else {
            // On one thread, or the listeners would wait for the window to be full.
            tokio::task::yield_now().await;
        }
    }
    progress.until(|progress| progress.least() >= sent).await?;
    Ok(Shown { published: sent, listeners: plan.listeners, elapsed: begun.elapsed() })
}
