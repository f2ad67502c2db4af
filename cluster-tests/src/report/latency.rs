//! How latencies are spread over the whole run.
//!
//! Owns: the bars. Does not own: the counts. Invariant: every operation is in one bar; counts lie by their logarithms, so that one
//! among millions is seen.

use super::bins::{Bins, LATENCIES, OUTCOMES, PER_DECADE, edge};
use super::plot::{LEFT, RIGHT, Scale, Svg, Unit, WIDTH, legend};

const HEIGHT: f64 = 240.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 32.0;
/// How many bins are one bar.
const STEP: usize = PER_DECADE / 10;

/// Draws it.
pub(super) fn draw(bins: &Bins) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    svg.text([LEFT, 16.0], "start", "title", "Operations by their latency");
    legend(&mut svg, 16.0, OUTCOMES.iter().map(|outcome| ((*outcome).to_owned(), *outcome)));
    let whole = bins.whole();
    let bars: Vec<Vec<u32>> = whole
        .begun
        .iter()
        .map(|counts| counts.chunks(STEP).map(|bar| bar.iter().sum()).collect())
        .collect();
    let is_used = |bar: &usize| bars.iter().any(|counts| counts.get(*bar) > Some(&0));
    let lowest = (0..LATENCIES / STEP).find(is_used).unwrap_or(0);
    let highest = (0..LATENCIES / STEP).rev().find(is_used).unwrap_or(30) + 1;
    let across = Scale::log(edge(lowest * STEP), edge(highest * STEP), [LEFT, WIDTH - RIGHT]);
    let most = bars.iter().flatten().copied().max().unwrap_or(1).max(1);
    let bottom = HEIGHT - BOTTOM;
    let up = Scale::log(0.5, f64::from(most) * 1.3, [bottom, TOP]);
    for tick in up.ticks(4.0, Unit::Count).into_iter().filter(|tick| *tick >= 1.0) {
        svg.line([LEFT, up.at(tick)], [WIDTH - RIGHT, up.at(tick)], "grid");
        svg.text([LEFT - 8.0, up.at(tick) + 4.0], "end", "soft", &Unit::Count.text(tick));
    }
    for tick in across.ticks(10.0, Unit::Seconds) {
        svg.text([across.at(tick), bottom + 17.0], "middle", "soft", &Unit::Seconds.text(tick));
    }
    for (outcome, counts) in OUTCOMES.iter().zip(&bars) {
        for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (from, to) = (edge(bar * STEP), edge((bar + 1) * STEP));
            let (x, y) = (across.at(from) + 0.5, up.at(f64::from(*count)));
            let (low, high) = (Unit::Seconds.text(from), Unit::Seconds.text(to));
            let words = format!("{count} {outcome}, {low} to {high}");
            svg.rect(
                [x, y],
                [across.at(to) - x - 0.5, bottom - y],
                &format!("half {outcome}"),
                &words,
            );
        }
    }
    svg.line([LEFT, bottom], [WIDTH - RIGHT, bottom], "axis");
    svg.finish("Operations by their latency")
}
