//! What goes with its owner, as others are told of it.
//!
//! Owns the names of owners and of what they own, with all that is needed to put it back. Does not know how it is kept:
//! that stands in `bound.rs`. Invariant: plain data.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::SessionId;
use crate::time::Timestamp;

/// Whose end takes a piece of bound state with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The session; when it ends, all that its clients own goes too.
    pub session: SessionId,
    /// One client of its node, or 0 for the node itself.
    pub client: u64,
}

/// A piece of bound state that went with its owner, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The database of the key.
    pub database: u8,
    /// The key.
    pub key: Bytes,
    /// What was bound, with what is needed to put it back.
    pub what: TakenWhat,
    /// What is left of the key.
    pub left: Left,
}

/// What was bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenWhat {
    /// A key with a string.
    Key {
        /// The string.
        value: Bytes,
        /// When it would have expired, if ever.
        deadline: Option<Timestamp>,
    },
    /// A field of a hash.
    Field {
        /// The field.
        field: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// A member of a set.
    Member {
        /// The member.
        member: Bytes,
    },
    /// What the owner had added to a counter.
    Share {
        /// How much; the counter is less by so much now.
        amount: i64,
    },
    /// What the owner had added to a field of a hash.
    FieldShare {
        /// The field.
        field: Bytes,
        /// How much; the field is less by so much now.
        amount: i64,
    },
}

/// What is left of a key after something bound was taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing: the key is gone.
    Nothing,
    /// Its other fields or members; this one is gone.
    Others,
    /// The counter, or the field, is there with less.
    Less,
    /// All: others hold the same member, or nothing was taken yet.
    All,
}
