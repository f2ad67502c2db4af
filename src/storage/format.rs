//! The bytes of a log segment: sectors, frames over them, records in those.
//!
//! Owns the layout and its checks. Reads and writes no file. Invariant: a sector that was written never looks like one that
//! was not, or not whole, since its last byte is a mark that no single flipped bit makes zero.
//!
//! ```text
//! segment  sectors of 512 bytes; those that were not written yet are zeros, or beyond the end of the file
//! sector   499 bytes of its frame | number of the frame, u64 | CRC32C of segment number, place and those bytes, u32 | 0xa5
//! frame    begins with a sector of its own: length of the records, u32 | records | zeros
//! first    frame of a segment: before all of this "QUORLOG\0" | format version, u32 | number of the segment, u64
//! record   kind, u8 | length, u32 | bytes
//! ```
//!
//! All numbers are little endian. The frames of all segments are numbered through.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::crc::crc32c;

/// The size of a sector: what a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
/// How much of it belongs to a frame.
pub(super) const BODY: usize = 499;
/// What a sector ends with.
const MARK: u8 = 0xa5;
/// What a segment begins with.
pub(super) const MAGIC: [u8; 8] = *b"QUORLOG\0";
/// The version of this layout.
pub(super) const VERSION: u32 = 1;
/// How long the beginning of a segment is.
pub(super) const PREFIX: usize = 20;
/// How long the length of a frame is.
const LENGTH: usize = 4;

/// One thing that the log keeps, as it stands in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// An entry.
    Entry { index: u64, bytes: Bytes },
    /// All entries from here on are gone.
    Truncate { from: u64 },
    /// All entries up to here are gone; with what consensus calls that place.
    Purge { index: u64, id: Bytes },
    /// A value under a number.
    Set { slot: u8, value: Bytes },
    /// In the first frame of a segment: which entries there are before it.
    Span { first: u64, end: u64 },
    /// The last of a segment: the next one is there.
    Seal { next: u64 },
}

impl Record {
    /// Puts the record behind what `buffer` holds.
    pub(super) fn put(&self, buffer: &mut BytesMut) {
        match self {
            Self::Entry { index, bytes } => {
                put_entry(*index, buffer, |buffer| buffer.put_slice(bytes))
            }
            Self::Truncate { from } => put_with(2, buffer, |buffer| buffer.put_u64_le(*from)),
            Self::Purge { index, id } => put_with(3, buffer, |buffer| {
                buffer.put_u64_le(*index);
                buffer.put_slice(id);
            }),
            Self::Set { slot, value } => put_with(4, buffer, |buffer| {
                buffer.put_u8(*slot);
                buffer.put_slice(value);
            }),
            Self::Span { first, end } => put_with(5, buffer, |buffer| {
                buffer.put_u64_le(*first);
                buffer.put_u64_le(*end);
            }),
            Self::Seal { next } => put_with(6, buffer, |buffer| buffer.put_u64_le(*next)),
        }
    }

    /// Takes the next record off `bytes`; nothing when that is none.
    pub(super) fn take(bytes: &mut Bytes) -> Option<Self> {
        let kind = bytes.try_get_u8().ok()?;
        let length = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
        if length > bytes.len() {
            return None;
        }
        let mut rest = bytes.split_to(length);
        let mut number = || rest.try_get_u64_le().ok();
        let record = match kind {
            1 => Self::Entry { index: number()?, bytes: std::mem::take(&mut rest) },
            2 => Self::Truncate { from: number()? },
            3 => Self::Purge { index: number()?, id: std::mem::take(&mut rest) },
            4 => Self::Set { slot: rest.try_get_u8().ok()?, value: std::mem::take(&mut rest) },
            5 => Self::Span { first: number()?, end: number()? },
            6 => Self::Seal { next: number()? },
            _ => return None,
        };
        rest.is_empty().then_some(record)
    }
}

/// Puts an entry whose bytes `write` appends.
pub(super) fn put_entry(index: u64, buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    put_with(1, buffer, |buffer| {
        buffer.put_u64_le(index);
        write(buffer);
    });
}

fn put_with(kind: u8, buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    buffer.put_u8(kind);
    let at = buffer.len();
    buffer.put_u32_le(0);
    write(buffer);
    let length = u32::try_from(buffer.len().saturating_sub(at + LENGTH));
    let length = length.expect("a record is far below 4 GiB, since a frame on the wire is");
    if let Some(place) = buffer.get_mut(at..at + LENGTH) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// How many sectors a frame of so many bytes of records takes.
pub(super) const fn sectors(prefix: usize, records: usize) -> usize {
    (prefix + LENGTH + records).div_ceil(BODY)
}

/// Lays a frame out over sectors, to be written at the sector `place` of segment `segment`.
pub(super) fn lay_out(segment: u64, place: u64, frame: u64, records: &[u8], out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(PREFIX + LENGTH);
    if place == 0 {
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&segment.to_le_bytes());
    }
    let length = u32::try_from(records.len()).expect("a frame is far below 4 GiB");
    head.extend_from_slice(&length.to_le_bytes());
    let (first, rest) = records.split_at(records.len().min(BODY - head.len()));
    head.extend_from_slice(first);
    out.reserve(sectors(0, records.len() + PREFIX) * SECTOR);
    for (body, place) in std::iter::once(&*head).chain(rest.chunks(BODY)).zip(place..) {
        let begin = out.len();
        out.extend_from_slice(body);
        out.resize(begin + BODY, 0);
        out.extend_from_slice(&frame.to_le_bytes());
        let sum = checksum(segment, place, out.get(begin..).unwrap_or_default());
        out.extend_from_slice(&sum.to_le_bytes());
        out.push(MARK);
    }
}

fn checksum(segment: u64, place: u64, bytes: &[u8]) -> u32 {
    let salt = crc32c(crc32c(0, &segment.to_le_bytes()), &place.to_le_bytes());
    crc32c(salt, bytes)
}

/// What stands in a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sector<'a> {
    /// It was not written, or not whole.
    Unwritten,
    /// A piece of this frame.
    Written { frame: u64, body: &'a [u8] },
    /// It was written, and is not what was written.
    Damaged,
}

/// Looks at the sector `place` of a segment whose file holds `file`.
pub(super) fn sector(file: &[u8], segment: u64, place: u64) -> Sector<'_> {
    let begin = usize::try_from(place).unwrap_or(usize::MAX).saturating_mul(SECTOR);
    let Some(bytes) = file.get(begin..begin.saturating_add(SECTOR)) else {
        return Sector::Unwritten;
    };
    let parts = || {
        let (mark, rest) = bytes.split_last()?;
        let (covered, sum) = rest.split_last_chunk::<4>()?;
        let (body, frame) = covered.split_last_chunk::<8>()?;
        Some((*mark, u32::from_le_bytes(*sum), covered, u64::from_le_bytes(*frame), body))
    };
    match parts() {
        None | Some((0, ..)) => Sector::Unwritten,
        Some((MARK, sum, covered, frame, body)) if sum == checksum(segment, place, covered) => {
            Sector::Written { frame, body }
        }
        Some(_) => Sector::Damaged,
    }
}

/// How many bytes of records a frame has, by its first sector.
pub(super) fn length(body: &[u8], prefix: usize) -> usize {
    let bytes = body.get(prefix..).and_then(<[u8]>::first_chunk::<LENGTH>);
    bytes.map_or(0, |bytes| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX))
}

/// The records of a frame, given the bytes of all its sectors one behind the other.
pub(super) fn records(bodies: &Bytes, prefix: usize, length: usize) -> Bytes {
    let begin = (prefix + LENGTH).min(bodies.len());
    bodies.slice(begin..begin.saturating_add(length).min(bodies.len()))
}
