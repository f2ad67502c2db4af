//! Who feeds whom: which sources an observer asks and in what order, and which followers a source takes.
//!
//! Owns these decisions as pure functions. Opens nothing and remembers nothing. Invariants: the leader is asked last unless it
//! votes alone, and nodes that see the same voters spread over them evenly.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// How many observers of other observers there may be in a row.
pub(super) const DEPTH_MAX: u8 = 8;
/// How many observers are asked in one round.
const FAR_MAX: usize = 16;
/// How many times the longest election may pass without a word of a leader before a source counts as stale: a change of leader
/// takes about two of them.
const STALE_ELECTIONS: u32 = 6;
/// How many times the longest election a voter is without a leader before it follows others.
const ALONE_ELECTIONS: u32 = 3;

/// How strongly a follower asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Urgency {
    /// As one of its fair share.
    Ordinary,
    /// Every voter has its fair share already.
    Crowded,
    /// All others have refused.
    Last,
}

/// One source to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) source: NodeId,
    pub(super) urgency: Urgency,
}

/// What an observer knows of possible sources.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) me: NodeId,
    pub(super) leader: Option<NodeId>,
    pub(super) voters: BTreeSet<NodeId>,
    /// Nodes that do not vote, or of which it is not known.
    pub(super) others: BTreeSet<NodeId>,
    /// The source that it has just lost.
    pub(super) lost: Option<NodeId>,
}

/// Gives whom to ask, in this order, until one takes this node on.
pub(super) fn attempts(field: &Field) -> Vec<Attempt> {
    let is_sole = |id: &NodeId| field.voters.len() == 1 && field.voters.contains(id);
    let leads = |id: &NodeId| field.leader == Some(*id) && !is_sole(id);
    let ranked = |ids: Vec<NodeId>| {
        let mut ids: Vec<_> = ids.into_iter().filter(|id| *id != field.me).collect();
        ids.sort_by_key(|id| (field.lost == Some(*id), rank(field.me, *id)));
        ids
    };
    let known: Vec<_> = field.voters.iter().copied().filter(|id| !leads(id)).collect();
    let rest = field.others.difference(&field.voters).copied();
    let (near, mut far) = if known.iter().all(|id| *id == field.me) && field.leader.is_none() {
        (ranked(rest.collect()), Vec::new())
    } else {
        (ranked(known), ranked(rest.filter(|id| !leads(id)).collect()))
    };
    far.truncate(FAR_MAX);
    let leader = field.leader.filter(|id| leads(id) && *id != field.me);
    let ask = |ids: &[NodeId], urgency| {
        let attempt = move |source: &NodeId| Attempt { source: *source, urgency };
        ids.iter().map(attempt).collect::<Vec<_>>()
    };
    [
        ask(&near, Urgency::Ordinary),
        ask(&near, Urgency::Crowded),
        ask(&far, Urgency::Crowded),
        ask(leader.as_slice(), Urgency::Last),
        ask(&near, Urgency::Last),
        ask(&far, Urgency::Last),
    ]
    .concat()
}

/// Rendezvous hashing: each follower has an order of its own, and the end of one source spreads its followers over all others.
fn rank(me: NodeId, source: NodeId) -> u64 {
    // The finalizer of splitmix64, twice.
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    mix(mix(me.as_u64()) ^ source.as_u64())
}

/// A source as it is when somebody asks it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supplier {
    pub(super) leads: bool,
    pub(super) votes: bool,
    /// How many vote.
    pub(super) voters: usize,
    /// How many nodes with a session do not vote.
    pub(super) observers: usize,
    /// How many it feeds.
    pub(super) fed: usize,
    pub(super) fed_max: usize,
    pub(super) fed_by_leader_max: usize,
    /// How many nodes stand between it and a voter, itself included.
    pub(super) depth: u8,
    /// Whether it has heard of a leader lately.
    pub(super) is_fresh: bool,
}

/// Tells whether a source takes one more follower, or why it does not.
pub(super) fn admit(supplier: &Supplier, urgency: Urgency) -> Result<(), &'static str> {
    let Supplier { leads, votes, voters, fed, fed_max, .. } = *supplier;
    let feeders = if leads || voters <= 1 { 1 } else { voters.saturating_sub(1) };
    let share = supplier.observers.saturating_add(1).div_ceil(feeders);
    if fed >= fed_max {
        return Err("it feeds as many as it may");
    }
    if leads && voters > 1 && (urgency < Urgency::Last || fed >= supplier.fed_by_leader_max) {
        return Err("it leads, and others vote too");
    }
    if !supplier.is_fresh && urgency < Urgency::Last {
        return Err("it has not heard of a leader lately");
    }
    if votes && urgency == Urgency::Ordinary && fed >= share {
        return Err("it feeds its share");
    }
    if !votes && supplier.depth >= DEPTH_MAX {
        return Err("too many observers follow each other");
    }
    if !votes && urgency == Urgency::Ordinary {
        return Err("it does not vote itself");
    }
    Ok(())
}

/// How a node stands to its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) has_formation: bool,
    pub(super) leads: bool,
    pub(super) votes: bool,
    /// How long ago a leader spoke to it.
    pub(super) heard: Duration,
    pub(super) election_max: Duration,
}

/// Tells whether a node has to follow: it does not vote, or it votes as far as it knows and no leader speaks to it.
pub(super) fn must_follow(stand: &Stand) -> bool {
    let is_alone = stand.heard > stand.election_max.saturating_mul(ALONE_ELECTIONS);
    stand.has_formation && !stand.leads && (!stand.votes || is_alone)
}

/// After how long without a word of a leader, through however many nodes, a source counts as stale.
pub(super) const fn stale_after(election_max: Duration) -> Duration {
    election_max.saturating_mul(STALE_ELECTIONS)
}

/// Tells whether a follower should seek another source: the one it has leads although others vote.
pub(super) fn should_spare(source: NodeId, leader: Option<NodeId>, voters: usize) -> bool {
    leader == Some(source) && voters > 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn id(number: u64) -> NodeId {
        NodeId::from_random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn field(me: u64, leader: u64, voters: &[u64], others: &[u64]) -> Field {
        Field {
            me: id(me),
            leader: Some(id(leader)),
            voters: voters.iter().map(|n| id(*n)).collect(),
            others: others.iter().map(|n| id(*n)).collect(),
            lost: None,
        }
    }

    #[test]
    fn the_leader_is_asked_after_all_other_voters_and_only_as_a_last_resort() {
        let asked = attempts(&field(9, 1, &[1, 2, 3], &[7, 8]));
        let leader: Vec<_> = asked.iter().filter(|a| a.source == id(1)).collect();
        assert_eq!(leader, [&Attempt { source: id(1), urgency: Urgency::Last }]);
        assert!(asked.iter().take(4).all(|a| a.source == id(2) || a.source == id(3)));
        assert!(asked.iter().all(|a| a.source != id(9)));
    }

    #[test]
    fn a_voter_that_votes_alone_is_asked_though_it_leads() {
        let asked = attempts(&field(9, 1, &[1], &[]));
        assert_eq!(asked[0], Attempt { source: id(1), urgency: Urgency::Ordinary });
    }

    #[test]
    fn who_knows_no_voter_asks_everybody_it_knows() {
        let asked = attempts(&Field { leader: None, ..field(9, 1, &[], &[1, 2]) });
        assert_eq!(asked[0].urgency, Urgency::Ordinary);
        assert_eq!(asked.iter().filter(|a| a.urgency == Urgency::Ordinary).count(), 2);
    }

    #[test]
    fn a_lost_source_is_asked_behind_its_equals() {
        let first = attempts(&field(9, 1, &[1, 2, 3, 4], &[]))[0].source;
        let again = Field { lost: Some(first), ..field(9, 1, &[1, 2, 3, 4], &[]) };
        assert_eq!(attempts(&again)[2].source, first);
    }

    #[test]
    fn many_followers_spread_over_the_voters() {
        let mut fed = BTreeMap::<NodeId, usize>::new();
        for number in 10..1010 {
            *fed.entry(attempts(&field(number, 1, &[1, 2, 3, 4, 5], &[]))[0].source)
                .or_default() += 1;
        }
        assert_eq!(fed.len(), 4);
        assert!(fed.values().all(|count| (200..300).contains(count)), "{fed:?}");
    }

    #[test]
    fn a_source_keeps_to_its_share_its_limit_and_its_freshness() {
        let voter = Supplier {
            leads: false,
            votes: true,
            voters: 3,
            observers: 12,
            fed: 6,
            fed_max: 16,
            fed_by_leader_max: 2,
            depth: 0,
            is_fresh: true,
        };
        assert!(admit(&voter, Urgency::Ordinary).is_ok());
        assert!(admit(&Supplier { fed: 7, ..voter }, Urgency::Ordinary).is_err());
        assert!(admit(&Supplier { fed: 7, ..voter }, Urgency::Crowded).is_ok());
        assert!(admit(&Supplier { fed: 16, ..voter }, Urgency::Last).is_err());
        assert!(admit(&Supplier { is_fresh: false, ..voter }, Urgency::Crowded).is_err());
        let leader = Supplier { leads: true, fed: 0, ..voter };
        assert!(admit(&leader, Urgency::Crowded).is_err());
        assert!(admit(&leader, Urgency::Last).is_ok());
        assert!(admit(&Supplier { fed: 2, ..leader }, Urgency::Last).is_err());
        assert!(admit(&Supplier { voters: 1, ..leader }, Urgency::Ordinary).is_ok());
        let observer = Supplier { votes: false, depth: 1, fed: 0, ..voter };
        assert!(admit(&observer, Urgency::Ordinary).is_err());
        assert!(admit(&observer, Urgency::Crowded).is_ok());
        assert!(admit(&Supplier { depth: DEPTH_MAX, ..observer }, Urgency::Last).is_err());
    }

    #[test]
    fn who_follows() {
        let second = Duration::from_secs(1);
        let election_max = second / 4;
        let observer = Stand {
            has_formation: true,
            leads: false,
            votes: false,
            heard: Duration::ZERO,
            election_max,
        };
        assert!(must_follow(&observer));
        assert!(!must_follow(&Stand { has_formation: false, ..observer }));
        assert!(!must_follow(&Stand { leads: true, ..observer }));
        let voter = Stand { votes: true, ..observer };
        assert!(!must_follow(&voter));
        assert!(must_follow(&Stand { heard: second, ..voter }));
    }
}
