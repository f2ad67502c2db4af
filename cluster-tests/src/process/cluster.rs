//! Several `quorate serve` processes that form one cluster on loopback.
//!
//! Owns: the shared secret, the seeds, who leads. Does not own: what is asked of the cluster.
//! Invariant: a cluster handed out has answered on every node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Node, NodeOptions, binary, free_addresses, keygen, wait_for};
use crate::failure::{Failure, Outcome};

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
    /// The command lines that they were started with, in the same order.
    pub options: Vec<NodeOptions>,
}

impl Cluster {
    /// Starts `count` nodes and waits until each serves reads and writes.
    ///
    /// # Errors
    /// When they do not within [`FORM_DEADLINE`].
    pub async fn start(count: usize) -> Outcome<Self> {
        Self::start_with(count, |_, _, _| Ok(())).await
    }

    /// Starts `count` nodes after `adapt` has changed their command lines; it is told the place of each from 0, and the
    /// folder of the cluster.
    ///
    /// # Errors
    /// As [`Cluster::start`], and those of `adapt`.
    pub async fn start_with<F>(count: usize, mut adapt: F) -> Outcome<Self>
    where
        F: FnMut(usize, &mut NodeOptions, &Path) -> Outcome,
    {
        let program = binary()?;
        let mut folder = tempfile::tempdir()?;
        folder.disable_cleanup(std::env::var_os("QUORATE_TEST_KEEP").is_some());
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, keygen(&program)?)?;
        restrict(&secret_file)?;
        let listens = free_addresses(count)?;
        let mut options = Vec::new();
        for (index, listen) in listens.iter().enumerate() {
            let mut line = NodeOptions {
                name: format!("n{}", index + 1),
                listen: Some(*listen),
                seeds: if count > 1 { listens.clone() } else { Vec::new() },
                bootstrap_expect: (count > 1).then_some(count),
                secret_file: Some(secret_file.clone()),
                ..NodeOptions::default()
            };
            adapt(index, &mut line, folder.path())?;
            options.push(line);
        }
        let mut cluster = Self { nodes: Vec::new(), program, folder, options };
        cluster.start_again().await?;
        Ok(cluster)
    }

    /// Starts all nodes with their command lines, in place of those that ran before, and waits until they serve.
    ///
    /// # Errors
    /// When they do not within [`FORM_DEADLINE`].
    pub async fn start_again(&mut self) -> Outcome {
        self.nodes.clear();
        let spawn = |options| Node::spawn(&self.program, options, self.folder.path());
        let processes: Vec<_> = self.options.iter().map(spawn).collect::<Outcome<_>>()?;
        for process in processes {
            self.nodes.push(Node::ready(process, FORM_DEADLINE).await?);
        }
        for node in &self.nodes {
            node.serves().await?;
        }
        Ok(())
    }

    /// Starts one more node, which joins through all others, and waits for its ready line.
    ///
    /// # Errors
    /// When it does not come within [`FORM_DEADLINE`].
    pub async fn join(&mut self) -> Outcome {
        let [listen] = free_addresses(1)?[..] else { return Err(Failure::new("no free address")) };
        let Some(first) = self.options.first() else { return Err(Failure::new("no cluster")) };
        let options = NodeOptions {
            name: format!("n{}", self.options.len() + 1),
            listen: Some(listen),
            seeds: self.options.iter().filter_map(|options| options.listen).collect(),
            bootstrap_expect: None,
            ..first.clone()
        };
        self.nodes.push(Node::start(&self.program, &options, self.folder.path()).await?);
        self.options.push(options);
        Ok(())
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

/// Takes the secret away from the eyes of others, as the program may demand.
pub(crate) fn restrict(path: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}
