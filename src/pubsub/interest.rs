//! Which peers a message is sent to. Pure: it sends nothing.
//!
//! Owns what this node knows about the peers' listeners. Today that is nothing, so that every message goes to every linked
//! peer: a flood. Invariant: a peer is left out only when it surely has no listener.

use std::collections::BTreeSet;

use crate::ids::NodeId;

/// What happens around the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A lane to this peer begins; nothing is known about its listeners.
    Linked(NodeId),
    /// The lane to this peer has ended.
    Unlinked(NodeId),
    /// This node publishes.
    Published,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Put the message on the lane to this peer.
    Forward(NodeId),
}

/// The peers' interest, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Interest {
    linked: BTreeSet<NodeId>,
}

impl Interest {
    /// Takes in what happened and says what to do, in an order that does not depend on chance.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Linked(peer) => {
                self.linked.insert(peer);
                Vec::new()
            }
            Event::Unlinked(peer) => {
                self.linked.remove(&peer);
                Vec::new()
            }
            Event::Published => self.linked.iter().copied().map(Action::Forward).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_peer_gets_every_message() {
        let (one, other) = (NodeId::from_random(1), NodeId::from_random(2));
        let mut interest = Interest::default();
        assert_eq!(interest.handle(Event::Published), []);
        interest.handle(Event::Linked(other));
        interest.handle(Event::Linked(one));
        let both = [Action::Forward(one), Action::Forward(other)];
        assert_eq!(interest.handle(Event::Published), both);
        interest.handle(Event::Unlinked(one));
        assert_eq!(interest.handle(Event::Published), [Action::Forward(other)]);
    }
}
