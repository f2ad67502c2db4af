//! What nodes say in their logs, with the virtual time and the machine in front.
//!
//! Owns the moment that stands in front of a line. Does not own the lines. Invariant: a run goes the same way whether somebody
//! reads its log or not.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::failure::{Failure, Outcome};

thread_local! {
    /// The world's time, and the machine that takes its step.
    static MOMENT: Cell<(Duration, usize)> = const { Cell::new((Duration::ZERO, 0)) };
}

/// Says whose step it is.
pub(super) fn turn(now: Duration, number: usize) {
    MOMENT.set((now, number));
}

#[derive(Clone, Copy, Debug)]
struct Moment;

impl FormatTime for Moment {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (now, number) = MOMENT.get();
        write!(to, "{:>9.3} n{number}", now.as_secs_f64())
    }
}

/// Prints what nodes log, as far as `filter` lets it through (`info`, `quorate=debug`).
///
/// # Errors
/// When that is no filter.
pub(super) fn print(filter: &str) -> Outcome {
    let filter = EnvFilter::try_new(filter).map_err(|error| Failure::new(error.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_timer(Moment);
    lines.with_ansi(false).with_writer(std::io::stdout).init();
    Ok(())
}
