//! How much memory and disk each node takes, over the time of a run.
//!
//! Owns: when samples are taken, and the judgement that nothing grows without bound. Does not own: how one is taken (`sampler`), the plots.
//! Invariant: a node that is not there gives no sample, rather than a wrong one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::book::Book;
use crate::door::Door;
use crate::history::Line;
use crate::process::{Diary, Group};
use crate::sampler::{Subject, sample};

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// The median of the last quarter may be this much larger than that of the second: in hundredths, and in bytes for what is small.
const GROWTH_MAX: u64 = 130;
/// What may come on top, for it is less than the noise.
const SLACK: u64 = 16 * 1024 * 1024;

/// What was seen of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    resident: u64,
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

/// Tells how much each node took in the second and in the last quarter of the run: figures, and what has grown too much.
pub(super) fn judge(samples: &Samples) -> (Vec<String>, Vec<String>) {
    let (mut figures, mut grown) = (Vec::new(), Vec::new());
    for (node, lines) in samples {
        let seen: Vec<Seen> = lines.iter().filter_map(seen).collect();
        let quarter = |number: usize| {
            let from = seen.len() * (number - 1) / 4;
            seen.get(from..seen.len() * number / 4).unwrap_or_default()
        };
        let (early, late) = (quarter(2), quarter(4));
        let measures: [(&str, Measure); 3] = [
            ("memory", |seen| Some(seen.resident)),
            ("log", |seen| seen.log),
            ("disk", |seen| seen.data),
        ];
        for (what, measure) in measures {
            let of = |part: &[Seen]| median(part.iter().filter_map(measure).collect());
            let (Some(before), Some(after)) = (of(early), of(late)) else { continue };
            let text = format!("n{node} {what}: {before} bytes early, {after} bytes late");
            if after > before.saturating_mul(GROWTH_MAX) / 100 + SLACK {
                grown.push(format!("grows: {text}"));
            }
            figures.push(format!("figure: {text}"));
        }
    }
    (figures, grown)
}

fn seen(line: &Line) -> Option<Seen> {
    if let Line::Sample { resident, log, data, .. } = line {
        Some(Seen { resident: *resident, log: *log, data: *data })
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

    fn run(resident: impl Fn(u64) -> u64) -> Samples {
        let line = |at| Line::Sample {
            at,
            node: 1,
            resident: resident(at),
            processor_ms: 0,
            log: None,
            data: Some(1000),
        };
        Samples::from([(1, (0..100).map(line).collect())])
    }

    #[test]
    fn what_grows_is_told_and_what_swings_is_not() {
        let mib = 1024 * 1024;
        assert_eq!(judge(&run(|at| (100 + at % 7) * mib)).1, Vec::<String>::new());
        let (figures, grown) = judge(&run(|at| (100 + 2 * at) * mib));
        assert_eq!((figures.len(), grown.len()), (2, 1), "{figures:?} {grown:?}");
        assert!(judge(&Samples::new()).0.is_empty());
    }
}
