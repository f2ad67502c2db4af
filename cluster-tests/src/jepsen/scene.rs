//! What can be seen of a run from outside while it goes on: who leads, what happens to processes, how fast it goes.
//!
//! Owns: the lines about leaders and processes, and a line for the terminal every five seconds. Does not own: faults, operations.
//! Invariant: it only looks; nothing in a run depends on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::book::Book;
use crate::door::Door;
use crate::history::Line;
use crate::process::{Diary, look};

/// How often the nodes are asked who leads.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How often a line is printed.
const PRINT_EVERY: Duration = Duration::from_secs(5);

/// What happens at the moment, in words.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Arc<Mutex<String>>);

impl Fault {
    pub(super) fn set(&self, text: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks until `stop`, and takes down what was done to processes until the end.
pub(super) fn watch(
    book: &Arc<Book>,
    doors: watch::Receiver<Vec<Door>>,
    diary: Diary,
    fault: Fault,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (book, stop) = (Arc::clone(book), Arc::clone(stop));
    let taking = (Arc::clone(&book), Arc::clone(&stop), doors.clone());
    tokio::spawn(async move {
        let seen = Arc::new(Mutex::new((None, 0)));
        let eyes = leaders(&book, &doors, &seen, &stop);
        let hand = processes(&taking.0, &diary, &taking.2, &taking.1);
        tokio::join!(eyes, hand, progress(&book, &fault, &seen, &stop));
    })
}

type Leader = Arc<Mutex<(Option<u8>, u64)>>;

async fn leaders(
    book: &Book,
    doors: &watch::Receiver<Vec<Door>>,
    seen: &Leader,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let open = doors.borrow().clone();
        let view = look(&open).await;
        let leader = view.leader().map(|leader| (u8::try_from(leader.slot).ok(), leader.term));
        let (node, term) = leader.unwrap_or((None, 0));
        let last = std::mem::replace(
            &mut *seen.lock().unwrap_or_else(PoisonError::into_inner),
            (node, term),
        );
        if last != (node, term) {
            book.aside(Line::Leader { at: book.now(), node, term });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Takes down what was done to processes.
pub(super) fn take_notes(book: &Book, diary: &Diary) {
    for (when, slot, what) in diary.take() {
        let node = u8::try_from(slot).unwrap_or(u8::MAX);
        book.aside(Line::Process { at: book.at(when), node, what });
    }
}

async fn processes(
    book: &Book,
    diary: &Diary,
    doors: &watch::Receiver<Vec<Door>>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        take_notes(book, diary);
        for door in doors.borrow().iter() {
            book.name(&door.id, u8::try_from(door.slot).unwrap_or(u8::MAX));
        }
        sleep(Duration::from_millis(50)).await;
    }
    take_notes(book, diary);
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
async fn progress(book: &Book, fault: &Fault, leader: &Leader, stop: &AtomicBool) {
    let begun = Instant::now();
    let (mut next, mut last, mut last_ok) = (begun + PRINT_EVERY, begun, 0);
    while !stop.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(100)).await;
        if Instant::now() < next {
            continue;
        }
        let now = Instant::now();
        let counts = book.counts();
        let rate = counts.ok.saturating_sub(last_ok) as f64 / (now - last).as_secs_f64();
        let (node, term) = *leader.lock().unwrap_or_else(PoisonError::into_inner);
        let leader = node.map_or("nobody".to_owned(), |node| format!("n{node}"));
        println!(
            "{:6.0} s {rate:6.0} ops/s  ok {} failed {} unknown {}  {leader} leads in term {term}  {}",
            (now - begun).as_secs_f64(),
            counts.ok,
            counts.failed,
            counts.unknown,
            fault.get()
        );
        (next, last, last_ok) = (next + PRINT_EVERY, now, counts.ok);
    }
}
