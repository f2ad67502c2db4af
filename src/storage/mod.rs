//! Bytes and entries that outlive a task: today the log in memory.
//!
//! Owns the log's shape in memory, which serves all readers whether or not a disk stands behind it. Does not know Raft
//! or what an entry holds. Invariant: the indexes of the entries kept are consecutive.

mod memory_log;

pub use self::memory_log::{Gap, MemoryLog};
