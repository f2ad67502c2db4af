//! The counters of the door, for INFO.
//!
//! Owns their meaning. Invariant: they only grow, until CONFIG RESETSTAT sets them to zero.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened since the start, or since CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub(super) struct Stats {
    connections: AtomicU64,
    rejected: AtomicU64,
    commands: AtomicU64,
}

impl Stats {
    pub(super) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_command(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections accepted.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections turned away because there were too many.
    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Commands taken.
    pub(super) fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Starts anew.
    pub(super) fn reset(&self) {
        for counter in [&self.connections, &self.rejected, &self.commands] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}
