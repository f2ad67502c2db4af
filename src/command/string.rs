//! String commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what they are. What they do stands in `keyspace/string.rs`.

use serde::{Deserialize, Serialize};

use super::table::Spec;

/// A command on a string or a counter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StringCommand {}

impl StringCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match *self {}
    }
}

pub(super) const SPECS: &[Spec] = &[];
