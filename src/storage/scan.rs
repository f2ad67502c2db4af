//! Reads one segment of the log, and tells a torn tail from damage.
//!
//! Owns the verdict. Changes nothing. Invariant: what it takes for torn was surely never acknowledged, as long as the disk
//! kept what it said it had synced.
//!
//! The argument. The writer has one frame under way: it writes it, syncs it, tells those who wait, and only then writes the next.
//! So when the power goes, all frames but the last were synced, and of the last one each sector is there or is not (a disk
//! writes a sector whole; what it did not write are the zeros of before, or lies beyond the end of the file). Hence:
//!
//! - A sector that bears its mark at the end, or what is left of it, was written whole. If its checksum does not fit, it has
//!   changed since: damage, wherever it stands.
//! - A frame with missing sectors is a tear if nothing of a later frame was written: it had no acknowledgement. If a sector of a
//!   later frame is there, which each sector tells by the number it bears, the frame had been synced: damage.
//! - A later segment is begun only after the last frame of the one before was synced, and then that one is sealed. So a
//!   segment that is sealed, or has frames behind it, cannot be torn.
//!
//! What it cannot tell: a disk that loses whole sectors of the very last frame after it had said that they were synced, or a
//! file system that loses the newest segments whole together with the seal that names them.

use bytes::{Bytes, BytesMut};

use super::error::Error;
use super::format::{self, BODY, MAGIC, PREFIX, Record, SECTOR, Sector, VERSION};

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The records of each whole frame.
    pub(super) frames: Vec<Vec<Record>>,
    /// The sector behind the last whole frame.
    pub(super) end: u64,
    /// The number of the next frame; none if not even the first one is whole.
    pub(super) next: Option<u64>,
    /// The segment that follows, if this one says that it was sealed.
    pub(super) sealed: Option<u64>,
    /// Whether something of one more frame is there.
    pub(super) is_torn: bool,
}

/// Where a segment is read from.
pub(super) struct Segment<'a> {
    /// For people.
    pub(super) place: &'a str,
    pub(super) number: u64,
    pub(super) bytes: &'a [u8],
}

impl Segment<'_> {
    fn damaged(&self, sector: u64, what: &'static str) -> Error {
        let offset = sector.saturating_mul(SECTOR as u64);
        Error::Damaged { place: self.place.to_owned(), offset, what }
    }

    fn sector(&self, place: u64) -> Result<Sector<'_>, Error> {
        match format::sector(self.bytes, self.number, place) {
            Sector::Damaged => Err(self.damaged(place, "a sector's checksum does not fit")),
            sector @ (Sector::Unwritten | Sector::Written { .. }) => Ok(sector),
        }
    }

    fn count(&self) -> u64 {
        self.bytes.len().div_ceil(SECTOR) as u64
    }

    fn check_version(&self) -> Result<(), Error> {
        let known = VERSION;
        let magic = self.bytes.get(..MAGIC.len());
        let found = self.bytes.get(MAGIC.len()..).and_then(<[u8]>::first_chunk::<4>);
        match (magic, found.map(|bytes| u32::from_le_bytes(*bytes))) {
            (Some(magic), Some(found)) if magic == MAGIC && found != known => {
                Err(Error::Version { place: self.place.to_owned(), found, known })
            }
            _ => Ok(()),
        }
    }

    /// Reads all whole frames; `expected` is the number of the first one, if the segment before tells.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Version`].
    pub(super) fn scan(&self, expected: Option<u64>) -> Result<Scan, Error> {
        self.check_version()?;
        let mut scan = Scan { next: expected, ..Scan::default() };
        while let Some((records, sectors, frame)) = self.frame(scan.end, scan.next)? {
            if scan.sealed.is_some() {
                return Err(self.damaged(scan.end, "a frame behind the seal"));
            }
            if let Some(Record::Seal { next }) = records.last() {
                scan.sealed = Some(*next);
            }
            scan.frames.push(records);
            scan.end = scan.end.saturating_add(sectors);
            scan.next = Some(frame.saturating_add(1));
        }
        if scan.frames.is_empty() {
            scan.next = None;
        }
        for place in scan.end..self.count() {
            let Sector::Written { frame, .. } = self.sector(place)? else { continue };
            let next = scan.next.or(expected);
            if next.is_some_and(|next| frame != next) || scan.sealed.is_some() {
                return Err(self.damaged(scan.end, "a synced frame is missing before a later one"));
            }
            scan.is_torn = true;
        }
        Ok(scan)
    }

    /// Reads the frame that begins at the sector `begin`: its records, how many sectors it has, its number. None when it is not
    /// there as a whole.
    fn frame(
        &self,
        begin: u64,
        expected: Option<u64>,
    ) -> Result<Option<(Vec<Record>, u64, u64)>, Error> {
        let Sector::Written { frame, body } = self.sector(begin)? else {
            return Ok(None);
        };
        if expected.is_some_and(|expected| frame != expected) {
            return Err(self.damaged(begin, "a frame out of its order"));
        }
        let prefix = if begin == 0 { PREFIX } else { 0 };
        let length = format::length(body, prefix);
        let sectors = format::sectors(prefix, length) as u64;
        let rest = self.count().saturating_sub(begin);
        let mut bodies = BytesMut::with_capacity(
            BODY.saturating_mul(usize::try_from(sectors.min(rest)).unwrap_or(0)),
        );
        bodies.extend_from_slice(body);
        for place in begin.saturating_add(1)..begin.saturating_add(sectors) {
            match self.sector(place)? {
                Sector::Written { frame: its, body } if its == frame => {
                    bodies.extend_from_slice(body);
                }
                Sector::Written { .. } => {
                    return Err(self.damaged(place, "a sector of another frame"));
                }
                Sector::Unwritten | Sector::Damaged => return Ok(None),
            }
        }
        let mut bytes = format::records(&bodies.freeze(), prefix, length);
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let record = Record::take(&mut bytes);
            records.push(record.ok_or_else(|| self.damaged(begin, "a malformed record"))?);
        }
        Ok(Some((records, sectors, frame)))
    }
}

/// What the records of all segments amount to.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The entries kept, by consecutive indexes up to `end`.
    pub(super) entries: std::collections::VecDeque<(u64, Bytes)>,
    /// The values under their numbers.
    pub(super) slots: std::collections::BTreeMap<u8, Bytes>,
    /// Up to where entries were dropped from the beginning.
    pub(super) purged: Option<(u64, Bytes)>,
    /// Which entries there are, those in segments that are gone among them.
    pub(super) span: Span,
    is_begun: bool,
}

/// Which entries a log has: from `first` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Span {
    pub(super) const fn is_empty(self) -> bool {
        self.first >= self.end
    }

    /// Notes an entry; tells whether it may stand there.
    pub(super) const fn push(&mut self, index: u64) -> bool {
        if self.is_empty() {
            self.first = index;
        } else if index != self.end {
            return false;
        }
        self.end = index.saturating_add(1);
        true
    }

    pub(super) const fn truncate(&mut self, from: u64) {
        if from < self.end {
            self.end = if from > self.first { from } else { self.first };
        }
    }

    pub(super) const fn purge(&mut self, index: u64) {
        if index >= self.first {
            self.first = index.saturating_add(1);
        }
        if self.end < self.first {
            self.end = self.first;
        }
    }
}

impl Replay {
    /// Takes one record in.
    ///
    /// # Errors
    /// What is wrong when it cannot stand where it does.
    pub(super) fn take(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::Entry { index, bytes } => {
                if !self.span.push(index) {
                    return Err("an entry out of its order");
                }
                self.entries.push_back((index, bytes));
            }
            Record::Truncate { from } => {
                self.span.truncate(from);
                while self.entries.back().is_some_and(|(index, _)| *index >= from) {
                    self.entries.pop_back();
                }
            }
            Record::Purge { index, id } => {
                self.span.purge(index);
                while self.entries.front().is_some_and(|(first, _)| *first <= index) {
                    self.entries.pop_front();
                }
                self.purged = Some((index, id));
            }
            Record::Set { slot, value } => {
                self.slots.insert(slot, value);
            }
            Record::Span { first, end } => {
                let span = Span { first, end };
                if self.is_begun && span != self.span && !(span.is_empty() && self.span.is_empty())
                {
                    return Err("the segment before it held other entries");
                }
                self.span = span;
            }
            Record::Seal { .. } => {}
        }
        self.is_begun = true;
        Ok(())
    }

    /// Tells whether all entries that there must be are there.
    pub(super) fn is_whole(&self) -> bool {
        let first = self.entries.front().map_or(self.span.end, |(index, _)| *index);
        self.span.is_empty() || first == self.span.first
    }
}
