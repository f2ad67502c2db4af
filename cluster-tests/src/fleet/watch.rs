//! Watches that three nodes vote whenever three or more live.
//!
//! Owns: asking all doors again and again, and how long it was otherwise. Does not own: the limit. Invariant: while nobody says
//! who votes, it counts as otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::process::{Group, look};

const PAUSE: Duration = Duration::from_millis(200);
/// Times that are longer than this are told in the timeline.
const TOLD: Duration = Duration::from_secs(3);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The longest time with other than three live voters while three or more lived.
    pub(super) longest: Duration,
    pub(super) timeline: Vec<String>,
    since: Option<Duration>,
}

impl Seen {
    /// Takes note that at `now`, `live` nodes live and, by the leader's word, so many vote and so many of them live.
    fn note(&mut self, now: Duration, live: usize, voters: Option<(usize, usize)>) {
        if live < 3 || voters == Some((3, 3)) {
            let lasted = self.since.take().map(|since| (since, now.saturating_sub(since)));
            if let Some((since, lasted)) = lasted.filter(|(_, lasted)| *lasted > TOLD) {
                let (at, lasted) = (since.as_secs_f64(), lasted.as_secs_f64());
                self.timeline
                    .push(format!("from {at:.1} s on, other than 3 live voters for {lasted:.1} s"));
            }
        } else {
            let since = *self.since.get_or_insert(now);
            self.longest = self.longest.max(now.saturating_sub(since));
        }
    }
}

/// The watch under way.
#[derive(Debug)]
pub(super) struct Monitor {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Seen>,
}

impl Monitor {
    pub(super) fn start(group: &Group, begun: Instant) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (doors, stopped) = (group.doors(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                let now: Vec<Door> = doors.borrow().clone();
                let view = look(&now).await;
                seen.note(begun.elapsed(), now.len(), view.voters(&now));
                sleep(PAUSE).await;
            }
            seen.note(begun.elapsed(), 0, None);
            seen
        });
        Self { stop, task }
    }

    pub(super) async fn finish(self) -> Outcome<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.map_err(|error| Failure::new(format!("the watch broke: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_in_which_three_live_and_others_vote_counts() {
        let mut seen = Seen::default();
        let at = Duration::from_secs;
        for (second, live, voters) in [
            (0, 1, Some((1, 1))),
            (1, 3, Some((1, 1))),
            (2, 3, Some((3, 3))),
            (10, 5, Some((3, 2))),
            (14, 5, None),
            (18, 5, Some((3, 3))),
            (30, 2, Some((3, 2))),
            (90, 2, Some((2, 2))),
        ] {
            seen.note(at(second), live, voters);
        }
        assert_eq!(seen.longest, at(4), "it was known to be otherwise from 10 s to 14 s");
        assert_eq!(seen.timeline.len(), 1, "{:?}", seen.timeline);
        assert!(seen.timeline[0].contains("for 8.0 s"), "{:?}", seen.timeline);
    }
}
