//! What each operation does to the state of its part: a register, an element, a field, a counter, a list, a key with an end.
//!
//! Owns: the models, and how operations are taken apart into independent parts. Does not own: the search. Source: Herlihy and Wing,
//! "Linearizability" (1990): a history is linearizable if each of its objects is (locality), so elements and fields are
//! objects of their own. Invariant: what an answer does not tell does not restrict.

use std::collections::BTreeMap;

use super::linearizable::Entry;
use super::rules::nanos;
use super::run::Workload;
use crate::history::{Answer, Call, Nanos, Operation, Outcome};

/// The state of one part; the default is its beginning. What the fields mean depends on the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The value, the sum, or what stands for all values of a list.
    value: u128,
    /// Whether there is a value, or the length of a list.
    extent: u64,
    /// When the value may go.
    early: Nanos,
}

/// The extents of a value: it has an end, it has none, nobody knows. Plain values have none.
const ENDS: u64 = 1;
const STAYS: u64 = 2;
const MAY_STAY: u64 = 3;

impl State {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
    pub(super) const fn words(self) -> [u64; 4] {
        [self.value as u64, (self.value >> 64) as u64, self.extent, self.early]
    }

    fn of(value: Option<u64>) -> Self {
        value.map_or_else(Self::default, |value| Self::holding(value, STAYS, 0))
    }

    const fn holding(value: u64, extent: u64, early: Nanos) -> Self {
        Self { value: value as u128, extent, early }
    }

    const fn is_some(self) -> bool {
        self.extent > 0
    }

    /// Tells whether a value with an end may be gone at `now`.
    const fn may_go(self, now: Nanos) -> bool {
        (self.extent == ENDS || self.extent == MAY_STAY) && now >= self.early
    }
}

/// What one operation does, with what its answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Set { value: u64, was: Option<bool> },
    Clear { was: Option<bool>, returned: Nanos },
    Cas { from: Option<u64>, to: u64, done: Option<bool> },
    Get(Option<u64>),
    Add { by: i64, sum: Option<i64> },
    Sum(i64),
    Append { value: u64, length: Option<i64>, longer_than: u64 },
    All { length: u64, digest: u128 },
    SetFor { value: u64, early: Nanos },
    GetFor { value: Option<u64>, is_late: bool, returned: Nanos },
    Keep { was: Option<bool>, returned: Nanos },
}

impl Step {
    /// Gives the state after it, or none if it cannot happen in this one.
    pub(super) fn apply(&self, state: State) -> Option<State> {
        let fits = |is: bool, told: Option<bool>| told.is_none_or(|told| told == is);
        match *self {
            Self::Set { value, was } => fits(state.is_some(), was).then(|| State::of(Some(value))),
            Self::Clear { was, returned } => {
                let is_gone = was == Some(false) && state.may_go(returned);
                (fits(state.is_some(), was) || is_gone).then(State::default)
            }
            Self::Cas { from, to, done } => {
                let is = state == State::of(from);
                fits(is, done).then(|| if is { State::of(Some(to)) } else { state })
            }
            Self::Get(value) => (state == State::of(value)).then_some(state),
            Self::Add { by, sum } => {
                let after = total(state).wrapping_add(by);
                sum.is_none_or(|sum| sum == after).then(|| State::default().with_total(after))
            }
            Self::Sum(sum) => (sum == total(state)).then_some(state),
            Self::Append { value, length, longer_than } => {
                let after = State { extent: state.extent + 1, ..state }.with(value);
                let told = length.is_none_or(|told| u64::try_from(told) == Ok(after.extent));
                (told && after.extent > longer_than).then_some(after)
            }
            Self::All { length, digest } => {
                (state.extent == length && state.value == digest).then_some(state)
            }
            Self::SetFor { value, early } => Some(State::holding(value, ENDS, early)),
            Self::GetFor { value: None, returned, .. } => {
                (!state.is_some() || state.may_go(returned)).then(State::default)
            }
            Self::GetFor { value: Some(value), is_late, .. } => {
                let holds = state.is_some() && state.value == u128::from(value);
                (holds && (state.extent != ENDS || !is_late)).then_some(state)
            }
            Self::Keep { was, returned } => keep(state, was, returned),
        }
    }

    pub(super) const fn is_read(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Sum(_) | Self::All { .. } | Self::GetFor { .. })
    }

    /// Gives the same without what the answer tells.
    pub(super) const fn unanswered(&self) -> Self {
        match *self {
            Self::Set { value, .. } => Self::Set { value, was: None },
            Self::Clear { .. } => Self::Clear { was: None, returned: Nanos::MAX },
            Self::Cas { from, to, .. } => Self::Cas { from, to, done: None },
            Self::Add { by, .. } => Self::Add { by, sum: None },
            Self::Append { value, .. } => Self::Append { value, length: None, longer_than: 0 },
            Self::Keep { .. } => Self::Keep { was: None, returned: Nanos::MAX },
            step => step,
        }
    }

    /// Tells whether it changes a value and its answer tells nothing.
    pub(super) const fn is_plain_write(&self) -> bool {
        matches!(
            self,
            Self::Set { was: None, .. }
                | Self::Clear { was: None, .. }
                | Self::Cas { done: None, .. }
                | Self::SetFor { .. }
        )
    }

    /// Tells whether its answer may become wrong when the plain write `write` is left out.
    pub(super) fn depends_on(&self, write: &Self) -> bool {
        let written = match *write {
            Self::Set { value, .. } | Self::SetFor { value, .. } => Some(value),
            Self::Cas { to, .. } => Some(to),
            _ => None,
        };
        let is_clear = written.is_none();
        match *self {
            Self::Get(value) | Self::GetFor { value, .. } => value == written,
            Self::Cas { from, done, .. } => done == Some(false) || from == written,
            Self::Set { was, .. } | Self::Clear { was, .. } | Self::Keep { was, .. } => {
                was == Some(!is_clear)
            }
            _ => false,
        }
    }
}

/// PERSIST: a value that may be gone by then need not be there; one with an end stays from now on.
fn keep(state: State, was: Option<bool>, returned: Nanos) -> Option<State> {
    let stays = State { extent: STAYS, ..state };
    match (state.extent, was) {
        (ENDS | MAY_STAY, Some(true)) => Some(stays),
        (MAY_STAY, Some(false)) => Some(state),
        (ENDS, Some(false)) => state.may_go(returned).then(State::default),
        (ENDS, None) => Some(State { extent: MAY_STAY, ..state }),
        (_, Some(true)) => None,
        (_, _) => Some(state),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it was a number of 64 bits")]
const fn total(state: State) -> i64 {
    state.value as i64
}

impl State {
    #[expect(clippy::cast_sign_loss, reason = "the bits are what counts")]
    const fn with_total(self, total: i64) -> Self {
        Self { value: total as u64 as u128, ..self }
    }

    /// Mixes another value of a list in; two lists are taken for equal if 128 bits are.
    const fn with(self, value: u64) -> Self {
        let mixed = (value as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let value = (self.value.rotate_left(29) ^ mixed ^ (mixed >> 67))
            .wrapping_mul(0xda94_2042_e4dd_58b5_a2c9_7e1f_61c8_8647);
        Self { value, ..self }
    }
}

/// Takes the operations of a key apart; the names of the parts are what stands behind the key.
pub(super) fn parts(
    workload: Workload,
    operations: &[&Operation],
    late: &dyn Fn(&Operation) -> bool,
    epsilon_ms: u64,
) -> BTreeMap<Option<u64>, Vec<Entry>> {
    let mut parts: BTreeMap<Option<u64>, Vec<Entry>> = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        if operation.is_failed() || operation.call.is_read() && !operation.is_ok() {
            continue;
        }
        let lowered = if workload == Workload::Expiry {
            expiring(operation, late, epsilon_ms)
        } else {
            lower(operation)
        };
        if let Some((part, step)) = lowered {
            let returned = operation.is_ok().then_some(operation.returned);
            let invoked = operation.invoked;
            parts.entry(part).or_default().push(Entry {
                invoked,
                returned,
                step,
                operation: place,
            });
        }
    }
    if workload == Workload::List {
        parts.values_mut().for_each(|entries| place_appends(entries, operations));
    }
    parts
}

/// Takes from the longest read where each value was appended: nothing takes values out again, so the list had grown just so.
/// Without that, the search would try all orders of those whose outcome nobody knows.
/// An append that no read shows came when the list was longer than the longest of them.
fn place_appends(entries: &mut Vec<Entry>, operations: &[&Operation]) {
    let reads = operations.iter().filter_map(|operation| match operation.answer() {
        Some(Answer::Values(values)) => Some(values),
        _ => None,
    });
    let Some(longest) = reads.max_by_key(|values| values.len()) else { return };
    let only_grows = |entry: &Entry| matches!(entry.step, Step::Append { .. } | Step::All { .. });
    if !entries.iter().all(only_grows) {
        return;
    }
    let mut lengths: BTreeMap<u64, i64> = BTreeMap::new();
    for (value, length) in longest.iter().zip(1..) {
        // The second of two can come from no append; the search will tell.
        lengths.entry(*value).or_insert(length);
    }
    let told = |entry: &Entry| match entry.step {
        Step::Append { length, .. } => length.unwrap_or(0),
        _ => 0,
    };
    let longest = longest.len() as u64;
    if entries.iter().all(|entry| u64::try_from(told(entry)).unwrap_or(0) <= longest) {
        // What nobody has seen and no answer needs may be left out.
        entries.retain(|entry| match entry.step {
            Step::Append { value, .. } => entry.returned.is_some() || lengths.contains_key(&value),
            _ => true,
        });
    }
    for entry in entries {
        if let Step::Append { value, length, longer_than } = &mut entry.step {
            match lengths.get(value) {
                Some(read) => *length = length.or(Some(*read)),
                None => *longer_than = longest,
            }
        }
    }
}

fn yes(operation: &Operation) -> Option<bool> {
    match operation.answer() {
        Some(Answer::Yes(yes)) => Some(*yes),
        _ => None,
    }
}

fn number(operation: &Operation) -> Option<i64> {
    match operation.answer() {
        Some(Answer::Number(number)) => Some(*number),
        _ => None,
    }
}

/// Gives the part that an operation belongs to and what it does there; nothing for reads of whole collections, which others check.
fn lower(operation: &Operation) -> Option<(Option<u64>, Step)> {
    let was = yes(operation);
    let is_new = was.map(|is_new| !is_new);
    let clear = Step::Clear { was, returned: operation.returned };
    Some(match (&operation.call, &operation.outcome) {
        (Call::Read, Outcome::Ok(Answer::Value(value))) => (None, Step::Get(*value)),
        (Call::Write(value), _) => (None, Step::Set { value: *value, was: None }),
        (Call::Cas { from, to }, _) => (None, Step::Cas { from: *from, to: *to, done: was }),
        (Call::Delete, _) => (None, clear),
        (Call::Add(element), _) => (Some(*element), Step::Set { value: 1, was: is_new }),
        (Call::Remove(element), _) => (Some(*element), clear),
        (Call::Contains(element), Outcome::Ok(Answer::Yes(is_there))) => {
            (Some(*element), Step::Get(is_there.then_some(1)))
        }
        (Call::FieldSet { field, value }, _) => {
            (Some(u64::from(*field)), Step::Set { value: *value, was: is_new })
        }
        (Call::FieldGet(field), Outcome::Ok(Answer::Value(value))) => {
            (Some(u64::from(*field)), Step::Get(*value))
        }
        (Call::FieldDelete(field), _) => (Some(u64::from(*field)), clear),
        (Call::Increment(by), _) => (None, Step::Add { by: *by, sum: number(operation) }),
        (Call::Count, Outcome::Ok(Answer::Number(sum))) => (None, Step::Sum(*sum)),
        (Call::Append(value), _) => {
            (None, Step::Append { value: *value, length: number(operation), longer_than: 0 })
        }
        (Call::Range, Outcome::Ok(Answer::Values(values))) => {
            let empty = State::default();
            let digest = values.iter().fold(empty, |state, value| state.with(*value)).value;
            (None, Step::All { length: values.len() as u64, digest })
        }
        _ => return None,
    })
}

fn expiring(
    operation: &Operation,
    late: &dyn Fn(&Operation) -> bool,
    epsilon_ms: u64,
) -> Option<(Option<u64>, Step)> {
    let (was, returned) = (yes(operation), operation.effective_by());
    let step = match (&operation.call, &operation.outcome) {
        (Call::Read, Outcome::Ok(Answer::Value(value))) => {
            Step::GetFor { value: *value, is_late: late(operation), returned }
        }
        (Call::WriteFor { value, ttl_ms }, _) => {
            let ttl = nanos(ttl_ms.saturating_sub(epsilon_ms));
            Step::SetFor { value: *value, early: operation.invoked.saturating_add(ttl) }
        }
        (Call::Persist, _) => Step::Keep { was, returned },
        _ => return lower(operation),
    };
    Some((None, step))
}
