//! The commands of a pipeline that go to the node together, and the places of their replies.
//!
//! Owns the order of replies between what the node answers, what was refused and what was published. Executes nothing.
//! Invariant: there are as many slots for the node as requests, in the same order.

use crate::command::{Operation, Request};
use crate::pubsub::Draft;

/// What waits to be executed and answered.
#[derive(Default)]
pub(super) struct Batch {
    /// What is published before the requests are executed.
    pub(super) drafts: Vec<Draft>,
    pub(super) requests: Vec<Request>,
    pub(super) slots: Vec<Slot>,
    /// How many bytes the requests have.
    bytes: usize,
}

/// The place of one reply.
pub(super) struct Slot {
    pub(super) answer: Answer,
    /// Whether the client wants no reply.
    pub(super) is_silent: bool,
}

/// Where a reply comes from.
pub(super) enum Answer {
    /// The next one of the node.
    Node,
    /// An error that is known already.
    Error(String),
    /// `+QUEUED`.
    Queued,
    /// How many received the next one of what is published.
    Published,
}

impl Batch {
    pub(super) fn push(&mut self, answer: Answer, is_silent: bool) {
        self.slots.push(Slot { answer, is_silent });
    }

    /// Adds a command for the node.
    pub(super) fn push_operation(&mut self, operation: Operation, bytes: usize, is_silent: bool) {
        self.requests.push(Request::One(operation));
        self.bytes = self.bytes.saturating_add(bytes);
        self.push(Answer::Node, is_silent);
    }

    /// Adds a message to be published.
    pub(super) fn push_draft(&mut self, draft: Draft, is_silent: bool) {
        let size = draft.channel.len().saturating_add(draft.payload.len());
        self.bytes = self.bytes.saturating_add(size);
        self.drafts.push(draft);
        self.push(Answer::Published, is_silent);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Tells whether it should be executed before more is added.
    pub(super) const fn is_full(&self, requests_max: usize, bytes_max: usize) -> bool {
        self.slots.len() >= requests_max || self.bytes >= bytes_max
    }
}
