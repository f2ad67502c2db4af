//! Small plots as SVG text.
//!
//! Owns: the kinds of plots and their shared look. Does not own: where the numbers come from. Invariant: each plot is one
//! well-formed SVG element that needs nothing else: no font, no script, no address; and it is readable on light and dark.

mod distribution;
mod line;
mod scale;
mod svg;

pub use distribution::{Sample, ecdf, histogram};
pub use line::{Band, LinePlot, Series};
pub(crate) use line::{LEFT, RIGHT, WIDTH, frame, legend, path};
pub use scale::{Scale, Unit};
pub use svg::{STYLE, Svg, escape};

#[cfg(test)]
pub(crate) mod tests;
