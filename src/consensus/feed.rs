//! Takes batches into the leader's log, in the order in which they come.
//!
//! Owns the step from a forwarded batch to a proposal stamped with the cluster's time, for this node's own writer and
//! for those of others. Invariant: after the first batch that was not taken, none is taken from the same source.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use openraft::errors::ClientWriteError;
use openraft::impls::OneshotResponder;
use tokio::sync::mpsc;

use super::raft::{Proposal, Types};
use super::shared::Shared;
use super::wire::{Forwarded, Rejected};
use crate::codec;
use crate::command::{Action, Entry};
use crate::transport::{Error, Inbound};

/// How many batches of one source are in the log but not yet committed.
const UNDER_WAY_MAX: usize = 64;

/// Proposes what comes out of `inbox` until the source ends or one is not taken. Gives the serial from which on nothing
/// is in the log, if that is certain.
pub(super) async fn run(shared: &Shared, inbox: &mut mpsc::Receiver<Forwarded>) -> Option<u64> {
    let mut under_way = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some((serial, outcome)) = under_way.next(), if !under_way.is_empty() => match outcome {
                Ok(Ok(_)) => {}
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => return Some(serial),
                Ok(Err(_)) | Err(_) => return None,
            },
            batch = inbox.recv(), if under_way.len() < UNDER_WAY_MAX => {
                let Forwarded { session, serial, acknowledged, requests } = batch?;
                shared.duties.hear(session);
                let action = Action::Batch { session, serial, acknowledged, requests };
                let proposal = Proposal(Arc::new(Entry { at: shared.state.stamp(), action }));
                let (responder, outcome) = OneshotResponder::<Types, _>::new_pair();
                if shared.raft().client_write_ff(proposal, Some(responder)).await.is_err() {
                    return None;
                }
                under_way.push_back(async move { (serial, outcome.await) });
            }
        }
    }
}

/// Serves another node's writer.
pub(super) async fn serve(shared: &Shared, inbound: Inbound) -> Result<(), Error> {
    let Inbound { mut sender, mut receiver, .. } = inbound;
    let (outbox, mut inbox) = mpsc::channel(UNDER_WAY_MAX);
    let read = async {
        while let Some(frame) = receiver.receive().await? {
            let Ok(batch) = codec::decode::<Forwarded>(&frame) else {
                return Ok(());
            };
            if outbox.send(batch).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    };
    tokio::select! {
        refused_from = run(shared, &mut inbox) => {
            sender.send(codec::encode(&Rejected { refused_from })).await?;
            sender.finish();
            Ok(())
        }
        ended = read => ended,
    }
}
