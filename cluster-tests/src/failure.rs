//! What a check has to say when it fails.
//!
//! Owns: one text for the person who reads the test's output. Does not own: decisions; nothing here is
//! matched on, because a failed check is only ever reported. The programs under test have typed errors.
//! Invariant: a failure always names what was expected and what was seen.

use std::fmt;

/// A failed check or a broken harness, told in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// Wraps `text`, which should name both what was expected and what was seen.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Says where or during what the failure happened.
    #[must_use]
    pub fn during(self, place: impl fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The result of a step that may fail a test.
pub type Outcome<T = ()> = Result<T, Failure>;
