//! Histories as files: JSON, one line for each line.
//!
//! Owns: reading and writing. Does not own: the lines themselves. Empty lines and those that begin with `#` are remarks, so
//! that histories made by hand can say what they show. Invariant: what is written is read back equal.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use super::Line;
use crate::failure::{Failure, Outcome};

/// Reads a history from text.
///
/// # Errors
/// When a line is not one of a history.
pub fn parse(text: &str) -> Outcome<Vec<Line>> {
    take(text.lines().map(Ok))
}

/// Reads a history from a file.
///
/// # Errors
/// When it cannot be read, or a line is not one of a history.
pub fn read(path: &Path) -> Outcome<Vec<Line>> {
    let named = |failure: Failure| failure.during(path.display());
    let file = File::open(path).map_err(|error| named(error.into()))?;
    take(BufReader::new(file).lines().map(|line| line.map_err(Failure::from))).map_err(named)
}

/// Writes a history to a file.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, lines: &[Line]) -> Outcome {
    let mut file = BufWriter::new(File::create(path)?);
    for line in lines {
        write_line(&mut file, line)?;
    }
    Ok(file.flush()?)
}

/// Writes one line.
pub(super) fn write_line(file: &mut impl Write, line: &Line) -> Outcome {
    let text = serde_json::to_string(line).map_err(|error| Failure::new(error.to_string()))?;
    Ok(writeln!(file, "{text}")?)
}

fn take<T: AsRef<str>>(texts: impl Iterator<Item = Outcome<T>>) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    for (index, text) in texts.enumerate() {
        let text = text?;
        let text = text.as_ref().trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = serde_json::from_str(text)
            .map_err(|error| Failure::new(format!("line {}: {error}: {text}", index + 1)))?;
        lines.push(line);
    }
    Ok(lines)
}
