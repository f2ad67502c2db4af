//! Scenarios: runs that have a name, because a seed once showed something, or because another system once failed so.
//!
//! Owns the form of their files. Does not run them. Invariant: a scenario says all that its run depends on: a seed, what is set in
//! place of what the seed draws, and what happens when.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fault::{Kind, Target};
use super::setup::{Setup, Workload};
use crate::failure::{Failure, Outcome};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// When, in virtual seconds.
    pub at: f64,
    /// For how many.
    #[serde(rename = "for")]
    pub length: f64,
    /// What.
    pub fault: Kind,
    /// To whom.
    pub target: Target,
}

/// A scenario. What is not set is drawn from the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What it is about, in a sentence.
    pub name: String,
    /// What it once showed, here or elsewhere.
    pub showed: String,
    /// What is not set follows from it.
    pub seed: u64,
    /// How many virtual seconds.
    pub seconds: u64,
    /// How many nodes there are at first.
    pub nodes: Option<usize>,
    /// How many machines more.
    pub spares: Option<usize>,
    /// Whether nodes have disks.
    pub is_durable: Option<bool>,
    /// How many nodes shall vote.
    pub voters_target: Option<u16>,
    /// The size of a log at which a snapshot is taken, in bytes.
    pub snapshot_log_bytes: Option<u64>,
    /// What clients do.
    pub workloads: Option<Vec<Workload>>,
    /// How many operations a second.
    pub rate: Option<u64>,
    /// What may go wrong by chance.
    pub faults: Option<Vec<Kind>>,
    /// What happens.
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no scenario.
    pub fn read(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path)?;
        let wrong = |error: toml::de::Error| Failure::new(error.to_string());
        toml::from_str(&text).map_err(|error| wrong(error).during(path.display()))
    }

    /// What is decided beforehand.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let mut setup = Setup::draw(self.seed, Duration::from_secs(self.seconds));
        let Self { nodes, spares, is_durable, voters_target, snapshot_log_bytes, rate, .. } = self;
        setup.nodes = nodes.unwrap_or(setup.nodes);
        setup.spares = spares.unwrap_or(setup.spares);
        setup.is_durable = is_durable.unwrap_or(setup.is_durable);
        setup.voters_target = voters_target.unwrap_or(setup.voters_target);
        setup.snapshot_log_bytes = snapshot_log_bytes.unwrap_or(setup.snapshot_log_bytes);
        setup.rate = rate.unwrap_or(setup.rate);
        if let Some(workloads) = &self.workloads {
            setup.workloads.clone_from(workloads);
        }
        if let Some(faults) = &self.faults {
            setup.faults.clone_from(faults);
        }
        setup
    }
}

/// The folder with all scenarios.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// All scenarios' files, in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn files() -> Outcome<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder())?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_read_and_sets_what_it_says() {
        let files = files().expect("a folder");
        assert!(!files.is_empty());
        for file in files {
            let scenario = Scenario::read(&file).expect("a scenario");
            let setup = scenario.setup();
            assert!(scenario.nodes.is_none_or(|nodes| nodes == setup.nodes), "{}", file.display());
            assert!(scenario.steps.iter().all(|step| step.at < scenario.seconds as f64));
        }
    }
}
