//! Picks elements of a collection at random: once each, or again and again.
//!
//! Owns how many draws an answer is worth. The numbers come from the generator that is handed in. Invariant: what is
//! picked depends on the generator and on the number of elements alone.

use std::collections::BTreeMap;

use super::random::Random;
use crate::command::random::REPEATS_MAX;
use crate::command::{Error, Reply};

/// The most bytes that an answer with repeated elements may have. Without repetition the collection is the bound.
const REPEATED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Picks `count` places of `len`, each at most once; all of them, in order, if there are no more than that.
///
/// Shuffles the numbers below `len` (Fisher and Yates) as far as they are wanted, and keeps only those that moved.
pub(crate) fn distinct(random: &mut Random, len: usize, count: u64) -> Vec<usize> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count >= len {
        return (0..len).collect();
    }
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    let mut picked = Vec::with_capacity(count);
    for place in 0..count {
        let other = place.saturating_add(random.below(len.saturating_sub(place)));
        let here = moved.remove(&place).unwrap_or(place);
        if other == place {
            picked.push(here);
        } else {
            picked.push(moved.insert(other, here).unwrap_or(other));
        }
    }
    picked
}

/// Draws `count` times one of `len` elements, which may come again.
///
/// # Errors
/// When the answer would have more than [`REPEATED_BYTES_MAX`] bytes. Redis has no such limit.
pub(crate) fn repeated(
    random: &mut Random,
    len: usize,
    count: u64,
    mut push: impl FnMut(usize, &mut Vec<Reply>),
) -> Result<Vec<Reply>, Error> {
    let mut replies = Vec::new();
    let mut bytes = 0_usize;
    for _ in 0..count.min(REPEATS_MAX) {
        let before = replies.len();
        push(random.below(len), &mut replies);
        for reply in replies.get(before..).unwrap_or_default() {
            if let Reply::Bulk(text) = reply {
                bytes = bytes.saturating_add(text.len());
            }
        }
        if bytes > REPEATED_BYTES_MAX {
            return Err(Error::Text(
                format!(
                    "ERR {count} random elements exceed the limit of {REPEATED_BYTES_MAX} bytes"
                )
                .into(),
            ));
        }
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn distinct_places_are_distinct_and_in_range(seed: u64, len in 0..300_usize, count in 0..400_u64) {
            let picked = distinct(&mut Random::new(seed), len, count);
            let set: BTreeSet<_> = picked.iter().copied().collect();
            prop_assert_eq!(set.len(), picked.len());
            prop_assert_eq!(picked.len(), len.min(usize::try_from(count).unwrap()));
            prop_assert!(picked.iter().all(|place| *place < len));
        }
    }

    #[test]
    fn every_place_is_picked_about_as_often() {
        let mut times = [0; 10];
        for seed in 0..3000 {
            for place in distinct(&mut Random::new(seed), 10, 3) {
                times[place] += 1;
            }
        }
        assert!(times.iter().all(|times| (700..1100).contains(times)), "{times:?}");
    }

    #[test]
    fn repeated_draws_are_bounded_in_bytes() {
        let large = Bytes::from(vec![0; 1024 * 1024]);
        let draw = |count| {
            repeated(&mut Random::new(1), 1, count, |_, replies| {
                replies.push(Reply::Bulk(large.clone()));
            })
        };
        assert_eq!(draw(64).unwrap().len(), 64);
        assert!(draw(65).is_err());
    }
}
