//! What became of each round, and the verdict on all of them.
//!
//! Owns: the judgement of one round from what was seen, the counts. Does not own: connections. Invariant: a message that was
//! published after the confirmation and did not come is a miss, whatever else happened; it is forgiven only in a fleet that
//! comes and goes, and only when the subscriber was told that the link to this publisher lost something.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::figures::{self, quantile, text};
use crate::heard::Loss;

/// Misses that are printed in full.
const TOLD_MAX: usize = 20;

/// How the channel of a round came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Nobody has ever named it.
    Fresh,
    /// The publisher has published to it at once before, while nobody listened.
    Primed,
    /// One of those with traffic, on a node where nobody listens to it at the moment.
    Busy,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Fresh, Self::Primed, Self::Busy];

    const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Primed => "published to before",
            Self::Busy => "busy",
        }
    }
}

/// What was seen of one round.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// How long SUBSCRIBE took, if it was confirmed.
    pub(super) confirmed: Option<Duration>,
    /// Whether PUBLISH was answered with a count.
    pub(super) is_published: bool,
    /// How long after PUBLISH was sent the message came first.
    pub(super) arrived: Option<Duration>,
    /// How often it came.
    pub(super) times: usize,
    /// Why one of the two connections was of no more use, if it was.
    pub(super) cut: Option<String>,
    /// What the subscriber was told from SUBSCRIBE on.
    pub(super) losses: Vec<Loss>,
}

/// What follows from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It came once.
    Arrived,
    /// A node went away before both sides had done their part, so that nothing was promised.
    Unknown,
    /// It did not come, and the subscriber was told of a loss on the link to the publisher.
    MissedTold,
    /// It did not come, and the subscriber knows nothing of it.
    MissedUntold,
    /// The server neither confirmed nor published nor hung up.
    Stuck,
    /// It came more than once.
    Repeated,
}

impl Facts {
    /// Judges the round; `publisher` is the id of the node that published.
    pub(super) fn judge(&self, publisher: &str) -> Verdict {
        if self.times > 1 {
            return Verdict::Repeated;
        }
        if self.arrived.is_some() {
            return Verdict::Arrived;
        }
        if self.cut.is_some() {
            return Verdict::Unknown;
        }
        if self.confirmed.is_none() || !self.is_published {
            return Verdict::Stuck;
        }
        if self.is_told(publisher) { Verdict::MissedTold } else { Verdict::MissedUntold }
    }

    /// Tells whether the subscriber knows that something on the link to `publisher` was lost.
    pub(super) fn is_told(&self, publisher: &str) -> bool {
        let is_it = |loss: &Loss| {
            loss.cause == "link" && loss.publisher.as_deref().is_some_and(|id| id == publisher)
        };
        self.losses.iter().any(is_it)
    }
}

/// The counts of many rounds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rounds: [u64; 3],
    arrived: u64,
    unknown: u64,
    missed_told: u64,
    missed_untold: u64,
    stuck: u64,
    repeated: u64,
    /// Pushes that told of a loss, whether or not anything was missed.
    losses: u64,
    confirmed: Vec<Duration>,
    arrivals: Vec<Duration>,
    /// The nodes whose messages were missed and told.
    told_of: BTreeSet<String>,
    /// What went wrong, round by round.
    remarks: Vec<String>,
}

/// Who took part in a round, for the line that tells what went wrong.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) channel: String,
    pub(super) subscriber: usize,
    pub(super) publisher: usize,
    pub(super) publisher_id: String,
}

impl Tally {
    /// Judges and counts a round.
    pub(super) fn add(&mut self, scene: &Scene, facts: &Facts) -> Verdict {
        let verdict = facts.judge(&scene.publisher_id);
        if let Some(rounds) = self.rounds.get_mut(scene.kind as usize) {
            *rounds += 1;
        }
        *match verdict {
            Verdict::Arrived => &mut self.arrived,
            Verdict::Unknown => &mut self.unknown,
            Verdict::MissedTold => &mut self.missed_told,
            Verdict::MissedUntold => &mut self.missed_untold,
            Verdict::Stuck => &mut self.stuck,
            Verdict::Repeated => &mut self.repeated,
        } += 1;
        self.losses += facts.losses.len() as u64;
        self.confirmed.extend(facts.confirmed);
        self.arrivals.extend(facts.arrived);
        if verdict == Verdict::MissedTold {
            self.told_of.insert(scene.publisher_id.clone());
        }
        if !matches!(verdict, Verdict::Arrived | Verdict::Unknown) && self.remarks.len() < TOLD_MAX
        {
            let Scene { kind, number, channel, subscriber, publisher, .. } = scene;
            let losses: Vec<String> = facts.losses.iter().map(ToString::to_string).collect();
            self.remarks.push(format!(
                "{verdict:?}: round {number}, channel {channel} ({}), subscribed at n{subscriber}, published at \
                 n{publisher} ({}); told: [{}]",
                kind.name(),
                scene.publisher_id,
                losses.join("; ")
            ));
        }
        verdict
    }

    /// Adds another count to this one.
    pub(super) fn join(&mut self, other: Self) {
        for (sum, count) in self.rounds.iter_mut().zip(other.rounds) {
            *sum += count;
        }
        self.arrived += other.arrived;
        self.unknown += other.unknown;
        self.missed_told += other.missed_told;
        self.missed_untold += other.missed_untold;
        self.stuck += other.stuck;
        self.repeated += other.repeated;
        self.losses += other.losses;
        self.told_of.extend(other.told_of);
        self.confirmed.extend(other.confirmed);
        self.arrivals.extend(other.arrivals);
        self.remarks.extend(other.remarks);
    }

    /// Tells how many rounds broke the promise. Being told is an excuse only where nodes come and go.
    pub(super) const fn broken(&self, is_fleet: bool) -> u64 {
        let told = if is_fleet { 0 } else { self.missed_told };
        self.missed_untold + self.stuck + self.repeated + told
    }

    /// Returns the nodes whose messages were missed and told.
    pub(super) const fn told_of(&self) -> &BTreeSet<String> {
        &self.told_of
    }

    /// Prints the figures, and each round that went wrong.
    pub(super) fn tell(&mut self, what: &str) {
        for remark in self.remarks.iter().take(TOLD_MAX) {
            figures::note(remark);
        }
        figures::figure(format!("{what}: {self}"));
        self.confirmed.sort_unstable();
        self.arrivals.sort_unstable();
        let parts = [
            ("from SUBSCRIBE to its confirmation", &self.confirmed),
            ("from PUBLISH to the message", &self.arrivals),
        ];
        for (name, times) in parts {
            let at = |share| quantile(times, share).map(text).unwrap_or_default();
            let worst = times.last().copied().map(text).unwrap_or_default();
            let (half, most) = (at(0.5), at(0.99));
            figures::figure(format!(
                "{what}: {name}: median {half}, p99 {most}, worst {worst}, of {}",
                times.len()
            ));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = Kind::ALL
            .iter()
            .zip(self.rounds)
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| format!("{count} {}", kind.name()))
            .collect();
        let rounds: u64 = self.rounds.iter().sum();
        write!(f, "{rounds} rounds ({}), {} arrived, ", kinds.join(", "), self.arrived)?;
        let Self { missed_told, missed_untold, stuck, repeated, unknown, losses, .. } = self;
        write!(f, "{missed_untold} missed and not told, {missed_told} missed and told, ")?;
        write!(
            f,
            "{unknown} unknown, {stuck} stuck, {repeated} repeated, {losses} pushes of a loss"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(cause: &str, publisher: &str) -> Loss {
        Loss { cause: cause.into(), count: None, publisher: Some(publisher.into()) }
    }

    fn facts() -> Facts {
        let time = Some(Duration::from_millis(1));
        Facts { confirmed: time, is_published: true, arrived: time, times: 1, ..Facts::default() }
    }

    fn missed() -> Facts {
        Facts { arrived: None, times: 0, ..facts() }
    }

    #[test]
    fn each_planted_fault_is_judged() {
        assert_eq!(facts().judge("a"), Verdict::Arrived);
        assert_eq!(missed().judge("a"), Verdict::MissedUntold);
        let told = Facts { losses: vec![loss("link", "a")], ..missed() };
        assert_eq!(told.judge("a"), Verdict::MissedTold);
        assert_eq!(told.judge("b"), Verdict::MissedUntold, "another link");
        let slow = Facts { losses: vec![loss("slow", "a")], ..missed() };
        assert_eq!(slow.judge("a"), Verdict::MissedUntold, "no link");
        let unconfirmed = Facts { confirmed: None, ..missed() };
        assert_eq!(unconfirmed.judge("a"), Verdict::Stuck);
        let unpublished = Facts { is_published: false, ..missed() };
        assert_eq!(unpublished.judge("a"), Verdict::Stuck);
        let cut = Facts { cut: Some("closed".into()), ..unpublished };
        assert_eq!(cut.judge("a"), Verdict::Unknown);
        assert_eq!(Facts { times: 2, ..facts() }.judge("a"), Verdict::Repeated);
    }

    #[test]
    fn no_fault_is_lost_when_counts_are_joined() {
        let scene = Scene {
            kind: Kind::Busy,
            number: 7,
            channel: "c".into(),
            subscriber: 1,
            publisher: 2,
            publisher_id: "a".into(),
        };
        let told = Facts { losses: vec![loss("link", "a")], ..missed() };
        let mut all = Tally::default();
        for facts in [facts(), missed(), told, Facts { times: 2, ..facts() }] {
            let mut one = Tally::default();
            one.add(&scene, &facts);
            all.join(one);
        }
        assert_eq!((all.broken(true), all.broken(false)), (2, 3));
        assert_eq!((all.arrived, all.rounds, all.remarks.len()), (1, [0, 0, 4], 3));
        assert!(all.remarks[0].contains("round 7, channel c (busy), subscribed at n1"));
        let text = all.to_string();
        assert!(
            text.contains("4 rounds (4 busy), 1 arrived, 1 missed and not told, 1 missed and told")
        );
    }
}
