//! Who cannot hear whom.
//!
//! Owns: the cuts of each shape of partition. Does not own: making them. Invariant: a shape depends on its arguments only; where
//! chance matters, it has ordered the places before.

use std::collections::BTreeSet;

use crate::chance::Chance;
use crate::network::{Cut, halves};

/// Puts the first `count` on one side and all others on the other.
pub(in super::super) fn split(order: &[usize], count: usize) -> BTreeSet<Cut> {
    let (here, there) = order.split_at(count.min(order.len()));
    halves(here, there)
}

/// Lets each hear itself and its nearest neighbours in a circle, as many as make a majority. With five each side has three,
/// and no two have the same; with three nobody could be left out in a circle, so one link is cut, as in a bridge.
pub(in super::super) fn ring(order: &[usize]) -> BTreeSet<Cut> {
    let count = order.len();
    if count <= 3 {
        return bridge(order);
    }
    // So many on either side make a majority together with the node itself.
    let reach = (count / 2).div_ceil(2);
    let mut cuts = BTreeSet::new();
    for (here, one) in order.iter().enumerate() {
        for (there, other) in order.iter().enumerate() {
            let apart = here.abs_diff(there);
            if apart.min(count - apart) > reach {
                cuts.insert((*one, *other));
            }
        }
    }
    cuts
}

/// Cuts between two sides; the first of `order` hears both.
pub(in super::super) fn bridge(order: &[usize]) -> BTreeSet<Cut> {
    let others = order.get(1..).unwrap_or_default();
    split(others, others.len() / 2)
}

/// Cuts some links, each in one direction, at least one of them.
pub(in super::super) fn one_way(slots: &[usize], chance: &mut Chance) -> BTreeSet<Cut> {
    let mut cuts = BTreeSet::new();
    while cuts.is_empty() && slots.len() > 1 {
        for (at, one) in slots.iter().enumerate() {
            for other in slots.iter().skip(at + 1) {
                match chance.below(5) {
                    0 => cuts.insert((*one, *other)),
                    1 => cuts.insert((*other, *one)),
                    _ => false,
                };
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Whom each hears, itself too.
    fn hears(order: &[usize], cuts: &BTreeSet<Cut>) -> BTreeMap<usize, BTreeSet<usize>> {
        let heard = |one: usize| {
            let passes = |other: &usize| *other == one || !cuts.contains(&(*other, one));
            (one, order.iter().copied().filter(passes).collect())
        };
        order.iter().copied().map(heard).collect()
    }

    #[test]
    fn in_the_ring_each_hears_a_majority_and_no_two_the_same() {
        for count in 4..=9 {
            let order: Vec<usize> = (0..count).map(|at| at * 7 % count + 1).collect();
            let order = if count == 7 { (1..=7).collect() } else { order };
            let cuts = ring(&order);
            let views = hears(&order, &cuts);
            assert!(views.values().all(|view| view.len() > count / 2), "{count}: {views:?}");
            if count >= 5 {
                let distinct: BTreeSet<_> = views.values().collect();
                assert_eq!(distinct.len(), count, "{views:?}");
            }
            assert!(cuts.iter().all(|(from, to)| cuts.contains(&(*to, *from))), "both ways");
        }
        let five = hears(&[1, 2, 3, 4, 5], &ring(&[1, 2, 3, 4, 5]));
        assert!(five.values().all(|view| view.len() == 3), "just a majority: {five:?}");
        assert_eq!(ring(&[2, 1, 3]), BTreeSet::from([(1, 3), (3, 1)]), "one link");
    }

    #[test]
    fn over_the_bridge_only_one_hears_both_sides() {
        let order = [3, 1, 2, 4, 5];
        let views = hears(&order, &bridge(&order));
        assert_eq!(views[&3].len(), 5);
        assert_eq!(views[&1], BTreeSet::from([1, 2, 3]));
        assert_eq!(views[&5], BTreeSet::from([3, 4, 5]));
        assert_eq!(bridge(&[2, 1, 3]), BTreeSet::from([(1, 3), (3, 1)]));
    }

    #[test]
    fn a_split_has_two_sides() {
        let views = hears(&[1, 2, 3, 4, 5], &split(&[4, 2, 1, 3, 5], 2));
        assert_eq!(views[&4], BTreeSet::from([2, 4]));
        assert_eq!(views[&5], BTreeSet::from([1, 3, 5]));
    }

    #[test]
    fn one_way_cuts_leave_the_other_way() {
        for seed in 0..50 {
            let cuts = one_way(&[1, 2, 3], &mut Chance::new(Some(seed)));
            assert!(!cuts.is_empty());
            assert!(cuts.iter().all(|(from, to)| !cuts.contains(&(*to, *from))), "{cuts:?}");
        }
    }
}
