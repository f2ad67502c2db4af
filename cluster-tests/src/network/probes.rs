//! Looks whether packets go from one node's namespace to another's.
//!
//! Owns: a socket of the test's own in each namespace, and who hears whom right now. Does not own: what follows from it. It
//! asks the network, not the nodes: one that is stopped or dead is reached all the same. Invariant: an answer tells of packets
//! that were sent after the question.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Cut, address, every_pair, namespace};
use crate::failure::{Failure, Outcome};

/// The echo port, on which no node listens.
const PORT: u16 = 7;
/// How long one packet may take on an idle machine and a busy one.
const ROUND: Duration = Duration::from_millis(40);

/// A socket in each namespace.
#[derive(Debug, Default)]
pub struct Probes {
    sockets: BTreeMap<usize, UdpSocket>,
    round: AtomicU64,
}

impl Probes {
    /// Opens one in the namespace of `slot`.
    pub(super) fn add(&mut self, slot: usize) -> Outcome {
        let socket = tap::within(&namespace(slot), || {
            let socket = UdpSocket::bind(SocketAddr::new(address(slot), PORT))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let socket =
            socket.map_err(|error| Failure::new(format!("a probe in n{slot}: {error}")))?;
        self.sockets.insert(slot, socket);
        Ok(())
    }

    /// Sends `count` packets of `length` bytes on each of `pairs`; for others to look at.
    pub fn send(&self, pairs: &BTreeSet<Cut>, count: usize, length: usize) {
        let round = self.round.fetch_add(1, Ordering::Relaxed);
        for _ in 0..count {
            pairs.iter().for_each(|pair| self.send_one(*pair, round, length));
        }
    }

    fn send_one(&self, (from, to): Cut, round: u64, length: usize) {
        let mut packet = round.to_be_bytes().to_vec();
        packet.resize(length.max(packet.len()), b'p');
        if let Some(socket) = self.sockets.get(&from) {
            // What cannot be sent does not arrive either, and that is the answer.
            drop(socket.send_to(&packet, SocketAddr::new(address(to), PORT)));
        }
    }

    /// Tells on which of all pairs packets arrive now. Those in `dead` are not waited for: the answer is given when all
    /// others have got through, and after several packets at the latest.
    pub async fn heard(&self, dead: &BTreeSet<Cut>) -> BTreeSet<Cut> {
        let mut heard = BTreeSet::new();
        let slots: BTreeSet<usize> = self.sockets.keys().copied().collect();
        let all = every_pair(&slots);
        let first = self.round.load(Ordering::Relaxed);
        for turn in 0..25 {
            self.send(&all, 1, 16);
            let until = Instant::now() + ROUND;
            while Instant::now() < until {
                self.receive(first, &mut heard);
                sleep(Duration::from_millis(5)).await;
            }
            // Two turns at least, so that what is not cut although it should be has its chance to show.
            if turn >= 1 && all.difference(dead).all(|pair| heard.contains(pair)) {
                break;
            }
        }
        heard
    }

    fn receive(&self, first: u64, heard: &mut BTreeSet<Cut>) {
        let mut buffer = [0; 2048];
        for (slot, socket) in &self.sockets {
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, from)) => {
                        let round =
                            buffer.get(..8.min(length)).and_then(|head| head.try_into().ok());
                        let is_new = round.is_some_and(|head| u64::from_be_bytes(head) >= first);
                        if let (true, Some(from)) = (is_new, self.slot(from.ip())) {
                            heard.insert((from, *slot));
                        }
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    // An answer of the network to an earlier packet.
                    Err(_) => {}
                }
            }
        }
    }

    fn slot(&self, ip: IpAddr) -> Option<usize> {
        self.sockets.keys().copied().find(|slot| address(*slot) == ip)
    }
}
