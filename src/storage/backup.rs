//! A snapshot in a file of its own, outside any data folder: what a backup is.
//!
//! Owns reading such a file from any path. Its layout is that of every snapshot file. Does not know what head and chunks
//! mean. Invariant: nothing is given out of a piece whose checksum does not fit, and a file that was cut short ends in an error.

use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::error::Error;
use super::file::Decoder;

/// The head of a backup and its chunks, as they are read from its file. An error is the last item.
#[derive(Debug)]
pub struct BackupFile {
    file: std::fs::File,
    place: String,
    /// None behind the end, and behind an error.
    decoder: Option<Decoder>,
}

impl BackupFile {
    /// Opens the backup at `path`; reads nothing yet.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        let file = std::fs::File::open(path).map_err(Error::io(place.clone(), "open it"))?;
        let decoder = Some(Decoder::new(place.clone()));
        Ok(Self { file, place, decoder })
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let rest = bytes.get_mut(filled..).unwrap_or_default();
            let at = offset.saturating_add(filled as u64);
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(self.place.clone(), "read it")(error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }
}

impl Iterator for BackupFile {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut decoder = self.decoder.take()?;
        match decoder.next(|offset, length| self.read(offset, length)) {
            Ok(None) => None,
            Ok(Some(piece)) => {
                self.decoder = Some(decoder);
                Some(Ok(piece))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
