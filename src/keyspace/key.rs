//! What key commands do.
//!
//! Owns the key half of `apply` and `read`; what the commands are stands in `command/key.rs`.

use super::access::{Reader, Writer};
use crate::command::{Error, KeyCommand, Reply};

impl Reader<'_> {
    pub(super) fn key(&self, command: &KeyCommand) -> Result<Reply, Error> {
        match *command {}
    }
}

impl Writer<'_> {
    pub(super) fn key(&mut self, command: &KeyCommand) -> Result<Reply, Error> {
        match *command {}
    }
}
