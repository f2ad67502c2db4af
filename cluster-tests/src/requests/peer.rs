//! The program whose process has the responders.
//!
//! Owns: its node with a RESP door, its connections to the servers compared with, and the orders it takes, which are requests
//! as well. Does not own: measures. Invariant: what was ordered is in effect when the order is replied to.
#![expect(clippy::print_stdout, reason = "the lines tell the one that started this program")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use clap::Args;
use quorate::adapters::resp;
use quorate::node::Node;
use quorate::pubsub::Responder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pair::Echo;
use super::{embedded, name};
use crate::failure::{Failure, Outcome};
use crate::process::Process;

/// The command line of the program.
#[derive(Debug, Args)]
pub struct Line {
    /// Its name, which is part of the channel that it takes orders on
    #[arg(long)]
    name: String,
    /// A node to join through; it forms a cluster alone without one
    #[arg(long)]
    seed: Vec<SocketAddr>,
    /// The file with the cluster secret
    #[arg(long)]
    secret_file: PathBuf,
    /// A redis-server to reply on, too
    #[arg(long)]
    redis: Option<SocketAddr>,
}

/// Starts the program as a process.
pub(super) fn start(
    name: &str,
    folder: &Path,
    seeds: &[SocketAddr],
    redis: Option<SocketAddr>,
) -> Outcome<Process> {
    let mut command = process::Command::new(std::env::current_exe()?);
    command.arg("request-peer").args(["--name", name]);
    command.arg("--secret-file").arg(folder.join("secret"));
    for seed in seeds {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(address) = redis {
        command.args(["--redis", &address.to_string()]);
    }
    Process::start(name, command, folder)
}

/// Gives the channel on which the program called `name` takes orders.
pub(super) fn orders(name: &str) -> String {
    format!("orders:{name}")
}

/// Runs the program until it is killed.
///
/// # Errors
/// When the node does not start, an order cannot be followed, or the node stops.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let node = embedded(&line.seed, &line.secret_file).await?;
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let door = resp::Config { listen, ..resp::Config::default() };
    let door = resp::Server::bind(node.clone(), door).await;
    let door = door.map_err(|error| Failure::new(error.to_string()))?;
    let mut pairs = BTreeMap::from([("door", Echo::connect(door.address()).await?)]);
    if let Some(address) = line.redis {
        pairs.insert("redis", Echo::connect(address).await?);
    }
    let respond = |channel: &str| {
        node.respond(channel.as_bytes()).map_err(|error| Failure::new(error.to_string()))
    };
    let orders = respond(&orders(&line.name))?;
    let mut peer =
        Peer { node: node.clone(), pairs, echoes: BTreeMap::new(), held: hold(respond("hold")?) };
    println!("listens on {}", node.status().node.address);
    while let Some(order) = orders.next().await {
        let text = String::from_utf8_lossy(order.payload()).into_owned();
        let told = peer.follow(&text).await.map_err(|failure| failure.during(&text))?;
        order.reply(told.into()).map_err(|error| Failure::new(error.to_string()))?;
    }
    Err(Failure::new(node.stopped().await))
}

/// Takes requests and never replies; tells how many it has.
fn hold(responder: Responder) -> watch::Receiver<usize> {
    let (count_tx, count) = watch::channel(0);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some(request) = responder.next().await {
            held.push(request);
            count_tx.send_replace(held.len());
        }
    });
    count
}

struct Peer {
    node: Node,
    pairs: BTreeMap<&'static str, Echo>,
    echoes: BTreeMap<String, Vec<JoinHandle<()>>>,
    held: watch::Receiver<usize>,
}

impl Peer {
    /// Follows one order: `held`, `id`, or `open` or `close`, where, a prefix and a count.
    async fn follow(&mut self, order: &str) -> Outcome<String> {
        let words: Vec<&str> = order.split(' ').collect();
        match words[..] {
            ["held"] => return Ok(self.held.borrow().to_string()),
            ["id"] => return Ok(self.node.status().node.id.to_string()),
            [what, place, prefix, count] => {
                let count = count.parse().map_err(|_| Failure::new("not a count"))?;
                match (what, self.pairs.get(place)) {
                    ("open", Some(pair)) => pair.listen(prefix, count).await?,
                    ("close", Some(pair)) => pair.unlisten(prefix, count).await?,
                    ("open", None) => self.open(prefix, count)?,
                    _ => self.echoes.remove(prefix).into_iter().flatten().for_each(|t| t.abort()),
                }
            }
            _ => return Err(Failure::new("not an order")),
        }
        Ok("done".to_owned())
    }

    fn open(&mut self, prefix: &str, count: usize) -> Outcome {
        for number in 0..count {
            let responder = self.node.respond(name(prefix, number).as_bytes());
            let responder = responder.map_err(|error| Failure::new(error.to_string()))?;
            let echo = tokio::spawn(async move {
                while let Some(request) = responder.next().await {
                    let payload = request.payload().clone();
                    // Short replies fit.
                    drop(request.reply(payload));
                }
            });
            self.echoes.entry(prefix.to_owned()).or_default().push(echo);
        }
        Ok(())
    }
}
