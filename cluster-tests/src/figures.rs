//! Rounds and what they measured, as lines for people and for CI.
//!
//! Owns: the count of rounds that passed and failed, medians and other quantiles, how a figure is written. Does not own:
//! what a round does. Invariant: a round that failed is never part of a figure, and never forgotten by the exit code.
#![expect(clippy::print_stdout, reason = "the lines are what the tools are for")]

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use crate::failure::Outcome;

/// What several rounds of one kind gave.
#[derive(Debug)]
pub struct Rounds<T> {
    /// What the rounds that passed have shown.
    pub passed: Vec<T>,
    /// How many failed.
    pub failed: usize,
}

/// Runs rounds `1..=count` one after the other, and prints a line for each.
pub async fn rounds<T: fmt::Display>(
    name: &str,
    count: usize,
    mut round: impl AsyncFnMut(usize) -> Outcome<T>,
) -> Rounds<T> {
    let mut rounds = Rounds { passed: Vec::new(), failed: 0 };
    for number in 1..=count {
        match round(number).await {
            Ok(shown) => {
                println!("{name}, round {number}: {shown}");
                rounds.passed.push(shown);
            }
            Err(failure) => {
                rounds.failed += 1;
                println!("{name}, round {number}: FAILED: {failure}");
            }
        }
    }
    rounds
}

impl<T> Rounds<T> {
    /// Prints the median and the worst of a time that each round has shown.
    pub fn figure(&self, name: &str, time: impl Fn(&T) -> Option<Duration>) {
        let times: Vec<Duration> = self.passed.iter().filter_map(time).collect();
        spread(name, times);
    }
}

/// Prints the median and the worst of `times`, unless there are none.
pub fn spread(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    if let (Some(median), Some(worst)) = (quantile(&times, 0.5), times.last()) {
        let (median, worst) = (text(median), text(*worst));
        println!("figure: {name}: median {median}, worst {worst}, of {}", times.len());
    }
}

/// Prints any other figure.
pub fn figure(line: impl fmt::Display) {
    println!("figure: {line}");
}

/// Prints what this machine or this run leaves out, and why.
pub fn left_out(line: impl fmt::Display) {
    println!("left out: {line}");
}

/// Prints a line that is neither.
pub fn note(line: impl fmt::Display) {
    println!("{line}");
}

/// Prints why a step outside of any round failed, and counts it.
pub fn failed(name: &str, outcome: Outcome) -> usize {
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            println!("{name}: FAILED: {failure}");
            1
        }
    }
}

/// Gives the exit code for a number of failures.
#[must_use]
pub fn exit(failures: usize) -> ExitCode {
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Gives the value below which the share `share` of the sorted `times` lies, none if there are none.
#[must_use]
pub fn quantile(times: &[Duration], share: f64) -> Option<Duration> {
    // Exact enough: the number of times is far below what a double holds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list of some thousands"
    )]
    let place = (times.len() as f64 * share) as usize;
    times.get(place.min(times.len().checked_sub(1)?)).copied()
}

/// Writes a duration in milliseconds, with a tenth where it counts.
#[must_use]
pub fn text(time: Duration) -> String {
    let tenths = time.as_micros() / 100;
    if tenths < 1000 {
        format!("{}.{} ms", tenths / 10, tenths % 10)
    } else {
        format!("{} ms", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_upper_neighbour() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.5), Some(Duration::from_millis(51)));
        assert_eq!(quantile(&times, 0.99), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&times, 1.0), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&times[..1], 0.5), Some(Duration::from_millis(1)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn short_times_are_told_with_a_tenth() {
        assert_eq!(text(Duration::from_micros(1_290)), "1.2 ms");
        assert_eq!(text(Duration::from_micros(250_900)), "250 ms");
    }

    #[tokio::test]
    async fn a_failed_round_is_counted_and_the_next_one_runs() {
        let rounds = rounds("a", 3, async |number| {
            if number == 2 { Err(crate::failure::Failure::new("no")) } else { Ok(number) }
        })
        .await;
        assert_eq!((rounds.passed, rounds.failed), (vec![1, 3], 1));
        assert_eq!(exit(1), ExitCode::FAILURE);
    }
}
