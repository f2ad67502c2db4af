//! The other end of peers' lanes: reads what they publish, and answers what they ask.
//!
//! Owns the task of one incoming stream. Does not open streams. Invariant: reading never waits for answering, so a peer
//! that reads no answers cannot hold up its own messages, and answers it does not read are bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Kind;
use super::arrivals::{End, StreamId};
use super::hub::{Hub, Payload, State};
use super::outbox::Outbox;
use super::wire::{self, Answer, Control, Frame, Hello, Publication, Question};
use crate::command::glob;
use crate::ids::NodeId;
use crate::transport::{FrameReceiver, FrameSender, Inbound, Remote};

/// How long a stream may take until its hello is there.
const HELLO_MAX: Duration = Duration::from_secs(3);
/// How many frames are taken in under one lock.
const BATCH_MAX: usize = 32;
/// How many bytes of answers may wait for a peer.
const ANSWERS_MAX: u64 = 32 * 1024 * 1024;

/// Why an incoming stream is not read any further.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Transport(#[from] crate::transport::Error),
    #[error(transparent)]
    Wire(#[from] wire::Error),
    #[error(transparent)]
    Stream(#[from] End),
    #[error("a frame that a publisher does not send here")]
    Misplaced,
    #[error("no hello within {} ms", HELLO_MAX.as_millis())]
    NoHello,
}

impl Stop {
    /// Tells whether the peer is at fault, and not the network.
    const fn is_fault(&self) -> bool {
        match self {
            Self::Wire(_) | Self::Misplaced | Self::Stream(End::Backwards { .. }) => true,
            Self::Transport(_) | Self::NoHello | Self::Stream(End::Superseded) => false,
        }
    }
}

/// Serves one incoming stream until it ends.
pub(super) async fn serve(hub: Arc<Hub>, inbound: Inbound) {
    let Inbound { remote, mut sender, mut receiver, .. } = inbound;
    let room = ANSWERS_MAX.max(hub.config.message_max.as_u64().saturating_mul(2));
    let answers = Arc::new(Outbox::new(room));
    let served = tokio::select! {
        biased;
        stop = serve_stream(&hub, &remote, &mut receiver, &answers) => stop,
        stop = write(&mut sender, &answers) => stop,
        () = hub.stopped() => return,
    };
    // Replies that come later are dropped.
    answers.discard();
    match served {
        Ok(()) => sender.finish(),
        Err(stop) if stop.is_fault() => {
            tracing::warn!(peer = %remote.id, name = %remote.name, "dropped its lane: {stop}");
        }
        Err(stop) => tracing::debug!(peer = %remote.id, "its lane ended: {stop}"),
    }
}

async fn write(sender: &mut FrameSender, answers: &Outbox) -> Result<(), Stop> {
    while let Some(mut frames) = answers.take().await {
        sender.send_all(&mut frames).await?;
    }
    Ok(())
}

async fn serve_stream(
    hub: &Arc<Hub>,
    remote: &Remote,
    receiver: &mut FrameReceiver,
    answers: &Arc<Outbox>,
) -> Result<(), Stop> {
    let hello = timeout(HELLO_MAX, receive_hello(receiver)).await.map_err(|_| Stop::NoHello)??;
    let Some(hello) = hello else { return Ok(()) };
    let stream = hub.state().arrivals.open(remote.id, hello)?;
    Reader { hub, remote, stream, attempt: hello.attempt, answers }.run(receiver).await
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

/// Takes in the frames of one stream. Dropped, it says that the stream has ended.
struct Reader<'a> {
    hub: &'a Arc<Hub>,
    remote: &'a Remote,
    stream: StreamId,
    /// As the publisher names the stream.
    attempt: u64,
    answers: &'a Arc<Outbox>,
}

impl Reader<'_> {
    async fn run(&self, receiver: &mut FrameReceiver) -> Result<(), Stop> {
        while let Some(first) = receiver.receive().await? {
            let more = receiver.receive_ready(BATCH_MAX)?;
            self.take(std::iter::once(first).chain(more))?;
        }
        Ok(())
    }

    /// Takes in frames under one lock, and answers their counts together.
    fn take(&self, frames: impl Iterator<Item = Bytes>) -> Result<(), Stop> {
        let mut counts = Vec::new();
        let mut state = self.hub.state();
        state.arrivals.check(self.remote.id, self.stream)?;
        for frame in frames {
            match wire::decode(frame)? {
                Frame::Message(publication) => {
                    state.arrivals.message(self.remote.id, self.stream)?;
                    let id = publication.count_id;
                    let count = take_message(&mut state, publication);
                    if id != 0 {
                        counts.push((id, count));
                    }
                }
                Frame::Control(control) => self.take_control(&mut state, control)?,
                // One that is meant for an earlier stream is given up already.
                Frame::Request(request) if request.attempt == self.attempt => {
                    state.take_request(request, self.answers);
                }
                Frame::Request(_) => {}
                Frame::Reply(_) => return Err(Stop::Misplaced),
            }
        }
        drop(state);
        if !counts.is_empty() {
            // A peer that does not read its answers gets none.
            let _full = self.answers.push_control(&Control::Counts(counts));
        }
        Ok(())
    }

    fn take_control(&self, state: &mut State, control: Control) -> Result<(), Stop> {
        match control {
            Control::Run { first } => state.arrivals.run(self.remote.id, self.stream, first)?,
            Control::Attach { id } => {
                let Remote { id: peer, address, .. } = *self.remote;
                if let Some(outbox) = self.hub.link_in(state, peer, address, false) {
                    // A full outbox answers the next time it is asked.
                    let _full = outbox.push_control(&Control::Attached { id });
                }
            }
            Control::Attached { id } => state.attached(id, self.remote.id),
            Control::Query { id, question } => self.answer(state, id, &question),
            Control::Seek { id, channel } => {
                let is_here = state.requests.has(&channel);
                // A peer that does not read its answers gets none.
                let _full = self.answers.push_control(&Control::Sought { id, is_here });
            }
            Control::Hello(_)
            | Control::Counts(_)
            | Control::Answer { .. }
            | Control::Sought { .. }
            | Control::Refused { .. } => return Err(Stop::Misplaced),
        }
        Ok(())
    }

    fn answer(&self, state: &State, id: u64, question: &Question) {
        let pieces = state.answer(question);
        let last = pieces.len().saturating_sub(1);
        for (index, answer) in pieces.into_iter().enumerate() {
            let control = Control::Answer { id, answer, is_last: index == last };
            if !self.answers.push_control(&control) {
                // A peer that does not read its answers gets none.
                return;
            }
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        let is_linked = state.lanes.contains_key(&self.remote.id);
        state.arrivals.close(self.remote.id, self.stream, is_linked);
    }
}

/// Delivers a peer's message.
fn take_message(state: &mut State, publication: Publication) -> u64 {
    let Publication { kind, position, channel, payload, .. } = publication;
    state.deliver(kind, &channel, &Payload::Borrowed(payload), position)
}

impl State {
    /// Answers a question about the subscribers of this node, in pieces that fit frames; at least one.
    pub(super) fn answer(&self, question: &Question) -> Vec<Answer> {
        match question {
            Question::Names { kind, pattern } => {
                let names = self.names(*kind, pattern.as_ref());
                wire::pieces(names, Bytes::len).into_iter().map(Answer::Names).collect()
            }
            Question::Counts { kind, channels } => {
                let count = |channel: &Bytes| self.table.listeners(*kind, channel) as u64;
                vec![Answer::Counts(channels.iter().map(count).collect())]
            }
        }
    }

    /// Gives the names that somebody here listens to.
    fn names(&self, kind: Kind, pattern: Option<&Bytes>) -> Vec<Bytes> {
        let is_wanted = |name: &&Bytes| pattern.is_none_or(|p| glob::matches(p, name));
        self.table.names(kind).filter(is_wanted).cloned().collect()
    }

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
