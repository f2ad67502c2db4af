//! What a busy channel costs the nodes on which nobody listens to it.
//!
//! Owns: the phases, the bytes between each two nodes in each of them. Does not own: counting bytes, which the kernel does (`network`),
//! and the nodes (`lanes`). Invariant: before and after pruning the same messages go at the same rate, in one cluster; what
//! flows when nobody publishes is measured, too, and told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::{Client, encode};
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::heard::{self, Heard, hear, subscribe};
use crate::lanes::Counters;
use crate::network::{Cut, Network};
use crate::pace::Pace;
use crate::process::{Group, Plan};
use crate::whole::Whole;

/// How long a cluster may take to settle.
const SETTLE_DEADLINE: Duration = Duration::from_secs(30);
/// How long a message may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the cluster is left alone before and between measurements.
const REST: Duration = Duration::from_secs(1);
/// The share of the flood that may go on after pruning, beside what flows anyway.
const SHARE_MAX: f64 = 0.05;
/// The publisher's node, that of the first listener, and that of a late one.
const SLOTS: (usize, usize, usize) = (1, 2, 5);

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// How many nodes
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// Messages a second
    #[arg(long, default_value_t = 2_000)]
    rate: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// How long each phase is measured
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    time: f64,
}

/// Runs all phases and prints what each has shown.
///
/// # Errors
/// When messages go on to nodes without a listener, or a listener misses one.
pub async fn run(line: &Line, network: Option<Network>) -> Outcome {
    if line.nodes < SLOTS.2 + 1 {
        return Err(Failure::new(format!("at least {} nodes are needed", SLOTS.2 + 1)));
    }
    let mut group = Group::new(Plan { network, ..Plan::default() })?;
    let result = phases(line, &mut group).await;
    if result.is_err() {
        figures::note(format!("logs are kept in {}", group.keep().display()));
    }
    result
}

async fn phases(line: &Line, group: &mut Group) -> Outcome {
    group.start(&(1..=line.nodes).collect::<Vec<_>>()).await?;
    group.settle(3, SETTLE_DEADLINE).await?;
    if let Some(network) = group.network() {
        network.count()?;
    }
    let door = |slot: usize| {
        let found = group.open().into_iter().find(|door| door.slot == slot);
        found.ok_or_else(|| Failure::new(format!("n{slot} is not there")))
    };
    let (publisher, first, late) = (door(SLOTS.0)?, door(SLOTS.1)?, door(SLOTS.2)?);
    let meter = Meter { group, line };
    sleep(REST).await;
    let idle = meter.measure().await?;

    let flood = Publisher::start(&publisher, line, Channels::Each).await?;
    sleep(REST).await;
    let before = meter.measure().await?;
    flood.stop().await?;
    sleep(REST).await;

    let listener = Listener::start(&first, &Arc::default()).await?;
    let since = meter.read().await?;
    let busy = Publisher::start(&publisher, line, Channels::One).await?;
    sleep(REST).await;
    let settling = Reading::between(&since, &meter.read().await?);
    let after = meter.measure().await?;

    let late = Listener::start(&late, &busy.sent).await?;
    sleep(REST).await;
    let grafted = meter.measure().await?;
    let published = busy.stop().await?;
    let heard = [(SLOTS.1, listener.end(published).await?), (SLOTS.2, late.end(published).await?)];
    sleep(REST).await;

    let own = Listener::start(&publisher, &Arc::default()).await?;
    let busy = Publisher::start(&publisher, line, Channels::One).await?;
    sleep(REST).await;
    let alone = meter.measure().await?;
    let heard_alone = own.end(busy.stop().await?).await?;

    let silent = |except: &[usize]| -> Vec<usize> {
        (1..=line.nodes).filter(|slot| *slot != SLOTS.0 && !except.contains(slot)).collect()
    };
    let others = silent(&[SLOTS.1]);
    idle.tell("nobody publishes", &silent(&[]));
    before
        .tell("every message on a channel of its own, which nobody can have pruned", &silent(&[]));
    settling.tell("the first second of one channel with a listener on n2", &others);
    after.tell("one channel with a listener on n2, from then on", &others);
    after.tell("the same, to the node with the listener", &[SLOTS.1]);
    grafted.tell("the same after somebody subscribed on n5 too, to n5", &[SLOTS.2]);
    alone.tell("one channel with a listener on the publisher's own node only", &silent(&[]));
    let mut broken = 0;
    for (slot, whole) in heard.iter().chain(&[(SLOTS.0, heard_alone)]) {
        let Whole { received, broken: faults, .. } = whole;
        figures::figure(format!(
            "traffic: the listener on n{slot} heard {received} messages, from its confirmation on {} faults",
            faults.len()
        ));
        faults.iter().take(5).for_each(|text| figures::note(format!("broken: {text}")));
        broken += faults.len();
    }
    if broken > 0 {
        return Err(Failure::new(format!("{broken} messages did not come as they should")));
    }
    let mut settled = settles("with a listener on n2", &others, &idle, &before, &after);
    settled.extend(settles("with a listener on n1", &silent(&[]), &idle, &before, &alone));
    settled.first().map_or(Ok(()), |text| Err(Failure::new(text)))
}

/// Compares what goes on with the flood, and says where it is too much.
fn settles(
    what: &str,
    slots: &[usize],
    idle: &Reading,
    before: &Reading,
    after: &Reading,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, of) in [("on the wire", Reading::wire as Of), ("on the lane", Reading::lane)] {
        let shares: Vec<(usize, f64)> = slots
            .iter()
            .filter_map(|slot| {
                let (idle, before, after) =
                    (of(idle, *slot)?, of(before, *slot)?, of(after, *slot)?);
                Some((*slot, (after - idle).max(0.0) / (before - idle).max(1.0)))
            })
            .collect();
        let Some((slot, most)) = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
            figures::left_out(format!(
                "the share of the flood that is still sent {name}, because nobody counts it"
            ));
            continue;
        };
        figures::figure(format!(
            "traffic: share of the flood that is still sent {name} {what}, beside what flows when nobody publishes: at most \
             {:.2} % (to n{slot}), of {} nodes without a listener",
            most * 100.0,
            shares.len()
        ));
        if *most > SHARE_MAX {
            wrong.push(format!(
                "{:.1} % of the flood are still sent {name} to n{slot} {what}",
                most * 100.0
            ));
        }
    }
    wrong
}

type Of = fn(&Reading, usize) -> Option<f64>;

/// Bytes a second.
#[derive(Debug, Default)]
struct Reading {
    /// From the publisher's node to each other one.
    wire: BTreeMap<usize, f64>,
    /// As the publisher's node counts them.
    lanes: BTreeMap<usize, f64>,
    /// Over all nodes.
    whole: Option<f64>,
}

/// Where the counters stand.
struct Stand {
    at: Instant,
    wire: Option<BTreeMap<Cut, u64>>,
    lanes: BTreeMap<usize, u64>,
}

impl Reading {
    fn between(one: &Stand, other: &Stand) -> Self {
        let seconds = (other.at - one.at).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
        let rate = |one: u64, other: u64| other.saturating_sub(one) as f64 / seconds;
        let mut reading = Self::default();
        if let (Some(before), Some(after)) = (&one.wire, &other.wire) {
            for (pair, bytes) in after {
                let rate = rate(before.get(pair).copied().unwrap_or_default(), *bytes);
                *reading.whole.get_or_insert(0.0) += rate;
                if pair.0 == SLOTS.0 {
                    reading.wire.insert(pair.1, rate);
                }
            }
        }
        for (slot, bytes) in &other.lanes {
            let before = one.lanes.get(slot).copied().unwrap_or_default();
            reading.lanes.insert(*slot, rate(before, *bytes));
        }
        reading
    }

    fn wire(&self, slot: usize) -> Option<f64> {
        self.wire.get(&slot).copied()
    }

    fn lane(&self, slot: usize) -> Option<f64> {
        self.lanes.get(&slot).copied()
    }

    /// Prints what went to `slots`.
    fn tell(&self, what: &str, slots: &[usize]) {
        let list = |of: Of| {
            let mut rates: Vec<f64> = slots.iter().filter_map(|slot| of(self, *slot)).collect();
            rates.sort_by(f64::total_cmp);
            let (least, most) = (rates.first()?, rates.last()?);
            let middle = rates.get(rates.len() / 2)?;
            Some(match rates.len() {
                1 => format!("{:.1} kB/s", most / 1e3),
                count => format!(
                    "{:.1} to {:.1} kB/s, median {:.1}, to each of {count}",
                    least / 1e3,
                    most / 1e3,
                    middle / 1e3
                ),
            })
        };
        let wire = list(Self::wire).unwrap_or_else(|| "not measured".into());
        let lane = list(Self::lane).unwrap_or_else(|| "not counted".into());
        let whole = self.whole.map_or_else(String::new, |whole| {
            format!("; between all nodes {:.1} kB/s on the wire", whole / 1e3)
        });
        figures::figure(format!(
            "traffic: {what}: {wire} on the wire from n1, {lane} on its lanes{whole}"
        ));
    }
}

/// Reads all counters.
struct Meter<'a> {
    group: &'a Group,
    line: &'a Line,
}

impl Meter<'_> {
    async fn read(&self) -> Outcome<Stand> {
        let wire = self.group.network().map(Network::counted).transpose()?;
        let doors = self.group.open();
        let publisher: Vec<Door> =
            doors.iter().filter(|door| door.slot == SLOTS.0).cloned().collect();
        let counters = Counters::read(&publisher).await?;
        let slot = |id: &str| doors.iter().find(|door| door.id == id).map(|door| door.slot);
        let lanes = counters.by("quorate_lane_sent_bytes_total", "peer");
        let lanes = lanes.into_iter().filter_map(|(id, bytes)| Some((slot(&id)?, bytes))).collect();
        Ok(Stand { at: Instant::now(), wire, lanes })
    }

    async fn measure(&self) -> Outcome<Reading> {
        let before = self.read().await?;
        sleep(Duration::from_secs_f64(self.line.time)).await;
        Ok(Reading::between(&before, &self.read().await?))
    }
}

/// Where messages go.
#[derive(Debug, Clone, Copy)]
enum Channels {
    One,
    Each,
}

impl Channels {
    /// All names have one length.
    fn name(self, number: u64) -> String {
        match self {
            Self::One => "busy:0000000000".into(),
            Self::Each => format!("each:{number:010}"),
        }
    }
}

/// Publishes at a steady pace until it is stopped.
struct Publisher {
    sent: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Outcome>,
}

impl Publisher {
    async fn start(door: &Door, line: &Line, channels: Channels) -> Outcome<Self> {
        let client = heard::open(door).await?;
        let (stop, stopped) = watch::channel(false);
        let sent = Arc::new(AtomicU64::new(0));
        let (size, counted) = (line.size, Arc::clone(&sent));
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let pace = Pace::new(line.rate as f64);
        let task = tokio::spawn(publish(client, channels, size, pace, counted, stopped));
        Ok(Self { sent, stop, task })
    }

    /// Stops it, and gives how many it has published.
    async fn stop(self) -> Outcome<u64> {
        self.stop.send_replace(true);
        self.task
            .await
            .map_err(|error| Failure::new(format!("the publisher broke: {error}")))??;
        Ok(self.sent.load(Ordering::Acquire))
    }
}

async fn publish(
    mut client: Client,
    channels: Channels,
    size: usize,
    mut pace: Pace,
    sent: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
) -> Outcome {
    let mut owed = 0;
    loop {
        tokio::select! {
            due = pace.due(), if !*stopped.borrow() => {
                let due = due as u64;
                let first = sent.fetch_add(due, Ordering::AcqRel) + 1;
                let mut batch = Vec::new();
                for number in first..first + due {
                    let payload = format!("{number:0size$}");
                    let name = channels.name(number);
                    batch.extend(encode(&[b"PUBLISH", name.as_bytes(), payload.as_bytes()]));
                }
                owed += due;
                client.send(&batch).await?;
            }
            heard = hear(&mut client, DEADLINE) => match heard? {
                Heard::Reply(reply) if reply.integer().is_some() => owed -= 1,
                other @ (Heard::Reply(_) | Heard::Message { .. } | Heard::Confirmed { .. } | Heard::Lost(_)
                | Heard::Closed | Heard::Nothing) => {
                    return Err(Failure::new(format!("PUBLISH gave {other:?}")));
                }
            },
            _ = stopped.changed() => {}
        }
        if *stopped.borrow() && owed == 0 {
            return Ok(());
        }
    }
}

/// Listens to the busy channel, and judges what comes.
struct Listener {
    /// The last number that was published, once it is known.
    end: watch::Sender<Option<u64>>,
    task: JoinHandle<Outcome<Whole>>,
}

impl Listener {
    /// Subscribes, and returns when that is confirmed.
    async fn start(door: &Door, sent: &Arc<AtomicU64>) -> Outcome<Self> {
        let mut client = heard::open(door).await?;
        let mut early = Vec::new();
        let name = Channels::One.name(0);
        subscribe(&mut client, name.as_bytes(), |heard| early.push(heard)).await?;
        let whole = Whole::new(sent.load(Ordering::Acquire));
        let (end, ends) = watch::channel(None);
        Ok(Self { end, task: tokio::spawn(listen(client, whole, early, ends)) })
    }

    /// Waits until the last one has come, and gives what was heard.
    async fn end(self, published: u64) -> Outcome<Whole> {
        self.end.send_replace(Some(published));
        self.task.await.map_err(|error| Failure::new(format!("a listener broke: {error}")))?
    }
}

async fn listen(
    mut client: Client,
    mut whole: Whole,
    early: Vec<Heard>,
    mut ends: watch::Receiver<Option<u64>>,
) -> Outcome<Whole> {
    for heard in early {
        take(&mut whole, heard)?;
    }
    let mut deadline = None;
    loop {
        if let Some(published) = *ends.borrow_and_update() {
            let until: Instant = *deadline.get_or_insert_with(|| Instant::now() + DEADLINE);
            if whole.last() >= Some(published) || Instant::now() > until {
                whole.end(published);
                return Ok(whole);
            }
        }
        tokio::select! {
            heard = hear(&mut client, DEADLINE) => take(&mut whole, heard?)?,
            _ = ends.changed() => {}
        }
    }
}

fn take(whole: &mut Whole, heard: Heard) -> Outcome {
    match heard {
        Heard::Message { payload, .. } => {
            let number = String::from_utf8_lossy(&payload).parse();
            whole.received(number.map_err(|_| Failure::new("a message that is no number"))?);
            Ok(())
        }
        // Nothing may be lost here; what is missing must not be forgiven.
        Heard::Lost(loss) => {
            whole.broken.push(loss.to_string());
            Ok(())
        }
        Heard::Closed => Err(Failure::new("a listener was cut off")),
        Heard::Confirmed { .. } | Heard::Reply(_) | Heard::Nothing => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(rates: &[(usize, f64)]) -> Reading {
        Reading { wire: rates.iter().copied().collect(), ..Reading::default() }
    }

    #[test]
    fn what_goes_on_is_compared_with_the_flood() {
        let (idle, before) =
            (reading(&[(3, 10.0), (4, 10.0)]), reading(&[(3, 1010.0), (4, 1010.0)]));
        let quiet = reading(&[(3, 12.0), (4, 59.0)]);
        assert!(settles("", &[3, 4], &idle, &before, &quiet).is_empty());
        let loud = reading(&[(3, 12.0), (4, 61.0)]);
        let wrong = settles("", &[3, 4], &idle, &before, &loud);
        assert!(
            wrong.len() == 1
                && wrong[0].starts_with("5.1 % of the flood are still sent on the wire to n4"),
            "{wrong:?}"
        );
        assert!(settles("", &[3, 4], &idle, &before, &before).len() == 1, "nothing was pruned");
    }

    #[test]
    fn both_kinds_of_channels_have_names_of_one_length() {
        assert_eq!(Channels::One.name(7).len(), Channels::Each.name(7).len());
    }
}
