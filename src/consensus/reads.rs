//! Confirms linearizable reads: many that wait share one question to the leader (Raft dissertation, section 6.4).
//!
//! Owns the question, and the wait until this node has applied what the answer names; the answer is `read_index`'s. Invariant: a
//! read is confirmed only by a question that left after the read came.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Error;
use super::read_index;
use super::shared::Shared;
use super::wire::{Answer, Call};
use crate::time::Timestamp;

/// How long one question may take before it is asked again.
const QUESTION_MAX: Duration = Duration::from_millis(500);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(10);
/// How many reads share one question at most.
const SHARED_MAX: usize = 65_536;

/// A read that waits to be confirmed.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<Result<Timestamp, Error>>,
}

/// Runs until the node is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Reading>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && inbox.recv_many(&mut waiting, SHARED_MAX).await == 0 {
            return;
        }
        while let Ok(more) = inbox.try_recv() {
            waiting.push(more);
        }
        if let Some(at) = ask(&shared).await {
            for reading in waiting.drain(..) {
                // A caller that went away needs no answer.
                let _gone = reading.done.send(Ok(at));
            }
            continue;
        }
        let now = Instant::now();
        for late in waiting.extract_if(.., |reading| reading.deadline <= now) {
            let _gone = late.done.send(Err(Error::TryAgain));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks the leader how far the state must be, and waits until it is. Gives the leader's clock.
async fn ask(shared: &Shared) -> Option<Timestamp> {
    let (leader, placement) = shared.leader()?;
    let question = async {
        if leader == shared.node {
            return Some(read_index::answer(shared, leader, None).await);
        }
        let peer = shared.links.peer(leader, &placement);
        let call = Call::ReadIndex { node: shared.node, vote: shared.given_vote() };
        shared.links.call(&peer, &call, QUESTION_MAX).await.ok()
    };
    let answered = tokio::select! {
        answered = tokio::time::timeout(QUESTION_MAX, question) => answered.ok()??,
        // The one that was asked leads no longer, and may not even live.
        () = shared.other_leader(leader) => return None,
    };
    let Answer::ReadIndex { index, at } = answered else {
        return None;
    };
    let mut applied = shared.state.applied();
    let reached = applied.wait_for(|applied| *applied >= index);
    tokio::time::timeout(QUESTION_MAX, reached).await.ok()?.ok()?;
    Some(at)
}
