//! What storage asks of a disk: one folder of files, without sub-folders.
//!
//! Owns the contract between the log and what it is written to. Does not hold a byte. Invariant: what was written is there
//! after a power cut only once `sync_data` has returned, and a name only once `sync_folder` has.

use std::fmt;
use std::io;

/// A folder of files. Names have no `/`.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// Those of the system.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Makes an empty file; one of that name is replaced.
    ///
    /// # Errors
    /// Those of the system.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives the names of all files, in order.
    ///
    /// # Errors
    /// Those of the system.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Gives a file another name; one that has it already is replaced in the same step.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Who has it open can go on reading it.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_folder(&self) -> io::Result<()>;

    /// Tells where a file is, for people.
    fn place(&self, name: &str) -> String;

    /// Tells whether calls take so long that they need a thread of their own. A simulated disk's do not: it is written by
    /// whoever has something to write, so that a paused clock stands still meanwhile.
    fn is_blocking(&self) -> bool;
}

/// An open file. What was never written below its length reads as zeros.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`; the file grows as needed.
    ///
    /// # Errors
    /// Those of the system; some of the bytes may have been written then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads into `buffer` from `offset` on; gives how many bytes there were, which is less only at the end of the file.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// Those of the system. The file must not be used any more then: nobody knows what of it is on the disk.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the file `len` bytes long if it is shorter, and takes the space for them; they read as zeros.
    ///
    /// # Errors
    /// Those of the system.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// How many bytes the file has.
    ///
    /// # Errors
    /// Those of the system.
    fn len(&self) -> io::Result<u64>;

    /// Tells whether the file has no bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
