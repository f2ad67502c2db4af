//! Whom a fault hits: the leader, a follower, a few, most, all.
//!
//! Owns: the choice of nodes for those words. Does not own: what is done to them. Invariant: only nodes that run are chosen, and a
//! choice that cannot be made as its word says is not made at all.

use super::Field;
use super::recovery::running;
use crate::failure::{Failure, Outcome};

/// Whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// The node that leads.
    Leader,
    /// One that does not.
    Follower,
    /// As many as the cluster can bear to lose.
    Minority,
    /// One more than it can bear to lose; at times with the leader.
    Majority,
    /// Everybody.
    All,
}

impl Whom {
    /// Returns how many of `nodes` that are.
    pub(super) const fn count(self, nodes: usize) -> usize {
        match self {
            Self::Leader | Self::Follower => 1,
            Self::Minority => {
                let minority = nodes.saturating_sub(1) / 2;
                if minority == 0 { 1 } else { minority }
            }
            Self::Majority => nodes / 2 + 1,
            Self::All => nodes,
        }
    }

    /// Chooses.
    ///
    /// # Errors
    /// When nobody leads, or too few nodes run.
    pub(super) async fn choose(self, field: &mut Field) -> Outcome<Vec<usize>> {
        let live = running(field, &field.slots);
        let count = self.count(field.slots.len());
        let away: Vec<usize> =
            field.slots.iter().copied().filter(|slot| !live.contains(slot)).collect();
        let chosen = match self {
            Self::All => live,
            Self::Leader => vec![field.leader().await?],
            Self::Follower => {
                let mut except = away;
                except.push(field.leader().await?);
                field.draw(count, &except)
            }
            // With the leader every other time, where one is known.
            Self::Minority | Self::Majority => {
                let leader =
                    if field.chance.below(2) == 0 { field.leader().await.ok() } else { None };
                let mut chosen: Vec<usize> =
                    leader.into_iter().filter(|it| live.contains(it)).collect();
                let mut except = away;
                except.extend(&chosen);
                chosen.extend(field.draw(count.saturating_sub(chosen.len()), &except));
                chosen
            }
        };
        if chosen.len() < count {
            let text = format!("{} of {count} nodes that run were found", chosen.len());
            return Err(Failure::new(text));
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_can_be_lost_and_a_majority_cannot() {
        for nodes in 3..=7 {
            let (few, most) = (Whom::Minority.count(nodes), Whom::Majority.count(nodes));
            assert!(nodes - few > nodes / 2, "{nodes}: {few}");
            assert!(nodes - most <= nodes / 2, "{nodes}: {most}");
            assert_eq!(Whom::All.count(nodes), nodes);
        }
        assert_eq!(Whom::Minority.count(1), 1);
    }
}
