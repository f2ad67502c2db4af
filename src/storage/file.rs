//! Snapshots in files: written under another name piece by piece, synced, then renamed; read back with every byte checked.
//!
//! Owns the layout of such a file, of which a backup is another one. Does not know what head and chunks mean. Invariant: a file
//! under its final name was synced whole, so that whatever is wrong with it is damage.
//!
//! ```text
//! file     "QUORSNAP" | format version, u32 | piece | piece … | last piece
//! piece    kind, u8: 1 head, 2 chunk, 3 end | length, u32 | CRC32C of number of the piece (u64), kind, length and bytes, u32 | bytes
//! head     the first piece: what the caller says about the snapshot
//! end      how many pieces came before it, u64
//! ```

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::crc::crc32c;
use super::disk::{Disk, DiskFile};
use super::error::Error;

const MAGIC: [u8; 8] = *b"QUORSNAP";
const VERSION: u32 = 1;
/// How long what stands before a piece's bytes is.
const PIECE_HEAD: usize = 9;
/// How long what a file begins with is.
const FILE_HEAD: usize = 12;
/// No piece is longer; a lying length makes nobody take more memory.
const PIECE_MAX: usize = 256 * 1024 * 1024;
/// After so many bytes a file that is being written is synced, so that the last sync is short.
const SYNC_EVERY: u64 = 8 * 1024 * 1024;
const HEAD: u8 = 1;
const CHUNK: u8 = 2;
const END: u8 = 3;

fn checksum(number: u64, kind: u8, bytes: &[u8]) -> u32 {
    let length = (bytes.len() as u64).to_le_bytes();
    let sum = crc32c(crc32c(crc32c(0, &number.to_le_bytes()), &[kind]), &length);
    crc32c(sum, bytes)
}

/// Makes the bytes of a file, piece by piece.
#[derive(Debug, Default)]
pub struct Encoder {
    pieces: u64,
}

impl Encoder {
    fn piece(&mut self, kind: u8, bytes: &[u8], out: &mut BytesMut) {
        let length = u32::try_from(bytes.len()).expect("a chunk is far below 4 GiB");
        out.reserve(PIECE_HEAD.saturating_add(bytes.len()));
        out.put_u8(kind);
        out.put_u32_le(length);
        out.put_u32_le(checksum(self.pieces, kind, bytes));
        out.put_slice(bytes);
        self.pieces = self.pieces.saturating_add(1);
    }

    /// How a file with this head begins.
    #[must_use]
    pub fn begin(head: &[u8]) -> (Self, Bytes) {
        let (mut encoder, mut out) = (Self::default(), BytesMut::new());
        out.put_slice(&MAGIC);
        out.put_u32_le(VERSION);
        encoder.piece(HEAD, head, &mut out);
        (encoder, out.freeze())
    }

    /// How it goes on.
    #[must_use]
    pub fn chunk(&mut self, chunk: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        self.piece(CHUNK, chunk, &mut out);
        out.freeze()
    }

    /// How it ends.
    #[must_use]
    pub fn end(mut self) -> Bytes {
        let (mut out, pieces) = (BytesMut::new(), self.pieces);
        self.piece(END, &pieces.to_le_bytes(), &mut out);
        out.freeze()
    }
}

/// Reads a file, wherever its bytes come from.
#[derive(Debug)]
pub struct Decoder {
    place: String,
    offset: u64,
    pieces: u64,
    is_ended: bool,
}

impl Decoder {
    /// Reads a file that is called `place` in errors.
    #[must_use]
    pub const fn new(place: String) -> Self {
        Self { place, offset: 0, pieces: 0, is_ended: false }
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::Damaged { place: self.place.clone(), offset: self.offset, what }
    }

    /// Gives the next piece, of which the first is the head, or nothing behind the last. `read` gives so many bytes from there
    /// on, fewer only at the end.
    ///
    /// # Errors
    /// When the bytes are not those that were written, and those of `read`.
    pub fn next(
        &mut self,
        mut read: impl FnMut(u64, usize) -> Result<Bytes, Error>,
    ) -> Result<Option<Bytes>, Error> {
        if self.offset == 0 {
            let head = read(0, FILE_HEAD)?;
            if head.get(..MAGIC.len()) != Some(&MAGIC) {
                return Err(self.damaged("this is no snapshot"));
            }
            let version = head.get(MAGIC.len()..).and_then(<[u8]>::first_chunk::<4>);
            let version = version.ok_or_else(|| self.damaged("cut short"))?;
            let (found, known) = (u32::from_le_bytes(*version), VERSION);
            if found != known {
                return Err(Error::Version { place: self.place.clone(), found, known });
            }
            self.offset = FILE_HEAD as u64;
        }
        if self.is_ended {
            let is_over = read(self.offset, 1)?.is_empty();
            return if is_over { Ok(None) } else { Err(self.damaged("bytes behind the end")) };
        }
        let head = read(self.offset, PIECE_HEAD)?;
        let [kind, a, b, c, d, e, f, g, h] =
            *head.first_chunk::<PIECE_HEAD>().ok_or_else(|| self.damaged("cut short"))?;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > PIECE_MAX {
            return Err(self.damaged("a piece of impossible length"));
        }
        let bytes = read(self.offset.saturating_add(PIECE_HEAD as u64), length)?;
        if bytes.len() < length {
            return Err(self.damaged("cut short"));
        }
        if checksum(self.pieces, kind, &bytes) != u32::from_le_bytes([e, f, g, h]) {
            return Err(self.damaged("a piece's checksum does not fit"));
        }
        if (kind == HEAD) != (self.pieces == 0) || !matches!(kind, HEAD | CHUNK | END) {
            return Err(self.damaged("a piece that cannot stand there"));
        }
        self.offset = self.offset.saturating_add((PIECE_HEAD + length) as u64);
        if kind == END {
            if *bytes != self.pieces.to_le_bytes() {
                return Err(self.damaged("pieces are missing"));
            }
            self.is_ended = true;
            return self.next(read);
        }
        self.pieces = self.pieces.saturating_add(1);
        Ok(Some(bytes))
    }
}

fn name_of(number: u64) -> String {
    format!("snapshot-{number:016x}")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("snapshot-").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// A snapshot in a file. Cheap to clone; stays readable after a newer one has taken its place.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    file: Arc<dyn DiskFile>,
    place: String,
    number: u64,
    head: Bytes,
}

impl SnapshotFile {
    /// Opens the newest snapshot on a disk, if there is one, and removes what an interrupted run left.
    ///
    /// # Errors
    /// When the disk cannot be read, or the snapshot's head is damaged.
    pub fn newest(disk: &dyn Disk) -> Result<Option<Self>, Error> {
        let folder = disk.place("");
        let names = disk.list().map_err(Error::io(folder, "list the folder"))?;
        for name in names.iter().filter(|name| name.ends_with(".part")) {
            disk.remove(name).map_err(Error::io(disk.place(name), "remove it"))?;
        }
        let Some(number) = names.iter().filter_map(|name| number_of(name)).max() else {
            return Ok(None);
        };
        let name = name_of(number);
        let place = disk.place(&name);
        let file = disk.open(&name).map_err(Error::io(place.clone(), "open it"))?;
        let mut stored = Self { file: file.into(), place, number, head: Bytes::new() };
        let head = stored.contents().next();
        stored.head = head.unwrap_or_else(|| Ok(Bytes::new()))?;
        Ok(Some(stored))
    }

    /// What its writer said about it.
    #[must_use]
    pub fn head(&self) -> Bytes {
        self.head.clone()
    }

    /// Reads it: the head first, then the chunks.
    #[must_use]
    pub fn contents(&self) -> Contents {
        Contents { file: Arc::clone(&self.file), decoder: Some(Decoder::new(self.place.clone())) }
    }
}

/// The head of a snapshot and its chunks, as they are read from its file. An error is the last item.
#[derive(Debug)]
pub struct Contents {
    file: Arc<dyn DiskFile>,
    decoder: Option<Decoder>,
}

impl Iterator for Contents {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let decoder = self.decoder.as_mut()?;
        let (file, place) = (&self.file, decoder.place.clone());
        let piece = decoder.next(|offset, count| {
            let mut buffer = vec![0; count];
            let read = file.read_at(offset, &mut buffer);
            buffer.truncate(read.map_err(Error::io(place.clone(), "read it"))?);
            Ok(Bytes::from(buffer))
        });
        let piece = piece.transpose();
        if !matches!(piece, Some(Ok(_))) {
            self.decoder = None;
        }
        piece
    }
}

/// A snapshot on its way into a file. Dropped before it is finished, it leaves the one before in its place.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    part: String,
    head: Bytes,
    encoder: Encoder,
    offset: u64,
    synced: u64,
    is_named: bool,
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.is_named {
            // What is left of it is removed at the next start at the latest.
            let _left = self.disk.remove(&self.part);
        }
    }
}

impl SnapshotWriter {
    /// Begins a file. No two that are under way may have the same number.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create(disk: Arc<dyn Disk>, number: u64, head: Bytes) -> Result<Self, Error> {
        let part = format!("{}.part", name_of(number));
        let file = disk.create(&part).map_err(Error::io(disk.place(&part), "create it"))?;
        let (encoder, bytes) = Encoder::begin(&head);
        let file = file.into();
        let (offset, synced, is_named) = (0, 0, false);
        let mut writer = Self { disk, file, part, head, encoder, offset, synced, is_named };
        writer.write(&bytes)?;
        Ok(writer)
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(self.disk.place(&self.part), what)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at(self.offset, bytes).map_err(self.failed("write it"))?;
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        if self.offset.saturating_sub(self.synced) >= SYNC_EVERY {
            self.synced = self.offset;
            self.file.sync_data().map_err(self.failed("sync it"))?;
        }
        Ok(())
    }

    /// Writes the next chunk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn put(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let bytes = self.encoder.chunk(chunk);
        self.write(&bytes)
    }

    /// Makes the snapshot durable under its final number, which must be the highest, and removes the older ones.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn finish(mut self, number: u64) -> Result<SnapshotFile, Error> {
        let bytes = std::mem::take(&mut self.encoder).end();
        self.write(&bytes)?;
        self.file.sync_data().map_err(self.failed("sync it"))?;
        let (name, folder) = (name_of(number), self.disk.place(""));
        self.disk.rename(&self.part, &name).map_err(self.failed("rename it"))?;
        self.is_named = true;
        self.disk.sync_folder().map_err(Error::io(folder.clone(), "sync the folder"))?;
        let names = self.disk.list().map_err(Error::io(folder, "list the folder"))?;
        let is_older = |name: &String| number_of(name).is_some_and(|other| other < number);
        for older in names.iter().filter(|name| is_older(name)) {
            self.disk.remove(older).map_err(Error::io(self.disk.place(older), "remove it"))?;
        }
        let place = self.disk.place(&name);
        Ok(SnapshotFile { file: Arc::clone(&self.file), place, number, head: self.head.clone() })
    }
}

impl SnapshotFile {
    /// Its number; that of the next one must be higher.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}
