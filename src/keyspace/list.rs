//! What list commands do, waiting ones included.
//!
//! Owns the list half of `apply` and `read`; what the commands are stands in `command/list.rs`.

use bytes::Bytes;

use super::access::{Reader, Writer};
use crate::command::{Error, ListCommand, Reply};
use crate::ids::WaitId;

impl Reader<'_> {
    pub(super) fn list(&self, command: &ListCommand) -> Result<Reply, Error> {
        match *command {}
    }
}

impl Writer<'_> {
    /// Applies a list command. A blocking one that finds nothing waits if this writer has a waiter. `served` takes a
    /// client whose wait the command itself ends (`CLIENT UNBLOCK`, a time-out).
    pub(super) fn list(
        &mut self,
        command: &ListCommand,
        _served: &mut Vec<(WaitId, Reply)>,
    ) -> Result<Reply, Error> {
        match *command {}
    }

    /// Takes for a waiting client what it waits for, out of the list that became ready; `None` if it gets nothing.
    pub(super) fn serve(&mut self, _key: &Bytes, command: &ListCommand) -> Option<Reply> {
        match *command {}
    }
}
