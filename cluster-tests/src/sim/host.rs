//! One simulated machine with one game process on it: a runtime of its own, so that a process can be killed, stopped and
//! given another clock as a real one can.
//!
//! Owns the runtime, the disk and the clocks of one machine. Does not decide what happens to them. Invariant: a killed
//! process does nothing more: its socket and its disk are taken from it before its tasks are dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use quorate::host::{MemoryHost, Place};
use quorate::node::{Parts, Status};
use quorate::storage::{Disk, SimDisk, Survival};
use quorate::time::{Clock, Timestamp};
use quorate::transport::{MemoryNetwork, Socket};
use quorate::{Config, Node};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::invariants::Eyes;
use super::view::HostView;
use crate::failure::Failure;

/// How far the simulation goes in one step.
pub const STEP: Duration = Duration::from_millis(1);

/// What the wall clocks read when a run begins, in milliseconds since 1970.
pub const EPOCH: u64 = 1_700_000_000_000;

/// A process that runs on a simulated machine.
#[derive(Debug)]
struct Process {
    runtime: Runtime,
    node: Node,
    is_paused: bool,
    /// World time that this process has not lived through because it was stopped.
    missed: Duration,
    /// Why the node has stopped by itself, once it has.
    stopped: watch::Receiver<Option<String>>,
    /// Whether the node has left on purpose.
    left: watch::Sender<bool>,
    /// Whether it was told to: the program around it asks for nothing more.
    leaves: Arc<AtomicBool>,
}

/// One simulated machine.
#[derive(Debug)]
pub struct Host {
    /// Its place in the cluster, from 0.
    pub number: usize,
    /// Where its node is reached.
    pub address: SocketAddr,
    /// How many processes were started on it.
    pub incarnation: u64,
    /// How fast its monotonic clock runs, in thousandths of the true speed.
    pub rate: u32,
    /// Thousandths of a step that its clock has yet to make up for.
    owed: u32,
    disk: Option<SimDisk>,
    /// How far the wall clock is off, in milliseconds.
    skew: Arc<AtomicI64>,
    process: Option<Process>,
    /// Whether a process on it has started a thread. What a thread does, and when, follows from no seed.
    has_threads: Arc<AtomicBool>,
}

impl Host {
    /// A machine without a process; with a disk if its nodes keep their data.
    #[must_use]
    pub fn new(number: usize, address: SocketAddr, is_durable: bool) -> Self {
        let disk = is_durable.then(SimDisk::new);
        Self {
            number,
            address,
            incarnation: 0,
            rate: 1000,
            owed: 0,
            disk,
            skew: Arc::default(),
            process: None,
            has_threads: Arc::default(),
        }
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
        rng_seed: [u8; 32],
        eyes: &Eyes,
    ) -> Result<(), Failure> {
        let has_threads = Arc::clone(&self.has_threads);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_start(move || has_threads.store(true, Ordering::Relaxed))
            .build()?;
        let skew = Arc::clone(&self.skew);
        let socket = Socket::Simulated(network.socket(self.address));
        let disk = self.disk.clone().map(|disk| -> Arc<dyn Disk> { Arc::new(disk) });
        let locks = Place::Memory(locks.clone());
        let witness = Some(eyes.open(self.number, self.incarnation + 1));
        let node = runtime.block_on(async move {
            let true_clock = Clock::simulated(Timestamp::from_millis(EPOCH).saturating_add(now));
            let clock = Clock::new(move || {
                let skew = skew.load(Ordering::Relaxed);
                Timestamp::from_millis(true_clock.now().as_millis().saturating_add_signed(skew))
            });
            Node::assemble(config, Parts { socket, clock, rng_seed, locks, disk, witness }).await
        });
        let node = node.map_err(|error| Failure::new(error.to_string()))?;
        let (stop, stopped) = watch::channel(None);
        let watched = node.clone();
        let _watching = runtime.spawn(async move {
            let why = watched.stopped().await;
            let _nobody = stop.send(Some(why));
        });
        let (left, is_paused, missed) = (watch::Sender::new(false), false, Duration::ZERO);
        self.incarnation += 1;
        let leaves = Arc::default();
        self.process = Some(Process { runtime, node, is_paused, missed, stopped, left, leaves });
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
        self.owed += self.rate;
        let steps = self.owed / 1000;
        self.owed %= 1000;
        process.runtime.block_on(async {
            if !missed.is_zero() {
                tokio::time::advance(missed).await;
            }
            if steps > 0 {
                tokio::time::sleep(STEP * steps).await;
            } else {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Kills the process: nothing that it had not yet handed to the system leaves it. Of what its disk had not synced
    /// `survival` is left.
    pub fn kill(&mut self, network: &MemoryNetwork, survival: Survival) {
        let Some(process) = self.process.take() else { return };
        network.remove(self.address);
        self.disk = self.disk.as_ref().map(|disk| disk.power_cut(survival));
        drop(process.node);
        process.runtime.shutdown_background();
    }

    /// Stops the process as SIGSTOP does, or lets it go on. What its clocks missed they make up for at once.
    pub fn pause(&mut self, is_paused: bool) {
        if let Some(process) = &mut self.process {
            process.is_paused = is_paused;
        }
    }

    /// Sets how far the wall clock is off.
    pub fn set_skew(&self, millis: i64) {
        self.skew.store(millis, Ordering::Relaxed);
    }

    /// Begins to leave the cluster as planned; see [`Host::has_left`].
    pub fn leave(&self) {
        if let Some(process) = &self.process {
            process.leaves.store(true, Ordering::Relaxed);
            let (node, left) = (process.node.clone(), process.left.clone());
            let _leaving = process.runtime.spawn(async move {
                node.leave().await;
                left.send_replace(true);
            });
        }
    }

    /// Tells the program around the node whether it is on its way out.
    #[must_use]
    pub fn leaves(&self) -> Arc<AtomicBool> {
        self.process.as_ref().map(|process| Arc::clone(&process.leaves)).unwrap_or_default()
    }

    /// Tells whether the node has left and its process has nothing more to do.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.process.as_ref().is_some_and(|process| *process.left.borrow())
    }

    /// Tells whether a process lives here, running or stopped.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    /// Tells whether its process is stopped.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.is_paused)
    }

    /// Tells why the node has stopped by itself, if it has.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.process.as_ref()?.stopped.borrow().clone()
    }

    /// The node, if its process lives.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// What the node says, by the clock of its own process, if it lives.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let process = self.process.as_ref()?;
        let _clock = process.runtime.enter();
        Some(process.node.status())
    }

    /// Tells whether a process on it has ever started a thread beside the one that all of them run on.
    #[must_use]
    pub fn has_threads(&self) -> bool {
        self.has_threads.load(Ordering::Relaxed)
    }

    /// What an observer sees of it.
    #[must_use]
    pub fn view(&self) -> HostView<'_> {
        HostView {
            number: self.number,
            address: self.address,
            incarnation: self.incarnation,
            is_durable: self.disk.is_some(),
            is_paused: self.is_paused(),
            is_ending: self.leaves().load(Ordering::Relaxed) || self.failure().is_some(),
            node: self.node(),
        }
    }

    /// The disk, if it has one.
    #[must_use]
    pub const fn disk(&self) -> Option<&SimDisk> {
        self.disk.as_ref()
    }

    /// Puts an empty disk in the place of the one it has.
    pub fn wipe(&mut self) {
        self.disk = self.disk.is_some().then(SimDisk::new);
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
