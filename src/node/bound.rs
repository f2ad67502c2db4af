//! State that goes with its writer, as programs and doors write it.
//!
//! Owns the scope on the API and the clients of this node. What is bound, and what the end of an owner removes, is decided in
//! `keyspace`. Invariant: what a caller has bound itself is not bound otherwise by a pattern.

use super::bind::{BindTo, Patterns};
use super::{Error, Node};
use crate::command::entry::Binding;
use crate::command::{Command, Operation, Reply, Request};
use crate::consensus::Client;

/// A node whose writes go with it: keys, hash fields, set members and shares of counters that are written through this
/// are gone on all nodes, in one step, when the session of this process ends: at [`Node::leave`], or when the process has died
/// or has been silent for `cluster.session_timeout`. A counter is lowered by what was added through this.
///
/// A process that was only silent puts them back by itself, as far as nobody else has taken their place, and is told: see
/// [`Event::SessionRenewed`](super::Event::SessionRenewed). Lists and float increments are not bound. A later write of the same
/// key or field that is not bound makes it stay.
#[derive(Clone, Debug)]
pub struct Bound(Node);

impl Bound {
    /// Executes requests as [`Node::execute`] does, and binds what they write.
    ///
    /// # Cancel safety
    /// The requests may still take effect.
    pub async fn execute(&self, mut requests: Vec<Request>) -> Vec<Result<Reply, Error>> {
        each_operation(&mut requests, |operation| operation.binding = Binding::Node);
        self.0.execute_as_bound(requests).await
    }

    /// Executes one command as [`Node::command`] does, and binds what it writes.
    ///
    /// # Errors
    /// As [`Node::command`].
    ///
    /// # Cancel safety
    /// The command may still take effect.
    pub async fn command(&self, command: Command) -> Result<Reply, Error> {
        let operation = Operation { database: 0, binding: Binding::Node, command };
        let request = Request::One(operation);
        self.0.execute_as_bound(vec![request]).await.pop().unwrap_or(Err(Error::Stopped))
    }
}

impl Node {
    /// Gives a handle whose writes go with this process.
    #[must_use]
    pub fn bound(&self) -> Bound {
        Bound(self.clone())
    }

    /// Lets a client in whose writes can go with it, earlier than with the node: give the operations that it writes
    /// [`Client::bind`]. When it is dropped, the node sees to it that they go, however long that takes.
    #[must_use]
    pub fn client(&self) -> Client {
        self.0.consensus.clients().enter()
    }

    /// The patterns of `[[bind]]`.
    #[must_use]
    pub fn patterns(&self) -> &Patterns {
        &self.0.patterns
    }

    /// Binds to the node what matches a pattern and is not bound yet.
    pub(super) fn bind_by_pattern(&self, requests: &mut [Request]) {
        let patterns = &self.0.patterns;
        if patterns.is_empty() {
            return;
        }
        each_operation(requests, |operation| {
            let is_free = operation.binding == Binding::None;
            if let Some(BindTo::Connection | BindTo::Node) =
                is_free.then(|| patterns.to(&operation.command)).flatten()
            {
                operation.binding = Binding::Node;
            }
        });
    }
}

fn each_operation(requests: &mut [Request], mut change: impl FnMut(&mut Operation)) {
    for request in requests {
        match request {
            Request::One(operation) => change(operation),
            Request::Transaction { operations, .. } => operations.iter_mut().for_each(&mut change),
        }
    }
}
