//! The listener: opens the door, lets clients in, and closes it.
//!
//! Owns what all connections share, and their tasks. Does not talk to a client but to turn it away. Invariant: when
//! `shutdown` has returned, no task and no socket of the door is left.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::backend::Backend;
use super::config::{Config, Password};
use super::connection::Connection;
use super::drive::{Driver, End};
use super::registry::Registry;
use super::stats::Stats;
use super::wire::Wire;
use crate::node::Node;
use crate::node::bind::Patterns;
use crate::resp::Limits;
use crate::time::Clock;

/// The version that is claimed: what clients may rely on is that of Redis 7.2.
pub(super) const REDIS_VERSION: &str = "7.2.5";

/// How long connections may take to end when the door closes.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// How long accepting pauses when the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the door cannot open. Somebody must change the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had: it is taken, or not of this machine.
    #[error("resp door cannot open at {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Other machines would reach it, and it asks for no password.
    #[error(
        "resp.listen of {address} is reached by other machines and there is no password: set resp.password_file, or \
         listen on 127.0.0.1"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// The file of the password cannot be read.
    #[error("resp.password_file {}: {source}", path.display())]
    PasswordFile {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The password is empty.
    #[error("resp.password is empty; leave it out, and listen on 127.0.0.1, to ask for none")]
    EmptyPassword,
}

/// What all connections of one door share.
pub(super) struct Shared {
    pub(super) backend: Arc<dyn Backend>,
    /// The longest key, in bytes.
    pub(super) key_max: usize,
    /// Which keys are bound without being asked.
    pub(super) patterns: Patterns,
    pub(super) config: Config,
    pub(super) password: Option<Password>,
    pub(super) address: SocketAddr,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pub(super) registry: Arc<Registry>,
    pub(super) stats: Stats,
}

/// An open door for Redis clients. It closes when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Opens the door at `config.listen`.
    ///
    /// # Errors
    /// When the address cannot be had, or is reached by other machines without a password; when the password's file
    /// cannot be read.
    pub async fn bind(node: Node, config: Config) -> Result<Self, Error> {
        Self::bind_backend(Arc::new(node), config).await
    }

    pub(super) async fn bind_backend(
        backend: Arc<dyn Backend>,
        config: Config,
    ) -> Result<Self, Error> {
        let password = admission(&config)?;
        let address = config.listen;
        let failed = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            key_max: backend.key_max(),
            patterns: backend.patterns(),
            backend,
            password,
            address,
            clock: Clock::system(),
            started: Instant::now(),
            registry: Registry::new(config.clients_max),
            stats: Stats::default(),
            config,
        });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, shared, stopped));
        Ok(Self { address, stop: Some(stop), task })
    }

    /// Gives the address at which it is open.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the door: no one is let in any more, and connections end, with replies that are under way cut off after a
    /// second.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        if let Err(error) = (&mut self.task).await {
            tracing::warn!(%error, "resp: the listener ended badly");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Config {
    /// Checks what can be checked before the door opens: the password, and that there is one where other machines reach
    /// the door.
    ///
    /// # Errors
    /// [`Error::Exposed`], [`Error::PasswordFile`] or [`Error::EmptyPassword`].
    pub fn check(&self) -> Result<(), Error> {
        if self.enabled { admission(self).map(drop) } else { Ok(()) }
    }
}

/// The password that clients must give.
fn admission(config: &Config) -> Result<Option<Password>, Error> {
    let address = config.listen;
    let password = password(config)?;
    if password.is_none() && !address.ip().is_loopback() {
        return Err(Error::Exposed { address });
    }
    Ok(password)
}

fn password(config: &Config) -> Result<Option<Password>, Error> {
    let password = match &config.password_file {
        Some(path) => {
            let failed = |source| Error::PasswordFile { path: path.clone(), source };
            let text = std::fs::read_to_string(path).map_err(failed)?;
            Some(Password::new(text.trim().to_owned()))
        }
        None => config.password.clone(),
    };
    if password.as_ref().is_some_and(Password::is_empty) {
        return Err(Error::EmptyPassword);
    }
    Ok(password)
}

/// Lets clients in until `stopped` resolves; then ends them all.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "resp: a connection's task failed");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => admit(stream, address, &shared, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "resp: cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    shared.registry.all().iter().for_each(|card| card.kill());
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
        connections.shutdown().await;
    }
}

fn admit(
    stream: TcpStream,
    address: SocketAddr,
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
) {
    let local_address = stream.local_addr().unwrap_or(shared.address);
    let client = shared.backend.client();
    let Some(seat) = shared.registry.enter(client.number(), address, local_address) else {
        shared.stats.count_rejected();
        // Fits the socket's buffer, which is empty; if not, the client sees the end all the same.
        let _written = stream.try_write(b"-ERR max number of clients reached\r\n");
        return;
    };
    shared.stats.count_connection();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "resp: TCP_NODELAY refused");
    }
    let config = &shared.config;
    let size = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    let limits = Limits {
        bulk_max: size(config.bulk_max),
        arguments_max: config.arguments_max,
        request_max: size(config.request_max),
        ..Limits::default()
    };
    let wire = Wire::new(stream, limits);
    let connection = Connection::new(Arc::clone(shared), Arc::clone(&seat.card), client);
    connections.spawn(async move {
        let end = Driver::new(wire, connection).run().await;
        if matches!(end, End::Disconnected | End::Quit | End::Killed) {
            tracing::debug!(client = %address, %end, "resp: connection ended");
        } else {
            tracing::info!(client = %address, %end, "resp: connection ended");
        }
        drop(seat);
    });
}
