//! The settings that the engine gets from ours.
//!
//! Owns the translation, and what is fixed for all clusters. Invariant: snapshots and the purging of the log are never left to
//! the engine; see `duties`.

use std::time::Duration;

use super::Error;
use super::config::{Config, Timing};

/// Makes the settings of the engine.
///
/// # Errors
/// [`Error::Fatal`] when they contradict each other.
pub(super) fn settings(config: &Config, timing: &Timing) -> Result<openraft::Config, Error> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let engine = openraft::Config {
        cluster_name: "quorate".to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        heartbeat_min_interval: Some(millis(timing.heartbeat / 2)),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        install_snapshot_timeout: millis(config.snapshot_idle_timeout.saturating_mul(6)),
        max_payload_entries: 1024,
        max_append_entries: Some(4096),
        snapshot_policy: openraft::SnapshotPolicy::Never,
        replication_lag_threshold: u64::MAX,
        // Purged by size, see duties.
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1024,
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(millis(timing.election_max.saturating_mul(3))),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // One that cannot be reached may be back within a moment, or never.
        backoff: "10ms 20ms 40ms..200ms".to_owned(),
        ..openraft::Config::default()
    };
    engine.validate().map_err(|error| Error::Fatal(error.to_string()))
}
