//! What list commands do that may wait, and how waiting clients are served.
//!
//! Owns what a wait takes; who waits, and in which order, stands in `wait.rs`; what the commands are in
//! `command/blocking.rs`. Invariant: a client that is not served has changed nothing.

use bytes::Bytes;

use super::access::Writer;
use super::value::List;
use super::wait::Wait;
use crate::command::blocking::BlockingCommand;
use crate::command::{Error, Reply};
use crate::ids::WaitId;

impl Writer<'_> {
    /// Takes what there is; else waits, or replies at once that there is nothing if nobody can wait.
    pub(super) fn blocking(&mut self, command: &BlockingCommand) -> Result<Reply, Error> {
        if let Some(reply) = self.take_for(command, command.sources())? {
            return Ok(reply);
        }
        if let Some(session) = self.waiter {
            let wait = Wait { database: self.database, command: command.clone() };
            return Ok(Reply::Blocked(self.keyspace.waits.add(session, wait)));
        }
        Ok(match command {
            BlockingCommand::Pop { .. } | BlockingCommand::PopFirst { .. } => Reply::NilArray,
            BlockingCommand::Move { .. } => Reply::Nil,
        })
    }

    /// Takes for a waiting client what it waits for, out of the list that became ready; `None` if it gets nothing. An
    /// error, such as a destination of another type, ends the wait too.
    pub(super) fn serve(&mut self, key: &Bytes, command: &BlockingCommand) -> Option<Reply> {
        if !matches!(self.reader().collection::<List>(key), Ok(Some(_))) {
            return None;
        }
        self.take_for(command, std::slice::from_ref(key)).unwrap_or_else(|error| Some(error.into()))
    }

    /// Takes what a command asks for out of the first of `sources` that there is.
    fn take_for(
        &mut self,
        command: &BlockingCommand,
        sources: &[Bytes],
    ) -> Result<Option<Reply>, Error> {
        match command {
            BlockingCommand::Pop { end, .. } => self.list_pop_one(sources, *end),
            BlockingCommand::PopFirst { end, count, .. } => {
                self.list_pop_first(sources, *end, *count)
            }
            BlockingCommand::Move { source, destination, from, to, .. } => {
                Ok(self.list_move(source, destination, *from, *to)?.map(Reply::Bulk))
            }
        }
    }

    /// Ends a wait, if it is still there, with nil or with the error of `CLIENT UNBLOCK`.
    pub(super) fn end_wait(
        &mut self,
        wait: WaitId,
        unblocked: bool,
        served: &mut Vec<(WaitId, Reply)>,
    ) -> Reply {
        let was_there = self.keyspace.waits.remove(wait).is_some();
        if was_there {
            let unblocked = unblocked
                .then(|| Error::text("UNBLOCKED client unblocked via CLIENT UNBLOCK").into());
            served.push((wait, unblocked.unwrap_or(Reply::NilArray)));
        }
        Reply::flag(was_there)
    }
}
