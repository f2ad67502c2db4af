//! What string commands do.
//!
//! Owns the string half of `apply` and `read`; what the commands are stands in `command/string.rs`.

use super::access::{Reader, Writer};
use crate::command::{Error, Reply, StringCommand};

impl Reader<'_> {
    pub(super) fn string(&self, command: &StringCommand) -> Result<Reply, Error> {
        match *command {}
    }
}

impl Writer<'_> {
    pub(super) fn string(&mut self, command: &StringCommand) -> Result<Reply, Error> {
        match *command {}
    }
}
