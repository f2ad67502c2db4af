//! A fleet that grows and shrinks while processes are killed at random.
//!
//! Owns: the schedule of starts, leaves and kills, the timeline, the verdict. Does not own: the writers (`writer`) and the
//! watch over the voters (`watch`). Invariant: no two kills lie closer together than `kill_every`, and none leaves
//! fewer than two nodes.

mod watch;
mod writer;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::watch::Monitor;
use self::writer::{Record, Writers};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::process::{Group, Plan};

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// The sizes that the fleet takes on, one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,3,7,20,5,1")]
    sizes: Vec<usize>,
    /// How long it keeps each size
    #[arg(long, default_value_t = 40.0, value_name = "SECONDS")]
    hold: f64,
    /// The least time between two kills; a new process takes the place of each that was killed
    #[arg(long, default_value_t = 15.0, value_name = "SECONDS")]
    kill_every: f64,
    /// How many nodes may be asked to leave, or started, at once
    #[arg(long, default_value_t = 3)]
    at_once: usize,
    /// How many clients write
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// The seed of what is left to chance
    #[arg(long)]
    rng_seed: Option<u64>,
    /// How long other than three nodes may vote while at least three live: `voter_replace_after` and some slack
    #[arg(long, default_value_t = 15.0, value_name = "SECONDS")]
    voters_late: f64,
    /// How long one client may be without an acknowledged write
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    gap_max: f64,
}

/// Runs it and prints the timeline.
///
/// # Errors
/// When a promise is broken.
#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
pub async fn run(line: &Line) -> Outcome {
    let group = Group::new(Plan::default())?;
    let mut fleet = Fleet {
        chance: Chance::new(line.rng_seed),
        begun: Instant::now(),
        group,
        next_slot: 1,
        next_kill: Instant::now() + Duration::from_secs_f64(line.kill_every),
        line: line.clone(),
        kills: 0,
        leaves: 0,
    };
    println!("seed {}", fleet.chance.rng_seed());
    let result = fleet.run().await;
    if result.is_err() {
        println!("logs are kept in {}", fleet.group.keep().display());
    }
    result
}

struct Fleet {
    line: Line,
    chance: Chance,
    begun: Instant,
    group: Group,
    next_slot: usize,
    next_kill: Instant,
    kills: usize,
    leaves: usize,
}

impl Fleet {
    async fn run(&mut self) -> Outcome {
        self.start(1).await?;
        let writers = Writers::start(self.line.writers, &self.group, &mut self.chance);
        let monitor = Monitor::start(&self.group, self.begun);
        let sized = self.take_sizes(&writers).await;
        let records = writers.finish().await?;
        let seen = monitor.finish().await?;
        for text in seen.timeline.iter().chain(records.iter().flat_map(|r| r.remarks.iter())) {
            self.tell(text);
        }
        sized?;
        let last = self.group.open().pop().ok_or_else(|| Failure::new("no node is left"))?;
        let kept = writer::check(&last, &records).await?;
        self.tell(&format!("every acknowledged write is there: {kept}"));
        self.judge(&records, seen.longest)
    }

    #[expect(clippy::print_stdout, reason = "a tool for a terminal")]
    fn judge(&self, records: &[Record], longest: Duration) -> Outcome {
        let gap = records.iter().map(|record| record.longest_gap).max().unwrap_or_default();
        let sum = |of: fn(&Record) -> u64| records.iter().map(of).sum::<u64>();
        println!(
            "fleet {:?}: {} kills, {} planned leaves, {} writes acknowledged, {} refused, {} unknown; longest time of one \
             client without an acknowledged write {} ms; longest time with other than 3 voters while 3 or more lived {} ms",
            self.line.sizes,
            self.kills,
            self.leaves,
            sum(|r| r.done),
            sum(|r| r.refused),
            sum(|r| r.unknown),
            gap.as_millis(),
            longest.as_millis()
        );
        if let Some(broken) = records.iter().find_map(|record| record.broken.first()) {
            return Err(Failure::new(broken.clone()));
        }
        let conflict = writer::conflict(records);
        if let Some(conflict) = conflict {
            return Err(Failure::new(conflict));
        }
        if gap > Duration::from_secs_f64(self.line.gap_max) {
            let text =
                format!("a client was {gap:?} without a write; limit {} s", self.line.gap_max);
            return Err(Failure::new(text));
        }
        if longest > Duration::from_secs_f64(self.line.voters_late) {
            let text =
                format!("{longest:?} without three voters; limit {} s", self.line.voters_late);
            return Err(Failure::new(text));
        }
        Ok(())
    }

    /// Prints a line of the timeline.
    #[expect(clippy::print_stdout, reason = "a tool for a terminal")]
    fn tell(&self, text: &str) {
        println!(
            "{:7.1} s  {:2} live  {text}",
            self.begun.elapsed().as_secs_f64(),
            self.group.slots().len()
        );
    }

    async fn take_sizes(&mut self, writers: &Writers) -> Outcome {
        for size in self.line.sizes.clone() {
            self.tell(&format!("to {size}"));
            self.resize(size).await?;
            let until = Instant::now() + Duration::from_secs_f64(self.line.hold);
            while Instant::now() < until {
                sleep(Duration::from_millis(100)).await;
                self.group.all_run()?;
                self.resize(size).await?;
            }
            self.group.settle(size.min(3), Duration::from_secs_f64(self.line.voters_late)).await?;
            let done = writers.done();
            self.tell(&format!("{size} kept, {done} writes acknowledged"));
        }
        Ok(())
    }

    /// Starts or ends processes until `size` live, and kills one whenever that is due.
    async fn resize(&mut self, size: usize) -> Outcome {
        loop {
            self.kill_if_due().await?;
            let live = self.group.slots().len();
            if live < size {
                self.start((size - live).min(self.line.at_once)).await?;
            } else if live > size {
                self.leave((live - size).min(self.line.at_once)).await?;
            } else {
                return Ok(());
            }
        }
    }

    async fn start(&mut self, count: usize) -> Outcome {
        let slots: Vec<usize> = (self.next_slot..self.next_slot + count).collect();
        self.next_slot += count;
        let begun = Instant::now();
        self.group.start(&slots).await?;
        self.tell(&format!(
            "started {}, ready after {} ms",
            names(&slots),
            begun.elapsed().as_millis()
        ));
        Ok(())
    }

    async fn leave(&mut self, count: usize) -> Outcome {
        let live = self.group.slots();
        let mut slots = BTreeSet::new();
        while slots.len() < count.min(live.len()) {
            slots.extend(self.chance.pick(&live));
        }
        let slots: Vec<usize> = slots.into_iter().collect();
        let roles = self.roles(&slots).await;
        let times = self.group.leave(&slots).await?;
        let longest = times.iter().max().copied().unwrap_or_default();
        self.leaves += slots.len();
        self.tell(&format!("{} left within {} ms{roles}", names(&slots), longest.as_millis()));
        Ok(())
    }

    async fn kill_if_due(&mut self) -> Outcome {
        let live = self.group.slots();
        if Instant::now() < self.next_kill || live.len() < 3 {
            return Ok(());
        }
        // Every other one is the leader, who would be hit rarely among twenty.
        let leader = self.group.look().await.leader().map(|leader| leader.slot);
        let victim =
            leader.filter(|_| self.chance.below(2) == 0).or_else(|| self.chance.pick(&live));
        let Some(victim) = victim else { return Ok(()) };
        let roles = self.roles(&[victim]).await;
        self.group.kill(victim).await?;
        self.kills += 1;
        let most = Duration::from_secs_f64(self.line.kill_every);
        self.next_kill = Instant::now() + most + self.chance.between(Duration::ZERO, most / 3);
        self.tell(&format!("killed n{victim}{roles}"));
        Ok(())
    }

    /// Says what part the nodes in `slots` have in agreement, if it is more than to follow.
    async fn roles(&self, slots: &[usize]) -> String {
        let doors = self.group.open();
        let view = self.group.look().await;
        let mut roles = Vec::new();
        for door in doors.iter().filter(|door| slots.contains(&door.slot)) {
            if let Some(leader) = view.leader() {
                if leader.slot == door.slot {
                    roles.push(format!("n{} led", door.slot));
                } else if leader.voters.contains(&door.id) {
                    roles.push(format!("n{} voted", door.slot));
                }
            }
        }
        if roles.is_empty() { String::new() } else { format!(" ({})", roles.join(", ")) }
    }
}

fn names(slots: &[usize]) -> String {
    let names: Vec<String> = slots.iter().map(|slot| format!("n{slot}")).collect();
    names.join(", ")
}
