//! Whether one publisher's messages come in order and whole, over two channels.
//!
//! Owns: the judgement on one subscriber, number by number. Does not own: connections or time; it is told what was subscribed,
//! heard and lost. Invariant: a number that was due and did not come is never forgiven, unless the subscriber was told of a
//! loss before the next number came.

use std::collections::BTreeMap;

/// Gives the channel (0 or 1) on which a number is published; both come alone and several in a row.
pub(super) const fn channel_of(number: u64) -> usize {
    if (number / 3).is_multiple_of(2) { 0 } else { 1 }
}

/// What one subscriber should hear of one publisher, who counts from 1.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// For each channel: the last number that was published before its subscription was confirmed, while it is in effect.
    since: [Option<u64>; 2],
    last: u64,
    is_told: bool,
    pub(super) received: u64,
    pub(super) missing_told: u64,
    /// Numbers that are missing, came twice, came late, or came on another channel.
    pub(super) broken: Vec<String>,
}

impl Sequence {
    /// The subscription to a channel was confirmed when `published` was the last number published.
    pub(super) fn on(&mut self, channel: usize, published: u64) {
        if let Some(since) = self.since.get_mut(channel) {
            *since = Some(published);
        }
    }

    /// The end of the subscription to a channel is asked for.
    pub(super) fn off(&mut self, channel: usize) {
        if let Some(since) = self.since.get_mut(channel) {
            *since = None;
        }
    }

    /// The subscriber was told that messages are missing.
    pub(super) const fn lost(&mut self) {
        self.is_told = true;
    }

    /// A number came.
    pub(super) fn received(&mut self, channel: usize, number: u64) {
        self.received += 1;
        if channel != channel_of(number) {
            self.broken.push(format!("{number} came on the wrong channel"));
        }
        if number <= self.last {
            self.broken.push(format!("{number} came after {}", self.last));
            return;
        }
        self.pass(number);
        self.last = number;
        self.is_told = false;
    }

    /// Tells whether everything that is due up to `published` has come, or something later.
    pub(super) fn is_through(&self, published: u64) -> bool {
        let is_due = |number: &u64| {
            let since = self.since.get(channel_of(*number)).copied().flatten();
            since.is_some_and(|since| *number > since)
        };
        // Each channel is on at least one of any six numbers in a row.
        let last = (published.saturating_sub(6)..=published).rev().find(is_due);
        last.is_none_or(|last| self.last >= last)
    }

    /// Nothing comes any more, and `published` was the last number.
    pub(super) fn end(&mut self, published: u64) {
        self.pass(published + 1);
    }

    /// Looks for numbers that were due before `number`.
    fn pass(&mut self, number: u64) {
        let first = self.since.iter().flatten().min().copied().unwrap_or(u64::MAX);
        for due in self.last.max(first).saturating_add(1)..number {
            let since = self.since.get(channel_of(due)).copied().flatten();
            if since.is_none_or(|since| due <= since) {
                continue;
            }
            if self.is_told {
                self.missing_told += 1;
            } else {
                self.broken.push(format!("{due} is missing before {number}"));
            }
        }
    }
}

/// The order of what comes from many publishers, each known by a name of its own, with gaps allowed.
#[derive(Debug, Default)]
pub(super) struct Orders {
    last: BTreeMap<Vec<u8>, u64>,
    pub(super) received: u64,
    pub(super) broken: Vec<String>,
}

impl Orders {
    /// Takes in a payload of the form `name:number`; others are no concern of it.
    pub(super) fn received(&mut self, payload: &[u8]) {
        let Some(at) = payload.iter().rposition(|byte| *byte == b':') else { return };
        let (name, number) = (payload.get(..at), payload.get(at + 1..));
        let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let (Some(name), Some(number)) = (name, number) else { return };
        self.received += 1;
        match self.last.get_mut(name) {
            Some(last) if number <= *last => {
                let name = String::from_utf8_lossy(name);
                self.broken.push(format!("{name}:{number} came after {last}"));
            }
            Some(last) => *last = number,
            None => {
                self.last.insert(name.to_vec(), number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(numbers: impl IntoIterator<Item = u64>) -> Sequence {
        let mut sequence = Sequence::default();
        sequence.on(0, 0);
        sequence.on(1, 0);
        numbers.into_iter().for_each(|number| sequence.received(channel_of(number), number));
        sequence
    }

    #[test]
    fn whole_and_in_order_passes() {
        let mut sequence = fed(1..=20);
        sequence.end(20);
        assert_eq!((sequence.broken, sequence.received, sequence.missing_told), (vec![], 20, 0));
    }

    #[test]
    fn each_planted_fault_is_found() {
        for (what, numbers) in [
            ("missing", vec![1, 2, 4]),
            ("twice", vec![1, 2, 2, 3]),
            ("swapped", vec![1, 3, 2, 4]),
            ("missing first", vec![2, 3]),
        ] {
            assert!(!fed(numbers).broken.is_empty(), "{what}");
        }
        let mut sequence = fed(1..=5);
        sequence.end(6);
        assert_eq!(sequence.broken, ["6 is missing before 7"]);
        let mut sequence = fed(1..=5);
        sequence.received(1 - channel_of(6), 6);
        assert!(sequence.broken[0].contains("wrong channel"));
    }

    #[test]
    fn a_loss_is_forgiven_only_when_it_was_told_before_the_next() {
        let mut sequence = fed(1..=3);
        sequence.lost();
        sequence.received(channel_of(6), 6);
        assert_eq!((sequence.broken.len(), sequence.missing_told), (0, 2));
        sequence.received(channel_of(8), 8);
        assert_eq!(sequence.broken, ["7 is missing before 8"]);
        let mut late = fed(1..=3);
        late.received(channel_of(6), 6);
        late.lost();
        assert_eq!(late.broken.len(), 2);
    }

    #[test]
    fn a_channel_is_due_from_its_confirmation_until_its_end() {
        // 0, 1, 2 and 6, 7, 8 are on channel 0; 3, 4, 5 and 9, 10, 11 on channel 1.
        let mut sequence = Sequence::default();
        sequence.on(0, 0);
        for number in [1, 2, 6] {
            sequence.received(0, number);
        }
        sequence.on(1, 9);
        sequence.received(0, 7);
        sequence.received(0, 8);
        // 9 may come or not; 10 must.
        sequence.received(1, 10);
        sequence.off(1);
        sequence.received(0, 12);
        assert_eq!(sequence.broken, Vec::<String>::new());
        sequence.on(1, 14);
        sequence.received(0, 13);
        sequence.received(0, 14);
        sequence.received(1, 16);
        assert_eq!(sequence.broken, ["15 is missing before 16"]);
    }

    #[test]
    fn it_is_through_when_the_last_that_was_due_has_come() {
        let mut sequence = fed(1..=5);
        assert!(sequence.is_through(5) && !sequence.is_through(6));
        sequence.off(1);
        sequence.received(0, 8);
        assert!(sequence.is_through(11) && !sequence.is_through(12));
    }

    #[test]
    fn orders_are_kept_by_publisher() {
        let mut orders = Orders::default();
        for payload in ["a:1", "b:1", "a:5", "b:2", "else", "x:y"] {
            orders.received(payload.as_bytes());
        }
        assert_eq!((orders.received, orders.broken.len()), (4, 0));
        orders.received(b"a:5");
        orders.received(b"a:4");
        orders.received(b"b:3");
        assert_eq!(orders.broken, ["a:5 came after 5", "a:4 came after 5"]);
    }
}
