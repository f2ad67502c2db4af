//! What a subscriber has yet to be told is missing. Pure.
//!
//! Owns the sums by cause and their bound. Does not know where messages are lost. Invariant: every count that was added is
//! told exactly once; that more is missing than could be counted is told beside the counts and hides none of them.

use std::collections::BTreeMap;

use super::{Cause, Lost};

/// From how many causes on further publishers are not told apart: what they lose is told as [`Cause::Links`].
const CAUSES_MAX: usize = 64;

/// The losses that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Losses(BTreeMap<Cause, Missing>);

#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    counted: u64,
    /// Whether more is missing that nobody could count.
    is_more: bool,
}

impl Losses {
    /// Adds a loss to what waits; none is a number that nobody knows. Nothing is not a loss.
    pub(super) fn add(&mut self, cause: Cause, count: Option<u64>) {
        if count == Some(0) {
            return;
        }
        let is_one_too_many = self.0.len() >= CAUSES_MAX && !self.0.contains_key(&cause);
        let is_merged = is_one_too_many && matches!(cause, Cause::Link { .. });
        let missing = self.0.entry(if is_merged { Cause::Links } else { cause }).or_default();
        match count {
            Some(count) => missing.counted = missing.counted.saturating_add(count),
            None => missing.is_more = true,
        }
    }

    /// Takes the next loss to tell: of each cause first what was counted, then that there is more.
    pub(super) fn take(&mut self) -> Option<Lost> {
        let mut first = self.0.first_entry()?;
        let (cause, missing) = (*first.key(), first.get_mut());
        let count = (missing.counted > 0).then(|| std::mem::take(&mut missing.counted));
        if count.is_none() || !missing.is_more {
            first.remove();
        }
        Some(Lost { cause, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    fn link(number: u64) -> Cause {
        Cause::Link { publisher: NodeId::from_random(number) }
    }

    fn all(losses: &mut Losses) -> Vec<(Cause, Option<u64>)> {
        std::iter::from_fn(|| losses.take()).map(|lost| (lost.cause, lost.count)).collect()
    }

    #[test]
    fn counts_of_a_cause_are_added_and_the_unknown_is_told_beside_them() {
        let mut losses = Losses::default();
        for (cause, count) in [
            (link(1), Some(2)),
            (Cause::Slow, Some(5)),
            (link(1), None),
            (link(1), Some(3)),
            (link(1), None),
            (link(2), None),
            (link(3), Some(0)),
        ] {
            losses.add(cause, count);
        }
        let mut expected =
            vec![(Cause::Slow, Some(5)), (link(1), Some(5)), (link(1), None), (link(2), None)];
        expected.sort_by_key(|(cause, _)| *cause);
        assert_eq!(all(&mut losses), expected);
    }

    #[test]
    fn publishers_beyond_the_bound_are_told_together() {
        let mut losses = Losses::default();
        (0..1_000).for_each(|number| losses.add(link(number), Some(1)));
        losses.add(Cause::Slow, Some(7));
        let told = all(&mut losses);
        assert_eq!(told.len(), CAUSES_MAX + 2);
        assert!(told.contains(&(Cause::Slow, Some(7))));
        let sum: u64 = told.iter().filter_map(|(_, count)| *count).sum();
        assert_eq!(sum, 1_007);
        assert!(told.iter().any(|(cause, _)| *cause == Cause::Links));
    }
}
