//! How far this node has come, for those who only want to know or to wait for that.
//!
//! Owns the marks of what is applied and of what this node itself has written. Invariant: the mark of a write is set before the
//! write is answered, so that who has an answer finds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// How far this node's state has come, by the indices of the log. They start anew with a node that goes over to another
/// formation.
#[derive(Clone, Debug)]
pub struct Progress {
    applied: watch::Receiver<u64>,
    written: Written,
}

impl Progress {
    pub(super) const fn new(applied: watch::Receiver<u64>, written: Written) -> Self {
        Self { applied, written }
    }

    /// The index of the last entry that is applied here; its effects are readable.
    #[must_use]
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// The index of the last entry that wrote for a caller of this node; 0 if there is none.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.0.load(Ordering::Acquire)
    }

    /// Waits until [`Progress::applied`] is no less than `index`; for ever, when consensus ends before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn reached(&self, index: u64) {
        let mut applied = self.applied.clone();
        if applied.wait_for(|applied| *applied >= index).await.is_err() {
            std::future::pending().await
        }
    }
}

/// The mark of this node's last write.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(Arc<AtomicU64>);

impl Written {
    /// Sets the mark; lower than before only when the log has started anew.
    pub(super) fn set(&self, index: u64) {
        self.0.store(index, Ordering::Release);
    }
}
