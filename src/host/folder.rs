//! A folder that this user alone can change, and locks in it that processes take by turns.
//!
//! Owns its making and checking, files that appear whole or not at all, and turns. Does not know what the files mean.
//! Invariant: a turn that is held is one of the file that its name leads to now, so that a file that somebody removed never
//! splits those who wait for their turn into two.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{Error, Place, files};

/// The most bytes of a file that are read.
const SIZE_MAX: u64 = 4096;

/// A folder that this user alone can change.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A turn, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "it is held, not used")] File);

/// How a turn is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// By one at a time.
    Alone,
    /// By any number at a time, while nobody has it alone.
    Together,
}

impl Folder {
    /// Makes the folder at `path` if it is not there, for this user alone. The one that it is in must be there.
    ///
    /// # Errors
    /// When it cannot be made, or when others can change what is in it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        files::prepare(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// This folder as the place where processes hold their locks.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::Folder(self.0.clone())
    }

    /// Writes a file that this user alone can read, in place of the one of that name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let (temporary, mut file) = files::create_new(&self.0).map_err(self.failed())?;
        let written = file.write_all(text.as_bytes());
        let written = written.and_then(|()| fs::rename(&temporary, self.0.join(name)));
        if written.is_err() {
            // What cannot be removed is cleared away some day.
            let _left = fs::remove_file(&temporary);
        }
        written.map_err(self.failed())
    }

    /// Reads the first 4 KiB of a file; none where there is none.
    ///
    /// # Errors
    /// When the system refuses, or they are no text.
    pub fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let file = match File::open(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(self.failed())?,
        };
        let mut text = String::new();
        file.take(SIZE_MAX).read_to_string(&mut text).map_err(self.failed())?;
        Ok(Some(text))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(self.failed()),
        }
    }

    /// Lists the names in it that are text.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.0).map_err(self.failed())?;
        let name =
            |entry: io::Result<fs::DirEntry>| entry.map(|e| e.file_name().into_string().ok());
        let names: Vec<_> = entries.map(name).collect::<Result<_, _>>().map_err(self.failed())?;
        Ok(names.into_iter().flatten().collect())
    }

    /// Takes the turn of that name if it is free now.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn turn(&self, name: &str, share: Share) -> Result<Option<Turn>, Error> {
        let path = self.0.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(self.failed())?;
        let taken = match share {
            Share::Alone => file.try_lock(),
            Share::Together => file.try_lock_shared(),
        };
        match taken {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(self.failed()(error)),
            Ok(()) => {}
        }
        let is_there = is_at(&file, &path).map_err(self.failed())?;
        Ok(is_there.then_some(Turn(file)))
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error + use<'_> {
        |source| Error::Folder { folder: self.0.clone(), source }
    }
}

/// Tells whether `path` leads to `file` still.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = file.metadata()?;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        there => there.map(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())),
    }
}

/// An open file cannot be removed here.
#[cfg(not(unix))]
const fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_taken_alone_or_together() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(&outer.path().join("own")).unwrap();
        let take = |share| folder.turn("turn", share).unwrap();
        let alone = take(Share::Alone).unwrap();
        assert!(take(Share::Alone).is_none() && take(Share::Together).is_none());
        drop(alone);
        let (one, two) = (take(Share::Together).unwrap(), take(Share::Together).unwrap());
        assert!(take(Share::Alone).is_none());
        drop((one, two));
        assert!(take(Share::Alone).is_some());
    }

    #[test]
    fn a_turn_outlives_no_removal_of_its_file() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(&outer.path().join("own")).unwrap();
        let path = folder.path().join("turn");
        let file = File::create_new(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        folder.remove("turn").unwrap();
        assert!(!is_at(&file, &path).unwrap());
        drop(folder.turn("turn", Share::Alone).unwrap().unwrap());
        assert!(!is_at(&file, &path).unwrap(), "another file of the same name");
    }

    #[cfg(unix)]
    #[test]
    fn files_are_for_their_owner_and_whole() {
        use std::os::unix::fs::PermissionsExt;
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(&outer.path().join("own")).unwrap();
        assert_eq!(folder.read("a").unwrap(), None);
        folder.write("a", "one").unwrap();
        folder.write("a", "two").unwrap();
        assert_eq!(folder.read("a").unwrap().as_deref(), Some("two"));
        assert_eq!(folder.names().unwrap(), ["a"]);
        let mode = fs::metadata(folder.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        folder.remove("a").unwrap();
        folder.remove("a").unwrap();
        assert!(folder.names().unwrap().is_empty());
    }
}
