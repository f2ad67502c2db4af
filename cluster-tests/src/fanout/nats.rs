//! A NATS cluster of several servers, whose routes use TLS.
//!
//! Owns: their processes and configuration. Does not own: getting the program; `run-fanout` does. Invariant: they listen on
//! loopback only and die with their value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::failure::{Failure, Outcome};
use crate::process::{Process, free_addresses, wait_for};

/// The servers.
#[derive(Debug)]
pub(super) struct NatsCluster {
    /// Where clients connect.
    pub(super) clients: Vec<SocketAddr>,
    /// The processes.
    pub(super) processes: Vec<Process>,
    _folder: TempDir,
}

/// Gives the program that `QUORATE_NATS_SERVER` names.
///
/// # Errors
/// When it names none, with the reason.
pub(super) fn program() -> Outcome<PathBuf> {
    let path = std::env::var_os("QUORATE_NATS_SERVER").filter(|path| !path.is_empty());
    let Some(path) = path.map(PathBuf::from) else {
        let why = std::env::var("QUORATE_NATS_MISSING");
        let why = why.unwrap_or_else(|_| "QUORATE_NATS_SERVER names no program".to_owned());
        return Err(Failure::new(why));
    };
    if path.is_file() {
        Ok(std::path::absolute(path)?)
    } else {
        Err(Failure::new(format!("{} is no file", path.display())))
    }
}

impl NatsCluster {
    /// Starts `count` servers and waits until each accepts clients. Whether they are one cluster shows with the first message.
    ///
    /// # Errors
    /// When one does not within ten seconds.
    pub(super) async fn start(program: &Path, count: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])
            .map_err(|error| Failure::new(format!("no certificate: {error}")))?;
        std::fs::write(folder.path().join("certificate.pem"), identity.cert.pem())?;
        std::fs::write(folder.path().join("key.pem"), identity.signing_key.serialize_pem())?;
        let clients = free_addresses(count)?;
        let routes = free_addresses(count)?;
        let mut processes = Vec::new();
        for (place, (client, route)) in clients.iter().zip(&routes).enumerate() {
            let name = format!("nats{}", place + 1);
            let config = folder.path().join(format!("{name}.conf"));
            std::fs::write(&config, configuration(&name, *client, *route, &routes))?;
            let mut command = Command::new(program);
            command.current_dir(folder.path()).arg("--config").arg(&config);
            processes.push(Process::start(&name, command, folder.path())?);
        }
        for (client, process) in clients.iter().zip(&processes) {
            wait_for("nats-server", Duration::from_secs(10), || async {
                Ok(TcpStream::connect(client).await?)
            })
            .await
            .map_err(|failure| Failure::new(format!("{failure}; {}", process.log_end())))?;
        }
        Ok(Self { clients, processes, _folder: folder })
    }
}

/// Everything that is not named is as the server has it.
fn configuration(
    name: &str,
    client: SocketAddr,
    route: SocketAddr,
    routes: &[SocketAddr],
) -> String {
    let others = routes.iter().filter(|other| **other != route);
    let others: Vec<String> = others.map(|other| format!("\"nats-route://{other}\"")).collect();
    let others = others.join(", ");
    format!(
        "server_name: {name}
listen: \"{client}\"
cluster {{
  name: fanout
  listen: \"{route}\"
  routes: [{others}]
  tls {{
    cert_file: \"certificate.pem\"
    key_file: \"key.pem\"
    ca_file: \"certificate.pem\"
    verify: true
    timeout: 5
  }}
}}
"
    )
}
