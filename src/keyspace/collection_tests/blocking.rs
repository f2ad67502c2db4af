//! Waiting clients: who is served, with what, in which order, and when a wait ends without.

use super::{ask, operation, show};
use crate::command::{Action, Command, Entry, ListCommand, Operation, Reply, Request};
use crate::ids::{NodeId, Placement, SessionId, WaitId};
use crate::keyspace::{Event, Keyspace, Limits};
use crate::time::Timestamp;

/// A keyspace with two sessions, which are applied to through the log.
pub(super) struct Log {
    pub(super) keyspace: Keyspace,
    index: u64,
}

pub(super) const ONE: SessionId = SessionId(1);
pub(super) const TWO: SessionId = SessionId(2);

impl Log {
    pub(super) fn new() -> Self {
        let mut log = Self { keyspace: Keyspace::new(Limits::default()), index: 0 };
        for nonce in 1..=2 {
            let placement = Placement::new("n", "127.0.0.1:1".parse().unwrap());
            let node = NodeId::from_random(nonce);
            log.apply(Action::Open { nonce, node, placement });
        }
        log
    }

    fn apply(&mut self, action: Action) -> (Event, Vec<(WaitId, Reply)>) {
        self.index += 1;
        let outcome = self.keyspace.apply(self.index, &Entry { at: Timestamp::ZERO, action });
        (outcome.event, outcome.served)
    }

    /// Applies one request of a session; gives its reply, and `number: reply` of each wait that was served.
    fn request(&mut self, session: SessionId, request: Request) -> (String, Vec<String>) {
        let last =
            self.keyspace.sessions().get(&session).map_or(0, |session| session.last_serial());
        let (serial, requests) = (last + 1, vec![request]);
        let batch =
            Action::Batch { session, serial, acknowledged: serial - 1, requests: requests.into() };
        let (event, served) = self.apply(batch);
        let Event::Replied { replies, .. } = event else { panic!("not applied") };
        let served = served.iter().map(|(id, reply)| format!("{}: {}", id.number, show(reply)));
        (show(&replies[0]), served.collect())
    }

    /// The same for a request in words; several between `;` are a transaction.
    pub(super) fn run(&mut self, session: SessionId, line: &str) -> (String, Vec<String>) {
        let mut operations: Vec<_> =
            line.split(';').map(|line| operation(line.trim()).unwrap()).collect();
        let request = match operations.len() {
            1 => Request::One(operations.remove(0)),
            _ => Request::Transaction { watched: Vec::new(), operations },
        };
        self.request(session, request)
    }

    /// Runs lines `request => reply | wait: served | …`, all of them of the first session.
    fn check(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (request, expected) = line.split_once(" => ").unwrap();
            let (reply, served) = self.run(ONE, request);
            let shown = [vec![reply], served].concat().join(" | ");
            assert_eq!(shown, expected, "{request}");
        }
    }

    pub(super) fn end_wait(&mut self, wait: WaitId, unblocked: bool) -> (String, Vec<String>) {
        let command = Command::List(ListCommand::EndWait { wait, unblocked });
        self.request(TWO, Request::One(Operation::new(0, command)))
    }
}

#[test]
fn what_is_there_is_taken_at_once() {
    Log::new().check(
        "RPUSH a 1 2 3 4 5 6 => 6
         BLPOP nokey a 0 => [\"a\" \"1\"]
         BRPOP a nokey 0 => [\"a\" \"6\"]
         BLMPOP 0 2 nokey a LEFT COUNT 2 => [\"a\" [\"2\" \"3\"]]
         BLMOVE a b LEFT RIGHT 0 => \"4\"
         BRPOPLPUSH a b 0 => \"5\"
         LRANGE b 0 -1 => [\"5\" \"4\"]
         BLPOP nokey b 0 => [\"b\" \"5\"]",
    );
}

#[test]
fn nobody_waits_in_a_transaction_or_outside_the_log() {
    let mut log = Log::new();
    log.check(
        "BLPOP x 0 ; BRPOP x 0 ; BLMPOP 0 1 x LEFT ; BLMOVE x y LEFT LEFT 0 ; BRPOPLPUSH x y 0 => [nil[] nil[] nil[] nil nil]",
    );
    assert_eq!(ask(&mut log.keyspace, "BLPOP x 0"), Reply::NilArray);
    assert_eq!(log.keyspace.waiting(), 0);
}

#[test]
fn the_first_comer_is_first_and_an_element_goes_to_one() {
    let mut log = Log::new();
    log.check("BLPOP a b 0 => wait 1");
    assert_eq!(log.run(TWO, "BRPOP b a 0"), ("wait 2".to_owned(), vec![]));
    log.check(
        "BLPOP a 0 => wait 3
         RPUSH a 1 => 1 | 1: [\"a\" \"1\"]
         BLPOP a 0 => wait 4
         RPUSH a 2 3 4 => 3 | 2: [\"a\" \"4\"] | 3: [\"a\" \"2\"] | 4: [\"a\" \"3\"]
         LLEN a => 0",
    );
    assert_eq!(log.keyspace.waiting(), 0);
}

#[test]
fn a_transaction_is_whole_before_anybody_is_served() {
    Log::new().check(
        "BLPOP a b 0 => wait 1
         BLPOP b a 0 => wait 2
         RPUSH a x ; DEL a => [1 1]
         RPUSH b 1 ; LPUSH b 0 ; RPUSH a 2 => [1 2 1] | 1: [\"b\" \"0\"] | 2: [\"b\" \"1\"]
         LRANGE a 0 -1 => [\"2\"]
         BLPOP c c 0 => wait 3
         RPUSH c 1 ; RPUSH c 2 => [1 2] | 3: [\"c\" \"1\"]
         LRANGE c 0 -1 => [\"2\"]",
    );
}

#[test]
fn a_served_move_makes_another_list_ready() {
    Log::new().check(
        "BLMOVE x y LEFT RIGHT 0 => wait 1
         BRPOPLPUSH y x 0 => wait 2
         BLPOP x 0 => wait 3
         RPUSH x 1 => 1 | 1: \"1\" | 2: \"1\" | 3: [\"x\" \"1\"]
         LLEN x => 0
         BLMOVE r r LEFT RIGHT 0 => wait 4
         BLMPOP 0 2 q r RIGHT COUNT 9 => wait 5
         RPUSH r 1 2 => 2 | 4: \"1\" | 5: [\"r\" [\"1\" \"2\"]]
         BLMOVE x y LEFT RIGHT 0 => wait 6
         BLPOP y x 0 => wait 7
         RPUSH x 1 2 => 2 | 6: \"1\" | 7: [\"x\" \"2\"]
         LRANGE y 0 -1 => [\"1\"]",
    );
}

/// The orders are those of Redis 7.0.15.
#[test]
fn lists_are_served_in_the_order_in_which_they_came_to_be() {
    Log::new().check(
        "BLMOVE a b LEFT RIGHT 0 => wait 1
         BLPOP a 0 => wait 2
         BLMOVE d a LEFT RIGHT 0 => wait 3
         BLPOP a 0 => wait 4
         BLPOP b 0 => wait 5
         RPUSH a 1 2 ; RPUSH d 3 => [2 1] | 1: \"1\" | 2: [\"a\" \"2\"] | 3: \"3\" | 5: [\"b\" \"1\"] | 4: [\"a\" \"3\"]",
    );
    Log::new().check(
        "BLMOVE c a LEFT RIGHT 0 => wait 1
         BLMOVE a b LEFT RIGHT 0 => wait 2
         BLMOVE a a LEFT RIGHT 0 => wait 3
         BLMOVE a c LEFT RIGHT 0 => wait 4
         BLMOVE b a LEFT RIGHT 0 => wait 5
         BLPOP a 0 => wait 6
         RPUSH a 1 2 => 2 | 2: \"1\" | 3: \"2\" | 4: \"2\" | 5: \"1\" | 1: \"2\" | 6: [\"a\" \"1\"]",
    );
}

#[test]
fn a_key_of_another_type_serves_nobody_until_it_is_a_list() {
    Log::new().check(
        "BLPOP x 0 => wait 1
         SADD x 1 => 1
         DEL x => 1
         RPUSH q 5 => 1
         RENAME q x => OK | 1: [\"x\" \"5\"]
         BLPOP x 0 => wait 2
         RPUSH q 6 => 1
         COPY q x => 1 | 2: [\"x\" \"6\"]
         BLMOVE x s LEFT LEFT 0 => wait 3
         BLPOP x 0 => wait 4
         SADD s 1 => 1
         RPUSH x 7 => 1 | 3: -WRONGTYPE Operation against a key holding the wrong kind of value | 4: [\"x\" \"7\"]",
    );
}

#[test]
fn a_wait_belongs_to_its_database() {
    let mut log = Log::new();
    log.check("BLPOP x 0 => wait 1");
    let mut push = operation("RPUSH x 1").unwrap();
    push.database = 1;
    assert_eq!(log.request(TWO, Request::One(push)), ("1".to_owned(), vec![]));
    log.check("SWAPDB 0 1 => OK | 1: [\"x\" \"1\"]");
}

#[test]
fn a_wait_ends_once() {
    let mut log = Log::new();
    log.check("BLPOP x 0 => wait 1\n BLMOVE x y LEFT LEFT 0 => wait 2\n BLPOP x 0 => wait 3");
    let id = |number| WaitId { session: ONE, number };
    assert_eq!(log.end_wait(id(1), false), ("1".to_owned(), vec!["1: nil[]".to_owned()]));
    assert_eq!(log.end_wait(id(1), false), ("0".to_owned(), vec![]));
    let unblocked = "2: -UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned();
    assert_eq!(log.end_wait(id(2), true), ("1".to_owned(), vec![unblocked]));
    assert_eq!(log.end_wait(WaitId { session: TWO, number: 3 }, true), ("0".to_owned(), vec![]));
    log.check("RPUSH x a => 1 | 3: [\"x\" \"a\"]");
    assert_eq!(log.end_wait(id(3), false), ("0".to_owned(), vec![]), "served before");
}

#[test]
fn waits_end_with_their_session() {
    let mut log = Log::new();
    log.check("BLPOP x y 0 => wait 1");
    assert_eq!(log.run(TWO, "BLPOP y 0").0, "wait 2");
    assert_eq!(log.run(ONE, "BLPOP y 0").0, "wait 3");
    let (_, served) = log.apply(Action::Expire { session: ONE });
    assert!(served.is_empty());
    assert_eq!(log.keyspace.waiting(), 1);
    let served = log.run(TWO, "RPUSH y a b");
    assert_eq!(served, ("2".to_owned(), vec!["2: [\"y\" \"a\"]".to_owned()]));
    assert_eq!(log.run(TWO, "LRANGE y 0 -1").0, "[\"b\"]");
}

#[test]
fn words_of_blocking_commands_are_checked_in_the_order_of_redis() {
    super::check(
        "BLPOP nokey abc => -ERR timeout is not a float or out of range
         BLPOP nokey -1 => -ERR timeout is negative
         BLPOP nokey => -ERR wrong number of arguments for 'blpop' command
         BLMPOP abc 0 l LEFT => -ERR numkeys should be greater than 0
         BLMPOP abc 1 l LEFT => -ERR timeout is not a float or out of range
         BLMPOP 0 2 l LEFT => -ERR syntax error
         BLMOVE a b LEFT foo abc => -ERR syntax error
         BLMOVE a b LEFT LEFT abc => -ERR timeout is not a float or out of range
         BRPOPLPUSH a b abc => -ERR timeout is not a float or out of range",
    );
}

#[test]
fn the_timeout_is_kept_for_whoever_serves_the_client() {
    for (line, millis) in [("BLPOP x 1.5", Some(1500)), ("BLPOP x 0", None), ("LPOP x", None)] {
        let Command::List(command) = operation(line).unwrap().command else { panic!() };
        assert_eq!(command.timeout().map(|timeout| timeout.as_millis()), millis, "{line}");
        assert_eq!(command.is_blocking(), line.starts_with('B'));
    }
}
