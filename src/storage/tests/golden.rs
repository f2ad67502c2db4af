//! The bytes of both formats, as they must be readable for ever.
//!
//! Owns the golden files beside it. Invariant: a change of these bytes is a change of the format version.

use super::super::{SnapshotFile, SnapshotWriter};
use super::*;

const LOG: &str = include_str!("log.hex");
const SNAPSHOT: &str = include_str!("snapshot.hex");

/// Sixteen bytes on a line; a line of zeros that is like the one before is left out as `*`.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut before: Option<&[u8]> = None;
    for (index, line) in bytes.chunks(16).enumerate() {
        let is_rest = before == Some(line) && line.iter().all(|byte| *byte == 0);
        if !is_rest {
            let digits: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("{:04x} {digits}\n", index * 16));
        }
        before = Some(line);
    }
    text
}

#[test]
fn a_log_has_the_golden_bytes() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let one_of_each = vec![
        Write::Set { slot: 1, value: text("vote") },
        Write::Entry { index: 7, entry: text("seven") },
        Write::Entry { index: 8, entry: text("eight") },
        Write::Truncate { from: 8 },
        Write::Purge { index: 6, id: text("six") },
    ];
    wal.write(std::iter::once(&one_of_each)).unwrap();
    let found = hex(&disk.contents("log-0000000000000001").unwrap());
    assert_eq!(found, LOG, "{found}");
}

#[test]
fn a_snapshot_has_the_golden_bytes() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut writer = SnapshotWriter::create(shared, 1, text("head")).unwrap();
    writer.put(b"first").unwrap();
    writer.put(b"").unwrap();
    writer.finish(2).unwrap();
    let found = hex(&disk.contents("snapshot-0000000000000002").unwrap());
    assert_eq!(found, SNAPSHOT, "{found}");
    assert_eq!(SnapshotFile::newest(&disk).unwrap().unwrap().contents().count(), 3);
}
