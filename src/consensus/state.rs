//! The replicated state as this node has it, and how far it has come.
//!
//! Owns the lock around the keyspace and the marks that readers and the node wait for. Does not decide what is applied.
//! Invariant: `applied` moves after the keyspace has, so that who sees an index sees its effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::cluster_time::ClusterTime;
use super::notifications::Notifications;
use super::pending::Pending;
use super::raft::{LogId, SnapshotMeta, StoredMembership};
use super::witness::{self, Deed, Look, Stand};
use crate::command::{Entry, Reply, Request};
use crate::ids::{NodeId, Placement, SessionId};
use crate::keyspace::{Event, Keyspace, Limits, Notification, Snapshot};
use crate::time::Timestamp;

/// One live process start, as others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPeer {
    /// Its node.
    pub node: NodeId,
    /// Where it is reached, and what it fails together with.
    pub placement: Placement,
}

/// All live sessions.
pub type SessionPeers = BTreeMap<SessionId, SessionPeer>;

#[derive(Debug, Default)]
struct Position {
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// The replicated state on this node.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    keyspace: RwLock<Keyspace>,
    position: Mutex<Position>,
    /// The index of the last entry applied.
    applied: watch::Sender<u64>,
    sessions: watch::Sender<SessionPeers>,
    pub(super) pending: Pending,
    pub(super) notifications: Arc<Notifications>,
    pub(super) time: ClusterTime,
    pub(super) stand: Stand,
}

impl State {
    pub(super) fn new(limits: Limits, pending: Pending, stand: Stand, time: ClusterTime) -> Self {
        Self {
            limits,
            keyspace: RwLock::new(Keyspace::new(limits)),
            position: Mutex::default(),
            applied: watch::Sender::new(0),
            sessions: watch::Sender::default(),
            pending,
            notifications: Arc::default(),
            time,
            stand,
        }
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Applies one entry of ours; gives what a witness is to be told, if there is one.
    pub(super) fn apply(&self, id: LogId, entry: &Arc<Entry>) -> Option<Deed> {
        let flags = self.notifications.flags();
        let mut keyspace = self.keyspace.write();
        keyspace.set_flags(flags);
        let before = self.stand.is_taken().then(|| witness::before(&keyspace, entry));
        let mut outcome = keyspace.apply(id.index(), entry);
        self.time.hear(id.index(), entry.at);
        let deed = before.map(|before| witness::deed(entry, &outcome, before, &keyspace));
        drop(keyspace);
        if !outcome.notifications.is_empty() {
            self.notifications.put(flags, std::mem::take(&mut outcome.notifications));
        }
        let changes_sessions =
            matches!(outcome.event, Event::Opened { .. } | Event::Expired { .. });
        self.pending.settle(id.index(), outcome);
        // After this node has learnt which of them is its own.
        if changes_sessions {
            self.publish_sessions();
        }
        deed
    }

    /// Gives the time for an entry of this node, which leads.
    pub(super) fn stamp(&self) -> Timestamp {
        self.time.stamp(|| self.with(Keyspace::now))
    }

    /// Notes that everything up to `id` is applied.
    pub(super) fn advance(&self, id: LogId, membership: Option<StoredMembership>) {
        let mut position = self.position.lock();
        position.applied = Some(id);
        if let Some(membership) = membership {
            position.membership = membership;
        }
        drop(position);
        self.applied.send_replace(id.index());
    }

    /// Lets the witness look at the state behind the entry that was applied last.
    pub(super) fn show(&self, last: LogId) {
        let look = self.stand.look(last.index());
        if look != Look::Away {
            let seen = || witness::state(last, look, self.limits, &self.keyspace.read());
            self.stand.tell(seen);
        }
    }

    /// Forgets how far this node has come, while what it has stays readable, until a snapshot takes its place.
    pub(super) fn forget_position(&self) {
        *self.position.lock() = Position::default();
        self.pending.written.set(0);
        self.applied.send_replace(0);
    }

    pub(super) fn position(&self) -> (Option<LogId>, StoredMembership) {
        let position = self.position.lock();
        (position.applied, position.membership.clone())
    }

    /// Takes a snapshot together with where it stands.
    pub(super) fn snapshot(&self) -> (SnapshotMeta, Snapshot) {
        // Entries are applied by one task, which also takes snapshots: position and keyspace agree.
        let (last_log_id, last_membership) = self.position();
        let snapshot = self.keyspace.read().snapshot();
        (SnapshotMeta { last_log_id, last_membership }, snapshot)
    }

    /// Replaces everything by what came as a snapshot.
    pub(super) fn install(&self, meta: &SnapshotMeta, keyspace: Keyspace) {
        let before = std::mem::replace(&mut *self.keyspace.write(), keyspace);
        self.notifications.lose();
        let index = meta.last_log_id.map_or(0, |id| id.index());
        self.pending.settle_snapshot(index, &before, &self.keyspace.read());
        self.publish_sessions();
        self.stand.tell(|| {
            let last = meta.last_log_id;
            witness::installed(last, &meta.last_membership, &self.keyspace.read())
        });
        let mut position = self.position.lock();
        position.applied = meta.last_log_id;
        position.membership = meta.last_membership.clone();
        drop(position);
        self.applied.send_replace(index);
    }

    /// Answers reads from the state as it is, all from one instant; the keys that they miss go to `misses`.
    pub(super) fn read(
        &self,
        at: Timestamp,
        requests: &[Request],
        mut misses: Option<&mut Vec<Notification>>,
    ) -> Vec<Reply> {
        let keyspace = self.keyspace.read();
        let read = |request| keyspace.read_request(at, request, misses.as_deref_mut());
        requests.iter().map(read).collect()
    }

    /// Looks at the keyspace.
    pub(super) fn with<R>(&self, look: impl FnOnce(&Keyspace) -> R) -> R {
        look(&self.keyspace.read())
    }

    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    pub(super) fn applied_index(&self) -> u64 {
        *self.applied.borrow()
    }

    pub(super) fn sessions(&self) -> watch::Receiver<SessionPeers> {
        self.sessions.subscribe()
    }

    fn publish_sessions(&self) {
        let peers = self.with(|keyspace| {
            let peer = |(id, session): (&SessionId, &crate::keyspace::Session)| {
                let peer = SessionPeer { node: session.node, placement: session.placement.clone() };
                (*id, peer)
            };
            keyspace.sessions().iter().map(peer).collect()
        });
        self.sessions.send_replace(peers);
    }
}
