//! From numbers to pixels.
//!
//! Owns: linear and logarithmic axes, round ticks, how a number with a unit is written. Does not own: drawing. Invariant: a
//! position lies within the axis, also for numbers outside of it.

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Parts of a hundred.
    Percent,
}

impl Unit {
    /// Writes a number as people do.
    #[must_use]
    pub fn text(self, value: f64) -> String {
        let (factor, name) = match self {
            Self::Seconds if value == 0.0 => (1.0, " s"),
            Self::Seconds if value < 1e-3 => (1e6, " µs"),
            Self::Seconds if value < 1.0 => (1e3, " ms"),
            Self::Seconds => (1.0, " s"),
            Self::Bytes if value >= 1024.0 * 1024.0 * 1024.0 => {
                (1.0 / (1024.0 * 1024.0 * 1024.0), " GiB")
            }
            Self::Bytes if value >= 1024.0 * 1024.0 => (1.0 / (1024.0 * 1024.0), " MiB"),
            Self::Bytes if value >= 1024.0 => (1.0 / 1024.0, " KiB"),
            Self::Bytes => (1.0, " B"),
            Self::Percent => (1.0, " %"),
            Self::Count if value >= 1e7 => (1e-6, " M"),
            Self::Count if value >= 1e4 => (1e-3, " k"),
            Self::Count => (1.0, ""),
        };
        let scaled = value * factor;
        let digits = if scaled >= 100.0 || (scaled - scaled.round()).abs() < 1e-6 {
            0
        } else if scaled >= 10.0 || (scaled * 10.0 - (scaled * 10.0).round()).abs() < 1e-6 {
            1
        } else {
            2
        };
        format!("{scaled:.digits$}{name}")
    }
}

/// One axis.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

impl Scale {
    /// Lays the numbers from `low` to `high` evenly between the pixels `from` and `to`.
    #[must_use]
    pub fn linear(low: f64, high: f64, [from, to]: [f64; 2]) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to, is_log: false }
    }

    /// The same by their logarithms; both must be above 0.
    #[must_use]
    pub fn log(low: f64, high: f64, [from, to]: [f64; 2]) -> Self {
        let low = low.max(1e-9);
        let high = if high > low { high } else { low * 10.0 };
        Self { low, high, from, to, is_log: true }
    }

    /// Returns where a number lies.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Returns round numbers along the axis, about `count` of them.
    #[must_use]
    pub fn ticks(&self, count: f64, unit: Unit) -> Vec<f64> {
        if self.is_log {
            let decades = (self.high / self.low).log10();
            let steps: &[f64] = if decades < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let mut power = 10f64.powf(self.low.log10().floor());
            let mut ticks = Vec::new();
            while power <= self.high * 1.000_001 {
                ticks.extend(steps.iter().map(|step| step * power));
                power *= 10.0;
            }
            let (low, high) = (self.low * 0.999_999, self.high * 1.000_001);
            ticks.retain(|tick| (low..=high).contains(tick));
            return ticks;
        }
        let rough = (self.high - self.low) / count.max(1.0);
        let base: f64 = if unit == Unit::Bytes { 2.0 } else { 10.0 };
        let power = base.powf(rough.log(base).floor());
        let steps: &[f64] = if unit == Unit::Bytes { &[1.0, 2.0] } else { &[1.0, 2.0, 5.0, 10.0] };
        let step = steps.iter().map(|step| step * power).find(|step| *step >= rough * 0.999_999);
        let step = step.unwrap_or(rough * base);
        // A day in minutes reads better than in thousands of seconds, but runs are told in seconds everywhere.
        let step = if unit == Unit::Count { step.max(1.0) } else { step };
        let mut ticks = Vec::new();
        let mut tick = (self.low / step).ceil() * step;
        while tick <= self.high + step * 1e-6 && ticks.len() < 100 {
            ticks.push(tick);
            tick += step;
        }
        ticks
    }
}
