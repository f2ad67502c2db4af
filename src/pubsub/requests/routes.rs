//! Which node last had a responder to a channel. Pure.
//!
//! Owns these guesses, the least used of which go first when there are too many. Does not ask. Invariant: it never holds more
//! than its limits say, and nothing about a node that was forgotten.

use std::collections::BTreeMap;

use bytes::Bytes;
use indexmap::IndexMap;

use crate::ids::NodeId;

/// How many routes are remembered.
const COUNT_MAX: usize = 16_384;
/// How many bytes their names may have together.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Routes {
    by_channel: IndexMap<Bytes, Route>,
    /// The channels by when they were last used.
    by_use: BTreeMap<u64, Bytes>,
    bytes: usize,
    last_use: u64,
}

#[derive(Debug)]
struct Route {
    node: NodeId,
    used: u64,
}

impl Routes {
    /// Gives the node that last had a responder.
    pub(super) fn get(&mut self, channel: &[u8]) -> Option<NodeId> {
        let route = self.by_channel.get_mut(channel)?;
        self.last_use += 1;
        if let Some(name) = self.by_use.remove(&route.used) {
            self.by_use.insert(self.last_use, name);
        }
        route.used = self.last_use;
        Some(route.node)
    }

    /// Remembers that a node has a responder.
    pub(super) fn insert(&mut self, channel: &Bytes, node: NodeId) {
        self.remove(channel);
        self.last_use += 1;
        self.bytes += channel.len();
        self.by_use.insert(self.last_use, channel.clone());
        self.by_channel.insert(channel.clone(), Route { node, used: self.last_use });
        while self.by_channel.len() > COUNT_MAX || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.by_channel.swap_remove(&oldest);
            self.bytes = self.bytes.saturating_sub(oldest.len());
        }
    }

    /// Forgets a route if it leads to this node.
    pub(super) fn refute(&mut self, channel: &[u8], node: NodeId) {
        if self.by_channel.get(channel).is_some_and(|route| route.node == node) {
            self.remove(channel);
        }
    }

    fn remove(&mut self, channel: &[u8]) {
        if let Some(route) = self.by_channel.swap_remove(channel) {
            self.by_use.remove(&route.used);
            self.bytes = self.bytes.saturating_sub(channel.len());
        }
    }

    /// Forgets every route to a node.
    pub(super) fn forget(&mut self, node: NodeId) {
        let (by_use, bytes) = (&mut self.by_use, &mut self.bytes);
        self.by_channel.retain(|channel, route| {
            let is_kept = route.node != node;
            if !is_kept {
                by_use.remove(&route.used);
                *bytes = bytes.saturating_sub(channel.len());
            }
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::from_random(number)
    }

    fn name(number: usize) -> Bytes {
        Bytes::from(format!("c{number}"))
    }

    fn check(routes: &Routes) {
        assert_eq!(routes.by_channel.len(), routes.by_use.len());
        let bytes: usize = routes.by_channel.keys().map(Bytes::len).sum();
        assert_eq!(routes.bytes, bytes);
    }

    #[test]
    fn least_used_goes_first() {
        let mut routes = Routes::default();
        (0..COUNT_MAX).for_each(|number| routes.insert(&name(number), node(1)));
        assert_eq!(routes.get(b"c0"), Some(node(1)));
        routes.insert(&name(COUNT_MAX), node(2));
        assert_eq!((routes.get(b"c0"), routes.get(b"c1")), (Some(node(1)), None));
        check(&routes);
    }

    #[test]
    fn long_names_are_bounded_by_their_bytes() {
        let mut routes = Routes::default();
        for number in 0..20_u8 {
            routes.insert(&Bytes::from(vec![number; 1024 * 1024]), node(1));
        }
        assert_eq!(routes.by_channel.len(), 4);
        check(&routes);
    }

    #[test]
    fn nothing_is_left_of_a_forgotten_node() {
        let mut routes = Routes::default();
        (0..10).for_each(|number| routes.insert(&name(number), node(number as u64 % 2 + 5)));
        routes.insert(&name(0), node(6));
        routes.forget(node(5));
        assert_eq!((routes.get(b"c0"), routes.get(b"c2")), (Some(node(6)), None));
        routes.refute(b"c0", node(5));
        assert!(routes.get(b"c0").is_some());
        routes.refute(b"c0", node(6));
        assert!(routes.get(b"c0").is_none());
        check(&routes);
    }
}
