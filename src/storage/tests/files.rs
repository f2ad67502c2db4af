//! Snapshot files under power cuts and damage.
//!
//! Owns these scenarios. Invariant: after each there is the old snapshot or the new one, whole, or an error.

use super::super::{SnapshotFile, SnapshotWriter, Survival};
use super::*;

fn store(disk: &SimDisk, number: u64) -> Result<SnapshotFile, Error> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut writer = SnapshotWriter::create(disk, number * 10, text(&format!("head {number}")))?;
    for chunk in 0..5 {
        writer.put(&entry_bytes(number, chunk))?;
    }
    writer.finish(number * 10 + 1)
}

fn entry_bytes(number: u64, chunk: u64) -> Bytes {
    let Write::Entry { entry, .. } = entry(number * 100 + chunk, 700) else { panic!("an entry") };
    entry
}

fn read(snapshot: &SnapshotFile) -> Result<Vec<Bytes>, Error> {
    snapshot.contents().collect()
}

fn expected(number: u64) -> Vec<Bytes> {
    let chunks = (0..5).map(|chunk| entry_bytes(number, chunk));
    std::iter::once(text(&format!("head {number}"))).chain(chunks).collect()
}

#[test]
fn the_newest_snapshot_is_read_back_and_older_ones_go() {
    let disk = SimDisk::new();
    assert!(SnapshotFile::newest(&disk).unwrap().is_none());
    let old = store(&disk, 1).unwrap();
    store(&disk, 2).unwrap();
    let newest = SnapshotFile::newest(&disk).unwrap().unwrap();
    assert_eq!((newest.head(), newest.number()), (text("head 2"), 21));
    assert_eq!(read(&newest).unwrap(), expected(2));
    assert_eq!(disk.list().unwrap().len(), 1);
    assert_eq!(read(&old).unwrap(), expected(1), "who has it open can go on");
}

#[test]
fn a_power_cut_leaves_the_old_snapshot_or_the_new_one() {
    let calls = {
        let disk = SimDisk::new();
        store(&disk, 1).unwrap();
        let before = disk.calls();
        store(&disk, 2).unwrap();
        disk.calls() - before
    };
    for call in 0..=calls {
        for survival in (0..6).map(Survival::Sectors).chain([
            Survival::Nothing,
            Survival::Everything,
            Survival::Prefix(700),
        ]) {
            let disk = SimDisk::new();
            store(&disk, 1).unwrap();
            disk.fail_after(call);
            let stored = store(&disk, 2).is_ok();
            let disk = disk.power_cut(survival);
            let newest = SnapshotFile::newest(&disk).unwrap().unwrap();
            let contents = read(&newest).unwrap();
            assert!(contents == expected(2) || !stored && contents == expected(1), "{call}");
            assert!(!disk.list().unwrap().iter().any(|name| name.ends_with(".part")));
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let disk = SimDisk::new();
    store(&disk, 1).unwrap();
    let name = disk.list().unwrap().remove(0);
    let len = disk.contents(&name).unwrap().len() as u64;
    let open = |disk: &SimDisk| SnapshotFile::newest(disk)?.map(|s| read(&s)).transpose();
    for offset in (0..len).step_by(3) {
        let (damaged, bit) = (disk.fork(), u8::try_from(offset % 8).unwrap());
        assert!(damaged.flip_bit(&name, offset, bit));
        let error = open(&damaged).unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
        let cut = disk.fork();
        assert!(cut.shorten(&name, offset));
        assert!(open(&cut).is_err(), "cut to {offset}");
    }
}
