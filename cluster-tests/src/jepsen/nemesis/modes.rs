//! What became of the faults of a run.
//!
//! Owns: the three outcomes of a fault, the count of each mode, and what a run lacks. Does not own: whether a fault is there,
//! which the families find out. Invariant: only an installed fault counts for what a run must have seen.

use std::collections::BTreeMap;
use std::fmt;

use super::Family;

/// One kind of fault within a family, such as `leader in minority`.
pub type Mode = &'static str;

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// It was seen to be there; what it is in words.
    Installed(String),
    /// It was not tried, for this reason.
    Skipped(String),
    /// It was tried, and may be there or not.
    Indeterminate(String),
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its family; in `mixed` that of which this one is.
    pub family: Family,
    /// Its kind within the family.
    pub mode: Mode,
    /// What came of it.
    pub installed: Installed,
}

impl Fault {
    /// One that is there.
    pub fn installed(family: Family, mode: Mode, what: impl Into<String>) -> Self {
        Self { family, mode, installed: Installed::Installed(what.into()) }
    }

    /// One that was not tried.
    pub fn skipped(family: Family, mode: Mode, why: impl Into<String>) -> Self {
        Self { family, mode, installed: Installed::Skipped(why.into()) }
    }

    /// One that may be there.
    pub fn indeterminate(family: Family, mode: Mode, why: impl Into<String>) -> Self {
        Self { family, mode, installed: Installed::Indeterminate(why.into()) }
    }

    /// Tells whether it is surely there.
    #[must_use]
    pub const fn is_installed(&self) -> bool {
        matches!(self.installed, Installed::Installed(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, mode, installed } = self;
        match installed {
            Installed::Installed(what) => write!(f, "{family}, {mode}: {what}"),
            Installed::Skipped(why) => write!(f, "{family}, {mode}: skipped: {why}"),
            Installed::Indeterminate(why) => write!(f, "{family}, {mode}: indeterminate: {why}"),
        }
    }
}

/// How often each came of one mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Faults that were there.
    pub installed: usize,
    /// Faults that were not tried.
    pub skipped: usize,
    /// Faults that may have been there.
    pub indeterminate: usize,
}

/// The books of a run.
#[derive(Debug, Clone, Default)]
pub struct Modes {
    counts: BTreeMap<(Family, Mode), Count>,
    /// Why the last one of a mode was not surely there.
    reasons: BTreeMap<(Family, Mode), String>,
}

impl Modes {
    /// Counts one fault.
    pub fn record(&mut self, fault: &Fault) {
        let place = (fault.family, fault.mode);
        let count = self.counts.entry(place).or_default();
        match &fault.installed {
            Installed::Installed(_) => count.installed += 1,
            Installed::Skipped(why) => {
                count.skipped += 1;
                self.reasons.insert(place, format!("skipped: {why}"));
            }
            Installed::Indeterminate(why) => {
                count.indeterminate += 1;
                self.reasons.insert(place, format!("indeterminate: {why}"));
            }
        }
    }

    /// Returns all counts, in the order of families and modes.
    pub fn counts(&self) -> impl Iterator<Item = (Family, Mode, Count)> {
        self.counts.iter().map(|((family, mode), count)| (*family, *mode, *count))
    }

    /// Returns how often `mode` of any family was installed.
    #[must_use]
    pub fn installed(&self, mode: Mode) -> usize {
        let of = self.counts().filter(|(_, other, _)| *other == mode);
        of.map(|(_, _, count)| count.installed).sum()
    }

    /// Returns what of `required` was never installed, each with the reason that is known. A run that lacks one is rejected.
    #[must_use]
    pub fn missing(&self, required: &[Mode]) -> Vec<String> {
        let lacks = required.iter().filter(|mode| self.installed(mode) == 0);
        lacks
            .map(|mode| {
                let reason = self.reasons.iter().find(|((_, other), _)| other == mode);
                let reason = reason.map_or("never tried", |(_, text)| text.as_str());
                format!("{mode} ({reason})")
            })
            .collect()
    }
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (family, mode, count)) in self.counts().enumerate() {
            let comma = if at == 0 { "" } else { "; " };
            write!(f, "{comma}{family}, {mode}: {} installed", count.installed)?;
            if count.skipped > 0 {
                write!(f, ", {} skipped", count.skipped)?;
            }
            if count.indeterminate > 0 {
                write!(f, ", {} indeterminate", count.indeterminate)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_there_counts() {
        let mut modes = Modes::default();
        modes.record(&Fault::installed(Family::Halves, "one", "n1 | n2 n3"));
        modes.record(&Fault::skipped(Family::Halves, "two", "nobody leads"));
        modes.record(&Fault::indeterminate(Family::Halves, "three", "no packet was dropped"));
        assert_eq!(modes.missing(&["one"]), Vec::<String>::new());
        assert_eq!(
            modes.missing(&["one", "two", "three", "four"]),
            [
                "two (skipped: nobody leads)",
                "three (indeterminate: no packet was dropped)",
                "four (never tried)"
            ]
        );
        modes.record(&Fault::installed(Family::Mixed, "two", "n1"));
        assert_eq!(modes.missing(&["two"]), Vec::<String>::new());
    }
}
