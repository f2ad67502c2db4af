//! Does harm to a cluster, and undoes it.
//!
//! Owns: which fault hits whom and for how long, and the proof that every node serves again after each. Does not own: the
//! verdict on the data. Invariant: at most a minority of all nodes is dead, paused or cut off at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::door::{Effect, attempt};
use crate::failure::{Failure, Outcome};
use crate::network::{Cut, deaf, halves, isolate, mute};
use crate::process::{Group, Signal, wait_for};

/// How long a fault lasts.
const HARM: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(6000));
/// How long the cluster is left alone between two.
const CALM: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(3000));
/// How long every node may take to serve again once a fault is over.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(40);

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Pause,
    Isolate,
    Deaf,
    Mute,
    Halves,
}

impl Fault {
    const WITHOUT_NETWORK: &[Self] = &[Self::Kill, Self::Pause];
    const ALL: &[Self] = &[
        Self::Kill,
        Self::Kill,
        Self::Pause,
        Self::Pause,
        Self::Isolate,
        Self::Deaf,
        Self::Mute,
        Self::Halves,
    ];
}

/// The one that does it.
#[derive(Debug)]
pub(super) struct Nemesis {
    chance: Chance,
    slots: Vec<usize>,
    begun: Instant,
    counts: BTreeMap<Fault, usize>,
    recoveries: Vec<Duration>,
}

impl Nemesis {
    pub(super) const fn new(chance: Chance, slots: Vec<usize>, begun: Instant) -> Self {
        Self { chance, slots, begun, counts: BTreeMap::new(), recoveries: Vec::new() }
    }

    pub(super) fn summary(&self) -> String {
        let faults: Vec<String> =
            self.counts.iter().map(|(fault, count)| format!("{count} {fault:?}")).collect();
        let longest = self.recoveries.iter().max().copied().unwrap_or_default();
        format!(
            "{}; every node served again at most {} ms after a fault was over",
            faults.join(", ").to_lowercase(),
            longest.as_millis()
        )
    }

    /// Does one fault after the other until `until`.
    pub(super) async fn trouble(&mut self, group: &mut Group, until: Instant) -> Outcome {
        while Instant::now() < until {
            sleep(self.chance.between(CALM.0, CALM.1)).await;
            let faults =
                if group.network().is_some() { Fault::ALL } else { Fault::WITHOUT_NETWORK };
            let Some(fault) = self.chance.pick(faults) else { continue };
            // Three of four hit the leader.
            let leader = group.leader().await?;
            let other = self.chance.pick(&self.slots).filter(|_| self.chance.below(4) == 0);
            let victim = other.unwrap_or(leader);
            let role = if victim == leader { "leader " } else { "" };
            let harm = self.chance.between(HARM.0, HARM.1);
            let hit = self.hit(group, fault, victim, harm).await;
            *self.counts.entry(fault).or_default() += 1;
            let over = Instant::now();
            let recovered = match hit {
                Ok(()) => self.recovered(group).await,
                Err(failure) => Err(failure),
            };
            self.recoveries.push(over.elapsed());
            self.tell(&format!(
                "{fault:?} {role}n{victim} for {} ms; all serve {} ms later",
                harm.as_millis(),
                over.elapsed().as_millis()
            ));
            recovered
                .map_err(|failure| failure.during(format!("after {fault:?} of {role}n{victim}")))?;
        }
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "a tool for a terminal")]
    fn tell(&self, text: &str) {
        println!("{:7.1} s  {text}", self.begun.elapsed().as_secs_f64());
    }

    async fn hit(
        &mut self,
        group: &mut Group,
        fault: Fault,
        victim: usize,
        harm: Duration,
    ) -> Outcome {
        let cuts = match fault {
            Fault::Kill => {
                group.kill(victim).await?;
                sleep(harm).await;
                return group.start(&[victim]).await;
            }
            Fault::Pause => {
                group.signal(victim, Signal::Stop)?;
                sleep(harm).await;
                return group.signal(victim, Signal::Cont);
            }
            Fault::Isolate => isolate(victim, &self.slots),
            Fault::Deaf => deaf(victim, &self.slots),
            Fault::Mute => mute(victim, &self.slots),
            Fault::Halves => self.minority(victim),
        };
        let network = group.network().ok_or_else(|| Failure::new("no network to cut"))?;
        network.cut(&cuts)?;
        sleep(harm).await;
        network.cut(&BTreeSet::new())
    }

    /// Cuts a minority off, with the victim in it.
    fn minority(&mut self, victim: usize) -> BTreeSet<Cut> {
        let most = (self.slots.len().saturating_sub(1) / 2).max(1);
        let mut here = BTreeSet::from([victim]);
        while here.len() < most {
            here.extend(self.chance.pick(&self.slots));
        }
        let (here, there): (Vec<usize>, Vec<usize>) =
            self.slots.iter().partition(|slot| here.contains(slot));
        halves(&here, &there)
    }

    /// Waits until a write at every node is answered.
    async fn recovered(&self, group: &mut Group) -> Outcome {
        let mut result = Ok(());
        for door in group.open() {
            let what = format!("a write at n{}", door.slot);
            result = wait_for(&what, RECOVERY_DEADLINE, || async {
                match attempt(&mut door.open().await?, &[b"SET", b"recovered", b"1"]).await {
                    Effect::Done(_) => Ok(()),
                    other @ (Effect::Refused(_) | Effect::Unknown(_) | Effect::Cut) => {
                        Err(Failure::new(format!("{other:?}")))
                    }
                }
            })
            .await;
            if result.is_err() {
                break;
            }
        }
        group.all_run()?;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_is_cut_off_with_the_victim() {
        for seed in 0..20 {
            let mut nemesis =
                Nemesis::new(Chance::new(Some(seed)), (1..=5).collect(), Instant::now());
            let cuts = nemesis.minority(3);
            let hears_victim = |slot: &usize| *slot != 3 && !cuts.contains(&(3, *slot));
            assert_eq!((1..=5).filter(hears_victim).count(), 1, "{cuts:?}");
            assert_eq!(cuts.len(), 12, "two of five on one side, both ways: {cuts:?}");
        }
    }
}
