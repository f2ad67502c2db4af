//! State that dies with its process: kills and stalls its holder, and watches from the other nodes.
//!
//! Owns: the order of the rounds and their times. Does not own: what is held, how it is seen. Invariant: a round passes only
//! if no reader ever saw half of what was bound, and counters fell back by exactly the share.

pub mod embed;
mod state;
mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

pub use self::state::{Hold, Sight};
use self::watch::Watchers;
use crate::client::{Arrival, Client, REPLY_DEADLINE, encode};
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::{Cluster, FORM_DEADLINE, Process, Signal, wait_for};

/// How long it may take until what was bound is gone, or back.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many times each holder is killed, each time in a fresh cluster
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How many times a holder is stopped and continued
    #[arg(long, default_value_t = 3)]
    stalls: usize,
    /// For how long it is stopped
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    stall: f64,
    /// How many hash fields, and how many keys, are bound
    #[arg(long, default_value_t = 1000)]
    bound: usize,
}

/// The command line of the program that holds state until it is killed.
#[derive(Debug, Args)]
pub struct HoldLine {
    /// The RESP door of a node
    #[arg(long)]
    address: SocketAddr,
    /// How many hash fields, and how many keys
    #[arg(long)]
    bound: usize,
}

/// What one round has shown.
#[derive(Debug, Clone)]
pub struct Round {
    holder: String,
    /// From the kill or stop of who had bound something until it is gone.
    pub gone: Duration,
    back: Option<Duration>,
    told: Option<String>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, gone in one step after {}", self.holder, figures::text(self.gone))?;
        if let Some(back) = self.back {
            write!(f, ", back after {}", figures::text(back))?;
        }
        self.told.iter().try_for_each(|told| write!(f, ", told once: {told}"))
    }
}

/// Runs all rounds and prints what they have shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let hold = Hold { fields: line.bound, keys: line.bound };
    let stall = Duration::from_secs_f64(line.stall);
    let nodes =
        figures::rounds("node killed", line.rounds, async |number| kill_node(hold, number).await)
            .await;
    nodes.figure("from the kill of a node until its state is gone", |round| Some(round.gone));
    let clients = figures::rounds("client killed", line.rounds, async |number| {
        kill_client(hold, number).await
    })
    .await;
    clients.figure("from the kill of a client until its state is gone", |round| Some(round.gone));
    let doors = figures::rounds("node stopped", line.stalls, async |number| {
        stall_node(hold, stall, number).await
    })
    .await;
    let programs =
        figures::rounds("program stopped", line.stalls, async |_| stall_program(hold, stall).await)
            .await;
    for (who, rounds) in [("node", &doors), ("program", &programs)] {
        let (gone, back) = ("from the stop of a", "from the continuation of a");
        rounds.figure(&format!("{gone} {who} until its state is gone"), |round| Some(round.gone));
        rounds.figure(&format!("{back} {who} until its state is back"), |round| round.back);
    }
    Ok(figures::exit(nodes.failed + clients.failed + doors.failed + programs.failed))
}

/// Binds everything through the RESP door at `address`, then stays connected.
///
/// # Errors
/// When the node refuses, or the connection ends.
#[expect(clippy::print_stdout, reason = "the line tells the one that started this program")]
pub async fn hold(line: &HoldLine) -> Outcome<ExitCode> {
    let hold = Hold { fields: line.bound, keys: line.bound };
    let mut client = bind(line.address, hold, "CONNECTION").await?;
    println!("holding");
    loop {
        if client.next(Duration::from_secs(3600)).await? == Arrival::Closed {
            return Err(Failure::new("the node closed the connection"));
        }
    }
}

/// Writes what is bound through a connection that it hands out.
async fn bind(address: SocketAddr, hold: Hold, to: &str) -> Outcome<Client> {
    let mut client = Client::connect(address).await?;
    write(&mut client, &[vec![b"QUORATE.BIND".to_vec(), b"ON".to_vec(), to.into()]]).await?;
    write(&mut client, &hold.bound()).await?;
    Ok(client)
}

/// Sends all lines at once and takes their replies.
async fn write(client: &mut Client, lines: &[Vec<Vec<u8>>]) -> Outcome {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
        bytes.extend(encode(&words));
    }
    client.send(&bytes).await?;
    for line in lines {
        match client.next(REPLY_DEADLINE).await? {
            Arrival::Reply(reply) if reply.error_text().is_none() => {}
            other @ (Arrival::Reply(_) | Arrival::Closed | Arrival::Nothing) => {
                let word = String::from_utf8_lossy(line.first().map_or(&[], |word| word));
                return Err(Failure::new(format!("{word} gave {other:?}")));
            }
        }
    }
    Ok(())
}

/// A cluster of three in which somebody else has written what stays.
async fn cluster() -> Outcome<Cluster> {
    let cluster = Cluster::start(3).await?;
    let Some(node) = cluster.nodes.first() else { return Err(Failure::new("no node")) };
    write(&mut node.client().await?, &Hold::stays()).await?;
    Ok(cluster)
}

/// The RESP addresses of all nodes but the one at `place`.
fn others(cluster: &Cluster, place: usize) -> Vec<SocketAddr> {
    let mut addresses = cluster.resp();
    addresses.remove(place);
    addresses
}

/// Kills a node of three, in turn the leader and the others, that had bound `hold`.
///
/// # Errors
/// When it is not gone in one step, or comes back.
pub async fn kill_node(hold: Hold, number: usize) -> Outcome<Round> {
    let mut cluster = cluster().await?;
    // The leader and the two others take turns.
    let leader = cluster.leader().await?;
    let place = (leader + number) % 3;
    let addresses = others(&cluster, place);
    let Some(node) = cluster.nodes.get_mut(place) else { return Err(Failure::new("no node")) };
    let _client = bind(node.resp, hold, "NODE").await?;
    let mut watchers = Watchers::start(&addresses, hold);
    watchers.all_see(Sight::Full, PATIENCE).await?;
    let killed = Instant::now();
    node.process.signal(Signal::Kill)?;
    let gone = watchers.all_see(Sight::Gone, PATIENCE).await? - killed;
    // What is gone stays gone.
    sleep(Duration::from_millis(500)).await;
    watchers.still_see(Sight::Gone).await?;
    let holder = if place == leader { "the leader" } else { "a follower" };
    Ok(Round { holder: holder.to_owned(), gone, back: None, told: None })
}

async fn kill_client(hold: Hold, number: usize) -> Outcome<Round> {
    let cluster = cluster().await?;
    let place = number % 3;
    let Some(node) = cluster.nodes.get(place) else { return Err(Failure::new("no node")) };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["hold", "--address", &node.resp.to_string()]);
    command.args(["--bound", &hold.keys.to_string()]);
    let mut holder = Process::start("holder", command, cluster.folder.path())?;
    says(&mut holder, "holding").await?;
    let mut watchers = Watchers::start(&cluster.resp(), hold);
    watchers.all_see(Sight::Full, PATIENCE).await?;
    let killed = Instant::now();
    holder.signal(Signal::Kill)?;
    let gone = watchers.all_see(Sight::Gone, PATIENCE).await? - killed;
    Ok(Round { holder: format!("a client of n{}", place + 1), gone, back: None, told: None })
}

/// Stops a node whose RESP client has bound to it: the same connection stays through it.
async fn stall_node(hold: Hold, stall: Duration, number: usize) -> Outcome<Round> {
    let mut cluster = cluster().await?;
    let leader = cluster.leader().await?;
    let place = (leader + number) % 3;
    let addresses = others(&cluster, place);
    let Some(node) = cluster.nodes.get_mut(place) else { return Err(Failure::new("no node")) };
    let mut client = bind(node.resp, hold, "NODE").await?;
    let mut watchers = Watchers::start(&addresses, hold);
    let (gone, back) = stop_and_go(&mut node.process, &mut watchers, stall).await?;
    let reply = client.ask("PING").await?;
    if reply.error_text().is_some() {
        return Err(Failure::new(format!("PING after the stall gives {reply}")));
    }
    let holder = if place == leader { "the leader" } else { "a follower" };
    Ok(Round { holder: holder.to_owned(), gone, back: Some(back), told: None })
}

/// Stops a program that embeds a node, binds by the Rust API and prints what it is told.
async fn stall_program(hold: Hold, stall: Duration) -> Outcome<Round> {
    let cluster = cluster().await?;
    let mut program = embed::start(&cluster, Some(hold), Path::new("program"))?;
    says(&mut program, "holding").await?;
    let mut watchers = Watchers::start(&cluster.resp(), hold);
    let times = stop_and_go(&mut program, &mut watchers, stall).await;
    let (gone, back) = times.map_err(|failure| failure.during(program.output()))?;
    let output = program.output();
    let told = |what: &str| -> Vec<&str> {
        let events = output.lines().filter_map(|line| line.strip_prefix("event: "));
        events.filter(|event| event.starts_with(what)).collect()
    };
    let ([_], [told]) = (&told("SessionLost")[..], &told("SessionRenewed")[..]) else {
        return Err(Failure::new(format!("the program was not told once of each:\n{output}")));
    };
    let (holder, told) = ("a program".to_owned(), (*told).to_owned());
    Ok(Round { holder, gone, back: Some(back), told: Some(told) })
}

/// Returns after how long all was gone, counted from the stop, and back, counted from the continuation.
async fn stop_and_go(
    process: &mut Process,
    watchers: &mut Watchers,
    stall: Duration,
) -> Outcome<(Duration, Duration)> {
    watchers.all_see(Sight::Full, PATIENCE).await?;
    let stopped = Instant::now();
    process.signal(Signal::Stop)?;
    let gone = watchers.all_see(Sight::Gone, stall).await;
    tokio::time::sleep_until(stopped + stall).await;
    let continued = Instant::now();
    process.signal(Signal::Cont)?;
    let gone = gone? - stopped;
    let back = watchers.all_see(Sight::Full, PATIENCE).await? - continued;
    // What is back stays, and is not told of twice.
    sleep(Duration::from_secs(3)).await;
    watchers.still_see(Sight::Full).await?;
    Ok((gone, back))
}

/// Waits until the program has printed `word`.
async fn says(process: &mut Process, word: &str) -> Outcome {
    wait_for(word, FORM_DEADLINE, || {
        let said = process.output().lines().any(|line| line == word);
        let text = if said { Ok(()) } else { Err(Failure::new(process.log_end())) };
        async move { text }
    })
    .await
}
