//! Why a configuration cannot be used.
//!
//! Owns the texts. Invariant: one line each, which names the key, its value and what it may be.

use std::fmt;

/// A configuration that cannot be used. Give up: somebody must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not TOML, an unknown key, or a value of another kind.
    #[error("line {line}: {message}")]
    Text {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A secret file that cannot be used.
    #[error("{0}")]
    Secret(String),
    /// What a room refuses in its own table; the text begins with the table's name.
    #[error("{0}")]
    Room(String),
    /// A value that is not allowed whatever the other keys say.
    #[error("{key} of {found} is not {allowed}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Two values that do not fit each other.
    #[error("{key} of {found} must be {rule} {other} of {other_found}")]
    Relation {
        /// The key that is too large or too small.
        key: &'static str,
        /// Its value.
        found: String,
        /// How they must relate.
        rule: &'static str,
        /// The key it is held against.
        other: &'static str,
        /// Its value.
        other_found: String,
    },
    /// A key that makes no sense without another one.
    #[error("{key} needs {missing} too")]
    Missing {
        /// The key that is given.
        key: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// Two keys of which one only may be given.
    #[error("{one} and {other} exclude each other")]
    Both {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
}

impl Error {
    pub(super) fn range(
        key: &'static str,
        found: impl fmt::Display,
        allowed: &'static str,
    ) -> Self {
        Self::Range { key, found: found.to_string(), allowed }
    }

    pub(super) fn relation<T: fmt::Debug>(
        (key, found): (&'static str, T),
        rule: &'static str,
        (other, other_found): (&'static str, T),
    ) -> Self {
        let (found, other_found) = (format!("{found:?}"), format!("{other_found:?}"));
        Self::Relation { key, found, rule, other, other_found }
    }
}
