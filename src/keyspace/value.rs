//! The values a key can hold, and the record that stands behind a key.
//!
//! Owns their shape in memory. Collections keep insertion order (`indexmap`), so that what a client sees depends on
//! the history of commands alone and never on a hash seed; they sit behind an `Arc`, so that a snapshot shares them
//! until they are written. Invariant: no collection in the keyspace is empty.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};

use crate::command::arguments::parse_integer;
use crate::time::Timestamp;

/// Fields with their values, in the order in which they were first set.
pub(crate) type Hash = IndexMap<Bytes, Bytes>;

/// Elements from left to right.
pub(crate) type List = VecDeque<Bytes>;

/// Distinct members. A small set of integers is kept sorted and answers in ascending order, as Redis' intset does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Set {
    /// Up to 512 integers, ascending. Source: Redis 7.2, `set-max-intset-entries`.
    Integers(Vec<i64>),
    /// Anything else, in insertion order.
    Members(IndexSet<Bytes>),
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    String(Bytes),
    Set(Arc<Set>),
    Hash(Arc<Hash>),
    List(Arc<List>),
}

impl Value {
    /// The name that `TYPE` gives.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Set(_) => "set",
            Self::Hash(_) => "hash",
            Self::List(_) => "list",
        }
    }
}

/// A value with what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) value: Value,
    /// When it expires, if ever. Invariant: stands in the keyspace's deadlines too.
    pub(crate) deadline: Option<Timestamp>,
    /// The keyspace's revision when it last changed; what `WATCH` compares.
    pub(crate) revision: u64,
}

/// A value made of elements, which exists only while it has some.
pub(crate) trait Collection: Clone + Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
    fn is_empty(&self) -> bool;
}

macro_rules! collection {
    ($type:ty, $variant:ident) => {
        impl Collection for $type {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(inner) = value { Some(inner) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(inner) = value { Some(Arc::make_mut(inner)) } else { None }
            }

            fn into_value(self) -> Value {
                Value::$variant(Arc::new(self))
            }

            fn is_empty(&self) -> bool {
                Self::len(self) == 0
            }
        }
    };
}

collection!(Hash, Hash);
collection!(List, List);
collection!(Set, Set);

impl Default for Set {
    fn default() -> Self {
        Self::Integers(Vec::new())
    }
}

/// The most integers that are kept sorted. Source: Redis 7.2, `set-max-intset-entries`.
const INTEGERS_MAX: usize = 512;

impl Set {
    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Integers(integers) => integers.len(),
            Self::Members(members) => members.len(),
        }
    }

    pub(crate) fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Integers(integers) => {
                parse_integer(member).is_some_and(|number| integers.binary_search(&number).is_ok())
            }
            Self::Members(members) => members.contains(member),
        }
    }

    /// Adds a member; tells whether it is new. A set that takes its first other member, or its 513th, is no longer kept
    /// sorted and never will be again.
    pub(crate) fn insert(&mut self, member: &Bytes) -> bool {
        if let Self::Integers(integers) = self {
            match parse_integer(member).map(|number| (number, integers.binary_search(&number))) {
                Some((_, Ok(_))) => return false,
                Some((number, Err(place))) if integers.len() < INTEGERS_MAX => {
                    integers.insert(place, number);
                    return true;
                }
                _ => *self = Self::Members(self.iter().collect()),
            }
        }
        match self {
            Self::Integers(_) => false,
            Self::Members(members) => members.insert(member.clone()),
        }
    }

    /// Removes a member; tells whether it was there. Without order, the last member takes its place.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Integers(integers) => {
                let place =
                    parse_integer(member).and_then(|number| integers.binary_search(&number).ok());
                place.map(|place| integers.remove(place)).is_some()
            }
            Self::Members(members) => members.swap_remove(member),
        }
    }

    /// The member at a place, counted from 0.
    pub(crate) fn at(&self, place: usize) -> Option<Bytes> {
        match self {
            Self::Integers(integers) => integers.get(place).map(|number| text(*number)),
            Self::Members(members) => members.get_index(place).cloned(),
        }
    }

    /// Takes the member at a place out. Without order, the last member takes its place.
    pub(crate) fn take_at(&mut self, place: usize) -> Option<Bytes> {
        match self {
            Self::Integers(integers) if place < integers.len() => {
                Some(text(integers.remove(place)))
            }
            Self::Integers(_) => None,
            Self::Members(members) => members.swap_remove_index(place),
        }
    }

    /// All members in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Bytes> {
        (0..self.len()).filter_map(|place| self.at(place))
    }
}

fn text(number: i64) -> Bytes {
    Bytes::from(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(set: &Set) -> Vec<Bytes> {
        set.iter().collect()
    }

    #[test]
    fn integers_stay_sorted_until_there_are_too_many_or_another_member_comes() {
        let mut set = Set::default();
        for number in (0..512).rev() {
            assert!(set.insert(&text(number)) && !set.insert(&text(number)));
        }
        assert!(matches!(set, Set::Integers(_)));
        assert_eq!(texts(&set), (0..512).map(text).collect::<Vec<_>>());
        assert!(!set.insert(&text(7)) && matches!(set, Set::Integers(_)));
        assert!(set.insert(&text(-1)) && matches!(set, Set::Members(_)));
        assert!(set.contains(b"-1") && set.contains(b"511") && !set.contains(b"512"));

        let mut set = Set::default();
        for member in ["2", "1", "01", "+1", "9223372036854775808"] {
            assert!(set.insert(&Bytes::from(member)), "{member}");
        }
        assert_eq!(texts(&set), ["1", "2", "01", "+1", "9223372036854775808"]);
        assert!(set.remove(b"1") && !set.remove(b"1"));
        assert_eq!(set.take_at(9), None);
        assert_eq!(texts(&set), ["9223372036854775808", "2", "01", "+1"]);
    }
}
