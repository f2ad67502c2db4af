//! What happens when nodes of different formations see each other by gossip.
//!
//! Owns the judgement and the line in the log, told once in a while for each formation that is met. Invariant: a node that has
//! a leader with a quorum never gives its formation up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::formation::Candidate;
use super::recovery;
use super::shared::Shared;
use crate::ids::FormationId;

/// How often the same meeting is told.
const AGAIN: Duration = Duration::from_secs(60);
/// How many formations are remembered as told.
const MET_MAX: usize = 64;
/// A node follows a later epoch once it has had no leader for so many times the longest election.
const UNLED_ELECTIONS: u32 = 4;

/// What two formations are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// The same, or the other is of an older epoch and will come over.
    Nothing,
    /// Different clusters: they stay apart.
    Strangers,
    /// Both went on by themselves after the same loss: they stay apart.
    Rivals,
    /// The other went on without this one.
    Later,
}

fn judge(own: FormationId, other: FormationId) -> Meeting {
    if own == other || own.follows(other) {
        Meeting::Nothing
    } else if own.lineage != other.lineage {
        Meeting::Strangers
    } else if other.follows(own) {
        Meeting::Later
    } else {
        Meeting::Rivals
    }
}

/// Whom this node has met.
#[derive(Debug, Default)]
pub(super) struct Meetings(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    told: BTreeMap<FormationId, Instant>,
    /// Since when this node has had no leader.
    unled: Option<Instant>,
}

impl Meetings {
    /// Tells whether a meeting is to be told now.
    fn is_due(&self, other: FormationId) -> bool {
        let mut inner = self.0.lock();
        inner.told.retain(|_, at| at.elapsed() < AGAIN);
        let is_due = !inner.told.contains_key(&other) && inner.told.len() < MET_MAX;
        if is_due {
            inner.told.insert(other, Instant::now());
        }
        is_due
    }

    fn unled_for(&self, is_led: bool) -> Duration {
        let mut inner = self.0.lock();
        if is_led {
            inner.unled = None;
            return Duration::ZERO;
        }
        inner.unled.get_or_insert_with(Instant::now).elapsed()
    }
}

/// Looks at the formations of others. Comes back when this node has followed one, if there was one to follow.
pub(super) async fn meet(shared: &Arc<Shared>, others: &[Candidate]) {
    if !shared.is_formed() {
        return;
    }
    let unled = shared.meetings.unled_for(shared.is_led());
    for (other, formation) in others.iter().filter_map(|other| Some((other, other.formation?))) {
        let (own, address) = (shared.links.formation(), other.placement.address);
        match judge(own, formation) {
            Meeting::Nothing => {}
            Meeting::Later if unled >= shared.timing.election_max * UNLED_ELECTIONS => {
                return recovery::follow(shared, formation).await;
            }
            Meeting::Later if unled == Duration::ZERO && shared.meetings.is_due(formation) => {
                tracing::error!(%own, other = %formation, %address,
                    "the cluster was formed anew elsewhere, though a quorum of the old one lives here; staying apart. Stop one of the two");
            }
            Meeting::Strangers if shared.meetings.is_due(formation) => {
                tracing::error!(%own, other = %formation, %address,
                    "met another cluster of the same name and secret; staying apart. Give one of them another cluster.id, or stop it");
            }
            Meeting::Rivals if shared.meetings.is_due(formation) => {
                tracing::error!(%own, other = %formation, %address,
                    "the cluster was formed anew twice; staying apart. Stop one of the two");
            }
            Meeting::Later | Meeting::Strangers | Meeting::Rivals => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_epoch_of_the_same_lineage_is_followed() {
        let first = FormationId::first(7);
        let (second, rival) = (first.next(1), first.next(2));
        assert_eq!(judge(first, first), Meeting::Nothing);
        assert_eq!(judge(second, first), Meeting::Nothing);
        assert_eq!(judge(first, second), Meeting::Later);
        assert_eq!(judge(first, rival.next(3)), Meeting::Later);
        assert_eq!(judge(second, rival), Meeting::Rivals);
        assert_eq!(judge(FormationId::first(8), second), Meeting::Strangers);
    }

    #[tokio::test(start_paused = true)]
    async fn a_meeting_is_told_once_in_a_while() {
        let meetings = Meetings::default();
        let (one, two) = (FormationId::first(1), FormationId::first(2));
        assert!(meetings.is_due(one) && !meetings.is_due(one) && meetings.is_due(two));
        tokio::time::advance(AGAIN).await;
        assert!(meetings.is_due(one));
        for draw in 0..200 {
            meetings.is_due(FormationId::first(draw));
        }
        assert!(meetings.0.lock().told.len() <= MET_MAX);
    }
}
