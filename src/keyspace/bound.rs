//! What is bound to whom.
//!
//! Owns the side table of owners. Invariant: it never names what is not there.

use std::collections::BTreeMap;

use super::access::Writer;
use super::{Effects, Keyspace, Owner, Taken};
use crate::command::{BoundCommand, Error, Reply};
use crate::ids::SessionId;

impl Keyspace {
    /// All that is bound to a session and its clients, owner by owner in their order: what would go if it ended now.
    #[must_use]
    pub fn bound_by(&self, _session: SessionId) -> Vec<(Owner, Vec<Taken>)> {
        Vec::new()
    }

    /// How much each session has bound; sessions with nothing are left out.
    #[must_use]
    pub fn bound_counts(&self) -> BTreeMap<SessionId, usize> {
        BTreeMap::new()
    }

    pub(super) fn release_session(&mut self, _session: SessionId, _effects: &mut Effects) {}
}

impl Writer<'_> {
    pub(super) fn bound(
        &mut self,
        command: &BoundCommand,
        _effects: &mut Effects,
    ) -> Result<Reply, Error> {
        match command {
            BoundCommand::Release { .. } => Ok(Reply::count(0)),
        }
    }
}
