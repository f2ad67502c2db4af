//! The simulator as a program: some seeds, one of them twice, and a seed that cannot be done in time.
//!
//! Owns: nothing. Does not own: the many seeds, which `just sim` runs. Invariant: each of these can fail.

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-tests"));
    command.arg("sim").args(arguments).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_few_short_seeds_show_nothing() {
    let output = sim(&["--seeds", "1..4", "--seconds", "4", "--jobs", "2"]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("figure: seeds: 3 of 4 s, 0 with findings"), "{text}");
}

#[test]
fn a_seed_run_twice_gives_the_same() {
    let output = sim(&["--seeds", "2..3", "--seconds", "4", "--jobs", "1", "--twice"]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("figure: run twice: 1, 0 of them not equal"), "{text}");
}

#[test]
fn a_seed_that_takes_too_long_is_a_finding() {
    let output = sim(&["--seeds", "1..2", "--seconds", "4", "--patience", "0"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("not done after 0ns"), "{}", text(&output));
}
