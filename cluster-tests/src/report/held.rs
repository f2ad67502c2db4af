//! What processes held over time: memory, processor, log, disk.
//!
//! Owns: which line is drawn from which number. Does not own: the samples. Invariant: a kind of which there is no sample has no
//! plot, so that an empty one cannot be taken for a flat one.

use super::collect::{Collected, Held};
use super::plot::{Band, LinePlot, Series, Unit};
use crate::history::Installation;

/// Draws a plot for each kind of which there are samples.
pub(super) fn draw(run: &Collected) -> Vec<String> {
    let plots = [
        plot(run, "Memory that is resident", Unit::Bytes, |held| {
            held.iter().map(|held| (held.at, held.resident as f64)).collect()
        }),
        plot(run, "Processor, of one core", Unit::Percent, processor),
        plot(run, "Log", Unit::Bytes, |held| {
            held.iter().filter_map(|held| Some((held.at, held.log? as f64))).collect()
        }),
        plot(run, "Folder on disk", Unit::Bytes, |held| {
            held.iter().filter_map(|held| Some((held.at, held.data? as f64))).collect()
        }),
    ];
    plots.into_iter().flatten().collect()
}

fn plot(
    run: &Collected,
    title: &str,
    unit: Unit,
    points: impl Fn(&[Held]) -> Vec<(f64, f64)>,
) -> Option<String> {
    let series: Vec<Series> = run
        .held
        .iter()
        .map(|(node, held)| Series { name: format!("n{node}"), points: thin(points(held)) })
        .collect();
    if series.iter().all(|series| series.points.is_empty()) {
        return None;
    }
    let families = run.families();
    let there = run.faults.iter().filter(|fault| fault.outcome != Installation::Skipped);
    let bands = there.take(super::timeline::MARKS_MAX).map(|fault| Band {
        from: fault.from,
        to: fault.until.unwrap_or(run.end),
        colour: families.iter().position(|family| *family == fault.family).unwrap_or(0),
        words: super::timeline::words(fault),
    });
    let bands = bands.collect();
    Some(LinePlot { title: title.into(), unit, end: run.end, is_log: false, series, bands }.draw())
}

/// Gives the share of a core between each two samples of one process; a new process begins anew.
fn processor(held: &[Held]) -> Vec<(f64, f64)> {
    let pairs = held.windows(2).filter_map(|pair| match pair {
        [one, other] if other.at > one.at => {
            let used = other.processor_ms.checked_sub(one.processor_ms);
            let share = used.map(|used| used as f64 / 10.0 / (other.at - one.at));
            Some((other.at, share.unwrap_or(f64::NAN)))
        }
        _ => None,
    });
    pairs.collect()
}

/// Keeps at most some thousand points: of neighbours the largest, because it is the one that matters.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(1000).max(1);
    let largest = |some: &[(f64, f64)]| some.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(step).filter_map(largest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_no_negative_share_and_peaks_stay() {
        let held = |at, processor_ms| Held { at, resident: 1, processor_ms, log: None, data: None };
        let shares = processor(&[held(0.0, 100), held(1.0, 600), held(2.0, 10), held(4.0, 2010)]);
        assert_eq!(shares.first(), Some(&(1.0, 50.0)));
        assert!(shares.get(1).is_some_and(|share| share.1.is_nan()));
        assert_eq!(shares.get(2), Some(&(4.0, 100.0)));
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|at| (f64::from(at), 1.0)).collect();
        if let Some(point) = points.get_mut(7777) {
            point.1 = 9.0;
        }
        let points = thin(points);
        assert!(points.len() <= 1000 && points.iter().any(|point| point.1 > 8.0));
    }
}
