//! Is there an order of operations that explains every answer?
//!
//! Owns: the search. Does not own: what each operation does to the state (`models`). Source: Wing and Gong, "Testing and verifying
//! concurrent objects" (1993), with the memory of visited states of Lowe, "Testing for linearizability" (2017), in the form with
//! a linked list of calls and returns that Knossos and Porcupine use. Its budget is counted in steps, so that the answer does
//! not depend on the machine. Invariant: `Impossible` is only said when all orders have been tried.
//!
//! An unknown operation has no return: it may be put at any later place, or be left out. A read that fits the state is
//! taken at once and never tried elsewhere, because it changes nothing for the others.

use std::collections::HashSet;

use super::models::{State, Step};
use crate::history::Nanos;

/// One operation of one part of the state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) invoked: Nanos,
    /// When it had taken effect; none if nobody knows.
    pub(super) returned: Option<Nanos>,
    pub(super) step: Step,
    /// Its place among the operations of the key.
    pub(super) operation: usize,
}

/// What the search has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is such an order.
    Linearizable,
    /// There is none.
    Impossible,
    /// The steps were used up.
    Unknown,
}

/// Searches; takes the steps that it needs from `steps`.
pub(super) fn search(entries: &[Entry], steps: &mut u64) -> Answer {
    Search::new(entries).run(steps)
}

const HEAD: usize = 0;
const NONE: usize = usize::MAX;

struct Search<'a> {
    entries: &'a [Entry],
    /// The list of calls and returns by time; 0 is its head.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// What stands at a place of the list: an entry, and whether this is its call.
    at: Vec<(usize, bool)>,
    /// Where the call and the return of an entry stand.
    places: Vec<(usize, usize)>,
    taken: Taken,
    seen: HashSet<Box<[u64]>>,
    /// What was taken, with the state before it.
    path: Vec<(usize, State)>,
    state: State,
    open: usize,
}

impl<'a> Search<'a> {
    fn new(entries: &'a [Entry]) -> Self {
        let mut events: Vec<(Nanos, bool, usize)> = Vec::with_capacity(2 * entries.len());
        for (entry, Entry { invoked, returned, .. }) in entries.iter().enumerate() {
            events.push((*invoked, false, entry));
            events.extend(returned.map(|returned| (returned.max(*invoked), true, entry)));
        }
        // At equal times calls come first: then the operations overlap, which allows more.
        events.sort_unstable();
        let length = events.len() + 1;
        let mut at = vec![(NONE, false); length];
        let mut places = vec![(NONE, NONE); entries.len()];
        for (index, (_, is_return, entry)) in events.iter().enumerate() {
            at[index + 1] = (*entry, !is_return);
            let place = &mut places[*entry];
            *(if *is_return { &mut place.1 } else { &mut place.0 }) = index + 1;
        }
        let next = (1..length).chain([NONE]).collect();
        let previous = [NONE].into_iter().chain(0..length - 1).collect();
        let (seen, path) = (HashSet::new(), Vec::new());
        let open = entries.iter().filter(|entry| entry.returned.is_some()).count();
        let (taken, state) = (Taken::new(entries), State::default());
        Self { entries, next, previous, at, places, taken, seen, path, state, open }
    }

    fn run(mut self, steps: &mut u64) -> Answer {
        let mut place = self.next[HEAD];
        while self.open > 0 {
            let Some(left) = steps.checked_sub(1) else { return Answer::Unknown };
            *steps = left;
            let (entry, is_call) = if place == NONE { (NONE, false) } else { self.at[place] };
            if is_call {
                place = if self.take(entry) { self.next[HEAD] } else { self.next[place] };
            } else if let Some(entry) = self.go_back() {
                place = self.next[self.places[entry].0];
            } else {
                return Answer::Impossible;
            }
        }
        Answer::Linearizable
    }

    /// Takes an entry as the next one of the order, if it fits and this has not been tried.
    fn take(&mut self, entry: usize) -> bool {
        let Some(state) = self.entries[entry].step.apply(self.state) else { return false };
        self.taken.set(entry, true);
        if !self.is_new(state) {
            self.taken.set(entry, false);
            return false;
        }
        self.path.push((entry, self.state));
        self.state = state;
        let (call, back) = self.places[entry];
        self.unlink(call);
        if back != NONE {
            self.open -= 1;
            self.unlink(back);
        }
        true
    }

    /// Gives back the last entry for which there may be another choice.
    fn go_back(&mut self) -> Option<usize> {
        loop {
            let (entry, state) = self.path.pop()?;
            let is_free = self.entries[entry].step.is_read() && state == self.state;
            self.state = state;
            self.taken.set(entry, false);
            let (call, back) = self.places[entry];
            if back != NONE {
                self.open += 1;
                self.link(back);
            }
            self.link(call);
            if !is_free {
                return Some(entry);
            }
        }
    }

    fn is_new(&mut self, state: State) -> bool {
        let key = self.taken.key(state);
        if self.seen.contains(key) {
            return false;
        }
        self.seen.insert(key.into())
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        if after != NONE {
            self.previous[after] = before;
        }
    }

    fn link(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        if after != NONE {
            self.previous[after] = place;
        }
    }
}

/// Which entries are taken. Those with a return come first, by their calls, so that all but a window is full or empty.
struct Taken {
    /// The bit of each entry.
    bits: Vec<usize>,
    words: Vec<u64>,
    /// Where the bits of entries without a return begin.
    unknown: usize,
    /// All words before this one are full.
    full: usize,
    count: u64,
    key: Vec<u64>,
}

impl Taken {
    fn new(entries: &[Entry]) -> Self {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|entry| (entries[*entry].returned.is_none(), entries[*entry].invoked));
        let known = entries.iter().filter(|entry| entry.returned.is_some()).count();
        let unknown = known.div_ceil(64);
        let mut bits = vec![0; entries.len()];
        for (place, entry) in order.into_iter().enumerate() {
            bits[entry] = if place < known { place } else { unknown * 64 + place - known };
        }
        let words = vec![0; unknown + (entries.len() - known).div_ceil(64)];
        Self { bits, words, unknown, full: 0, count: 0, key: Vec::new() }
    }

    fn set(&mut self, entry: usize, is_taken: bool) {
        let bit = self.bits[entry];
        let (word, mask) = (bit / 64, 1 << (bit % 64));
        let is_known = word < self.unknown;
        if is_taken {
            self.words[word] |= mask;
            self.count += u64::from(is_known);
        } else {
            self.words[word] &= !mask;
            self.count -= u64::from(is_known);
            self.full = self.full.min(word);
        }
    }

    /// Gives what tells this set and `state` from all others.
    fn key(&mut self, state: State) -> &[u64] {
        while self.full < self.unknown && self.words[self.full] == u64::MAX {
            self.full += 1;
        }
        self.key.clear();
        self.key.push(self.full as u64);
        let mut left = self.count - 64 * self.full as u64;
        let window = &self.words[self.full..self.unknown];
        for word in window.iter().take_while(|word| {
            let is_more = left > 0;
            left -= u64::from(word.count_ones());
            is_more
        }) {
            self.key.push(*word);
        }
        self.key.extend_from_slice(&self.words[self.unknown..]);
        self.key.extend(state.words());
        &self.key
    }
}

/// Gives the few entries that cannot be put in order, out of many that cannot: the shortest beginning of the history that fails, without
/// the reads and the unread writes that do not matter. Takes `steps_max` steps in all, and gives what it has when they are used up.
pub(super) fn shortest(entries: &[Entry], steps_max: u64) -> Vec<Entry> {
    let left = std::cell::Cell::new(steps_max);
    let fails = |some: &[Entry]| {
        let mut steps = left.get();
        let answer = search(some, &mut steps);
        left.set(steps);
        answer == Answer::Impossible
    };
    let mut budget = 600_u32;
    let mut kept = thin_out(beginning(entries, &fails), &mut budget, &fails);
    for index in 0..kept.len() {
        let mut weaker = kept.clone();
        weaker[index].step = kept[index].step.unanswered();
        if weaker[index].step != kept[index].step && fails(&weaker) {
            kept = weaker;
        }
    }
    thin_out(kept, &mut budget, &fails)
}

/// Leaves out ever smaller parts, as long as what remains fails.
fn thin_out(
    mut kept: Vec<Entry>,
    budget: &mut u32,
    fails: &impl Fn(&[Entry]) -> bool,
) -> Vec<Entry> {
    let mut size = kept.len().div_ceil(2);
    while size > 0 && *budget > 0 {
        let mut start = 0;
        while start < kept.len() && *budget > 0 {
            let part = start..kept.len().min(start + size);
            let rest = without(&kept, part);
            if rest.len() < kept.len() {
                *budget -= 1;
                if fails(&rest) {
                    kept = rest;
                    continue;
                }
            }
            start += size;
        }
        size /= 2;
    }
    kept
}

/// Cuts the history at the earliest return up to which it fails. What was open then is unknown.
fn beginning(entries: &[Entry], fails: &impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
    let mut ends: Vec<Nanos> = entries.iter().filter_map(|entry| entry.returned).collect();
    ends.sort_unstable();
    let until = |end: Nanos| -> Vec<Entry> {
        let begun = entries.iter().filter(|entry| entry.invoked <= end);
        begun
            .filter_map(|entry| match entry.returned {
                Some(returned) if returned <= end => Some(*entry),
                _ if entry.step.is_read() => None,
                _ => Some(Entry { returned: None, step: entry.step.unanswered(), ..*entry }),
            })
            .collect()
    };
    let first = ends.partition_point(|end| !fails(&until(*end)));
    ends.get(first).map_or_else(|| entries.to_vec(), |end| until(*end))
}

/// Leaves out what may be left out of a part: reads, and writes whose value no other entry depends on.
fn without(entries: &[Entry], part: std::ops::Range<usize>) -> Vec<Entry> {
    let stays = |index: usize| {
        let step = &entries[index].step;
        let is_seen = |(other, entry): (usize, &Entry)| {
            other != index && !part.contains(&other) && entry.step.depends_on(step)
        };
        let may_go =
            step.is_read() || step.is_plain_write() && !entries.iter().enumerate().any(is_seen);
        !(part.contains(&index) && may_go)
    };
    (0..entries.len()).filter(|index| stays(*index)).map(|index| entries[index]).collect()
}
