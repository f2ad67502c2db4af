//! Key commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what they are. What they do stands in `keyspace/key.rs`.

use serde::{Deserialize, Serialize};

use super::table::Spec;

/// A command on keys of any type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyCommand {}

impl KeyCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match *self {}
    }
}

pub(super) const SPECS: &[Spec] = &[];
