//! A client that does rounds: subscribes at one node, publishes at another at once, and waits for the message.
//!
//! Owns: the connections of one client and what it sees in each round. Does not own: the verdict (`tally`). Invariant: PUBLISH is
//! sent when the confirmation of SUBSCRIBE has been read, and not before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::board::{Board, busy};
use super::tally::{Facts, Kind, Scene, Tally, Verdict};
use crate::chance::Chance;
use crate::client::{Client, encode};
use crate::door::{Door, another};
use crate::heard::{self, Heard, hear};
use crate::reply::Reply;

/// How long a message may take, and a confirmation, before it counts as missing.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long after PUBLISH the news of a loss may take where links break: a dead peer is noticed after about two seconds.
const TOLD_DEADLINE: Duration = Duration::from_secs(10);
/// How long SUBSCRIBE may take: it may have to wait until a dead publisher is noticed.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(10);
/// How many messages go before, at least, to a channel that shall be pruned, and how many more at most.
const PRIMERS: (usize, usize) = (6, 8);

/// Which rounds are done, and how.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Whether channels with traffic and channels that were published to before take part.
    pub(super) is_mixed: bool,
    /// Whether nodes come and go.
    pub(super) is_fleet: bool,
}

/// One client.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: usize,
    pub(super) way: Way,
    pub(super) doors: watch::Receiver<Vec<Door>>,
    pub(super) board: Arc<Board>,
    pub(super) chance: Chance,
    /// Open connections by the ids of their nodes.
    pub(super) subscribers: BTreeMap<String, Client>,
    pub(super) publishers: BTreeMap<String, Client>,
    pub(super) tally: Tally,
}

/// The two connections of a round, and what is awaited on them.
struct Pair {
    subscriber: Client,
    publisher: Client,
    /// Replies to PUBLISH that have not been read.
    owed: usize,
}

impl Worker {
    /// Does rounds until none is left.
    pub(super) async fn run(mut self) -> Tally {
        while let Some(number) = self.board.next_round() {
            self.round(number).await;
        }
        self.tally
    }

    async fn round(&mut self, number: u64) {
        let doors = self.doors.borrow().clone();
        let Some(at) = self.chance.pick(&doors.iter().collect::<Vec<_>>()).cloned() else {
            return sleep(Duration::from_millis(20)).await;
        };
        let Some(from) = another(&doors, Some(at.slot), &mut self.chance) else { return };
        let kind = match self.chance.below(4) {
            0 if self.way.is_mixed => Kind::Primed,
            1 | 2 if self.way.is_mixed => Kind::Busy,
            _ => Kind::Fresh,
        };
        let held = (kind == Kind::Busy).then(|| self.board.hold(at.slot, &mut self.chance));
        let (kind, held) = match held {
            Some(None) => (Kind::Fresh, None),
            other => (kind, other.flatten()),
        };
        let channel = held.map_or_else(|| format!("round:{}:{number}", self.id), busy);
        let scene = Scene {
            kind,
            number,
            channel,
            subscriber: at.slot,
            publisher: from.slot,
            publisher_id: from.id.clone(),
        };
        let (facts, pair) = self.play(&scene, &at, &from).await;
        let verdict = self.tally.add(&scene, &facts);
        // After anything but the usual, both connections begin anew.
        if let (Verdict::Arrived, Some(pair)) = (verdict, pair) {
            self.subscribers.insert(at.id, pair.subscriber);
            self.publishers.insert(from.id, pair.publisher);
        }
        if let Some(channel) = held {
            self.board.release((at.slot, channel));
        }
    }

    /// Plays one round; what is cut is told in the facts.
    async fn play(&mut self, scene: &Scene, at: &Door, from: &Door) -> (Facts, Option<Pair>) {
        let mut facts = Facts::default();
        let open = async |clients: &mut BTreeMap<String, Client>, door: &Door| {
            let known = clients.remove(&door.id);
            match known {
                Some(client) => Ok(client),
                None => heard::open(door).await,
            }
        };
        let subscriber = open(&mut self.subscribers, at).await;
        let publisher = open(&mut self.publishers, from).await;
        let (subscriber, publisher) = match (subscriber, publisher) {
            (Ok(subscriber), Ok(publisher)) => (subscriber, publisher),
            (Err(failure), _) | (_, Err(failure)) => {
                facts.cut = Some(failure.to_string());
                return (facts, None);
            }
        };
        let mut pair = Pair { subscriber, publisher, owed: 0 };
        let channel = scene.channel.as_bytes();
        let primers = PRIMERS.0 + self.chance.below(PRIMERS.1);
        let payload = format!("round {} of {}", scene.number, self.id);
        let played = async {
            pair.forget_earlier().await?;
            if scene.kind == Kind::Primed {
                let batch = encode(&[b"PUBLISH", channel, b"primer"]).repeat(primers);
                pair.publisher.send(&batch).await.map_err(|failure| failure.to_string())?;
                pair.owed = primers;
            }
            pair.subscribe(channel, &mut facts).await?;
            pair.publish(channel, payload.as_bytes(), self.way.is_fleet, scene, &mut facts).await
        };
        let played: Result<(), String> = played.await;
        facts.cut = played.err();
        if facts.cut.is_some() {
            return (facts, None);
        }
        // What happens to the connection now changes nothing about this round, unless the message comes again.
        let is_usable = pair.unsubscribe(channel, payload.as_bytes(), &mut facts).await.is_ok();
        (facts, is_usable.then_some(pair))
    }
}

impl Pair {
    /// Reads what is there before the round begins, and drops it.
    async fn forget_earlier(&mut self) -> Result<(), String> {
        loop {
            let heard = hear(&mut self.subscriber, Duration::ZERO).await;
            match heard.map_err(|failure| failure.to_string())? {
                Heard::Nothing => return Ok(()),
                Heard::Closed => return Err("the subscriber was cut off before".into()),
                Heard::Message { .. }
                | Heard::Confirmed { .. }
                | Heard::Lost(_)
                | Heard::Reply(_) => {}
            }
        }
    }

    async fn subscribe(&mut self, channel: &[u8], facts: &mut Facts) -> Result<(), String> {
        let begun = Instant::now();
        let line = encode(&[b"SUBSCRIBE", channel]);
        self.subscriber.send(&line).await.map_err(|failure| failure.to_string())?;
        loop {
            let left = CONFIRM_DEADLINE.saturating_sub(begun.elapsed());
            let heard = hear(&mut self.subscriber, left).await;
            match heard.map_err(|failure| failure.to_string())? {
                Heard::Confirmed { what, channel: name }
                    if what == "subscribe" && name == channel =>
                {
                    facts.confirmed = Some(begun.elapsed());
                    return Ok(());
                }
                Heard::Lost(loss) => facts.losses.push(loss),
                Heard::Reply(reply) => return Err(format!("SUBSCRIBE gave {reply}")),
                Heard::Closed => return Err("the subscriber was cut off".into()),
                // The verdict is that it is stuck.
                Heard::Nothing => return Ok(()),
                Heard::Message { .. } | Heard::Confirmed { .. } => {}
            }
        }
    }

    /// Publishes and waits for the message and for the reply.
    async fn publish(
        &mut self,
        channel: &[u8],
        payload: &[u8],
        is_fleet: bool,
        scene: &Scene,
        facts: &mut Facts,
    ) -> Result<(), String> {
        if facts.confirmed.is_none() {
            return Ok(());
        }
        let begun = Instant::now();
        let line = encode(&[b"PUBLISH", channel, payload]);
        self.publisher.send(&line).await.map_err(|failure| failure.to_string())?;
        self.owed += 1;
        while facts.arrived.is_none() || self.owed > 0 {
            let is_told = facts.is_told(&scene.publisher_id);
            let patience = if is_fleet && !is_told { TOLD_DEADLINE } else { DEADLINE };
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            tokio::select! {
                heard = hear(&mut self.subscriber, left) => {
                    match heard.map_err(|failure| failure.to_string())? {
                        Heard::Message { payload: came, .. } if came == payload => {
                            facts.arrived.get_or_insert(begun.elapsed());
                            facts.times += 1;
                        }
                        Heard::Lost(loss) => facts.losses.push(loss),
                        Heard::Closed => return Err("the subscriber was cut off".into()),
                        Heard::Reply(_) | Heard::Message { .. } | Heard::Confirmed { .. } | Heard::Nothing => {}
                    }
                }
                answer = hear(&mut self.publisher, left), if self.owed > 0 => {
                    match answer.map_err(|failure| failure.to_string())? {
                        Heard::Reply(Reply::Integer(_)) => self.owed -= 1,
                        Heard::Reply(reply) => return Err(format!("PUBLISH gave {reply}")),
                        Heard::Closed => return Err("the publisher was cut off".into()),
                        Heard::Message { .. } | Heard::Confirmed { .. } | Heard::Lost(_) | Heard::Nothing => {}
                    }
                }
            }
            facts.is_published = self.owed == 0;
        }
        Ok(())
    }

    /// Ends the subscription, and looks whether the message comes again meanwhile.
    async fn unsubscribe(
        &mut self,
        channel: &[u8],
        payload: &[u8],
        facts: &mut Facts,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let line = encode(&[b"UNSUBSCRIBE", channel]);
        self.subscriber.send(&line).await.map_err(|failure| failure.to_string())?;
        loop {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let heard = hear(&mut self.subscriber, left).await;
            match heard.map_err(|failure| failure.to_string())? {
                Heard::Confirmed { what, .. } if what == "unsubscribe" => return Ok(()),
                Heard::Message { payload: came, .. } if came == payload => {
                    // Too late counts as missed.
                    facts.times += usize::from(facts.arrived.is_some());
                }
                Heard::Lost(loss) => facts.losses.push(loss),
                Heard::Closed => return Err("the subscriber was cut off".into()),
                Heard::Nothing => return Err("UNSUBSCRIBE was not confirmed".into()),
                Heard::Reply(_) | Heard::Message { .. } | Heard::Confirmed { .. } => {}
            }
        }
    }
}
