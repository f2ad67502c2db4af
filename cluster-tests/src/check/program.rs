//! The checkers as a program: reads a file, prints the verdict.
//!
//! Owns: the command line and exit codes. Does not own: verdicts. Invariant: code 0 means passed, 1 broken or unreadable, 2 unknown.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Rules, check};
use crate::failure::{Failure, Outcome};
use crate::history;

/// The command line.
#[derive(Debug, Args)]
pub struct Line {
    /// The history: JSON, one line for each line
    file: PathBuf,
    /// The rules: JSON; what it leaves out has its default
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Judges the history of a file and prints the verdict.
///
/// # Errors
/// When a file cannot be read.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub fn run(line: &Line) -> Outcome<ExitCode> {
    let rules = match &line.rules {
        None => Rules::default(),
        Some(path) => {
            let named = |text: String| Failure::new(text).during(path.display());
            let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
            serde_json::from_str(&text).map_err(|error| named(error.to_string()))?
        }
    };
    let verdict = check(&history::read(&line.file)?, &rules);
    println!("{verdict}");
    Ok(match (verdict.is_broken(), verdict.unknown) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::SUCCESS,
    })
}
