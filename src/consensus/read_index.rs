//! Gives read indexes: how far a node must have applied to answer the reads that began before it asked.
//!
//! Owns the leader's answer (Raft dissertation, section 6.4). Does not wait for the state; see `reads`. Invariant: an index is
//! given only when, after the question had left, the voters of a majority told that the last vote they gave was this leader's.
//!
//! ```text
//! a voter asks, and tells its vote ──► same vote here, and both are a majority ───────────────────────► committed index
//! anybody else; all who wait share ──► "your last vote?" ──► the other voters ──► a majority of each set ──► committed index
//! ```
//!
//! Why that is enough: whoever had not voted in a later term when it told had not when the question left. A later leader has the
//! votes of a majority, one of these among them, so that there was none. All that had been acknowledged is then in this
//! leader's log, and committed in its eyes once an entry of its own term is.
//!
//! Why the engine is not asked: openraft 0.10.0-alpha.37 counts acknowledgements of appends, and finds the append that one belongs
//! to by its log id. One that a cut held up from before an election can so be taken for that of a later empty append.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::RaftState;
use tokio::sync::{mpsc, oneshot};

use super::raft::{Types, Vote};
use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::ids::NodeId;

/// How long a voter may take to tell its vote.
const VOTE_MAX: Duration = Duration::from_millis(500);
/// How many questions wait at most; who asks more waits to ask.
const WAITING_MAX: usize = 1024;
/// How many rounds are under way at once at most; until one is over, who asks waits and then shares the next.
const ROUNDS_MAX: usize = 4;

/// Who waits for an index.
#[derive(Debug)]
pub(super) struct Waiting(oneshot::Sender<Option<u64>>);

/// Where those who wait stand.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<Waiting>);

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (queue, inbox) = mpsc::channel(WAITING_MAX);
        (Self(queue), inbox)
    }

    /// The committed index, once a majority of the voters has told its votes.
    async fn index(&self) -> Option<u64> {
        let (done, index) = oneshot::channel();
        self.0.send(Waiting(done)).await.ok()?;
        index.await.ok()?
    }
}

/// Asks the voters for those who wait. Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Waiting>) {
    let mut rounds = FuturesUnordered::new();
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = rounds.next() => {}
            count = inbox.recv_many(&mut waiting, WAITING_MAX), if rounds.len() < ROUNDS_MAX => {
                if count == 0 {
                    return;
                }
                rounds.push(round(&shared, std::mem::take(&mut waiting)));
            }
        }
    }
}

async fn round(shared: &Shared, waiting: Vec<Waiting>) {
    let index = shared.index_of_majority().await;
    for Waiting(done) in waiting {
        // Who went away needs no answer.
        let _gone = done.send(index);
    }
}

/// Tells how far a node must have applied to answer reads that began before it asked.
pub(super) async fn answer(shared: &Shared, asker: NodeId, vote: Option<Vote>) -> Answer {
    if !shared.is_leader() {
        return Answer::NotLeader { leader: shared.leader() };
    }
    // Before the index, which then knows of all that was put off by then.
    let at = shared.state.stamp();
    let index = match shared.index_between_two(asker, vote).await {
        Some(index) => Some(index),
        None => shared.read_indexes.index().await,
    };
    match index {
        Some(index) => Answer::ReadIndex { index, at },
        None => Answer::NotLeader { leader: shared.leader() },
    }
}

/// What a leader stands on.
#[derive(Debug)]
struct Footing {
    vote: Vote,
    /// Of an entry of its own term.
    committed: u64,
    /// The voters; two sets while they change.
    configs: Vec<BTreeSet<NodeId>>,
}

impl Footing {
    fn of(node: NodeId, state: &RaftState<Types>) -> Option<Self> {
        let (vote, committed) = (*state.vote_ref(), *state.cluster_committed()?);
        let leads = vote.committed && vote.leader_id.node_id == node;
        let configs = state.membership_state.effective().membership().get_joint_config().clone();
        let is_own = leads && *committed.committed_leader_id() == vote.leader_id;
        is_own.then(|| Self { vote, committed: committed.index(), configs })
    }

    /// Tells whether these are a majority of the voters; while a change is half done, of both sets.
    fn is_majority(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let has = |voters: &BTreeSet<_>| nodes.intersection(voters).count() > voters.len() / 2;
        self.configs.iter().all(has)
    }
}

impl Shared {
    /// The last vote that this node gave, as long as it keeps to its formation.
    pub(super) fn given_vote(&self) -> Option<Vote> {
        self.log.vote().filter(|_| !self.recovery.is_bound())
    }

    async fn footing(&self) -> Option<Footing> {
        let node = self.node;
        let look = move |state: &RaftState<Types>| Footing::of(node, state);
        let footing = self.raft().with_raft_state(look).await.ok()??;
        (!self.recovery.is_bound()).then_some(footing)
    }

    /// The committed index, if this node leads and is, together with the one that asks and had this vote when it asked, a
    /// majority of the voters.
    async fn index_between_two(&self, asker: NodeId, vote: Option<Vote>) -> Option<u64> {
        let vote = vote.filter(|vote| vote.leader_id.node_id == self.node)?;
        let footing = self.footing().await?;
        let two = BTreeSet::from([self.node, asker]);
        (footing.vote == vote && footing.is_majority(&two)).then_some(footing.committed)
    }

    /// The committed index of now, if this node leads and a majority of the voters tells so.
    async fn index_of_majority(&self) -> Option<u64> {
        let footing = self.footing().await?;
        let mut with_it = BTreeSet::from([self.node]);
        let voters: BTreeSet<_> = footing.configs.iter().flatten().copied().collect();
        let others = voters.into_iter().filter(|id| *id != self.node);
        let mut told: FuturesUnordered<_> = others.map(|id| self.vote_of(id)).collect();
        while !footing.is_majority(&with_it) {
            let (voter, vote) = told.next().await?;
            if vote == Some(footing.vote) {
                with_it.insert(voter);
            }
        }
        Some(footing.committed)
    }

    /// Asks another voter for the last vote that it gave.
    async fn vote_of(&self, voter: NodeId) -> (NodeId, Option<Vote>) {
        let asked = async {
            let peer = self.links.peer(voter, &self.placement_of(voter)?);
            let told = self.links.call(&peer, &Call::GivenVote, VOTE_MAX).await.ok()?;
            let Answer::GivenVote { vote } = told else { return None };
            vote
        };
        (voter, asked.await)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::Role;
    use super::super::tests::{TestNode, bulk, form, hget, hset, node, read, until, write};
    use super::*;
    use crate::transport::{Link, MemoryNetwork};

    async fn group(network: &MemoryNetwork, size: u8) -> Vec<TestNode> {
        let mut nodes = Vec::new();
        for number in 1..=size {
            nodes.push(node(network, number).await);
        }
        form(&nodes).await;
        let voters = usize::from(size.min(5));
        until("voters", || nodes.iter().all(|node| shared(node).voters().len() == voters)).await;
        nodes
    }

    fn shared(node: &TestNode) -> &Arc<Shared> {
        &node.consensus.shared
    }

    /// The node that leads, and the others.
    fn ranked(nodes: &[TestNode]) -> (&TestNode, Vec<&TestNode>) {
        let leads = |node: &&TestNode| node.consensus.status().role == Role::Leader;
        let (leaders, others): (Vec<_>, Vec<_>) = nodes.iter().partition(leads);
        (leaders[0], others)
    }

    async fn index(leader: &TestNode, asker: &TestNode, vote: Option<Vote>) -> Option<u64> {
        shared(leader).index_between_two(shared(asker).node, vote).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_voter_of_three_and_its_leader_know_without_the_third() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 3).await;
        let (leader, others) = ranked(&nodes);
        write(others[0], "f", "1").await.unwrap();
        let asker = others[1];
        let vote = shared(asker).given_vote();
        let found = index(leader, asker, vote).await.unwrap();
        assert!(found >= shared(others[0]).state.applied_index());
        assert_eq!(read(asker, "f").await, bulk("1"));
        assert_eq!(index(leader, asker, None).await, None, "it has no vote, or does not say");
        let stranger = NodeId::from_random(9);
        assert_eq!(shared(leader).index_between_two(stranger, vote).await, None);
        assert_eq!(index(asker, leader, vote).await, None, "the one that is asked does not lead");
        let later = Vote::new_committed(vote.unwrap().leader_id.term + 1, shared(leader).node);
        assert_eq!(index(leader, asker, Some(later)).await, None, "it leads in another term");
    }

    #[tokio::test(start_paused = true)]
    async fn two_of_five_are_no_majority() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 5).await;
        let (leader, others) = ranked(&nodes);
        write(leader, "f", "1").await.unwrap();
        for asker in others {
            assert_eq!(index(leader, asker, shared(asker).given_vote()).await, None);
            assert_eq!(read(asker, "f").await, bulk("1"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_others_have_replaced_gives_no_index_to_them() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 3).await;
        let (old, others) = ranked(&nodes);
        let before = shared(others[0]).given_vote();
        network.isolate(old.candidate.placement.address);
        let leads = |node: &&TestNode| node.consensus.status().role == Role::Leader;
        until("another leader", || others.iter().any(leads)).await;
        write(others[0], "f", "new").await.unwrap();
        for asker in &others {
            let vote = shared(asker).given_vote();
            assert_ne!(vote, before);
            assert_eq!(index(old, asker, vote).await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn acknowledgements_from_before_an_election_confirm_no_read() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 3).await;
        let (old, others) = ranked(&nodes);
        let place = |node: &TestNode| node.candidate.placement.address;
        let began = Instant::now();
        for (other, millis) in others.iter().zip([1200, 1210]) {
            let late = Link { delay: Duration::from_millis(millis), ..Link::default() };
            network.set_link(place(other), place(old), late);
        }
        let writing = tokio::spawn({
            let consensus = old.consensus.clone();
            async move { consensus.submit(vec![hset("f", "old")]).await }
        });
        let has = |node: &TestNode| shared(node).log.last_index();
        let before = has(others[0]);
        until("the entry", || others.iter().all(|other| has(other) > before)).await;
        others.iter().for_each(|other| network.cut(place(old), place(other)));
        let leads = |node: &&TestNode| node.consensus.status().role == Role::Leader;
        until("another leader", || others.iter().any(leads)).await;
        write(others[0], "f", "new").await.unwrap();
        assert!(
            began.elapsed() < Duration::from_millis(1100),
            "it took too long: {:?}",
            began.elapsed()
        );
        // The old leader sends an empty append for the first one, and the second one comes upon that.
        tokio::time::sleep_until(began + Duration::from_millis(1100)).await;
        let reading = tokio::spawn({
            let consensus = old.consensus.clone();
            async move { consensus.confirm_read().await.map(|at| consensus.read(at, &[hget("f")])) }
        });
        until("the entry there", || shared(old).state.applied_index() > before).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        network.reset_links();
        network.heal();
        assert_eq!(reading.await.unwrap().unwrap(), vec![bulk("new")]);
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_majority_of_the_others_is_enough_and_less_is_not() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 5).await;
        let (leader, others) = ranked(&nodes);
        write(leader, "f", "1").await.unwrap();
        let applied = shared(leader).state.applied_index();
        for (cut_off, other) in others.iter().enumerate() {
            let index = shared(leader).index_of_majority().await;
            let expected = (cut_off <= 2).then_some(applied);
            assert_eq!(index.filter(|index| *index <= applied), expected, "{cut_off} cut off");
            network.isolate(other.candidate.placement.address);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_promised_to_follow_another_formation_confirms_nothing() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 3).await;
        let (leader, others) = ranked(&nodes);
        assert!(shared(leader).index_of_majority().await.is_some());
        let next = shared(leader).links.formation().next(7);
        for other in others {
            shared(other).recovery.promise(shared(other), shared(other).node, next).unwrap();
            assert_eq!(shared(other).given_vote(), None);
        }
        assert_eq!(shared(leader).index_of_majority().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_at_once_they_share_few_rounds() {
        let network = MemoryNetwork::new(1);
        let nodes = group(&network, 3).await;
        let (leader, _) = ranked(&nodes);
        let sent = network.trace().sent;
        let stranger = NodeId::from_random(9);
        let ask = || answer(shared(leader), stranger, None);
        for given in futures_util::future::join_all((0..1_000).map(|_| ask())).await {
            assert!(matches!(given, Answer::ReadIndex { .. }), "{given:?}");
        }
        let sent = network.trace().sent - sent;
        assert!(sent < 100, "{sent} datagrams for a thousand questions");
    }

    #[test]
    fn while_a_change_is_half_done_it_must_be_a_majority_of_both_sets() {
        let set = |ids: &[u64]| ids.iter().map(|id| NodeId::from_random(*id)).collect();
        for (with_it, configs, expected) in [
            (&[1, 2][..], &[&[1, 2][..]][..], true),
            (&[1, 2], &[&[1, 2, 3]], true),
            (&[1, 2], &[&[1, 3]], false),
            (&[1, 2], &[&[1]], true),
            (&[1], &[&[1]], true),
            (&[1, 2], &[&[1, 2, 3, 4]], false),
            (&[1, 2, 9], &[&[1, 2, 3, 4]], false),
            (&[1, 2, 4], &[&[1, 2, 3, 4]], true),
            (&[1, 2], &[&[1, 2, 3], &[1, 2, 4]], true),
            (&[1, 2], &[&[1, 2, 3], &[1, 3, 4]], false),
            (&[1, 2], &[&[1, 2, 3], &[1, 2, 3, 4, 5]], false),
        ] {
            let vote = Vote::new_committed(1, NodeId::from_random(1));
            let configs = configs.iter().map(|ids| set(ids)).collect();
            let footing = Footing { vote, committed: 1, configs };
            assert_eq!(footing.is_majority(&set(with_it)), expected, "{with_it:?}: {footing:?}");
        }
    }
}
