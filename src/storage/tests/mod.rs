//! The log and the snapshot files under power cuts, failures and damage, on the simulated disk.
//!
//! Owns the workload that the scenarios share, and what is held after each: what was acknowledged is there, what was never
//! written is not. Invariant: every scenario is replayed by its numbers alone.

mod crash;
mod damage;
mod files;
mod golden;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use super::wal::Wal;
use super::{Disk, Error, Layout, LogWriter, RealDisk, Recovered, SimDisk, Write};

/// Small, so that a short workload fills several segments.
const LAYOUT: Layout = Layout { segment_bytes: 8 * 512 };

fn encode(entry: &Bytes, buffer: &mut BytesMut) {
    buffer.put_slice(entry);
}

fn open(disk: &SimDisk) -> Result<(Wal<Bytes>, Recovered), Error> {
    Wal::open(Arc::new(disk.clone()), LAYOUT, encode, BTreeMap::from([(9, text("id"))]))
}

fn text(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

fn entry(index: u64, size: usize) -> Write<Bytes> {
    let pattern = format!("{index}/{size} ");
    Write::Entry { index, entry: pattern.bytes().cycle().take(size).collect() }
}

/// What a log holds after some batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    entries: BTreeMap<u64, Bytes>,
    slots: BTreeMap<u8, Bytes>,
    purged: Option<(u64, Bytes)>,
}

impl Model {
    fn new() -> Self {
        Self { slots: BTreeMap::from([(9, text("id"))]), ..Self::default() }
    }

    fn take(&mut self, batch: &[Write<Bytes>]) {
        for write in batch {
            match write {
                Write::Entry { index, entry } => {
                    self.entries.insert(*index, entry.clone());
                }
                Write::Truncate { from } => drop(self.entries.split_off(from)),
                Write::Purge { index, id } => {
                    self.entries = self.entries.split_off(&(index + 1));
                    self.purged = Some((*index, id.clone()));
                }
                Write::Set { slot, value } => {
                    self.slots.insert(*slot, value.clone());
                }
            }
        }
    }

    fn of(recovered: &Recovered) -> Self {
        Self {
            entries: recovered.entries.iter().cloned().collect(),
            slots: recovered.slots.clone(),
            purged: recovered.purged.clone(),
        }
    }
}

/// Entries of many sizes, votes, truncations and purges over several segments.
fn workload() -> Vec<Vec<Write<Bytes>>> {
    let set = |slot, value: &str| Write::Set { slot, value: text(value) };
    let purge = |index: u64| Write::Purge { index, id: text(&format!("p{index}")) };
    vec![
        vec![set(1, "vote 1")],
        vec![entry(1, 10)],
        vec![entry(2, 1_000), entry(3, 0)],
        vec![set(1, "vote 2"), entry(4, 480)],
        vec![entry(5, 500)],
        vec![entry(6, 2_000)],
        vec![Write::Truncate { from: 5 }, entry(5, 30)],
        vec![entry(6, 1_500)],
        vec![purge(3), set(2, "committed")],
        vec![entry(7, 9_000)],
        vec![entry(8, 20), entry(9, 20), entry(10, 20)],
        vec![purge(7)],
        vec![Write::Truncate { from: 9 }],
        vec![entry(9, 700)],
        vec![set(1, "vote 3")],
        vec![purge(20)],
        vec![entry(21, 40)],
        vec![entry(22, 1_200), set(2, "more")],
    ]
}

/// The states after none, one, two … batches.
static STATES: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let mut states = vec![Model::new()];
    for batch in workload() {
        let mut next = states[states.len() - 1].clone();
        next.take(&batch);
        states.push(next);
    }
    states
});

/// Runs the workload until it fails; gives how many batches were acknowledged.
fn run(disk: &SimDisk) -> usize {
    let Ok((mut wal, _)) = open(disk) else {
        return 0;
    };
    let batches = workload();
    batches.iter().take_while(|batch| wal.write(std::iter::once(*batch)).is_ok()).count()
}

#[test]
fn a_log_holds_what_was_written_and_goes_on() {
    let disk = SimDisk::new();
    assert_eq!(run(&disk), workload().len());
    let disk = disk.power_cut(super::Survival::Nothing);
    let (mut wal, recovered) = open(&disk).unwrap();
    assert_eq!(Some(&Model::of(&recovered)), STATES.last());
    assert_eq!(recovered.torn, None);
    wal.write(std::iter::once(&vec![entry(23, 5)])).unwrap();
    drop(wal);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.entries.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [21, 22, 23]);
    // All that was purged is gone from the disk too.
    assert!(disk.list().unwrap().len() <= 2, "{:?}", disk.list());
}

#[tokio::test]
async fn one_sync_serves_all_who_wait_and_each_is_told_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder.path()).unwrap());
    assert!(RealDisk::open(folder.path()).unwrap_err().is_in_use());
    let (log, _) = LogWriter::open(disk, Layout::default(), encode, BTreeMap::new()).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (all, done) = tokio::sync::oneshot::channel();
    let mut all = Some(all);
    for index in 0..1_000_u64 {
        let told = Arc::clone(&told);
        let last = (index == 999).then(|| all.take().unwrap());
        let tell = move |written: Result<(), Error>| {
            written.unwrap();
            told.lock().push(index);
            last.map(|last| last.send(()));
        };
        log.submit(vec![entry(index, 100)], Box::new(tell)).await;
    }
    done.await.unwrap();
    assert_eq!(*told.lock(), (0..1_000).collect::<Vec<_>>());
    drop(log);
    // The thread lets the folder go when it ends.
    let again = loop {
        match RealDisk::open(folder.path()) {
            Ok(disk) => break disk,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let fresh = BTreeMap::new();
    let (_, recovered) =
        LogWriter::<Bytes>::open(Arc::new(again), Layout::default(), encode, fresh).unwrap();
    assert_eq!(recovered.entries.len(), 1_000);
    assert_eq!(recovered.torn, None);
}
