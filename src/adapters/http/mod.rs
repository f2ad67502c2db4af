//! The HTTP door: is the node alive, can it serve, what does it know, in figures for Prometheus.
//!
//! Owns the paths and `axum`. Changes nothing in the node, but for what `recover` says. Invariant: bounded in connections, in time and in
//! request size; what changes the node or gives its data out is asked from this machine alone.

mod backup;
mod config;
mod listener;
mod metrics;
mod recover;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::config::Config;
use self::listener::BoundedListener;
use self::recover::Recover;
use crate::node::Node;
use crate::node::status::{self, Status};

/// Asks the node how it is; cheap, and never waits.
type Ask = Arc<dyn Fn() -> Status + Send + Sync>;

/// An open HTTP door. It closes when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<io::Result<()>>,
}

/// Why the door cannot open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address cannot be had: it is taken, or not of this machine. Somebody must change `http.listen`.
    #[error("http door cannot open at {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl Server {
    /// Opens the door of `node`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(node: &Node, config: &Config) -> Result<Self, Error> {
        let (asked, recovering) = (node.clone(), node.clone());
        let recover: Recover = Arc::new(move || {
            let node = recovering.clone();
            Box::pin(async move { node.recover().await })
        });
        let backup = backup::router(node.clone(), config.listen.ip().is_loopback());
        Self::start(Arc::new(move || asked.status()), recover, backup, config).await
    }

    async fn start(
        ask: Ask,
        recover: Recover,
        backup: Router,
        config: &Config,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Bind { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the http door asks for no password and is open to other machines");
        }
        let bounded =
            BoundedListener::new(listener, config.connections_max, config.request_timeout);
        let recover = recover::router(recover, address.ip().is_loopback());
        let serving = axum::serve(bounded, router(ask).merge(recover).merge(backup));
        let task = tokio::spawn(serving.into_future());
        Ok(Self { address, task })
    }

    /// Gives the address at which it is open.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(ask: Ask) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status_json))
        .route("/metrics", get(metrics_text))
        .with_state(ask)
}

/// Answers as long as the process can answer at all.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(ask): State<Ask>) -> Response {
    let node = ask().node;
    if node.state == status::State::Ready {
        return "ok\n".into_response();
    }
    let reason = node.reason.unwrap_or_else(|| format!("{:?}", node.state).to_lowercase());
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
}

async fn status_json(State(ask): State<Ask>) -> Json<Status> {
    Json(ask())
}

async fn metrics_text(State(ask): State<Ask>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics::text(&ask())).into_response()
}
