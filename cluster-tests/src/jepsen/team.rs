//! The clients of one workload, and the keys that they share.
//!
//! Owns: which keys are in use and when one has seen enough, the pace, and where a client goes on after an error. Does not own: the
//! verdict. Invariant: at most ten clients use a key; a client whose operation is unknown gets a new number and a new connection.
#![expect(clippy::wildcard_enum_match_arm, reason = "few of many kinds are meant, here and later")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::book::{Book, operation};
use super::calls;
use super::wire::{Told, Wire, words};
use super::workload::Workload;
use crate::chance::Chance;
use crate::door::{Door, another};
use crate::history::{Answer, Call, Outcome as Known};
use crate::reply::Reply;

/// How many keys of a workload are in use at a time.
const SPOTS: usize = 4;
/// How long a client waits for a reply: it differs, so that some give up during a fault and some get their reply after it.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(1000), Duration::from_millis(4000));
/// After so long no operation is under way: the longest has three parts, each with the longest patience.
pub(super) const PATIENCE_MAX: Duration = Duration::from_secs(15);
/// How long a client stays away from its own node after an error there.
const AWAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(3000));
/// How far a client may be behind its pace and still catch up.
const BEHIND_MAX: Duration = Duration::from_secs(3);

/// A key that has seen enough.
#[derive(Debug)]
pub(super) struct Retired {
    pub(super) workload: Workload,
    pub(super) key: String,
    pub(super) team: Arc<Team>,
}

#[derive(Debug)]
struct Spot {
    key: String,
    operations: usize,
    unknown: usize,
    recent: Option<u64>,
}

/// What the clients of a workload share.
#[derive(Debug)]
pub(super) struct Team {
    workload: Workload,
    book: Arc<Book>,
    spots: Mutex<Spots>,
    retired: mpsc::Sender<Retired>,
    /// The keys in use and those that were until lately, for subscribers.
    shown: watch::Sender<Vec<String>>,
}

#[derive(Debug, Default)]
struct Spots {
    now: Vec<Spot>,
    /// Those that were in use until lately.
    fading: Vec<String>,
}

impl Team {
    pub(super) fn new(
        workload: Workload,
        book: &Arc<Book>,
        retired: mpsc::Sender<Retired>,
    ) -> Arc<Self> {
        let spots: Vec<Spot> = (0..SPOTS).map(|_| Spot::new(workload, book)).collect();
        let shown = watch::Sender::new(spots.iter().map(|spot| spot.key.clone()).collect());
        let spots = Mutex::new(Spots { now: spots, fading: Vec::new() });
        let book = Arc::clone(book);
        Arc::new(Self { workload, book, spots, retired, shown })
    }

    /// Gives the keys in use, as they change.
    pub(super) fn keys(&self) -> watch::Receiver<Vec<String>> {
        self.shown.subscribe()
    }

    fn show(&self, spots: &Spots) {
        let now = spots.now.iter().map(|spot| spot.key.clone());
        self.shown.send_replace(now.chain(spots.fading.iter().cloned()).collect());
    }

    /// Shows a retired key no longer.
    pub(super) fn hide(&self, key: &str) {
        let mut spots = self.spots.lock().unwrap_or_else(PoisonError::into_inner);
        spots.fading.retain(|other| other != key);
        self.show(&spots);
    }

    /// Shows no keys any more.
    pub(super) fn close(&self) {
        self.shown.send_replace(Vec::new());
    }

    /// Starts a client that is at home at the node in `home`.
    pub(super) fn client(
        self: &Arc<Self>,
        home: usize,
        doors: watch::Receiver<Vec<Door>>,
        interval: Duration,
        stop: &Arc<AtomicBool>,
        mut chance: Chance,
    ) -> JoinHandle<()> {
        let client = Member {
            team: Arc::clone(self),
            number: self.book.client(),
            patience: chance.between(PATIENCE.0, PATIENCE.1),
            home,
            away_until: Instant::now(),
            avoid: None,
            doors,
            chance,
            wire: None,
        };
        let stop = Arc::clone(stop);
        tokio::spawn(client.run(interval, stop))
    }

    /// Draws the next call.
    fn draw(self: &Arc<Self>, chance: &mut Chance) -> (usize, String, Call) {
        let mut spots = self.spots.lock().unwrap_or_else(PoisonError::into_inner);
        let place = chance.below(spots.now.len());
        let mut old = None;
        let drawn = spots.now.get_mut(place).map(|spot| {
            if spot.operations >= self.workload.operations_max()
                || spot.unknown >= self.workload.unknown_max()
            {
                old = Some(std::mem::replace(spot, Spot::new(self.workload, &self.book)).key);
            }
            spot.operations += 1;
            let call = self.workload.draw(chance, &self.book.values, spot.recent);
            (spot.key.clone(), call)
        });
        if let Some(key) = old {
            spots.fading.push(key.clone());
            self.show(&spots);
            // Nobody takes it any more once the run ends; then the key counts as live.
            let (workload, team) = (self.workload, Arc::clone(self));
            drop(self.retired.try_send(Retired { workload, key, team }));
        }
        drop(spots);
        let (key, call) = drawn.unwrap_or_else(|| (String::new(), Call::Read));
        (place, key, call)
    }

    /// Learns from an outcome.
    fn learn(&self, place: usize, key: &str, call: &Call, outcome: &Known) {
        let mut spots = self.spots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(spot) = spots.now.get_mut(place).filter(|spot| spot.key == key) else { return };
        match (call, outcome) {
            (_, Known::Unknown(_)) => spot.unknown += 1,
            (
                Call::Write(value) | Call::WriteFor { value, .. } | Call::Add(value),
                Known::Ok(_),
            ) => {
                spot.recent = Some(*value);
            }
            (Call::Cas { to, .. }, Known::Ok(Answer::Yes(true))) => spot.recent = Some(*to),
            (Call::Delete, Known::Ok(_)) => spot.recent = None,
            (Call::Read, Known::Ok(Answer::Value(value))) => spot.recent = *value,
            (Call::Members, Known::Ok(Answer::Values(values))) => {
                let at = spot.operations.checked_rem(values.len()).unwrap_or(0);
                spot.recent = values.get(at).copied().or(spot.recent);
            }
            _ => {}
        }
    }
}

impl Spot {
    fn new(workload: Workload, book: &Book) -> Self {
        Self { key: book.key(workload), operations: 0, unknown: 0, recent: None }
    }
}

/// One client.
struct Member {
    team: Arc<Team>,
    number: u32,
    patience: Duration,
    home: usize,
    /// Until when it goes elsewhere.
    away_until: Instant,
    /// The node at which it had an error.
    avoid: Option<usize>,
    doors: watch::Receiver<Vec<Door>>,
    chance: Chance,
    wire: Option<Wire>,
}

impl Member {
    async fn run(mut self, interval: Duration, stop: Arc<AtomicBool>) {
        let first = self.chance.between(Duration::ZERO, interval);
        let mut due = Instant::now() + first;
        while !stop.load(Ordering::Relaxed) {
            sleep_until(due).await;
            let now = Instant::now();
            due = (due + interval).max(now.checked_sub(BEHIND_MAX).unwrap_or(now));
            self.come_home();
            match self.wire.take() {
                Some(wire) => self.step(wire).await,
                None => self.connect().await,
            }
        }
    }

    /// Goes back to its own node when it has been away long enough.
    fn come_home(&mut self) {
        let is_away = self.wire.as_ref().is_some_and(|wire| wire.slot != self.home);
        if is_away && Instant::now() > self.away_until {
            self.wire = None;
            self.avoid = None;
        }
    }

    async fn connect(&mut self) {
        let doors = self.doors.borrow().clone();
        let is_away = Instant::now() < self.away_until;
        let own = doors.iter().find(|door| door.slot == self.home && !is_away).cloned();
        let door = own.or_else(|| another(&doors, self.avoid, &mut self.chance));
        let opened = match &door {
            Some(door) => Wire::open(door).await,
            None => Err(crate::failure::Failure::new("no node")),
        };
        match opened {
            Ok(mut wire) => {
                // What is published through one connection stays in order; no more is promised.
                self.number = self.team.book.client();
                if self.team.workload == Workload::Bound {
                    let bind = words(&["QUORATE.BIND", "ON", "NODE"]);
                    if !matches!(wire.ask(bind, self.patience).await, Told::Reply(_)) {
                        return self.go_away(door.map(|door| door.slot));
                    }
                }
                self.wire = Some(wire);
            }
            Err(_) => {
                self.go_away(door.map(|door| door.slot));
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn go_away(&mut self, from: Option<usize>) {
        self.avoid = from;
        self.away_until = Instant::now() + self.chance.between(AWAY.0, AWAY.1);
    }

    async fn step(&mut self, mut wire: Wire) {
        let (place, key, call) = self.team.draw(&mut self.chance);
        let book = Arc::clone(&self.team.book);
        let slot = wire.slot;
        let invoked = book.now();
        let told = perform(&mut wire, self.number, &key, &call, self.patience).await;
        let times = (invoked, book.now());
        let (outcome, keeps) = judge(&book, &key, &call, told);
        let (is_unknown, is_ok) =
            (matches!(outcome, Known::Unknown(_)), matches!(outcome, Known::Ok(_)));
        self.team.learn(place, &key, &call, &outcome);
        book.operation(
            self.team.workload,
            operation(self.number, slot, &key, call, times, outcome),
        );
        if is_unknown || !keeps {
            self.number = book.client();
        }
        if is_ok && keeps {
            self.wire = Some(wire);
        } else {
            self.go_away(Some(slot));
        }
    }
}

/// Says what is known of an operation, and whether its connection can be used further.
pub(super) fn judge(book: &Book, key: &str, call: &Call, told: Told) -> (Known, bool) {
    // A read has no effect, whatever became of it.
    let unknown = |text| if call.is_read() { Known::Failed(text) } else { Known::Unknown(text) };
    match told {
        Told::Reply(reply) => match calls::answer(call, &reply) {
            Some(answer) => (Known::Ok(answer), true),
            None => {
                let text = format!("{key} {call:?} is answered by {reply}");
                book.trouble(text.clone());
                (unknown(text), false)
            }
        },
        Told::Refused(text) => (Known::Failed(text), true),
        Told::Unknown { text, is_usable } => (unknown(text), is_usable),
        Told::Unexpected(text) => {
            book.trouble(format!("{key} {call:?} is answered by {text}"));
            (unknown(text), false)
        }
    }
}

/// Does one operation.
pub(super) async fn perform(
    wire: &mut Wire,
    client: u32,
    key: &str,
    call: &Call,
    patience: Duration,
) -> Told {
    match call {
        Call::Publish { number } => {
            let payload = format!("{client}:{number}");
            wire.ask(words(&["PUBLISH", key, &payload]), patience).await
        }
        Call::Cas { from, to } => {
            let from = from.map(|from| from.to_string()).unwrap_or_default();
            swap(wire, key, &from, &to.to_string(), patience).await
        }
        _ => match calls::request(key, call) {
            Some(request) => wire.ask(request, patience).await,
            None => Told::Unexpected("no request for this call".to_owned()),
        },
    }
}

/// Sets `key` to `to` if it holds `from`: by WATCH, GET, and MULTI, SET, EXEC in one piece.
async fn swap(wire: &mut Wire, key: &str, from: &str, to: &str, patience: Duration) -> Told {
    if wire.is_embedded {
        return wire.ask(words(&["CAS", key, from, to]), patience).await;
    }
    // Until EXEC is sent there is surely no effect, whatever is lost.
    let early = |told: Told| match told {
        Told::Unknown { text, .. } => Told::Refused(format!("before EXEC: {text}")),
        other => other,
    };
    match wire.ask_all(&[words(&["WATCH", key])], patience).await {
        Told::Reply(_) => {}
        other => return early(other),
    }
    let held = match wire.ask(words(&["GET", key]), patience).await {
        Told::Reply(reply) => reply,
        other => return early(other),
    };
    let is_held = match &held {
        Reply::Null => from.is_empty(),
        other => other.bytes() == Some(from.as_bytes()),
    };
    if !is_held {
        return match wire.ask(words(&["UNWATCH"]), patience).await {
            Told::Reply(_) => Told::Reply(Reply::Integer(0)),
            other => early(other),
        };
    }
    let pieces = [words(&["MULTI"]), words(&["SET", key, to]), words(&["EXEC"])];
    match wire.ask_all(&pieces, patience).await {
        Told::Reply(Reply::Null) => Told::Reply(Reply::Integer(0)),
        Told::Reply(Reply::Array(items)) if items.len() == 1 => Told::Reply(Reply::Integer(1)),
        other => other,
    }
}
