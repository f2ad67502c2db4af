//! Command scripts: what is asked and what must be answered, as text that runs against any target.
//!
//! Owns: the meaning of a script file (`README.md` describes its form). Does not own: which server it runs
//! against. One set of scripts runs on the bare keyspace, on a cluster through every node and on a real
//! redis-server, which proves that the scripts themselves are right.
//! Invariant: every line of a script is either understood or an error; nothing is skipped in silence.

mod expect;
mod keyspace;
mod parse;
mod run;

use std::path::{Path, PathBuf};

pub use expect::{Captures, Expected, Order, Shape};
pub use keyspace::run_on_keyspace;
pub use run::{Flavour, Target, run};

use crate::failure::{Failure, Outcome};

/// A script file, read.
#[derive(Debug, Clone)]
pub struct Script {
    /// The file name without its ending.
    pub name: String,
    /// Whether the script needs no connection and runs on the bare keyspace, too.
    pub on_keyspace: bool,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One request with its expected replies.
#[derive(Debug, Clone)]
pub struct Step {
    /// The line of the file it stands on.
    pub line: usize,
    /// The request as written, for messages.
    pub text: String,
    /// The connection that sends it: 0 for `A`, 1 for `B` and so on.
    pub connection: usize,
    /// What is sent.
    pub request: Request,
    /// How it is repeated.
    pub repeat: Repeat,
    /// The one kind of server that this step is for, if not for all.
    pub only: Option<Flavour>,
    /// Whether the step is left out on the bare keyspace because it needs a connection.
    pub needs_connection: bool,
    /// What must arrive, in order.
    pub replies: Vec<ExpectedLine>,
}

/// One line of expectation.
#[derive(Debug, Clone)]
pub struct ExpectedLine {
    /// The one kind of server that this line is for, if not for all.
    pub only: Option<Flavour>,
    /// The expectation as written, for messages.
    pub text: String,
    /// What must arrive.
    pub expected: Expected,
}

/// What a step sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A command, sent as an array of bulks.
    Command(Vec<Vec<u8>>),
    /// Bytes sent as they are.
    Raw(Vec<u8>),
    /// Nothing is sent; the step only looks at what arrives.
    Listen,
    /// The client hangs up.
    Close,
}

/// How a step is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// It runs once.
    Once,
    /// It runs until its replies are the expected ones, or a deadline passes.
    Until,
    /// It runs once for each number of the range, which stands for `{i}`; each must be answered alike.
    Each(std::ops::RangeInclusive<u64>),
    /// It is a SCAN that follows its cursor to the end; the expectation is for all elements seen.
    Scan,
}

/// Reads every `*.txt` in `folder`, in the order of their names.
///
/// # Errors
/// When the folder cannot be read, is empty, or holds a script that cannot be understood.
pub fn load_all(folder: &Path) -> Outcome<Vec<Script>> {
    let listing = std::fs::read_dir(folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in listing {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::new(format!("{} holds no script", folder.display())));
    }
    paths.iter().map(|path| load(path)).collect()
}

/// Reads one script file.
///
/// # Errors
/// When it cannot be read or understood.
pub fn load(path: &Path) -> Outcome<Script> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    parse::script(name, &text).map_err(|failure| failure.during(path.display()))
}

/// The folder of the scripts in this repository.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}
