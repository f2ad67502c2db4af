//! A switch in this program, for links that the kernel cannot make bad.
//!
//! Owns: a TUN device in the namespace of each node, and a thread that carries packets from one to the other. Does not own:
//! what becomes of a packet (`link`), which packets come this way (routes, in `network`). The kernels of many machines have
//! no `netem`; this takes its place. Invariant: packets that wait are bounded; what is above that is lost and counted as such.

mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tap::Device;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::link::Links;
pub use self::link::{Link, Tally};
use super::{Cut, slot_of};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};

/// The name of the device in each namespace.
pub(super) const DEVICE: &str = "sw0";
/// How many packets may be on their way.
const WAITING_MAX: usize = 20_000;
/// The longest packet that the devices take.
const PACKET_MAX: usize = 2048;

/// The switch. It ends with its value.
#[derive(Debug)]
pub struct Switch {
    state: Arc<Mutex<State>>,
    plugs: mpsc::Sender<(usize, File)>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    links: Links,
    ports: BTreeMap<usize, Arc<Device>>,
    waiting: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    number: u64,
}

impl Switch {
    /// Starts one without ports.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn new(chance: Chance) -> Outcome<Self> {
        let (ports, waiting) = Default::default();
        let state = State { links: Links::new(chance), ports, waiting, number: 0 };
        let state = Arc::new(Mutex::new(state));
        let (plugs, plugged) = mpsc::channel(16);
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("switch".into())
            .spawn(move || runtime.block_on(serve(shared, plugged, stopped)))?;
        Ok(Self { state, plugs, stop, thread: Some(thread) })
    }

    /// Makes the device of `slot` in `namespace`.
    pub(super) fn plug(&self, slot: usize, namespace: &Path) -> Outcome {
        let device = tap::tun(namespace, DEVICE)
            .map_err(|error| Failure::new(format!("a TUN device in n{slot}: {error}")))?;
        self.plugs.try_send((slot, device)).map_err(|_| Failure::new("the switch has ended"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Drops the packets of exactly these pairs from now on.
    pub(super) fn cut(&self, cuts: &BTreeSet<Cut>) {
        self.state().links.cuts.clone_from(cuts);
    }

    /// Gives exactly these links their faults; all others are good.
    pub fn set(&self, links: BTreeMap<Cut, Link>) {
        self.state().links.links = links;
    }

    /// Returns how many packets met with what so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.state().links.tally
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed when it happened.
            drop(thread.join());
        }
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the switch until it is told to stop.
async fn serve(
    state: Arc<Mutex<State>>,
    mut plugged: mpsc::Receiver<(usize, File)>,
    mut stopped: watch::Receiver<bool>,
) {
    let news = Arc::new(Notify::new());
    loop {
        let next = locked(&state).waiting.first_key_value().map(|((due, _), _)| *due);
        let due = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stopped.changed() => return,
            Some((slot, device)) = plugged.recv() => {
                // Refused only if the device is broken; then nothing comes through it, and the probes tell.
                if let Ok(port) = Device::new(device) {
                    let port = Arc::new(port);
                    locked(&state).ports.insert(slot, Arc::clone(&port));
                    tokio::spawn(carry(Arc::clone(&state), Arc::clone(&news), slot, port));
                }
            }
            () = news.notified() => {}
            () = due => {}
        }
        locked(&state).deliver(Instant::now());
    }
}

/// Takes the packets that leave by one port, until its namespace is gone.
async fn carry(state: Arc<Mutex<State>>, news: Arc<Notify>, slot: usize, port: Arc<Device>) {
    let mut buffer = [0; PACKET_MAX];
    while let Ok(length) = port.take(&mut buffer).await {
        let packet = buffer.get(..length).unwrap_or_default();
        locked(&state).take(Instant::now(), slot, packet);
        news.notify_one();
    }
}

impl State {
    fn take(&mut self, now: Instant, from: usize, packet: &[u8]) {
        let target = packet.get(16..20).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let Some(to) = target.and_then(|bytes| slot_of(bytes.into())) else { return };
        for (due, packet) in self.links.pass(now, (from, to), packet.to_vec()) {
            if self.waiting.len() >= WAITING_MAX {
                self.links.tally.overflowed += 1;
                continue;
            }
            self.number += 1;
            self.waiting.insert((due, self.number), (to, packet));
        }
    }

    fn deliver(&mut self, now: Instant) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            let (to, packet) = first.remove();
            let written = self.ports.get(&to).map(|port| port.give(&packet));
            if !matches!(written, Some(Ok(_))) {
                self.links.tally.overflowed += 1;
            }
        }
    }
}
