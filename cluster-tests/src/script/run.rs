//! Runs a script over connections.
//!
//! Owns: connections by letter, repetition, and the report of the first exchange that went wrong. Does not
//! own: starting servers. Invariant: whatever arrives and is not expected fails the script, be it a reply
//! too many or bytes left over at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Captures, Expected, ExpectedLine, Order, Repeat, Request, Script, Shape, Step};
use crate::client::{Arrival, Client, REPLY_DEADLINE, encode};
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// How long `until` repeats.
const UNTIL_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection is watched when nothing may arrive on it.
const SILENCE: Duration = Duration::from_millis(120);

/// The kinds of server whose replies differ on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// The reference, redis-server 7.0.
    Redis,
    /// This project.
    Quorate,
}

/// Where a script runs.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which alternatives of the script apply.
    pub flavour: Flavour,
    /// The addresses of all nodes.
    pub nodes: Vec<SocketAddr>,
    /// The node that connection `A` uses; `B` uses the next one, and so on around.
    pub first: usize,
}

/// Runs `script` from an empty state and returns the number of exchanges.
///
/// # Errors
/// With the place, the request, the expectation and what came instead.
pub async fn run(script: &Script, target: &Target) -> Outcome<usize> {
    let mut run = Run { target, connections: BTreeMap::new(), captures: Captures::new() };
    run.empty().await.map_err(|failure| failure.during("before the script"))?;
    let mut exchanges = 0;
    for step in &script.steps {
        if step.only.is_none_or(|only| only == target.flavour) {
            let place = format!("{}.txt:{}: {}", script.name, step.line, cut(&step.text));
            run.step(step).await.map_err(|failure| failure.during(place))?;
            exchanges += 1;
        }
    }
    for (letter, client) in &mut run.connections {
        if let Arrival::Reply(reply) = client.next(Duration::ZERO).await? {
            let letter = char::from(b'A' + u8::try_from(*letter).unwrap_or_default());
            return Err(Failure::new(format!("left over on connection {letter}: {reply}")));
        }
    }
    Ok(exchanges)
}

/// Shortens a request for a message.
pub(super) fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(160).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Checks the only reply of a step, for targets without connections.
pub(super) fn judge(step: &Step, reply: &Reply, captures: &mut Captures) -> Outcome {
    let mut lines = step.replies.iter().filter(|line| line.only != Some(Flavour::Redis));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Failure::new("a step of the bare keyspace has one reply"));
    };
    if line.expected.accepts(reply, captures) { Ok(()) } else { Err(differs(line, reply)) }
}

fn differs(line: &ExpectedLine, found: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("\n    expected {}\n    found    {found}", cut(&line.text)))
}

struct Run<'a> {
    target: &'a Target,
    connections: BTreeMap<usize, Client>,
    captures: Captures,
}

impl Run<'_> {
    async fn connection(&mut self, letter: usize) -> Outcome<&mut Client> {
        if !self.connections.contains_key(&letter) {
            let count = self.target.nodes.len();
            let node = self.target.nodes.get((letter + self.target.first) % count.max(1));
            let address = *node.ok_or_else(|| Failure::new("the target has no node"))?;
            self.connections.insert(letter, Client::connect(address).await?);
        }
        self.connections.get_mut(&letter).ok_or_else(|| Failure::new("no connection"))
    }

    /// Leaves nothing of an earlier script: no keys, and no subscriptions of connections that are closing.
    async fn empty(&mut self) -> Outcome {
        let node =
            *self.target.nodes.first().ok_or_else(|| Failure::new("the target has no node"))?;
        let mut client = Client::connect(node).await?;
        let deadline = Instant::now() + UNTIL_DEADLINE;
        loop {
            let mut state = vec![client.ask("FLUSHALL").await?];
            for line in ["PUBSUB CHANNELS", "PUBSUB SHARDCHANNELS", "PUBSUB NUMPAT"] {
                state.push(client.ask(line).await?);
            }
            let none = Reply::Array(Vec::new());
            if state == [Reply::Simple(b"OK".into()), none.clone(), none, Reply::Integer(0)] {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "does not become empty: {}",
                    Reply::Array(state)
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn step(&mut self, step: &Step) -> Outcome {
        match &step.repeat {
            Repeat::Once => self.once(step, None).await,
            Repeat::Each(range) => {
                for number in range.clone() {
                    let result = self.once(step, Some(number)).await;
                    result.map_err(|failure| failure.during(format!("i = {number}")))?;
                }
                Ok(())
            }
            Repeat::Until => {
                let deadline = Instant::now() + UNTIL_DEADLINE;
                loop {
                    let result = self.once(step, None).await;
                    if result.is_ok() || Instant::now() > deadline {
                        return result;
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            }
            Repeat::Scan => self.scan(step).await,
        }
    }

    async fn once(&mut self, step: &Step, number: Option<u64>) -> Outcome {
        let bytes = match &step.request {
            Request::Command(_) => {
                let words = filled(step, &self.captures, number)?;
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                encode(&words)
            }
            Request::Raw(bytes) => bytes.clone(),
            Request::Listen => Vec::new(),
            Request::Close => {
                self.connections.remove(&step.connection);
                return Ok(());
            }
        };
        self.connection(step.connection).await?.send(&bytes).await?;
        let flavour = self.target.flavour;
        for line in step.replies.iter().filter(|line| line.only.is_none_or(|only| only == flavour))
        {
            let patience =
                if line.expected == Expected::Nothing { SILENCE } else { REPLY_DEADLINE };
            let arrival = self.connection(step.connection).await?.next(patience).await?;
            let accepted = match (&arrival, &line.expected) {
                (Arrival::Nothing, Expected::Nothing) | (Arrival::Closed, Expected::Closed) => true,
                (Arrival::Reply(reply), expected) => expected.accepts(reply, &mut self.captures),
                _ => false,
            };
            if !accepted {
                return Err(match arrival {
                    Arrival::Reply(reply) => differs(line, &reply),
                    Arrival::Closed => differs(line, &"the connection was closed"),
                    Arrival::Nothing => differs(line, &"nothing came"),
                });
            }
            if arrival == Arrival::Closed {
                self.connections.remove(&step.connection);
            }
        }
        Ok(())
    }

    /// Follows a cursor to its end and compares all elements seen, each counted once.
    async fn scan(&mut self, step: &Step) -> Outcome {
        let mut words = filled(step, &self.captures, None)?;
        let mut pages = Pages::of(&words);
        loop {
            let page: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let reply = self.connection(step.connection).await?.call(&page).await?;
            match pages.add(&reply)? {
                Some(cursor) => pages.turn(&mut words, cursor),
                None => return pages.judge(step, &mut self.captures),
            }
        }
    }
}

/// Returns the words of a command, with the number of a repetition for `{i}` and a kept value for `${name}`.
pub(super) fn filled(
    step: &Step,
    captures: &Captures,
    number: Option<u64>,
) -> Outcome<Vec<Vec<u8>>> {
    let Request::Command(words) = &step.request else {
        return Err(Failure::new("not a command"));
    };
    let fill = |word: &Vec<u8>| {
        if let Some(name) = word.strip_prefix(b"${").and_then(|rest| rest.strip_suffix(b"}")) {
            let name = String::from_utf8_lossy(name).into_owned();
            let value = captures.get(&name).cloned();
            return value.ok_or_else(|| Failure::new(format!("nothing was kept as {name}")));
        }
        match number {
            Some(number) if word.windows(3).any(|part| part == b"{i}") => {
                let text = String::from_utf8_lossy(word).replace("{i}", &number.to_string());
                Ok(text.into_bytes())
            }
            _ => Ok(word.clone()),
        }
    };
    words.iter().map(fill).collect()
}

/// What an iteration with a cursor has seen.
pub(super) struct Pages {
    /// Where the cursor stands among the words.
    place: usize,
    paired: bool,
    seen: Vec<Vec<Reply>>,
}

impl Pages {
    pub(super) fn of(words: &[Vec<u8>]) -> Self {
        let is = |name: &[u8]| words.first().is_some_and(|word| word.eq_ignore_ascii_case(name));
        Self { place: if is(b"SCAN") { 1 } else { 2 }, paired: is(b"HSCAN"), seen: Vec::new() }
    }

    /// Takes a page in and returns the cursor of the next one, if there is one.
    pub(super) fn add(&mut self, reply: &Reply) -> Outcome<Option<Vec<u8>>> {
        let Some([cursor, Reply::Array(items)]) = reply.elements() else {
            return Err(Failure::new(format!("not a page of a scan: {reply}")));
        };
        for item in items.chunks(if self.paired { 2 } else { 1 }) {
            if !self.seen.iter().any(|known| known == item) {
                self.seen.push(item.to_vec());
            }
        }
        let cursor = cursor.bytes().unwrap_or_default();
        Ok((cursor != b"0").then(|| cursor.to_vec()))
    }

    /// Puts the cursor into the command.
    pub(super) fn turn(&self, words: &mut [Vec<u8>], cursor: Vec<u8>) {
        if let Some(place) = words.get_mut(self.place) {
            *place = cursor;
        }
    }

    /// Compares all that was seen; `(integer) n` in place of a list counts it.
    pub(super) fn judge(&self, step: &Step, captures: &mut Captures) -> Outcome {
        let all = Reply::Array(self.seen.concat());
        let Some(line) = step.replies.first() else { return Err(Failure::new("no reply")) };
        let accepted = if let Expected::Exact(Reply::Integer(count)) = &line.expected {
            usize::try_from(*count) == Ok(self.seen.len())
        } else if let Expected::List { items, open, .. } = &line.expected {
            let order = if self.paired { Order::FreePairs } else { Order::Free };
            let (shape, items, open) = (Shape::Array, items.clone(), *open);
            Expected::List { shape, order, items, open }.accepts(&all, captures)
        } else {
            false
        };
        if accepted { Ok(()) } else { Err(differs(line, &all)) }
    }
}
