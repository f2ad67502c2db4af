//! The life of one connection: read, decode, run in order, answer, and wait for what comes next.
//!
//! Owns the order of things and back-pressure. Knows no single command. Invariants: replies come in the order of the
//! requests; a push stands between replies, after those of the requests that came before it; what waits for a client is
//! bounded.
//!
//! ```text
//! bytes → requests → [keyspace commands: one batch] → node → replies → bytes
//!                    [door commands: alone, after the batch before them]
//! subscriber → pushes ────────────────────────────────────────↑
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use tokio::time::{Instant, sleep_until};

use super::admit::{Route, parse};
use super::batch::{Answer, Batch, Slot};
use super::commands::{Row, Run};
use super::connection::{Connection, Silence};
use super::reply;
use super::wire::Wire;
use crate::command::Reply;
use crate::command::table::Spec;
use crate::node;
use crate::pubsub::{Draft, Error as ListenError, Kind};
use crate::resp::ProtocolError;

/// From how many waiting bytes on a client is not read from until it has taken some.
const OUTPUT_HIGH: usize = 1024 * 1024;

/// From how many unread bytes on a blocked client is not read from; its end is then noticed late.
const BLOCKED_INPUT_MAX: usize = 1024 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the client went away")]
    Disconnected,
    #[error("the client quit")]
    Quit,
    #[error("ended by CLIENT KILL or by the server's end")]
    Killed,
    #[error("silent for longer than resp.timeout_idle of {0:?}")]
    Idle(Duration),
    #[error("took no reply for longer than resp.timeout_write of {0:?}")]
    Stalled(Duration),
    #[error("reply of {size} bytes exceeds resp.output_max of {limit}")]
    Reply { size: usize, limit: ByteSize },
    #[error("{0}: see resp.output_pubsub_hard_max and resp.output_pubsub_soft_max")]
    Backlog(ListenError),
    #[error(transparent)]
    Listen(ListenError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Io(io::Error),
}

impl From<ListenError> for End {
    fn from(error: ListenError) -> Self {
        let is_overflow = matches!(error, ListenError::Overflow { .. });
        if is_overflow { Self::Backlog(error) } else { Self::Listen(error) }
    }
}

/// One connection at work.
pub(super) struct Driver {
    pub(super) wire: Wire,
    pub(super) connection: Connection,
    batch: Batch,
    last_command: &'static str,
    /// Whether the node has been in sync with its cluster.
    is_in_sync: bool,
}

impl Driver {
    pub(super) fn new(mut wire: Wire, connection: Connection) -> Self {
        wire.set_authenticated(connection.is_authenticated);
        Self { wire, connection, batch: Batch::default(), last_command: "NULL", is_in_sync: false }
    }

    /// Serves the client until the connection ends.
    pub(super) async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), End> {
        self.process().await?;
        self.wire.write(&mut self.connection.out)?;
        self.pump(false).await
    }

    /// Runs all requests that are here.
    async fn process(&mut self) -> Result<(), End> {
        loop {
            match self.wire.decode() {
                Ok(Some(words)) => self.take(words).await?,
                Ok(None) => return self.flush().await,
                Err(error) => return self.refuse(error).await,
            }
            if self.connection.is_closing {
                return self.close(End::Quit).await;
            }
        }
    }

    async fn refuse(&mut self, error: ProtocolError) -> Result<(), End> {
        self.flush().await?;
        if error.is_silent() {
            return Err(error.into());
        }
        self.connection.error(&error.to_string());
        self.close(error.into()).await
    }

    /// Lets the client have what waits for it, and ends.
    async fn close(&mut self, end: End) -> Result<(), End> {
        self.flush().await?;
        self.drain().await?;
        Err(end)
    }

    async fn take(&mut self, mut words: Vec<Bytes>) -> Result<(), End> {
        let connection = &mut self.connection;
        connection.shared.stats.count_command();
        let is_silent = connection.begin_command();
        let route = match connection.admit(&words) {
            Ok(route) => route,
            Err(text) => return self.answer(Answer::Error(text), is_silent).await,
        };
        self.last_command = route.name();
        if let Some(queued) = connection.queue(route, &mut words) {
            let answer = queued.map_or_else(Answer::Error, |()| Answer::Queued);
            return self.answer(answer, is_silent).await;
        }
        match route {
            Route::Keyspace(spec) => self.take_for_node(spec, &words, is_silent).await,
            Route::Door(Row { run: Run::Publish(kind), .. }) => {
                self.publish(*kind, &words, is_silent).await
            }
            Route::Door(Row { run: Run::Request, .. }) => self.ask(&words, is_silent).await,
            Route::Door(row) => self.run_in_door(row, &words, is_silent).await,
        }
    }

    async fn take_for_node(
        &mut self,
        spec: &'static Spec,
        words: &[Bytes],
        is_silent: bool,
    ) -> Result<(), End> {
        let database = self.connection.database;
        let made = parse(spec, words)
            .and_then(|command| self.connection.binder.operation(database, command));
        let operation = match made {
            Ok(operation) => operation,
            Err(error) => return self.answer(Answer::Error(error.to_string()), is_silent).await,
        };
        if operation.command.is_blocking() {
            return self.block(operation, is_silent).await;
        }
        let bytes = words.iter().map(Bytes::len).fold(0, usize::saturating_add);
        self.batch.push_operation(operation, bytes, is_silent);
        self.flush_if_full().await
    }

    async fn answer(&mut self, answer: Answer, is_silent: bool) -> Result<(), End> {
        self.batch.push(answer, is_silent);
        self.flush_if_full().await
    }

    /// Waits until messages reach everybody and come from everybody: only then is a subscription what it says.
    pub(super) async fn await_sync(&mut self) -> Result<(), End> {
        if !self.is_in_sync {
            self.flush().await?;
            self.connection.shared.backend.ready().await;
            self.is_in_sync = true;
        }
        Ok(())
    }

    async fn publish(&mut self, kind: Kind, words: &[Bytes], is_silent: bool) -> Result<(), End> {
        // Whoever gets the message must see what was written before it.
        if !self.batch.requests.is_empty() {
            self.flush().await?;
        }
        self.await_sync().await?;
        let [_, channel, payload, ..] = words else { return Ok(()) };
        let draft = Draft { kind, channel: channel.clone(), payload: payload.clone() };
        self.batch.push_draft(draft, is_silent);
        self.flush_if_full().await
    }

    async fn run_in_door(
        &mut self,
        row: &'static Row,
        words: &[Bytes],
        is_silent: bool,
    ) -> Result<(), End> {
        self.flush().await?;
        if matches!(row.name, "subscribe" | "psubscribe" | "ssubscribe" | "exec") {
            self.await_sync().await?;
        }
        let connection = &mut self.connection;
        connection.card.change(|facts| facts.last_command = row.name);
        let start = connection.out.len();
        row.run(connection, words).await;
        // CLIENT REPLY ON is answered, though it was silent until then; CLIENT REPLY OFF is not. What a client listens to it
        // is told in any case, as it is told the messages.
        let speaks_again = row.name == "client|reply" && connection.silence == Silence::None;
        let is_quiet = (is_silent && !speaks_again) || connection.silence != Silence::None;
        if is_quiet && !row.name.ends_with("subscribe") {
            connection.out.truncate(start);
        }
        connection.end_exec();
        connection.show();
        self.wire.set_authenticated(connection.is_authenticated);
        self.check_output()?;
        if self.connection.out.len() > OUTPUT_HIGH {
            self.drain().await?;
        }
        self.push_waiting()
    }

    async fn flush_if_full(&mut self) -> Result<(), End> {
        let config = &self.connection.shared.config;
        let bytes_max = usize::try_from(config.pipeline_bytes_max.as_u64()).unwrap_or(usize::MAX);
        if self.batch.is_full(config.pipeline_requests_max, bytes_max) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Executes what waits, and writes its replies.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let Batch { drafts, requests, slots, .. } = std::mem::take(&mut self.batch);
        let backend = Arc::clone(&self.connection.shared.backend);
        let mut counts = backend.publish_all(&drafts).into_iter();
        drop(drafts);
        let mut replies = Vec::new().into_iter();
        if !requests.is_empty() {
            replies = backend.execute(requests).await.into_iter();
        }
        for Slot { answer, is_silent } in slots {
            match answer {
                Answer::Node => {
                    let reply = replies.next().unwrap_or(Err(node::Error::Stopped));
                    self.write_reply(reply, is_silent)?;
                }
                Answer::Published => match counts.next().unwrap_or(Err(ListenError::Closed)) {
                    Ok(count) => {
                        let count = Reply::Integer(i64::try_from(count.await).unwrap_or(i64::MAX));
                        self.write_reply(Ok(count), is_silent)?;
                    }
                    Err(error) if !is_silent => self.connection.error(&format!("ERR {error}")),
                    Err(_) => {}
                },
                Answer::Error(text) if !is_silent => self.connection.error(&text),
                Answer::Queued if !is_silent => self.connection.reply().status("QUEUED"),
                Answer::Error(_) | Answer::Queued => {}
            }
            if self.connection.out.len() > OUTPUT_HIGH {
                self.drain().await?;
            }
        }
        self.push_waiting()
    }

    pub(super) fn write_reply(
        &mut self,
        reply: Result<Reply, node::Error>,
        is_silent: bool,
    ) -> Result<(), End> {
        match reply {
            _ if is_silent => {}
            Ok(reply) => {
                let limit = self.connection.shared.config.output_max;
                let size = reply.size();
                if size as u64 > limit.as_u64() {
                    return Err(End::Reply { size, limit });
                }
                reply::write(&reply, &mut self.connection.reply());
            }
            Err(error) => self.connection.node_error(&error),
        }
        Ok(())
    }

    fn check_output(&self) -> Result<(), End> {
        let (size, limit) = (self.connection.out.len(), self.connection.shared.config.output_max);
        if size as u64 > limit.as_u64() { Err(End::Reply { size, limit }) } else { Ok(()) }
    }

    /// Writes the messages that are here; no request is half answered now.
    fn push_waiting(&mut self) -> Result<(), End> {
        Ok(self.connection.push_waiting()?)
    }

    /// Writes until nothing waits any more.
    pub(super) async fn drain(&mut self) -> Result<(), End> {
        loop {
            self.wire.write(&mut self.connection.out)?;
            if self.connection.out.is_empty() {
                return Ok(());
            }
            let timeout = self.connection.shared.config.timeout_write;
            tokio::select! {
                biased;
                () = self.connection.card.killed() => return Err(End::Killed),
                ready = self.wire.ready(false, true) => {
                    ready?;
                }
                cut = self.connection.listening.cut() => return Err(cut.into()),
                () = expired(self.wire.stall_deadline(timeout)) => return Err(End::Stalled(timeout)),
            }
        }
    }

    /// Waits for one thing to happen on the connection, and lets it happen: bytes come or go, a message comes, or the
    /// connection ends.
    ///
    /// Cancel safety: safe.
    pub(super) async fn pump(&mut self, is_blocked: bool) -> Result<(), End> {
        let connection = &self.connection;
        let config = &connection.shared.config;
        let is_listening = connection.listening.is_any();
        let has_room = !is_blocked || self.wire.waiting() < BLOCKED_INPUT_MAX;
        let reads = connection.out.len() < OUTPUT_HIGH && has_room;
        let (writes, may_push) = (!connection.out.is_empty(), connection.may_push());
        let (idle, stall) = (config.timeout_idle, config.timeout_write);
        let may_idle = idle.is_zero() || is_blocked || is_listening;
        let idle_deadline = if may_idle { None } else { self.wire.last_read.checked_add(idle) };
        let stall_deadline = if is_listening { None } else { self.wire.stall_deadline(stall) };
        let ready = tokio::select! {
            biased;
            () = connection.card.killed() => return Err(End::Killed),
            ready = self.wire.ready(reads, writes) => ready?,
            cut = connection.listening.cut(), if !may_push => return Err(cut.into()),
            delivery = connection.listening.receive(), if may_push => {
                self.connection.push(&delivery?);
                self.push_waiting()?;
                return self.wire.write(&mut self.connection.out);
            }
            () = expired(idle_deadline) => return Err(End::Idle(idle)),
            () = expired(stall_deadline) => return Err(End::Stalled(stall)),
        };
        if writes && ready.is_writable() {
            self.wire.write(&mut self.connection.out)?;
        }
        if reads && ready.is_readable() {
            self.wire.read()?;
            let (last_seen, last_command) = (self.wire.last_read, self.last_command);
            self.connection.card.change(|facts| {
                facts.last_seen = last_seen;
                facts.last_command = last_command;
            });
        }
        Ok(())
    }
}

async fn expired(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
