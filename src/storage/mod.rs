//! What outlives a task, and with a disk the process: the log in memory, the log on disk, snapshots in files, and the disks
//! they are written to, a real one and a simulated one.
//!
//! Owns bytes, files and what a power cut leaves of them. Does not know Raft or what an entry holds. Invariants: what was told
//! to be durable is there after a power cut; what is damaged is an error that names file and place, never other data.

mod backup;
mod crc;
mod disk;
mod error;
mod file;
mod format;
mod memory_log;
mod real;
mod scan;
mod sim;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

pub use self::backup::BackupFile;
pub use self::disk::{Disk, DiskFile};
pub use self::error::Error;
pub use self::file::{Contents, Decoder, Encoder, SnapshotFile, SnapshotWriter};
pub use self::memory_log::{Gap, MemoryLog};
pub use self::real::RealDisk;
pub use self::sim::{SimDisk, Survival};
pub use self::wal::{Layout, Recovered, Write};
pub use self::writer::{Done, LogWriter};
