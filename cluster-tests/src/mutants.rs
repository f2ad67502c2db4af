//! Plants known bugs in a copy of the sources, and counts how many seeds the simulator needs to catch each.
//!
//! Owns: the copy, the edits of `mutants/mutants.toml`, the build of the copy, the table. Does not own: the simulator, which runs as
//! the copy's own program. Invariant: the sources themselves are never changed, and an edit whose place is not found exactly
//! once is a failure, never left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Args;
use serde::Deserialize;

use crate::failure::{Failure, Outcome};

/// The list, from the top of the sources.
const LIST: &str = "cluster-tests/mutants/mutants.toml";
/// What tells the copy which mutant is awake.
const AWAKE: &str = "cluster-tests/mutants/awake.rs";

/// Plants known bugs in a copy of the sources, and counts how many seeds it takes to catch each.
#[derive(Debug, Args)]
pub struct Line {
    /// Check only that each edit finds its place
    #[arg(long)]
    apply_only: bool,
    /// Only these mutants, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many seeds each mutant may take
    #[arg(long, default_value_t = 400)]
    seeds_max: u64,
    /// Virtual seconds of each seed
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many seeds run at a time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// The top of the sources
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    sources: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    what: String,
    like: String,
    edit: Vec<Edit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: String,
    find: String,
    put: String,
}

/// How a mutant was caught.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Caught {
    /// How many seeds it took, this one counted.
    seeds: u64,
    seed: u64,
    /// The first line that names what is wrong.
    finding: String,
}

#[expect(clippy::print_stdout, reason = "a tool for a terminal")]
/// Runs the tool.
///
/// # Errors
/// When an edit does not find its place, the copy cannot be built, or a mutant was not caught.
pub fn run(line: &Line) -> Outcome {
    let list = read_list(&line.sources)?;
    let copy = line.sources.join("target/mutants");
    plant_all(&line.sources, &copy, &list)?;
    let edits: usize = list.mutant.iter().map(|mutant| mutant.edit.len()).sum();
    println!("{} mutants, {edits} edits: each finds its place", list.mutant.len());
    if line.apply_only {
        return Ok(());
    }
    let chosen = choose(&list, &line.only)?;
    let program = build(&line.sources, &copy)?;
    // The copy itself must be sound: with nothing awake no seed may fail.
    if let Some(caught) = hunt(&program, None, line, line.seeds_max.min(20))? {
        return Err(Failure::new(format!(
            "with no mutant awake seed {} fails: {}",
            caught.seed, caught.finding
        )));
    }
    let mut escaped = Vec::new();
    let mut table = String::from("| mutant | seeds | caught by |\n|---|---:|---|\n");
    for mutant in chosen {
        let caught = hunt(&program, Some(&mutant.name), line, line.seeds_max)?;
        let (seeds, finding) = match &caught {
            Some(caught) => (caught.seeds.to_string(), caught.finding.as_str()),
            None => (format!("> {}", line.seeds_max), "ESCAPED"),
        };
        println!("figure: mutant {}: seeds {seeds}, {finding}", mutant.name);
        if caught.is_none() {
            escaped.push(mutant.name.clone());
        }
        let Mutant { name, what, like, .. } = mutant;
        let _infallible = writeln!(table, "| `{name}`: {what} ({like}) | {seeds} | {finding} |");
    }
    println!("{table}");
    if escaped.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not caught: {}", escaped.join(", "))))
}

fn read_list(sources: &Path) -> Outcome<List> {
    let text = std::fs::read_to_string(sources.join(LIST))?;
    let list: List =
        toml::from_str(&text).map_err(|error| Failure::new(format!("{LIST}: {error}")))?;
    let mut names = BTreeSet::new();
    match list.mutant.iter().find(|mutant| !names.insert(&mutant.name)) {
        Some(twice) => Err(Failure::new(format!("{LIST}: '{}' stands there twice", twice.name))),
        None => Ok(list),
    }
}

fn choose<'a>(list: &'a List, only: &[String]) -> Outcome<Vec<&'a Mutant>> {
    let known = |name: &&String| list.mutant.iter().any(|mutant| mutant.name == **name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        return Err(Failure::new(format!("{LIST} knows no mutant '{unknown}'")));
    }
    let is_chosen = |mutant: &&Mutant| only.is_empty() || only.contains(&mutant.name);
    Ok(list.mutant.iter().filter(is_chosen).collect())
}

/// Copies what git knows of the sources, and changes the copy. Files that come out as they are already are left alone, so that
/// a second build is short.
fn plant_all(sources: &Path, copy: &Path, list: &List) -> Outcome {
    let mut asked = Command::new("git");
    asked.current_dir(sources).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let told = asked.output()?;
    let names = String::from_utf8_lossy(&told.stdout);
    if !told.status.success() || names.is_empty() {
        return Err(Failure::new("git does not tell which files there are"));
    }
    let edited: BTreeSet<&str> =
        list.mutant.iter().flat_map(|mutant| &mutant.edit).map(|edit| edit.file.as_str()).collect();
    let mut missing = edited.clone();
    for name in names.lines().filter(|name| sources.join(name).is_file()) {
        let mut bytes = std::fs::read(sources.join(name))?;
        if edited.contains(name) {
            missing.remove(name);
            bytes = plant(name, String::from_utf8_lossy(&bytes).into_owned(), list)?.into_bytes();
        }
        if name == "src/lib.rs" {
            bytes.extend_from_slice(b"\n#[allow(missing_docs)]\npub mod mutants;\n");
        }
        put(&copy.join(name), &bytes)?;
    }
    if let Some(file) = missing.first() {
        return Err(Failure::new(format!("{LIST} names the file {file}, which is not there")));
    }
    put(&copy.join("src/mutants.rs"), &std::fs::read(sources.join(AWAKE))?)
}

/// Makes all edits of one file.
fn plant(file: &str, text: String, list: &List) -> Outcome<String> {
    let original = text.clone();
    let mut text = text;
    for mutant in &list.mutant {
        for edit in mutant.edit.iter().filter(|edit| edit.file == file) {
            let (before, after) =
                (original.matches(&edit.find).count(), text.matches(&edit.find).count());
            if (before, after) != (1, 1) {
                return Err(Failure::new(format!(
                    "mutant '{}': its place is to be found once in {file}, and is found {before} times ({after} after \
                     the mutants before it)",
                    mutant.name
                )));
            }
            text = text.replacen(&edit.find, edit.put.trim_start_matches('\n'), 1);
        }
    }
    Ok(text)
}

fn put(path: &Path, bytes: &[u8]) -> Outcome {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, bytes)?)
}

/// Builds the copy, beside the sources' own programs, whose dependencies it shares.
fn build(sources: &Path, copy: &Path) -> Outcome<PathBuf> {
    let target = std::path::absolute(sources.join("target"))?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", &target);
    // The copy breaks rules of form on purpose.
    cargo.args(["build", "--profile", "sim", "--package", "cluster-tests", "--config"]);
    cargo.arg("profile.sim.incremental=false").args(["--locked"]);
    if !cargo.status()?.success() {
        return Err(Failure::new("the copy with the mutants does not build"));
    }
    // Kept apart, since a build of the sources puts its own program there.
    let program = copy.join("cluster-tests-with-mutants");
    std::fs::copy(target.join("sim/cluster-tests"), &program)?;
    Ok(program)
}

/// Runs seeds until one fails; gives that one, and how many seeds there were up to it.
fn hunt(
    program: &Path,
    awake: Option<&str>,
    line: &Line,
    seeds_max: u64,
) -> Outcome<Option<Caught>> {
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let search = || -> Outcome<Option<Caught>> {
        loop {
            let place = next.fetch_add(1, Ordering::SeqCst);
            if place >= seeds_max || is_over.load(Ordering::SeqCst) {
                return Ok(None);
            }
            let seed = line.from + place;
            if let Some(finding) = try_seed(program, awake, seed, line.seconds)? {
                is_over.store(true, Ordering::SeqCst);
                return Ok(Some(Caught { seeds: place + 1, seed, finding }));
            }
        }
    };
    let found: Vec<Outcome<Option<Caught>>> = std::thread::scope(|scope| {
        let searches: Vec<_> = (0..line.jobs.max(1)).map(|_| scope.spawn(search)).collect();
        let broken = || Err(Failure::new("a search panicked"));
        searches.into_iter().map(|search| search.join().unwrap_or_else(|_| broken())).collect()
    });
    let mut first: Option<Caught> = None;
    for caught in found {
        if let Some(caught) = caught?
            && first.as_ref().is_none_or(|first| caught.seeds < first.seeds)
        {
            first = Some(caught);
        }
    }
    Ok(first)
}

/// Replays one seed; gives what is wrong, if anything.
fn try_seed(
    program: &Path,
    awake: Option<&str>,
    seed: u64,
    seconds: u64,
) -> Outcome<Option<String>> {
    let mut replay = Command::new(program);
    replay.args(["sim", "--jobs", "1", "--from", &seed.to_string(), "--count", "1"]);
    replay.args(["--seconds", &seconds.to_string()]).env_remove("QUORATE_MUTANT");
    if let Some(awake) = awake {
        replay.env("QUORATE_MUTANT", awake);
    }
    let told = replay.stdin(Stdio::null()).output()?;
    if told.status.success() {
        return Ok(None);
    }
    let text =
        [String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr)].concat();
    Ok(Some(finding(&text)))
}

/// What `sim` says of the seed that failed, or else its last words, as a cell of a table.
fn finding(text: &str) -> String {
    let told = text.lines().skip_while(|line| !line.starts_with("FAILED")).nth(1);
    let words = told.or_else(|| text.lines().rev().find(|line| !line.trim().is_empty()));
    let words = words.unwrap_or("ended without a word").trim().replace('|', "/");
    words.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_finds_its_place() {
        let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let list = read_list(sources).unwrap();
        assert!(list.mutant.len() >= 15, "{} mutants", list.mutant.len());
        for file in list.mutant.iter().flat_map(|mutant| &mutant.edit).map(|edit| &edit.file) {
            let text = std::fs::read_to_string(sources.join(file)).unwrap();
            let planted = plant(file, text.clone(), &list).unwrap();
            assert!(planted.contains("crate::mutants::"), "{file}");
            assert!(!text.contains("crate::mutants::"), "{file} holds a mutant itself");
        }
    }

    #[test]
    fn the_table_names_what_caught_a_mutant() {
        let told = "FAILED: cluster-tests replay --seed 8\n  at 60.181 s: linearizable: a | b\n    client 0\nfigure: seeds: 1\n";
        assert_eq!(finding(told), "at 60.181 s: linearizable: a / b");
        assert_eq!(finding("no such seed\n\n"), "no such seed");
        assert_eq!(finding(""), "ended without a word");
    }

    #[test]
    fn an_edit_without_its_place_is_a_failure() {
        let edit = Edit { file: "f".into(), find: "gone".into(), put: "x".into() };
        let (name, what, like) = ("m".to_owned(), String::new(), String::new());
        let list = List { mutant: vec![Mutant { name, what, like, edit: vec![edit] }] };
        assert!(plant("f", "here".into(), &list).is_err());
        assert!(plant("f", "gone gone".into(), &list).is_err());
        assert_eq!(plant("f", "is gone".into(), &list).unwrap(), "is x");
    }
}
