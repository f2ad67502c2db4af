//! A disk in memory that behaves as badly as a real one may: what was not synced is lost or torn when the power goes,
//! names too; writes and syncs fail, the disk is full, bits flip.
//!
//! Owns what is written and what of it is durable. Invariant: the same calls and the same seed give the same files after
//! every power cut; what was synced survives each of them, unless somebody asked for a flipped bit.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::{Disk, DiskFile};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// What is left of writes that were not synced when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Of each file the first so many bytes that were written.
    Prefix(u64),
    /// Each sector of each write, and each name, or not, as drawn from this seed.
    Sectors(u64),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// What survives a power cut.
    synced: Vec<u8>,
    /// What a reader sees.
    current: Vec<u8>,
    /// What was written since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, Contents>,
    names: BTreeMap<String, u64>,
    names_synced: BTreeMap<String, u64>,
    next: u64,
    /// Grows with each power cut; handles of before are dead.
    power: u64,
    /// How many more writes and syncs succeed.
    calls_left: Option<u64>,
    /// How many writes and syncs there were.
    calls: u64,
    sync_fails: bool,
    capacity: Option<u64>,
}

/// A disk in memory. All clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>, u64);

/// An open file on it.
#[derive(Debug)]
struct SimFile {
    disk: Arc<Mutex<State>>,
    file: u64,
    power: u64,
}

fn gone() -> io::Error {
    io::Error::other("the power is out")
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset.saturating_add(new.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(new);
    }
}

impl State {
    /// Counts a write or a sync; fails when its time has come.
    fn call(&mut self) -> io::Result<()> {
        self.calls = self.calls.saturating_add(1);
        match &mut self.calls_left {
            Some(0) => Err(io::Error::other("simulated failure")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.files.values().map(|file| file.current.len() as u64).sum()
    }

    /// Drops files that have no name and cannot be open any more.
    fn sweep(&mut self) {
        let (names, synced) = (&self.names, &self.names_synced);
        self.files.retain(|id, _| names.values().chain(synced.values()).any(|named| named == id));
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: all open files are dead, and of what was not synced only `survival` is left. Gives the disk as
    /// the next start finds it.
    #[must_use]
    pub fn power_cut(&self, survival: Survival) -> Self {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        state.power = state.power.saturating_add(1);
        (state.calls_left, state.sync_fails) = (None, false);
        let mut rng = StdRng::seed_from_u64(match survival {
            Survival::Sectors(seed) => seed,
            Survival::Nothing | Survival::Everything | Survival::Prefix(_) => 0,
        });
        for file in state.files.values_mut() {
            let mut left = match survival {
                Survival::Nothing => 0,
                Survival::Prefix(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
                Survival::Everything | Survival::Sectors(_) => usize::MAX,
            };
            for (offset, bytes) in std::mem::take(&mut file.pending) {
                let mut at = offset;
                let mut rest = bytes.as_slice();
                while !rest.is_empty() && left > 0 {
                    let piece = (SECTOR - at % SECTOR).min(rest.len()).min(left);
                    let (now, later) = rest.split_at(piece);
                    if !matches!(survival, Survival::Sectors(_)) || rng.next_u32() & 1 == 0 {
                        put(&mut file.synced, at, now);
                    }
                    (at, rest, left) = (at + piece, later, left - piece);
                }
            }
            file.current.clone_from(&file.synced);
        }
        let keeps_names = match survival {
            Survival::Nothing | Survival::Prefix(_) => false,
            Survival::Everything => true,
            Survival::Sectors(_) => rng.next_u32() & 1 == 0,
        };
        if keeps_names {
            state.names_synced = state.names.clone();
        } else {
            state.names = state.names_synced.clone();
        }
        state.sweep();
        Self(Arc::clone(&self.0), state.power)
    }

    /// Lets so many more writes and syncs succeed; all later ones fail.
    pub fn fail_after(&self, calls: u64) {
        self.0.lock().calls_left = Some(calls);
    }

    /// Lets syncs fail from now on, or work again.
    pub fn fail_syncs(&self, fails: bool) {
        self.0.lock().sync_fails = fails;
    }

    /// Bounds how many bytes all files may have together.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = Some(bytes);
    }

    /// How many writes and syncs there were so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// How many bytes of the file with the most of them were written and not synced.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        let state = self.0.lock();
        let of = |file: &Contents| file.pending.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        state.files.values().map(of).max().unwrap_or(0)
    }

    /// Flips one bit of a file, synced or not; gives whether there is such a byte.
    #[must_use]
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> bool {
        self.change(name, |bytes| {
            let place = usize::try_from(offset).ok().and_then(|offset| bytes.get_mut(offset));
            place.map(|byte| *byte ^= 1 << (bit & 7)).is_some()
        })
    }

    /// Cuts a file to `len` bytes; gives whether it had more.
    #[must_use]
    pub fn shorten(&self, name: &str, len: u64) -> bool {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.change(name, |bytes| {
            let had_more = bytes.len() > len;
            bytes.truncate(len);
            had_more
        })
    }

    /// What a file holds.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.0.lock();
        let file = state.names.get(name)?;
        state.files.get(file).map(|file| file.current.clone())
    }

    /// An exact copy, of which nothing is open.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.0.lock();
        let copy = State {
            files: state.files.clone(),
            names: state.names.clone(),
            names_synced: state.names_synced.clone(),
            next: state.next,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(copy)), 0)
    }

    fn change(&self, name: &str, change: impl Fn(&mut Vec<u8>) -> bool) -> bool {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        let file = state.names.get(name).and_then(|file| state.files.get_mut(file));
        file.is_some_and(|file| {
            change(&mut file.synced);
            change(&mut file.current)
        })
    }

    /// Does something with the state, unless the power was cut since.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock();
        if state.power != self.1 {
            return Err(gone());
        }
        work(&mut state)
    }

    fn file(&self, file: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: Arc::clone(&self.0), file, power: self.1 })
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let found = |state: &mut State| state.names.get(name).copied();
        let file = self.with(|state| found(state).ok_or(io::ErrorKind::NotFound.into()))?;
        Ok(self.file(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.with(|state| {
            state.call()?;
            state.next = state.next.saturating_add(1);
            state.files.insert(state.next, Contents::default());
            state.names.insert(name.to_owned(), state.next);
            Ok(state.next)
        })?;
        Ok(self.file(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.with(|state| Ok(state.names.keys().cloned().collect()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| {
            state.call()?;
            let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|state| {
            state.call()?;
            state.names.remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.with(|state| {
            state.call()?;
            if state.sync_fails {
                return Err(io::Error::other("simulated failure of a sync"));
            }
            state.names_synced = state.names.clone();
            Ok(())
        })
    }

    fn place(&self, name: &str) -> String {
        format!("simulated/{name}")
    }

    fn is_blocking(&self) -> bool {
        false
    }
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock();
        if state.power != self.power {
            return Err(gone());
        }
        work(&mut state)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|state| {
            let failed = state.call();
            let room = state.capacity.map(|most| most.saturating_sub(state.used()));
            let file = state.files.get_mut(&self.file).ok_or_else(gone)?;
            let end = offset.saturating_add(bytes.len());
            let more = end.saturating_sub(file.current.len()) as u64;
            if room.is_some_and(|room| more > room) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            // A write that fails may have been done all the same, and does not survive as if it had been synced.
            put(&mut file.current, offset, bytes);
            file.pending.push((offset, bytes.to_vec()));
            failed
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|state| {
            let file = state.files.get(&self.file).ok_or_else(gone)?;
            let there = file.current.get(offset..).unwrap_or_default();
            let count = there.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), there.get(..count)) {
                to.copy_from_slice(from);
            }
            Ok(count)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.call()?;
            if state.sync_fails {
                return Err(io::Error::other("simulated failure of a sync"));
            }
            let file = state.files.get_mut(&self.file).ok_or_else(gone)?;
            for (offset, bytes) in std::mem::take(&mut file.pending) {
                put(&mut file.synced, offset, &bytes);
            }
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        let more = usize::try_from(len.saturating_sub(now)).map_err(io::Error::other)?;
        if more == 0 { Ok(()) } else { self.write_at(now, &vec![0; more]) }
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state| {
            let file = state.files.get(&self.file).ok_or_else(gone)?;
            Ok(file.current.len() as u64)
        })
    }
}
