//! The workloads: which calls, how many of each, and when a key has seen enough.
//!
//! Owns the mix. Does not own: the words of a call, and who sends it. Invariant: every value is written once in a run.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chance::Chance;
use crate::failure::Failure;
use crate::history::Call;

/// How long keys with a deadline live at most.
const TTL_MAX_MS: usize = 2500;
/// How many fields a hash has.
const FIELDS: usize = 4;
/// How many bound fields a key has.
const BOUND_FIELDS: usize = 8;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named as their keys")]
pub enum Workload {
    Register,
    Set,
    Hash,
    Counter,
    List,
    Expiry,
    Bound,
    PubSub,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Register,
        Self::Set,
        Self::Hash,
        Self::Counter,
        Self::List,
        Self::Expiry,
        Self::Bound,
        Self::PubSub,
    ];

    /// Returns its name, with which its keys begin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::Counter => "counter",
            Self::List => "list",
            Self::Expiry => "expiry",
            Self::Bound => "bound",
            Self::PubSub => "pubsub",
        }
    }

    /// Returns the workload of a key.
    pub(super) fn of(key: &str) -> Option<Self> {
        key.split('-').next()?.parse().ok()
    }

    /// How many operations a key sees before another takes its place. A set and a list are read whole, so that theirs are fewer.
    pub(super) const fn operations_max(self) -> usize {
        match self {
            Self::Register | Self::Expiry | Self::Bound => 400,
            Self::Hash => 300,
            Self::Counter | Self::PubSub => 800,
            Self::Set | Self::List => 200,
        }
    }

    /// With so many unknown operations a key is given up: each stays open for ever, and makes the check dearer; most of all where
    /// their order counts.
    pub(super) const fn unknown_max(self) -> usize {
        if matches!(self, Self::List) { 2 } else { 6 }
    }

    /// The read that shows all there is.
    pub(super) const fn whole(self) -> Option<Call> {
        match self {
            Self::Register | Self::Expiry => Some(Call::Read),
            Self::Set => Some(Call::Members),
            Self::Hash => Some(Call::Fields),
            Self::Counter => Some(Call::Count),
            Self::List => Some(Call::Range),
            Self::Bound => Some(Call::BoundFields),
            Self::PubSub => None,
        }
    }

    /// Draws the next call on a key of which `recent` was seen last.
    pub(super) fn draw(self, chance: &mut Chance, values: &Values, recent: Option<u64>) -> Call {
        let at = chance.below(100);
        let known = || recent.unwrap_or(0);
        let field = |chance: &mut Chance, count| u32::try_from(chance.below(count)).unwrap_or(0);
        match self {
            Self::Register => match at {
                0..40 => Call::Read,
                40..65 => Call::Write(values.fresh()),
                65..92 => Call::Cas { from: recent, to: values.fresh() },
                _ => Call::Delete,
            },
            Self::Set => match at {
                0..40 => Call::Add(values.fresh()),
                40..55 => Call::Remove(known()),
                55..75 => Call::Contains(known()),
                _ => Call::Members,
            },
            Self::Hash => match at {
                0..35 => Call::FieldSet { field: field(chance, FIELDS), value: values.fresh() },
                35..60 => Call::FieldGet(field(chance, FIELDS)),
                60..70 => Call::FieldDelete(field(chance, FIELDS)),
                _ => Call::Fields,
            },
            Self::Counter => match at {
                0..60 => Call::Increment(i64::from(field(chance, 9)) + 1),
                _ => Call::Count,
            },
            Self::List => match at {
                0..55 => Call::Append(values.fresh()),
                _ => Call::Range,
            },
            Self::Expiry => match at {
                0..25 => Call::WriteFor {
                    value: values.fresh(),
                    ttl_ms: u64::try_from(50 + chance.below(TTL_MAX_MS)).unwrap_or(50),
                },
                25..30 => Call::Write(values.fresh()),
                30..38 => Call::Persist,
                38..42 => Call::Delete,
                _ => Call::Read,
            },
            Self::Bound => match at {
                0..45 => Call::Bind { field: field(chance, BOUND_FIELDS), value: values.fresh() },
                _ => Call::BoundFields,
            },
            Self::PubSub => Call::Publish { number: values.fresh() },
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Workload {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|workload| workload.name() == text);
        found.ok_or_else(|| Failure::new(format!("no workload '{text}'; there are {}", names())))
    }
}

/// Gives every value once.
#[derive(Debug, Default)]
pub(super) struct Values(AtomicU64);

impl Values {
    /// Gives the next one; they grow, and begin with 1.
    pub(super) fn fresh(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_values_are_unique() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse(), Ok(workload));
        }
        assert!("strings".parse::<Workload>().is_err());
        let values = Values::default();
        assert_eq!((values.fresh(), values.fresh()), (1, 2));
    }
}
