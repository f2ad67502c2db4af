//! Tests of the checker of bound state, on one history that is altered.
//!
//! Owns: that history. Does not own: the others. Invariant: unaltered it passes.
//!
//! n0 and n1 bind five fields each at the start. n0 is killed at 10 s and its fields are gone at 12 s; it starts again at 14 s and binds
//! other values. n1 is cut off from 30 s to 36 s: its session ends at 32 s, it hears so at 36.2 s, and has all back at 36.6 s.

use std::collections::BTreeMap;

use super::{is_found_by, rules, verdict};
use crate::check::check;
use crate::history::{Answer, Call, Happening, Installation, Line, Nanos, Operation, Outcome};

const MS: Nanos = 1_000_000;

fn operation(client: u32, node: u8, at_ms: u64, call: Call, answer: Answer) -> Line {
    let (invoked, returned) = (at_ms * MS, at_ms * MS + MS);
    let (key, outcome, index) = ("k".to_owned(), Outcome::Ok(answer), None);
    Line::Operation(Operation { client, node, key, call, invoked, returned, outcome, index })
}

fn bind(node: u8, at_ms: u64, field: u32, value: u64) -> Line {
    operation(node.into(), node, at_ms, Call::Bind { field, value }, Answer::Yes(true))
}

fn process(at_ms: u64, node: u8, what: Happening) -> Line {
    Line::Process { at: at_ms * MS, node, what }
}

/// Gives what is there at a time.
fn held(at_ms: u64) -> BTreeMap<u32, u64> {
    let fields = |node: u32, first: u64, count: u32| {
        (0..count).map(move |n| (node * 10 + n, first + u64::from(n)))
    };
    let mut held = BTreeMap::new();
    match at_ms {
        200..=11_999 => held.extend(fields(0, 100, 5)),
        15_000.. => held.extend(fields(0, 200, 5)),
        _ => {}
    }
    match at_ms {
        36_400..=36_500 => held.extend(fields(1, 300, 2)),
        200..=31_999 | 36_501.. => held.extend(fields(1, 300, 5)),
        _ => {}
    }
    held
}

fn history() -> Vec<Line> {
    let mut lines = vec![
        process(0, 0, Happening::Started),
        process(0, 1, Happening::Started),
        process(0, 2, Happening::Started),
        process(10_000, 0, Happening::Killed),
        process(14_000, 0, Happening::Started),
        process(36_200, 1, Happening::SessionEnded),
        process(36_600, 1, Happening::SessionRenewed),
        Line::Fault {
            at: 30_000 * MS,
            until: Some(36_000 * MS),
            family: "isolated".into(),
            text: "n1".into(),
            outcome: Installation::Installed,
        },
    ];
    for n in 0..5_u32 {
        lines.push(bind(0, 100 + u64::from(n) * 10, n, 100 + u64::from(n)));
        lines.push(bind(0, 14_900 + u64::from(n) * 10, n, 200 + u64::from(n)));
        lines.push(bind(1, 100 + u64::from(n) * 10, 10 + n, 300 + u64::from(n)));
    }
    for at in (200..14_800).chain(15_000..50_000).step_by(150) {
        let pairs = Answer::Pairs(held(at).into_iter().collect());
        lines.push(operation(9, 2, at, Call::BoundFields, pairs));
    }
    lines
}

fn alter(from_ms: u64, to_ms: u64, change: impl Fn(&mut BTreeMap<u32, u64>)) -> Vec<Line> {
    altered(history(), from_ms, to_ms, change)
}

/// Alters what the reads between two times show.
fn altered(
    mut history: Vec<Line>,
    from_ms: u64,
    to_ms: u64,
    change: impl Fn(&mut BTreeMap<u32, u64>),
) -> Vec<Line> {
    let mut altered = 0;
    for line in &mut history {
        let Line::Operation(operation) = line else { continue };
        if !(from_ms * MS..to_ms * MS).contains(&operation.invoked) {
            continue;
        }
        if let Outcome::Ok(Answer::Pairs(pairs)) = &mut operation.outcome {
            let mut held = pairs.iter().copied().collect();
            change(&mut held);
            *pairs = held.into_iter().collect();
            altered += 1;
        }
    }
    assert!(altered > 0, "reads were altered");
    history
}

fn finds(history: &[Line], text: &str) {
    let verdict = verdict(history);
    assert!(is_found_by(&verdict, "bound"), "{text}: {verdict}");
    let is_named = verdict.findings.iter().any(|finding| finding.text.starts_with(text));
    assert!(is_named, "'{text}' is among\n{verdict}");
}

#[test]
fn what_is_right_passes() {
    let verdict = verdict(&history());
    assert!(verdict.passed(), "{verdict}");
}

#[test]
fn half_gone_is_found() {
    finds(
        &alter(11_000, 11_400, |held| {
            held.remove(&3);
        }),
        "half gone",
    );
    finds(
        &alter(33_000, 33_400, |held| {
            held.insert(13, 303);
        }),
        "half gone",
    );
}

#[test]
fn what_is_missing_while_its_process_lives_is_found() {
    finds(&alter(5_000, 5_200, |held| held.retain(|field, _| *field >= 10)), "missing while");
    // n1 has all back, so that nothing excuses it any more.
    finds(&alter(45_000, 45_200, |held| held.retain(|field, _| *field < 10)), "missing while");
}

#[test]
fn what_stays_too_long_is_found() {
    let stays =
        |held: &mut BTreeMap<u32, u64>| held.extend((0..5).map(|n| (n, 100 + u64::from(n))));
    let mut history = alter(12_000, 22_000, stays);
    // Without the new process, which replaces the fields.
    let is_later = |line: &Line| match line {
        Line::Operation(Operation { call: Call::Bind { value, .. }, .. }) => *value / 100 == 2,
        line => line.at() >= 22_000 * MS || *line == process(14_000, 0, Happening::Started),
    };
    history.retain(|line| !is_later(line));
    finds(&history, "still there too long");
}

#[test]
fn what_comes_back_is_found() {
    let back = |held: &mut BTreeMap<u32, u64>| held.extend((0..5).map(|n| (n, 100 + u64::from(n))));
    finds(&alter(14_000, 14_400, back), "came back");
}

#[test]
fn what_is_put_back_may_come_after_the_end_of_its_process_but_not_much_later() {
    let mut ended = history();
    ended.retain(|line| *line != process(36_600, 1, Happening::SessionRenewed));
    ended.push(process(36_300, 1, Happening::Left));
    let is_its = |field: &u32| (10..15).contains(field);
    let gone = |held: &mut BTreeMap<u32, u64>| held.retain(|field, _| !is_its(field));
    let ended = altered(ended, 37_500, 50_000, gone);
    let before = verdict(&ended);
    assert!(before.passed(), "{before}");
    let back =
        |held: &mut BTreeMap<u32, u64>| held.extend((0..5).map(|n| (10 + n, 300 + u64::from(n))));
    finds(&altered(ended.clone(), 45_000, 45_400, back), "came back");
    // Nothing was under way when the session had not been lost.
    let mut kept = altered(ended, 30_000, 36_350, back);
    kept.retain(|line| *line != process(36_200, 1, Happening::SessionEnded));
    finds(&altered(kept, 36_350, 36_500, gone), "came back");
}

#[test]
fn old_values_of_the_same_process_are_found() {
    let old = |held: &mut BTreeMap<u32, u64>| held.extend((0..5).map(|n| (n, 100 + u64::from(n))));
    finds(&alter(20_000, 20_400, old), "stale");
}

/// The history in which n1 binds a field at one time and n2 at another, n2 ends then or never, and the field is n1's again when n1
/// has its session again.
fn overtaken(first_ms: u64, second_ms: u64, ends_ms: Option<u64>) -> Vec<Line> {
    let mut history = history();
    let lost = second_ms.min(32_000);
    let gone = ends_ms.unwrap_or(36_650);
    for (from, to, value) in
        [(first_ms + 2, lost, 350), (second_ms + 2, gone, 950), (36_650, 50_000, 350)]
    {
        history = altered(history, from, to, |held| {
            held.insert(15, value);
        });
    }
    history.push(bind(1, first_ms, 15, 350));
    history.push(bind(2, second_ms, 15, 950));
    history.extend(ends_ms.map(|at| process(at, 2, Happening::Killed)));
    history
}

#[test]
fn what_others_put_in_the_place_of_a_lost_one_may_go_before_it_is_back() {
    let verdict = verdict(&overtaken(29_000, 33_000, Some(34_000)));
    assert!(verdict.passed(), "{verdict}");
    // The second lives.
    finds(&overtaken(29_000, 33_000, None), "stale");
    // The first was not lost when it was replaced.
    finds(&overtaken(20_000, 25_000, Some(34_000)), "stale");
}

#[test]
fn what_nobody_has_bound_is_found() {
    finds(
        &alter(5_000, 5_200, |held| {
            held.insert(99, 1);
        }),
        "read what nobody has bound",
    );
    finds(
        &alter(5_000, 5_200, |held| {
            held.insert(2, 303);
        }),
        "read what nobody has bound",
    );
}

#[test]
fn a_session_that_ends_without_a_reason_is_found() {
    let mut history = history();
    history.retain(|line| !matches!(line, Line::Fault { .. }));
    let verdict = check(&history, &rules());
    let text = "a session ended while its process lived and nothing was wrong";
    assert!(verdict.findings.iter().any(|finding| finding.text == text), "{verdict}");
}
