//! Answers that several peers give to one question. Pure: time is the caller's.
//!
//! Owns who has still to answer and what has come so far. Invariant: every question ends exactly once: when the last peer has
//! answered or is lost, or when its asker gives up.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use crate::ids::NodeId;

/// Questions under way. `A` is what the answers add up to.
#[derive(Debug)]
pub(super) struct Gather<A> {
    last_id: u64,
    waits: BTreeMap<u64, Wait<A>>,
}

#[derive(Debug)]
struct Wait<A> {
    sum: A,
    /// Whether nobody who was to be asked is missing so far.
    is_whole: bool,
    left: BTreeSet<NodeId>,
    done: oneshot::Sender<Gathered<A>>,
}

/// What answers added up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gathered<A> {
    pub(super) sum: A,
    /// Whether every peer has answered that there is; otherwise there may be more.
    pub(super) is_whole: bool,
}

impl<A> Default for Gather<A> {
    fn default() -> Self {
        Self { last_id: 0, waits: BTreeMap::new() }
    }
}

impl<A> Gather<A> {
    /// Gives an id that was not given before; never zero.
    pub(super) const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Waits for `peers` to answer `id`. Their sum, begun with `begun`, comes by the receiver; at once when there are none.
    pub(super) fn begin(
        &mut self,
        id: u64,
        begun: Gathered<A>,
        peers: BTreeSet<NodeId>,
    ) -> oneshot::Receiver<Gathered<A>> {
        let (done, receiver) = oneshot::channel();
        let Gathered { sum, is_whole } = begun;
        self.waits.insert(id, Wait { sum, is_whole, left: peers, done });
        self.settle(id);
        receiver
    }

    /// Takes an answer, or a piece of one if it is not the last. What nobody waits for is ignored.
    pub(super) fn answered(
        &mut self,
        id: u64,
        peer: NodeId,
        is_last: bool,
        add: impl FnOnce(&mut A),
    ) {
        let Some(wait) = self.waits.get_mut(&id) else { return };
        if wait.left.contains(&peer) {
            add(&mut wait.sum);
            if is_last {
                wait.left.remove(&peer);
                self.settle(id);
            }
        }
    }

    /// No answer will come from `peer` any more.
    pub(super) fn lost(&mut self, peer: NodeId) {
        let waiting: Vec<u64> = self.waits.keys().copied().collect();
        for id in waiting {
            if let Some(wait) = self.waits.get_mut(&id)
                && wait.left.remove(&peer)
            {
                wait.is_whole = false;
                self.settle(id);
            }
        }
    }

    /// Ends a question; gives what has come so far and who has not answered. None when it has ended before.
    pub(super) fn give_up(&mut self, id: u64) -> Option<(A, BTreeSet<NodeId>)> {
        self.waits.remove(&id).map(|wait| (wait.sum, wait.left))
    }

    /// Gives how many questions are under way.
    pub(super) fn len(&self) -> usize {
        self.waits.len()
    }

    fn settle(&mut self, id: u64) {
        if self.waits.get(&id).is_some_and(|wait| wait.left.is_empty())
            && let Some(wait) = self.waits.remove(&id)
        {
            // The asker may have gone.
            let _gone = wait.done.send(Gathered { sum: wait.sum, is_whole: wait.is_whole });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId::from_random(*id)).collect()
    }

    fn node(id: u64) -> NodeId {
        NodeId::from_random(id)
    }

    const fn whole(sum: u64) -> Gathered<u64> {
        Gathered { sum, is_whole: true }
    }

    #[test]
    fn last_answer_ends_the_question() {
        let mut gather = Gather::<u64>::default();
        let id = gather.next_id();
        let mut sum = gather.begin(id, whole(1), peers(&[1, 2]));
        gather.answered(id, node(1), true, |sum| *sum += 10);
        gather.answered(id, node(1), true, |sum| *sum += 10);
        gather.answered(id, node(3), true, |sum| *sum += 100);
        assert!(sum.try_recv().is_err());
        gather.answered(id, node(2), false, |sum| *sum += 10);
        gather.answered(id, node(2), true, |sum| *sum += 10);
        assert_eq!(sum.try_recv(), Ok(whole(31)));
        assert_eq!(gather.len(), 0);
        let begun = Gathered { sum: 5, is_whole: false };
        assert_eq!(gather.begin(gather.last_id, begun, peers(&[])).try_recv(), Ok(begun));
    }

    #[test]
    fn lost_peer_is_not_waited_for() {
        let mut gather = Gather::<u64>::default();
        let (one, other) = (gather.next_id(), gather.next_id());
        let mut first = gather.begin(one, whole(0), peers(&[1]));
        let mut second = gather.begin(other, whole(0), peers(&[1, 2]));
        gather.lost(node(1));
        assert_eq!(first.try_recv(), Ok(Gathered { sum: 0, is_whole: false }));
        assert!(second.try_recv().is_err());
        gather.answered(other, node(2), false, |sum| *sum += 7);
        assert_eq!(gather.give_up(other), Some((7, peers(&[2]))));
        assert_eq!(gather.give_up(other), None);
    }
}
