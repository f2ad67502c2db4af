//! The things that the model is made of.
//!
//! Owns their shapes. Does not move them. Invariant: a stream's frames are in the order in which they were written.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use super::super::*;
use super::SUBSCRIBERS;
use crate::pubsub::arrivals::{Arrivals, StreamId};
use crate::pubsub::table::{Limits as TableLimits, Table};
use crate::pubsub::wire::Hello;

#[derive(Clone, Copy, Debug)]
pub(super) enum Frame {
    Message {
        number: u64,
        said: u64,
        name: usize,
    },
    Grafted {
        attempt: u64,
        id: u64,
    },
    /// The number of the next message, when those before it were dropped.
    Run(u64),
    End,
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    Prune(Name),
    Graft(u64, Vec<Name>),
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: u64,
    pub(super) attempt: u64,
    pub(super) next: u64,
    pub(super) told: u64,
    pub(super) waiting: VecDeque<Frame>,
    /// The stream that the publisher takes for open.
    pub(super) stream: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) pair: (usize, usize),
    /// Taken when it is heard.
    pub(super) hello: Option<Hello>,
    pub(super) forward: VecDeque<Frame>,
    pub(super) back: VecDeque<Answer>,
    pub(super) is_cut: bool,
    /// What the listener calls it, while it hears it.
    pub(super) heard: Option<StreamId>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) generation: u64,
    pub(super) is_stopped: bool,
    pub(super) last_number: u64,
    pub(super) interest: Interest,
    pub(super) arrivals: Arrivals,
    pub(super) table: Table<()>,
    pub(super) subscribers: Vec<SubscriberId>,
    /// The streams heard, by publisher.
    pub(super) ways_back: BTreeMap<usize, usize>,
    /// The starts of the publishers that a stream was heard from.
    pub(super) heard: BTreeMap<usize, u64>,
}

/// A subscription and whether it has resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Pending(Ticket),
    Resolved,
    GivenUp,
}

/// That a subscriber must get a message, or be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Debt {
    pub(super) listener: usize,
    pub(super) subscriber: SubscriberId,
    pub(super) publisher: usize,
    pub(super) said: u64,
}

/// What has happened, so that the test knows that it tests something.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) prunes: Cell<u64>,
    pub(super) waits: Cell<u64>,
    pub(super) acknowledged: Cell<u64>,
    pub(super) cut_off: Cell<u64>,
    pub(super) room: Cell<u64>,
    pub(super) debts: Cell<u64>,
    pub(super) tells: Cell<u64>,
    pub(super) stale: Cell<u64>,
}

pub(super) fn more(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

pub(super) fn id(place: usize) -> NodeId {
    NodeId::from_random(place as u64 + 1)
}

pub(super) fn place(id: NodeId) -> usize {
    usize::try_from(id.as_u64() - 1).unwrap()
}

pub(super) fn node(limits: Limits, generation: u64) -> Node {
    let table_limits = TableLimits { name: 16, per_subscriber: 16, all: 64 };
    let mut table = Table::new(table_limits);
    let subscribers = (0..SUBSCRIBERS).map(|_| table.add(())).collect();
    let (interest, arrivals) = (Interest::new(limits), Arrivals::default());
    let (is_stopped, last_number, ways_back, heard) = (false, 0, BTreeMap::new(), BTreeMap::new());
    Node {
        generation,
        is_stopped,
        last_number,
        interest,
        arrivals,
        table,
        subscribers,
        ways_back,
        heard,
    }
}
