//! Lock files in a folder of their own, and the host in memory held to the same judgements.
//!
//! Owns the promises of the room. Invariant: no test waits.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::*;

fn node(number: u64) -> NodeId {
    NodeId::from_random(number)
}

const DEAD: Evidence = Evidence::Dead { is_durable: false };

#[track_caller]
fn check_life_and_death(place: &Place) {
    let one = place.hold(node(1), false).unwrap();
    let two = place.hold(node(2), true).unwrap();
    assert_eq!((one.evidence(node(2)), two.evidence(node(1))), (Evidence::Alive, Evidence::Alive));
    assert_eq!(one.evidence(node(1)), Evidence::Alive, "also of itself");
    assert!(place.is_held(node(2)).unwrap() && !place.is_held(node(3)).unwrap());
    assert_eq!(one.evidence(node(3)), Evidence::Unknown);
    assert!(matches!(place.hold(node(2), true), Err(Error::Held { .. })));
    drop(two);
    assert!(!place.is_held(node(2)).unwrap());
    assert_eq!(one.evidence(node(2)), Evidence::Dead { is_durable: true });
    let again = place.hold(node(2), true).unwrap();
    assert_eq!(one.evidence(node(2)), Evidence::Alive, "the same id, another process");
    again.release(false);
    assert_eq!(one.evidence(node(2)), Evidence::Dead { is_durable: true });
    let three = place.hold(node(3), false).unwrap();
    three.release(true);
    assert_eq!(one.evidence(node(3)), Evidence::Unknown);
    drop(three);
    assert_eq!(one.evidence(node(3)), Evidence::Unknown);
}

#[test]
fn life_and_death_are_seen_by_files_and_in_memory_alike() {
    let folder = tempfile::tempdir().unwrap();
    check_life_and_death(&Place::Folder(folder.path().join("locks")));
    check_life_and_death(&Place::Memory(MemoryHost::default()));
}

#[test]
fn nowhere_knows_nothing() {
    let host = Place::Nowhere.hold(node(1), false).unwrap();
    assert_eq!(host.evidence(node(1)), Evidence::Unknown);
}

#[test]
fn many_judges_do_not_take_each_other_for_the_living() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("locks"));
    let judge = place.hold(node(1), false).unwrap();
    drop(place.hold(node(2), false).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| assert_eq!(judge.evidence(node(2)), DEAD)));
        }
    });
}

#[test]
fn a_start_is_never_taken_for_a_death() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("locks"));
    let judge = place.hold(node(1), false).unwrap();
    std::thread::scope(|scope| {
        let starts = scope.spawn(|| {
            let starts = (2..300).map(|number| place.hold(node(number), false).unwrap());
            starts.collect::<Vec<_>>()
        });
        while !starts.is_finished() {
            for number in 2..300 {
                assert!(!matches!(judge.evidence(node(number)), Evidence::Dead { .. }));
            }
        }
    });
}

fn age(path: &Path, hours: u64) {
    let file = File::options().append(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - Duration::from_secs(hours * 3600)).unwrap();
}

#[test]
fn the_long_dead_are_cleared_away_a_day_after_they_were_found() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("locks"));
    let living = place.hold(node(1), false).unwrap();
    drop(place.hold(node(2), false).unwrap());
    let file = |number| folder.path().join(format!("locks/{}.lock", node(number)));
    let look = || drop(place.hold(node(9), false).unwrap());
    age(&file(1), 100);
    age(&file(2), 100);
    look();
    assert_eq!(living.evidence(node(2)), DEAD, "it may have died a moment ago");
    look();
    assert_eq!(living.evidence(node(2)), DEAD);
    age(&file(2), 25);
    look();
    assert_eq!(living.evidence(node(2)), Evidence::Unknown);
    assert_eq!(living.evidence(node(1)), Evidence::Alive);
}

#[test]
fn a_living_process_keeps_its_file_young() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("locks"));
    let (judge, living) =
        (place.hold(node(1), false).unwrap(), place.hold(node(2), false).unwrap());
    let path = folder.path().join(format!("locks/{}.lock", node(2)));
    let before = fs::read(&path).unwrap();
    age(&path, 100);
    let old = fs::metadata(&path).unwrap().modified().unwrap();
    living.renew();
    assert!(fs::metadata(&path).unwrap().modified().unwrap() > old);
    assert_eq!((fs::read(&path).unwrap(), judge.evidence(node(2))), (before, Evidence::Alive));
    drop(living);
    assert_eq!(judge.evidence(node(2)), DEAD);
}

#[test]
fn a_file_of_another_boot_or_of_nonsense_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("locks"));
    let judge = place.hold(node(1), false).unwrap();
    let write = |text: &str| {
        fs::write(folder.path().join(format!("locks/{}.lock", node(2))), text).unwrap();
    };
    for text in ["", "quorate 1\nboot another\ndurable no\n", "nonsense", "quorate 2\n"] {
        write(text);
        assert_eq!(judge.evidence(node(2)), Evidence::Unknown, "{text:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = Place::Folder(shared).hold(node(1), false).unwrap_err();
    assert!(refused.to_string().contains("can be changed by other users"), "{refused}");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/tmp", &link).unwrap();
    let refused = Place::Folder(link).hold(node(1), false).unwrap_err();
    assert!(refused.to_string().contains("is no folder"), "{refused}");
    let made = folder.path().join("made");
    let _held = Place::Folder(made.clone()).hold(node(1), false).unwrap();
    assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
}
