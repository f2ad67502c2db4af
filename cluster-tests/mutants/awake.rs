//! Which planted bug is awake.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Timestamp;

static AWAKE: OnceLock<Option<String>> = OnceLock::new();
static CLOCK: AtomicU64 = AtomicU64::new(0);

/// Tells whether this is the one.
#[must_use]
pub fn is_awake(name: &str) -> bool {
    AWAKE.get_or_init(|| std::env::var("QUORATE_MUTANT").ok()).as_deref() == Some(name)
}

/// Keeps the clock of the node that is about to read.
pub fn set_local_clock(now: Timestamp) {
    CLOCK.store(now.as_millis(), Ordering::Relaxed);
}

/// Gives it.
#[must_use]
pub fn local_clock() -> Option<Timestamp> {
    Some(CLOCK.load(Ordering::Relaxed)).filter(|now| *now > 0).map(Timestamp::from_millis)
}
