//! What can go wrong with a disk, and what was found on it.
//!
//! Owns the texts: one line, with the file and where in it. Does not decide what follows. Invariant: after an error of a
//! write or a sync nothing is written to the same store any more.

use std::io;
use std::sync::Arc;

/// Why storage cannot go on. Cheap to clone: all who wait for a failed write are told the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The system refused. Stop the node; what was being written may or may not be there.
    #[error("{place}: cannot {what}: {source}")]
    Io {
        /// The file.
        place: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Bytes that were surely written whole are others now. Stop the node; restore it, or wipe its folder.
    #[error("{place}: damaged at byte {offset}: {what}")]
    Damaged {
        /// The file.
        place: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file that must be there is not. Stop the node.
    #[error("{place}: missing, though {what}")]
    Missing {
        /// The file.
        place: String,
        /// How that is known.
        what: &'static str,
    },
    /// Written in another format. Stop the node, and use the version that wrote it.
    #[error("{place}: format version {found}, this program reads version {known}")]
    Version {
        /// The file.
        place: String,
        /// The version that it has.
        found: u32,
        /// The one that is known.
        known: u32,
    },
    /// Another process has the folder open. Somebody must choose another one.
    #[error("{place}: in use by another process")]
    InUse {
        /// The folder.
        place: String,
    },
    /// The one who writes has ended.
    #[error("the log's writer has ended")]
    Ended,
}

impl Error {
    /// Makes the error of a call to the system that failed on `place`.
    pub(super) fn io(place: String, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { place, what, source: Arc::new(source) }
    }

    /// Tells whether somebody must choose another folder before another try can succeed.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
