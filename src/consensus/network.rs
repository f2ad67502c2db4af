//! How openraft reaches the other members: votes and heartbeats as calls, entries by one stream per follower, snapshots
//! by a stream of their own.
//!
//! Owns the sending side. Invariant: at most `appends_in_flight_max` AppendEntries are under way to one follower, since
//! unbounded pipelining starves batching.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;

use super::machine::SnapshotData;
use super::raft::{Types, Vote};
use super::shared::Links;
use super::wire::{Answer, Call, SnapshotDone, SnapshotHeader};
use crate::codec;
use crate::ids::{NodeId, Placement};
use crate::transport::{Class, FrameReceiver, FrameSender, Peer};

type RpcError = RPCError<Types>;
type AppendResult = Result<StreamAppendResult<Types>, RpcError>;

/// Makes a client for each member.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) links: Arc<Links>,
}

/// What a client is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Entries,
    Heartbeat,
}

/// Reaches one member.
#[derive(Debug)]
pub(super) struct Client {
    links: Arc<Links>,
    target: NodeId,
    placement: Placement,
    use_: Use,
}

impl Network {
    fn client(&self, target: NodeId, node: &Placement, use_: Use) -> Client {
        Client { links: Arc::clone(&self.links), target, placement: node.clone(), use_ }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, node: &Placement) -> Client {
        self.client(target, node, Use::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Placement) -> Client {
        self.client(target, node, Use::Heartbeat)
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}

fn unexpected() -> RpcError {
    RPCError::Unreachable(Unreachable::from_string("refused, or answered with something else"))
}

impl Client {
    /// Where the member is reached now.
    fn peer(&self) -> Peer {
        self.links.peer(self.target, &self.placement)
    }

    async fn call(&self, call: &Call, deadline: Duration) -> Result<Answer, RpcError> {
        let answer = self.links.call(&self.peer(), call, deadline).await;
        answer.map_err(|error| unreachable(&error))
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        let Answer::Append(response) = self.call(&Call::Append(rpc), option.hard_ttl()).await?
        else {
            return Err(unexpected());
        };
        Ok(response)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendResult>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        if self.use_ == Use::Heartbeat {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            // The engine waits here after a failure. Asked for only once there is a link, it would not wait between dials, and
            // one that fails at once would be repeated at once.
            let Some(first) = input.next().await else {
                return Ok(futures_util::stream::empty().boxed());
            };
            let purpose = self.links.purpose(Class::Append);
            let opened = self.links.transport.open(&self.peer(), purpose).await;
            let (sender, receiver, _) = opened.map_err(|error| unreachable(&error))?;
            let most = self.links.config.appends_in_flight_max.max(1);
            let first = Some(first);
            let lane = Lane { first, input: Some(input), sender, receiver, under_way: 0, most };
            let results = futures_util::stream::unfold(Some(lane), |lane| async {
                let mut lane = lane?;
                match lane.next().await {
                    Ok(None) => None,
                    Ok(Some(result)) => {
                        let go_on = result.is_ok();
                        Some((Ok(result), go_on.then_some(lane)))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            });
            let results: BoxStream<'s, AppendResult> = results.boxed();
            Ok(results)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        let Answer::Vote(response) = self.call(&Call::Vote(rpc), option.hard_ttl()).await? else {
            return Err(unexpected());
        };
        Ok(response)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        let Answer::Vote(response) = self.call(&Call::PreVote(rpc), option.hard_ttl()).await?
        else {
            return Err(unexpected());
        };
        Ok(response)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        let Answer::TransferLeader(response) =
            self.call(&Call::TransferLeader(rpc), option.hard_ttl()).await?
        else {
            return Err(unexpected());
        };
        Ok(response)
    }
}

impl Client {
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotData>,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let failed =
            |error: &crate::transport::Error| StreamingError::Unreachable(Unreachable::new(error));
        let told = |text: &str| StreamingError::Unreachable(Unreachable::from_string(text));
        let idle = self.links.config.snapshot_idle_timeout;
        let purpose = self.links.purpose(Class::Snapshot);
        let opened = self.links.transport.open(&self.peer(), purpose).await;
        let (mut sender, mut receiver, _) = opened.map_err(|error| failed(&error))?;
        let header = codec::encode(&SnapshotHeader { vote, meta: snapshot.meta });
        let mut count = 0u64;
        for frame in std::iter::once(Ok(header)).chain(snapshot.snapshot.chunks()) {
            let frame = frame.map_err(|error| told(&error.to_string()))?;
            sender.send_moving(&mut vec![frame], idle).await.map_err(|error| failed(&error))?;
            count = count.saturating_add(1);
        }
        sender.finish();
        let answer = tokio::time::timeout(idle, receiver.receive()).await;
        let answer = answer.map_err(|_| told("no answer to a snapshot"))?;
        let answer = answer.map_err(|error| failed(&error))?;
        let answer = answer.ok_or_else(|| told("a snapshot was not taken"))?;
        let done: SnapshotDone =
            codec::decode(&answer).map_err(|_| told("a malformed answer to a snapshot"))?;
        tracing::info!(peer = %self.peer().address, frames = count, "sent a snapshot");
        Ok(SnapshotResponse::new(done.vote))
    }
}

/// One stream of AppendEntries under way.
struct Lane<S> {
    /// What goes before all of the input.
    first: Option<AppendEntriesRequest<Types>>,
    /// None once openraft has no more.
    input: Option<S>,
    sender: FrameSender,
    receiver: FrameReceiver,
    under_way: usize,
    most: usize,
}

/// What a lane turns to next.
enum Turn {
    Send(Option<AppendEntriesRequest<Types>>),
    Answer(Result<Option<Bytes>, crate::transport::Error>),
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> Lane<S> {
    /// The next result; none when openraft has nothing more to send and all is answered.
    async fn next(&mut self) -> Result<Option<StreamAppendResult<Types>>, RpcError> {
        loop {
            match self.turn().await {
                None => return Ok(None),
                Some(Turn::Send(None)) => self.input = None,
                Some(Turn::Send(Some(request))) => {
                    let sent = self.sender.send(codec::encode(&request)).await;
                    sent.map_err(|error| unreachable(&error))?;
                    self.under_way = self.under_way.saturating_add(1);
                }
                Some(Turn::Answer(answer)) => {
                    self.under_way = self.under_way.saturating_sub(1);
                    let answer = answer.map_err(|error| unreachable(&error))?;
                    let told = |text: &str| RPCError::Unreachable(Unreachable::from_string(text));
                    let answer = answer.ok_or_else(|| told("the follower ended the stream"))?;
                    let decoded = codec::decode::<StreamAppendResult<Types>>(&answer);
                    return decoded.map(Some).map_err(|error| unreachable(&error));
                }
            }
        }
    }

    async fn turn(&mut self) -> Option<Turn> {
        if let Some(first) = self.first.take() {
            return Some(Turn::Send(Some(first)));
        }
        let may_send = self.under_way < self.most;
        match (self.input.as_mut().filter(|_| may_send), self.under_way) {
            (None, 0) => None,
            (None, _) => Some(Turn::Answer(self.receiver.receive().await)),
            (Some(input), 0) => Some(Turn::Send(input.next().await)),
            (Some(input), _) => Some(tokio::select! {
                biased;
                answer = self.receiver.receive() => Turn::Answer(answer),
                request = input.next() => Turn::Send(request),
            }),
        }
    }
}
