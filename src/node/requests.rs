//! Requests: what goes through the log, what is read here, and in which order.
//!
//! Owns the split of a caller's requests into reads that must be confirmed, writes, and reads behind them. Invariant:
//! a caller's requests take effect in their order, and a read behind a write of the same call sees it.

use std::pin::pin;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Error, Node};
use crate::codec;
use crate::command::{Command, ListCommand, Operation, Reply, Request};
use crate::consensus::{self, Consensus};
use crate::ids::WaitId;
use crate::time::Timestamp;

/// How many bytes of requests of one call share a log entry, unless one alone is larger.
const TOGETHER_MAX: usize = 1024 * 1024;

/// How a wait on a list ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// As if its time had run out: nil. `CLIENT UNBLOCK id TIMEOUT`.
    Timeout,
    /// With the error of `CLIENT UNBLOCK id ERROR`.
    Error,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Sees everything that was done before it began, anywhere. Costs a share of a round trip to the leader.
    #[default]
    Linearizable,
    /// This node's state as it is, which may be behind. Costs nothing, and works without a leader.
    Local,
}

impl Node {
    /// Executes requests that take effect in their order, and answers each. What they write stays, unless it is bound: an
    /// operation by its own [`binding`](crate::command::entry::Binding), or by a pattern of `[[bind]]` to this node (see
    /// [`Node::bound`]).
    ///
    /// Reads are linearizable; a read behind a
    /// write sees it. A blocking command (see [`Command::is_blocking`]) belongs to [`Node::wait`]. Cost: reads in front
    /// share one read index, everything from the first write to the last is one log entry.
    ///
    /// # Cancel safety
    /// The requests may still take effect.
    pub async fn execute(&self, mut requests: Vec<Request>) -> Vec<Result<Reply, Error>> {
        self.bind_by_pattern(&mut requests);
        self.execute_as_bound(requests).await
    }

    /// Executes requests whose operations are bound already, as far as they are to be: for doors, which have patterns of
    /// connections too.
    ///
    /// # Cancel safety
    /// The requests may still take effect.
    pub async fn execute_as_bound(&self, mut requests: Vec<Request>) -> Vec<Result<Reply, Error>> {
        let mut replies = Vec::with_capacity(requests.len());
        let first_write = requests.iter().position(Request::is_write);
        let behind = requests.iter().rposition(Request::is_write).map_or(0, |last| last + 1);
        let trailing = requests.split_off(behind);
        if let Some(first_write) = first_write {
            let writes = requests.split_off(first_write);
            self.read_into(&requests, &mut replies).await;
            self.write_into(writes, &mut replies).await;
            if replies.last().is_some_and(Result::is_ok) {
                // What this node has just applied came after everything that was done before this call.
                let read = self.read_here(Timestamp::ZERO, &trailing);
                replies.extend(read.into_iter().map(Ok));
            } else {
                self.read_into(&trailing, &mut replies).await;
            }
        } else {
            self.read_into(&trailing, &mut replies).await;
        }
        replies
    }

    /// Executes one command.
    ///
    /// # Errors
    /// When it was not answered; the error says what is known of its effect.
    ///
    /// # Cancel safety
    /// The command may still take effect.
    pub async fn command(&self, command: Command) -> Result<Reply, Error> {
        let request = Request::One(Operation::new(0, command));
        self.execute(vec![request]).await.pop().unwrap_or(Err(Error::Stopped))
    }

    /// Answers requests that do not write. A request that writes is answered as an error of its own kind by the
    /// keyspace's rules, and changes nothing.
    ///
    /// # Errors
    /// As [`Node::execute`]; never for [`Consistency::Local`].
    pub async fn read(
        &self,
        requests: &[Request],
        consistency: Consistency,
    ) -> Result<Vec<Reply>, Error> {
        let at = match consistency {
            Consistency::Local => self.consensus().now(),
            Consistency::Linearizable => self.confirm().await?,
        };
        Ok(self.read_here(at, requests))
    }

    /// Reads this node's state as it is. Listeners hear of keys that are not there, if they want to.
    fn read_here(&self, at: Timestamp, requests: &[Request]) -> Vec<Reply> {
        let flags = self.notify_flags();
        if !flags.has_misses() {
            return self.consensus().read(at, requests);
        }
        let (replies, misses) = self.consensus().read_with_misses(at, requests);
        misses.iter().for_each(|miss| self.announce(flags, miss));
        replies
    }

    /// Gives the revision of the state, linearizably: what a watched key of a later transaction carries.
    ///
    /// # Errors
    /// As for a read.
    pub async fn revision(&self) -> Result<u64, Error> {
        self.confirm().await?;
        Ok(self.consensus().revision())
    }

    /// Executes a blocking command (`BLPOP` and its kin): waits until it is served, or until `interrupt` resolves (the
    /// caller's time-out, `CLIENT UNBLOCK`). The place in the queue is cluster-wide and survives a change of leader.
    ///
    /// # Errors
    /// As for a write.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait. An element that was given at that very moment is gone, as with a Redis
    /// connection that breaks.
    pub async fn wait(
        &self,
        operation: Operation,
        interrupt: impl Future<Output = Interrupt> + Send,
    ) -> Result<Reply, Error> {
        let (interrupt_tx, interrupted) = oneshot::channel();
        let consensus = self.consensus().clone();
        // A task of its own, so that a wait is ended in the state even when the caller goes away.
        let mut waiting = tokio::spawn(wait(consensus, operation, interrupted));
        let mut interrupt = pin!(interrupt);
        let ended = tokio::select! {
            ended = &mut waiting => ended,
            how = &mut interrupt => {
                // The wait that has just been served has nobody to interrupt.
                let _served = interrupt_tx.send(how);
                waiting.await
            }
        };
        match ended {
            Ok(reply) => reply.map_err(|error| self.explain(error)),
            // Its task has ended with the node, served or not.
            Err(_) => Err(Error::Unknown),
        }
    }

    /// Takes a backup of the whole state: every write that was acknowledged before is in it. Gives the bytes of the file piece by
    /// piece, the next ones when these are taken; the last piece says that it is whole. Cost: that of encoding everything, on a
    /// thread of its own.
    ///
    /// # Errors
    /// As for a read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn backup(&self) -> Result<mpsc::Receiver<Bytes>, Error> {
        self.consensus().backup().await.map_err(|error| self.explain(error))
    }

    async fn confirm(&self) -> Result<Timestamp, Error> {
        self.consensus().confirm_read().await.map_err(|error| self.explain(error))
    }

    async fn read_into(&self, requests: &[Request], replies: &mut Vec<Result<Reply, Error>>) {
        if requests.is_empty() {
            return;
        }
        match self.confirm().await {
            Ok(at) => replies.extend(self.read_here(at, requests).into_iter().map(Ok)),
            Err(error) => replies.extend(requests.iter().map(|_| Err(error.clone()))),
        }
    }

    /// Writes what fits one log entry at a time, in order.
    async fn write_into(
        &self,
        mut requests: Vec<Request>,
        replies: &mut Vec<Result<Reply, Error>>,
    ) {
        while !requests.is_empty() {
            let later = requests.split_off(fitting(&requests));
            let count = requests.len();
            match self.consensus().submit(requests).await {
                Ok(done) => replies.extend(done.into_iter().map(Ok)),
                Err(error) => {
                    let error = self.explain(error);
                    replies.extend((0..count).map(|_| Err(error.clone())));
                }
            }
            requests = later;
        }
    }

    /// Says what a failure of consensus means to a client.
    fn explain(&self, error: consensus::Error) -> Error {
        match error {
            consensus::Error::TryAgain => self.without_majority().unwrap_or(Error::TryAgain),
            consensus::Error::TooLarge { size, limit } => Error::TooLarge { size, limit },
            consensus::Error::Unknown | consensus::Error::SessionLost => Error::Unknown,
            consensus::Error::Stopped | consensus::Error::Fatal(_) | consensus::Error::Disk(_) => {
                Error::Stopped
            }
        }
    }
}

/// How many of the requests, at least one, have at most [`TOGETHER_MAX`] bytes together.
fn fitting(requests: &[Request]) -> usize {
    if requests.len() == 1 {
        return 1;
    }
    let mut bytes = 0usize;
    let fits = |request: &&Request| {
        bytes = bytes.saturating_add(codec::size_of(*request));
        bytes <= TOGETHER_MAX
    };
    requests.iter().take_while(fits).count().max(1)
}

async fn wait(
    consensus: Consensus,
    operation: Operation,
    mut interrupted: oneshot::Receiver<Interrupt>,
) -> Result<Reply, consensus::Error> {
    let mut how = None;
    loop {
        let mut replies = consensus.submit(vec![Request::One(operation.clone())]).await?;
        let reply = replies.pop().ok_or(consensus::Error::Unknown)?;
        let Reply::Blocked(id) = reply else {
            return Ok(reply);
        };
        let mut served = pin!(consensus.served(id));
        let ended = tokio::select! {
            ended = &mut served => ended,
            // A caller that has gone away ends its wait as a time-out does.
            asked = &mut interrupted, if how.is_none() => {
                let asked = asked.unwrap_or(Interrupt::Timeout);
                how = Some(asked);
                end_wait(&consensus, operation.database, id, asked).await?;
                served.await
            }
        };
        match (ended, how) {
            (Err(consensus::Error::SessionLost), None) => {}
            // The wait ended with its session, after it was to end anyway.
            (Err(consensus::Error::SessionLost), Some(_)) => return Ok(Reply::NilArray),
            (ended, _) => return ended,
        }
    }
}

async fn end_wait(
    consensus: &Consensus,
    database: u8,
    wait: WaitId,
    how: Interrupt,
) -> Result<(), consensus::Error> {
    let unblocked = how == Interrupt::Error;
    let command = Command::List(ListCommand::EndWait { wait, unblocked });
    consensus.submit(vec![Request::One(Operation::new(database, command))]).await.map(drop)
}
