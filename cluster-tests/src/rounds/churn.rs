//! Clients in the background: those that subscribe and unsubscribe all the time, and those that publish all the time.
//!
//! Owns: their pace, and the order of what the listeners hear. Does not own: the rounds. Invariant: a channel is let go on the board
//! only when its unsubscription was confirmed, or the connection is gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::board::{Board, busy};
use super::sequence::Orders;
use crate::chance::Chance;
use crate::client::{Client, encode};
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::heard::{self, Heard, hear};
use crate::pace::Pace;

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(10);
/// How many channels all listeners hold together.
const HELD: usize = 2_000;
/// How many replies a publisher may wait for; it lets ticks pass until they come.
const OWED_MAX: usize = 2_000;
/// The bytes of a payload beside its name and number.
const FILLING: &str = "................................................................";

/// What the clients in the background have done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) subscribed: u64,
    pub(super) unsubscribed: u64,
    pub(super) published: u64,
    pub(super) received: u64,
    pub(super) losses: u64,
    pub(super) broken: Vec<String>,
}

impl Done {
    pub(super) fn join(&mut self, other: Self) {
        self.subscribed += other.subscribed;
        self.unsubscribed += other.unsubscribed;
        self.published += other.published;
        self.received += other.received;
        self.losses += other.losses;
        self.broken.extend(other.broken);
    }
}

/// One client in the background.
#[derive(Debug)]
pub(super) struct Roamer {
    pub(super) id: usize,
    pub(super) doors: watch::Receiver<Vec<Door>>,
    pub(super) board: Arc<Board>,
    pub(super) chance: Chance,
    /// Commands a second.
    pub(super) rate: f64,
    /// How many there are of its kind.
    pub(super) of: usize,
}

impl Roamer {
    /// Gives the door of its own place, counted around, so that the nodes share the clients evenly.
    async fn connect(&mut self) -> Outcome<(Door, Client)> {
        let doors = self.doors.borrow().clone();
        let place = self.id.checked_rem(doors.len()).unwrap_or_default();
        let door = doors.get(place).cloned();
        let opened = match door {
            Some(door) => heard::open(&door).await.map(|client| (door, client)),
            None => Err(Failure::new("no door")),
        };
        if opened.is_err() {
            sleep(PAUSE).await;
        }
        opened
    }

    /// Subscribes and unsubscribes until the end.
    pub(super) async fn listen(mut self) -> Done {
        let mut done = Done::default();
        while !self.board.is_over() {
            let Ok((door, client)) = self.connect().await else { continue };
            let mut listener = Listener {
                client,
                slot: door.slot,
                wanted: VecDeque::new(),
                leaving: VecDeque::new(),
                orders: Orders::default(),
            };
            // It ends with the connection, and another one begins.
            let _end = self.listen_at(&mut listener, &mut done).await;
            for channel in listener.wanted.into_iter().chain(listener.leaving) {
                self.board.release((door.slot, channel));
            }
            done.received += listener.orders.received;
            let slot = door.slot;
            let broken = listener.orders.broken.iter().take(3);
            done.broken.extend(broken.map(|text| format!("a listener at n{slot}: {text}")));
        }
        done
    }

    async fn listen_at(&mut self, listener: &mut Listener, done: &mut Done) -> Outcome {
        let mut pace = Pace::new(self.rate);
        let held_max = HELD / self.of.max(1);
        while !self.board.is_over() {
            tokio::select! {
                due = pace.due() => {
                    let mut batch = Vec::new();
                    for _ in 0..due {
                        let Some(channel) = self.board.hold(listener.slot, &mut self.chance) else { continue };
                        listener.wanted.push_back(channel);
                        batch.extend(encode(&[b"SUBSCRIBE", busy(channel).as_bytes()]));
                    }
                    while listener.wanted.len() > held_max {
                        let Some(channel) = listener.wanted.pop_front() else { break };
                        listener.leaving.push_back(channel);
                        batch.extend(encode(&[b"UNSUBSCRIBE", busy(channel).as_bytes()]));
                    }
                    listener.client.send(&batch).await?;
                }
                heard = hear(&mut listener.client, Duration::from_secs(1)) => match heard? {
                    Heard::Message { payload, .. } => {
                        let filled = payload.strip_suffix(FILLING.as_bytes());
                        listener.orders.received(filled.unwrap_or_default());
                    }
                    Heard::Confirmed { what, .. } if what == "subscribe" => done.subscribed += 1,
                    Heard::Confirmed { .. } => {
                        done.unsubscribed += 1;
                        if let Some(channel) = listener.leaving.pop_front() {
                            self.board.release((listener.slot, channel));
                        }
                    }
                    Heard::Lost(_) => done.losses += 1,
                    Heard::Reply(reply) => return Err(Failure::new(reply.to_string())),
                    Heard::Closed => return Err(Failure::new("closed")),
                    Heard::Nothing => {}
                }
            }
        }
        Ok(())
    }

    /// Publishes until the end.
    pub(super) async fn publish(mut self) -> Done {
        let mut done = Done::default();
        let mut starts = 0_usize;
        while !self.board.is_over() {
            let Ok((_, mut client)) = self.connect().await else { continue };
            starts += 1;
            let name = format!("p{}.{starts}", self.id);
            // As above.
            let _end = self.publish_at(&mut client, &name, &mut done).await;
        }
        done
    }

    async fn publish_at(&mut self, client: &mut Client, name: &str, done: &mut Done) -> Outcome {
        let mut pace = Pace::new(self.rate);
        let (mut owed, mut number) = (0_usize, 0_u64);
        while !self.board.is_over() {
            tokio::select! {
                due = pace.due() => {
                    if owed > OWED_MAX {
                        continue;
                    }
                    let mut batch = Vec::new();
                    for _ in 0..due {
                        number += 1;
                        let channel = busy(self.board.draw(&mut self.chance));
                        let payload = format!("{name}:{number}{FILLING}");
                        batch.extend(encode(&[b"PUBLISH", channel.as_bytes(), payload.as_bytes()]));
                    }
                    owed += due;
                    client.send(&batch).await?;
                }
                heard = hear(client, Duration::from_secs(1)) => match heard? {
                    Heard::Reply(reply) if reply.integer().is_some() => {
                        owed = owed.saturating_sub(1);
                        done.published += 1;
                    }
                    Heard::Reply(reply) => return Err(Failure::new(reply.to_string())),
                    Heard::Closed => return Err(Failure::new("closed")),
                    Heard::Message { .. } | Heard::Confirmed { .. } | Heard::Lost(_) | Heard::Nothing => {}
                }
            }
        }
        Ok(())
    }
}

/// One connection that listens.
struct Listener {
    client: Client,
    slot: usize,
    /// Subscribed to, the oldest first.
    wanted: VecDeque<usize>,
    /// To be confirmed as unsubscribed, in this order.
    leaving: VecDeque<usize>,
    orders: Orders,
}
