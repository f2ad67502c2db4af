//! Which peers need not be sent what, and how that changes without losing anything. Pure: it sends nothing and has no clock.
//!
//! Owns both roles: what peers have pruned here, and what this node has pruned at publishers. Invariant: a message published
//! after a subscribe has resolved reaches the subscriber, unless a stream broke, and then the subscriber is told.
//!
//! ```text
//!  publisher                                                      listener
//!  message ───────────────────────────────────────────────────►   nobody wants it, for the n-th time
//!          ◄───────────────────────────────────────── Prune ───   noted first, then said
//!  withholds it …                                                 subscribe: it is noted, so
//!          ◄─────────────────────────────────────── Graft id ──   wait
//!  forgets the prune ──────── Grafted id ─────────────────────►   the note goes, the subscribe resolves
//! ```
//!
//! Why it holds: (1) What a publisher withholds from a peer is always among what that peer has noted about it: the note is made
//! before the prune is said, no prune is said of a name while a graft of it is under way, and a note goes only with the
//! acknowledgement, or with a newer stream. (2) A publisher forgets a peer's prunes when a stream to it ends and before one begins, so
//! that a newer stream withholds nothing. (3) The acknowledgement goes by the lane, so what is published behind it comes behind it.
//! (4) A note about a publisher whose stream has broken stays until there is a newer one: who subscribes meanwhile is not held
//! up, but is told at once that the link is broken, and again when it is back, for nobody knows what was withheld between.
//!
//! Forgetting is safe on the publisher's side only (it floods), so it forgets whatever it has no room for; a listener without room
//! prunes nothing until grafts that nobody waits for have made room.

mod held;
mod noted;
#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
mod unwanted;

use bytes::Bytes;

use self::held::Held;
use self::noted::Noted;
use self::unwanted::Unwanted;
use super::table::SubscriberId;
use super::{Config, Kind};
use crate::ids::NodeId;

/// A channel as prunes and grafts name it, by the kind of its subscriptions; never [`Kind::Pattern`].
pub(super) type Name = (Kind, Bytes);

/// What waits for grafts to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What happens around the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A stream of the lane to this peer is about to begin, or has ended, or the lane is gone.
    Unpruned(NodeId),
    /// This peer has no listeners to these.
    Pruned { peer: NodeId, names: Vec<Name> },
    /// It is about to have some.
    GraftAsked { peer: NodeId, id: u64, names: &'a [Name] },
    /// A stream from this publisher begins; it is newer than all before.
    Opened(NodeId),
    /// The newest stream from this publisher has ended: cleanly when nothing more is published there.
    Closed { publisher: NodeId, is_clean: bool },
    /// A publisher whose stream has ended will not open another one.
    Forgotten(NodeId),
    /// A message came from this publisher to nobody.
    Unwanted { publisher: NodeId, kind: Kind, channel: &'a [u8] },
    /// A publisher says that it has forgotten the prunes of a graft.
    Acknowledged { publisher: NodeId, id: u64 },
    /// Somebody on this node has subscribed, and stands in the table.
    Subscribed { subscriber: SubscriberId, kind: Kind, name: &'a [u8] },
    /// Nobody waits by this ticket any more.
    GivenUp(Ticket),
    /// This subscriber is gone.
    Dropped(SubscriberId),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Put this on the lane, behind all that waits there, or break the stream.
    Acknowledge { peer: NodeId, id: u64 },
    /// Say on the way back of the publisher's stream that nobody listens to this.
    Prune { publisher: NodeId, name: Name },
    /// Say there that somebody will, or break the stream.
    Graft { publisher: NodeId, id: u64, names: Vec<Name> },
    /// The subscription is in effect only when this ticket has resolved.
    Wait(Ticket),
    /// Every graft that this ticket waits for has ended.
    Resolved(Ticket),
    /// Tell this subscriber that messages from the publisher may be missing.
    Tell { subscriber: SubscriberId, publisher: NodeId },
    /// The publisher has acknowledged what this node did not ask: end its stream.
    Refuse { publisher: NodeId, id: u64 },
}

/// The most that is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many unwanted messages it takes; zero for never.
    prune_after: u32,
    /// How many names, counted once for each peer, in either role.
    prunes: usize,
    /// How many bytes of names, in either role.
    bytes: u64,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        let bytes = config.prunes_bytes_max.as_u64();
        Self { prune_after: config.prune_after, prunes: config.prunes_max, bytes }
    }
}

/// What is pruned between this node and one peer, for its report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Names that this node does not send to it.
    pub(super) held: u64,
    /// Names that it was asked not to send here.
    pub(super) made: u64,
    /// How many grafts were asked of it.
    pub(super) grafts: u64,
}

/// The peers' interest in this node's messages, and this node's in theirs.
#[derive(Debug)]
pub(super) struct Interest {
    limits: Limits,
    held: Held,
    noted: Noted,
    unwanted: Unwanted,
}

impl Interest {
    pub(super) fn new(limits: Limits) -> Self {
        let (held, noted, unwanted) = Default::default();
        Self { limits, held, noted, unwanted }
    }

    /// Gives the peers that need not be sent a message to `channel`, in order. One lookup, none at all when nothing is pruned.
    pub(super) fn pruners(&self, kind: Kind, channel: &[u8]) -> &[NodeId] {
        self.held.of(spaced(kind), channel)
    }

    /// Takes in what happened and says what to do, in an order that does not depend on chance.
    pub(super) fn handle(&mut self, event: Event<'_>) -> Vec<Action> {
        let limits = self.limits;
        match event {
            Event::Unpruned(peer) => self.held.clear(peer),
            Event::Pruned { peer, names } => {
                names.into_iter().for_each(|name| self.held.insert(limits, peer, name));
            }
            Event::GraftAsked { peer, id, names } => {
                names.iter().for_each(|name| self.held.remove(peer, name));
                return vec![Action::Acknowledge { peer, id }];
            }
            Event::Opened(publisher) => return self.noted.opened(publisher),
            Event::Closed { publisher, is_clean } => return self.noted.closed(publisher, is_clean),
            Event::Forgotten(publisher) => self.noted.forgotten(publisher),
            Event::Unwanted { publisher, kind, channel } => {
                return self.unwanted(publisher, spaced(kind), channel);
            }
            Event::Acknowledged { publisher, id } => return self.noted.acknowledged(publisher, id),
            Event::Subscribed { subscriber, kind, name } => {
                return self.noted.subscribed(subscriber, kind, name);
            }
            Event::GivenUp(ticket) => self.noted.given_up(ticket),
            Event::Dropped(subscriber) => self.noted.dropped(subscriber),
        }
        Vec::new()
    }

    fn unwanted(&mut self, publisher: NodeId, kind: Kind, channel: &[u8]) -> Vec<Action> {
        let count = self.unwanted.count(publisher, kind, channel);
        match count.checked_rem(self.limits.prune_after) {
            Some(0) => {
                let times = count / self.limits.prune_after;
                self.noted.unwanted(self.limits, publisher, (kind, channel), times)
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Gives the oldest graft that a publisher has not acknowledged.
    pub(super) fn oldest_graft(&self, publisher: NodeId) -> Option<u64> {
        self.noted.oldest_graft(publisher)
    }

    /// Counts what is pruned between this node and a peer.
    pub(super) fn tally(&self, peer: NodeId) -> Tally {
        let (made, grafts) = self.noted.tally(peer);
        Tally { held: self.held.count(peer), made, grafts }
    }
}

/// Gives the kind by whose name a message is pruned.
const fn spaced(kind: Kind) -> Kind {
    match kind {
        Kind::Channel | Kind::Pattern => Kind::Channel,
        Kind::Sharded => Kind::Sharded,
    }
}
