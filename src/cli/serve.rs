//! `quorate serve`: one node with its doors, from its start to a clean leave.
//!
//! Owns the `ready` line and what ends the program. Invariant: a node that stops on its own ends the program with a
//! failure; a signal ends it with a leave, and a second signal at once.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;

use quorate::adapters::{http, resp};
use quorate::node::Node;
use quorate::rendezvous;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::Serve;
use super::settings::Settings;
use super::{Failure, settings};

/// Runs one node until a signal asks it to leave.
pub(crate) fn serve(flags: &Serve) -> Result<(), Failure> {
    let settings = settings::settings(flags)?;
    let meeting = flags.rendezvous.as_deref();
    if !settings.can_be_joined() && meeting.is_none() {
        tracing::info!("no secret is given, so that no other node can join (see --secret-file)");
    }
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let Some(started) = signals.unless(Box::pin(Running::start(settings, meeting))).await
        else {
            return Ok(());
        };
        let running = started?;
        if let Some(failure) = signals.unless(running.live()).await {
            return Err(failure);
        }
        signals.unless(running.leave()).await.ok_or_else(in_haste)
    })
}

/// Makes what all tasks of the program run on.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let failed = |error| Failure::Fatal(format!("cannot start the runtime: {error}"));
    Builder::new_multi_thread().enable_all().build().map_err(failed)
}

pub(crate) fn in_haste() -> Failure {
    Failure::Fatal("ended by a second signal before it had left its cluster".to_owned())
}

/// A node and its open doors.
pub(crate) struct Running {
    pub(crate) node: Node,
    resp: Option<resp::Server>,
    http: Option<http::Server>,
}

impl Running {
    /// Starts the node, in the cluster that meets on this machine under the name `meeting` if one is given, then opens its doors.
    pub(crate) async fn start(settings: Settings, meeting: Option<&str>) -> Result<Self, Failure> {
        let (config, resp, http) = settings.split();
        let node = match meeting {
            Some(name) => {
                rendezvous::start(name, config).await.map_err(|error| Failure::of_meeting(&error))
            }
            None => Node::start(config).await.map_err(|error| Failure::of_node(&error)),
        }?;
        let mut running = Self { node, resp: None, http: None };
        if let Err(failure) = running.open(resp, http).await {
            running.leave().await;
            return Err(failure);
        }
        Ok(running)
    }

    async fn open(&mut self, resp: resp::Config, http: http::Config) -> Result<(), Failure> {
        let usage = |error: &dyn fmt::Display| Failure::Usage(error.to_string());
        if http.enabled {
            let server = http::Server::bind(&self.node, &http).await;
            self.http = Some(server.map_err(|error| usage(&error))?);
        }
        if resp.enabled {
            let server = resp::Server::bind(self.node.clone(), resp).await;
            self.resp = Some(server.map_err(|error| usage(&error))?);
        }
        Ok(())
    }

    /// Says that the doors are open; comes back only when the node cannot go on. Whether it is in sync with a cluster,
    /// `/readyz` tells; until then requests wait.
    async fn live(&self) -> Failure {
        match self.announce() {
            Ok(()) => Failure::Fatal(self.node.stopped().await),
            Err(failure) => failure,
        }
    }

    /// Says on standard output that the doors are open.
    pub(crate) fn announce(&self) -> Result<(), Failure> {
        let node = self.node.status().node;
        let shown = |address: Option<SocketAddr>| address.map_or("-".to_owned(), |a| a.to_string());
        let resp = shown(self.resp.as_ref().map(resp::Server::address));
        let http = shown(self.http.as_ref().map(http::Server::address));
        let (id, cluster) = (node.id, node.address);
        super::answer(&format!("ready node={id} cluster={cluster} resp={resp} http={http}\n"))
    }

    /// Hands over, closes the doors, and leaves the cluster.
    pub(crate) async fn leave(self) {
        // Clients are served until others have taken over what this node did for the cluster.
        self.node.hand_over().await;
        if let Some(resp) = self.resp {
            resp.shutdown().await;
        }
        self.node.leave().await;
        drop(self.http);
    }
}

/// SIGTERM and SIGINT, each of which asks for a clean end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::Fatal(format!("cannot listen for signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// Does `work`, unless a signal comes first: then it gives nothing.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => None,
            _ = self.interrupt.recv() => None,
            done = work => Some(done),
        }
    }
}
