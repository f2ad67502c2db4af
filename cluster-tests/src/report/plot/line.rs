//! Lines over time, with bands behind them.
//!
//! Owns: frame, axes, legend and lines of one plot. Does not own: the numbers. Invariant: every band and every series that is
//! handed in is in the picture, and in the legend where there are several.

use super::scale::{Scale, Unit};
use super::svg::Svg;

/// One line.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points; a number that is none breaks the line.
    pub points: Vec<(f64, f64)>,
}

/// A span of time that is marked.
#[derive(Debug, Clone, Default)]
pub struct Band {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Which colour it has, from 0.
    pub colour: usize,
    /// What is told about it.
    pub words: String,
}

/// What is plotted.
#[derive(Debug, Clone)]
pub struct LinePlot {
    /// The words above it.
    pub title: String,
    /// What the points count.
    pub unit: Unit,
    /// The end of the time axis, in seconds from 0.
    pub end: f64,
    /// Whether numbers lie by their logarithms.
    pub is_log: bool,
    /// The lines.
    pub series: Vec<Series>,
    /// The bands.
    pub bands: Vec<Band>,
}

/// The size of all plots of a page, in pixels.
pub(crate) const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 230.0;
pub(crate) const LEFT: f64 = 150.0;
pub(crate) const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 34.0;

impl LinePlot {
    /// Draws it.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH, HEIGHT);
        let across = Scale::linear(0.0, self.end, [LEFT, WIDTH - RIGHT]);
        let up = self.up();
        svg.text([LEFT, 16.0], "start", "title", &self.title);
        for band in &self.bands {
            let (from, to) = (across.at(band.from), across.at(band.to));
            let class = format!("band k{}", band.colour % 8);
            svg.rect(
                [from, TOP],
                [(to - from).max(1.0), HEIGHT - TOP - BOTTOM],
                &class,
                &band.words,
            );
        }
        grid(&mut svg, &up, self.unit, [LEFT, WIDTH - RIGHT], 4.0);
        time_axis(&mut svg, &across, [TOP, HEIGHT - BOTTOM]);
        for (number, series) in self.series.iter().enumerate() {
            let class = format!("line stroke k{}", number % 8);
            svg.path(&path(&series.points, &across, &up), &class, &series.name);
        }
        let names = self.series.iter().map(|series| series.name.as_str());
        if self.series.len() > 1 {
            legend(
                &mut svg,
                16.0,
                names.enumerate().map(|(at, name)| (format!("k{}", at % 8), name)),
            );
        }
        svg.finish(&self.title)
    }

    fn up(&self) -> Scale {
        let values = || {
            let points = self.series.iter().flat_map(|series| &series.points);
            points.map(|(_, value)| *value).filter(|value| value.is_finite())
        };
        let high = values().fold(0.0, f64::max);
        let pixels = [HEIGHT - BOTTOM, TOP];
        if self.is_log {
            let low = values().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
            let low = if low.is_finite() { 10f64.powf(low.log10().floor()) } else { 1e-3 };
            Scale::log(low, 10f64.powf(high.max(low * 10.0).log10().ceil()), pixels)
        } else {
            Scale::linear(0.0, if high > 0.0 { high * 1.08 } else { 1.0 }, pixels)
        }
    }
}

/// Draws horizontal lines with their numbers.
pub(super) fn grid(svg: &mut Svg, up: &Scale, unit: Unit, [left, right]: [f64; 2], count: f64) {
    for tick in up.ticks(count, unit) {
        let y = up.at(tick);
        svg.line([left, y], [right, y], "grid");
        svg.text([left - 8.0, y + 4.0], "end", "soft", &unit.text(tick));
    }
}

/// Draws the line at the bottom with times, and faint lines up from it.
pub(super) fn time_axis(svg: &mut Svg, across: &Scale, [top, bottom]: [f64; 2]) {
    for tick in across.ticks(10.0, Unit::Seconds) {
        let x = across.at(tick);
        svg.line([x, top], [x, bottom], "grid");
        svg.text([x, bottom + 16.0], "middle", "soft", &Unit::Seconds.text(tick));
    }
    svg.line([LEFT, bottom], [WIDTH - RIGHT, bottom], "axis");
}

/// Draws names with their colours at the right, with the bottom of the words at `y`.
pub(crate) fn legend<'a>(svg: &mut Svg, y: f64, names: impl Iterator<Item = (String, &'a str)>) {
    let names: Vec<_> = names.collect();
    let mut x = WIDTH - RIGHT;
    for (class, name) in names.iter().rev() {
        // A letter is about 6.6 pixels wide at this size.
        let letters = u32::try_from(name.chars().count()).unwrap_or(u32::MAX);
        x -= f64::from(letters) * 6.6 + 6.0;
        svg.text([x, y], "start", "soft", name);
        x -= 16.0;
        svg.rect([x, y - 9.0], [11.0, 11.0], &format!("fill {class}"), "");
        x -= 12.0;
    }
}

/// Draws the grid of one row of several, with its title.
pub(crate) fn frame(
    svg: &mut Svg,
    across: &Scale,
    (up, unit): (&Scale, Unit),
    title: &str,
    [top, bottom]: [f64; 2],
) {
    svg.text([LEFT, top - 6.0], "start", "soft", title);
    grid(svg, up, unit, [LEFT, WIDTH - RIGHT], 4.0);
    time_axis(svg, across, [top, bottom]);
}

/// Writes a line through points; one that is no number breaks it.
pub(crate) fn path(points: &[(f64, f64)], across: &Scale, up: &Scale) -> String {
    let mut path = String::new();
    let mut is_broken = true;
    for (time, value) in points {
        if !value.is_finite() {
            is_broken = true;
            continue;
        }
        let letter = if is_broken { 'M' } else { 'L' };
        is_broken = false;
        path.push_str(&format!("{letter}{:.1} {:.1}", across.at(*time), up.at(*value)));
    }
    path
}
