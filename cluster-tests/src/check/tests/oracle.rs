//! Compares the search with one that tries everything.
//!
//! Owns: tiny random histories, and the slow search. Does not own: the models, which both use. Invariant: the slow search has neither
//! memory nor shortcuts.

use crate::chance::Chance;
use crate::check::linearizable::{Answer, Entry, search, shortest};
use crate::check::models::{State, Step};

fn brute_force(entries: &[Entry], taken: &mut Vec<usize>, state: State) -> bool {
    let open = |entry: usize| !taken.contains(&entry);
    let left: Vec<usize> = (0..entries.len()).filter(|entry| open(*entry)).collect();
    if left.iter().all(|entry| entries[*entry].returned.is_none()) {
        return true;
    }
    left.iter().any(|next| {
        let is_first = left
            .iter()
            .all(|other| entries[*other].returned.is_none_or(|end| end >= entries[*next].invoked));
        let Some(after) = is_first.then(|| entries[*next].step.apply(state)).flatten() else {
            return false;
        };
        taken.push(*next);
        let fits = brute_force(entries, taken, after);
        taken.pop();
        fits
    })
}

fn step(model: usize, is_known: bool, returned: u64, chance: &mut Chance) -> Step {
    let value = chance.below(3) as u64 + 1;
    let maybe = [None, Some(1), Some(2), Some(3)][chance.below(4)];
    let told = if is_known { [None, Some(false), Some(true)][chance.below(3)] } else { None };
    let few = i64::try_from(chance.below(4)).expect("small");
    let number = is_known.then_some(few).filter(|_| chance.below(2) == 0);
    let digest = |values: &[u64]| {
        let mut state = State::default();
        for value in values {
            let step = Step::Append { value: *value, length: None, longer_than: 0 };
            state = step.apply(state).expect("appended");
        }
        let [low, high, length, _] = state.words();
        Step::All { length, digest: u128::from(low) | u128::from(high) << 64 }
    };
    match (model, chance.below(5)) {
        (0, 0) => Step::Set { value, was: told },
        (0, 1) => Step::Clear { was: told, returned },
        (0, 2) => Step::Cas { from: maybe, to: value, done: told },
        (0, _) => Step::Get(maybe),
        (1, 0..=2) => Step::Add { by: few - 1, sum: number },
        (1, _) => Step::Sum(few),
        (2, 0..=2) => Step::Append { value, length: number, longer_than: 0 },
        (2, _) => digest(&[value, 3][..chance.below(3)]),
        (_, 0) => Step::SetFor { value, early: chance.below(12) as u64 },
        (_, 1) => Step::Keep { was: told, returned },
        (_, 2) if chance.below(2) == 0 => Step::Set { value, was: None },
        (_, _) => Step::GetFor { value: maybe, is_late: chance.below(3) == 0, returned },
    }
}

fn tiny(model: usize, chance: &mut Chance) -> Vec<Entry> {
    let count = chance.below(6) + 1;
    let entry = |operation| {
        let invoked = chance.below(10) as u64;
        let end = invoked + chance.below(5) as u64;
        let mut returned = (chance.below(5) > 0).then_some(end);
        let mut step = step(model, returned.is_some(), returned.unwrap_or(u64::MAX), chance);
        if step.is_read() {
            returned = Some(end);
            if let Step::GetFor { returned, .. } = &mut step {
                *returned = end;
            }
        }
        Entry { invoked, returned, step, operation }
    };
    (0..count).map(entry).collect()
}

#[test]
fn the_search_agrees_with_trying_everything() {
    let mut chance = Chance::new(Some(11));
    let mut seen = [[0; 2]; 4];
    for round in 0..40_000 {
        let model = round % 4;
        let entries = tiny(model, &mut chance);
        let expected = brute_force(&entries, &mut Vec::new(), State::default());
        let found = search(&entries, &mut 1_000_000);
        let found = match found {
            Answer::Linearizable => true,
            Answer::Impossible => false,
            Answer::Unknown => panic!("too many steps for {entries:?}"),
        };
        assert_eq!(found, expected, "{entries:#?}");
        seen[model][usize::from(expected)] += 1;
    }
    assert!(seen.iter().flatten().all(|count| *count > 500), "both answers are frequent: {seen:?}");
}

#[test]
fn what_is_shown_fails_by_itself_and_is_no_longer() {
    let mut chance = Chance::new(Some(12));
    for round in 0..4_000 {
        let entries = tiny(round % 4, &mut chance);
        if search(&entries, &mut 1_000_000) == Answer::Impossible {
            let few = shortest(&entries, 1_000_000);
            assert!(few.len() <= entries.len());
            assert!(!brute_force(&few, &mut Vec::new(), State::default()), "{entries:#?} {few:#?}");
        }
    }
}

#[test]
fn a_window_of_taken_entries_spans_words() {
    // One slow write overlaps 200 others; only the read at the end tells where it belongs.
    let entry = |invoked, returned, step| Entry { invoked, returned, step, operation: 0 };
    let set = |value| Step::Set { value, was: None };
    let mut entries = vec![entry(0, Some(10_000), set(9_999))];
    for number in 1..=200_u64 {
        entries.push(entry(number * 10, Some(number * 10 + 5), set(number)));
        entries.push(entry(number * 10 + 6, Some(number * 10 + 7), Step::Get(Some(number))));
    }
    entries.push(entry(10_001, Some(10_002), Step::Get(Some(9_999))));
    assert_eq!(search(&entries, &mut 1_000_000), Answer::Linearizable);
    entries.push(entry(10_003, Some(10_004), Step::Get(Some(200))));
    assert_eq!(search(&entries, &mut 1_000_000), Answer::Impossible);
    let few = shortest(&entries, 1_000_000);
    assert!(few.len() <= 4, "{few:#?}");
}
