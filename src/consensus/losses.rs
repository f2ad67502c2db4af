//! What this process had bound and lost with its session, until it is back.
//!
//! Owns the pieces between the end of one session and the first batches of the next, and which of them came back. Pure; does
//! not send anything: `pending.rs` does. Invariant: a piece is put back at most once, and only where nothing is by
//! then: a counter's share is added again only if the end of a session has taken it away.

use std::collections::BTreeSet;

use crate::codec;
use crate::command::entry::Binding;
use crate::command::expire::Expiry;
use crate::command::string::{Condition, Lifetime};
use crate::command::{
    Command, CounterCommand, HashCommand, Operation, Reply, Request, SetCommand, StringCommand,
};
use crate::ids::{NodeId, SessionId};
use crate::keyspace::{Keyspace, Owner, Taken, TakenWhat};

/// A piece of bound state, and the client it was bound to; 0 for the node itself.
pub(super) type Piece = (u64, Taken);

/// What came back with another session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    /// The session that was lost, the first one if several were before all was back.
    pub(super) old: SessionId,
    pub(super) restored: usize,
    pub(super) lost: Vec<Taken>,
}

/// What is lost and not yet back.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Sessions of this process whose end has not been applied here.
    own: BTreeSet<SessionId>,
    first: Option<SessionId>,
    taken: Vec<Piece>,
    /// Pieces that were sent in a session that has ended since, by its serial; nobody knows yet whether they were put back.
    doubtful: Vec<(SessionId, u64, Vec<Piece>)>,
    under_way: usize,
    restored: usize,
    lost: Vec<Taken>,
}

impl Losses {
    /// Notes a session of this process.
    pub(super) fn open(&mut self, session: SessionId) {
        self.own.insert(session);
    }

    /// Notes that a session of this process is lost.
    pub(super) fn lose(&mut self, session: SessionId) {
        self.first.get_or_insert(session);
    }

    /// Takes note of what the end of a session took, if it was one of this process.
    pub(super) fn gather(&mut self, session: SessionId, taken: &[(Owner, Vec<Taken>)]) {
        if !self.own.remove(&session) {
            return;
        }
        for (owner, taken) in taken.iter().filter(|(owner, _)| owner.session == session) {
            self.taken.extend(taken.iter().map(|piece| (owner.client, piece.clone())));
        }
    }

    /// Takes note of the sessions of this process that ended between two states, and of what the later state tells of
    /// what was sent. In the state of another formation a session of the same number may be of another node.
    pub(super) fn compare(&mut self, node: NodeId, before: &Keyspace, now: &Keyspace) {
        let open = |session: &SessionId| now.sessions().get(session).filter(|s| s.node == node);
        let ended = |session: &SessionId| open(session).is_none();
        let ended: Vec<_> = self.own.iter().copied().filter(ended).collect();
        for session in ended {
            self.gather(session, &before.bound_by(session));
        }
        self.doubtful.retain(|(session, serial, _)| {
            open(session).is_none_or(|open| open.last_serial() < *serial)
        });
    }

    /// Takes back pieces that were sent under `serial` of a session that is lost.
    pub(super) fn doubt(&mut self, session: SessionId, serial: u64, pieces: Vec<Piece>) {
        self.doubtful.push((session, serial, pieces));
    }

    /// Takes back pieces that surely were not put back.
    pub(super) fn give_back(&mut self, pieces: Vec<Piece>) {
        self.taken.extend(pieces);
    }

    /// Notes that a batch of a lost session was applied: what it put back is part of the state, and of what its end takes.
    pub(super) fn settle(&mut self, session: SessionId, serial: u64) {
        if !self.doubtful.is_empty() {
            self.doubtful.retain(|(of, at, _)| (*of, *at) != (session, serial));
        }
    }

    /// Gives what puts everything back that is bound to this node or to clients that `is_there`: transactions of at most
    /// `bytes_max`, unless one piece alone is larger.
    pub(super) fn plan(
        &mut self,
        is_there: impl Fn(u64) -> bool,
        bytes_max: usize,
    ) -> Vec<(Request, Vec<Piece>)> {
        let mut pieces = std::mem::take(&mut self.taken);
        for (_, _, doubtful) in std::mem::take(&mut self.doubtful) {
            pieces.extend(doubtful);
        }
        pieces.retain(|(client, _)| *client == 0 || is_there(*client));
        let mut plan: Vec<(Vec<Operation>, Vec<Piece>)> = Vec::new();
        let mut bytes = 0usize;
        for (client, piece) in pieces {
            let operation = put_back(client, &piece);
            bytes = bytes.saturating_add(codec::size_of(&operation));
            match plan.last_mut().filter(|_| bytes <= bytes_max) {
                Some((operations, pieces)) => {
                    operations.push(operation);
                    pieces.push((client, piece));
                }
                None => {
                    bytes = codec::size_of(&operation);
                    plan.push((vec![operation], vec![(client, piece)]));
                }
            }
        }
        self.under_way = plan.len();
        self.restored = 0;
        let transaction = |operations| Request::Transaction { watched: Vec::new(), operations };
        plan.into_iter().map(|(operations, pieces)| (transaction(operations), pieces)).collect()
    }

    /// Takes note of the replies to one of the transactions; none are known of one that was answered long ago.
    pub(super) fn put_back(&mut self, pieces: Vec<Piece>, replies: &[Reply]) {
        self.under_way = self.under_way.saturating_sub(1);
        let replies = match replies {
            [Reply::Array(replies)] => replies.as_slice(),
            _ => &[],
        };
        for (at, (_, piece)) in pieces.into_iter().enumerate() {
            if replies.get(at).is_none_or(|reply| is_back(&piece.what, reply)) {
                self.restored = self.restored.saturating_add(1);
            } else {
                self.lost.push(piece);
            }
        }
    }

    /// Gives what came back, once, when a session was lost and nothing of it is under way any more.
    pub(super) fn renewal(&mut self) -> Option<Renewal> {
        if self.under_way > 0 {
            return None;
        }
        let old = self.first.take()?;
        let restored = std::mem::take(&mut self.restored);
        Some(Renewal { old, restored, lost: std::mem::take(&mut self.lost) })
    }
}

/// Makes the operation that puts a piece back, if there is nothing in its place.
fn put_back(client: u64, piece: &Taken) -> Operation {
    let key = piece.key.clone();
    let command = match &piece.what {
        TakenWhat::Key { value, deadline } => {
            let at = deadline.map(|at| i64::try_from(at.as_millis()).unwrap_or(i64::MAX));
            let lifetime = at.map_or(Lifetime::Endless, |at| Lifetime::Until(Expiry::At(at)));
            let (value, condition) = (value.clone(), Condition::Missing);
            let set = StringCommand::Set { key, value, condition, lifetime, reply_old: false };
            Command::String(set)
        }
        TakenWhat::Field { field, value } => {
            let (field, value) = (field.clone(), value.clone());
            Command::Hash(HashCommand::SetIfAbsent { key, field, value })
        }
        TakenWhat::Member { member } => {
            Command::Set(SetCommand::Add { key, members: vec![member.clone()] })
        }
        TakenWhat::Share { amount } => {
            Command::Counter(CounterCommand::Add { key, amount: *amount })
        }
        TakenWhat::FieldShare { field, amount } => {
            let (field, increment) = (field.clone(), *amount);
            Command::Hash(HashCommand::Increment { key, field, increment })
        }
    };
    let binding = if client == 0 { Binding::Node } else { Binding::Client(client) };
    Operation { database: piece.database, binding, command }
}

/// Reads from the reply to the operation whether the piece is back.
fn is_back(what: &TakenWhat, reply: &Reply) -> bool {
    match what {
        TakenWhat::Key { .. } => *reply == Reply::Ok,
        TakenWhat::Field { .. } => *reply == Reply::Integer(1),
        // A member that is there, whoever holds it besides, is held again; a sum is as it was.
        TakenWhat::Member { .. } | TakenWhat::Share { .. } | TakenWhat::FieldShare { .. } => {
            matches!(reply, Reply::Integer(_))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Left, Limits};
    use crate::time::Timestamp;

    const OLD: SessionId = SessionId(5);
    const NEW: SessionId = SessionId(9);

    fn taken(key: &str, what: TakenWhat) -> Taken {
        Taken { database: 0, key: key.to_owned().into(), what, left: Left::Nothing }
    }

    fn field(field: &str) -> TakenWhat {
        TakenWhat::Field { field: field.to_owned().into(), value: "mine".into() }
    }

    /// Everything that can be bound, to the node and to clients 1 and 2.
    fn losses() -> Losses {
        let mut losses = Losses::default();
        losses.open(OLD);
        let owner = |client| Owner { session: OLD, client };
        let key = TakenWhat::Key { value: "mine".into(), deadline: None };
        let until =
            TakenWhat::Key { value: "mine".into(), deadline: Some(Timestamp::from_millis(99)) };
        let share = TakenWhat::FieldShare { field: "f".into(), amount: 3 };
        let all = [
            (owner(0), vec![taken("k", key), taken("until", until), taken("h", field("a"))]),
            (owner(1), vec![taken("s", TakenWhat::Member { member: "m".into() })]),
            (owner(2), vec![taken("n", TakenWhat::Share { amount: -2 }), taken("c", share)]),
        ];
        losses.lose(OLD);
        losses.gather(OLD, &all);
        losses
    }

    fn run(keyspace: &mut Keyspace, words: &str) -> Reply {
        let words: Vec<_> = words.split(' ').map(|word| word.to_owned().into()).collect();
        let request = Request::One(Operation::new(0, Command::parse(&words).unwrap()));
        keyspace.apply_request(Timestamp::from_millis(1), &request)
    }

    /// Applies a plan as the state does.
    fn apply(losses: &mut Losses, keyspace: &mut Keyspace, bytes_max: usize) -> usize {
        let plan = losses.plan(|client| client == 2, bytes_max);
        let count = plan.len();
        for (request, pieces) in plan {
            assert_eq!(losses.renewal(), None, "not yet");
            let reply = keyspace.apply_request(Timestamp::from_millis(1), &request);
            losses.put_back(pieces, &[reply]);
        }
        count
    }

    #[test]
    fn what_is_absent_comes_back_and_what_is_taken_stays() {
        let mut keyspace = Keyspace::new(Limits::default());
        for words in ["SET k theirs", "HSET h b theirs", "RPUSH c 1", "SET n 10"] {
            run(&mut keyspace, words);
        }
        let mut losses = losses();
        assert_eq!(apply(&mut losses, &mut keyspace, usize::MAX), 1);
        let renewal = losses.renewal().unwrap();
        let lost: Vec<_> = renewal.lost.iter().map(|piece| piece.key.clone()).collect();
        assert_eq!((renewal.old, renewal.restored, lost), (OLD, 3, vec!["k".into(), "c".into()]));
        for (words, expected) in [
            ("GET k", Reply::Bulk("theirs".into())),
            ("GET until", Reply::Bulk("mine".into())),
            ("PEXPIRETIME until", Reply::Integer(99)),
            ("HGET h a", Reply::Bulk("mine".into())),
            ("GET n", Reply::Bulk("8".into())),
            ("EXISTS s", Reply::Integer(0)),
        ] {
            assert_eq!(run(&mut keyspace, words), expected, "{words}; client 1 has ended");
        }
        assert_eq!(losses.renewal(), None, "told once");
    }

    #[test]
    fn a_plan_is_split_below_the_limit() {
        let mut keyspace = Keyspace::new(Limits::default());
        let mut losses = losses();
        assert_eq!(apply(&mut losses, &mut keyspace, 1), 5, "one piece each");
        assert_eq!(losses.renewal().map(|renewal| renewal.restored), Some(5));
    }

    #[test]
    fn a_loss_of_nothing_is_told_too_and_a_first_session_is_not() {
        let mut losses = Losses::default();
        losses.open(OLD);
        assert!(losses.plan(|_| true, usize::MAX).is_empty());
        assert_eq!(losses.renewal(), None);
        losses.lose(OLD);
        assert!(losses.plan(|_| true, usize::MAX).is_empty());
        let renewal = losses.renewal().unwrap();
        assert_eq!((renewal.restored, renewal.lost.len()), (0, 0));
    }

    #[test]
    fn a_share_that_was_put_back_before_the_next_loss_counts_once() {
        let share = |amount| taken("n", TakenWhat::Share { amount });
        let owner = Owner { session: NEW, client: 0 };
        for was_applied in [true, false] {
            let mut losses = Losses::default();
            losses.open(OLD);
            losses.lose(OLD);
            losses.gather(OLD, &[(Owner { session: OLD, client: 0 }, vec![share(2)])]);
            let (_, pieces) = losses.plan(|_| true, usize::MAX).remove(0);
            // The next session is lost before this node has seen what became of the first batch.
            losses.open(NEW);
            losses.lose(NEW);
            losses.doubt(NEW, 1, pieces);
            let mut taken = Vec::new();
            if was_applied {
                losses.settle(NEW, 1);
                taken.push((owner, vec![share(2)]));
            }
            losses.gather(NEW, &taken);
            let plan = losses.plan(|_| true, usize::MAX);
            let pieces: Vec<_> = plan.iter().flat_map(|(_, pieces)| pieces.clone()).collect();
            assert_eq!(pieces, [(0, share(2))], "applied: {was_applied}");
            losses.put_back(pieces, &[Reply::Array(vec![Reply::Integer(2)])]);
            assert_eq!(
                losses.renewal().map(|renewal| (renewal.old, renewal.restored)),
                Some((OLD, 1))
            );
        }
    }

    #[test]
    fn the_end_of_another_process_or_of_a_client_is_no_loss() {
        let mut losses = Losses::default();
        losses.open(OLD);
        let other = Owner { session: NEW, client: 0 };
        losses.gather(NEW, &[(other, vec![taken("h", field("a"))])]);
        assert!(losses.plan(|_| true, usize::MAX).is_empty());
    }
}
