//! Programs that embed a node, each with listeners of its own and one with the publisher: no client and no door.
//!
//! Owns: the processes, what they are told over a connection of their own, the pace among them. Does not own: figures.
//! Invariant: as with clients, the publisher is never more than the window ahead of the slowest listener of all processes; they
//! tell it by messages on a channel beside.
//!
//! ```text
//! listen CHANNEL COUNT EVERY                     ok        tells every EVERY messages how far the slowest here is
//! publish CHANNEL PROCESSES PACE MILLISECONDS    published COUNT MICROSECONDS
//! quiet                                          counts N N N      ends the listeners
//! ```
#![expect(clippy::print_stdout, reason = "the line tells where this program is to be asked")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use quorate::Node;
use quorate::pubsub::{Delivery, Draft, Kind, Subscriber};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::dialect::{number, payload};
use super::{Pace, Shown};
use crate::bound::embed::config;
use crate::failure::{Failure, Outcome};
use crate::process::{FORM_DEADLINE, Process, binary, free_addresses, keygen, restrict, wait_for};

/// How long anything may stand still before the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The command line of one of the programs.
#[derive(Debug, Args)]
pub struct Line {
    /// Where this one listens
    #[arg(long)]
    listen: SocketAddr,
    /// All of them
    #[arg(long, required = true)]
    seed: Vec<SocketAddr>,
    /// The file with the cluster secret
    #[arg(long)]
    secret_file: PathBuf,
}

/// The programs.
#[derive(Debug)]
pub struct Programs {
    /// The processes.
    pub processes: Vec<Process>,
    controls: Vec<BufStream<TcpStream>>,
    _folder: TempDir,
}

impl Programs {
    /// Starts `count` of them as one cluster.
    ///
    /// # Errors
    /// When they are not ready within [`FORM_DEADLINE`].
    pub async fn start(count: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, keygen(&binary()?)?)?;
        restrict(&secret_file)?;
        let listens = free_addresses(count)?;
        let mut processes = Vec::new();
        for (place, listen) in listens.iter().enumerate() {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("fanout-program").arg("--listen").arg(listen.to_string());
            command.arg("--secret-file").arg(&secret_file);
            listens.iter().for_each(|seed| {
                command.arg("--seed").arg(seed.to_string());
            });
            processes.push(Process::start(&format!("p{place}"), command, folder.path())?);
        }
        let mut controls = Vec::new();
        for process in &processes {
            let control = wait_for("a program", FORM_DEADLINE, || async {
                let output = process.output();
                let address = output.strip_prefix("control ").and_then(|rest| rest.lines().next());
                let address = address.ok_or_else(|| Failure::new(process.log_end()))?;
                Ok(TcpStream::connect(address).await?)
            });
            controls.push(BufStream::new(control.await?));
        }
        Ok(Self { processes, controls, _folder: folder })
    }

    /// Measures with `each` listeners in each process; the first one publishes.
    ///
    /// # Errors
    /// When a process fails, or a message is missing.
    pub async fn measure(
        &mut self,
        channel: &str,
        each: usize,
        pace: Pace,
        time: Duration,
    ) -> Outcome<Shown> {
        let count = self.controls.len();
        for control in &mut self.controls {
            ask(control, &format!("listen {channel} {each} {}", pace.told_every)).await?;
        }
        let Some(first) = self.controls.first_mut() else { return Err(Failure::new("none")) };
        let time = time.as_millis();
        let told = ask(first, &format!("publish {channel} {count} {pace} {time}")).await?;
        let numbers = numbers(&told, "published")?;
        let [published, micros] = numbers[..] else { return Err(Failure::new(told)) };
        for control in &mut self.controls {
            let told = ask(control, "quiet").await?;
            if self::numbers(&told, "counts")? != vec![published; each] {
                return Err(Failure::new(format!("{published} published, and {told}")));
            }
        }
        let elapsed = Duration::from_micros(micros);
        Ok(Shown { published, listeners: each * count, elapsed })
    }
}

async fn ask(control: &mut BufStream<TcpStream>, line: &str) -> Outcome<String> {
    let exchange = async {
        control.write_all(format!("{line}\n").as_bytes()).await?;
        control.flush().await?;
        let mut answer = String::new();
        control.read_line(&mut answer).await?;
        Ok::<_, Failure>(answer.trim().to_owned())
    };
    let answer = timeout(PATIENCE * 3, exchange).await;
    let answer = answer.map_err(|_| Failure::new(format!("no answer to '{line}'")))??;
    match answer.strip_prefix("failed ") {
        Some(text) => Err(Failure::new(text)),
        None => Ok(answer),
    }
}

fn numbers(line: &str, word: &str) -> Outcome<Vec<u64>> {
    let numbers = line.strip_prefix(word).map(str::split_whitespace);
    let numbers = numbers.and_then(|rest| rest.map(|text| text.parse().ok()).collect());
    numbers.ok_or_else(|| Failure::new(format!("'{line}' is no '{word}'")))
}

/// Runs one of the programs until it is killed.
///
/// # Errors
/// When the node does not start.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let mut config = config(&line.seed, &line.secret_file);
    config.node.listen = line.listen;
    config.cluster.bootstrap_expect = u16::try_from(line.seed.len()).unwrap_or(u16::MAX);
    let node = Node::start(config).await.map_err(|error| Failure::new(error.to_string()))?;
    node.ready().await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("control {}", listener.local_addr()?);
    let (stream, _) = listener.accept().await?;
    let place = line.seed.iter().position(|seed| *seed == line.listen).unwrap_or_default();
    let mut program = Program { node, place: place as u64, group: None };
    let mut control = BufStream::new(stream);
    loop {
        let mut line = String::new();
        if control.read_line(&mut line).await? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let answer = program.take(line.trim()).await;
        let answer = answer.unwrap_or_else(|failure| format!("failed {failure}"));
        control.write_all(format!("{answer}\n").as_bytes()).await?;
        control.flush().await?;
    }
}

/// One of the programs.
struct Program {
    node: Node,
    place: u64,
    group: Option<Group>,
}

/// The listeners of one measurement.
struct Group {
    counts: Arc<Counts>,
    tasks: JoinSet<Outcome>,
}

/// How far they are.
struct Counts {
    received: Vec<AtomicU64>,
    told_every: u64,
    /// How many times it was told.
    told: AtomicU64,
}

impl Program {
    async fn take(&mut self, line: &str) -> Outcome<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| Failure::new(format!("{text} is no number")))
        };
        match words[..] {
            ["listen", channel, count, every] => {
                self.listen(channel, number(count)?, number(every)?).await?;
                Ok("ok".to_owned())
            }
            ["publish", channel, processes, window, step, is_answered, every, time] => {
                let pace = Pace {
                    window: number(window)?,
                    step: number(step)?,
                    is_answered: is_answered == "true",
                    told_every: number(every)?,
                };
                let time = Duration::from_millis(number(time)?);
                let processes = usize::try_from(number(processes)?).unwrap_or(usize::MAX);
                let (published, elapsed) = self.publish(channel, processes, pace, time).await?;
                Ok(format!("published {published} {}", elapsed.as_micros()))
            }
            ["quiet"] => self.quiet().await,
            _ => Err(Failure::new(format!("'{line}' is nothing that it could do"))),
        }
    }

    async fn listen(&mut self, channel: &str, count: u64, told_every: u64) -> Outcome {
        let received = (0..count).map(|_| AtomicU64::new(0)).collect();
        let counts = Arc::new(Counts { received, told_every, told: AtomicU64::new(0) });
        let mut tasks = JoinSet::new();
        for (place, _) in (0..count).enumerate() {
            let subscriber = subscribe(&self.node, channel).await?;
            let (node, counts) = (self.node.clone(), Arc::clone(&counts));
            let acks = acks(channel);
            let own = self.place;
            tasks.spawn(async move {
                count_messages(&subscriber, &counts, place, |least| {
                    let tell = [own.to_be_bytes(), least.to_be_bytes()].concat();
                    tell_publisher(&node, &acks, Bytes::from(tell))
                })
                .await
            });
        }
        self.group = Some(Group { counts, tasks });
        Ok(())
    }

    /// Ends the listeners and tells what each has got.
    async fn quiet(&mut self) -> Outcome<String> {
        let Some(Group { counts, mut tasks }) = self.group.take() else {
            return Err(Failure::new("nobody listens here"));
        };
        while let Some(ended) = tasks.try_join_next() {
            ended.map_err(|error| Failure::new(error.to_string()))??;
        }
        tasks.shutdown().await;
        let counts: Vec<String> =
            counts.received.iter().map(|count| count.load(Ordering::Acquire).to_string()).collect();
        Ok(format!("counts {}", counts.join(" ")))
    }

    async fn publish(
        &self,
        channel: &str,
        processes: usize,
        pace: Pace,
        time: Duration,
    ) -> Outcome<(u64, Duration)> {
        let acks = subscribe(&self.node, &acks(channel)).await?;
        let mut slowest = Slowest { acks, at: vec![0; processes] };
        let Pace { window, step, is_answered, told_every } = pace;
        let name = Bytes::copy_from_slice(channel.as_bytes());
        let (begun, mut sent) = (Instant::now(), 0_u64);
        while begun.elapsed() < time || !sent.is_multiple_of(told_every) {
            slowest.until((sent + step).saturating_sub(window)).await?;
            let draft = |number| Draft {
                kind: Kind::Channel,
                channel: name.clone(),
                payload: Bytes::copy_from_slice(&payload(number)),
            };
            let drafts: Vec<Draft> = (sent..sent + step).map(draft).collect();
            for count in self.node.pubsub().publish_all(&drafts, is_answered) {
                let count = count.map_err(|error| Failure::new(error.to_string()))?;
                if is_answered {
                    count.await;
                }
            }
            sent += step;
        }
        slowest.until(sent).await?;
        Ok((sent, begun.elapsed()))
    }
}

fn acks(channel: &str) -> String {
    format!("{channel}:acks")
}

async fn subscribe(node: &Node, channel: &str) -> Outcome<Subscriber> {
    let subscriber = node.subscriber();
    let subscription = subscriber.subscribe(Kind::Channel, channel.as_bytes());
    let subscription = subscription.map_err(|error| Failure::new(error.to_string()))?;
    subscription.in_effect().await;
    Ok(subscriber)
}

fn tell_publisher(node: &Node, acks: &str, ack: Bytes) -> Outcome {
    let told = node.pubsub().publish(Kind::Channel, acks.as_bytes(), ack, false);
    told.map(drop).map_err(|error| Failure::new(error.to_string()))
}

async fn receive(subscriber: &Subscriber) -> Outcome<Bytes> {
    match subscriber.receive().await {
        Ok(Delivery::Message(message)) => Ok(message.payload),
        Ok(Delivery::Lost(lost)) => Err(Failure::new(format!("told of a loss: {lost:?}"))),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// Counts messages, each of which must have the next number, and calls `tell` when the slowest has come another part further.
async fn count_messages(
    subscriber: &Subscriber,
    counts: &Counts,
    place: usize,
    tell: impl Fn(u64) -> Outcome,
) -> Outcome {
    let Some(received) = counts.received.get(place) else { return Ok(()) };
    let mut due = 0;
    loop {
        let payload = receive(subscriber).await?;
        if number(&payload) != Some(due) {
            return Err(Failure::new(format!("another message came when {due} was due")));
        }
        due += 1;
        // In one order with the reads below: of two that finish together, at least one must see both.
        received.store(due, Ordering::SeqCst);
        if due.is_multiple_of(counts.told_every) {
            let each = counts.received.iter().map(|count| count.load(Ordering::SeqCst));
            let least = each.min().unwrap_or_default() / counts.told_every;
            // Two that come to the end of a part at the same time may both see it: one of them tells.
            if counts.told.fetch_max(least, Ordering::AcqRel) < least {
                tell(least * counts.told_every)?;
            }
        }
    }
}

/// What the processes have told the publisher.
struct Slowest {
    acks: Subscriber,
    at: Vec<u64>,
}

impl Slowest {
    async fn until(&mut self, enough: u64) -> Outcome {
        while self.at.iter().min().copied().unwrap_or_default() < enough {
            let ack = timeout(PATIENCE, receive(&self.acks)).await;
            let late = |_| Failure::new(format!("at {:?}, and nothing for {PATIENCE:?}", self.at));
            let ack = ack.map_err(late)??;
            let parts = (number(&ack), ack.get(8..).and_then(number));
            let (Some(place), Some(least)) = parts else { return Err(Failure::new("no ack")) };
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if let Some(at) = self.at.get_mut(place) {
                *at = least.max(*at);
            }
        }
        Ok(())
    }
}
