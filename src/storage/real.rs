//! A folder of the file system as a disk.
//!
//! Owns the lock that keeps a second process out. Does not know what the files hold. Invariant: while this lives, no other
//! process has the same folder open through it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile};
use super::error::Error;

/// The file that is locked. It stays empty.
const LOCK: &str = "lock";

/// Zeros are written in pieces of so many bytes.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A folder of the file system.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl RealDisk {
    /// Opens a folder, which is made when it is not there.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Io`] when it cannot be made or written.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let place = || folder.display().to_string();
        fs::create_dir_all(folder).map_err(Error::io(place(), "make the folder"))?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(folder.join(LOCK));
        let lock = lock.map_err(Error::io(place(), "open the lock file"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { place: place() }),
            Err(TryLockError::Error(error)) => Err(Error::io(place(), "lock the folder")(error)),
        }
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        Ok(Box::new(RealFile(options.open(self.folder.join(name))?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if let (true, Ok(name)) =
                (entry.file_type()?.is_file(), entry.file_name().into_string())
                && name != LOCK
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn place(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn is_blocking(&self) -> bool {
        true
    }
}

/// A file of the file system.
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(count as u64)) {
                Ok(0) => break,
                Ok(read) => count += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        // Zeros rather than a hole: a sync then writes data alone, and a full disk shows here.
        let mut offset = self.len()?;
        while offset < len {
            let rest = usize::try_from(len - offset).unwrap_or(usize::MAX);
            let piece = ZEROS.get(..rest).unwrap_or(&ZEROS);
            self.0.write_all_at(piece, offset)?;
            offset = offset.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
