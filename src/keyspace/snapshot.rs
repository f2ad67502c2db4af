//! The whole keyspace as bytes and back.
//!
//! Owns the snapshot's format: a sequence of chunks, so that neither side ever holds a second copy of everything.
//! Invariant: equal states give equal chunks, whatever node made them.

use bytes::Bytes;

use super::{Keyspace, Limits};

/// The state at one instant. Cheap to take: it shares every shard with the keyspace until that is written.
#[derive(Debug)]
pub struct Snapshot {}

/// Puts a keyspace together from the chunks of a snapshot, in their order.
#[derive(Debug)]
pub struct Restore {}

/// Chunks that are no snapshot. Give up on it and ask for another.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A chunk that cannot be decoded.
    #[error("snapshot chunk {number}: {source}")]
    Chunk {
        /// Its place, from 0.
        number: u64,
        /// What is wrong with it.
        source: crate::codec::Error,
    },
    /// The last chunk has not come yet, or one is missing.
    #[error("snapshot ends after chunk {number} without its last one")]
    Incomplete {
        /// How many came.
        number: u64,
    },
}

impl Keyspace {
    /// Takes a snapshot. Cost: O(shards + sessions + waits), no key is copied.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {}
    }
}

impl Snapshot {
    /// Encodes the state, chunk by chunk, each about 1 MiB at most unless one element is larger.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + use<'_> {
        std::iter::empty()
    }

    /// A hash of all chunks: equal on nodes that applied the same entries.
    #[must_use]
    pub fn digest(&self) -> u64 {
        0
    }
}

impl Restore {
    /// Starts with nothing.
    #[must_use]
    pub fn new(_limits: Limits) -> Self {
        Self {}
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// When it is no chunk of a snapshot.
    pub fn feed(&mut self, _chunk: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    /// Gives the keyspace once all chunks have come.
    ///
    /// # Errors
    /// When some are missing.
    pub fn finish(self) -> Result<Keyspace, Error> {
        Err(Error::Incomplete { number: 0 })
    }
}
