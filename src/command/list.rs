//! List commands as data: their grammar, their row in the table, their parser.
//!
//! Owns what they are. What they do stands in `keyspace/list.rs`.

use serde::{Deserialize, Serialize};

use super::table::Spec;

/// A command on lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ListCommand {}

impl ListCommand {
    /// Tells whether it may change the state.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match *self {}
    }
}

impl ListCommand {
    /// Tells whether it may wait for an element, outside a transaction.
    #[must_use]
    pub const fn is_blocking(&self) -> bool {
        match *self {}
    }
}

pub(super) const SPECS: &[Spec] = &[];
