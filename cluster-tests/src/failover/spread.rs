//! How the gaps of many rounds are spread: as a line, as plots, as a table for other programs.
//!
//! Owns: the figures that are told of a distribution. Does not own: the plots' look. Invariant: every round that passed is in
//! the table.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::failure::Outcome;
use crate::figures::{quantile, text};
use crate::report::plot::{self, Sample, Unit};

/// The gaps of rounds of one kind.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    pub(super) name: String,
    /// Invariant: sorted.
    pub(super) gaps: Vec<Duration>,
    /// The same in the order of the rounds.
    rounds: Vec<Duration>,
}

impl Spread {
    pub(super) fn new(name: String, rounds: Vec<Duration>) -> Self {
        let mut gaps = rounds.clone();
        gaps.sort_unstable();
        Self { name, gaps, rounds }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write gap, {}, {} rounds: ", self.name, self.gaps.len())?;
        let at = |share| quantile(&self.gaps, share).map(text).unwrap_or_default();
        let [min, half, most, nearly, max] = [0.0, 0.5, 0.9, 0.99, 1.0].map(at);
        write!(f, "min {min}, p50 {half}, p90 {most}, p99 {nearly}, max {max}")
    }
}

/// Writes `failover.html`, its plots as files of their own, and `failover.csv`.
pub(super) fn write(folder: &Path, spreads: &[Spread]) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let samples: Vec<Sample> = spreads
        .iter()
        .map(|spread| Sample {
            name: spread.name.clone(),
            values: spread.gaps.iter().map(Duration::as_secs_f64).collect(),
        })
        .collect();
    let ecdf = plot::ecdf("rounds whose write gap was no longer than", Unit::Seconds, &samples);
    let histogram = plot::histogram("rounds by their write gap", Unit::Seconds, &samples);
    std::fs::write(folder.join("failover-ecdf.svg"), &ecdf)?;
    std::fs::write(folder.join("failover-histogram.svg"), &histogram)?;
    let mut parts = vec![ecdf, histogram];
    parts.extend(
        spreads.iter().map(|spread| format!("<p>{}</p>", plot::escape(&spread.to_string()))),
    );
    std::fs::write(folder.join("failover.html"), super::page("Failover", &parts))?;
    let mut table = "kind,round,gap_ms\n".to_owned();
    for spread in spreads {
        for (number, gap) in spread.rounds.iter().enumerate() {
            let ms = gap.as_secs_f64() * 1e3;
            table += &format!("\"{}\",{},{ms:.1}\n", spread.name, number + 1);
        }
    }
    Ok(std::fs::write(folder.join("failover.csv"), table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_in_the_table_and_the_figures_are_those_of_all() -> Outcome {
        let gaps: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        let spread = Spread::new("one, \"two\" & <three>".into(), gaps);
        let line = "100 rounds: min 1.0 ms, p50 51.0 ms, p90 91.0 ms, p99 100 ms, max 100 ms";
        assert!(spread.to_string().ends_with(line), "{spread}");
        let folder = tempfile::tempdir()?;
        write(folder.path(), &[spread])?;
        let table = std::fs::read_to_string(folder.path().join("failover.csv"))?;
        assert_eq!(table.lines().count(), 101);
        assert!(table.contains("\",1,100.0\n"), "{table}");
        let page = std::fs::read_to_string(folder.path().join("failover.html"))?;
        assert!(page.contains("&lt;three&gt;") && !page.contains("<three>"));
        assert_eq!(page.matches("<svg").count(), 2);
        Ok(())
    }
}
