//! A client that waits for an element of a list.
//!
//! Owns when the wait ends: the command's time-out, CLIENT UNBLOCK, or the end of the connection. Does not serve it: the
//! node does. Invariant: while it waits, nothing that the client sends behind it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::drive::{Driver, End};
use crate::command::{Command, ListCommand, Operation};
use crate::node::Interrupt;

impl Driver {
    /// Waits until the command is served, its time is up or somebody wakes the client, and writes the reply.
    pub(super) async fn block(&mut self, operation: Operation, is_silent: bool) -> Result<(), End> {
        // Only commands on lists wait.
        let list = if let Command::List(list) = &operation.command { Some(list) } else { None };
        let timeout = list.and_then(ListCommand::timeout);
        self.flush().await?;
        self.wire.write(&mut self.connection.out)?;
        let (wake, woken) = oneshot::channel();
        self.connection.card.begin_wait(wake);
        let backend = Arc::clone(&self.connection.shared.backend);
        let mut wait = backend.wait(operation, Box::pin(interrupt(timeout, woken)));
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut wait => break reply,
                // The end of the connection drops the wait, which ends it.
                pumped = self.pump(true) => pumped?,
            }
        };
        self.connection.card.end_wait();
        self.write_reply(reply, is_silent)
    }
}

async fn interrupt(timeout: Option<Duration>, woken: oneshot::Receiver<Interrupt>) -> Interrupt {
    let time_is_up = async {
        match timeout {
            Some(timeout) => sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time_is_up => Interrupt::Timeout,
        Ok(how) = woken => how,
        else => std::future::pending().await,
    }
}
