//! The log on disk: segments of frames, written and synced one frame at a time.
//!
//! Owns the segments: opening them after a stop or a power cut, the frame under way, new segments, dropping old ones. Does not
//! know threads or Raft. Invariant: a frame is written only after the one before it was synced; after an error of a
//! write or a sync nothing is written any more. How a torn tail is told from damage stands in `scan.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::disk::{Disk, DiskFile};
use super::error::Error;
use super::format::{self, Record, SECTOR};
use super::scan::{Replay, Scan, Segment, Span};

/// The number of the first segment.
const FIRST: u64 = 1;
/// A segment's space is taken in steps of so many bytes, so that a sync seldom has to note a new length.
const STEP: u64 = 1024 * 1024;

/// How the log is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many bytes a segment has, unless one frame alone is larger.
    pub segment_bytes: u64,
}

impl Default for Layout {
    fn default() -> Self {
        Self { segment_bytes: 16 * 1024 * 1024 }
    }
}

/// One thing to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write<E> {
    /// An entry. It must follow the last one, unless there is none.
    Entry {
        /// Where it stands.
        index: u64,
        /// What it is.
        entry: E,
    },
    /// Forget all entries from this index on.
    Truncate {
        /// The first one to forget.
        from: u64,
    },
    /// Forget all entries up to this index.
    Purge {
        /// The last one to forget.
        index: u64,
        /// What the caller calls that place.
        id: Bytes,
    },
    /// Keep a value under a number, in place of the one before.
    Set {
        /// The number.
        slot: u8,
        /// The value.
        value: Bytes,
    },
}

/// What a log held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The entries, by consecutive indexes.
    pub entries: Vec<(u64, Bytes)>,
    /// The values under their numbers.
    pub slots: BTreeMap<u8, Bytes>,
    /// Up to where entries were forgotten, and what the caller called that place.
    pub purged: Option<(u64, Bytes)>,
    /// Where a write was cut off by the end of the last run, which nobody had been told of.
    pub torn: Option<String>,
}

/// A log that is open.
#[derive(Debug)]
pub(super) struct Wal<E> {
    disk: Arc<dyn Disk>,
    layout: Layout,
    encode: fn(&E, &mut BytesMut),
    file: Box<dyn DiskFile>,
    number: u64,
    /// The sector behind the last frame.
    end: u64,
    /// The number of the next frame.
    frame: u64,
    /// Whether the segment has nothing but its first frame.
    is_fresh: bool,
    /// The segments that are there, this one last, each with the highest index of its entries.
    segments: VecDeque<(u64, Option<u64>)>,
    span: Span,
    slots: BTreeMap<u8, Bytes>,
    purged: Option<(u64, Bytes)>,
    records: BytesMut,
    laid_out: Vec<u8>,
    failure: Option<Error>,
}

fn name_of(number: u64) -> String {
    format!("log-{number:016x}")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The segments that follow each other up to the last one.
fn consecutive(disk: &dyn Disk) -> Result<(Vec<u64>, Option<u64>), Error> {
    let names = disk.list().map_err(Error::io(disk.place(""), "list the folder"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let mut from = numbers.len().saturating_sub(1);
    while let (Some(before), Some(number)) =
        (from.checked_sub(1).and_then(|before| numbers.get(before)), numbers.get(from))
        && before.saturating_add(1) == *number
    {
        from -= 1;
    }
    let stale = from.checked_sub(1).and_then(|before| numbers.get(before)).copied();
    Ok((numbers.split_off(from), stale))
}

fn read(disk: &dyn Disk, number: u64) -> Result<Vec<u8>, Error> {
    let name = name_of(number);
    let failed = |what| Error::io(disk.place(&name), what);
    let file = disk.open(&name).map_err(failed("open it"))?;
    let len = file.len().map_err(failed("read its length"))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let count = file.read_at(0, &mut bytes).map_err(failed("read it"))?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Where to go on.
#[derive(Clone, Copy, Debug)]
struct Tail {
    /// The last segment.
    number: u64,
    /// Where its next frame goes.
    end: u64,
    /// That frame's number.
    frame: u64,
    /// Whether nothing but its first frame is in it.
    is_fresh: bool,
}

/// What all segments hold, and where to go on.
struct Opening {
    replay: Replay,
    segments: VecDeque<(u64, Option<u64>)>,
    tail: Option<Tail>,
    /// The last segment's name, when something of one more frame stands in it.
    torn: Option<String>,
}

impl Opening {
    fn read(disk: &dyn Disk) -> Result<Self, Error> {
        let (numbers, stale) = consecutive(disk)?;
        let mut opening =
            Self { replay: Replay::default(), segments: VecDeque::new(), tail: None, torn: None };
        let mut before: Option<(u64, Scan)> = None;
        for number in numbers {
            let place = disk.place(&name_of(number));
            let bytes = read(disk, number)?;
            // An unsealed segment still owes its seal, which has a number too.
            let expected = match &before {
                Some((_, before)) if before.sealed.is_some() => before.next,
                Some((_, before)) => before.next.map(|next| next.saturating_add(1)),
                None => (number == FIRST).then_some(1),
            };
            let scan = Segment { place: &place, number, bytes: &bytes }.scan(expected)?;
            if let Some((_, before)) = &before {
                let is_begun = scan.frames.len() > 1 || scan.is_torn && !scan.frames.is_empty();
                match before.sealed {
                    Some(next) if next == number && !scan.frames.is_empty() => {}
                    // Made by one who did not come to sealing the segment before: nothing is in it.
                    None if !is_begun && !before.is_torn => break,
                    _ => return Err(damaged(place, "it does not follow the segment before it")),
                }
            } else if scan.frames.is_empty() && number != FIRST {
                return Err(damaged(place, "its first frame is missing"));
            }
            opening.take(disk, number, &scan, &place)?;
            before = Some((number, scan));
        }
        if let Some((number, Some(next))) = before.map(|(number, scan)| (number, scan.sealed))
            && opening.tail.is_some_and(|tail| tail.number == number)
        {
            let what = "the segment before it says that it is there";
            return Err(Error::Missing { place: disk.place(&name_of(next)), what });
        }
        if !opening.replay.is_whole() {
            let first = opening.segments.front().map_or(FIRST, |(number, _)| *number);
            let missing = first.saturating_sub(1).max(stale.map_or(0, |stale| stale + 1));
            let what = "entries in it are still needed";
            return Err(Error::Missing { place: disk.place(&name_of(missing)), what });
        }
        Ok(opening)
    }

    fn take(
        &mut self,
        disk: &dyn Disk,
        number: u64,
        scan: &Scan,
        place: &str,
    ) -> Result<(), Error> {
        let mut highest = None;
        for record in scan.frames.iter().flatten() {
            if let Record::Entry { index, .. } = record {
                highest = highest.max(Some(*index));
            }
            self.replay.take(record.clone()).map_err(|what| damaged(place.to_owned(), what))?;
        }
        let Some(next) = scan.next else {
            return Ok(());
        };
        self.segments.push_back((number, highest));
        let is_fresh = scan.frames.len() < 2;
        self.tail = Some(Tail { number, end: scan.end, frame: next, is_fresh });
        self.torn = scan.is_torn.then(|| disk.place(&name_of(number)));
        Ok(())
    }
}

fn damaged(place: String, what: &'static str) -> Error {
    Error::Damaged { place, offset: 0, what }
}

impl<E> Wal<E> {
    /// Opens the log that is on the disk, or begins one with the values of `fresh`.
    ///
    /// # Errors
    /// When what is there cannot be read or is not what was written; then nothing is changed.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        layout: Layout,
        encode: fn(&E, &mut BytesMut),
        fresh: BTreeMap<u8, Bytes>,
    ) -> Result<(Self, Recovered), Error> {
        let Opening { replay, segments, tail, torn } = Opening::read(&*disk)?;
        let Replay { entries, slots, purged, span, .. } = replay;
        let slots = if tail.is_some() { slots } else { fresh };
        let new = Tail { number: FIRST, end: 0, frame: 1, is_fresh: true };
        let Tail { number, end, frame, is_fresh } = tail.unwrap_or(new);
        let name = name_of(number);
        let failed = |what| Error::io(disk.place(&name), what);
        let file = match tail {
            Some(_) => disk.open(&name).map_err(failed("open it"))?,
            None => disk.create(&name).map_err(failed("create it"))?,
        };
        let recovered = Recovered {
            entries: entries.into(),
            slots: slots.clone(),
            purged: purged.clone(),
            torn,
        };
        let mut wal = Self {
            disk: Arc::clone(&disk),
            layout,
            encode,
            file,
            number,
            end,
            frame,
            is_fresh,
            segments,
            span,
            slots,
            purged,
            records: BytesMut::new(),
            laid_out: Vec::new(),
            failure: None,
        };
        if tail.is_some() {
            wal.clean_tail()?;
        } else {
            wal.begin(number)?;
        }
        Ok((wal, recovered))
    }

    /// Takes away what stands behind the last frame, and segments that do not belong to the log.
    fn clean_tail(&mut self) -> Result<(), Error> {
        let failed = |what| Error::io(self.disk.place(&name_of(self.number)), what);
        let end = self.end.saturating_mul(SECTOR as u64);
        let len = self.file.len().map_err(failed("read its length"))?;
        if len > end {
            let zeros = vec![0; usize::try_from(len - end).unwrap_or(0)];
            self.file.write_at(end, &zeros).map_err(failed("write it"))?;
            self.file.sync_data().map_err(failed("sync it"))?;
        }
        let (place, first) =
            (self.disk.place(""), self.segments.front().map(|(number, _)| *number));
        let names = self.disk.list().map_err(Error::io(place.clone(), "list the folder"))?;
        for name in names {
            let is_stray = number_of(&name).is_some_and(|number| {
                number > self.number || first.is_some_and(|first| number < first)
            });
            if is_stray {
                let place = self.disk.place(&name);
                self.disk.remove(&name).map_err(Error::io(place, "remove it"))?;
            }
        }
        self.disk.sync_folder().map_err(Error::io(place, "sync the folder"))
    }

    /// Begins a segment with all that is in force, in a file that is there and empty.
    fn begin(&mut self, number: u64) -> Result<(), Error> {
        (self.number, self.end, self.is_fresh) = (number, 0, true);
        self.records.clear();
        Record::Span { first: self.span.first, end: self.span.end }.put(&mut self.records);
        if let Some((index, id)) = self.purged.clone() {
            Record::Purge { index, id }.put(&mut self.records);
        }
        for (slot, value) in &self.slots {
            Record::Set { slot: *slot, value: value.clone() }.put(&mut self.records);
        }
        self.write_frame()?;
        self.segments.push_back((number, None));
        let place = self.disk.place("");
        self.disk.sync_folder().map_err(Error::io(place, "sync the folder"))
    }

    /// Writes what is in `records` as one frame, and syncs it.
    fn write_frame(&mut self) -> Result<(), Error> {
        let failed = |what| Error::io(self.disk.place(&name_of(self.number)), what);
        self.laid_out.clear();
        format::lay_out(self.number, self.end, self.frame, &self.records, &mut self.laid_out);
        let begin = self.end.saturating_mul(SECTOR as u64);
        let end = begin.saturating_add(self.laid_out.len() as u64);
        let len = self.file.len().map_err(failed("read its length"))?;
        if end > len {
            let step = STEP.min(self.layout.segment_bytes);
            self.file.allocate(end.next_multiple_of(step)).map_err(failed("make it longer"))?;
        }
        self.file.write_at(begin, &self.laid_out).map_err(failed("write it"))?;
        self.file.sync_data().map_err(failed("sync it"))?;
        self.end = end / SECTOR as u64;
        self.frame = self.frame.saturating_add(1);
        Ok(())
    }

    /// Goes on in a new segment, unless so many bytes of records and a seal still fit into this one.
    fn make_room(&mut self, records: usize) -> Result<(), Error> {
        let needed = self.end.saturating_add(format::sectors(0, records) as u64).saturating_add(1);
        if needed.saturating_mul(SECTOR as u64) <= self.layout.segment_bytes || self.is_fresh {
            return Ok(());
        }
        let next = self.number.saturating_add(1);
        let name = name_of(next);
        let file = self.disk.create(&name);
        let file = file.map_err(Error::io(self.disk.place(&name), "create it"))?;
        let before = (std::mem::replace(&mut self.file, file), self.number, self.end);
        // The seal's number comes first: both frames bear one, and the new segment's must follow it.
        let seal = self.frame;
        self.frame = self.frame.saturating_add(1);
        self.begin(next)?;
        let after = (self.number, self.end, self.frame);
        let new = std::mem::replace(&mut self.file, before.0);
        (self.number, self.end, self.frame) = (before.1, before.2, seal);
        self.records.clear();
        Record::Seal { next }.put(&mut self.records);
        self.write_frame()?;
        self.file = new;
        (self.number, self.end, self.frame) = after;
        Ok(())
    }

    /// Writes batches as one frame, and syncs it. All of them are there after a power cut, or none.
    ///
    /// # Errors
    /// When that failed, or anything before it.
    pub(super) fn write<'a>(
        &mut self,
        batches: impl Iterator<Item = &'a Vec<Write<E>>> + Clone,
    ) -> Result<(), Error>
    where
        E: 'a,
    {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let written = self.write_all(batches);
        if let Err(failure) = &written {
            self.failure = Some(failure.clone());
        }
        written
    }

    fn write_all<'a>(
        &mut self,
        batches: impl Iterator<Item = &'a Vec<Write<E>>> + Clone,
    ) -> Result<(), Error>
    where
        E: 'a,
    {
        let mut records = BytesMut::with_capacity(self.records.capacity());
        for write in batches.clone().flatten() {
            self.put(write, &mut records);
        }
        if records.is_empty() {
            return Ok(());
        }
        self.make_room(records.len())?;
        self.records = records;
        self.write_frame()?;
        self.is_fresh = false;
        let mut purges = false;
        for write in batches.flatten() {
            purges |= matches!(write, Write::Purge { .. });
            self.note(write)?;
        }
        if purges { self.drop_segments() } else { Ok(()) }
    }

    fn put(&self, write: &Write<E>, records: &mut BytesMut) {
        match write {
            Write::Entry { index, entry } => {
                format::put_entry(*index, records, |records| (self.encode)(entry, records));
            }
            Write::Truncate { from } => Record::Truncate { from: *from }.put(records),
            Write::Purge { index, id } => {
                Record::Purge { index: *index, id: id.clone() }.put(records);
            }
            Write::Set { slot, value } => {
                Record::Set { slot: *slot, value: value.clone() }.put(records);
            }
        }
    }

    /// Takes in what was written, for the first frame of the next segment.
    fn note(&mut self, write: &Write<E>) -> Result<(), Error> {
        match write {
            Write::Entry { index, .. } => {
                if !self.span.push(*index) {
                    let place = self.disk.place(&name_of(self.number));
                    return Err(damaged(place, "an entry was written out of its order"));
                }
                if let Some((_, highest)) = self.segments.back_mut() {
                    *highest = (*highest).max(Some(*index));
                }
            }
            Write::Truncate { from } => self.span.truncate(*from),
            Write::Purge { index, id } => {
                self.span.purge(*index);
                self.purged = Some((*index, id.clone()));
            }
            Write::Set { slot, value } => {
                self.slots.insert(*slot, value.clone());
            }
        }
        Ok(())
    }

    /// Removes the segments whose entries were all forgotten.
    fn drop_segments(&mut self) -> Result<(), Error> {
        let Some(purged) = self.purged.as_ref().map(|(index, _)| *index) else {
            return Ok(());
        };
        let mut dropped = false;
        while self.segments.len() > 1
            && let Some((number, highest)) = self.segments.front().copied()
            && highest.is_none_or(|highest| highest <= purged)
        {
            let name = name_of(number);
            let place = self.disk.place(&name);
            self.disk.remove(&name).map_err(Error::io(place, "remove it"))?;
            self.segments.pop_front();
            dropped = true;
        }
        if dropped {
            let place = self.disk.place("");
            self.disk.sync_folder().map_err(Error::io(place, "sync the folder"))?;
        }
        Ok(())
    }
}
