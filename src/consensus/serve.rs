//! Answers what other members ask: votes, heartbeats, entries, snapshots, read indexes, sessions, joining, forwarding.
//!
//! Owns the receiving side. Invariant: Raft's own messages are taken only from the same formation, and nothing that a
//! peer sends ends more than its stream.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::raft::AppendEntriesRequest;

use super::intake::Intake;
use super::raft::Types;
use super::shared::Shared;
use super::wire::{Answer, Call, SnapshotDone, SnapshotHeader};
use super::{deaths, feed, leave, read_index, recovery, relay};
use crate::codec;
use crate::ids::FormationId;
use crate::transport::{Class, Inbound, serve_calls};

/// How many calls of one peer are worked on at once.
const CALLS_MAX: usize = 256;

/// Serves one stream that a peer has opened, until it ends.
pub(super) async fn serve(shared: Arc<Shared>, inbound: Inbound) {
    let formation = inbound.purpose.formation;
    if inbound.is_calls {
        let served = serve_calls(inbound, CALLS_MAX, move |_, request| {
            let shared = Arc::clone(&shared);
            async move { answer_bytes(&shared, formation, &request).await }
        });
        if let Err(error) = served.await {
            tracing::debug!(%error, "a peer's calls ended");
        }
        return;
    }
    if !shared.links.is_formation(formation) {
        tracing::debug!(peer = %inbound.remote.address, %formation, "stream of another formation");
        return;
    }
    let class = inbound.purpose.class;
    let served = async {
        match class {
            Class::Append => serve_append(&shared, inbound).await,
            Class::Snapshot => serve_snapshot(&shared, inbound).await,
            Class::Forward => feed::serve(&shared, inbound).await,
            Class::Follow => relay::serve(&shared, inbound).await,
            Class::Gossip | Class::Control | Class::Publish => Ok(()),
        }
    };
    // What a stream carries belongs to the formation that it was opened in.
    let served = tokio::select! {
        served = served => served,
        () = shared.links.left(formation) => Ok(()),
    };
    if let Err(error) = served {
        tracing::debug!(%class, %error, "a peer's stream ended");
    }
}

async fn answer_bytes(
    shared: &Arc<Shared>,
    formation: FormationId,
    request: &[u8],
) -> Option<Bytes> {
    let call = codec::decode::<Call>(request).ok()?;
    Some(codec::encode(&answer(shared, formation, call).await))
}

async fn answer(shared: &Arc<Shared>, formation: FormationId, call: Call) -> Answer {
    match call {
        Call::Promise { initiator, formation } => {
            shared.formation.promise(shared, initiator, formation)
        }
        Call::Withdraw { formation } => shared.formation.withdraw(shared, formation),
        Call::Reformed { formation, node, placement } => {
            recovery::reformed(shared, formation, node, placement)
        }
        _ if !shared.links.is_formation(formation) => Answer::Refused {
            reason: format!("another formation: {formation}, here {}", shared.links.formation()),
        },
        Call::Vote(_) | Call::PreVote(_) | Call::Append(_) | Call::TransferLeader(_) => {
            answer_raft(shared, call).await
        }
        Call::Dead { session, is_durable } => deaths::take(shared, session, is_durable).await,
        Call::Survey => recovery::survey(shared, None).await,
        Call::Yield { to, next } => recovery::survey(shared, Some((to, next))).await,
        Call::ReadIndex { node, vote } => read_index::answer(shared, node, vote).await,
        Call::GivenVote => Answer::GivenVote { vote: shared.given_vote() },
        Call::Outrun { node, vote } => shared.outrun(node, vote).await,
        Call::Renew { session } => shared.duties.renew(shared, session),
        Call::Open { nonce, node, placement } => {
            shared.duties.open_session(shared, nonce, node, placement).await
        }
        Call::Leave { node, session, is_end } => leave::let_go(shared, node, session, is_end).await,
    }
}

async fn answer_raft(shared: &Shared, call: Call) -> Answer {
    if shared.recovery.is_bound() {
        return Answer::Refused { reason: "promised to follow another formation".to_owned() };
    }
    let refused = |error: &dyn std::error::Error| Answer::Refused { reason: error.to_string() };
    match call {
        Call::Vote(_) | Call::PreVote(_) if !shared.gate.is_open() => {
            Answer::Refused { reason: "back for too short a time to vote".to_owned() }
        }
        Call::Vote(request) => match shared.raft().vote(request).await {
            Ok(response) => Answer::Vote(response),
            Err(error) => refused(&error),
        },
        Call::PreVote(request) => match shared.raft().pre_vote(request).await {
            Ok(response) => Answer::Vote(response),
            Err(error) => refused(&error),
        },
        Call::Append(request) => match shared.raft().append_entries(request).await {
            Ok(response) => {
                if response.is_success() {
                    shared.follow.hear();
                    shared.recovery.hear();
                }
                Answer::Append(response)
            }
            Err(error) => refused(&error),
        },
        Call::TransferLeader(request) => {
            match shared.raft().handle_transfer_leader(request).await {
                Ok(response) => Answer::TransferLeader(response),
                Err(error) => refused(&error),
            }
        }
        Call::ReadIndex { .. }
        | Call::GivenVote
        | Call::Renew { .. }
        | Call::Open { .. }
        | Call::Leave { .. }
        | Call::Promise { .. }
        | Call::Outrun { .. }
        | Call::Withdraw { .. }
        | Call::Dead { .. }
        | Call::Survey
        | Call::Yield { .. }
        | Call::Reformed { .. } => Answer::Refused { reason: "not a message of Raft".to_owned() },
    }
}

async fn serve_append(shared: &Shared, inbound: Inbound) -> Result<(), crate::transport::Error> {
    let Inbound { mut sender, receiver, .. } = inbound;
    let requests = futures_util::stream::unfold(receiver, |mut receiver| async {
        let frame = receiver.receive().await.ok()??;
        let request = codec::decode::<AppendEntriesRequest<Types>>(&frame).ok()?;
        Some((request, receiver))
    });
    let mut results = Box::pin(shared.raft().stream_append(requests));
    while let Some(Ok(result)) = results.next().await {
        if result.is_ok() {
            shared.follow.hear();
            shared.recovery.hear();
        }
        sender.send(codec::encode(&result)).await?;
    }
    sender.finish();
    Ok(())
}

async fn serve_snapshot(
    shared: &Arc<Shared>,
    inbound: Inbound,
) -> Result<(), crate::transport::Error> {
    let Inbound { mut sender, mut receiver, .. } = inbound;
    let Some(first) = receiver.receive().await? else {
        return Ok(());
    };
    let Ok(SnapshotHeader { vote, meta }) = codec::decode(&first) else {
        return Ok(());
    };
    let mut begun = None;
    let mut intake = Intake::new(Arc::clone(shared), &mut begun);
    let mut taken = intake.begin(vote, meta, 0);
    while taken.is_ok()
        && let Some(chunk) = receiver.receive().await?
    {
        taken = intake.chunk(&chunk);
    }
    if taken.is_ok() {
        taken = intake.install().await;
    }
    match taken {
        Ok(()) => {
            sender.send(codec::encode(&SnapshotDone { vote })).await?;
            sender.finish();
        }
        Err(reason) => tracing::warn!(reason, "could not install a snapshot"),
    }
    Ok(())
}
