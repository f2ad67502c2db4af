//! Makes legal histories, and with a bug illegal ones.
//!
//! Owns: a store that does one operation after the other, clients that overlap, bugs of the store. Does not own: verdicts. Invariant:
//! without a bug every answer is that of the store at one moment between invocation and return.

use std::collections::{BTreeMap, BTreeSet};

use crate::chance::Chance;
use crate::check::run::Workload;
use crate::history::{Answer, Call, Line, Nanos, Operation, Outcome};

const MS: Nanos = 1_000_000;

/// What the store does wrong, now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    LostWrite,
    AppliedTwice,
    StaleRead,
    CrossedReply,
    Resurrected,
    FailedButApplied,
    Early,
    Late,
}

/// What to make.
pub(super) struct Plan {
    pub(super) workload: Workload,
    pub(super) bug: Option<Bug>,
    pub(super) operations: usize,
    pub(super) first_key: u32,
    seed: u64,
}

#[derive(Debug, Clone, Default)]
struct Store {
    value: Option<(u64, Nanos)>,
    set: BTreeSet<u64>,
    hash: BTreeMap<u32, u64>,
    sum: i64,
    list: Vec<u64>,
}

impl Store {
    fn held(&mut self, now: Nanos) -> Option<u64> {
        self.value = self.value.filter(|(_, ends)| *ends > now);
        self.value.map(|(value, _)| value)
    }

    fn removed_by(&self, call: &Call) -> Option<u64> {
        match call {
            Call::Remove(element) => self.set.get(element).copied(),
            _ => None,
        }
    }

    fn apply(&mut self, call: &Call, now: Nanos, bug: Option<Bug>) -> Answer {
        let held = self.held(now);
        match *call {
            Call::Read => Answer::Value(held),
            Call::Write(value) => {
                self.value = Some((value, Nanos::MAX));
                Answer::None
            }
            Call::Cas { from, to } => {
                if held == from {
                    self.value = Some((to, Nanos::MAX));
                }
                Answer::Yes(held == from)
            }
            Call::Delete => Answer::Yes(self.value.take().is_some()),
            Call::WriteFor { value, ttl_ms } => {
                let ttl = match bug {
                    Some(Bug::Early) => ttl_ms / 3,
                    Some(Bug::Late) => ttl_ms * 3,
                    _ => ttl_ms,
                };
                self.value = Some((value, now + ttl * MS));
                Answer::None
            }
            Call::Persist => {
                let had_end = self.value.is_some_and(|(_, ends)| ends < Nanos::MAX);
                self.value = self.value.map(|(value, _)| (value, Nanos::MAX));
                Answer::Yes(had_end)
            }
            Call::Add(element) => Answer::Yes(self.set.insert(element)),
            Call::Remove(element) => Answer::Yes(self.set.remove(&element)),
            Call::Contains(element) => Answer::Yes(self.set.contains(&element)),
            Call::Members => Answer::Values(self.set.iter().copied().collect()),
            Call::FieldSet { field, value } => {
                Answer::Yes(self.hash.insert(field, value).is_none())
            }
            Call::FieldGet(field) => Answer::Value(self.hash.get(&field).copied()),
            Call::FieldDelete(field) => Answer::Yes(self.hash.remove(&field).is_some()),
            Call::Fields => Answer::Pairs(self.hash.iter().map(|(f, v)| (*f, *v)).collect()),
            Call::Increment(by) => {
                self.sum += by;
                Answer::Number(self.sum)
            }
            Call::Count => Answer::Number(self.sum),
            Call::Append(value) => {
                self.list.push(value);
                Answer::Number(i64::try_from(self.list.len()).expect("short"))
            }
            Call::Range => Answer::Values(self.list.clone()),
            Call::Bind { .. } | Call::BoundFields | Call::Publish { .. } => {
                unreachable!("made elsewhere")
            }
        }
    }
}

/// What happens to the store at a time.
#[derive(Debug, Clone)]
enum Effect {
    Do(usize),
    Again(usize),
    Put(usize, Option<(u64, Nanos)>, Option<u64>),
}

impl Plan {
    pub(super) fn new(workload: Workload, seed: u64) -> Self {
        Self { workload, bug: None, operations: 250, first_key: 0, seed }
    }

    /// Makes the history of two keys.
    pub(super) fn history(&self) -> Vec<Line> {
        let mut chance = Chance::new(Some(self.seed ^ 0x5eed));
        let mut drafts = Vec::new();
        for key in self.first_key..self.first_key + 2 {
            drafts.extend(self.drafts(key, &mut chance));
        }
        let mut operations = self.carry_out(drafts, &mut chance);
        if self.bug == Some(Bug::CrossedReply) {
            let (one, two) = operations.split_at_mut(self.operations);
            cross(one, two);
        }
        let mut lines: Vec<Line> = operations.into_iter().map(Line::Operation).collect();
        lines.sort_by_key(Line::at);
        lines
    }

    /// Lets five clients begin operations, each one after the other.
    fn drafts(&self, key: u32, chance: &mut Chance) -> Vec<(Operation, Option<Nanos>)> {
        let mut drafts = Vec::new();
        let mut free = [0; 5];
        let mut client = key * 10_000;
        let mut names: Vec<u32> = (0..5).map(|n| client + n).collect();
        client += 5;
        let mut unknown = 0;
        for number in 0..self.operations {
            let who = chance.below(5);
            let span = |chance: &mut Chance, most: usize| chance.below(most) as u64 * 1000;
            let invoked = free[who] + span(chance, 12_000);
            let effect = invoked + span(chance, 2_000);
            let returned = effect + 1 + span(chance, 2_000);
            free[who] = returned + 1;
            let value = u64::from(key) * 1_000_000 + number as u64 + 1;
            let call = self.call(value, chance);
            let (mut outcome, mut at) = (Outcome::Ok(Answer::None), Some(effect));
            if chance.below(100) < 3 && unknown < 5 {
                unknown += 1;
                outcome = Outcome::Unknown("timeout".to_owned());
                at = [None, Some(effect), Some(returned + 50 * MS)][chance.below(3)];
                names[who] = client;
                client += 1;
            } else if chance.below(100) < 3 {
                outcome = Outcome::Failed("refused".to_owned());
                at = None;
            }
            let (client, key) = (names[who], format!("k{key}"));
            let node = u8::try_from(who % 3).expect("small");
            let operation =
                Operation { client, node, key, call, invoked, returned, outcome, index: None };
            drafts.push((operation, at));
        }
        drafts
    }

    fn call(&self, value: u64, chance: &mut Chance) -> Call {
        let dice = chance.below(10);
        let field = u32::try_from(chance.below(4)).expect("small");
        let near = value.saturating_sub(chance.below(12) as u64);
        match (self.workload, dice) {
            (Workload::Register, 0..=1) => Call::Write(value),
            (Workload::Register, 2) => Call::Cas { from: Some(near), to: value },
            (Workload::Register, 3) => Call::Delete,
            (Workload::Set, 0..=4) => Call::Add(value),
            (Workload::Set, 5) => Call::Remove(near),
            (Workload::Set, 6..=7) => Call::Contains(near),
            (Workload::Set, _) => Call::Members,
            (Workload::Hash, 0..=3) => Call::FieldSet { field, value },
            (Workload::Hash, 4) => Call::FieldDelete(field),
            (Workload::Hash, 5..=7) => Call::FieldGet(field),
            (Workload::Hash, _) => Call::Fields,
            (Workload::Counter, 0..=5) => {
                Call::Increment(i64::try_from(dice % 3).expect("small") + 1)
            }
            (Workload::Counter, _) => Call::Count,
            (Workload::List, 0..=5) => Call::Append(value),
            (Workload::List, _) => Call::Range,
            (Workload::Expiry, 0..=1) => {
                Call::WriteFor { value, ttl_ms: 8 + chance.below(25) as u64 }
            }
            (Workload::Expiry, 2) if chance.below(3) == 0 => Call::Persist,
            (Workload::Expiry, 2) if chance.below(3) == 0 => Call::Write(value),
            (Workload::Expiry, 2) if chance.below(2) == 0 => Call::Delete,
            _ => Call::Read,
        }
    }

    /// Does all operations in the order of their effects.
    fn carry_out(
        &self,
        drafts: Vec<(Operation, Option<Nanos>)>,
        chance: &mut Chance,
    ) -> Vec<Operation> {
        let mut effects = first_effects(&drafts);
        let mut operations: Vec<Operation> = drafts.into_iter().map(|(one, _)| one).collect();
        let mut stores = [Store::default(), Store::default()];
        let mut past: [BTreeMap<Nanos, Store>; 2] = Default::default();
        let mut index = 0;
        while let Some(((now, _), effect)) = effects.pop_first() {
            let (Effect::Do(place) | Effect::Again(place) | Effect::Put(place, ..)) = effect;
            let key = place / self.operations;
            let (store, past) = (&mut stores[key], &mut past[key]);
            let operation = &mut operations[place];
            past.insert(now, store.clone());
            match effect {
                Effect::Do(_) => {}
                Effect::Again(_) => {
                    store.apply(&operation.call, now, None);
                    continue;
                }
                Effect::Put(_, value, element) => {
                    store.value = value;
                    store.set.extend(element);
                    continue;
                }
            }
            let is_read = operation.call.is_read();
            let is_rare = matches!(operation.call, Call::Remove(_) | Call::WriteFor { .. });
            let is_bad = operation.is_ok() && (is_rare || chance.below(4) == 0);
            let bug = self.bug.filter(|_| is_bad);
            let before = store.clone();
            let answer = store.apply(&operation.call, now, bug);
            index += u64::from(!is_read);
            let answer = match bug {
                Some(Bug::StaleRead) if is_read => {
                    let then = now.saturating_sub(60 * MS);
                    let old = past.range_mut(..=then).next_back();
                    old.map_or(answer, |(_, old)| old.apply(&operation.call, then, None))
                }
                Some(Bug::LostWrite) if !is_read => {
                    *store = before;
                    answer
                }
                Some(Bug::AppliedTwice) if !is_read => {
                    let later = (now + 30 * MS, usize::MAX - place);
                    effects.insert(later, Effect::Again(place));
                    answer
                }
                Some(Bug::Resurrected) if !is_read => {
                    let later = (now + 60 * MS, usize::MAX - place);
                    let value = before.value.map(|(value, _)| (value, now + 100 * MS));
                    let removed = before.removed_by(&operation.call);
                    effects.insert(later, Effect::Put(place, value.or(store.value), removed));
                    answer
                }
                _ => answer,
            };
            if operation.is_ok() {
                operation.outcome = Outcome::Ok(answer);
                operation.index = Some(index);
                if bug == Some(Bug::FailedButApplied) && matches!(operation.call, Call::Write(_)) {
                    operation.outcome = Outcome::Failed("not the leader".to_owned());
                }
            }
        }
        operations
    }
}

fn first_effects(drafts: &[(Operation, Option<Nanos>)]) -> BTreeMap<(Nanos, usize), Effect> {
    let all = drafts.iter().enumerate();
    all.filter_map(|(place, (_, at))| Some((((*at)?, place), Effect::Do(place)))).collect()
}

/// Gives answers of reads of one key to readers of the other.
fn cross(one: &mut [Operation], two: &mut [Operation]) {
    let reads = |some: &mut [Operation]| -> Vec<usize> {
        let late = some.iter().enumerate().skip(some.len() / 2);
        late.filter(|(_, one)| one.call.is_read() && one.is_ok()).map(|(place, _)| place).collect()
    };
    let is_like = |a: &Operation, b: &Operation| {
        std::mem::discriminant(&a.call) == std::mem::discriminant(&b.call) && a.outcome != b.outcome
    };
    let mut others = reads(two);
    for a in reads(one).into_iter().step_by(3) {
        if let Some(place) = others.iter().position(|b| is_like(&one[a], &two[*b])) {
            let b = others.remove(place);
            std::mem::swap(&mut one[a].outcome, &mut two[b].outcome);
        }
    }
}
