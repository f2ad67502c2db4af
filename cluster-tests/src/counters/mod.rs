//! Counters that clients at all nodes increment while the leader is killed, paused and cut off.
//!
//! Owns: the run from start to verdict. Does not own: the clients (`client`), the faults (`nemesis`), the judgement of what
//! the clients saw (`history`). Invariant: what this machine cannot do is named; it never counts as passed.

mod client;
mod history;
mod journal;
mod nemesis;

use std::time::Duration;

use tokio::time::Instant;

use self::client::Clients;
use self::history::{Counter, Final};
use self::nemesis::Nemesis;
use crate::chance::Chance;
use crate::door::{Door, read_number};
use crate::failure::{Failure, Outcome};
use crate::network::Network;
use crate::process::{Group, Plan, wait_for};

/// How long the cluster may take until every node serves again, once all faults are over.
const HEAL_DEADLINE: Duration = Duration::from_secs(60);
/// Keeps the whole log, so that it can be read afterwards; and gives each node a host of its own, since its namespace stands
/// for one.
const CONFIG: &str =
    "[consensus]\nsnapshot_log_bytes = \"2 GiB\"\n\n[node]\nhost = \"host-{slot}\"\n";

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// For how long
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// How many nodes there are
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// Clients at each node
    #[arg(long, default_value_t = 3)]
    clients: usize,
    /// The seed of what is left to chance
    #[arg(long)]
    rng_seed: Option<u64>,
    /// Do without partitions, and so without namespaces
    #[arg(long)]
    no_network: bool,
    /// Do without disks: a process that was killed comes back as another node
    #[arg(long)]
    no_disk: bool,
}

impl Line {
    /// Tells whether the test needs [`crate::network::enter`].
    #[must_use]
    pub const fn wants_network(&self) -> bool {
        !self.no_network
    }
}

/// Runs it; prints the faults, and the figures at the end.
///
/// # Errors
/// When a promise is broken.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub async fn run(line: &Line, network: Option<Network>) -> Outcome {
    let plan = Plan { network, durable: !line.no_disk, config: CONFIG.into() };
    let mut group = Group::new(plan)?;
    let result = increments(line, &mut group).await;
    if result.is_err() {
        println!("logs are kept in {}", group.keep().display());
    }
    result
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn increments(line: &Line, group: &mut Group) -> Outcome {
    let mut chance = Chance::new(line.rng_seed);
    println!("seed {}", chance.rng_seed());
    let slots: Vec<usize> = (1..=line.nodes).collect();
    group.start(&slots).await?;
    group.settle(line.nodes.min(3), HEAL_DEADLINE).await?;
    let begun = Instant::now();
    let clients = Clients::start(line.clients, group, begun, &mut chance);
    let mut nemesis = Nemesis::new(chance.branch(), slots, begun);
    let troubled =
        nemesis.trouble(group, begun + Duration::from_secs_f64(line.minutes * 60.0)).await;
    let history = clients.finish().await?;
    println!("faults: {}", nemesis.summary());
    // The history is judged even if the cluster did not come back: what it did before counts, too.
    println!("counters: {}", history.judge(None)?);
    troubled?;
    group.settle(line.nodes.min(3), HEAL_DEADLINE).await?;
    let mut finals = None;
    for door in group.open() {
        let read = wait_for("the final counts", HEAL_DEADLINE, || read_final(&door)).await?;
        if finals.is_some_and(|other| other != read) {
            let text = format!("n{} reads {read:?}, others {finals:?}", door.slot);
            return Err(Failure::new(text));
        }
        finals = Some(read);
    }
    let read = finals.ok_or_else(|| Failure::new("no node"))?;
    println!("counters at the end: {}", history.judge(Some(read))?);
    check_logs(line, group, read).await
}

async fn read_final(door: &Door) -> Outcome<Final> {
    let mut client = door.open().await?;
    let mut read = Final::default();
    for counter in Counter::ALL {
        *read.of_mut(counter) = read_number(&mut client, counter.read()).await?;
    }
    Ok(read)
}

/// Ends all nodes as a power cut does, and reads what each has on its disk.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn check_logs(line: &Line, group: &mut Group, read: Final) -> Outcome {
    if line.no_disk {
        println!("left out: serials in the log, because the nodes kept nothing on disk");
        return Ok(());
    }
    let mut whole = 0;
    for slot in group.slots() {
        group.kill(slot).await?;
        let journal = journal::read(&group.data_folder(slot));
        let journal = journal.map_err(|failure| failure.during(format!("the log of n{slot}")))?;
        println!("the log of n{slot}: {journal}");
        if journal.last != read {
            let text =
                format!("the log of n{slot} ends with {:?}, nodes read {read:?}", journal.last);
            return Err(Failure::new(text));
        }
        whole += usize::from(journal.first == 0);
    }
    if whole == 0 {
        return Err(Failure::new("no node has kept the whole log"));
    }
    println!("counters in the logs: no serial was applied twice, by {whole} whole logs");
    Ok(())
}
