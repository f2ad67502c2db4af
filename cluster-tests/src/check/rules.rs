//! What a run had promised.
//!
//! Owns: the bounds that the checkers hold a history to. Does not own: the checks. Invariant: the default allows nothing that a
//! cluster with default settings does not announce.

use serde::{Deserialize, Serialize};

use crate::history::Nanos;

/// What a history is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// How many steps the search for an order may take for each key before it gives up. Default: 5,000,000.
    pub steps_max: u64,
    /// By how much a key may go too early or too late (ms): a tick of the leader, and how far clocks may run apart. Default: 250.
    pub expiry_epsilon_ms: u64,
    /// How long after the end of a process what it had bound may be seen, while there are no faults (ms): the session timeout,
    /// an election, and some room. Default: 5,000.
    pub bound_gone_within_ms: u64,
    /// Whether no live process may lose its session while there are no faults. Default: yes.
    pub sessions_survive_calm: bool,
    /// Whether the history has each end of a session whose process lived. If not, a fault excuses what is missing since. Default:
    /// yes.
    pub sessions_are_told: bool,
    /// For how long after the end of a fault it may still have effects (ms). Default: 5,000.
    pub settle_ms: u64,
    /// After how long a message that was published and not heard counts as missing (ms). Default: 5,000.
    pub deliver_within_ms: u64,
    /// Whether one publisher's messages stay in order over all channels of a subscriber, not only in each. Default: yes.
    pub order_across_channels: bool,
    /// Whether who subscribes while there are faults may miss messages without being told, until the faults are over. Default:
    /// no.
    pub untold_while_apart: bool,
    /// Whether one log entry holds several writes, so that they share an index. Default: yes.
    pub entries_hold_many: bool,
    /// How many findings of each checker are given in full. Default: 20.
    pub findings_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            steps_max: 5_000_000,
            expiry_epsilon_ms: 250,
            bound_gone_within_ms: 5_000,
            sessions_survive_calm: true,
            sessions_are_told: true,
            settle_ms: 5_000,
            deliver_within_ms: 5_000,
            order_across_channels: true,
            untold_while_apart: false,
            entries_hold_many: true,
            findings_max: 20,
        }
    }
}

/// Turns milliseconds into nanoseconds.
pub(super) const fn nanos(ms: u64) -> Nanos {
    ms.saturating_mul(1_000_000)
}
