//! The picture of a whole run: faults, nodes, operations, all above one another along the same time.
//!
//! Owns: the rows and what is in each. Does not own: counting. Invariant: each fault, each change of leaders and each event of a
//! process is in the picture, with its words; only neighbours too close to be told apart become one, with their number.

use super::bins::{Bins, LATENCIES, OUTCOMES, edge, quantile};
use super::collect::{Collected, Fault};
use super::nodes;
use super::plot::{LEFT, RIGHT, Scale, Svg, Unit, WIDTH, frame, legend, path};
use crate::history::Installation;

/// How many marks of one row are drawn one by one.
pub(super) const MARKS_MAX: usize = 1500;
const LANE: f64 = 18.0;
const LATENCY: f64 = 210.0;
const RATE: f64 = 110.0;
const QUANTILES: f64 = 130.0;
const GAP: f64 = 40.0;
const TOP: f64 = 30.0;

/// Draws the run; `marks` are the seconds at which operations of findings were under way, with what was found.
pub(super) fn draw(run: &Collected, marks: &[(f64, String)]) -> String {
    let families = run.families();
    let rows = families.len() + run.nodes.len() + usize::from(!marks.is_empty());
    let lanes = rows as f64 * LANE;
    let height = TOP + lanes + LATENCY + RATE + QUANTILES + 4.0 * GAP;
    let mut svg = Svg::new(WIDTH, height);
    let across = Scale::linear(0.0, run.end.max(1e-3), [LEFT, WIDTH - RIGHT]);
    svg.text([LEFT, 16.0], "start", "title", "The run");
    legend(&mut svg, 16.0, OUTCOMES.iter().map(|outcome| ((*outcome).to_owned(), *outcome)));
    let panels = [TOP + lanes + 22.0, height - 26.0];
    shade(&mut svg, run, &families, &across, panels);
    let mut y = TOP;
    for (colour, family) in families.iter().enumerate() {
        let faults: Vec<&Fault> =
            run.faults.iter().filter(|fault| fault.family == *family).collect();
        lane(&mut svg, (&across, run.end), y, (family, colour), &faults);
        y += LANE;
    }
    y = nodes::draw(&mut svg, run, &across, y, LANE);
    if !marks.is_empty() {
        svg.text([LEFT - 8.0, y + 13.0], "end", "", "findings");
        for (at, words) in marks {
            svg.dot([across.at(*at), y + LANE / 2.0], 4.0, "fill unknown", words);
        }
        y += LANE;
    }
    y += GAP;
    density(&mut svg, &run.bins, &across, y);
    y += LATENCY + GAP;
    rate(&mut svg, &run.bins, &across, y);
    y += RATE + GAP;
    quantiles(&mut svg, &run.bins, &across, y);
    svg.finish("The run: faults, nodes, latencies and rates over time")
}

/// Draws each fault as a pale column behind what the clients saw.
fn shade(
    svg: &mut Svg,
    run: &Collected,
    families: &[&str],
    across: &Scale,
    [top, bottom]: [f64; 2],
) {
    let mut columns: Vec<Vec<[f64; 4]>> = vec![Vec::new(); families.len().min(8)];
    for fault in run.faults.iter().filter(|fault| fault.outcome != Installation::Skipped) {
        let colour = families.iter().position(|family| *family == fault.family).unwrap_or(0) % 8;
        let (from, to) = (across.at(fault.from), across.at(fault.until.unwrap_or(run.end)));
        if let Some(column) = columns.get_mut(colour) {
            column.push([from, top, (to - from).max(0.7), bottom - top]);
        }
    }
    for (colour, column) in columns.iter().enumerate() {
        svg.boxes(column, &format!("fill k{colour}"), 0.1);
    }
}

fn lane(
    svg: &mut Svg,
    (across, end): (&Scale, f64),
    y: f64,
    (family, colour): (&str, usize),
    faults: &[&Fault],
) {
    let name: String = family.chars().take(22).collect();
    svg.text([LEFT - 8.0, y + 13.0], "end", "", &name);
    let mut drawn: Vec<(f64, f64, &str, String, usize)> = Vec::new();
    for fault in faults {
        let (from, to) = (across.at(fault.from), across.at(fault.until.unwrap_or(end)));
        let look = match fault.outcome {
            Installation::Installed => "bar",
            Installation::Skipped => "plain stroke dashed",
            Installation::Indeterminate => "half",
        };
        let words = words(fault);
        match drawn.last_mut() {
            Some(last) if faults.len() > MARKS_MAX && from - last.1 < 1.0 => {
                last.1 = last.1.max(to);
                last.4 += 1;
                last.3 = format!("{} faults of {family}, close together", last.4);
            }
            _ => drawn.push((from, to, look, words, 1)),
        }
    }
    for (from, to, look, words, _) in drawn {
        let class = if look.contains("dashed") {
            format!("{look} hollow")
        } else {
            format!("{look} k{}", colour % 8)
        };
        svg.rect([from, y + 3.0], [(to - from).max(1.5), LANE - 6.0], &class, &words);
    }
}

/// Says in one line what a fault was.
pub(super) fn words(fault: &Fault) -> String {
    let outcome = match fault.outcome {
        Installation::Installed => "",
        Installation::Skipped => " (skipped)",
        Installation::Indeterminate => " (indeterminate)",
    };
    let until = fault.until.map_or_else(|| "the end".to_owned(), |until| format!("{until:.3} s"));
    format!("{}{outcome}, {:.3} s to {until}: {}", fault.family, fault.from, fault.text)
}

/// Draws latencies as a field of small boxes, the darker the more operations; what did not go well lies above.
fn density(svg: &mut Svg, bins: &Bins, across: &Scale, y: f64) {
    let whole = bins.whole();
    let is_used = |place: &usize| whole.begun.iter().any(|counts| counts.get(*place) > Some(&0));
    let lowest = (0..LATENCIES).find(is_used).unwrap_or(0);
    let highest = (0..LATENCIES).rev().find(is_used).unwrap_or(90) + 1;
    let up = Scale::log(edge(lowest), edge(highest), [y + LATENCY, y]);
    frame(svg, across, (&up, Unit::Seconds), "latency, by when it began", [y, y + LATENCY]);
    let most = bins.spans().flat_map(|(_, span)| span.begun.iter().flatten()).copied().max();
    let most = f64::from(most.unwrap_or(1).max(2)).ln();
    let width = across.at(bins.width()) - across.at(0.0);
    for (outcome, class) in OUTCOMES.iter().enumerate() {
        // Few looks, so that each is one path.
        let mut looks: [Vec<[f64; 4]>; 6] = Default::default();
        for (at, span) in bins.spans() {
            let x = across.at(at);
            let counts = span.begun.get(outcome).into_iter().flatten().enumerate();
            for (place, count) in counts.filter(|(_, count)| **count > 0) {
                let (low, high) = (up.at(edge(place)), up.at(edge(place + 1)));
                let share = f64::from(*count).ln() / most;
                let look = (1..6).filter(|step| share * 6.0 >= f64::from(*step)).count();
                if let Some(boxes) = looks.get_mut(look) {
                    boxes.push([x, high, width.max(1.0), (low - high).max(1.0)]);
                }
            }
        }
        let faintest = if outcome == 0 { 0.25 } else { 0.75 };
        let mut opacity = faintest;
        for boxes in &looks {
            svg.boxes(boxes, &format!("fill {class}"), opacity);
            opacity += (1.0 - faintest) / 5.0;
        }
    }
}

/// Draws how many operations ended in each second.
fn rate(svg: &mut Svg, bins: &Bins, across: &Scale, y: f64) {
    let rate = |count: u32| f64::from(count) / bins.width();
    let most = bins.spans().flat_map(|(_, span)| span.ended).max().unwrap_or(0);
    let up = Scale::linear(0.0, rate(most).max(1.0) * 1.05, [y + RATE, y]);
    frame(
        svg,
        across,
        (&up, Unit::Count),
        "operations a second, by when they ended",
        [y, y + RATE],
    );
    for (outcome, class) in OUTCOMES.iter().enumerate() {
        let points = bins.spans().flat_map(|(at, span)| {
            let count = span.ended.get(outcome).copied().unwrap_or(0);
            // A line at zero would only hide the others.
            let value = if count == 0 && outcome > 0 { f64::NAN } else { rate(count) };
            [(at, value), (at + bins.width(), value)]
        });
        let points: Vec<(f64, f64)> = points.collect();
        if points.iter().any(|(_, value)| *value > 0.0) {
            svg.path(&path(&points, across, &up), &format!("line stroke {class}"), class);
        }
    }
}

/// Draws quantiles of the latency of operations that went well.
fn quantiles(svg: &mut Svg, bins: &Bins, across: &Scale, y: f64) {
    let shares = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];
    let lines: Vec<Vec<(f64, f64)>> = shares
        .iter()
        .map(|(_, share)| {
            let at = |(at, span): (f64, &super::bins::Span)| {
                let value = span.begun.first().and_then(|counts| quantile(counts, *share));
                (at + bins.width() / 2.0, value.unwrap_or(f64::NAN))
            };
            bins.spans().map(at).collect()
        })
        .collect();
    let values = || lines.iter().flatten().map(|point| point.1).filter(|value| value.is_finite());
    let low = values().fold(f64::INFINITY, f64::min);
    let low = if low.is_finite() { low / 1.2 } else { 1e-3 };
    let up = Scale::log(low, values().fold(low * 10.0, f64::max) * 1.2, [y + QUANTILES, y]);
    frame(svg, across, (&up, Unit::Seconds), "latency of what went well", [y, y + QUANTILES]);
    for ((name, _), (colour, points)) in shares.iter().zip(lines.iter().enumerate()) {
        svg.path(&path(points, across, &up), &format!("line stroke k{colour}"), name);
    }
    let names = shares.iter().enumerate().map(|(colour, (name, _))| (format!("k{colour}"), *name));
    legend(svg, y - 6.0, names);
}
