//! Histories made by hand.
//!
//! Owns: that those in `good` pass and those in `bad` do not. Does not own: the histories; each says in its first line what it shows.
//! Invariant: what stands before the first `-` in the name of a bad one is the checker that must find it.

use std::path::{Path, PathBuf};

use crate::check::{Rules, check};
use crate::history::read;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("histories").join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    files
}

#[test]
fn good_ones_pass() {
    let files = files("good");
    assert!(files.len() >= 8, "they are there");
    for file in files {
        let history = read(&file).expect("a history");
        let verdict = check(&history, &Rules::default());
        assert!(verdict.passed(), "{}:\n{verdict}", file.display());
    }
}

#[test]
fn bad_ones_are_found() {
    let files = files("bad");
    assert!(files.len() >= 15, "they are there");
    for file in files {
        let history = read(&file).expect("a history");
        let verdict = check(&history, &Rules::default());
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let checker = name.split('-').next().expect("a first word");
        let found = verdict.findings.iter().any(|finding| finding.checker == checker);
        assert!(found && !verdict.unknown, "{name}:\n{verdict}");
        let text = std::fs::read_to_string(&file).expect("text");
        assert!(text.starts_with("# "), "{name} says what it shows");
    }
}
