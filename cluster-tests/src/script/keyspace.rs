//! Runs scripts on the bare keyspace: no connection, no log, a clock that the script moves.
//!
//! Owns: words → command → reply without any door, and time, which stands still but for `until`. Does not own:
//! steps that need a connection; they are left out. Invariant: what RESP2 would say is what is compared.

use std::time::Duration;

use bytes::Bytes;
use quorate::command::{self, Command, Operation, Request};
use quorate::keyspace::{Keyspace, Limits};
use quorate::time::Timestamp;

use super::{Captures, Repeat, Script, Step, run};
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// How far time goes between two tries of `until`.
const TICK: Duration = Duration::from_millis(50);
/// How many tries `until` has.
const TRIES: usize = 1000;

/// Runs `script` on an empty keyspace and returns the number of exchanges.
///
/// # Errors
/// With the place, the request, the expectation and what came instead.
pub fn run_on_keyspace(script: &Script) -> Outcome<usize> {
    let mut bare = Bare {
        keyspace: Keyspace::new(Limits::default()),
        // Any time that is later than the points in time which scripts call past.
        now: Timestamp::from_millis(1_700_000_000_000),
        captures: Captures::new(),
    };
    let steps = script.steps.iter().filter(|step| !step.needs_connection);
    let mut exchanges = 0;
    for step in steps {
        let place = format!("{}.txt:{}: {}", script.name, step.line, run::cut(&step.text));
        bare.step(step).map_err(|failure| failure.during(place))?;
        exchanges += 1;
    }
    Ok(exchanges)
}

struct Bare {
    keyspace: Keyspace,
    now: Timestamp,
    captures: Captures,
}

impl Bare {
    fn step(&mut self, step: &Step) -> Outcome {
        match &step.repeat {
            Repeat::Once => self.once(step, None),
            Repeat::Each(range) => {
                for number in range.clone() {
                    let result = self.once(step, Some(number));
                    result.map_err(|failure| failure.during(format!("i = {number}")))?;
                }
                Ok(())
            }
            Repeat::Until => {
                for _ in 0..TRIES {
                    if self.once(step, None).is_ok() {
                        return Ok(());
                    }
                    self.wait();
                }
                self.once(step, None)
            }
            Repeat::Scan => {
                let mut words = run::filled(step, &self.captures, None)?;
                let mut pages = run::Pages::of(&words);
                loop {
                    let reply = self.ask(&words);
                    match pages.add(&reply)? {
                        Some(cursor) => pages.turn(&mut words, cursor),
                        None => return pages.judge(step, &mut self.captures),
                    }
                }
            }
        }
    }

    /// Lets time pass and the keyspace know it, as the leader's tick does.
    fn wait(&mut self) {
        self.now = self.now.saturating_add(TICK);
        let nothing = Request::Transaction { watched: Vec::new(), operations: Vec::new() };
        self.keyspace.apply_request(self.now, &nothing);
    }

    fn once(&mut self, step: &Step, number: Option<u64>) -> Outcome {
        let words = run::filled(step, &self.captures, number)?;
        let reply = self.ask(&words);
        run::judge(step, &reply, &mut self.captures)
    }

    fn ask(&mut self, words: &[Vec<u8>]) -> Reply {
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        let command = match Command::parse(&words) {
            Ok(command) => command,
            Err(error) => return Reply::Error(error.to_string().into_bytes()),
        };
        let is_write = command.is_write();
        let operation = Operation::new(0, command);
        in_resp2(&if is_write {
            self.keyspace.apply_request(self.now, &Request::One(operation))
        } else {
            self.keyspace.read(self.now, &operation)
        })
    }
}

fn in_resp2(reply: &command::Reply) -> Reply {
    let list = |items: &[command::Reply]| Reply::Array(items.iter().map(in_resp2).collect());
    match reply {
        command::Reply::Ok => Reply::Simple(b"OK".to_vec()),
        command::Reply::Status(text) => Reply::Simple(text.as_bytes().to_vec()),
        command::Reply::Nil => Reply::NilBulk,
        command::Reply::NilArray => Reply::NilArray,
        command::Reply::Integer(n) => Reply::Integer(*n),
        command::Reply::Bulk(bytes) => Reply::Bulk(bytes.to_vec()),
        command::Reply::Array(items)
        | command::Reply::Set(items)
        | command::Reply::Map(items)
        | command::Reply::Pairs(items) => list(items),
        command::Reply::Error(error) => Reply::Error(error.to_string().into_bytes()),
        command::Reply::Blocked(_) => {
            Reply::Error(Failure::new("it waits, though nobody can").to_string().into_bytes())
        }
    }
}
