//! Whether one publisher's numbers come whole and in order to one subscriber, or else with the exact number that is missing.
//!
//! Owns: the judgement, number by number. Does not own: connections. Invariant: a gap passes only if exactly so many were told to be
//! missing, and a number of missing ones only if there is such a gap.

/// What one subscriber has heard of one publisher, who counts from 1.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    /// The last number that may have been published before the subscription was confirmed.
    since: u64,
    last: Option<u64>,
    /// Told since the last number came.
    pending: u64,
    /// How many came.
    pub received: u64,
    /// How many were told to be missing.
    pub told: u64,
    /// What should not be.
    pub broken: Vec<String>,
}

impl Whole {
    /// Begins with a subscription that was confirmed when `published` was the last number that was sent.
    #[must_use]
    pub fn new(published: u64) -> Self {
        Self { since: published, ..Self::default() }
    }

    /// A number came.
    pub fn received(&mut self, number: u64) {
        self.received += 1;
        if self.last.is_some_and(|last| number <= last) {
            let last = self.last.unwrap_or_default();
            return self.broken.push(format!("{number} came after {last}"));
        }
        self.gap(number);
        self.last = Some(number);
    }

    /// So many were told to be missing.
    pub const fn lost(&mut self, count: u64) {
        self.pending += count;
        self.told += count;
    }

    /// Nothing comes any more, and `published` was the last number.
    pub fn end(&mut self, published: u64) {
        if self.last.is_none_or(|last| last < published) {
            self.gap(published + 1);
            self.last = Some(published);
        }
    }

    /// Gives the last number that came.
    #[must_use]
    pub const fn last(&self) -> Option<u64> {
        self.last
    }

    /// Gives how many numbers lie from the first that was due, or came, to the last.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.received + self.told
    }

    fn gap(&mut self, number: u64) {
        let before = self.last.unwrap_or(self.since);
        let missing = number.saturating_sub(before + 1);
        let told = std::mem::take(&mut self.pending);
        if missing != told {
            self.broken
                .push(format!("{missing} are missing before {number}, and {told} were told"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(since: u64, numbers: impl IntoIterator<Item = u64>) -> Whole {
        let mut whole = Whole::new(since);
        numbers.into_iter().for_each(|number| whole.received(number));
        whole
    }

    #[test]
    fn whole_passes_from_the_confirmation_on() {
        for first in 5..=11 {
            let mut whole = fed(10, first..=20);
            whole.end(20);
            assert_eq!((whole.broken.len(), whole.received), (0, 21 - first));
        }
    }

    #[test]
    fn each_planted_fault_is_found() {
        for (what, numbers) in [
            ("the first is missing", vec![12, 13]),
            ("one is missing", vec![11, 13]),
            ("twice", vec![11, 11]),
            ("backwards", vec![11, 12, 11]),
        ] {
            assert_eq!(fed(10, numbers).broken.len(), 1, "{what}");
        }
        let mut whole = fed(10, 11..=12);
        whole.end(13);
        assert_eq!(whole.broken, ["1 are missing before 14, and 0 were told"]);
    }

    #[test]
    fn a_gap_must_be_told_exactly() {
        for (told, faults) in [(4, 1), (5, 0), (6, 1)] {
            let mut whole = fed(0, 1..=3);
            whole.lost(told);
            (9..=12).for_each(|number| whole.received(number));
            assert_eq!(whole.broken.len(), faults, "{:?}", whole.broken);
            assert_eq!(whole.due(), 7 + told);
        }
        let mut tail = fed(0, 1..=3);
        tail.lost(2);
        tail.end(5);
        assert_eq!((tail.broken.len(), tail.told), (0, 2));
    }
}
