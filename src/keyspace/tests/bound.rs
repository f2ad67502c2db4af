//! Tests of bound state: what goes with its owner, what stays, and who is told.
//!
//! Owns hand-made histories; random ones against a plain model stand in `bound_model.rs`. Invariant: each test makes its own
//! keyspace.

use bytes::Bytes;

use super::property::check_invariants;
use super::snapshot::{chunks, restore};
use crate::command::bound::Exchange;
use crate::command::entry::Binding;
use crate::command::{Action, BoundCommand, Command, Entry, Operation, Reply, Request, Watched};
use crate::ids::{NodeId, Placement, SessionId};
use crate::keyspace::script::{show, words};
use crate::keyspace::{Event, Keyspace, Left, Limits, Outcome, Owner, Taken, TakenWhat};
use crate::time::Timestamp;

/// A keyspace behind a log, with sessions.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) keyspace: Keyspace,
    pub(super) at: u64,
    index: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { keyspace: Keyspace::new(Limits::default()), at: 1_000_000, index: 0 }
    }

    pub(super) fn append(&mut self, action: Action) -> Outcome {
        self.index += 1;
        let at = Timestamp::from_millis(self.at);
        let outcome = self.keyspace.apply(self.index, &Entry { at, action });
        check_invariants(&self.keyspace);
        outcome
    }

    /// Opens a session of a node.
    pub(super) fn open(&mut self, node: u64) -> SessionId {
        let placement = Placement::new(format!("n{node}"), "127.0.0.1:7380".parse().unwrap());
        let (node, nonce) = (NodeId::from_random(node), self.index + 77);
        let Event::Opened { session, .. } =
            self.append(Action::Open { nonce, node, placement }).event
        else {
            panic!("it opens")
        };
        session
    }

    pub(super) fn submit(&mut self, session: SessionId, requests: Vec<Request>) -> Outcome {
        let serial = self.keyspace.sessions()[&session].last_serial() + 1;
        let acknowledged = serial - 1;
        let requests = requests.into();
        self.append(Action::Batch { session, serial, acknowledged, requests })
    }

    /// One request of a session to a database.
    pub(super) fn ask(
        &mut self,
        session: SessionId,
        binding: Binding,
        database: u8,
        line: &str,
    ) -> Reply {
        let command = Command::parse(&words(line)).unwrap();
        let operation = Operation { database, binding, command };
        let Event::Replied { replies, .. } =
            self.submit(session, vec![Request::One(operation)]).event
        else {
            panic!("{line}: it is answered")
        };
        replies[0].clone()
    }

    /// Requests of a session to database 0, with the replies that they must have.
    #[track_caller]
    fn expect(&mut self, session: SessionId, binding: Binding, exchanges: &[(&str, &str)]) {
        for (line, expected) in exchanges {
            assert_eq!(show(&self.ask(session, binding, 0, line)), *expected, "{line}");
        }
    }

    pub(super) fn release(&mut self, session: SessionId, client: u64) -> Outcome {
        let command = Command::Bound(BoundCommand::Release { client });
        self.submit(session, vec![Request::One(Operation::new(0, command))])
    }

    /// One command of the node itself, bound to it.
    fn command(&mut self, session: SessionId, command: BoundCommand) -> Reply {
        let command = Command::Bound(command);
        let operation = Operation { database: 0, binding: Binding::Node, command };
        let Event::Replied { replies, .. } =
            self.submit(session, vec![Request::One(operation)]).event
        else {
            panic!("it is answered")
        };
        replies[0].clone()
    }

    fn set_field(&mut self, session: SessionId, field: &'static str, value: &'static str) -> Reply {
        let (key, field, value) = ("h".into(), field.into(), value.into());
        self.command(session, BoundCommand::SetField { key, field, value })
    }

    /// Exchanges fields of `h`: what they hold, and what they are to hold.
    fn exchange(
        &mut self,
        session: SessionId,
        fields: &[(&'static str, &'static str, Option<&'static str>)],
    ) -> Reply {
        let one = |(field, held, value): &(&'static str, &'static str, Option<&'static str>)| {
            let value = value.map(Bytes::from);
            Exchange { field: Bytes::from(*field), held: Bytes::from(*held), value }
        };
        let fields = fields.iter().map(one).collect();
        self.command(session, BoundCommand::Exchange { key: "h".into(), fields })
    }

    pub(super) fn end(&mut self, session: SessionId) -> Outcome {
        self.append(Action::Expire { session })
    }
}

const NONE: Binding = Binding::None;
const NODE: Binding = Binding::Node;
const ONE: Binding = Binding::Client(1);
const TWO: Binding = Binding::Client(2);

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn taken(key: &str, what: TakenWhat, left: Left) -> Taken {
    Taken { database: 0, key: text(key), what, left }
}

fn field(field: &str, value: &str) -> TakenWhat {
    TakenWhat::Field { field: text(field), value: text(value) }
}

fn member(member: &str) -> TakenWhat {
    TakenWhat::Member { member: text(member) }
}

#[test]
fn a_string_goes_with_who_wrote_it_last() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(
        a,
        NODE,
        &[
            ("SET mine v", "+OK"),
            ("SET timed v PXAT 2000000", "+OK"),
            ("MSET theirs v free v", "+OK"),
            ("APPEND longer x", ":1"),
            ("GETSET gotten x", "nil"),
            ("SET past v PXAT 5", "+OK"),
        ],
    );
    log.expect(b, NODE, &[("APPEND theirs w", ":2"), ("SETNX mine other", ":0")]);
    log.expect(b, NONE, &[("SET free w", "+OK"), ("PEXPIRE longer 500000", ":1")]);
    let key = |value: &str, deadline: Option<u64>| TakenWhat::Key {
        value: text(value),
        deadline: deadline.map(Timestamp::from_millis),
    };
    let expected = vec![
        taken("gotten", key("x", None), Left::Nothing),
        taken("longer", key("x", Some(1_500_000)), Left::Nothing),
        taken("mine", key("v", None), Left::Nothing),
        taken("timed", key("v", Some(2_000_000)), Left::Nothing),
    ];
    let told = log.keyspace.bound_by(a);
    assert_eq!(log.keyspace.bound_counts(), [(a, 4), (b, 1)].into());
    let outcome = log.end(a);
    let owner = Owner { session: a, client: 0 };
    assert_eq!(outcome.taken, [(owner, expected.clone())]);
    let whole = expected.into_iter().map(|taken| Taken { left: Left::All, ..taken }).collect();
    assert_eq!(told, [(owner, whole)], "a living session is told the same");
    log.expect(b, NONE, &[("KEYS *", "*[$theirs, $free]"), ("GET theirs", "$vw")]);
    assert_eq!(log.keyspace.next_deadline(), None);
    log.end(b);
    assert!(log.keyspace.bound_counts().is_empty());
    assert_eq!(log.keyspace.databases[0].len(), 1);
}

#[test]
fn one_client_can_be_released_alone() {
    let mut log = Log::new();
    let a = log.open(1);
    log.expect(a, ONE, &[("SET one v", "+OK"), ("HSET h one v", ":1")]);
    log.expect(a, TWO, &[("SET two v", "+OK"), ("HSET h two v", ":1")]);
    log.expect(a, NODE, &[("SET node v", "+OK")]);
    assert_eq!(log.release(a, 9).taken, []);
    let outcome = log.release(a, 1);
    let Event::Replied { replies, .. } = outcome.event else { panic!("it is answered") };
    assert_eq!(replies[..], [Reply::Integer(2)]);
    let [(owner, pieces)] = &outcome.taken[..] else { panic!("one owner: {:?}", outcome.taken) };
    assert_eq!(*owner, Owner { session: a, client: 1 });
    assert_eq!(pieces[0], taken("h", field("one", "v"), Left::Others));
    log.expect(a, NONE, &[("KEYS *", "*[$two, $node, $h]"), ("HKEYS h", "*[$two]")]);
    let clients: Vec<_> = log.end(a).taken.iter().map(|(owner, _)| owner.client).collect();
    assert_eq!(clients, [0, 2]);
    assert_eq!(log.keyspace.databases[0].len(), 0);
}

#[test]
fn fields_go_with_their_owners_one_by_one() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(a, NODE, &[("HSET h a 1 both 1 free 1 gone 1", ":4"), ("HSETNX h x 1", ":1")]);
    log.expect(b, NODE, &[("HSET h b 2 both 2", ":1"), ("HSETNX h a 2", ":0")]);
    log.expect(
        b,
        NONE,
        &[("HSET h free 3", ":0"), ("HDEL h gone", ":1"), ("HINCRBYFLOAT h x 0.5", "$1.5")],
    );
    let outcome = log.end(a);
    assert_eq!(outcome.taken[0].1, [taken("h", field("a", "1"), Left::Others)]);
    log.expect(b, NONE, &[("HMGET h a both free b x", "*[nil, $2, $3, $2, $1.5]")]);
    log.expect(b, NONE, &[("HDEL h free x", ":2")]);
    let outcome = log.end(b);
    let expected =
        [taken("h", field("b", "2"), Left::Others), taken("h", field("both", "2"), Left::Nothing)];
    assert_eq!(outcome.taken[0].1, expected);
}

#[test]
fn a_member_stays_while_anyone_holds_it() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(a, NONE, &[("SADD s free", ":1")]);
    log.expect(a, NODE, &[("SADD s a both free freed gone moved", ":5")]);
    log.expect(b, NODE, &[("SADD s both b", ":1"), ("SMOVE s other moved", ":1")]);
    log.expect(b, NONE, &[("SADD s freed", ":0"), ("SREM s gone", ":1")]);
    let outcome = log.end(a);
    let expected = [taken("s", member("a"), Left::Others), taken("s", member("both"), Left::All)];
    assert_eq!(outcome.taken[0].1, expected);
    log.expect(b, NONE, &[("SMISMEMBER s a both free freed b", "*[:0, :1, :1, :1, :1]")]);
    log.expect(b, NONE, &[("SMEMBERS other", "~[$moved]")]);
    let outcome = log.end(b);
    let expected = [
        taken("other", member("moved"), Left::Nothing),
        taken("s", member("b"), Left::Others),
        taken("s", member("both"), Left::Others),
    ];
    assert_eq!(outcome.taken[0].1, expected);
    let c = log.open(3);
    log.expect(c, NONE, &[("SMEMBERS s", "~[$free, $freed]")]);
}

#[test]
fn a_counter_gives_back_each_share() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(a, NODE, &[("INCRBY n 5", ":5"), ("INCRBY only 3", ":3"), ("HINCRBY h f 2", ":2")]);
    log.expect(b, NODE, &[("DECRBY n 2", ":3"), ("HINCRBY h f 10", ":12"), ("INCR base", ":1")]);
    log.expect(a, NONE, &[("SET base 100", "+OK")]);
    log.expect(a, NODE, &[("INCRBY base 7", ":107"), ("INCR mixed", ":1"), ("SET own 4", "+OK")]);
    log.expect(a, NODE, &[("INCR own", ":5"), ("SET given 4", "+OK"), ("INCR float", ":1")]);
    log.expect(b, NODE, &[("INCRBY given 2", ":6")]);
    log.expect(b, NONE, &[("INCRBY mixed 2", ":3"), ("INCRBYFLOAT float 0.5", "$1.5")]);
    let outcome = log.end(a);
    let share = |amount| TakenWhat::Share { amount };
    let expected = [
        taken("base", share(7), Left::Less),
        taken("given", share(4), Left::Less),
        taken("h", TakenWhat::FieldShare { field: text("f"), amount: 2 }, Left::Less),
        taken("mixed", share(1), Left::Less),
        taken("n", share(5), Left::Less),
        taken("only", share(3), Left::Nothing),
        taken("own", TakenWhat::Key { value: text("5"), deadline: None }, Left::Nothing),
    ];
    assert_eq!(outcome.taken[0].1, expected);
    log.expect(
        b,
        NONE,
        &[
            ("MGET n base mixed given float", "*[$-2, $100, $2, $2, $1.5]"),
            ("EXISTS own only", ":0"),
            ("HGET h f", "$10"),
        ],
    );
    let outcome = log.end(b);
    let left: Vec<_> = outcome.taken[0].1.iter().map(|taken| taken.left).collect();
    assert_eq!(left, [Left::Nothing; 3], "given, h and n were made of shares alone");
    let c = log.open(3);
    log.expect(c, NONE, &[("MGET n base mixed given", "*[nil, $100, $2, nil]")]);
}

#[test]
fn a_share_is_taken_back_without_overflow() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(a, NODE, &[("INCRBY n 9223372036854775807", ":9223372036854775807")]);
    log.expect(b, NONE, &[("DECRBY n 9223372036854775807", ":0"), ("DECRBY n 10", ":-10")]);
    log.end(a);
    log.expect(b, NONE, &[("GET n", "$-9223372036854775808")]);
}

#[test]
fn bindings_follow_a_key_and_end_with_it() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(a, NODE, &[("SET k v", "+OK"), ("HSET h f v", ":1"), ("SADD s m", ":1")]);
    log.expect(
        b,
        NONE,
        &[
            ("COPY k copy", ":1"),
            ("RENAME k new", "+OK"),
            ("SET target v", "+OK"),
            ("RENAME h target", "+OK"),
            ("MOVE s 3", ":1"),
            ("SWAPDB 0 3", "+OK"),
            ("SMEMBERS s", "~[$m]"),
        ],
    );
    let mut ended = log.end(a).taken;
    let pieces = ended.remove(0).1;
    let places: Vec<_> =
        pieces.iter().map(|taken| (taken.database, &taken.key[..], taken.left)).collect();
    let gone = Left::Nothing;
    assert_eq!(places, [(0, &b"s"[..], gone), (3, b"new", gone), (3, b"target", gone)]);
    log.expect(b, NONE, &[("DBSIZE", ":0"), ("SWAPDB 0 3", "+OK"), ("KEYS *", "*[$copy]")]);

    let a = log.open(1);
    let fill = [("MSET k v l v m v", "+OK"), ("PEXPIRE m 10", ":1")];
    log.expect(a, NODE, &fill);
    log.expect(b, NONE, &[("DEL k", ":1"), ("RPUSH k e", ":1")]);
    log.at += 10;
    log.append(Action::Tick);
    assert_eq!(log.keyspace.bound_counts(), [(a, 1)].into(), "deleted and expired");
    log.expect(b, NONE, &[("FLUSHALL", "+OK"), ("SET l stays", "+OK")]);
    log.expect(a, NODE, &[("RPUSH list e", ":1"), ("INCRBYFLOAT f 1", "$1")]);
    assert!(log.keyspace.bound_counts().is_empty(), "neither lists nor fractions are bound");
    assert_eq!(log.end(a).taken, []);
    log.expect(b, NONE, &[("DBSIZE", ":3")]);
}

#[test]
fn a_removal_is_seen_by_those_who_watch() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(a, NODE, &[("SET k v", "+OK"), ("INCR n", ":1"), ("SADD s m", ":1")]);
    log.expect(b, NONE, &[("INCR n", ":2"), ("SADD s other", ":1"), ("SET quiet v", "+OK")]);
    let revision = log.keyspace.revision();
    log.end(a);
    for (key, is_changed) in [("k", true), ("n", true), ("s", true), ("quiet", false)] {
        let watched = vec![Watched { database: 0, key: text(key), revision }];
        let exec = Request::Transaction { watched, operations: Vec::new() };
        let expected = if is_changed { Reply::NilArray } else { Reply::Array(Vec::new()) };
        assert_eq!(log.keyspace.read_request(Timestamp::ZERO, &exec, None), expected, "{key}");
    }
}

#[test]
fn another_start_of_a_node_ends_the_one_before() {
    let mut log = Log::new();
    let a = log.open(1);
    log.expect(a, ONE, &[("SET k v", "+OK"), ("BLPOP list 0", "blocked 1")]);
    let placement = Placement::new("n1", "127.0.0.1:7380".parse().unwrap());
    let node = NodeId::from_random(1);
    let open = Action::Open { nonce: 5, node, placement };
    let outcome = log.append(open.clone());
    let Event::Opened { session, replaced, .. } = outcome.event else { panic!("it opens") };
    assert_eq!((replaced, outcome.taken.len()), (Some(a), 1));
    assert_eq!(log.keyspace.sessions().keys().collect::<Vec<_>>(), [&session]);
    assert_eq!((log.keyspace.waiting(), log.keyspace.databases[0].len()), (0, 0));
    let again = log.append(open).event;
    assert_eq!(again, Event::Opened { session, node, nonce: 5, replaced: None });
}

#[test]
fn a_served_wait_is_kept_until_its_node_has_seen_it() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    let Reply::Blocked(wait) = log.ask(a, NONE, 0, "BLPOP list 0") else { panic!("it waits") };
    log.expect(b, NONE, &[("RPUSH list e", ":1")]);
    let taken = chunks(&log.keyspace);
    log.keyspace = restore(&taken).unwrap();
    assert_eq!(chunks(&log.keyspace), taken);
    let reply = |log: &Log| log.keyspace.sessions()[&a].served(wait).map(show);
    assert_eq!(reply(&log).as_deref(), Some("*[$list, $e]"));
    log.expect(a, NONE, &[("GET k", "nil")]);
    assert!(reply(&log).is_some(), "what was acknowledged may have been seen before");
    log.expect(a, NONE, &[("GET k", "nil")]);
    assert_eq!(reply(&log), None);
}

#[test]
fn a_field_of_a_living_node_is_not_set_by_another() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    assert_eq!(log.set_field(a, "f", "1"), Reply::Integer(1));
    assert_eq!(log.set_field(b, "f", "2"), Reply::Nil);
    assert_eq!(log.set_field(a, "f", "3"), Reply::Integer(0));
    log.expect(b, NONE, &[("HGET h f", "$3"), ("HSET h free x", ":1")]);
    assert_eq!(log.set_field(b, "free", "y"), Reply::Integer(0), "nobody's is taken over");
    assert_eq!(log.set_field(a, "free", "z"), Reply::Nil);
    // The same node after another start.
    let again = log.open(1);
    assert_eq!(
        log.set_field(again, "f", "4"),
        Reply::Integer(1),
        "it went with the session before"
    );
    log.end(again);
    assert_eq!(log.set_field(b, "f", "5"), Reply::Integer(1));
    log.end(b);
    let c = log.open(3);
    log.expect(c, NONE, &[("EXISTS h", ":0"), ("SET h text", "+OK")]);
    assert!(matches!(log.set_field(c, "f", "1"), Reply::Error(_)));
    assert!(matches!(log.exchange(c, &[("f", "1", None)]), Reply::Error(_)));
}

#[test]
fn what_is_exchanged_stays_with_its_owner() {
    let mut log = Log::new();
    let (a, b) = (log.open(1), log.open(2));
    log.expect(a, NODE, &[("HSET h mine 1 other 1", ":2"), ("HINCRBY h sum 1", ":1")]);
    log.expect(b, NONE, &[("HSET h free 1", ":1")]);
    let fields = [
        ("mine", "1", Some("2")),
        ("other", "0", Some("2")),
        ("free", "1", Some("2")),
        ("no", "", None),
    ];
    assert_eq!(log.exchange(b, &fields), Reply::Integer(2));
    log.expect(b, NONE, &[("HMGET h mine other free no", "*[$2, $1, $2, nil]")]);
    // A share of what is no number any more would be nobody's.
    assert_eq!(log.exchange(b, &[("sum", "1", Some("text"))]), Reply::Integer(1));
    let twice = [("free", "2", Some("3")), ("free", "2", None), ("free", "3", None)];
    assert_eq!(log.exchange(b, &twice), Reply::Integer(1), "each field once");
    let outcome = log.end(a);
    let expected = [
        taken("h", field("mine", "2"), Left::Others),
        taken("h", field("other", "1"), Left::Others),
    ];
    assert_eq!(outcome.taken[0].1, expected);
    log.expect(b, NONE, &[("HGETALL h", "%[$free, $3, $sum, $text]")]);
    assert_eq!(log.exchange(b, &[("free", "3", None), ("sum", "text", None)]), Reply::Integer(2));
    log.expect(b, NONE, &[("EXISTS h", ":0")]);
    assert_eq!(log.exchange(b, &[("free", "3", None)]), Reply::Integer(0));
}
