//! One round in which the leader of a fresh cluster is killed under load.
//!
//! Owns: the order of a round. Does not own: the processes, the load and its record. Invariant: a round passes only if
//! every survivor was asked for every acknowledged write.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::load::{self, Writers};
use crate::process::{Cluster, Signal};

/// How long the survivors may take to accept writes again before the round fails.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(30);

/// How much is written, and how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Clients at each node.
    pub writers: usize,
    /// Load before the kill.
    pub before: Duration,
    /// Load after the recovery.
    pub after: Duration,
}

/// What the nodes can know of one another's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// All are on one host: by their locks each sees at once that another's process is gone.
    One,
    /// Each is on a host of its own, as far as it can tell: a dead node is one that is silent.
    Each,
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "on one host",
            Self::Each => "on hosts of their own",
        })
    }
}

/// What one round has shown.
#[derive(Debug, Clone)]
pub struct Round {
    /// The node that led, from 1.
    pub leader: usize,
    /// The longest time in which a survivor acknowledged no write.
    pub gap: Duration,
    /// How many writes were acknowledged.
    pub acknowledged: usize,
    /// How many writes may have happened or not.
    pub unknown: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leader, gap, acknowledged, unknown } = self;
        let ms = gap.as_millis();
        write!(f, "leader n{leader} killed, write gap {ms} ms, ")?;
        write!(f, "{acknowledged} writes acknowledged and all there, {unknown} unknown")
    }
}

/// Runs one round with a fresh cluster of three on one host.
///
/// # Errors
/// When an acknowledged write is missing, a counter is out of bounds, or the survivors do not recover.
pub async fn round(load: &Load) -> Outcome<Round> {
    kill(load, 3, Hosts::One).await
}

/// Runs one round with a fresh cluster of so many nodes.
pub(super) async fn kill(load: &Load, nodes: usize, hosts: Hosts) -> Outcome<Round> {
    let mut cluster = Cluster::start_with(nodes, |place, options, folder| {
        if hosts == Hosts::Each {
            let (config, locks) = (format!("n{place}.toml"), folder.join(format!("locks-{place}")));
            let config = folder.join(config);
            let locks = locks.display();
            std::fs::write(
                &config,
                format!("[node]\nhost = \"host-{place}\"\nlock_dir = \"{locks}\"\n"),
            )?;
            options.more = vec!["--config".into(), config.display().to_string()];
        }
        Ok(())
    })
    .await?;
    let writers = Writers::start(&cluster.resp(), load.writers, 0);
    sleep(load.before).await;
    let leader = cluster.leader().await?;
    let killed_at = Instant::now();
    if let Some(node) = cluster.nodes.get_mut(leader) {
        node.process.signal(Signal::Kill)?;
    }
    let mut survivors: Vec<(usize, SocketAddr)> = cluster.resp().into_iter().enumerate().collect();
    survivors.remove(leader);
    let recovered = recover(&survivors).await;
    sleep(load.after).await;
    let records = writers.finish().await?;
    recovered?;
    for (_, address) in &survivors {
        load::check(*address, &records).await?;
    }
    let gap = survivors.iter().filter_map(|(node, _)| load::gap(&records, *node, killed_at)).max();
    let total = load::total(&records);
    Ok(Round {
        leader: leader + 1,
        gap: gap.ok_or_else(|| Failure::new("no write was acknowledged around the kill"))?,
        acknowledged: total.acknowledged,
        unknown: total.unknown,
    })
}

/// Waits until each survivor has accepted a write that began after the kill.
///
/// # Errors
/// When one has not within 30 seconds.
pub async fn recover(survivors: &[(usize, SocketAddr)]) -> Outcome {
    for (node, address) in survivors {
        let what = format!("a write at n{} after the kill", node + 1);
        crate::process::wait_for(&what, RECOVERY_DEADLINE, || async {
            let reply = Client::connect(*address).await?.ask("SET recovered 1").await?;
            match reply.error_text() {
                None => Ok(()),
                Some(text) => Err(Failure::new(text)),
            }
        })
        .await?;
    }
    Ok(())
}
