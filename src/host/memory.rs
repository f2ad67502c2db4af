//! A host in memory, for tests and simulations: its processes die when they are told to.
//!
//! Owns the same judgements as the lock files, without files. Invariant: a node is dead only after [`MemoryHost::kill`] or a
//! release.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Error, Evidence};
use crate::ids::NodeId;

#[derive(Clone, Copy, Debug)]
struct Process {
    is_durable: bool,
    is_alive: bool,
    /// How many times the node was held; an earlier hold has no say.
    start: u64,
}

/// A host that exists in memory only. All clones are the same host.
#[derive(Clone, Debug, Default)]
pub struct MemoryHost(Arc<Mutex<BTreeMap<NodeId, Process>>>);

/// One node's hold.
#[derive(Debug)]
pub(super) struct Held {
    host: MemoryHost,
    node: NodeId,
    start: u64,
}

impl MemoryHost {
    pub(super) fn hold(&self, node: NodeId, is_durable: bool) -> Result<Held, Error> {
        let mut processes = self.0.lock();
        let before = processes.get(&node).copied();
        if before.is_some_and(|process| process.is_alive) {
            return Err(Error::Held { node });
        }
        let start = before.map_or(1, |process| process.start.saturating_add(1));
        processes.insert(node, Process { is_durable, is_alive: true, start });
        Ok(Held { host: self.clone(), node, start })
    }

    pub(super) fn is_held(&self, node: NodeId) -> bool {
        self.0.lock().get(&node).is_some_and(|process| process.is_alive)
    }

    /// Makes the process of `node` dead, as the others see it.
    pub fn kill(&self, node: NodeId) {
        if let Some(process) = self.0.lock().get_mut(&node) {
            process.is_alive = false;
        }
    }
}

impl Held {
    pub(super) fn evidence(&self, node: NodeId) -> Evidence {
        match self.host.0.lock().get(&node) {
            None => Evidence::Unknown,
            Some(process) if process.is_alive => Evidence::Alive,
            Some(process) => Evidence::Dead { is_durable: process.is_durable },
        }
    }

    pub(super) fn release(&self, is_let_go: bool) {
        let mut processes = self.host.0.lock();
        let Some(process) = processes.get_mut(&self.node).filter(|p| p.start == self.start) else {
            return;
        };
        process.is_alive = false;
        if is_let_go {
            processes.remove(&self.node);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut processes = self.host.0.lock();
        if let Some(process) = processes.get_mut(&self.node).filter(|p| p.start == self.start) {
            process.is_alive = false;
        }
    }
}
