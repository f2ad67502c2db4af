//! What commands over several sets do: intersection, union, difference.
//!
//! Owns the combining; what the commands are stands in `command/set_algebra.rs`. Invariant: every key's type is looked
//! at before anything is answered.

use bytes::Bytes;

use super::What;
use super::access::{Reader, Writer};
use super::value::Set;
use crate::command::set_algebra::{AlgebraCommand, Combination};
use crate::command::{Error, Reply};

impl<'a> Reader<'a> {
    pub(super) fn set_algebra(&self, command: &AlgebraCommand) -> Result<Reply, Error> {
        match command {
            AlgebraCommand::Combine { how: Combination::Intersection, keys } => {
                let sets = self.sets(keys)?;
                Ok(Reply::Set(intersection(&sets).map(Reply::Bulk).collect()))
            }
            AlgebraCommand::Combine { how, keys } => {
                let combined = combine(*how, &self.sets(keys)?);
                Ok(Reply::Set(combined.iter().map(Reply::Bulk).collect()))
            }
            AlgebraCommand::CountIntersection { keys, limit } => {
                let limit = limit.and_then(|limit| usize::try_from(limit).ok());
                let sets = self.sets(keys)?;
                Ok(Reply::count(intersection(&sets).take(limit.unwrap_or(usize::MAX)).count()))
            }
            AlgebraCommand::Store { .. } => unreachable!("a write does not reach the reader"),
        }
    }

    /// The sets behind keys; `None` where there is none.
    fn sets(&self, keys: &[Bytes]) -> Result<Vec<Option<&'a Set>>, Error> {
        keys.iter().map(|key| self.collection(key)).collect()
    }
}

impl Writer<'_> {
    pub(super) fn set_algebra(&mut self, command: &AlgebraCommand) -> Result<Reply, Error> {
        match command {
            AlgebraCommand::Store { how, destination, keys } => {
                let combined = combine(*how, &self.reader().sets(keys)?);
                let what = match how {
                    Combination::Intersection => What::StoreIntersection,
                    Combination::Union => What::StoreUnion,
                    Combination::Difference => What::StoreDifference,
                };
                Ok(self.set_store(destination, combined, what))
            }
            AlgebraCommand::Combine { .. } | AlgebraCommand::CountIntersection { .. } => {
                self.reader().set_algebra(command)
            }
        }
    }
}

fn combine(how: Combination, sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    match how {
        Combination::Intersection => {
            intersection(sets).for_each(|member| {
                result.insert(&member);
            });
        }
        Combination::Union => {
            sets.iter().flatten().flat_map(|set| set.iter()).for_each(|member| {
                result.insert(&member);
            });
        }
        Combination::Difference => {
            let Some((first, others)) = sets.split_first() else {
                return result;
            };
            let others: Vec<_> = others.iter().flatten().collect();
            for member in first.iter().flat_map(|set| set.iter()) {
                if !others.iter().any(|set| set.contains(&member)) {
                    result.insert(&member);
                }
            }
        }
    }
    result
}

/// What is in all sets, in the order of the smallest.
fn intersection<'a>(sets: &[Option<&'a Set>]) -> impl Iterator<Item = Bytes> + use<'a> {
    let mut sets: Vec<&Set> = sets.iter().copied().collect::<Option<_>>().unwrap_or_default();
    sets.sort_by_key(|set| set.len());
    let smallest = sets.first().copied();
    let in_all = move |member: &Bytes| sets.iter().skip(1).all(|set| set.contains(member));
    smallest.into_iter().flat_map(Set::iter).filter(in_all)
}
