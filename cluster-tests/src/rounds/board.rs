//! What all clients of a run share: the busy channels and who listens to them where, the rounds that are left, the end.
//!
//! Owns: these. Does not own: connections. Invariant: one place (a channel on one node) is held by one client at a time, so that a
//! round knows that nobody else listens there.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::chance::Chance;

/// One of so many busy channels is hot.
const HOT_SHARE: usize = 50;
/// How often another channel is drawn when the place is taken.
const DRAWS: usize = 16;

/// A channel on one node.
pub(super) type Place = (usize, usize);

/// What is shared.
#[derive(Debug)]
pub(super) struct Board {
    channels: usize,
    /// How many rounds there are at least.
    rounds: u64,
    taken: AtomicU64,
    is_more_wanted: AtomicBool,
    end: AtomicBool,
    held: Mutex<BTreeSet<Place>>,
}

impl Board {
    /// Rounds go on past so many for as long as more are wanted.
    pub(super) fn new(rounds: u64, channels: usize, is_more_wanted: bool) -> Self {
        Self {
            channels,
            rounds,
            taken: AtomicU64::new(0),
            is_more_wanted: AtomicBool::new(is_more_wanted),
            end: AtomicBool::new(false),
            held: Mutex::default(),
        }
    }

    /// Takes the next round; gives its number.
    pub(super) fn next_round(&self) -> Option<u64> {
        let take = |taken: u64| {
            let is_due = taken < self.rounds || self.is_more_wanted.load(Ordering::Relaxed);
            is_due.then_some(taken + 1)
        };
        if self.is_over() {
            return None;
        }
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()
    }

    /// Says that what the rounds had to wait for has happened.
    pub(super) fn want_no_more(&self) {
        self.is_more_wanted.store(false, Ordering::Relaxed);
    }

    /// Lets everybody stop.
    pub(super) fn stop(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Draws a busy channel; half of the draws fall on the few hot ones.
    pub(super) fn draw(&self, chance: &mut Chance) -> usize {
        let hot = (self.channels / HOT_SHARE).max(1);
        let of = if chance.below(2) == 0 { hot } else { self.channels };
        chance.below(of)
    }

    /// Draws a channel that nobody holds on the node in `slot`, and holds it.
    pub(super) fn hold(&self, slot: usize, chance: &mut Chance) -> Option<usize> {
        for _ in 0..DRAWS {
            let channel = self.draw(chance);
            if self.held().insert((slot, channel)) {
                return Some(channel);
            }
        }
        None
    }

    /// Lets a place go.
    pub(super) fn release(&self, place: Place) {
        self.held().remove(&place);
    }

    #[expect(clippy::expect_used, reason = "nobody panics while holding it")]
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeSet<Place>> {
        self.held.lock().expect("nobody panics while holding it")
    }
}

/// The name of a busy channel.
pub(super) fn busy(channel: usize) -> String {
    format!("busy:{channel}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_held_by_one_at_a_time() {
        let board = Board::new(2, 3, false);
        let mut chance = Chance::new(Some(1));
        let mut held: Vec<usize> = (0..200).filter_map(|_| board.hold(1, &mut chance)).collect();
        held.sort_unstable();
        assert_eq!(held, [0, 1, 2]);
        assert!(board.hold(2, &mut chance).is_some());
        board.release((1, 2));
        let again = (0..100).find_map(|_| board.hold(1, &mut chance));
        assert_eq!(again, Some(2));
        board.stop();
        assert!(board.is_over());
    }

    #[test]
    fn rounds_end_after_so_many_when_no_more_are_wanted() {
        let board = Board::new(2, 3, true);
        let some = [board.next_round(), board.next_round(), board.next_round()];
        assert_eq!(some, [Some(0), Some(1), Some(2)]);
        board.want_no_more();
        assert_eq!(board.next_round(), None);
        let few = Board::new(2, 3, false);
        let all = [few.next_round(), few.next_round(), few.next_round()];
        assert_eq!(all, [Some(0), Some(1), None]);
        let over = Board::new(2, 3, true);
        over.stop();
        assert_eq!(over.next_round(), None);
    }
}
