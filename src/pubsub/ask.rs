//! Questions to the whole cluster, and the request for a member's lane.
//!
//! Owns the waiting for peers' answers. Does not answer peers. Invariant: no question outlives its deadline, and one that
//! is dropped leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::gather::Gathered;
use super::hub::Hub;
use super::outbox::Outbox;
use super::wire::{self, Answer, Control, Question};
use super::{Error, Kind, Reach};
use crate::command::glob::Glob;
use crate::ids::NodeId;

/// How long after a member was asked for its lane it is asked again.
const ATTACH_AGAIN: Duration = Duration::from_millis(250);

impl Hub {
    /// Gives the names that somebody in the cluster listens to, in order.
    pub(super) async fn names(
        self: &Arc<Self>,
        kind: Kind,
        pattern: Option<Bytes>,
    ) -> BTreeSet<Bytes> {
        // A pattern too long for a frame is applied here alone.
        let asked = pattern.clone().filter(|pattern| pattern.len() <= wire::PIECE_MAX);
        let answers = self.ask(Question::Names { kind, pattern: asked }).await;
        let mut names = BTreeSet::new();
        for answer in answers.sum {
            if let Answer::Names(more) = answer {
                names.extend(more);
            }
        }
        if let Some(pattern) = pattern.filter(|pattern| pattern.len() > wire::PIECE_MAX) {
            let glob = Glob::new(&pattern);
            names.retain(|name| glob.matches(name));
        }
        names
    }

    /// Gives how many subscribers in the cluster listen to each channel.
    pub(super) async fn subscriber_counts(
        self: &Arc<Self>,
        kind: Kind,
        channels: Vec<Bytes>,
    ) -> Vec<Reach> {
        let limit = self.config.name_limit();
        // Nobody listens to a name that is too long, and a name asked twice is counted once.
        let names = channels.iter().filter(|name| name.len() as u64 <= limit).cloned();
        let names: BTreeSet<Bytes> = names.collect();
        let (mut counts, mut is_whole) = (BTreeMap::<Bytes, u64>::new(), true);
        for piece in wire::pieces(names.into_iter().collect(), Bytes::len) {
            let answers = self.ask(Question::Counts { kind, channels: piece.clone() }).await;
            is_whole &= answers.is_whole;
            for answer in answers.sum {
                let Answer::Counts(more) = answer else { continue };
                for (name, count) in piece.iter().zip(more) {
                    let sum = counts.entry(name.clone()).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
        }
        let count = |name| counts.get(name).copied().unwrap_or(0);
        channels.iter().map(|name| Reach { count: count(name), is_whole }).collect()
    }

    /// Asks this node and every peer whose lane is up, and gives the answers that came in time.
    async fn ask(self: &Arc<Self>, question: Question) -> Gathered<Vec<Answer>> {
        let deadline = Instant::now() + self.config.count_timeout;
        let mut own = Vec::new();
        let take = |answer, _| {
            own.push(answer);
            true
        };
        self.answer(&question, take).await;
        let mut asking = self.begin_asking(question, own);
        match timeout_at(deadline, &mut asking.answers).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(_)) | Err(_) => asking.give_up(),
        }
    }

    /// Asks the peers; `own` is what this node answers.
    fn begin_asking(self: &Arc<Self>, question: Question, own: Vec<Answer>) -> Asking {
        let mut state = self.state();
        let id = state.questions.next_id();
        let query = Control::Query { id, question };
        let (mut asked, mut is_whole) = (BTreeSet::new(), true);
        for (peer, lane) in &state.lanes {
            if lane.is_up && lane.outbox.push_control(&query) {
                asked.insert(*peer);
            } else {
                is_whole = false;
            }
        }
        let answers = state.questions.begin(id, Gathered { sum: own, is_whole }, asked);
        Asking { hub: Arc::clone(self), id, answers }
    }

    /// Makes sure that everything published on `peer` from now on reaches this node.
    pub(super) async fn attach(
        self: &Arc<Self>,
        peer: NodeId,
        address: SocketAddr,
    ) -> Result<(), Error> {
        let outbox = self.link(peer, address, true).ok_or(Error::Closed)?;
        let waited = self.config.attach_timeout;
        let deadline = Instant::now() + waited;
        let mut attaching = self.begin_attaching(peer);
        while outbox.is_open() && Instant::now() < deadline {
            if attaching.ask(&outbox, deadline).await {
                return Ok(());
            }
        }
        Err(Error::NotAttached { peer, waited })
    }

    fn begin_attaching(self: &Arc<Self>, peer: NodeId) -> Attaching {
        let (done_tx, done) = oneshot::channel();
        let mut state = self.state();
        let id = state.next_number();
        state.attaching.insert(id, (peer, done_tx));
        Attaching { hub: Arc::clone(self), id, done }
    }
}

/// A question under way. Dropped, it is not waited for any more.
struct Asking {
    hub: Arc<Hub>,
    id: u64,
    answers: oneshot::Receiver<Gathered<Vec<Answer>>>,
}

impl Asking {
    /// Gives what has come so far.
    fn give_up(&mut self) -> Gathered<Vec<Answer>> {
        let given_up = self.hub.state().questions.give_up(self.id);
        let answers = given_up.map(|(sum, _)| Gathered { sum, is_whole: false });
        // Between the deadline and the lock they may have come after all.
        let answers = answers.or_else(|| self.answers.try_recv().ok());
        answers.unwrap_or(Gathered { sum: Vec::new(), is_whole: false })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // None when it has ended already.
        let _given_up = self.hub.state().questions.give_up(self.id);
    }
}

/// A request for a member's lane. Dropped, it is forgotten.
struct Attaching {
    hub: Arc<Hub>,
    id: u64,
    done: oneshot::Receiver<()>,
}

impl Attaching {
    /// Asks once for the peer's lane; gives whether it came up before it is time to ask again.
    async fn ask(&mut self, outbox: &Outbox, deadline: Instant) -> bool {
        // When the outbox is full there is still the next time.
        let _full = outbox.push_control(&Control::Attach { id: self.id });
        let again = deadline.min(Instant::now() + ATTACH_AGAIN);
        tokio::select! {
            biased;
            outcome = &mut self.done => outcome.is_ok(),
            () = tokio::time::sleep_until(again) => false,
            () = outbox.ended() => false,
        }
    }
}

impl Drop for Attaching {
    fn drop(&mut self) {
        self.hub.state().attaching.remove(&self.id);
    }
}
