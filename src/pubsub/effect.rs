//! What prunes and grafts come to: frames on the streams, subscriptions that wait, and the news that something may be missing.
//!
//! Owns the step from the interest table's actions to the rest of the tables. Does not decide. Invariant: what must not be
//! missing on a stream, a graft or its acknowledgement, is put on it or breaks it.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use super::arrivals::{End, Gap, StreamId};
use super::hub::{Hub, State};
use super::interest::{Action, Event, Name, Ticket};
use super::outbox::Outbox;
use super::table::SubscriberId;
use super::wire::{self, Control, Hello};
use super::{Cause, Kind};
use crate::ids::NodeId;

/// The way back of the stream that is heard from one publisher.
#[derive(Debug)]
pub(super) struct WayBack {
    pub(super) answers: Arc<Outbox>,
    /// Told when a graft is under way.
    pub(super) grafting: Notify,
}

impl WayBack {
    /// Makes one in which `room` bytes of answers may wait.
    pub(super) fn new(room: u64) -> Self {
        Self { answers: Arc::new(Outbox::new(room)), grafting: Notify::new() }
    }
}

/// What a peer has said and must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a frame that a listener does not send here")]
    Misplaced,
    #[error("{found} names in one frame exceed the limit of {}", wire::NAMES_MAX)]
    Names { found: usize },
    #[error("name of {size} bytes in a prune or graft exceeds name_max of {limit} bytes")]
    NameTooLong { size: u64, limit: u64 },
    #[error("a pattern in a prune or graft")]
    Pattern,
    #[error("acknowledgement of graft {0}, which is not under way")]
    UnknownGraft(u64),
    #[error("no room for an acknowledgement")]
    NoRoom,
}

/// Judges the names that a peer has sent.
pub(super) fn check(names: &[Name], limit: u64) -> Result<(), Fault> {
    if names.len() > wire::NAMES_MAX {
        return Err(Fault::Names { found: names.len() });
    }
    for (kind, channel) in names {
        let size = channel.len() as u64;
        match kind {
            Kind::Pattern => return Err(Fault::Pattern),
            Kind::Channel | Kind::Sharded if size > limit => {
                return Err(Fault::NameTooLong { size, limit });
            }
            Kind::Channel | Kind::Sharded => {}
        }
    }
    Ok(())
}

impl State {
    /// Carries out what the interest table has decided. Gives what is for the caller: the ticket of a subscription, and the names
    /// that are to be pruned on the stream that it reads.
    pub(super) fn carry_out(&mut self, actions: Vec<Action>) -> Result<Outcome, Fault> {
        let mut outcome = Outcome::default();
        for action in actions {
            match action {
                Action::Acknowledge { peer, id } => self.acknowledge(peer, id)?,
                Action::Prune { name, .. } => outcome.prunes.push(name),
                Action::Graft { publisher, id, names } => self.graft(publisher, id, names),
                Action::Wait(ticket) => outcome.ticket = Some(ticket),
                Action::Resolved(ticket) => {
                    if let Some(done) = self.waiting.remove(&ticket) {
                        // The waiter may have gone.
                        let _gone = done.send(());
                    }
                }
                Action::Tell { subscriber, publisher } => {
                    if let Some(listener) = self.table.listener(subscriber) {
                        listener.queue.lost(Cause::Link { publisher }, None);
                    }
                }
                Action::Refuse { id, .. } => return Err(Fault::UnknownGraft(id)),
            }
        }
        Ok(outcome)
    }

    fn acknowledge(&self, peer: NodeId, id: u64) -> Result<(), Fault> {
        let lane = self.lanes.get(&peer).ok_or(Fault::NoRoom)?;
        let control = Control::Grafted { attempt: lane.attempt, id };
        if lane.outbox.push_urgent(&control) { Ok(()) } else { Err(Fault::NoRoom) }
    }

    fn graft(&self, publisher: NodeId, id: u64, names: Vec<Name>) {
        let Some(way_back) = self.ways_back.get(&publisher) else { return };
        if way_back.answers.push_control(&Control::Graft { id, names }) {
            way_back.grafting.notify_one();
        } else {
            // The stream ends, and with it the wait.
            way_back.answers.discard();
        }
    }

    /// Takes in what happened to the interest, where nobody is to blame and nothing is left to the caller.
    pub(super) fn note(&mut self, event: Event<'_>) {
        let actions = self.interest.handle(event);
        // Such events neither acknowledge nor refuse anything.
        let _outcome = self.carry_out(actions);
    }

    /// Tells every subscriber that messages from a publisher are missing.
    pub(super) fn tell_all(&self, publisher: NodeId, gap: Option<Gap>) {
        let Some(Gap { count }) = gap else { return };
        let cause = Cause::Link { publisher };
        self.table.listening().for_each(|listener| listener.queue.lost(cause, count));
    }

    /// Begins to hear a stream.
    pub(super) fn open(
        &mut self,
        publisher: NodeId,
        hello: Hello,
        way_back: &Arc<WayBack>,
    ) -> Result<StreamId, End> {
        let (stream, gap) = self.arrivals.open(publisher, hello)?;
        self.ways_back.insert(publisher, Arc::clone(way_back));
        self.tell_all(publisher, gap);
        self.note(Event::Opened(publisher));
        Ok(stream)
    }

    /// Notes that a stream has ended.
    pub(super) fn close(&mut self, publisher: NodeId, stream: StreamId, is_clean: bool) {
        if self.arrivals.check(publisher, stream).is_err() {
            return;
        }
        self.ways_back.remove(&publisher);
        self.note(Event::Closed { publisher, is_clean });
        self.arrivals.close(publisher, stream, is_clean);
        if !self.lanes.contains_key(&publisher) {
            self.forget(publisher);
        }
    }

    /// Forgets a peer that has no lane any more, unless its stream is still heard.
    pub(super) fn forget(&mut self, publisher: NodeId) {
        let gap = self.arrivals.forget(publisher);
        self.tell_all(publisher, gap);
        self.note(Event::Forgotten(publisher));
    }

    /// Tells every subscriber that publishers may have come and gone of which nobody here knows.
    pub(super) fn tell_of_strangers(&self) {
        self.table.listening().for_each(|listener| listener.queue.lost(Cause::Links, None));
    }

    /// Takes in a subscription that has just been put into the table; gives what it has to wait for.
    pub(super) fn subscribed(
        &mut self,
        subscriber: SubscriberId,
        kind: Kind,
        name: &[u8],
    ) -> Option<(Ticket, oneshot::Receiver<()>)> {
        if self.is_stopped {
            return None;
        }
        let actions = self.interest.handle(Event::Subscribed { subscriber, kind, name });
        let ticket = self.carry_out(actions).ok()?.ticket?;
        let (done_tx, done) = oneshot::channel();
        self.waiting.insert(ticket, done_tx);
        Some((ticket, done))
    }

    /// Takes in a message that reached nobody; adds what is to be pruned at its publisher to `prunes`, which are to be said under
    /// the same lock.
    pub(super) fn unwanted(
        &mut self,
        publisher: NodeId,
        kind: Kind,
        channel: &[u8],
        prunes: &mut Vec<Name>,
    ) {
        if self.is_wanted(kind, channel) {
            return;
        }
        let actions = self.interest.handle(Event::Unwanted { publisher, kind, channel });
        if actions.iter().any(|action| matches!(action, Action::Graft { .. })) {
            // What is to be grafted may be among them: said behind its graft, a prune would hold though nobody notes it.
            self.prune(publisher, std::mem::take(prunes));
        }
        // Such an event neither acknowledges nor refuses anything.
        let outcome = self.carry_out(actions).unwrap_or_default();
        prunes.extend(outcome.prunes);
    }

    /// Says to a publisher what nobody here listens to. To be called under the lock in which that was found, so that no graft
    /// overtakes it.
    pub(super) fn prune(&self, publisher: NodeId, names: Vec<Name>) {
        if !names.is_empty()
            && let Some(way_back) = self.ways_back.get(&publisher)
        {
            // One that has no room leaves the publisher sending.
            let _full = way_back.answers.push_control(&Control::Prune { names });
        }
    }

    /// Tells whether somebody here listens to a channel.
    fn is_wanted(&self, kind: Kind, channel: &[u8]) -> bool {
        let mut is_wanted = false;
        self.table.matching(kind, channel, |_| is_wanted = true);
        is_wanted
    }
}

/// What is left to the caller of [`State::carry_out`].
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) ticket: Option<Ticket>,
    pub(super) prunes: Vec<Name>,
}

/// The wait until a subscription is in effect. Dropped, it is not waited for any more.
#[derive(Debug)]
pub(super) struct Effect {
    hub: Arc<Hub>,
    ticket: Ticket,
    done: oneshot::Receiver<()>,
}

impl Effect {
    pub(super) fn new(hub: &Arc<Hub>, (ticket, done): (Ticket, oneshot::Receiver<()>)) -> Self {
        Self { hub: Arc::clone(hub), ticket, done }
    }

    /// Waits for it.
    pub(super) async fn wait(&mut self) {
        // The sender is dropped when this node stops, and then nothing is to be waited for.
        let _stopped = (&mut self.done).await;
    }
}

impl Drop for Effect {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if state.waiting.remove(&self.ticket).is_some() {
            state.note(Event::GivenUp(self.ticket));
        }
    }
}
