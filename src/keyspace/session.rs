//! Sessions: which process starts live, and what each was last answered.
//!
//! Owns exactly-once: a serial is applied once, and a repeated one gets its first replies (Raft dissertation, section
//! 6.3). Invariant: the replies kept for a session are those of serials above what it acknowledged, at most
//! [`KEPT_MAX`] of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::command::Reply;
use crate::ids::{NodeId, Placement, SessionId, WaitId};

/// The most batches whose replies are kept for one session. A node has fewer in flight.
pub(crate) const KEPT_MAX: usize = 1024;

/// One live process start.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its node.
    pub node: NodeId,
    /// Where the node is reached, and what it fails together with.
    pub placement: Placement,
    /// What the node drew when it opened the session; a repeated opening is recognised by it.
    pub(crate) nonce: u64,
    /// The last serial that was applied.
    last: u64,
    replies: VecDeque<(u64, Arc<[Reply]>)>,
    /// Waits that were served, the oldest first.
    served: VecDeque<Served>,
}

/// A wait that was served. Its node applies entries in their order: when it acknowledges a serial that was applied later, it
/// has seen this too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Served {
    pub(crate) wait: WaitId,
    /// The last serial of the session when the wait was served.
    pub(crate) after: u64,
    /// What its client gets.
    pub(crate) reply: Reply,
}

/// What is to be done with a serial.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is new.
    Apply,
    /// It was applied before, with these replies.
    Repeat(Arc<[Reply]>),
    /// It was applied so long ago that its replies are gone.
    Stale,
    /// One before it is missing, so that it comes too early.
    Gap,
}

/// All live sessions.
pub(crate) type Sessions = BTreeMap<SessionId, Session>;

impl Session {
    pub(crate) const fn new(node: NodeId, placement: Placement, nonce: u64) -> Self {
        Self { node, placement, nonce, last: 0, replies: VecDeque::new(), served: VecDeque::new() }
    }

    /// Tells whether the session was opened with this nonce.
    #[must_use]
    pub const fn is_opened_by(&self, nonce: u64) -> bool {
        self.nonce == nonce
    }

    /// Forgets what the node has acknowledged, and judges a serial.
    pub(crate) fn judge(&mut self, serial: u64, acknowledged: u64) -> Verdict {
        while self.replies.front().is_some_and(|(kept, _)| *kept <= acknowledged) {
            self.replies.pop_front();
        }
        while self.served.front().is_some_and(|served| served.after < acknowledged) {
            self.served.pop_front();
        }
        let next = self.last.saturating_add(1);
        if serial >= next {
            return if serial == next { Verdict::Apply } else { Verdict::Gap };
        }
        let repeated = self.replies.iter().find(|(kept, _)| *kept == serial);
        repeated.map_or(Verdict::Stale, |(_, replies)| Verdict::Repeat(Arc::clone(replies)))
    }

    /// Keeps the replies of a serial that was applied.
    pub(crate) fn keep(&mut self, serial: u64, replies: Arc<[Reply]>) {
        self.last = serial;
        self.replies.push_back((serial, replies));
        if self.replies.len() > KEPT_MAX {
            self.replies.pop_front();
        }
    }

    /// Keeps what a client got that had waited.
    pub(crate) fn keep_served(&mut self, served: Served) {
        self.served.push_back(served);
        if self.served.len() > KEPT_MAX {
            self.served.pop_front();
        }
    }

    /// All served waits that are kept, the oldest first, for a snapshot.
    pub(crate) fn kept_served(&self) -> impl Iterator<Item = &Served> {
        self.served.iter()
    }

    /// What a client got whose wait was served, if it is still kept.
    #[must_use]
    pub fn served(&self, wait: WaitId) -> Option<&Reply> {
        self.served.iter().find(|served| served.wait == wait).map(|served| &served.reply)
    }

    /// All kept replies, the oldest first, for a snapshot.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &(u64, Arc<[Reply]>)> {
        self.replies.iter()
    }

    /// Puts back what a snapshot says of the last serial.
    pub(crate) const fn set_last_serial(&mut self, last: u64) {
        self.last = last;
    }

    /// Puts back replies that a snapshot holds.
    pub(crate) fn put_back(&mut self, serial: u64, replies: Arc<[Reply]>) {
        self.replies.push_back((serial, replies));
    }

    /// The replies to a serial, if they are still kept.
    #[must_use]
    pub fn replies_to(&self, serial: u64) -> Option<&Arc<[Reply]>> {
        self.replies.iter().find(|(kept, _)| *kept == serial).map(|(_, replies)| replies)
    }

    /// The last serial that was applied.
    #[must_use]
    pub const fn last_serial(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_applied_once_and_repeated_until_acknowledged() {
        let placement = Placement::new("a", "127.0.0.1:1".parse().unwrap());
        let mut session = Session::new(NodeId::from_random(1), placement, 1);
        assert_eq!(session.judge(1, 0), Verdict::Apply);
        session.keep(1, vec![Reply::Integer(1)].into());
        assert_eq!(session.judge(1, 0), Verdict::Repeat(vec![Reply::Integer(1)].into()));
        assert_eq!(session.judge(3, 1), Verdict::Gap, "two is missing");
        assert_eq!(session.judge(2, 1), Verdict::Apply);
        session.keep(2, vec![Reply::Ok].into());
        assert_eq!(session.judge(1, 1), Verdict::Stale);
        assert_eq!(session.judge(3, 2), Verdict::Apply);
    }
}
