//! The power goes at every call to the disk, and the disk fails at every call.
//!
//! Owns these scenarios. Invariant: after each, the log opens, and holds exactly the acknowledged batches, or those and the
//! one that was under way.

use super::super::Survival;
use super::*;

/// Holds that a disk opens with all that was acknowledged, and takes more.
fn hold(disk: &SimDisk, acknowledged: usize, told: &str) {
    let (mut wal, recovered) = open(disk).unwrap_or_else(|error| panic!("{told}: {error}"));
    let found = Model::of(&recovered);
    let fits = [Some(&STATES[acknowledged]), STATES.get(acknowledged + 1)].contains(&Some(&found));
    assert!(fits, "{told}: {acknowledged} batches acknowledged, found {found:?}");
    let next = recovered.entries.last().map(|(index, _)| *index);
    let next = next.max(recovered.purged.map(|(index, _)| index)).map_or(0, |last| last + 1);
    let more = vec![entry(next, 600)];
    wal.write(std::iter::once(&more)).unwrap();
    drop(wal);
    let (_, recovered) = open(disk).unwrap_or_else(|error| panic!("{told}, again: {error}"));
    assert_eq!(recovered.entries.last().map(|(index, _)| *index), Some(next), "{told}");
    assert_eq!(recovered.torn, None, "{told}");
}

/// How the rest of the un-synced bytes may survive.
fn survivals(call: u64, unsynced: u64) -> Vec<Survival> {
    // Every sector of what is under way, and bytes within sectors.
    let sectors = (1..=unsynced / 512).map(|sector| sector * 512);
    let bytes = [1, 8, 20, 24, 300, 499, 507, 508, 510, 511, 513, 1_023, 1_500];
    let prefixes = sectors.chain(bytes).filter(|bytes| *bytes < unsynced).map(Survival::Prefix);
    let drawn =
        (0..if unsynced > 512 { 8 } else { 2 }).map(|seed| Survival::Sectors(call * 100 + seed));
    prefixes.chain(drawn).chain([Survival::Nothing, Survival::Everything]).collect()
}

fn calls() -> u64 {
    let disk = SimDisk::new();
    run(&disk);
    disk.calls()
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_goes() {
    for call in 0..=calls() {
        let disk = SimDisk::new();
        disk.fail_after(call);
        let acknowledged = run(&disk);
        for survival in survivals(call, disk.unsynced()) {
            let disk = disk.fork().power_cut(survival);
            hold(&disk, acknowledged, &format!("power cut at call {call}, {survival:?}"));
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes_while_the_log_is_opened_again() {
    for call in (0..=calls()).step_by(3) {
        let disk = SimDisk::new();
        disk.fail_after(call);
        let acknowledged = run(&disk);
        let disk = disk.power_cut(Survival::Sectors(call));
        for again in 0..8 {
            let disk = disk.fork().power_cut(Survival::Nothing);
            disk.fail_after(again);
            let _refused = open(&disk);
            for survival in [Survival::Nothing, Survival::Everything, Survival::Sectors(again)] {
                let disk = disk.fork().power_cut(survival);
                hold(&disk, acknowledged, &format!("call {call}, then {again}, {survival:?}"));
            }
        }
    }
}

#[test]
fn a_failed_write_or_sync_is_the_last_one() {
    for call in 0..calls() {
        let disk = SimDisk::new();
        disk.fail_after(call);
        let Ok((mut wal, _)) = open(&disk) else { continue };
        let mut failure = None;
        for batch in workload() {
            match (wal.write(std::iter::once(&batch)), &failure) {
                (Ok(()), None) => {}
                (Err(error), None) => {
                    let text = error.to_string();
                    assert!(text.starts_with("simulated/") && text.contains("cannot"), "{text}");
                    failure = Some(text);
                }
                (Err(error), Some(first)) => assert_eq!(&error.to_string(), first),
                (Ok(()), Some(first)) => panic!("written after {first}"),
            }
        }
        assert!(failure.is_some(), "call {call}");
        let calls = disk.calls();
        wal.write(std::iter::once(&vec![entry(99, 1)])).unwrap_err();
        assert_eq!(disk.calls(), calls, "the disk is left alone");
    }
}

#[test]
fn a_sync_that_fails_is_told_to_all_and_a_full_disk_names_its_file() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    disk.fail_syncs(true);
    let error = wal.write(std::iter::once(&vec![entry(1, 1)])).unwrap_err().to_string();
    assert!(error.contains("log-0000000000000001: cannot sync it"), "{error}");
    disk.fail_syncs(false);
    assert_eq!(wal.write(std::iter::once(&vec![entry(1, 1)])).unwrap_err().to_string(), error);

    for capacity in (0..60_000).step_by(1_500) {
        let disk = SimDisk::new();
        disk.set_capacity(capacity);
        let acknowledged = run(&disk);
        let (disk, told) = (disk.fork(), format!("{capacity} bytes"));
        hold(&disk.power_cut(Survival::Nothing), acknowledged, &told);
        if acknowledged < workload().len() {
            let full = SimDisk::new();
            full.set_capacity(capacity);
            let Ok((mut wal, _)) = open(&full) else { continue };
            let failed =
                workload().iter().find_map(|batch| wal.write(std::iter::once(batch)).err());
            let text = failed.unwrap().to_string();
            assert!(text.contains("log-") && text.contains("no storage space"), "{text}");
        }
    }
}
