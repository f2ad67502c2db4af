//! How soon a requester is told that its responder's process is dead.
//!
//! Owns: the kills. Does not own: the programs. Invariant: the time counts from the signal, while the responder is known to
//! hold the request.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use quorate::node::Node;
use quorate::pubsub::RequestError;
use tokio::time::{Instant, timeout};

use super::{embedded, obeys, order, peer};
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::process::{
    Cluster, FORM_DEADLINE, Node as Served, NodeOptions, Process, Signal, wait_for,
};

/// How long it may take at most; a link whose other end is silent is found dead by then.
const GONE_MAX: Duration = Duration::from_secs(3);

/// What one kill has shown.
#[derive(Debug)]
struct Kill {
    role: &'static str,
    told: Duration,
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} killed, told after {}", self.role, figures::text(self.told))
    }
}

/// Kills a program that has joined `cluster`, again and again; returns how many rounds failed.
pub(super) async fn kills(count: usize, node: &Node, cluster: &Cluster) -> usize {
    let seeds: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.cluster).collect();
    let rounds = figures::rounds("gone", count, async |number| {
        let name = format!("victim{number}");
        let process = peer::start(&name, cluster.folder.path(), &seeds, None)?;
        kill(node, &name, process).await
    })
    .await;
    rounds
        .figure("gone is told after a kill -9 of the responder's process", |kill| Some(kill.told));
    rounds.failed
}

/// Kills a program that leads, each time in a fresh cluster; returns how many rounds failed.
pub(super) async fn leader_kills(count: usize) -> usize {
    let rounds = figures::rounds("gone with the leader", count, async |_| {
        // Its first node is not used; it makes the program, the folder and the secret.
        let base = Cluster::start(1).await?;
        let folder = base.folder.path();
        let secret = folder.join("secret");
        let process = peer::start("first", folder, &[], None)?;
        let address = wait_for("the address of the first node", FORM_DEADLINE, async || {
            let output = process.output();
            let address = output.lines().find_map(|line| line.strip_prefix("listens on "));
            let address = address.and_then(|text| text.parse().ok());
            address.ok_or_else(|| Failure::new(process.log_end()))
        })
        .await?;
        let options = NodeOptions {
            name: "second".to_owned(),
            seeds: vec![address],
            secret_file: Some(secret.clone()),
            ..NodeOptions::default()
        };
        let second = Served::start(&base.program, &options, folder).await?;
        let node = embedded(&[address], &secret).await?;
        let voters = wait_for("three voters", FORM_DEADLINE, async || {
            let voters = node.status().voters.len();
            if voters == 3 { Ok(()) } else { Err(Failure::new(format!("{voters} voters"))) }
        });
        voters.await?;
        let told = kill(&node, "first", process).await;
        node.leave().await;
        drop(second);
        let told = told?;
        if told.role == "the leader" { Ok(told) } else { Err(Failure::new("it did not lead")) }
    })
    .await;
    rounds.figure("gone is told after a kill -9 of the responder's process, which led", |kill| {
        Some(kill.told)
    });
    rounds.failed
}

/// Asks the program for what it never replies to, kills it, and returns after how long that was told.
async fn kill(node: &Node, name: &str, mut process: Process) -> Outcome<Kill> {
    obeys(node, name, &process).await?;
    let role = role(node, &order(node, name, "id").await?);
    let asker = node.clone();
    let asking = tokio::spawn(async move {
        let reply = asker.request(b"hold", "hi".into(), FORM_DEADLINE).await;
        (reply, Instant::now())
    });
    wait_for("the request to be held", FORM_DEADLINE, async || {
        let held = order(node, name, "held").await?;
        if held == "1" { Ok(()) } else { Err(Failure::new(format!("{held} are held"))) }
    })
    .await?;
    let killed = Instant::now();
    process.signal(Signal::Kill)?;
    let told = timeout(GONE_MAX, asking).await;
    let told = told.map_err(|_| Failure::new(format!("nothing was told within {GONE_MAX:?}")))?;
    let (reply, at) = told.map_err(|error| Failure::new(error.to_string()))?;
    match reply {
        Err(RequestError::Gone { .. }) => Ok(Kill { role, told: at - killed }),
        other => Err(Failure::new(format!("the request of a dead responder gives {other:?}"))),
    }
}

/// What the program's node is in its cluster.
fn role(node: &Node, id: &str) -> &'static str {
    let status = node.status();
    if status.raft.leader.is_some_and(|leader| leader.to_string() == id) {
        "the leader"
    } else if status.voters.iter().any(|voter| voter.to_string() == id) {
        "a follower"
    } else {
        "an observer"
    }
}
