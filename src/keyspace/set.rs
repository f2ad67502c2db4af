//! What set commands do.
//!
//! Owns the set half of `apply` and `read`; what the commands are stands in `command/set.rs`.

use super::access::{Reader, Writer};
use crate::command::{Error, Reply, SetCommand};

impl Reader<'_> {
    pub(super) fn set(&self, command: &SetCommand) -> Result<Reply, Error> {
        match *command {}
    }
}

impl Writer<'_> {
    pub(super) fn set(&mut self, command: &SetCommand) -> Result<Reply, Error> {
        match *command {}
    }
}
