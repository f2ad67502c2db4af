//! The other end of peers' lanes: reads what they publish, and answers what they ask.
//!
//! Owns the task of one incoming stream. Does not open streams, and does not know the answers: those are in `answer.rs`. Invariant: reading never waits for answering, so a peer
//! that reads no answers cannot hold up its own messages, and answers it does not read are bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::arrivals::{End, StreamId};
use super::deliver::Post;
use super::effect::{Fault, WayBack};
use super::hub::{Hub, State};
use super::interest::{Event, Name};
use super::wire::{self, Control, Frame, Hello, Publication, Question};
use crate::ids::NodeId;
use crate::transport::{FrameReceiver, FrameSender, Inbound, Remote};

/// How many bytes of answers may wait for a peer, if two messages are not larger.
const ANSWERS_MAX: u64 = 32 * 1024 * 1024;
/// How long a stream may take until its hello is there.
const HELLO_MAX: Duration = Duration::from_secs(3);
/// How many frames are taken in under one lock.
const BATCH_MAX: usize = 32;

/// Why an incoming stream is not read any further.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Transport(#[from] crate::transport::Error),
    #[error(transparent)]
    Wire(#[from] wire::Error),
    #[error(transparent)]
    Stream(#[from] End),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("a frame that a publisher does not send here")]
    Misplaced,
    #[error("a graft was not acknowledged within {} ms", .0.as_millis())]
    NotGrafted(Duration),
    #[error("too many answers wait for it")]
    NoRoom,
    #[error("no hello within {} ms", HELLO_MAX.as_millis())]
    NoHello,
}

impl Stop {
    /// Tells whether the peer is at fault, and not the network.
    const fn is_fault(&self) -> bool {
        match self {
            Self::Wire(_)
            | Self::Fault(_)
            | Self::Misplaced
            | Self::NotGrafted(_)
            | Self::NoRoom
            | Self::Stream(End::Backwards { .. }) => true,
            Self::Transport(_) | Self::NoHello | Self::Stream(End::Superseded) => false,
        }
    }
}

/// Serves one incoming stream until it ends.
pub(super) async fn serve(hub: Arc<Hub>, inbound: Inbound) {
    let Inbound { remote, mut sender, mut receiver, .. } = inbound;
    let room = ANSWERS_MAX.max(hub.config.message_max.as_u64().saturating_mul(2));
    let way_back = Arc::new(WayBack::new(room));
    let served = tokio::select! {
        biased;
        stop = serve_stream(&hub, &remote, &mut receiver, &way_back) => stop,
        stop = write(&mut sender, &way_back) => Err(stop),
        stop = watch_grafts(&hub, remote.id, &way_back) => Err(stop),
        () = hub.stopped() => return,
    };
    // Replies that come later are dropped.
    way_back.answers.discard();
    match served {
        Ok(()) => sender.finish(),
        Err(stop) if stop.is_fault() => {
            tracing::warn!(peer = %remote.id, name = %remote.name, "dropped its lane: {stop}");
        }
        Err(stop) => tracing::debug!(peer = %remote.id, "its lane ended: {stop}"),
    }
}

async fn write(sender: &mut FrameSender, way_back: &WayBack) -> Stop {
    while let Some(mut frames) = way_back.answers.take().await {
        if let Err(error) = sender.send_all(&mut frames).await {
            return error.into();
        }
    }
    Stop::NoRoom
}

/// Waits until the publisher has left a graft unacknowledged for too long.
async fn watch_grafts(hub: &Hub, publisher: NodeId, way_back: &WayBack) -> Stop {
    let limit = hub.config.graft_timeout;
    loop {
        let oldest = hub.state().interest.oldest_graft(publisher);
        if oldest.is_none() {
            way_back.grafting.notified().await;
            continue;
        }
        tokio::time::sleep(limit).await;
        if hub.state().interest.oldest_graft(publisher) == oldest {
            return Stop::NotGrafted(limit);
        }
    }
}

async fn serve_stream(
    hub: &Arc<Hub>,
    remote: &Remote,
    receiver: &mut FrameReceiver,
    way_back: &Arc<WayBack>,
) -> Result<(), Stop> {
    let hello = timeout(HELLO_MAX, receive_hello(receiver)).await.map_err(|_| Stop::NoHello)??;
    let Some(hello) = hello else { return Ok(()) };
    let stream = hub.state().open(remote.id, hello, way_back)?;
    tracing::debug!(peer = %remote.id, ?hello, "hears its lane");
    let is_clean = false;
    Reader { hub, remote, stream, is_clean, way_back }.run(receiver).await
}

async fn receive_hello(receiver: &mut FrameReceiver) -> Result<Option<Hello>, Stop> {
    let Some(frame) = receiver.receive().await? else { return Ok(None) };
    match wire::decode(frame)? {
        Frame::Control(Control::Hello(hello)) => Ok(Some(hello)),
        Frame::Control(_) | Frame::Message(_) | Frame::Request(_) | Frame::Reply(_) => {
            Err(Stop::Misplaced)
        }
    }
}

/// What frames that are taken in together add up to.
#[derive(Default)]
struct Batch {
    /// Messages to one channel that came one after the other and are not delivered yet.
    run: Vec<Publication>,
    /// How many subscriptions each of them reached; kept for its memory.
    reached: Vec<u64>,
    counts: Vec<(u64, u64)>,
    names: Vec<Name>,
    questions: Vec<(u64, Question)>,
}

impl Batch {
    /// Tells whether a message belongs to the run.
    fn goes_on_with(&self, publication: &Publication) -> bool {
        self.run.first().is_none_or(|first| {
            (first.kind, &first.channel) == (publication.kind, &publication.channel)
        })
    }
}

/// Takes in the frames of one stream. Dropped, it says that the stream has ended.
struct Reader<'a> {
    hub: &'a Arc<Hub>,
    remote: &'a Remote,
    stream: StreamId,
    /// Whether the publisher has ended it, and publishes nothing more.
    is_clean: bool,
    way_back: &'a WayBack,
}

impl Reader<'_> {
    async fn run(&mut self, receiver: &mut FrameReceiver) -> Result<(), Stop> {
        while let Some(first) = receiver.receive().await? {
            let more = receiver.receive_ready(BATCH_MAX)?;
            for (id, question) in self.take(std::iter::once(first).chain(more))? {
                self.answer(id, &question).await;
            }
        }
        self.is_clean = true;
        Ok(())
    }

    /// Takes in frames under one lock, and answers their counts together; gives the questions among them.
    fn take(&self, frames: impl Iterator<Item = Bytes>) -> Result<Vec<(u64, Question)>, Stop> {
        let mut batch = Batch::default();
        let mut state = self.hub.state();
        state.arrivals.check(self.remote.id, self.stream)?;
        let taken = self.take_frames(&mut state, frames, &mut batch);
        // What was counted as received is delivered, whatever came behind it.
        self.deliver(&mut state, &mut batch);
        let Batch { names, counts, questions, .. } = batch;
        state.prune(self.remote.id, names);
        drop(state);
        if !counts.is_empty() {
            // A peer that does not read its answers gets none.
            let _full = self.way_back.answers.push_control(&Control::Counts(counts));
        }
        taken.map(|()| questions)
    }

    fn take_frames(
        &self,
        state: &mut State,
        frames: impl Iterator<Item = Bytes>,
        batch: &mut Batch,
    ) -> Result<(), Stop> {
        for frame in frames {
            let frame = wire::decode(frame)?;
            if let Frame::Message(publication) = frame {
                if !batch.goes_on_with(&publication) {
                    self.deliver(state, batch);
                }
                state.arrivals.message(self.remote.id, self.stream)?;
                batch.run.push(publication);
                continue;
            }
            self.deliver(state, batch);
            match frame {
                Frame::Control(Control::Query { id, question }) => {
                    batch.questions.push((id, question));
                }
                Frame::Control(control) => self.take_control(state, control)?,
                // One that is meant for an earlier stream is given up already.
                Frame::Request(request) if request.attempt == self.stream.attempt() => {
                    state.take_request(request, &self.way_back.answers);
                }
                Frame::Request(_) => {}
                Frame::Message(_) | Frame::Reply(_) => return Err(Stop::Misplaced),
            }
        }
        Ok(())
    }

    /// Delivers the peer's messages to one channel. When nobody wants one for the n-th time, its name is to be pruned.
    fn deliver(&self, state: &mut State, batch: &mut Batch) {
        let Batch { run, reached, counts, names, .. } = batch;
        let Some(&Publication { kind, .. }) = run.first() else { return };
        reached.clear();
        reached.resize(run.len(), 0);
        let posts: Vec<Post<'_>> = run
            .iter()
            .map(|Publication { channel, payload, position, .. }| Post {
                channel,
                payload,
                position: *position,
                frame: None,
            })
            .collect();
        state.deliver_run(kind, &posts, reached);
        for (publication, reached) in run.drain(..).zip(reached) {
            let Publication { channel, count_id, .. } = publication;
            if count_id != 0 {
                counts.push((count_id, *reached));
            }
            if *reached == 0 {
                state.unwanted(self.remote.id, kind, &channel, names);
            }
        }
    }

    fn take_control(&self, state: &mut State, control: Control) -> Result<(), Stop> {
        match control {
            Control::Run { first } => {
                let gap = state.arrivals.run(self.remote.id, self.stream, first)?;
                state.tell_all(self.remote.id, gap);
            }
            Control::Attach { id } => {
                let Remote { id: peer, address, .. } = *self.remote;
                if let Some(outbox) = self.hub.link_in(state, peer, address, false) {
                    // A full outbox answers the next time it is asked.
                    let _full = outbox.push_control(&Control::Attached { id });
                }
            }
            Control::Attached { id } => state.attached(id, self.remote.id),
            Control::Seek { id, channel } => {
                let is_here = state.requests.has(&channel);
                // A peer that does not read its answers gets none.
                let _full = self.way_back.answers.push_control(&Control::Sought { id, is_here });
            }
            // What an earlier stream was asked for: this one withholds nothing that it did.
            Control::Grafted { attempt, .. } if attempt != self.stream.attempt() => {}
            Control::Grafted { id, .. } => {
                let publisher = self.remote.id;
                let actions = state.interest.handle(Event::Acknowledged { publisher, id });
                state.carry_out(actions)?;
            }
            Control::Hello(_)
            | Control::Query { .. }
            | Control::Counts(_)
            | Control::Answer { .. }
            | Control::Sought { .. }
            | Control::Refused { .. }
            | Control::Prune { .. }
            | Control::Graft { .. } => return Err(Stop::Misplaced),
        }
        Ok(())
    }

    async fn answer(&self, id: u64, question: &Question) {
        let give = |answer, is_last| {
            // A peer that does not read its answers gets none.
            self.way_back.answers.push_control(&Control::Answer { id, answer, is_last })
        };
        self.hub.answer(question, give).await;
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.hub.state().close(self.remote.id, self.stream, self.is_clean);
    }
}

impl State {
    /// A member says that its lane is up.
    fn attached(&mut self, id: u64, peer: NodeId) {
        if self.attaching.get(&id).is_some_and(|(asked, _)| *asked == peer)
            && let Some((_, done)) = self.attaching.remove(&id)
        {
            // The asker may have gone.
            let _gone = done.send(());
        }
    }
}
