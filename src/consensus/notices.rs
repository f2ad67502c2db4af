//! What consensus tells the node beyond replies: the fate of its sessions, and what went with others.
//!
//! Owns the bounded way up. Invariant: telling never waits; what does not fit is counted, and the count is told before the next
//! notice that fits.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::ids::{NodeId, SessionId};
use crate::keyspace::{Owner, Taken};

/// How many notices may wait.
const WAITING_MAX: usize = 1024;

/// Something that the node must know.
#[derive(Debug)]
pub enum Notice {
    /// This node's session is gone; another is being opened.
    SessionLost {
        /// Which.
        session: SessionId,
    },
    /// Another session is open, and what the lost one had bound is back as far as nobody had taken its place.
    SessionRenewed {
        /// The one that was lost.
        old: SessionId,
        /// The one that is open.
        new: SessionId,
        /// How many pieces are back.
        restored: usize,
        /// Those that are not.
        lost: Vec<Taken>,
    },
    /// Bound state went with its owner.
    Taken {
        /// The session that ended and its node; none when only a client of it did.
        ended: Option<(SessionId, NodeId)>,
        /// Whether the node is this one.
        is_own: bool,
        /// What went.
        taken: Vec<(Owner, Vec<Taken>)>,
    },
    /// So many notices before this one did not fit.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Where notices are put.
#[derive(Debug)]
pub(super) struct Outbox {
    sender: mpsc::Sender<Notice>,
    missed: u64,
}

/// Makes the way up.
pub(super) fn channel() -> (Outbox, mpsc::Receiver<Notice>) {
    let (sender, inbox) = mpsc::channel(WAITING_MAX);
    (Outbox { sender, missed: 0 }, inbox)
}

impl Outbox {
    /// Puts a notice, if there is room.
    pub(super) fn put(&mut self, notice: Notice) {
        if self.missed > 0 {
            match self.sender.try_send(Notice::Missed { count: self.missed }) {
                Ok(()) => self.missed = 0,
                // Nobody listens any more.
                Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(_)) => {}
            }
        }
        if let Err(TrySendError::Full(_)) = self.sender.try_send(notice) {
            self.missed = self.missed.saturating_add(1);
        }
    }
}
