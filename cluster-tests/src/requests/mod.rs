//! Requests across processes: how long they take beside the same over redis-server, and how soon their failure is told.
//!
//! Owns: the cluster of three (this program with a node inside, a program with the responders, a `quorate serve`), the order
//! of the rounds, the figures. Does not own: how a request is made. Invariant: what is compared takes turns in one run.

mod gone;
mod measure;
mod pair;
pub mod peer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use quorate::node::Node;
use quorate::pubsub::RequestError;
use tokio::time::Instant;

use self::measure::{Plan, Spread, Way, measure};
use self::pair::Asker;
use crate::bound::embed;
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::{Cluster, FORM_DEADLINE, Process, RedisServer, redis_server, wait_for};

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// How many requests of each kind in each round
    #[arg(long, default_value_t = 2000)]
    requests: usize,
    /// How many rounds, in which all kinds take turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many bytes a request and its reply have
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// How many requests that nobody responds to
    #[arg(long, default_value_t = 1000)]
    nobody: usize,
    /// How many times the responder's process is killed while it holds a request
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How many times it is killed while its node leads, each time in a fresh cluster
    #[arg(long, default_value_t = 5)]
    leader_kills: usize,
}

/// Gives the channel with a number.
fn name(prefix: &str, number: usize) -> String {
    format!("{prefix}:{number}")
}

/// Starts a node in this process, and waits until it is ready.
async fn embedded(seeds: &[SocketAddr], secret_file: &Path) -> Outcome<Node> {
    let mut config = embed::config(seeds, secret_file);
    config.node.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let node = Node::start(config).await.map_err(|error| Failure::new(error.to_string()))?;
    let ready = tokio::time::timeout(FORM_DEADLINE, node.ready()).await;
    ready.map_err(|_| Failure::new("the node inside does not get ready"))?;
    Ok(node)
}

/// Gives an order to the program called `name`.
async fn order(node: &Node, name: &str, text: &str) -> Outcome<String> {
    let channel = peer::orders(name);
    let reply = node.request(channel.as_bytes(), text.to_owned().into(), FORM_DEADLINE).await;
    let reply = reply.map_err(|error| Failure::new(error.to_string()).during(text))?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Waits until the program called `name` takes orders.
async fn obeys(node: &Node, name: &str, process: &Process) -> Outcome {
    let obeys = wait_for(name, FORM_DEADLINE, async || order(node, name, "held").await.map(drop));
    obeys.await.map_err(|failure| failure.during(process.log_end()))
}

/// Runs everything and prints what it has shown.
///
/// # Errors
/// When the harness itself fails.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let mut failures = 0;
    let cluster = Cluster::start(1).await?;
    let seeds: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.cluster).collect();
    let node = embedded(&seeds, &cluster.folder.path().join("secret")).await?;
    let redis = match redis_server() {
        Some(program) => Some(RedisServer::start(&program).await?),
        None => {
            figures::left_out("requests over redis-server, because there is none");
            None
        }
    };
    let address = redis.as_ref().map(|server| server.address);
    let process = peer::start("peer", cluster.folder.path(), &seeds, address)?;
    obeys(&node, "peer", &process).await?;
    let mut ways = BTreeMap::from([("native", Way::Native(node.clone()))]);
    let others = [("door", cluster.resp().first().copied()), ("redis", address)];
    for (place, address) in others {
        if let Some(address) = address {
            let asker = Arc::new(Asker::connect(address).await?);
            ways.insert(place, Way::Pair(asker, Arc::new(AtomicU64::new(0))));
        }
    }
    failures += figures::failed("times", times(line, &node, &ways).await);
    failures += figures::failed("nobody", nobody(line, &node).await);
    drop(process);
    drop(ways);
    failures += gone::kills(line.kills, &node, &cluster).await;
    node.leave().await;
    drop(cluster);
    failures += gone::leader_kills(line.leader_kills).await;
    Ok(figures::exit(failures))
}

/// All kinds of requests in turns.
async fn times(line: &Line, node: &Node, ways: &BTreeMap<&'static str, Way>) -> Outcome {
    let mut all: BTreeMap<(bool, usize, &str), Vec<Duration>> = BTreeMap::new();
    for round in 0..line.rounds {
        for (is_fresh, at_once) in [(false, 1), (true, 1), (false, 64), (true, 64)] {
            for (place, way) in ways {
                let prefix = format!("{place}-{round}-{is_fresh}-{at_once}");
                let channels = if is_fresh { line.requests } else { 1 };
                order(node, "peer", &format!("open {place} {prefix} {channels}")).await?;
                let (count, size) = (line.requests, line.size);
                let plan = Plan { prefix, is_fresh, count, at_once, size };
                let took = measure(way, &plan).await;
                let took = took.map_err(|failure| failure.during(format!("{place}: {plan:?}")))?;
                order(node, "peer", &format!("close {place} {} {channels}", plan.prefix)).await?;
                all.entry((is_fresh, at_once, place)).or_default().extend(took);
            }
        }
    }
    let spreads: BTreeMap<_, _> =
        all.into_iter().map(|(kind, times)| (kind, Spread::of(times))).collect();
    for (is_fresh, at_once) in [(false, 1), (true, 1), (false, 64), (true, 64)] {
        let channel = if is_fresh { "a fresh channel each" } else { "one channel" };
        let of = |place| spreads.get(&(is_fresh, at_once, place)).copied();
        let reference = of("redis");
        for (place, name) in [
            ("native", "node.request"),
            ("door", "subscribe/publish at our RESP doors"),
            ("redis", "subscribe/publish at redis-server"),
        ] {
            let Some(Spread { median, late }) = of(place) else { continue };
            let ratio = reference.filter(|_| place != "redis").map(|reference| {
                let ratio = |own, other: u128| ratio(own, other);
                let (p50, p99) = (ratio(median, reference.median), ratio(late, reference.late));
                format!(", of redis-server's {p50} and {p99}")
            });
            let ratio = ratio.unwrap_or_default();
            let count = line.requests * line.rounds;
            figures::figure(format!(
                "request, {channel}, {at_once} at a time, {name}: p50 {median} us, p99 {late} us{ratio}, of {count}"
            ));
        }
    }
    Ok(())
}

fn ratio(own: u128, other: u128) -> String {
    let hundredths = own * 100 / other.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Requests to channels without a responder.
async fn nobody(line: &Line, node: &Node) -> Outcome {
    let mut times = Vec::new();
    for number in 0..line.nobody {
        let begun = Instant::now();
        let channel = name("nobody", number);
        let reply = node.request(channel.as_bytes(), "hi".into(), FORM_DEADLINE).await;
        times.push(begun.elapsed());
        if reply != Err(RequestError::NoResponders) {
            return Err(Failure::new(format!("a request that nobody responds to gives {reply:?}")));
        }
    }
    let worst = times.iter().max().copied().unwrap_or_default().as_micros();
    let Spread { median, late } = Spread::of(times);
    figures::figure(format!(
        "no responders is told after: median {median} us, p99 {late} us, worst {worst} us, of {}",
        line.nobody
    ));
    Ok(())
}
