//! All clients of a run together.
//!
//! Owns: how many there are, who is at home where, starting and stopping them. Does not own: what one does (`team`, `subscribers`).
//! Invariant: once stopped, no operation of theirs is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::janitor::{self, Bench};
use super::subscribers;
use super::team::Team;
use super::workload::Workload;
use crate::chance::Chance;
use crate::door::Door;
use crate::failure::{Failure, Outcome};

/// How many clients a team has, so at most so many use a key at a time.
const CLIENTS: usize = 8;
/// How many teams a workload has, each with keys of its own: enough for the rate also where an answer takes a tenth of a second.
const TEAMS: usize = 3;
/// The pace is set higher than the rate that is asked for by this many hundredths, since some of the time goes to faults.
const HASTE: u32 = 130;
/// How many retired keys may wait for their judgement.
const RETIRED_MAX: usize = 4096;

/// Clients under way.
pub(super) struct Load {
    teams: Vec<(Workload, Arc<Team>)>,
    stop: Arc<AtomicBool>,
    stop_listening: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    subscribers: Vec<JoinHandle<()>>,
    janitor: JoinHandle<()>,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) workloads: &'a [Workload],
    /// Operations a second.
    pub(super) rate: u32,
    pub(super) slots: &'a [usize],
}

impl Load {
    pub(super) fn start(
        wanted: &Wanted<'_>,
        bench: &Bench,
        doors: &watch::Receiver<Vec<Door>>,
        chance: &mut Chance,
    ) -> Self {
        let (stop, stop_listening) = (Arc::default(), Arc::default());
        let (retired_tx, retired) = mpsc::channel(RETIRED_MAX);
        let janitor = janitor::work(
            bench.clone(),
            retired,
            doors.clone(),
            chance.branch(),
            Arc::clone(&stop),
        );
        let mut load = Self {
            teams: Vec::new(),
            clients: Vec::new(),
            subscribers: Vec::new(),
            janitor: tokio::spawn(janitor),
            stop,
            stop_listening,
        };
        let count = wanted.workloads.len() * TEAMS * CLIENTS;
        let interval = Duration::from_secs(100) * u32::try_from(count).unwrap_or(u32::MAX)
            / wanted.rate.max(1)
            / HASTE;
        for workload in wanted.workloads {
            for _ in 0..TEAMS {
                let team = Team::new(*workload, &bench.book, retired_tx.clone());
                for _ in 0..CLIENTS {
                    let home = load.clients.len() % wanted.slots.len().max(1);
                    let home = wanted.slots.get(home).copied().unwrap_or(1);
                    let own = chance.branch();
                    load.clients.push(team.client(home, doors.clone(), interval, &load.stop, own));
                }
                load.teams.push((*workload, team));
            }
        }
        let channels: Vec<_> = load.teams(Workload::PubSub).map(|team| team.keys()).collect();
        for slot in wanted.slots.iter().filter(|_| !channels.is_empty()) {
            let (doors, channels) = (doors.clone(), channels.clone());
            let stop = &load.stop_listening;
            load.subscribers.push(subscribers::start(*slot, &bench.book, doors, channels, stop));
        }
        load
    }

    /// Stops the clients, but not the subscribers, and waits until each has its last outcome.
    ///
    /// # Errors
    /// When one broke.
    pub(super) async fn stop_asking(&mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.await.map_err(|error| Failure::new(format!("a client broke: {error}")))?;
        }
        let judged = (&mut self.janitor).await;
        judged.map_err(|error| Failure::new(format!("the janitor broke: {error}")))
    }

    /// Gives the teams of a workload.
    pub(super) fn teams(&self, workload: Workload) -> impl Iterator<Item = &Arc<Team>> {
        let of = self.teams.iter().filter(move |(other, _)| *other == workload);
        of.map(|(_, team)| team)
    }

    /// Stops the subscribers.
    ///
    /// # Errors
    /// When one broke.
    pub(super) async fn stop_listening(self) -> Outcome {
        self.stop_listening.store(true, Ordering::Relaxed);
        for subscriber in self.subscribers {
            let ended = subscriber.await;
            ended.map_err(|error| Failure::new(format!("a subscriber broke: {error}")))?;
        }
        Ok(())
    }
}
