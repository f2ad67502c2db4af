//! Operations counted by time, latency and outcome, however many there are.
//!
//! Owns: the counts and what follows from them: rates, quantiles. Does not own: drawing. Invariant: memory is bounded, and every
//! operation counts exactly once in each of the counts; when a run grows longer than its bins, neighbours become one.

use crate::history::{Nanos, Operation, Outcome};

/// How many spans of time there are at most.
const SPANS_MAX: usize = 512;
/// How many latencies are told apart within a factor of ten.
pub(super) const PER_DECADE: usize = 30;
/// From 1 µs to 1,000 s.
pub(super) const LATENCIES: usize = 9 * PER_DECADE;

/// What became of operations, in the order of all arrays here.
pub(super) const OUTCOMES: [&str; 3] = ["ok", "failed", "unknown"];

/// One span of time.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// By outcome and latency, those that began in it.
    pub(super) begun: Box<[[u32; LATENCIES]; 3]>,
    /// By outcome, those that ended in it.
    pub(super) ended: [u32; 3],
}

impl Span {
    fn new() -> Self {
        Self { begun: Box::new([[0; LATENCIES]; 3]), ended: [0; 3] }
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.begun.iter_mut().flatten().zip(other.begun.iter().flatten()) {
            *mine = mine.saturating_add(*theirs);
        }
        for (mine, theirs) in self.ended.iter_mut().zip(other.ended) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// All operations of a run.
#[derive(Debug)]
pub(super) struct Bins {
    width: Nanos,
    spans: Vec<Span>,
    /// By outcome.
    pub(super) totals: [u64; 3],
}

impl Default for Bins {
    fn default() -> Self {
        Self { width: 1_000_000, spans: Vec::new(), totals: [0; 3] }
    }
}

impl Bins {
    pub(super) fn add(&mut self, operation: &Operation) {
        let outcome = match operation.outcome {
            Outcome::Ok(_) => 0,
            Outcome::Failed(_) => 1,
            Outcome::Unknown(_) => 2,
        };
        let latency = place(operation.returned.saturating_sub(operation.invoked));
        let begun = &mut self.span(operation.invoked).begun;
        if let Some(count) = begun.get_mut(outcome).and_then(|counts| counts.get_mut(latency)) {
            *count = count.saturating_add(1);
        }
        if let Some(count) = self.span(operation.returned).ended.get_mut(outcome) {
            *count = count.saturating_add(1);
        }
        if let Some(total) = self.totals.get_mut(outcome) {
            *total += 1;
        }
    }

    fn span(&mut self, at: Nanos) -> &mut Span {
        let index = loop {
            let index = usize::try_from(at / self.width).unwrap_or(usize::MAX);
            if index < SPANS_MAX {
                break index;
            }
            self.halve();
        };
        if self.spans.len() <= index {
            self.spans.resize_with(index + 1, Span::new);
        }
        let last = self.spans.len() - 1;
        self.spans.get_mut(index.min(last)).expect("it was made above")
    }

    fn halve(&mut self) {
        self.width *= 2;
        let pairs = self.spans.chunks(2).map(|pair| {
            let mut one = Span::new();
            pair.iter().for_each(|span| one.add(span));
            one
        });
        self.spans = pairs.collect();
    }

    /// Gives the spans, with the second at which each begins.
    pub(super) fn spans(&self) -> impl Iterator<Item = (f64, &Span)> {
        let width = self.width();
        let mut at = -width;
        self.spans.iter().map(move |span| {
            at += width;
            (at, span)
        })
    }

    /// Gives how many seconds a span is long.
    pub(super) fn width(&self) -> f64 {
        seconds(self.width)
    }

    /// Adds up all spans: by outcome and latency.
    pub(super) fn whole(&self) -> Span {
        let mut whole = Span::new();
        self.spans.iter().for_each(|span| whole.add(span));
        whole
    }
}

/// Gives the latency that the share `share` of `counts` does not exceed, in seconds, to the upper edge of its bin.
pub(super) fn quantile(counts: &[u32; LATENCIES], share: f64) -> Option<f64> {
    let total: u32 = counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return None;
    }
    let wanted = (f64::from(total) * share).max(1.0);
    let mut seen = 0.0;
    let place = counts.iter().position(|count| {
        seen += f64::from(*count);
        seen >= wanted - 1e-9
    });
    Some(edge(place.unwrap_or(LATENCIES - 1) + 1))
}

/// Gives where a latency is counted.
fn place(latency: Nanos) -> usize {
    let decades = (seconds(latency) / 1e-6).max(1.0).log10();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to some hundreds"
    )]
    let place = (decades * PER_DECADE as f64 + 1e-9) as usize;
    place.min(LATENCIES - 1)
}

fn decade(place: usize) -> f64 {
    place as f64 / PER_DECADE as f64
}

/// Gives the lower edge of a bin in seconds.
pub(super) fn edge(place: usize) -> f64 {
    1e-6 * 10f64.powf(decade(place))
}

/// Turns nanoseconds into seconds.
pub(super) fn seconds(nanos: Nanos) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Call};

    fn operation(invoked: Nanos, returned: Nanos, outcome: Outcome) -> Operation {
        let (key, call) = (String::new(), Call::Read);
        Operation { client: 0, node: 1, key, call, invoked, returned, outcome, index: None }
    }

    #[test]
    fn every_operation_counts_once_however_long_the_run_is() {
        let mut bins = Bins::default();
        for number in 0..10_000 {
            let at = number * 360_000_000;
            let outcome = match number % 10 {
                0 => Outcome::Unknown(String::new()),
                1 => Outcome::Failed(String::new()),
                _ => Outcome::Ok(Answer::None),
            };
            bins.add(&operation(at, at + number * 1000, outcome));
        }
        assert_eq!(bins.totals, [8_000, 1_000, 1_000]);
        assert!((SPANS_MAX / 2..=SPANS_MAX).contains(&bins.spans().count()));
        let whole = bins.whole();
        assert_eq!(whole.ended, [8_000, 1_000, 1_000]);
        let begun: Vec<u32> = whole.begun.iter().map(|counts| counts.iter().sum()).collect();
        assert_eq!(begun, [8_000, 1_000, 1_000]);
        assert!(bins.width() * 512.0 >= 3_600.0);
    }

    #[test]
    fn quantiles_are_right_to_the_width_of_a_bin() {
        let mut bins = Bins::default();
        for ms in 1..=1000 {
            bins.add(&operation(0, ms * 1_000_000, Outcome::Ok(Answer::None)));
        }
        let whole = bins.whole();
        for (share, wanted) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0)] {
            let found = quantile(&whole.begun[0], share).expect("there are some");
            assert!((wanted * 0.99..=wanted * 1.09).contains(&found), "{share}: {found}");
        }
        assert_eq!(quantile(&whole.begun[1], 0.5), None);
        assert_eq!(place(0), 0);
        assert_eq!(place(Nanos::MAX), LATENCIES - 1);
        assert!(edge(place(1_000_000)) <= 1e-3 && edge(place(1_000_000) + 1) > 1e-3);
    }
}
