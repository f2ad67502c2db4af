//! A publisher and a subscriber that look at nothing but order: numbers on two channels, one of which comes and goes.
//!
//! Owns: the two connections of one pair. Does not own: the judgement (`sequence`). Invariant: what a subscriber is due is counted
//! from the last number that was sent before its confirmation was read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::board::Board;
use super::sequence::{Sequence, channel_of};
use crate::chance::Chance;
use crate::client::{Client, encode};
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::heard::{self, Heard, hear};

/// How long one pair of nodes is looked at.
const STRETCH: Duration = Duration::from_secs(3);
/// Between two batches.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the second channel is subscribed to, and not, on average.
const SPELL: Duration = Duration::from_millis(60);
/// How long the last message may take, and with nodes that go, the news that it was lost.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// What a pair has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) stretches: u64,
    pub(super) received: u64,
    pub(super) missing_told: u64,
    pub(super) broken: Vec<String>,
}

impl Seen {
    pub(super) fn join(&mut self, other: Self) {
        self.stretches += other.stretches;
        self.received += other.received;
        self.missing_told += other.missing_told;
        self.broken.extend(other.broken);
    }
}

/// One pair.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) id: usize,
    pub(super) doors: watch::Receiver<Vec<Door>>,
    pub(super) board: Arc<Board>,
    pub(super) chance: Chance,
}

/// What both sides of a stretch know.
#[derive(Debug, Default)]
struct Shared {
    /// The last number that may have been sent.
    sent: AtomicU64,
    /// Whether the publisher has stopped, with a reply to everything.
    is_whole: AtomicBool,
    is_over: AtomicBool,
}

impl Pair {
    /// Looks at one pair of nodes after the other, until the end. Every fourth subscriber is at the publisher's node.
    pub(super) async fn run(mut self) -> Seen {
        let mut seen = Seen::default();
        while !self.board.is_over() {
            let doors = self.doors.borrow().clone();
            let picked: Vec<&Door> = doors.iter().collect();
            let (at, from) = (self.chance.pick(&picked), self.chance.pick(&picked));
            let (Some(at), Some(from)) = (at, from) else {
                sleep(PAUSE).await;
                continue;
            };
            seen.stretches += 1;
            let names = [0, 1].map(|channel| {
                format!("order:{}:{}:{channel}", self.id, seen.stretches).into_bytes()
            });
            let shared = Arc::new(Shared::default());
            let listening = listen(at, from, &names, &shared, self.chance.branch());
            let publishing = publish(from, &names, &shared, self.chance.branch());
            let (sequence, published) = tokio::join!(listening, publishing);
            // A publisher that was cut off has promised nothing about its last messages; the order holds all the same.
            let place = format!("published at n{}, heard at n{}", from.slot, at.slot);
            let note = published.err().map_or_else(String::new, |failure| format!(" ({failure})"));
            seen.received += sequence.received;
            seen.missing_told += sequence.missing_told;
            let broken = sequence.broken.iter().take(3);
            seen.broken.extend(broken.map(|text| format!("{place}{note}: {text}")));
        }
        seen
    }
}

/// Publishes numbers in batches until the stretch is over.
async fn publish(
    from: &Door,
    names: &[Vec<u8>; 2],
    shared: &Shared,
    mut chance: Chance,
) -> Outcome {
    let published = publish_numbers(from, names, shared, &mut chance).await;
    shared.is_whole.store(published.is_ok(), Ordering::Release);
    shared.is_over.store(true, Ordering::Release);
    published
}

async fn publish_numbers(
    from: &Door,
    names: &[Vec<u8>; 2],
    shared: &Shared,
    chance: &mut Chance,
) -> Outcome {
    let mut client = heard::open(from).await?;
    let end = Instant::now() + STRETCH;
    while Instant::now() < end {
        let batch_size = 1 + chance.below(8);
        let first = shared.sent.fetch_add(batch_size as u64, Ordering::AcqRel) + 1;
        let mut batch = Vec::new();
        for number in first..first + batch_size as u64 {
            let Some(name) = names.get(channel_of(number)) else { continue };
            batch.extend(encode(&[b"PUBLISH", name, number.to_string().as_bytes()]));
        }
        client.send(&batch).await?;
        for _ in 0..batch_size {
            let heard = hear(&mut client, END_DEADLINE).await?;
            if !matches!(&heard, Heard::Reply(reply) if reply.integer().is_some()) {
                return Err(Failure::new(format!("PUBLISH gave {heard:?}")));
            }
        }
        sleep(chance.between(Duration::ZERO, PAUSE * 2)).await;
    }
    Ok(())
}

/// Listens to both channels, lets the second come and go, and judges what comes.
async fn listen(
    at: &Door,
    from: &Door,
    names: &[Vec<u8>; 2],
    shared: &Shared,
    chance: Chance,
) -> Sequence {
    let mut sequence = Sequence::default();
    let Ok(client) = heard::open(at).await else { return sequence };
    let mut ear = Ear { client, names, shared, publisher: &from.id, chance, is_wanted: true };
    // When it is cut off, what it has heard is judged, and nothing more was due.
    if let Ok(true) = ear.listen(&mut sequence).await {
        sequence.end(shared.sent.load(Ordering::Acquire));
    }
    sequence
}

/// The side that listens.
struct Ear<'a> {
    client: Client,
    names: &'a [Vec<u8>; 2],
    shared: &'a Shared,
    publisher: &'a str,
    chance: Chance,
    /// Whether the second channel is subscribed to, or is about to be.
    is_wanted: bool,
}

impl Ear<'_> {
    /// Listens until the end of the stretch; gives whether everything was due that was sent.
    async fn listen(&mut self, sequence: &mut Sequence) -> Outcome<bool> {
        let [first, second] = self.names;
        self.client.send(&encode(&[b"SUBSCRIBE", first, second])).await?;
        let mut turn = Instant::now() + SPELL;
        let mut patience = None;
        let mut is_asked = true;
        loop {
            if self.shared.is_over.load(Ordering::Acquire) {
                if !self.shared.is_whole.load(Ordering::Acquire) {
                    return Ok(false);
                }
                let until = *patience.get_or_insert_with(|| Instant::now() + END_DEADLINE);
                let last = self.shared.sent.load(Ordering::Acquire);
                if sequence.is_through(last) || Instant::now() > until {
                    return Ok(true);
                }
            } else if !is_asked && Instant::now() > turn {
                turn = Instant::now() + self.chance.between(SPELL / 4, SPELL * 2);
                is_asked = true;
                self.is_wanted = !self.is_wanted;
                let word: &[u8] = if self.is_wanted { b"SUBSCRIBE" } else { b"UNSUBSCRIBE" };
                if !self.is_wanted {
                    sequence.off(1);
                }
                self.client.send(&encode(&[word, second])).await?;
            }
            match hear(&mut self.client, PAUSE).await? {
                Heard::Message { channel, payload } => {
                    let number = String::from_utf8_lossy(&payload).parse();
                    let number = number.map_err(|_| Failure::new("no number"))?;
                    sequence.received(usize::from(channel == *second), number);
                }
                Heard::Confirmed { what, channel } => {
                    let at = usize::from(channel == *second);
                    if what == "subscribe" {
                        sequence.on(at, self.shared.sent.load(Ordering::Acquire));
                    }
                    is_asked &= at == 0;
                }
                Heard::Lost(loss) => {
                    // Of another publisher's link it is no excuse.
                    if loss.publisher.as_deref() == Some(self.publisher) {
                        sequence.lost();
                    }
                }
                Heard::Reply(reply) => return Err(Failure::new(reply.to_string())),
                Heard::Closed => return Err(Failure::new("closed")),
                Heard::Nothing => {}
            }
        }
    }
}
