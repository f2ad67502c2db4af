//! A real redis-server, the reference that proves the scripts right.
//!
//! Owns: finding the program and running it with nothing on disk. Does not own: comparison.
//! Invariant: it listens on loopback only and dies with its value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Process, free_addresses, wait_for};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// A running redis-server.
#[derive(Debug)]
pub struct RedisServer {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
    _folder: TempDir,
}

/// Looks for redis-server in `QUORATE_REDIS_SERVER` and in the search path.
#[must_use]
pub fn redis_server() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("QUORATE_REDIS_SERVER") {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("redis-server"))
        .find(|path| path.is_file())
}

impl RedisServer {
    /// Starts `program` and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer within ten seconds.
    pub async fn start(program: &Path) -> Outcome<Self> {
        let address = free_addresses(1)?.first().copied().ok_or_else(|| Failure::new("no port"))?;
        Self::start_at(program, address, &[]).await
    }

    /// Starts `program` at an address, with more settings, and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer within ten seconds.
    pub async fn start_at(program: &Path, address: SocketAddr, more: &[&str]) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.current_dir(folder.path());
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no"]);
        command.args(more);
        let process = Process::start("redis", command, folder.path())?;
        wait_for("redis-server", Duration::from_secs(10), || async {
            let reply = Client::connect(address).await?.ask("PING").await?;
            if let Reply::Simple(_) = reply { Ok(()) } else { Err(Failure::new(reply.to_string())) }
        })
        .await?;
        Ok(Self { address, process, _folder: folder })
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
