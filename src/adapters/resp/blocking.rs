//! A client that waits for an element of a list, or for the reply to a request.
//!
//! Owns when the wait ends: the command's time-out, CLIENT UNBLOCK, or the end of the connection. Does not serve it: the
//! node or a responder does. Invariant: while it waits, nothing that the client sends behind it runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::drive::{Driver, End};
use crate::command::{Command, ListCommand, Operation, Reply};
use crate::node::Interrupt;
use crate::pubsub::RequestError;

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

    /// QUORATE.REQUEST channel payload timeout-ms
    ///
    /// Reply: what the responder replies, or an error whose first word tells which one: `NORESPONDERS`, `GONE`, `DECLINED`,
    /// `TIMEOUT`, `BUSY`, or `ERR` for the rest. A time-out of 0 is none.
    pub(super) async fn ask(&mut self, words: &[Bytes], is_silent: bool) -> Result<(), End> {
        self.flush().await?;
        self.await_sync().await?;
        let [_, channel, payload, time, ..] = words else { return Ok(()) };
        let Some(time) = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok()) else {
            let text = "ERR timeout is not an integer or out of range".to_owned();
            return self.write_outcome(Err(text), is_silent);
        };
        let time = if time == 0 { Duration::MAX } else { Duration::from_millis(time) };
        self.wire.write(&mut self.connection.out)?;
        let (wake, woken) = oneshot::channel();
        self.connection.card.begin_wait(wake);
        let backend = Arc::clone(&self.connection.shared.backend);
        let mut asking = backend.request(channel.clone(), payload.clone(), time);
        let mut unblocked = Box::pin(interrupt(None, woken));
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut asking => break reply.map(Reply::Bulk).map_err(|e| text(&e)),
                how = &mut unblocked => break match how {
                    Interrupt::Timeout => Ok(Reply::Nil),
                    Interrupt::Error => {
                        Err("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned())
                    }
                },
                // The end of the connection drops the request.
                pumped = self.pump(true) => pumped?,
            }
        };
        self.connection.card.end_wait();
        self.write_outcome(reply, is_silent)
    }

    fn write_outcome(
        &mut self,
        outcome: Result<Reply, String>,
        is_silent: bool,
    ) -> Result<(), End> {
        match outcome {
            Ok(reply) => self.write_reply(Ok(reply), is_silent),
            Err(text) => {
                if !is_silent {
                    self.connection.error(&text);
                }
                Ok(())
            }
        }
    }
}

/// The text of the error reply to a request that has no reply.
fn text(error: &RequestError) -> String {
    let code = match error {
        RequestError::NoResponders => "NORESPONDERS",
        RequestError::Gone { .. } => "GONE",
        RequestError::Declined => "DECLINED",
        RequestError::Timeout { .. } => "TIMEOUT",
        RequestError::Busy { .. } => "BUSY",
        RequestError::TooMany { .. }
        | RequestError::LinkFull { .. }
        | RequestError::TooLarge { .. }
        | RequestError::NameTooLong { .. }
        | RequestError::ReplyTooLarge { .. }
        | RequestError::Closed { .. } => "ERR",
    };
    format!("{code} {error}")
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
