//! What an observer of a simulated cluster sees between two steps.
//!
//! Owns the shape only. Does not judge. Invariant: a view is taken while nothing runs, so that all machines are seen at one
//! and the same moment.

use std::net::SocketAddr;
use std::time::Duration;

use quorate::Node;

/// The whole cluster at one moment.
#[derive(Debug)]
pub struct View<'a> {
    /// The true time since the run began.
    pub now: Duration,
    /// All machines, in the order of their numbers.
    pub hosts: Vec<HostView<'a>>,
}

/// One machine.
#[derive(Debug)]
pub struct HostView<'a> {
    /// Its number, from 0.
    pub number: usize,
    /// Where its node is reached.
    pub address: SocketAddr,
    /// How many processes were started on it so far: another number is another process, with the same node id if it kept
    /// its disk.
    pub incarnation: u64,
    /// Whether it has a disk that outlives its processes.
    pub is_durable: bool,
    /// Whether its process is stopped at the moment. It may be looked at all the same.
    pub is_paused: bool,
    /// Whether its process is on its way out: it leaves, or its node has stopped by itself.
    pub is_ending: bool,
    /// Its node; none while no process lives there.
    pub node: Option<&'a Node>,
}
