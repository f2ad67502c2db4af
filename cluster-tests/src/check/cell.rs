//! What a place may hold at a time, by the times of its writes alone.
//!
//! Owns: which writes may be the last one before a read, and the reason when none may. Does not own: orders of reads among one
//! another, which `linearizable` checks. Source: the interval reasoning of Jepsen's `set-full` checker, for places that are
//! written more than once. Invariant: a value is refused only if no order of the writes could have left it there.

use crate::history::{Nanos, Operation};

/// One change of a place: to a value, or to nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) operation: &'a Operation,
    pub(super) value: Option<u64>,
}

/// All changes of a place.
#[derive(Debug, Default)]
pub(super) struct Cell<'a> {
    changes: Vec<Change<'a>>,
    /// The sure changes by their return, each with the latest invocation among those up to it and whose that is.
    sure: Vec<(Nanos, Nanos, usize)>,
}

/// Why a place cannot hold what was read.
#[derive(Debug, Clone)]
pub(super) enum Problem<'a> {
    /// Nobody has ever written it.
    Invented,
    /// It was written later, or surely not at all.
    TooSoon(&'a Operation),
    /// The first was surely replaced by the second before the read began.
    Stale(&'a Operation, &'a Operation),
    /// This was surely there before the read began, and nobody has taken it away.
    Missing(&'a Operation),
}

impl<'a> Cell<'a> {
    /// Takes changes in the order of their invocation.
    pub(super) fn new(changes: Vec<Change<'a>>) -> Self {
        let mut sure: Vec<(Nanos, Nanos, usize)> = (0..)
            .zip(&changes)
            .filter(|(_, change)| change.operation.is_ok())
            .map(|(place, change)| (change.operation.returned, change.operation.invoked, place))
            .collect();
        sure.sort_unstable();
        for index in 1..sure.len() {
            if sure[index - 1].1 > sure[index].1 {
                let (_, invoked, place) = sure[index - 1];
                sure[index] = (sure[index].0, invoked, place);
            }
        }
        Self { changes, sure }
    }

    /// Gives the newest change that had surely happened before `time`, by its invocation.
    pub(super) fn newest_before(&self, time: Nanos) -> Option<Change<'a>> {
        let end = self.sure.partition_point(|(returned, ..)| *returned < time);
        let (.., place) = self.sure.get(end.checked_sub(1)?)?;
        Some(self.changes[*place])
    }

    /// Gives the changes that may be the last one at a read; with none of them sure before it, there may be nothing as well.
    pub(super) fn possible(
        &self,
        read: (Nanos, Nanos),
    ) -> (Option<Change<'a>>, impl Iterator<Item = Change<'a>>) {
        let newest = self.newest_before(read.0);
        let from = newest.map_or(0, |newest| newest.operation.invoked);
        let candidates = self.changes.iter().copied().filter(move |change| {
            let Operation { invoked, .. } = change.operation;
            !change.operation.is_failed()
                && *invoked <= read.1
                && change.operation.effective_by() >= from
        });
        (newest, candidates)
    }

    /// Checks what was read between two times.
    pub(super) fn check(
        &self,
        read: (Nanos, Nanos),
        value: Option<u64>,
    ) -> Result<(), Problem<'a>> {
        let (newest, mut possible) = self.possible(read);
        let Some(newest) = newest else {
            if value.is_none() {
                return Ok(());
            }
            return self.explain(&mut possible, value, None);
        };
        self.explain(&mut possible, value, Some(newest))
    }

    fn explain(
        &self,
        possible: &mut impl Iterator<Item = Change<'a>>,
        value: Option<u64>,
        newest: Option<Change<'a>>,
    ) -> Result<(), Problem<'a>> {
        if possible.any(|change| change.value == value) {
            return Ok(());
        }
        let written = self.changes.iter().rev().find(|change| change.value == value);
        Err(match (written, newest) {
            (None, Some(newest)) if value.is_none() => Problem::Missing(newest.operation),
            (None, _) => Problem::Invented,
            (Some(_), Some(newest)) if value.is_none() => Problem::Missing(newest.operation),
            (Some(change), Some(newest))
                if !change.operation.is_failed()
                    && change.operation.effective_by() < newest.operation.invoked =>
            {
                Problem::Stale(change.operation, newest.operation)
            }
            (Some(change), _) => Problem::TooSoon(change.operation),
        })
    }
}

impl<'a> Problem<'a> {
    /// Says it in words, with the operations that show it.
    pub(super) fn told(&self) -> (&'static str, Vec<&'a Operation>) {
        match self {
            Self::Invented => ("read what nobody has written", vec![]),
            Self::TooSoon(write) => ("read what was not written yet, or failed", vec![*write]),
            Self::Stale(write, newer) => {
                ("read what was replaced before the read began", vec![*write, *newer])
            }
            Self::Missing(write) => ("what is acknowledged is missing", vec![*write]),
        }
    }
}
