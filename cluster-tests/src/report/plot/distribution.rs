//! Where numbers lie: the share below each, and how many lie in each span.
//!
//! Owns: the two plots of a distribution. Does not own: quantiles in text. Invariant: every number that is handed in
//! counts, also the largest.

use super::line::{LEFT, RIGHT, WIDTH, grid, legend};
use super::scale::{Scale, Unit};
use super::svg::Svg;

/// Numbers of one kind.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// What they are.
    pub name: String,
    /// The numbers.
    pub values: Vec<f64>,
}

const HEIGHT: f64 = 320.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 36.0;

fn highest(samples: &[Sample]) -> f64 {
    samples.iter().flat_map(|sample| &sample.values).copied().fold(0.0, f64::max)
}

fn across_axis(svg: &mut Svg, across: &Scale, unit: Unit) {
    let bottom = HEIGHT - BOTTOM;
    for tick in across.ticks(10.0, unit) {
        let x = across.at(tick);
        svg.line([x, TOP], [x, bottom], "grid");
        svg.text([x, bottom + 17.0], "middle", "soft", &unit.text(tick));
    }
    svg.line([LEFT, bottom], [WIDTH - RIGHT, bottom], "axis");
}

/// Draws for each number the share of the sample that is not above it (the empirical distribution function).
#[must_use]
pub fn ecdf(title: &str, unit: Unit, samples: &[Sample]) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    svg.text([LEFT, 16.0], "start", "title", title);
    let across = Scale::linear(0.0, highest(samples) * 1.03, [LEFT, WIDTH - RIGHT]);
    let up = Scale::linear(0.0, 100.0, [HEIGHT - BOTTOM, TOP]);
    grid(&mut svg, &up, Unit::Percent, [LEFT, WIDTH - RIGHT], 4.0);
    across_axis(&mut svg, &across, unit);
    for (number, sample) in samples.iter().enumerate() {
        let mut values = sample.values.clone();
        values.sort_unstable_by(f64::total_cmp);
        let mut path = format!("M{:.1} {:.1}", across.at(0.0), up.at(0.0));
        let step = 100.0 / f64::from(u32::try_from(values.len().max(1)).unwrap_or(u32::MAX));
        let mut share = 0.0;
        for value in values {
            share += step;
            path.push_str(&format!("H{:.1}V{:.1}", across.at(value), up.at(share)));
        }
        path.push_str(&format!("H{:.1}", WIDTH - RIGHT));
        svg.path(&path, &format!("line stroke k{}", number % 8), &sample.name);
    }
    legend(
        &mut svg,
        36.0,
        samples.iter().enumerate().map(|(at, one)| (format!("k{}", at % 8), &*one.name)),
    );
    svg.finish(title)
}

/// Draws how many numbers lie in each of some equal spans, the samples side by side.
#[must_use]
pub fn histogram(title: &str, unit: Unit, samples: &[Sample]) -> String {
    const SPANS: usize = 40;
    let mut svg = Svg::new(WIDTH, HEIGHT);
    svg.text([LEFT, 16.0], "start", "title", title);
    let high = highest(samples).max(f64::MIN_POSITIVE) * 1.000_001;
    let width = high / 40.0;
    let counts: Vec<[u32; SPANS]> = samples
        .iter()
        .map(|sample| {
            let mut counts = [0; SPANS];
            for value in &sample.values {
                // The first span that the number is not above.
                let mut edge = width;
                let place = counts.iter_mut().find(|_| {
                    let is_in = *value <= edge;
                    edge += width;
                    is_in
                });
                if let Some(count) = place {
                    *count += 1;
                }
            }
            counts
        })
        .collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(1);
    let across = Scale::linear(0.0, high, [LEFT, WIDTH - RIGHT]);
    let up = Scale::linear(0.0, f64::from(most) * 1.05, [HEIGHT - BOTTOM, TOP]);
    grid(&mut svg, &up, Unit::Count, [LEFT, WIDTH - RIGHT], 4.0);
    across_axis(&mut svg, &across, unit);
    let share = f64::from(u32::try_from(samples.len().max(1)).unwrap_or(1));
    let bar = ((across.at(width) - LEFT - 2.0) / share).max(0.5);
    let mut shift = 1.0;
    for (number, (sample, counts)) in samples.iter().zip(&counts).enumerate() {
        let mut from = 0.0;
        for count in counts {
            let (x, y) = (across.at(from) + shift, up.at(f64::from(*count)));
            if *count > 0 {
                let words = format!(
                    "{}: {count} from {} to {}",
                    sample.name,
                    unit.text(from),
                    unit.text(from + width)
                );
                let class = format!("bar k{}", number % 8);
                svg.rect([x, y], [bar, HEIGHT - BOTTOM - y], &class, &words);
            }
            from += width;
        }
        shift += bar;
    }
    legend(
        &mut svg,
        36.0,
        samples.iter().enumerate().map(|(at, one)| (format!("k{}", at % 8), &*one.name)),
    );
    svg.finish(title)
}
