//! One simulated machine with one game process on it: a runtime of its own, so that a process can be killed, stopped and
//! given another clock as a real one can.
//!
//! Owns the runtime, the disk and the wall clock of one node. Does not decide what happens to them. Invariant: a killed
//! process does nothing more: its socket and its disk are taken from it before its tasks are dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quorate::host::{MemoryHost, Place};
use quorate::node::Parts;
use quorate::storage::{Disk, SimDisk, Survival};
use quorate::time::{Clock, Timestamp};
use quorate::transport::{MemoryNetwork, Socket};
use quorate::{Config, Node};
use tokio::runtime::Runtime;

use crate::chance::Chance;
use crate::failure::Failure;

/// How far the simulation goes in one step.
pub const STEP: Duration = Duration::from_millis(1);

/// A process that runs on a simulated machine.
#[derive(Debug)]
struct Process {
    runtime: Runtime,
    node: Node,
    is_paused: bool,
    /// World time that this process has not lived through because it was stopped.
    missed: Duration,
}

/// One simulated machine.
#[derive(Debug)]
pub struct Host {
    /// Its place in the cluster, from 0.
    pub number: usize,
    /// Where its node is reached.
    pub address: SocketAddr,
    disk: Option<SimDisk>,
    /// How far the wall clock is off, in milliseconds.
    skew: Arc<AtomicI64>,
    process: Option<Process>,
}

impl Host {
    /// A machine without a process; with a disk if its nodes keep their data.
    #[must_use]
    pub fn new(number: usize, address: SocketAddr, is_durable: bool) -> Self {
        let disk = is_durable.then(SimDisk::new);
        Self { number, address, disk, skew: Arc::default(), process: None }
    }

    /// Starts a process with a node inside.
    ///
    /// # Errors
    /// When the node does not start.
    pub fn start(
        &mut self,
        network: &MemoryNetwork,
        locks: &MemoryHost,
        config: Config,
        now: Duration,
        chance: &mut Chance,
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let skew = Arc::clone(&self.skew);
        let rng_seed = chance.bytes();
        let socket = Socket::Simulated(network.socket(self.address));
        let disk = self.disk.clone().map(|disk| -> Arc<dyn Disk> { Arc::new(disk) });
        let locks = Place::Memory(locks.clone());
        let node = runtime.block_on(async move {
            let true_clock =
                Clock::simulated(Timestamp::from_millis(1_700_000_000_000).saturating_add(now));
            let clock = Clock::new(move || {
                let skewed = true_clock
                    .now()
                    .as_millis()
                    .saturating_add_signed(skew.load(Ordering::Relaxed));
                Timestamp::from_millis(skewed)
            });
            Node::assemble(config, Parts { socket, clock, rng_seed, locks, disk, witness: None })
                .await
        });
        let node = node.map_err(|error| Failure::new(format!("node {}: {error}", self.number)))?;
        self.process = Some(Process { runtime, node, is_paused: false, missed: Duration::ZERO });
        Ok(())
    }

    /// Lets the process live for one step.
    pub fn step(&mut self) {
        let Some(process) = &mut self.process else { return };
        if process.is_paused {
            process.missed += STEP;
            return;
        }
        let missed = std::mem::take(&mut process.missed);
        process.runtime.block_on(async {
            if !missed.is_zero() {
                tokio::time::advance(missed).await;
            }
            tokio::time::sleep(STEP).await;
        });
    }

    /// Kills the process: nothing that it had not yet handed to the system leaves it.
    pub fn kill(&mut self, network: &MemoryNetwork, survival: Survival) {
        let Some(process) = self.process.take() else { return };
        network.remove(self.address);
        self.disk = self.disk.as_ref().map(|disk| disk.power_cut(survival));
        drop(process.node);
        process.runtime.shutdown_background();
    }

    /// The node, if its process lives.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// Runs a task in the process.
    pub fn spawn<F>(&self, task: impl FnOnce(Node) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(process) = &self.process {
            let _task = process.runtime.spawn(task(process.node.clone()));
        }
    }
}
