//! The subscriber that reads nothing, as a client of the RESP door.
//!
//! Owns: its connection, how it is found out that it was cut off, what it reads in the end. Does not own: the load. Invariant: from its
//! first message on, by which later gaps are known, not one byte is read until it is told to wake.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::CHANNEL;
use super::load::number_of;
use crate::client::{Client, encode};
use crate::failure::{Failure, Outcome};
use crate::heard::{Heard, hear, subscribe};
use crate::process::Node;
use crate::whole::Whole;

/// Between two looks whether it is still connected.
const LOOK: Duration = Duration::from_millis(20);
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How much the system holds for one that does not read, so that the node notices soon.
const RECEIVE_BUFFER: u32 = 64 * 1024;
/// The counter of clients that were cut off, in INFO.
const CUTS: &str = "client_output_buffer_limit_disconnections:";

/// A slow one that was cut off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// How long after its subscription.
    pub(super) after: Duration,
    /// How many messages it read afterwards until the end of its connection.
    pub(super) got: u64,
}

/// A slow one.
#[derive(Debug)]
pub(super) struct Sleeper {
    client: Client,
    id: i64,
    since: Instant,
    whole: Whole,
}

/// What a slow one was told when it read again.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) whole: Whole,
    pushes: usize,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whole { received, told, broken, .. } = &self.whole;
        write!(f, "received {received} and was told of {told} lost in {} pushes: ", self.pushes)?;
        write!(f, "together {}, {} faults", self.whole.due(), broken.len())
    }
}

impl Sleeper {
    /// Subscribes and falls asleep; `is_lossy` takes the policy that drops the oldest messages.
    pub(super) async fn start(node: &Node, is_lossy: bool) -> Outcome<Self> {
        let mut client = Client::connect_narrow(node.resp, RECEIVE_BUFFER).await?;
        let id = client.ask("CLIENT ID").await?.integer();
        let id = id.ok_or_else(|| Failure::new("CLIENT ID gives no number"))?;
        let mut lines = vec!["HELLO 3"];
        lines.extend(is_lossy.then_some("QUORATE.SUBSCRIBER POLICY oldest"));
        for line in lines {
            if let Some(text) = client.ask(line).await?.error_text() {
                return Err(Failure::new(format!("{line}: {text}")));
            }
        }
        // The number of the first message does not matter: only gaps after it do.
        let mut whole = Whole::new(u64::MAX - 1);
        let mut first = Vec::new();
        subscribe(&mut client, CHANNEL, |heard| first.push(heard)).await?;
        for heard in first {
            take(&mut whole, heard)?;
        }
        while whole.last().is_none() {
            match hear(&mut client, DEADLINE).await? {
                Heard::Nothing | Heard::Closed => return Err(Failure::new("it hears nothing")),
                heard @ (Heard::Message { .. }
                | Heard::Confirmed { .. }
                | Heard::Lost(_)
                | Heard::Reply(_)) => take(&mut whole, heard)?,
            }
        }
        Ok(Self { client, id, since: Instant::now(), whole })
    }

    /// Reads everything until the subscription has ended; `sent` is what was published up to now.
    pub(super) async fn wake(mut self, sent: u64) -> Outcome<Told> {
        let mut pushes = 0;
        let mut is_leaving = false;
        loop {
            let heard = hear(&mut self.client, DEADLINE).await?;
            match heard {
                Heard::Confirmed { what, .. } if what == "unsubscribe" => {
                    return Ok(Told { whole: self.whole, pushes });
                }
                Heard::Closed => return Err(Failure::new("it was cut off in spite of its policy")),
                Heard::Nothing => return Err(Failure::new("awake, it hears nothing")),
                Heard::Message { .. }
                | Heard::Confirmed { .. }
                | Heard::Lost(_)
                | Heard::Reply(_) => {
                    pushes += usize::from(matches!(heard, Heard::Lost(_)));
                    take(&mut self.whole, heard)?;
                }
            }
            // It leaves when it has caught up with what was published while it slept.
            if !is_leaving && self.whole.last() >= Some(sent) {
                is_leaving = true;
                self.client.send(&encode(&[b"UNSUBSCRIBE", CHANNEL])).await?;
            }
        }
    }

    /// Reads what is still on its way after it was cut off.
    async fn drain(mut self) -> Outcome<u64> {
        let mut got = 0;
        loop {
            match hear(&mut self.client, DEADLINE).await? {
                Heard::Message { .. } => got += 1,
                Heard::Closed => return Ok(got),
                Heard::Nothing => {
                    return Err(Failure::new("it was cut off, and its connection is open"));
                }
                Heard::Confirmed { .. } | Heard::Lost(_) | Heard::Reply(_) => {}
            }
        }
    }
}

fn take(whole: &mut Whole, heard: Heard) -> Outcome {
    match heard {
        Heard::Message { payload, .. } => whole.received(number_of(&payload)?),
        Heard::Lost(loss) => match loss.count {
            Some(count) if loss.cause == "slow" => whole.lost(count),
            _ => whole.broken.push(loss.to_string()),
        },
        Heard::Confirmed { .. } | Heard::Reply(_) | Heard::Closed | Heard::Nothing => {}
    }
    Ok(())
}

/// Keeps a slow one at `node` until `end`: each that is cut off is followed by another. Gives those that were cut off.
pub(super) async fn replace_until(node: &Node, end: Instant) -> Outcome<Vec<Cut>> {
    let mut control = node.client().await?;
    let mut cuts = Vec::new();
    let mut sleeper = Sleeper::start(node, false).await?;
    while Instant::now() < end {
        sleep(LOOK).await;
        let reply = control.ask(&format!("CLIENT LIST ID {}", sleeper.id)).await?;
        let text = reply.bytes().map(String::from_utf8_lossy).unwrap_or_default();
        if text.contains(&format!("id={} ", sleeper.id)) {
            continue;
        }
        let after = sleeper.since.elapsed();
        let gone = std::mem::replace(&mut sleeper, Sleeper::start(node, false).await?);
        cuts.push(Cut { after, got: gone.drain().await? });
    }
    Ok(cuts)
}

/// Tells whether a line of a node's log says that a subscriber was cut off.
pub(super) fn is_cut(line: &str) -> bool {
    line.contains("subscriber is too slow")
}

/// Gives how many subscribers the node says it has cut off.
pub(super) async fn counted_cuts(node: &Node) -> Outcome<Option<u64>> {
    let mut client = node.client().await?;
    let reply = client.ask("INFO stats").await?;
    let text = String::from_utf8_lossy(reply.bytes().unwrap_or_default()).into_owned();
    Ok(text.lines().find_map(|line| line.strip_prefix(CUTS)?.trim().parse().ok()))
}

/// Tells whether policies can be chosen.
pub(super) async fn knows_policies(node: &Node) -> Outcome<bool> {
    let mut client = node.client().await?;
    Ok(client.ask("QUORATE.SUBSCRIBER POLICY oldest").await?.error_text().is_none())
}
