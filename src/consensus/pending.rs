//! What this node has asked of the replicated state and not yet heard.
//!
//! Owns the batches under way, in the order of their serials, and the clients that wait for an element of a list. A
//! reply never comes over the network: it comes when this node applies the entry itself, so it cannot reach another
//! caller, and a read behind a write sees the write. Pure but for its lock. Invariant: the serials under way are
//! consecutive and end before `next`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Error;
use super::clients::Clients;
use super::losses::{Losses, Piece, Renewal};
use super::notices::{Notice, Outbox};
use super::progress::Written;
use crate::command::{Reply, Request};
use crate::ids::{NodeId, SessionId, WaitId};
use crate::keyspace::{Event, Keyspace, Outcome};

/// Where the replies of one submission go.
pub(super) type Done = oneshot::Sender<Result<Vec<Reply>, Error>>;

/// Where the reply to a wait comes out.
pub(super) type Arrival = oneshot::Receiver<Result<Vec<Reply>, Error>>;

/// Requests of one caller, with the place where their replies go.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) requests: Vec<Request>,
    pub(super) bytes: usize,
    pub(super) deadline: Instant,
    pub(super) done: Done,
}

/// One caller's share of a batch.
#[derive(Debug)]
struct Share {
    count: usize,
    deadline: Instant,
    done: Option<Done>,
}

/// One batch under way.
#[derive(Debug)]
struct Batch {
    requests: Arc<[Request]>,
    shares: Vec<Share>,
    /// Whether it was sent on the way to the leader that is open now.
    is_on_way: bool,
    /// Whether it may stand in the log of a leader that an earlier way went to.
    is_doubtful: bool,
    /// What it puts back of a lost session, if it is a batch of this node's own, which nobody waits for.
    pieces: Vec<Piece>,
}

impl Batch {
    const fn may_have_effect(&self) -> bool {
        self.is_on_way || self.is_doubtful
    }

    /// Takes the shares out whose time is up, and tells their callers that they surely had no effect.
    fn drop_late(&mut self, now: Instant) {
        let mut rest = &self.requests[..];
        let (mut requests, mut shares) = (Vec::new(), Vec::new());
        for share in std::mem::take(&mut self.shares) {
            let (own, others) = rest.split_at(share.count.min(rest.len()));
            rest = others;
            if share.deadline > now {
                requests.extend_from_slice(own);
                shares.push(share);
            } else if let Some(done) = share.done {
                // A caller that went away needs no answer.
                let _gone = done.send(Err(Error::TryAgain));
            }
        }
        (self.requests, self.shares) = (requests.into(), shares);
    }

    fn fail(&mut self, error: &Error) {
        for done in self.shares.iter_mut().filter_map(|share| share.done.take()) {
            // A caller that went away needs no answer.
            let _gone = done.send(Err(error.clone()));
        }
    }
}

/// What is to be sent for a batch.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) session: SessionId,
    pub(super) serial: u64,
    pub(super) acknowledged: u64,
    pub(super) requests: Arc<[Request]>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    session: Option<SessionId>,
    /// The session that the leader has opened, before this node has applied it.
    announced: Option<SessionId>,
    nonce: u64,
    next: u64,
    batches: VecDeque<Batch>,
    /// Clients that wait for an element.
    blocked: BTreeMap<WaitId, Done>,
    /// Where their elements come out, until the caller takes it.
    arrivals: BTreeMap<WaitId, Arrival>,
    /// The session has ended or was never known; a new one is needed.
    is_session_lost: bool,
    /// A batch came too early at the state; all must be sent again.
    is_resend_due: bool,
    /// The node is about to stop: it needs no other session.
    is_retired: bool,
    losses: Losses,
    clients: Clients,
    /// The most bytes of one batch that puts back what was lost.
    put_back_max: usize,
    notices: Outbox,
}

/// All that is under way. Shared by the writer, which fills it, and the apply task, which empties it.
#[derive(Debug)]
pub(super) struct Pending {
    inner: Mutex<Inner>,
    /// Tells the writer that something here has changed.
    pub(super) changed: Notify,
    /// What this node has written for its callers.
    pub(super) written: Written,
}

impl Inner {
    fn first(&self) -> u64 {
        self.next.saturating_sub(self.batches.len() as u64)
    }

    fn place(&self, serial: u64) -> Option<usize> {
        usize::try_from(serial.checked_sub(self.first())?).ok()
    }

    /// Starts a session: what the one before had bound and what was left over from it get the first serials.
    fn begin(&mut self, session: SessionId) {
        self.session = Some(session);
        self.losses.open(session);
        let plan = self.losses.plan(|client| self.clients.is_bound(client), self.put_back_max);
        for (request, pieces) in plan.into_iter().rev() {
            let requests = [request].into();
            let (shares, is_on_way, is_doubtful) = (Vec::new(), false, false);
            self.batches.push_front(Batch { requests, shares, is_on_way, is_doubtful, pieces });
        }
        self.tell_renewal();
        self.next = (self.batches.len() as u64).saturating_add(1);
        self.is_resend_due = !self.batches.is_empty();
    }

    /// Says what came back, once it all has.
    fn tell_renewal(&mut self) {
        let renewal = self.session.and_then(|new| Some((new, self.losses.renewal()?)));
        if let Some((new, Renewal { old, restored, lost })) = renewal {
            tracing::info!(%old, %new, restored, lost = lost.len(), "put back what was bound");
            self.notices.put(Notice::SessionRenewed { old, new, restored, lost });
        }
    }

    /// Takes note of what an entry took with its owner, and tells it.
    fn note_losses(&mut self, outcome: &mut Outcome) {
        let ended = match &outcome.event {
            Event::Expired { session, node } => Some((*session, *node)),
            Event::Opened { replaced, node, .. } => replaced.map(|session| (session, *node)),
            Event::Replied { session, serial, .. } => {
                self.losses.settle(*session, *serial);
                None
            }
            Event::Stale { .. } | Event::Gap { .. } | Event::NoSession { .. } | Event::Nothing => {
                None
            }
        };
        if let Some((session, _)) = ended {
            self.losses.gather(session, &outcome.taken);
        }
        if !outcome.taken.is_empty() {
            let is_own = ended.is_some_and(|(_, node)| node == self.node);
            self.notices.put(Notice::Taken {
                ended,
                is_own,
                taken: std::mem::take(&mut outcome.taken),
            });
        }
    }

    /// Gives each caller of the first batch its replies.
    fn complete_first(&mut self, replies: &[Reply]) {
        let Some(batch) = self.batches.pop_front() else {
            return;
        };
        if !batch.pieces.is_empty() {
            self.losses.put_back(batch.pieces, replies);
            return self.tell_renewal();
        }
        let mut rest = replies;
        for share in batch.shares {
            let (mine, others) = rest.split_at(share.count.min(rest.len()));
            rest = others;
            let Some(done) = share.done else {
                continue;
            };
            if let [Reply::Blocked(wait)] = mine {
                let (served, arrival) = oneshot::channel();
                self.blocked.insert(*wait, served);
                self.arrivals.insert(*wait, arrival);
            }
            // A caller that went away needs no answer.
            let _gone = done.send(Ok(mine.to_vec()));
        }
    }

    fn fail_first(&mut self, error: &Error) {
        if self.batches.front().is_some_and(|batch| !batch.pieces.is_empty()) {
            // It was applied; what it replied is not known any more.
            return self.complete_first(&[]);
        }
        if let Some(mut batch) = self.batches.pop_front() {
            batch.fail(error);
        }
    }
}

impl Pending {
    pub(super) fn new(
        node: NodeId,
        clients: Clients,
        put_back_max: usize,
        notices: Outbox,
    ) -> Self {
        let inner = Inner {
            node,
            session: None,
            announced: None,
            nonce: 0,
            next: 0,
            batches: VecDeque::new(),
            blocked: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            is_session_lost: false,
            is_resend_due: false,
            is_retired: false,
            losses: Losses::default(),
            clients,
            put_back_max,
            notices,
        };
        Self { inner: Mutex::new(inner), changed: Notify::new(), written: Written::default() }
    }

    /// Gives up the session, if there is one, and recognises the next by `nonce`. Callers whose batch may have had its
    /// effect are told that nobody knows; the other batches go on in the next session; waiting clients are told to wait
    /// again.
    pub(super) fn begin_session(&self, nonce: u64) {
        let mut inner = self.inner.lock();
        inner.nonce = nonce;
        let (first, lost) = (inner.first(), inner.session.take());
        if let Some(session) = lost {
            inner.losses.lose(session);
            inner.notices.put(Notice::SessionLost { session });
        }
        inner.announced = None;
        inner.is_session_lost = false;
        let batches = std::mem::take(&mut inner.batches);
        for (mut batch, serial) in batches.into_iter().zip(first..) {
            if !batch.pieces.is_empty() {
                let pieces = std::mem::take(&mut batch.pieces);
                match lost.filter(|_| batch.may_have_effect()) {
                    Some(session) => inner.losses.doubt(session, serial, pieces),
                    None => inner.losses.give_back(pieces),
                }
            } else if batch.may_have_effect() {
                batch.fail(&Error::Unknown);
            } else {
                inner.batches.push_back(batch);
            }
        }
        for done in std::mem::take(&mut inner.blocked).into_values() {
            let _gone = done.send(Err(Error::SessionLost));
        }
    }

    /// What the present session was, or the next is, opened with.
    pub(super) fn nonce(&self) -> u64 {
        self.inner.lock().nonce
    }

    /// The open session.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.inner.lock().session
    }

    /// Takes note of the session that the leader says it has opened.
    pub(super) fn announce_session(&self, nonce: u64, session: SessionId) {
        let mut inner = self.inner.lock();
        if inner.nonce == nonce {
            inner.announced = Some(session);
        }
    }

    /// The session that must be kept alive, applied here or not.
    pub(super) fn known_session(&self) -> Option<SessionId> {
        let inner = self.inner.lock();
        inner.session.or(inner.announced)
    }

    /// Where the reply to a wait comes out. Can be taken once.
    pub(super) fn take_arrival(&self, wait: WaitId) -> Option<Arrival> {
        self.inner.lock().arrivals.remove(&wait)
    }

    /// How many batches are under way.
    pub(super) fn len(&self) -> usize {
        self.inner.lock().batches.len()
    }

    /// Takes note of what the entry `index` did, in the order of the log.
    pub(super) fn settle(&self, index: u64, mut outcome: Outcome) {
        let mut inner = self.inner.lock();
        let mine = inner.session;
        inner.note_losses(&mut outcome);
        let changed = match outcome.event {
            Event::Opened { session, nonce, .. } if nonce == inner.nonce && mine.is_none() => {
                inner.begin(session);
                true
            }
            // Another start of this node has opened a session in place of this one's.
            Event::Opened { replaced, .. } if mine.is_some() && replaced == mine => {
                inner.is_session_lost = true;
                true
            }
            Event::Replied { session, serial, replies } if mine == Some(session) => {
                // An earlier serial was settled when it was first applied.
                if inner.place(serial) == Some(0) {
                    self.written.set(index);
                    inner.complete_first(&replies);
                }
                true
            }
            Event::Stale { session, serial } if mine == Some(session) => {
                if inner.place(serial) == Some(0) {
                    inner.fail_first(&Error::Unknown);
                }
                true
            }
            Event::Gap { session, .. } if mine == Some(session) => {
                inner.is_resend_due = true;
                true
            }
            Event::NoSession { session, .. } | Event::Expired { session, .. }
                if mine == Some(session) =>
            {
                inner.is_session_lost = true;
                true
            }
            Event::Opened { .. }
            | Event::Replied { .. }
            | Event::Stale { .. }
            | Event::Gap { .. }
            | Event::NoSession { .. }
            | Event::Expired { .. }
            | Event::Nothing => false,
        };
        for (wait, reply) in outcome.served {
            if let Some(done) = inner.blocked.remove(&wait) {
                self.written.set(index);
                let _gone = done.send(Ok(vec![reply]));
            }
        }
        drop(inner);
        if changed {
            self.changed.notify_one();
        }
    }

    /// Catches up with a state that came as a snapshot behind the entry `index`: what it already answers is answered, what it
    /// lost is told.
    pub(super) fn settle_snapshot(&self, index: u64, before: &Keyspace, keyspace: &Keyspace) {
        let mut inner = self.inner.lock();
        if !inner.batches.is_empty() || !inner.blocked.is_empty() {
            // Which of its entries wrote them is not known.
            self.written.set(index);
        }
        let node = inner.node;
        inner.losses.compare(node, before, keyspace);
        let nonce = inner.nonce;
        if inner.session.is_none()
            && let Some((id, _)) = keyspace.sessions().iter().find(|(_, s)| s.is_opened_by(nonce))
        {
            inner.begin(*id);
        }
        let Some(mine) = inner.session else {
            return;
        };
        match keyspace.sessions().get(&mine).filter(|session| session.is_opened_by(nonce)) {
            None => inner.is_session_lost = true,
            Some(session) => {
                while !inner.batches.is_empty() && inner.first() <= session.last_serial() {
                    match session.replies_to(inner.first()).cloned() {
                        Some(replies) => inner.complete_first(&replies),
                        None => inner.fail_first(&Error::Unknown),
                    }
                }
            }
        }
        let lost = |wait: &WaitId| !keyspace.is_waiting(*wait);
        let lost: Vec<_> = inner.blocked.keys().filter(|wait| lost(wait)).copied().collect();
        for wait in lost {
            if let Some(done) = inner.blocked.remove(&wait) {
                let session = keyspace.sessions().get(&mine);
                let served = session.and_then(|session| session.served(wait)).cloned();
                let _gone = done.send(served.map(|reply| vec![reply]).ok_or(Error::Unknown));
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Makes a batch of submissions; gives what is to be sent. There must be an open session.
    pub(super) fn add(&self, submissions: Vec<Submission>) -> Option<Outgoing> {
        let mut inner = self.inner.lock();
        let session = inner.session?;
        let mut requests = Vec::with_capacity(submissions.iter().map(|s| s.requests.len()).sum());
        let mut shares = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let Submission { requests: mut own, deadline, done, .. } = submission;
            shares.push(Share { count: own.len(), deadline, done: Some(done) });
            requests.append(&mut own);
        }
        let requests: Arc<[Request]> = requests.into();
        inner.batches.push_back(Batch {
            requests: Arc::clone(&requests),
            shares,
            is_on_way: true,
            is_doubtful: false,
            pieces: Vec::new(),
        });
        let serial = inner.next;
        inner.next = inner.next.saturating_add(1);
        let acknowledged = inner.first().saturating_sub(1);
        Some(Outgoing { session, serial, acknowledged, requests })
    }

    /// All that is under way, in order, to be sent again.
    pub(super) fn all(&self) -> Vec<Outgoing> {
        let mut inner = self.inner.lock();
        let (Some(session), first) = (inner.session, inner.first()) else {
            return Vec::new();
        };
        inner.is_resend_due = false;
        let outgoing = inner.batches.iter_mut().zip(first..).map(|(batch, serial)| {
            batch.is_on_way = true;
            Outgoing {
                session,
                serial,
                acknowledged: first.saturating_sub(1),
                requests: Arc::clone(&batch.requests),
            }
        });
        outgoing.collect()
    }

    /// The way to the leader ended. Batches that were sent on it may stand in the leader's log, but those from
    /// `refused_from` on surely do not, or stand there without effect because one before them is missing.
    pub(super) fn end_way(&self, refused_from: Option<u64>) {
        let mut inner = self.inner.lock();
        let first = inner.first();
        for (batch, serial) in inner.batches.iter_mut().zip(first..) {
            let is_refused = refused_from.is_some_and(|from| serial >= from);
            batch.is_doubtful |= batch.is_on_way && !is_refused;
            batch.is_on_way = false;
        }
    }

    /// Tells callers whose time is up. Their share of a batch that surely is in no log is taken out, so that it has no effect
    /// later; a batch that may be in one goes on as it is.
    pub(super) fn expire(&self, now: Instant) {
        let mut inner = self.inner.lock();
        let is_late = |batch: &&mut Batch| batch.shares.iter().any(|share| share.deadline <= now);
        for batch in inner.batches.iter_mut().filter(is_late) {
            if batch.may_have_effect() {
                let late = batch.shares.iter_mut().filter(|share| share.deadline <= now);
                for done in late.filter_map(|share| share.done.take()) {
                    // A caller that went away needs no answer.
                    let _gone = done.send(Err(Error::Unknown));
                }
            } else {
                batch.drop_late(now);
            }
        }
    }

    /// Takes whether all must be sent again.
    pub(super) fn take_resend(&self) -> bool {
        std::mem::take(&mut self.inner.lock().is_resend_due)
    }

    /// Notes that the leader does not know the session.
    pub(super) fn lose_session(&self, session: SessionId) {
        let mut inner = self.inner.lock();
        inner.is_session_lost |= inner.session.or(inner.announced) == Some(session);
    }

    /// Tells whether the session is gone and another is needed.
    pub(super) fn is_session_lost(&self) -> bool {
        let inner = self.inner.lock();
        inner.is_session_lost && !inner.is_retired
    }

    /// Notes that the node is about to stop: it opens no session any more.
    pub(super) fn retire(&self) {
        self.inner.lock().is_retired = true;
    }

    /// Tells whether the node is about to stop.
    pub(super) fn is_retired(&self) -> bool {
        self.inner.lock().is_retired
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::hset;
    use super::*;

    /// Asks for one write; gives where its reply comes out.
    fn submission(field: &str, deadline: Instant) -> (Submission, Arrival) {
        let (done, arrival) = oneshot::channel();
        (Submission { requests: vec![hset(field, "v")], bytes: 1, deadline, done }, arrival)
    }

    fn outcome(event: Event) -> Outcome {
        let (served, taken, notifications) = (Vec::new(), Vec::new(), Vec::new());
        Outcome { event, served, taken, notifications }
    }

    #[tokio::test(start_paused = true)]
    async fn what_surely_had_no_effect_has_none_later_and_others_of_its_batch_do() {
        let (outbox, _notices) = super::super::notices::channel();
        let node = NodeId::from_random(1);
        let pending = Pending::new(node, Clients::default(), 1 << 20, outbox);
        pending.begin_session(7);
        let (session, replaced) = (SessionId(3), None);
        pending.settle(1, outcome(Event::Opened { session, node, nonce: 7, replaced }));
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let (first, mut late) = submission("late", now);
        let (second, mut early) = submission("early", later);
        let sent = pending.add(vec![first, second]).unwrap();
        assert_eq!(sent.requests.len(), 2);
        // Refused as a whole: it is in no log.
        pending.end_way(Some(sent.serial));
        pending.expire(now);
        assert_eq!(late.try_recv().unwrap(), Err(Error::TryAgain));
        let [again] = &pending.all()[..] else { panic!("one batch") };
        assert_eq!((again.serial, &again.requests[..]), (sent.serial, &[hset("early", "v")][..]));
        // The second time it may be in a log, so that it stays as it is.
        pending.end_way(None);
        pending.expire(later);
        assert_eq!(early.try_recv().unwrap(), Err(Error::Unknown));
        assert_eq!(pending.all()[0].requests.len(), 1);
        let replies = [Reply::Integer(1)].into();
        pending.settle(2, outcome(Event::Replied { session, serial: 1, replies }));
        assert_eq!(pending.len(), 0);
    }
}
