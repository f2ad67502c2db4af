//! Several `quorate serve` processes that form one cluster on loopback.
//!
//! Owns: the shared secret, the seeds, who leads. Does not own: what is asked of the cluster.
//! Invariant: a cluster handed out has answered on every node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::{Node, NodeOptions, binary, free_addresses, keygen, wait_for};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// How long a cluster may take to form, on a machine that is busy with other things.
pub const FORM_DEADLINE: Duration = Duration::from_secs(30);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes that run, in the order of their start.
    pub nodes: Vec<Node>,
    /// The program that they run.
    pub program: PathBuf,
    /// The folder of their files.
    pub folder: TempDir,
}

impl Cluster {
    /// Starts `count` nodes and waits until each serves reads and writes.
    ///
    /// # Errors
    /// When they do not within [`FORM_DEADLINE`].
    pub async fn start(count: usize) -> Outcome<Self> {
        let program = binary()?;
        let folder = tempfile::tempdir()?;
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, keygen(&program)?)?;
        restrict(&secret_file)?;
        let listens = free_addresses(count)?;
        let mut processes = Vec::new();
        for (index, listen) in listens.iter().enumerate() {
            let options = NodeOptions {
                name: format!("n{}", index + 1),
                listen: Some(*listen),
                seeds: if count > 1 { listens.clone() } else { Vec::new() },
                bootstrap_expect: (count > 1).then_some(count),
                secret_file: Some(secret_file.clone()),
                ..NodeOptions::default()
            };
            processes.push(Node::spawn(&program, &options, folder.path())?);
        }
        let mut cluster = Self { nodes: Vec::new(), program, folder };
        for process in processes {
            cluster.nodes.push(Node::ready(process, FORM_DEADLINE).await?);
        }
        for node in &cluster.nodes {
            wait_for("a first write", FORM_DEADLINE, || served(node.resp)).await.map_err(
                |failure| Failure::new(format!("{failure}; {}", node.process.log_end())),
            )?;
        }
        Ok(cluster)
    }

    /// Returns the RESP addresses of all nodes.
    #[must_use]
    pub fn resp(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.resp).collect()
    }

    /// Returns the place in `nodes` of the one that leads.
    ///
    /// # Errors
    /// When no node says that it leads.
    pub async fn leader(&self) -> Outcome<usize> {
        wait_for("a leader", FORM_DEADLINE, || async {
            for (index, node) in self.nodes.iter().enumerate() {
                let status = node.status().await?;
                if status.pointer("/raft/role").and_then(|role| role.as_str()) == Some("leader") {
                    return Ok(index);
                }
            }
            Err(Failure::new("no node says that it leads"))
        })
        .await
    }
}

async fn served(address: SocketAddr) -> Outcome {
    let mut client = Client::connect(address).await?;
    for line in ["SET cluster-tests:ready 1", "DEL cluster-tests:ready"] {
        if let Reply::Error(text) = client.ask(line).await? {
            return Err(Failure::new(String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(())
}

/// Takes the secret away from the eyes of others, as the program may demand.
fn restrict(path: &std::path::Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}
