//! Holds the list in `README.md` of what a cluster must survive to what there is.
//!
//! Owns: looking up the names of tests and mutants. Does not judge whether a test is enough. Invariant: an item without a place
//! says why, and a name that is gone fails here.

use std::collections::BTreeSet;
use std::path::Path;

const README: &str = include_str!("../README.md");
const MUTANTS: &str = include_str!("../mutants/mutants.toml");

/// Gives the rows of the list as their cells.
fn rows() -> Vec<Vec<&'static str>> {
    let section = README.split("\n## What a cluster must survive\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("it ends");
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_item_of_the_list_is_there_and_says_where_it_is_held_or_why_not() {
    let wanted = [('A', 10), ('B', 4), ('C', 7), ('D', 8), ('E', 9), ('F', 8), ('G', 8), ('H', 5)];
    let wanted: Vec<String> = wanted
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")))
        .collect();
    let rows = rows();
    let found: Vec<&str> = rows.iter().filter_map(|row| row.first().copied()).collect();
    assert_eq!(found, wanted);
    for row in &rows {
        let [item, what, place, status] = row[..] else { panic!("{row:?}") };
        let has_reason = status.starts_with("part: ") || status.starts_with("no: ");
        assert!(status.starts_with("yes") || has_reason, "{item}: {status}");
        assert!(!what.is_empty() && (place.contains('`') || has_reason || place.contains("sim")));
    }
}

#[test]
fn every_test_and_mutant_that_the_list_names_exists() {
    let mut known = BTreeSet::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests", "../src", "../tests"] {
        functions(&here.join(folder), &mut known);
    }
    let mut count = 0;
    for row in rows() {
        let place = row.get(2).copied().unwrap_or_default();
        for name in quoted(place).filter(|name| name.matches('_').count() > 1) {
            count += 1;
            assert!(known.contains(name), "{name} of {:?}", row.first());
        }
        let mutants = place.split("mutant").nth(1).into_iter().flat_map(quoted);
        for name in mutants {
            count += 1;
            assert!(MUTANTS.contains(&format!("name = \"{name}\"")), "{name} of {:?}", row.first());
        }
    }
    assert!(count > 80, "{count} names");
}
