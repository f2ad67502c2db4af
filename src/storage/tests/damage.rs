//! Bits flip, files are cut, files are gone.
//!
//! Owns these scenarios. Invariant: what was damaged is never read as something else; it is an error with file and place, or, at
//! the very end of the log, the loss of sectors that cannot be told from a power cut.

use super::*;

/// Batches without purges, so that several segments stay.
fn batches() -> Vec<Vec<Write<Bytes>>> {
    let keeps = |batch: &Vec<Write<Bytes>>| !batch.iter().any(|w| matches!(w, Write::Purge { .. }));
    workload().into_iter().filter(keeps).take(10).collect()
}

/// A log of several segments, all of it synced.
fn whole() -> SimDisk {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    for batch in batches() {
        wal.write(std::iter::once(&batch)).unwrap();
    }
    disk
}

fn logs(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with("log-")).collect()
}

#[test]
fn a_flipped_bit_is_found_and_named_or_changes_nothing() {
    let disk = whole();
    let expected = Model::of(&open(&disk.fork()).unwrap().1);
    assert!(logs(&disk).len() > 2);
    let mut found = 0;
    for name in logs(&disk) {
        let contents = disk.contents(&name).unwrap();
        for offset in (0..contents.len() as u64)
            .filter(|offset| offset % 61 == 0 || offset % 2_560 >= 2_048 + 496)
        {
            let bit = u8::try_from(offset % 8).unwrap();
            let damaged = disk.fork();
            assert!(damaged.flip_bit(&name, offset, bit));
            match open(&damaged) {
                Err(Error::Damaged { place, offset: told, .. }) => {
                    assert_eq!(place, format!("simulated/{name}"));
                    assert!(
                        offset / 512 == told / 512 || told == 0,
                        "{name} at {offset}: told {told}"
                    );
                    found += 1;
                }
                Err(Error::Version { found: version, .. }) => {
                    assert!(version != 1 && (8..12).contains(&offset));
                }
                Err(error) => panic!("{name} at {offset}: {error}"),
                // In space that no frame has taken.
                Ok((_, recovered)) => {
                    assert_eq!(Model::of(&recovered), expected, "{name} at {offset}")
                }
            }
        }
    }
    assert!(found > 300, "{found}");
}

#[test]
fn a_lost_sector_is_damage_when_anything_was_written_behind_it() {
    let disk = whole();
    let mut without_last = Model::new();
    batches().iter().rev().skip(1).rev().for_each(|batch| without_last.take(batch));
    let names = logs(&disk);
    for name in &names {
        let contents = disk.contents(name).unwrap();
        let written: Vec<_> = (0..contents.len() / 512)
            .filter(|s| contents[s * 512..][..512].iter().any(|b| *b > 0))
            .collect();
        for sector in &written {
            let damaged = disk.fork();
            for (offset, byte) in contents[sector * 512..][..512].iter().enumerate() {
                for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                    assert!(damaged.flip_bit(name, (sector * 512 + offset) as u64, bit));
                }
            }
            match open(&damaged) {
                Err(error) => assert!(error.to_string().contains("log-"), "{error}"),
                // Of the last frame it cannot be told from a tear: then that frame alone is missing.
                Ok((_, recovered)) => {
                    assert_eq!(Some(name), names.last(), "sector {sector} of {name}");
                    assert_eq!(Model::of(&recovered), without_last, "sector {sector} of {name}");
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_or_gone_is_named() {
    let disk = whole();
    let names = logs(&disk);
    let (last, others) = names.split_last().unwrap();
    for name in others {
        for len in (0..disk.contents(name).unwrap().len() as u64).step_by(512).take(5) {
            let cut = disk.fork();
            assert!(cut.shorten(name, len));
            let error = open(&cut).unwrap_err().to_string();
            assert!(error.contains("log-"), "{error}");
        }
        let gone = disk.fork();
        gone.remove(name).unwrap();
        let error = open(&gone).unwrap_err();
        assert!(matches!(&error, Error::Missing { place, .. } if place.ends_with(name)), "{error}");
    }
    let gone = disk.fork();
    gone.remove(last).unwrap();
    let error = open(&gone).unwrap_err();
    assert!(matches!(&error, Error::Missing { place, .. } if place.ends_with(last)), "{error}");
}

#[test]
fn another_version_is_refused_with_both_numbers() {
    let disk = whole();
    let first = logs(&disk).remove(0);
    assert!(disk.flip_bit(&first, 8, 1));
    let error = open(&disk).unwrap_err().to_string();
    let expected = format!("simulated/{first}: format version 3, this program reads version 1");
    assert_eq!(error, expected);
}
