//! Whole nodes on simulated machines, all in one thread, from one seed.
//!
//! Owns the order in which machines take their steps. Does not own the machines. Invariant: the same seed gives the same
//! datagrams at the same times, in every process.

pub mod host;
pub mod invariants;
pub mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate::Config;
use quorate::command::Command;
use quorate::host::MemoryHost;
use quorate::transport::MemoryNetwork;

use crate::chance::Chance;
use crate::failure::Failure;
use host::{Host, STEP};

/// Runs a cluster under a little load for so many virtual seconds, and kills one node half way.
///
/// # Errors
/// When a node does not start.
pub fn run(seed: u64, nodes: usize, seconds: u64) -> Result<(), Failure> {
    seeded::seed(seed);
    let mut chance = Chance::new(Some(seed));
    let network = MemoryNetwork::stepped(seed);
    network.set_default(quorate::transport::Link {
        delay: Duration::from_micros(1000),
        jitter: Duration::from_millis(2),
        ..quorate::transport::Link::default()
    });
    let locks = MemoryHost::default();
    let addresses: Vec<std::net::SocketAddr> =
        (1..=nodes).map(|n| format!("10.0.0.{n}:7000").parse().expect("address")).collect();
    let mut hosts: Vec<Host> =
        addresses.iter().enumerate().map(|(n, a)| Host::new(n, *a, true)).collect();
    let mut now = Duration::ZERO;
    let acked = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(AtomicU64::new(0));
    for host in &mut hosts {
        let mut config = Config::default();
        config.node.listen = host.address;
        config.node.seeds = addresses.iter().map(|a| a.to_string()).collect();
        config.cluster.bootstrap_expect = u16::try_from(nodes).expect("few");
        config.cluster.secret = Some(quorate::transport::Secret::generate([7; 32]));
        let l = MemoryHost::default();
        let _ = &locks;
        host.start(&network, &l, config, now, &mut chance)?;
    }
    for host in &hosts {
        for client in 0..4 {
            let (acked, failed, n) = (acked.clone(), failed.clone(), host.number);
            host.spawn(move |node| async move {
                node.ready().await;
                for i in 0.. {
                    let command = Command::parse(&[
                        "SET".into(),
                        format!("k{}", i % 20).into(),
                        format!("{n} {client} {i}").into(),
                    ])
                    .expect("command");
                    match tokio::time::timeout(Duration::from_secs(5), node.command(command)).await
                    {
                        Ok(Ok(_)) => acked.fetch_add(1, Ordering::Relaxed),
                        _ => failed.fetch_add(1, Ordering::Relaxed),
                    };
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    }
    let until = Duration::from_secs(seconds);
    while now < until {
        now += STEP;
        network.advance_to(now);
        for host in &mut hosts {
            host.step();
        }
        if now == Duration::from_secs(seconds / 2) {
            hosts[0].kill(&network, quorate::storage::Survival::Everything);
        }
    }
    let status: Vec<_> = hosts
        .iter()
        .filter_map(|h| h.node())
        .map(|n| {
            let s = n.status();
            format!("{:?}", serde_json::to_string(&s).map(|s| s.len()))
        })
        .collect();
    println!(
        "seed {seed} acked {} failed {} {:?} {status:?}",
        acked.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed),
        network.trace()
    );
    Ok(())
}
