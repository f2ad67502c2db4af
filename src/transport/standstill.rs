//! Notices that this process has stood still, stopped or starved, for longer than its peers wait for a sign of life.
//!
//! Owns that judgement, and ends all connections then. Why: the peers have given them up, but here each looks alive for as long
//! as the standstill was. QUIC takes the time until the first late acknowledgement for the round trip (RFC 9002, section
//! 5), sends and repeats at that pace, and no connection counts as idle before three of its probe timeouts (RFC 9000,
//! section 10.1). Invariant: a connection of before a standstill that is longer than `idle_timeout` is not used after it.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::Shared;

/// How many times it looks within the idle timeout.
const LOOKS: u32 = 6;

/// Runs until the transport is dropped.
pub(super) async fn watch(shared: Weak<Shared>, idle_timeout: Duration) {
    let mut ticks = tokio::time::interval(idle_timeout / LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let stood = looked.elapsed();
        looked = Instant::now();
        if stood > idle_timeout {
            let ended = shared.links.end_all() + shared.guests.end_all();
            tracing::warn!(?stood, ended, "this process stood still; links its peers gave up end");
        }
    }
}
