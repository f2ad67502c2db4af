//! Set commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what they are. What they do stands in `keyspace/set.rs`.

use serde::{Deserialize, Serialize};

use super::table::Spec;

/// A command on sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SetCommand {}

impl SetCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match *self {}
    }
}

pub(super) const SPECS: &[Spec] = &[];
