//! Takes down what happens while it happens.
//!
//! Owns: the lines of the run that goes on, in memory and in a file if asked. Does not own: times, which are handed in; it keeps
//! only the latest one that it was told. Invariant: every operation that was begun gets its line, also when its client is
//! dropped in the middle: then its outcome is unknown.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::write_line;
use super::{Call, Line, Nanos, Operation, Outcome};
use crate::failure;

/// How many lines are kept, unless told otherwise.
pub const LINES_MAX: usize = 8_000_000;

/// Takes down a history. A clone takes down the same one.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    lines: Vec<Line>,
    lines_max: usize,
    left_out: u64,
    latest: Nanos,
    file: Option<BufWriter<File>>,
    /// Why the file is no longer written.
    broken: Option<String>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// Keeps at most [`LINES_MAX`] lines in memory.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(LINES_MAX)
    }

    /// Keeps at most `lines_max` lines in memory; what is beyond is counted, and goes to the file only.
    #[must_use]
    pub fn with_limit(lines_max: usize) -> Self {
        let (lines, left_out, latest) = (Vec::new(), 0, 0);
        let state = State { lines, lines_max, left_out, latest, file: None, broken: None };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Writes each line, those that are there already first, to a file as well.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn to_file(&self, path: &Path) -> failure::Outcome {
        let mut file = BufWriter::new(File::create(path)?);
        let mut state = self.state();
        for line in &state.lines {
            write_line(&mut file, line)?;
        }
        state.file = Some(file);
        Ok(())
    }

    /// Takes down a line.
    pub fn record(&self, line: Line) {
        let mut state = self.state();
        state.latest = state.latest.max(line.at());
        state.write(&line);
        if state.lines.len() < state.lines_max {
            state.lines.push(line);
        } else {
            state.left_out += 1;
        }
    }

    /// Says what time it is, for the operations whose clients are dropped later.
    pub fn advance(&self, now: Nanos) {
        let mut state = self.state();
        state.latest = state.latest.max(now);
    }

    /// Notes that an operation begins. Whoever holds the result completes it; if it is dropped, the outcome is unknown.
    #[must_use = "an operation that is dropped is unknown"]
    pub fn invoke(
        &self,
        client: u32,
        node: u8,
        key: impl Into<String>,
        call: Call,
        now: Nanos,
    ) -> Pending {
        self.advance(now);
        let outcome = Outcome::Unknown("the client was dropped".to_owned());
        let (invoked, returned, key) = (now, now, key.into());
        let operation =
            Operation { client, node, key, call, invoked, returned, outcome, index: None };
        Pending { recorder: self.clone(), operation: Some(operation) }
    }

    /// Gives the lines so far, in the order in which they were taken down.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let state = self.state();
        let overflow = (state.left_out > 0).then_some(Line::Overflow { lines: state.left_out });
        state.lines.iter().cloned().chain(overflow).collect()
    }

    /// Takes the lines so far out of memory, and begins anew.
    #[must_use]
    pub fn take(&self) -> Vec<Line> {
        let mut state = self.state();
        let mut lines = std::mem::take(&mut state.lines);
        let left_out = std::mem::take(&mut state.left_out);
        lines.extend((left_out > 0).then_some(Line::Overflow { lines: left_out }));
        lines
    }

    /// Gives how many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().lines.len()
    }

    /// Tells whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes sure that the file has everything.
    ///
    /// # Errors
    /// When the file could not be written, now or before.
    pub fn flush(&self) -> failure::Outcome {
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(failure::Failure::new(broken.clone()).during("history"));
        }
        state.file.as_mut().map_or(Ok(()), BufWriter::flush)?;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, line: &Line) {
        let Some(file) = &mut self.file else { return };
        if let Err(failure) = write_line(file, line) {
            self.broken = Some(failure.to_string());
            self.file = None;
        }
    }
}

/// An operation that was begun.
#[derive(Debug)]
pub struct Pending {
    recorder: Recorder,
    operation: Option<Operation>,
}

impl Pending {
    /// Takes down the operation with its outcome.
    pub fn complete(mut self, outcome: Outcome, index: Option<u64>, now: Nanos) {
        if let Some(operation) = self.operation.take() {
            let returned = now.max(operation.invoked);
            self.recorder.record(Line::Operation(Operation {
                outcome,
                index,
                returned,
                ..operation
            }));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut operation) = self.operation.take() {
            operation.returned = operation.returned.max(self.recorder.state().latest);
            self.recorder.record(Line::Operation(operation));
        }
    }
}
