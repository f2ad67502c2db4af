//! The values a key can hold, and the record that stands behind a key.
//!
//! Owns their shape in memory. Collections keep insertion order (`indexmap`), so that what a client sees depends on
//! the history of commands alone and never on a hash seed; they sit behind an `Arc`, so that a snapshot shares them
//! until they are written. Invariant: no collection in the keyspace is empty.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};

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
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
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

impl Set {
    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Integers(integers) => integers.len(),
            Self::Members(members) => members.len(),
        }
    }
}
