//! A network in memory, below the real QUIC: datagrams between simulated sockets, with every fault a real one has.
//!
//! Owns the simulated sockets and who is cut off from whom; what a link does to a datagram is `fate`'s. Does not know what is
//! in a datagram. Invariant: what happens to
//! the n-th datagram depends on the seed, the faults set and the sends before it, and on nothing else. Time is tokio's,
//! paused or not, or that of whoever steps the network, which then can join nodes of several runtimes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, Sleep};

use super::fate::{Copy, Draws, Link};

/// The most datagrams that wait for one socket; more are lost, as in a kernel.
const WAITING_MAX: usize = 4_096;

/// What went over a [`MemoryNetwork`]: equal for equal runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams lost, by whatever fault.
    pub lost: u64,
    /// Copies that arrived changed.
    pub corrupted: u64,
    /// A hash over time, both addresses, length and fate of each.
    pub digest: u64,
    /// A hash over the bytes of each: equal where the randomness of `ring` is repeated, too.
    pub contents: u64,
}

/// Where the network's time comes from.
#[derive(Clone, Copy, Debug)]
enum Time {
    /// From tokio's timers, since the first datagram.
    Tokio(Option<Instant>),
    /// From [`MemoryNetwork::advance_to`].
    Stepped(Duration),
}

/// A network in memory. Cheap to clone; all clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Mutex<Wires>>);

struct Wires {
    rng: StdRng,
    time: Time,
    sockets: BTreeMap<SocketAddr, Weak<MemorySocket>>,
    default: Link,
    links: BTreeMap<(SocketAddr, SocketAddr), Link>,
    /// When what was sent over a link with a rate has left.
    busy: BTreeMap<(SocketAddr, SocketAddr), Duration>,
    cuts: BTreeSet<(SocketAddr, SocketAddr)>,
    isolated: BTreeSet<SocketAddr>,
    sequence: u64,
    trace: Trace,
}

impl MemoryNetwork {
    /// Makes a network without faults and with the default [`Link`] between all addresses.
    #[must_use]
    pub fn new(rng_seed: u64) -> Self {
        Self::with_time(rng_seed, Time::Tokio(None))
    }

    /// Makes a network like [`MemoryNetwork::new`] whose time stands still between calls of
    /// [`MemoryNetwork::advance_to`]. Its sockets may belong to different runtimes, each with a clock of its own.
    #[must_use]
    pub fn stepped(rng_seed: u64) -> Self {
        Self::with_time(rng_seed, Time::Stepped(Duration::ZERO))
    }

    fn with_time(rng_seed: u64, time: Time) -> Self {
        Self(Arc::new(Mutex::new(Wires {
            rng: StdRng::seed_from_u64(rng_seed),
            time,
            sockets: BTreeMap::new(),
            default: Link::default(),
            links: BTreeMap::new(),
            busy: BTreeMap::new(),
            cuts: BTreeSet::new(),
            isolated: BTreeSet::new(),
            sequence: 0,
            trace: Trace::default(),
        })))
    }

    /// Makes the socket at `address`. One that was there before is cut off for good, as by the death of its process.
    #[must_use]
    pub fn socket(&self, address: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
        let socket = Arc::new(MemorySocket {
            network: self.clone(),
            address,
            inbox: Mutex::new(Inbox { waiting: BTreeMap::new(), timer: None, waker: None }),
        });
        self.0.lock().sockets.insert(address, Arc::downgrade(&socket));
        socket
    }

    /// Takes the socket at `address` away: nothing it sends arrives any more, nothing reaches it.
    pub fn remove(&self, address: SocketAddr) {
        self.0.lock().sockets.remove(&address);
    }

    /// Loses everything on the way from `from` to `to`, one way only.
    pub fn cut(&self, from: SocketAddr, to: SocketAddr) {
        self.0.lock().cuts.insert((from, to));
    }

    /// Loses everything from and to `address`.
    pub fn isolate(&self, address: SocketAddr) {
        self.0.lock().isolated.insert(address);
    }

    /// Ends all cuts and isolations. What [`MemoryNetwork::set_link`] set stays.
    pub fn heal(&self) {
        let mut wires = self.0.lock();
        wires.cuts.clear();
        wires.isolated.clear();
    }

    /// Sets how datagrams fare between addresses that have no [`MemoryNetwork::set_link`] of their own.
    pub fn set_default(&self, link: Link) {
        self.0.lock().default = link;
    }

    /// Sets how datagrams fare from `from` to `to`, one way only.
    pub fn set_link(&self, from: SocketAddr, to: SocketAddr, link: Link) {
        self.0.lock().links.insert((from, to), link);
    }

    /// Makes all links the default ones again.
    pub fn reset_links(&self) {
        self.0.lock().links.clear();
    }

    /// Brings a stepped network to `now`, counted from its beginning, and wakes the sockets at which something has arrived
    /// by then. Time does not go back. On a network that follows tokio's timers it does nothing.
    pub fn advance_to(&self, now: Duration) {
        let mut wires = self.0.lock();
        let Time::Stepped(at) = &mut wires.time else { return };
        *at = now.max(*at);
        let sockets: Vec<_> = wires.sockets.values().filter_map(Weak::upgrade).collect();
        drop(wires);
        for socket in sockets {
            socket.inbox.lock().wake_if_due(now);
        }
    }

    /// Tells what went over the network so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.0.lock().trace
    }

    /// Sends one datagram on its way. For tests that speak to a node without QUIC, too.
    pub fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.deliver(from, to, bytes, None);
    }

    /// The time since the network's beginning, and the instant of that, if it is one of tokio's.
    fn now(&self) -> (Duration, Option<Instant>) {
        let mut wires = self.0.lock();
        let now = wires.now();
        match wires.time {
            Time::Tokio(origin) => (now, origin),
            Time::Stepped(_) => (now, None),
        }
    }

    fn deliver(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8], ecn: Option<EcnCodepoint>) {
        let mut wires = self.0.lock();
        let now = wires.now();
        let fates = wires.fates(now, from, to, bytes);
        let Some(target) = wires.sockets.get(&to).and_then(Weak::upgrade) else { return };
        let first = wires.sequence;
        wires.sequence += fates.len() as u64;
        let is_stepped = matches!(wires.time, Time::Stepped(_));
        drop(wires);
        let bytes = Bytes::copy_from_slice(bytes);
        let numbered = fates.into_iter().zip(first..);
        let mut inbox = target.inbox.lock();
        inbox.add(numbered.map(|(copy, sequence)| {
            ((now + copy.after, sequence), Datagram { from, bytes: copy.contents(&bytes), ecn })
        }));
        // On tokio's time the socket itself sets its timer anew.
        inbox.wake_if_due(if is_stepped { now } else { Duration::MAX });
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").field("trace", &self.trace()).finish_non_exhaustive()
    }
}

impl Wires {
    /// The time since the network's beginning.
    fn now(&mut self) -> Duration {
        match &mut self.time {
            Time::Tokio(origin) => origin.get_or_insert_with(Instant::now).elapsed(),
            Time::Stepped(now) => *now,
        }
    }

    /// Decides which copies arrive and how, and writes it into the trace.
    fn fates(
        &mut self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Vec<Copy> {
        let length = bytes.len();
        let link = self.links.get(&(from, to)).copied().unwrap_or(self.default);
        // Drawn for each datagram, lost or not, so that a cut does not shift the fates of the others.
        let draws = Draws::new(&mut self.rng);
        let is_cut = self.cuts.contains(&(from, to))
            || self.isolated.contains(&from)
            || self.isolated.contains(&to);
        let mut fates = if is_cut { Vec::new() } else { link.copies(&draws, length) };
        if link.rate.is_some() && !is_cut {
            let busy = self.busy.entry((from, to)).or_default();
            match link.leaves(now, *busy, length) {
                Some(at) => {
                    *busy = at;
                    fates.iter_mut().for_each(|copy| copy.after += at - now);
                }
                None => fates.clear(),
            }
        }
        let corrupted = fates.iter().filter(|copy| copy.corruption.is_some()).count() as u64;
        let words = [
            u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            u64::from(from.port()) << 32 | u64::from(to.port()),
            length as u64,
            fates.len() as u64 | corrupted << 8,
        ];
        self.trace.digest = hash(self.trace.digest, words.into_iter());
        self.trace.contents = hash(self.trace.contents, bytes.chunks(8).map(word));
        self.trace.sent += 1;
        self.trace.lost += u64::from(fates.is_empty());
        self.trace.corrupted += corrupted;
        fates
    }
}

/// FNV-1a, a word at a time.
fn hash(begin: u64, words: impl Iterator<Item = u64>) -> u64 {
    words.fold(begin, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

/// Up to eight bytes as one word.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

struct Datagram {
    from: SocketAddr,
    bytes: Bytes,
    ecn: Option<EcnCodepoint>,
}

struct Inbox {
    /// By time of arrival, then by order of sending.
    waiting: BTreeMap<(Duration, u64), Datagram>,
    timer: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
}

impl Inbox {
    fn add(&mut self, datagrams: impl Iterator<Item = ((Duration, u64), Datagram)>) {
        for (place, datagram) in datagrams {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.insert(place, datagram);
            }
        }
    }

    fn wake_if_due(&mut self, now: Duration) {
        let is_due = self.waiting.first_key_value().is_some_and(|((at, _), _)| *at <= now);
        if is_due && let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct MemorySocket {
    network: MemoryNetwork,
    address: SocketAddr,
    inbox: Mutex<Inbox>,
}

impl MemorySocket {
    /// Tells whether the network still knows this very socket.
    fn is_attached(&self) -> bool {
        let wires = self.network.0.lock();
        wires.sockets.get(&self.address).is_some_and(|s| std::ptr::eq(s.as_ptr(), self))
    }
}

impl fmt::Debug for MemorySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySocket").field("address", &self.address).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for MemorySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.is_attached() {
            let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
            for datagram in transmit.contents.chunks(segment) {
                self.network.deliver(self.address, transmit.destination, datagram, transmit.ecn);
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = self.inbox.lock();
        loop {
            let (now, origin) = self.network.now();
            let mut count = 0;
            for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
                let Some(first) = inbox.waiting.first_entry() else { break };
                if first.key().0 > now {
                    break;
                }
                let datagram = first.remove();
                let length = datagram.bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&datagram.bytes[..length]);
                *meta = RecvMeta {
                    addr: datagram.from,
                    len: length,
                    stride: length,
                    ecn: datagram.ecn,
                    dst_ip: None,
                };
                count += 1;
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            inbox.waker = Some(cx.waker().clone());
            let Some(((next, _), _)) = inbox.waiting.first_key_value() else {
                return Poll::Pending;
            };
            let Some(origin) = origin else { return Poll::Pending };
            let next = origin + *next;
            let timer = inbox.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            timer.as_mut().reset(next);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// A memory socket takes every datagram at once.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
