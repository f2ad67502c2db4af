//! Tests of the checkers: legal histories pass, planted violations are found.
//!
//! Owns: which plant must be found by which checker. Does not own: how histories are made (`world`, `bound`, `messages`), files made by
//! hand (`files`), the oracle (`oracle`). Invariant: each plant is a history that passes without it.

mod bound;
mod files;
mod messages;
mod oracle;
mod world;

use std::collections::BTreeMap;

use self::world::{Bug, Plan};
use super::run::Workload;
use super::{Rules, Verdict, check};
use crate::history::{Answer, Call, Line, Operation, Outcome};

/// Rules for histories whose times are short.
fn rules() -> Rules {
    Rules {
        expiry_epsilon_ms: 5,
        bound_gone_within_ms: 2_500,
        settle_ms: 1_000,
        deliver_within_ms: 1_000,
        entries_hold_many: false,
        findings_max: 12,
        ..Rules::default()
    }
}

fn verdict(history: &[Line]) -> Verdict {
    check(history, &rules())
}

fn is_found_by(verdict: &Verdict, checker: &str) -> bool {
    verdict.findings.iter().any(|finding| finding.checker == checker)
}

const WORKLOADS: [Workload; 6] = [
    Workload::Register,
    Workload::Set,
    Workload::Hash,
    Workload::Counter,
    Workload::List,
    Workload::Expiry,
];

#[test]
fn legal_histories_pass() {
    for workload in WORKLOADS {
        for seed in 0..30 {
            let history = Plan::new(workload, seed).history();
            let verdict = verdict(&history);
            assert!(verdict.passed(), "{workload:?} with seed {seed}:\n{verdict}");
        }
    }
}

/// Each history with a bug must be found out, and each of the checkers named must do so by itself in half of them.
#[test]
fn each_planted_bug_is_found() {
    let order = "linearizable";
    for (workload, bug, checkers) in [
        (Workload::Register, Bug::LostWrite, &[order, "index"][..]),
        (Workload::Register, Bug::StaleRead, &[order, "index"]),
        (Workload::Register, Bug::AppliedTwice, &[order]),
        (Workload::Register, Bug::CrossedReply, &[order, "index"]),
        (Workload::Register, Bug::Resurrected, &[order, "index"]),
        (Workload::Register, Bug::FailedButApplied, &[order]),
        (Workload::Set, Bug::LostWrite, &[order, "sets"]),
        (Workload::Set, Bug::StaleRead, &["sets"]),
        (Workload::Set, Bug::CrossedReply, &["sets"]),
        (Workload::Set, Bug::Resurrected, &["sets"]),
        (Workload::Hash, Bug::LostWrite, &[order, "sets"]),
        (Workload::Hash, Bug::StaleRead, &[order, "sets"]),
        (Workload::Hash, Bug::CrossedReply, &["sets"]),
        (Workload::Counter, Bug::LostWrite, &[order, "counter"]),
        (Workload::Counter, Bug::AppliedTwice, &[order, "counter"]),
        (Workload::Counter, Bug::StaleRead, &[order, "counter"]),
        (Workload::Counter, Bug::CrossedReply, &[order, "counter"]),
        (Workload::List, Bug::LostWrite, &[order]),
        (Workload::List, Bug::AppliedTwice, &[order]),
        (Workload::List, Bug::StaleRead, &[order]),
        (Workload::List, Bug::CrossedReply, &[order]),
        (Workload::Expiry, Bug::Early, &[order, "expiry"]),
        (Workload::Expiry, Bug::Late, &[order, "expiry"]),
        (Workload::Expiry, Bug::Resurrected, &[order, "expiry"]),
        (Workload::Expiry, Bug::StaleRead, &[order, "expiry"]),
        (Workload::Expiry, Bug::LostWrite, &[order]),
    ] {
        let mut found = BTreeMap::new();
        for seed in 0..4 {
            let mut plan = Plan::new(workload, seed);
            plan.bug = Some(bug);
            let rules = Rules { findings_max: 1, ..rules() };
            let verdict = check(&plan.history(), &rules);
            assert!(verdict.is_broken(), "{bug:?} in {workload:?}, seed {seed}");
            for checker in checkers.iter().filter(|checker| is_found_by(&verdict, checker)) {
                *found.entry(*checker).or_insert(0) += 1;
            }
        }
        for checker in checkers {
            let times = found.get(checker).copied().unwrap_or(0);
            assert!(times >= 2, "{checker}: {bug:?} in {workload:?} only {times} times of 4");
        }
    }
}

#[test]
fn what_shows_a_stale_read_is_short() {
    let mut plan = Plan::new(Workload::Register, 3);
    plan.bug = Some(Bug::StaleRead);
    let verdict = verdict(&plan.history());
    let finding = verdict.findings.iter().find(|one| one.checker == "linearizable").expect("found");
    assert!(finding.lines.len() <= 5, "{finding}");
    let alone = check(&finding.lines, &rules());
    assert!(alone.is_broken(), "what is shown is a violation by itself:\n{finding}");
}

#[test]
fn many_appends_of_which_nobody_knows_are_placed_by_what_was_read() {
    let line = |client, call, invoked: u64, outcome| {
        let (key, returned) = ("list".to_owned(), invoked + 500_000);
        let operation =
            Operation { client, node: 0, key, call, invoked, returned, outcome, index: None };
        Line::Operation(operation)
    };
    let unknown = |number: u32| {
        let outcome = Outcome::Unknown("no answer".to_owned());
        let at = u64::from(number) * 1_000_000;
        line(number, Call::Append(u64::from(number)), at, outcome)
    };
    let read = |at, values: &[u64]| {
        line(100, Call::Range, at, Outcome::Ok(Answer::Values(values.to_vec())))
    };
    let appended: Vec<Line> = (1..=30).map(unknown).collect();
    let with = |reads: [Line; 2]| appended.iter().cloned().chain(reads).collect::<Vec<_>>();
    let scrambled = [9, 3, 30, 12, 1, 22, 8, 15, 2, 29, 16, 7];
    let legal = verdict(&with([read(40_000_000, &scrambled), read(41_000_000, &scrambled)]));
    assert!(legal.passed(), "{legal}");
    let mut swapped = scrambled;
    swapped.swap(4, 9);
    let broken = verdict(&with([read(40_000_000, &scrambled), read(41_000_000, &swapped)]));
    assert!(broken.is_broken(), "{broken}");
    let longer: Vec<u64> = scrambled.into_iter().chain([16]).collect();
    let twice = verdict(&with([read(40_000_000, &scrambled), read(41_000_000, &longer)]));
    assert!(twice.is_broken(), "{twice}");
}

#[test]
fn too_few_steps_make_the_verdict_unknown() {
    let history = Plan::new(Workload::Register, 1).history();
    let rules = Rules { steps_max: 10, ..rules() };
    let verdict = check(&history, &rules);
    assert!(verdict.unknown && !verdict.is_broken() && !verdict.passed(), "{verdict}");
}

#[test]
fn histories_that_cannot_be_judged_are_unknown() {
    let mut history = Plan::new(Workload::Register, 1).history();
    history.push(Line::Overflow { lines: 3 });
    assert!(verdict(&history).unknown);
    let (mut one, two) = (Plan::new(Workload::List, 1).history(), Plan::new(Workload::Set, 1));
    one.extend(two.history());
    assert!(verdict(&one).unknown, "a key of two workloads");
    let mut twice = Plan::new(Workload::Register, 1).history();
    let write = twice
        .iter()
        .find(|line| matches!(line, Line::Operation(Operation { call: Call::Write(_), .. })));
    twice.push(write.expect("a write").clone());
    assert!(verdict(&twice).unknown, "a value that is written twice");
}

#[test]
fn the_same_history_gives_the_same_verdict() {
    let mut plan = Plan::new(Workload::Expiry, 5);
    plan.bug = Some(Bug::StaleRead);
    let history = plan.history();
    assert_eq!(verdict(&history), verdict(&history));
}

#[test]
fn an_index_used_twice_is_found() {
    let mut history = Plan::new(Workload::Register, 2).history();
    let mut writes = history.iter_mut().filter_map(|line| match line {
        Line::Operation(one) if !one.call.is_read() && one.is_ok() => Some(one),
        _ => None,
    });
    let first = writes.next().expect("a write").index;
    writes.next().expect("another").index = first;
    assert!(is_found_by(&verdict(&history), "index"));
}

#[test]
fn many_keys_are_judged_in_seconds() {
    let mut history = Vec::new();
    for seed in 0..50 {
        let mut plan = Plan::new(Workload::Register, seed);
        plan.operations = 400;
        plan.first_key = u32::try_from(seed).expect("small") * 2;
        history.extend(plan.history());
    }
    let before = tokio::time::Instant::now();
    let verdict = verdict(&history);
    assert!(verdict.counts["linearizable"].parts >= 100, "{verdict}");
    assert!(before.elapsed().as_secs() < 20, "{} lines took {:?}", history.len(), before.elapsed());
}
