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
    rounds: AtomicU64,
    end: AtomicBool,
    held: Mutex<BTreeSet<Place>>,
}

impl Board {
    pub(super) fn new(rounds: u64, channels: usize) -> Self {
        let (end, held) = (AtomicBool::new(false), Mutex::default());
        Self { channels, rounds: AtomicU64::new(rounds), end, held }
    }

    /// Takes one of the rounds that are left; gives its number, counted down.
    pub(super) fn next_round(&self) -> Option<u64> {
        let take = |left: u64| left.checked_sub(1);
        if self.is_over() {
            return None;
        }
        self.rounds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()
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
        let board = Board::new(2, 3);
        let mut chance = Chance::new(Some(1));
        let mut held: Vec<usize> = (0..200).filter_map(|_| board.hold(1, &mut chance)).collect();
        held.sort_unstable();
        assert_eq!(held, [0, 1, 2]);
        assert!(board.hold(2, &mut chance).is_some());
        board.release((1, 2));
        let again = (0..100).find_map(|_| board.hold(1, &mut chance));
        assert_eq!(again, Some(2));
        let rounds = [board.next_round(), board.next_round(), board.next_round()];
        assert_eq!(rounds, [Some(2), Some(1), None]);
        board.stop();
        assert!(board.is_over());
    }
}
