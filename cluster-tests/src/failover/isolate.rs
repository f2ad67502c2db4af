//! One round in which the leader is cut off from everybody else, and comes back.
//!
//! Owns: the writers at the nodes of a network of their own, what they know. Does not own: the cuts, the nodes. Invariant: a
//! round passes only if the others had taken writes before the cut was healed, and every node has all that was acknowledged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Load;
use crate::door::{Door, Effect, attempt, check_keys, longest_gap};
use crate::failure::{Failure, Outcome};
use crate::network::{Network, isolate as cuts};
use crate::process::{Group, Plan};

/// How long the cluster may take until all serve again.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);
/// Each node is on a host of its own, and sees no other's lock.
const CONFIG: &str = "[node]\nhost = \"host-{slot}\"\nlock_dir = \"{folder}/locks-{slot}\"\n";

/// What one round has shown.
#[derive(Debug, Clone)]
pub(super) struct Isolation {
    leader: usize,
    pub(super) gap: Duration,
    acknowledged: usize,
    unknown: usize,
    behind: usize,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leader, gap, acknowledged, unknown, behind } = self;
        let ms = gap.as_millis();
        write!(
            f,
            "leader n{leader} cut off, write gap {ms} ms, {acknowledged} writes acknowledged "
        )?;
        write!(f, "and all there, {unknown} unknown, {behind} acknowledged at n{leader} meanwhile")
    }
}

/// What one writer knows: its keys hold their numbers.
#[derive(Debug, Default)]
struct Record {
    slot: usize,
    prefix: String,
    acknowledged: Vec<u64>,
    times: Vec<Instant>,
    unknown: usize,
}

/// Starts so many nodes.
pub(super) async fn start(nodes: usize, network: Option<Network>) -> Outcome<Group> {
    let mut group = Group::new(Plan { network, durable: false, config: CONFIG.into() })?;
    group.start(&(1..=nodes).collect::<Vec<_>>()).await?;
    Ok(group)
}

/// Runs one round.
pub(super) async fn isolate(
    group: &mut Group,
    nodes: usize,
    load: &Load,
    isolated: Duration,
    number: usize,
) -> Outcome<Isolation> {
    group.settle(nodes.min(3), SETTLE_DEADLINE).await?;
    let leader = group.leader().await?;
    let doors = group.open();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers: Vec<JoinHandle<Record>> = Vec::new();
    for door in &doors {
        for writer in 0..load.writers {
            let prefix = format!("i{number}:{}:{writer}:", door.slot);
            writers.push(tokio::spawn(write(door.clone(), prefix, Arc::clone(&stop))));
        }
    }
    sleep(load.before).await;
    let slots = group.slots();
    let begun = Instant::now();
    let cut = network(group).and_then(|network| network.cut(&cuts(leader, &slots)));
    sleep(isolated).await;
    let healed = Instant::now();
    let healing =
        network(group).and_then(|network| network.cut(&std::collections::BTreeSet::new()));
    sleep(load.after).await;
    stop.store(true, Ordering::Relaxed);
    let mut records = Vec::new();
    for writer in writers {
        let record = writer.await;
        records.push(record.map_err(|error| Failure::new(format!("a writer broke: {error}")))?);
    }
    cut?;
    healing?;
    group.settle(nodes.min(3), SETTLE_DEADLINE).await?;
    for door in &doors {
        let mut client = door.open().await?;
        for record in &records {
            let checked = check_keys(&mut client, &record.prefix, &record.acknowledged).await;
            checked.map_err(|failure| failure.during(format!("n{}", door.slot)))?;
        }
    }
    judge(leader, &doors, &records, [begun, healed])
}

fn network(group: &Group) -> Outcome<&Network> {
    group.network().ok_or_else(|| Failure::new("no network to cut"))
}

fn judge(
    leader: usize,
    doors: &[Door],
    records: &[Record],
    [begun, healed]: [Instant; 2],
) -> Outcome<Isolation> {
    let times = |slot: usize| {
        let here = records.iter().filter(move |record| record.slot == slot);
        here.flat_map(|record| record.times.iter().copied())
    };
    let mut gap = Duration::ZERO;
    for slot in doors.iter().map(|door| door.slot).filter(|slot| *slot != leader) {
        let here: Vec<Instant> = times(slot).collect();
        let longest = longest_gap(&here, begun);
        let longest = longest.ok_or_else(|| Failure::new(format!("n{slot} took no writes")))?;
        if !here.iter().any(|time| *time > begun + (healed - begun) / 2 && *time < healed) {
            return Err(Failure::new(format!("n{slot} took no write late in the cut")));
        }
        gap = gap.max(longest);
    }
    // What was under way at the moment of the cut may still have been answered right after it.
    let meanwhile = begun + Duration::from_millis(100)..healed;
    Ok(Isolation {
        leader,
        gap,
        acknowledged: records.iter().map(|record| record.acknowledged.len()).sum(),
        unknown: records.iter().map(|record| record.unknown).sum(),
        behind: times(leader).filter(|time| meanwhile.contains(time)).count(),
    })
}

/// Writes at one node until told to stop, one write after the other.
async fn write(door: Door, prefix: String, stop: Arc<AtomicBool>) -> Record {
    let mut record = Record { slot: door.slot, prefix, ..Record::default() };
    let mut client = None;
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = &mut client else {
            client = door.open().await.ok();
            continue;
        };
        number += 1;
        let (key, value) = (format!("{}{number}", record.prefix), number.to_string());
        match attempt(open, &[b"SET", key.as_bytes(), value.as_bytes()]).await {
            Effect::Done(_) => {
                record.acknowledged.push(number);
                record.times.push(Instant::now());
            }
            // Tried again soon, as clients do.
            Effect::Refused(_) => sleep(Duration::from_millis(5)).await,
            Effect::Unknown(_) => record.unknown += 1,
            Effect::Cut => {
                record.unknown += 1;
                client = None;
            }
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors() -> Vec<Door> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let door =
            |slot| Door { slot, id: String::new(), resp: address, http: address, password: None };
        (1..=3).map(door).collect()
    }

    #[test]
    fn the_gap_is_that_of_the_node_that_waits_longest_and_not_of_the_one_cut_off() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let record = |slot, times: &[u64]| Record {
            slot,
            times: times.iter().map(|ms| at(*ms)).collect(),
            ..Record::default()
        };
        let cut = [at(1000), at(4000)];
        let records = [
            record(1, &[990, 5000]),
            record(2, &[0, 980, 1500, 4500]),
            record(3, &[995, 1900, 2000, 4400]),
        ];
        // At n2 nothing came from 1.5 s to 4.5 s.
        let round = judge(1, &doors(), &records, cut);
        assert!(round.is_err(), "{round:?}");
        let records = [
            record(1, &[990, 5000]),
            record(2, &[0, 980, 1500, 1600, 2600, 3600, 4500]),
            record(3, &[995, 2045, 2500, 3500, 4400]),
        ];
        let round = judge(1, &doors(), &records, cut).map(|round| (round.gap, round.behind));
        assert_eq!(round, Ok((Duration::from_millis(1050), 0)));
        assert!(judge(1, &doors(), &records[..1], cut).is_err());
    }
}
