//! openraft's own suite for log stores and state machines, on memory and on a simulated disk.
//!
//! Owns nothing but how both are built. Invariant: each store of the suite begins empty.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::clients::Clients;
use super::log::LogStore;
use super::machine::{Gate, Machine};
use super::notices;
use super::pending::Pending;
use super::raft::Types;
use super::state::State;
use super::store::Store;
use crate::ids::NodeId;
use crate::keyspace::Limits;
use crate::storage::SimDisk;

struct Builder {
    is_on_disk: bool,
}

impl StoreBuilder<Types, LogStore, Machine> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        let node = NodeId::from_random(1);
        let store = if self.is_on_disk {
            Store::open(Arc::new(SimDisk::new()), node).expect("an empty disk opens")
        } else {
            Store::in_memory(node)
        };
        let (outbox, _) = notices::channel();
        let pending = Pending::new(node, Clients::default(), 1 << 20, outbox);
        let state = Arc::new(State::new(Limits::default(), pending));
        Ok(((), store.log, Machine::new(state, Gate::default(), store.snapshots)))
    }
}

#[tokio::test(start_paused = true)]
async fn memory_passes_the_suite() {
    Suite::test_all(Builder { is_on_disk: false }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn disk_passes_the_suite() {
    Suite::test_all(Builder { is_on_disk: true }).await.unwrap();
}
