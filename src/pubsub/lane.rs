//! This node's lane to one peer: a stream that is opened again whenever it breaks, until the peer is unlinked.
//!
//! ```text
//! link ──► Dialling ──hello sent──► Up ──broken──► pause ──► Dialling …          unlink or stop: end
//! ```
//!
//! Owns the task that writes one peer's outbox. Does not decide what goes in. Invariant: one stream at a time, one writer, so
//! that what arrives is in order; what was on a stream that broke is never sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::arrivals::Gap;
use super::datagram;
use super::effect::{self, Fault};
use super::hub::{Hub, State};
use super::interest::Event;
use super::outbox::Outbox;
use super::requests;
use super::wire::{self, Control, Frame, Hello};
use crate::ids::{FormationId, GroupId, NodeId};
use crate::transport::{self, Class, FrameReceiver, FrameSender, Peer, Purpose, Transport};

/// What streams of this room are for. Messages belong to no group and no formation.
pub(super) const PURPOSE: Purpose =
    Purpose { class: Class::Publish, group: GroupId(0), formation: FormationId::NONE };

/// How long a lane that only the peer itself has asked for is dialled in vain.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(10);
/// How long a finished lane waits until its peer has received everything.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// How this node reaches its peers.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) transport: Transport,
    pub(super) node: NodeId,
    pub(super) generation: u64,
}

/// What the tables know about a lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) outbox: Arc<Outbox>,
    pub(super) address: SocketAddr,
    /// Whether a stream is open.
    pub(super) is_up: bool,
    /// Whether the peer has let a count time out, and answered nothing since.
    pub(super) is_silent: bool,
    /// Whether the node knows the peer as a member, and not only the peer says so.
    is_confirmed: bool,
    /// How many streams were opened.
    pub(super) streams: u64,
    /// How many messages were not sent because nobody at the peer listens.
    pub(super) withheld: u64,
    /// Which stream is open, or was the last one.
    pub(super) attempt: u64,
    pub(super) number: u64,
    /// The unreliable messages to the peer, and those that came from it.
    pub(super) datagrams: Arc<datagram::Sent>,
    pub(super) track: datagram::Track,
    task: Option<JoinHandle<()>>,
}

impl Lane {
    pub(super) fn finish(&self) {
        self.outbox.finish();
    }

    pub(super) const fn take_task(&mut self) -> Option<JoinHandle<()>> {
        self.task.take()
    }
}

impl Hub {
    /// Begins a lane to a peer, or brings its address up to date; none when this node is alone or has stopped.
    pub(super) fn link(
        self: &Arc<Self>,
        peer: NodeId,
        address: SocketAddr,
        is_confirmed: bool,
    ) -> Option<Arc<Outbox>> {
        self.link_in(&mut self.state(), peer, address, is_confirmed)
    }

    /// As [`Hub::link`], with the lock held.
    pub(super) fn link_in(
        self: &Arc<Self>,
        state: &mut State,
        peer: NodeId,
        address: SocketAddr,
        is_confirmed: bool,
    ) -> Option<Arc<Outbox>> {
        let links = self.links.as_ref()?;
        if state.is_stopped || peer == links.node {
            return None;
        }
        if let Some(lane) = state.lanes.get_mut(&peer) {
            lane.address = address;
            lane.is_confirmed |= is_confirmed;
            return Some(Arc::clone(&lane.outbox));
        }
        // What was published before this lane began is number 0, all of it.
        let first = u64::from(state.has_published);
        let limit = self.config.outbox_max.as_u64();
        let outbox = Arc::new(Outbox::beginning_with(first, limit));
        let task = tokio::spawn(run(Arc::clone(self), peer, Arc::clone(&outbox)));
        let lane = Lane {
            outbox: Arc::clone(&outbox),
            address,
            is_up: false,
            is_silent: false,
            is_confirmed,
            streams: 0,
            withheld: 0,
            attempt: 0,
            number: state.next_number(),
            datagrams: Arc::default(),
            track: datagram::Track::default(),
            task: Some(task),
        };
        state.lanes.insert(peer, lane);
        state.ask(requests::Event::Linked(peer));
        Some(outbox)
    }

    /// Ends the lane to a peer.
    pub(super) fn unlink(&self, peer: NodeId) {
        self.state().unlink(peer);
    }
}

impl State {
    fn unlink(&mut self, peer: NodeId) {
        if let Some(lane) = self.lanes.remove(&peer) {
            lane.outbox.discard();
            if lane.is_confirmed && self.arrivals.get(peer).is_none() {
                // What it has published never had a way here.
                self.tell_all(peer, Some(Gap::UNKNOWN));
            }
            self.note(Event::Unpruned(peer));
            self.lost(peer);
            self.ask(requests::Event::Unlinked(peer));
        }
        self.forget(peer);
    }

    /// Nothing will be answered on the stream that was open to a peer.
    fn lost(&mut self, peer: NodeId) {
        self.counts.lost(peer);
        self.questions.lost(peer);
    }

    /// Gives the lane that `outbox` belongs to, unless another one has taken its place.
    fn lane(&mut self, peer: NodeId, outbox: &Arc<Outbox>) -> Option<&mut Lane> {
        self.lanes.get_mut(&peer).filter(|lane| Arc::ptr_eq(&lane.outbox, outbox))
    }

    /// A stream is open: gives the hello that it begins with.
    fn up(&mut self, peer: NodeId, outbox: &Arc<Outbox>, generation: u64) -> Option<Hello> {
        let attempt = self.next_number();
        let lane = self.lane(peer, outbox)?;
        lane.attempt = attempt;
        lane.is_up = true;
        lane.is_silent = false;
        lane.streams += 1;
        let hello = Hello { generation, attempt, lane: lane.number, next: outbox.first() };
        self.note(Event::Unpruned(peer));
        self.ask(requests::Event::Up { peer, attempt });
        Some(hello)
    }

    /// The stream has ended, or none could be opened since `since`. Gives whether to dial again.
    fn down(&mut self, peer: NodeId, outbox: &Arc<Outbox>, since: Instant) -> bool {
        let Some(lane) = self.lane(peer, outbox) else { return false };
        lane.is_up = false;
        let is_hopeless = !lane.is_confirmed && since.elapsed() >= UNCONFIRMED_MAX;
        if is_hopeless {
            self.unlink(peer);
        } else {
            // What is published from now on waits for the next stream, which withholds nothing.
            self.note(Event::Unpruned(peer));
            self.lost(peer);
            self.ask(requests::Event::Down(peer));
        }
        !is_hopeless && outbox.is_open()
    }
}

/// One lane from its beginning to its end.
async fn run(hub: Arc<Hub>, peer: NodeId, outbox: Arc<Outbox>) {
    let mut pause = hub.config.redial_min;
    let mut last_up = Instant::now();
    loop {
        let opened = Instant::now();
        let ended = tokio::select! {
            biased;
            ended = stream(&hub, peer, &outbox) => ended,
            () = outbox.discarded() => return,
        };
        match ended {
            Ok(()) => return,
            Err(Ended { was_up, reason }) => {
                tracing::debug!(%peer, was_up, "lane broke: {reason}");
                if was_up {
                    last_up = Instant::now();
                    if opened.elapsed() > hub.config.redial_max {
                        pause = hub.config.redial_min;
                    }
                }
            }
        }
        if !hub.state().down(peer, &outbox, last_up) {
            return;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = outbox.ended() => return,
        }
        pause = pause.saturating_mul(2).min(hub.config.redial_max);
    }
}

/// Why a stream ended.
struct Ended {
    was_up: bool,
    reason: transport::Error,
}

/// One stream of a lane. Gives `Ok` when the lane has nothing more to send.
async fn stream(hub: &Arc<Hub>, peer: NodeId, outbox: &Arc<Outbox>) -> Result<(), Ended> {
    let down = |reason| Ended { was_up: false, reason };
    let Some(links) = &hub.links else { return Ok(()) };
    let Some(address) = hub.state().lane(peer, outbox).map(|lane| lane.address) else {
        return Ok(());
    };
    let target = Peer { id: Some(peer), address };
    let (mut sender, mut receiver, _) =
        links.transport.open(&target, PURPOSE).await.map_err(down)?;
    let Some(hello) = hub.state().up(peer, outbox, links.generation) else { return Ok(()) };
    let ended = tokio::select! {
        biased;
        ended = write(&mut sender, hello, outbox) => ended,
        reason = read(&mut receiver, hub, peer, outbox) => Err(reason),
    };
    ended.map_err(|reason| Ended { was_up: true, reason })
}

/// Writes the outbox until it ends.
async fn write(
    sender: &mut FrameSender,
    hello: Hello,
    outbox: &Outbox,
) -> Result<(), transport::Error> {
    sender.send(wire::control(&Control::Hello(hello))).await?;
    while let Some(mut frames) = outbox.take().await {
        sender.send_all(&mut frames).await?;
    }
    if outbox.is_discarded() {
        // A clean end would say that nothing is missing.
        return Ok(());
    }
    sender.finish();
    // A peer that takes longer is not waited for.
    let _late = timeout(FINISH_MAX, sender.stopped()).await;
    Ok(())
}

/// Reads the peer's answers until the stream ends.
async fn read(
    receiver: &mut FrameReceiver,
    hub: &Hub,
    peer: NodeId,
    outbox: &Arc<Outbox>,
) -> transport::Error {
    loop {
        let frame = match receiver.receive().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return transport::Error::Malformed { what: "end of a lane's answers" },
            Err(error) => return error,
        };
        let taken = match wire::decode(frame) {
            Ok(Frame::Control(control)) => hub.answered(peer, outbox, control),
            Ok(Frame::Reply(reply)) => {
                hub.state().take_reply(peer, reply);
                Ok(())
            }
            Ok(Frame::Message(_) | Frame::Request(_)) => Err(Fault::Misplaced),
            Err(error) => {
                tracing::warn!(%peer, "broke the lane: {error}");
                return transport::Error::Malformed { what: "answer on a lane" };
            }
        };
        if let Err(fault) = taken {
            tracing::warn!(%peer, "broke the lane: {fault}");
            return transport::Error::Malformed { what: "answer on a lane" };
        }
    }
}

impl Hub {
    /// Takes in what a peer answers on the stream of a lane.
    fn answered(&self, peer: NodeId, outbox: &Arc<Outbox>, control: Control) -> Result<(), Fault> {
        let limit = self.config.name_limit();
        let mut state = self.state();
        let Some(lane) = state.lane(peer, outbox) else { return Ok(()) };
        lane.is_silent = false;
        match control {
            Control::Counts(counts) => {
                for (id, count) in counts {
                    let add = |sum: &mut u64| *sum = sum.saturating_add(count);
                    state.counts.answered(id, peer, true, add);
                }
            }
            Control::Answer { id, answer, is_last } => {
                state.questions.answered(id, peer, is_last, |answers| answers.push(answer));
            }
            Control::Prune { names } => {
                effect::check(&names, limit)?;
                state.note(Event::Pruned { peer, names });
            }
            Control::Graft { id, names } => {
                effect::check(&names, limit)?;
                let actions = state.interest.handle(Event::GraftAsked { peer, id, names: &names });
                state.carry_out(actions)?;
            }
            Control::Sought { id, is_here } => {
                state.ask(requests::Event::Sought { peer, id, is_here });
            }
            Control::Refused { id, refusal } => state.take_refusal(peer, id, refusal),
            Control::Hello(_)
            | Control::Run { .. }
            | Control::Attach { .. }
            | Control::Attached { .. }
            | Control::Grafted { .. }
            | Control::Query { .. }
            | Control::Seek { .. } => return Err(Fault::Misplaced),
        }
        Ok(())
    }
}
