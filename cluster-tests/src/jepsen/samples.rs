//! How much memory and disk each node takes, over the time of a run.
//!
//! Owns: when samples are taken, and the judgement that nothing grows without bound. Does not own: how one is taken (`sampler`), the plots.
//! Where processes are started again and again, memory begins anew each time: what one keeps is judged over a single life, if one is long
//! enough.
//! Invariant: a node that is not there gives no sample, rather than a wrong one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::book::Book;
use crate::door::Door;
use crate::history::{Line, Nanos};
use crate::process::{Diary, Group};
use crate::sampler::{Subject, sample};

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// The median of the last quarter may be this much larger than that of the second: in hundredths, and in bytes for what is small.
const GROWTH_MAX: u64 = 130;
/// What may come on top, for it is less than the noise.
const SLACK: u64 = 16 * 1024 * 1024;
/// How long a process must live before its memory is judged by itself: until then it warms up.
const LONG: Duration = Duration::from_secs(30 * 60);
/// The same as [`GROWTH_MAX`] for the memory of such a process, with nothing on top.
const LIFE_GROWTH_MAX: u64 = 110;

/// What was seen of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    at: Nanos,
    resident: u64,
    processor_ms: u64,
    log: Option<u64>,
    data: Option<u64>,
}

type Measure = fn(&Seen) -> Option<u64>;

/// All samples by their nodes, in the order of time.
pub(super) type Samples = BTreeMap<u8, Vec<Line>>;

/// Takes samples until `stop`.
pub(super) fn start(
    book: &Arc<Book>,
    group: &Group,
    slots: &[usize],
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Samples> {
    let (book, stop) = (Arc::clone(book), Arc::clone(stop));
    let (diary, doors) = (group.diary(), group.doors());
    let folders: BTreeMap<usize, PathBuf> = slots
        .iter()
        .filter(|_| group.is_durable())
        .map(|slot| (*slot, group.data_folder(*slot)))
        .collect();
    tokio::spawn(async move {
        let mut samples = Samples::new();
        while !stop.load(Ordering::Relaxed) {
            for subject in subjects(&diary, &doors, &folders) {
                // One that has just ended has nothing to tell.
                if let Ok(line) = sample(&subject, book.now()).await {
                    book.recorder.record(line.clone());
                    samples.entry(subject.node).or_default().push(line);
                }
            }
            let next = Instant::now() + EVERY;
            while Instant::now() < next && !stop.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(100)).await;
            }
        }
        samples
    })
}

fn subjects(
    diary: &Diary,
    doors: &watch::Receiver<Vec<Door>>,
    folders: &BTreeMap<usize, PathBuf>,
) -> Vec<Subject> {
    let doors = doors.borrow();
    let one = |(slot, pid): (usize, u32)| {
        let door = doors.iter().find(|door| door.slot == slot)?;
        Some(Subject {
            node: u8::try_from(slot).ok()?,
            pid,
            http: Some(door.http),
            data: folders.get(&slot).cloned(),
        })
    };
    diary.pids().into_iter().filter_map(one).collect()
}

/// Tells how much each node took in the second and in the last quarter of the run, and of its longest life: figures, and what has grown
/// too much.
pub(super) fn judge(samples: &Samples) -> (Vec<String>, Vec<String>) {
    let (mut figures, mut grown) = (Vec::new(), Vec::new());
    for (node, lines) in samples {
        let measures: [(&str, Measure); 3] = [
            ("memory", |seen| Some(seen.resident)),
            ("log", |seen| seen.log),
            ("disk", |seen| seen.data),
        ];
        for (what, measure) in measures {
            let Some(quarters) = quarters(lines, measure) else { continue };
            let text = format!("n{node} {what}: {quarters}");
            if quarters.late > quarters.early.saturating_mul(GROWTH_MAX) / 100 + SLACK {
                grown.push(format!("grows: {text}"));
            }
            figures.push(format!("figure: {text}"));
        }
        let (lives, longest) = longest_life(lines);
        let Some(quarters) = quarters(longest, |seen| Some(seen.resident)) else { continue };
        let lasted = length(longest);
        let text = format!("n{node} memory in a life of {} s: {quarters}", lasted.as_secs());
        if lasted < LONG {
            figures.push(format!("figure: {text}; the longest of {lives}, too short to be judged"));
            continue;
        }
        if quarters.late > quarters.early.saturating_mul(LIFE_GROWTH_MAX) / 100 {
            grown.push(format!("grows: {text}"));
        }
        figures.push(format!("figure: {text}"));
    }
    (figures, grown)
}

/// The medians of the second and of the last quarter of some samples, in bytes.
struct Quarters {
    early: u64,
    late: u64,
}

impl fmt::Display for Quarters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes early, {} bytes late", self.early, self.late)
    }
}

fn quarters(lines: &[Line], measure: Measure) -> Option<Quarters> {
    let seen: Vec<Seen> = lines.iter().filter_map(seen).collect();
    let quarter = |number: usize| {
        let part = seen.get(seen.len() * (number - 1) / 4..seen.len() * number / 4);
        median(part.unwrap_or_default().iter().filter_map(measure).collect())
    };
    Some(Quarters { early: quarter(2)?, late: quarter(4)? })
}

/// Returns how many processes a node was, one after another, and the samples of the one that lived longest. Each begins with no time of a
/// processor spent.
fn longest_life(lines: &[Line]) -> (usize, &[Line]) {
    let spent = |line: &Line| seen(line).map_or(0, |seen| seen.processor_ms);
    let lives = || lines.chunk_by(|one, next| spent(one) <= spent(next));
    (lives().count(), lives().max_by_key(|life| length(life)).unwrap_or_default())
}

/// Returns how much time lies between the first of these samples and the last.
fn length(life: &[Line]) -> Duration {
    let at = |line: Option<&Line>| line.and_then(seen).map_or(0, |seen| seen.at);
    Duration::from_nanos(at(life.last()).saturating_sub(at(life.first())))
}

fn seen(line: &Line) -> Option<Seen> {
    if let Line::Sample { at, resident, processor_ms, log, data, .. } = line {
        let (at, resident, processor_ms) = (*at, *resident, *processor_ms);
        Some(Seen { at, resident, processor_ms, log: *log, data: *data })
    } else {
        None
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Samples of one node every half minute for 50 minutes, by their number.
    fn run(resident: impl Fn(u64) -> u64, processor_ms: impl Fn(u64) -> u64) -> Samples {
        let line = |number| Line::Sample {
            at: number * 30_000_000_000,
            node: 1,
            resident: resident(number),
            processor_ms: processor_ms(number),
            log: None,
            data: Some(1000),
        };
        Samples::from([(1, (0..100).map(line).collect())])
    }

    #[test]
    fn what_grows_is_told_and_what_swings_is_not() {
        let swings = judge(&run(|number| (100 + number % 7) * MIB, |number| number));
        assert_eq!(swings.1, Vec::<String>::new());
        assert_eq!(swings.0.len(), 3, "{swings:?}");
        let (_, grown) = judge(&run(|number| (100 + 2 * number) * MIB, |number| number));
        assert_eq!(grown.len(), 2, "over the run and within a life: {grown:?}");
        assert!(judge(&Samples::new()).0.is_empty());
    }

    #[test]
    fn a_slow_leak_is_told_of_a_process_that_lives_long_enough_to_show_it() {
        let leaks = |number| 50 * MIB + number * MIB / 4;
        let (_, grown) = judge(&run(leaks, |number| number));
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert!(grown.iter().all(|text| text.contains("a life of 2970 s")), "{grown:?}");
    }

    #[test]
    fn short_lives_are_counted_and_not_judged() {
        // It grows again after each of five starts.
        let ramp = |number: u64| (50 + number % 20) * MIB;
        let (figures, grown) = judge(&run(ramp, |number| number % 20));
        assert_eq!(grown, Vec::<String>::new());
        let told = "n1 memory in a life of 570 s";
        let told = figures.iter().find(|text| text.contains(told)).map_or("", |text| text);
        assert!(told.ends_with("the longest of 5, too short to be judged"), "{figures:?}");
    }
}
